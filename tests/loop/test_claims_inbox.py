"""People review claims of write-ups at the inbox: signed, blind, and before any check is told."""

import json
import secrets
from pathlib import Path

import fabricated
import pytest
from click.testing import CliRunner
from studies import mandate
from test_reviews import written
from test_writeups import SMALL
from web import Person, chromium, served

from configs.build import plain
from configs.entries import DecisionEntry, ReviewedEntry, ReviewsEndEntry, facts_of
from configs.errors import BadInput, VerificationFailed
from loop import session
from loop.command.main import cli
from loop.instruments.run import Run
from loop.instruments.writeups import draw_claims, is_blind, measure_writeups, read_claims
from loop.people.claims import end_reviews, name_claim, take_review
from loop.people.requests import open_gate
from loop.propose.outside.claim import show_claim
from loop.report.paper import write_paper
from loop.settings import compose_settings
from loop.study import open as study_open
from loop.verify.reviews import check_reviews
from loop.verify.run import verify
from sandbox import keys
from sandbox.canonical import digest
from sandbox.heads import open_ledger
from sandbox.remote_store import open_store

FOLDER = Path("runs/t")
SECRET = "correct horse"
SMALLER = ("study.generations=2", "study.repeats=2")
PEOPLE = "study.writeups={pairs: 40, elsewhere: {depth: 2}, levels: [4], people: 1}"


@pytest.fixture
def study(tmp_path, monkeypatch):
    """A study that ended and pins ada, bob, and a second key of ada's; its gate and claims."""
    monkeypatch.chdir(tmp_path)
    fabricated.write(Path())
    keys.new_key("ada", "person", SECRET)
    keys.new_key("ada2", "person", SECRET, "ada")
    keys.new_key("bob", "simulated", SECRET)
    cfg = compose_settings([*(one for one in SMALL if "writeups" not in one), *SMALLER, PEOPLE])
    mandate(cfg)
    try:
        session.execute(cfg)
    finally:
        study_open.release_locks()
    keys.new_key("eve", "person", SECRET)
    return open_gate(FOLDER), ask()


def ask():
    drawn = draw_claims(read(), 1)
    return [(*place, show_claim(s)) for own in drawn.values() for place, s in own.items()]


def read():
    return Run(0, open_ledger(FOLDER))


def signed(gate, place, name="ada", envelope="claim-review", **changes):
    """Return a person's signed review of a claim."""
    plan, number, shown = place
    key = keys.open_key(name, SECRET)
    half = next(one for one in keys.public_keys() if one["name"] == name)
    body = {
        "study": gate.memory.rules.root,
        "claim": name_claim(plan, number),
        "shown": digest(shown),
        "percent": 80,
        "reason": "many pairs",
        "seen": 1,
        "looked_ms": 5000,
        "at": 2,
        "kind": half["kind"],
        "reviewer": name,
        "public": half["public"],
        "nonce": secrets.token_hex(16),
    }
    return keys.sign(body | changes, key, envelope)


def test_no_check_is_told_until_people_end_their_review_and_it_is_measured_then(study, monkeypatch):
    gate, asked = study
    with monkeypatch.context() as without:  # what keeps the checks back is this alone
        without.setattr("loop.instruments.writeups.is_blind", lambda _: False)
        assert any(claim.checked for claim in read_claims(read()))
    assert len(asked) == 4 and is_blind(read()) and read_claims(read()) == []
    call = ["instruments", str(FOLDER), "--json"]
    told = json.loads(CliRunner().invoke(cli, call, catch_exceptions=False).output)
    assert "scientist" not in told["between"]
    page = write_paper(FOLDER).read_text()
    assert "no check is told" in page and "does not replicate" not in page
    decided = len(list(facts_of(gate.ledger.entries(), DecisionEntry)))
    for claim in asked[:3]:
        assert take_review(gate, signed(gate, claim), asked).said == 0.8
    take_review(gate, signed(gate, asked[0], "bob", percent=10), asked)
    assert end_reviews(FOLDER, "ada", asked) == ReviewsEndEntry(who="ada", reviewed=3, of=4)
    figures = measure_writeups(read_claims(read()), [])
    assert figures["people"]["asked"].n == 2 and figures["people"]["answered"].value == 1
    assert figures["simulated people"]["asked"].n == 1
    assert "3 claims were put to people" in write_paper(FOLDER).read_text()
    # It is advice: nothing was decided by it.
    assert len(list(facts_of(gate.ledger.entries(), DecisionEntry))) == decided
    verify(FOLDER)


def test_a_review_of_anything_else_is_refused(study):
    gate, asked = study
    for name, changes, says in (
        ("eve", {}, "does not pin"),
        ("ada", {"reviewer": "bob"}, "does not pin"),
        ("ada", {"kind": "external"}, "does not pin"),
        ("ada", {"study": "0" * 64}, "another study"),
        ("ada", {"claim": "0" * 64}, "no claim that people are asked"),
        ("ada", {"shown": "0" * 64}, "no claim that people are asked"),
        ("ada", {"percent": 101}, "malformed"),
        ("ada", {"percent": 0.5}, "malformed"),
        ("ada", {"reason": " "}, "malformed"),
        ("ada", {"reason": "x" * 2001}, "malformed"),
        ("ada", {"gain": 1}, "malformed"),
    ):
        with pytest.raises(VerificationFailed, match=says):
            take_review(gate, signed(gate, asked[0], name, **changes), asked)
    assert not any(facts_of(gate.ledger.entries(), ReviewedEntry))


def test_neither_other_bytes_nor_other_envelopes_are_taken(study):
    gate, asked = study
    good = signed(gate, asked[0])
    for bad in (b"", b"{}", b"\xff" * 100, good[:-2], good.replace(b'"sig":"', b'"sig":"A')):
        with pytest.raises(VerificationFailed):
            take_review(gate, bad, asked)
    with pytest.raises(VerificationFailed, match="should be a claim-review"):
        take_review(gate, signed(gate, asked[0], envelope="approval"), asked)
    keys.revoke("ada")
    with pytest.raises(VerificationFailed, match="revoked"):
        take_review(gate, good, asked)


def test_a_person_reviews_a_claim_once_whatever_the_key_and_never_after_the_end(study):
    gate, asked = study
    take_review(gate, signed(gate, asked[0]), asked)
    for name in ("ada", "ada2"):
        with pytest.raises(VerificationFailed, match="reviewed this claim before"):
            take_review(gate, signed(gate, asked[0], name), asked)
    end_reviews(FOLDER, "ada", asked)
    with pytest.raises(VerificationFailed, match="has ended"):
        take_review(gate, signed(gate, asked[1]), asked)
    with pytest.raises(BadInput, match="under way"):
        end_reviews(FOLDER, "ada", asked)


def test_a_written_review_that_nobody_signed_fails_the_verification(study, monkeypatch):
    gate, asked = study
    fact = take_review(gate, signed(gate, asked[0]), asked)
    end_reviews(FOLDER, "ada", asked)
    told, store = read(), open_store(FOLDER)
    assert check_reviews(told.entries, told.facts, store) == 1
    for change, says in (
        ({"said": 0.1}, "something else"),
        ({"number": 7}, "something else"),
        ({"by": "external"}, "something else"),
        ({"envelope": "{}"}, "no signed envelope"),
        ({}, "checks were told before it"),
    ):
        with pytest.raises(VerificationFailed, match=says):
            check_reviews([*told.entries, written(fact, change)], told.facts, store)
    gate.ledger.append(fact)
    with monkeypatch.context() as without:
        without.setattr("loop.verify.run.check_reviews", lambda *_: 0)
        verify(FOLDER)
    with pytest.raises(VerificationFailed, match="checks were told before it"):
        verify(FOLDER)


def test_a_person_reads_signs_and_ends_at_the_inbox(study):
    pytest.importorskip("fastapi")
    gate, asked = study
    with chromium() as browser, served(Path("runs")) as address:
        ada = Person(browser, address)
        ada.open_file(keys.home() / "keys" / "ada.key", SECRET)
        page = ada.page
        page.wait_for_url(address + "/")
        page.get_by_role("link", name="claims to review").click()
        ada.shot("inbox-claims")
        text = page.locator("main").inner_text()
        assert "4 of 4 claims wait" in text
        page.locator("tbody a").first.click()
        ada.says("it is the claim's", "#checked")
        text = page.locator("main").inner_text()
        hidden = ("random", "local", "accept", *(plan[:8] for plan, _, _ in asked))
        assert not any(word in text for word in hidden)
        page.get_by_label("Probability").fill("70")
        page.get_by_label("Reason").fill("few pairs ❤")
        ada.shot("inbox-claim")
        page.get_by_label("Probability").fill("101")
        page.get_by_role("button", name="Review …").click()
        ada.says("whole number from 0 to 100")
        page.get_by_label("Probability").fill("70")
        page.get_by_role("button", name="Review …").click()
        page.get_by_role("button", name="Sign and send").click()
        ada.says("Recorded")
        (fact,) = facts_of(gate.ledger.entries(), ReviewedEntry)
        assert (fact.said, fact.by, fact.review.reason) == (0.7, "person", "few pairs ❤")
        assert fact.review.looked_ms > 0 and plain(fact.review)["reviewer"] == "ada"
        page.get_by_role("link", name="Next claim").click()
        page.wait_for_selector("#review")
        page.get_by_role("link", name="Claims", exact=True).click()
        assert "3 of 4 claims wait" in page.locator("main").inner_text()
        page.get_by_role("button", name="End the review for all").click()
        page.wait_for_url(address + "/runs/t")
        assert "Review claims" not in page.locator("main").inner_text()
        assert page.goto(address + "/runs/t/claims").status == 400
        eve = Person(browser, address)
        assert eve.page.goto(address + "/runs/t/claims").url.endswith("/enter")
        assert ada.wrong == [] == eve.wrong
    assert not is_blind(read())
    verify(FOLDER)


def test_an_unpinned_key_reads_and_neither_reviews_nor_ends(study):
    pytest.importorskip("fastapi")
    with chromium() as browser, served(Path("runs")) as address:
        eve = Person(browser, address)
        eve.open_file(keys.home() / "keys" / "eve.key", SECRET)
        eve.page.wait_for_url(address + "/")
        eve.goto("/runs/t/claims")
        assert not eve.page.get_by_role("button", name="End the review").count()
        eve.page.locator("tbody a").first.click()
        assert "does not pin your key" in eve.page.locator("main").inner_text()
        token = eve.page.locator("input[name=token]").first.get_attribute("value")
        for path in ("end-review", "claims/0123456789abcdef"):
            data = {"token": token, "envelope": "{}"}
            headers = {"origin": address}
            answer = eve.context.request.post(
                f"{address}/runs/t/{path}", form=data, headers=headers
            )
            assert answer.status in (400, 422)
    assert is_blind(read())
