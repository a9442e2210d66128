"""`heirloop verify` reads accords: false entries fail it, a broken accord opens an incident."""

import json
import os
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from fakes import FakeBox
from reports import read_report, rows_of
from studies import better, config, entries, mandate
from tampering import leaves, mutated

from configs.entries import AccordEntry, BeatEntry, IncidentEntry, facts_of, lines_of
from configs.errors import BadInput, VerificationFailed
from loop.accord import acts, evidence, terms
from loop.accord.case import gather
from loop.attack.parties import MEETINGS, Parties, SetClock, set_clock
from loop.attack.suite import open_suite
from loop.command import main
from loop.report import make
from loop.verify import replay
from loop.verify.accords import check_accords
from loop.verify.run import verify, verify_and_record
from sandbox import intoto, keys
from sandbox.heads import open_ledger


@pytest.fixture(scope="module")
def shared():
    """A suite on a box that computes nothing, and its home folder."""
    with open_suite(lambda: FakeBox(better)) as suite:
        yield suite, os.environ["HEIRLOOP_HOME"]


@pytest.fixture
def parties(shared, monkeypatch):
    """Two studies of their own, and a clock that the test sets."""
    suite, home = shared
    monkeypatch.setenv("HEIRLOOP_HOME", home)
    with set_clock():
        yield Parties(suite)


def meet(parties, signed, until=MEETINGS[-1]):
    for seconds in MEETINGS:
        if seconds <= until:
            parties.meet(signed, seconds)


def refused(folder, words):
    """The entries of a run must fail, with an entry and these words."""
    with pytest.raises(VerificationFailed, match=rf"^entry \d+ \((accord|beat)\): .*{words}"):
        check_accords(open_ledger(folder).entries())


def last_fact(folder, kind):
    """Return the newest record of a kind."""
    return list(facts_of(open_ledger(folder).entries(), kind))[-1]


def signed_anew(sides, signed, **changes):
    """Return the entry of an accord with other content, signed by both keys as if it were so."""
    accord = replace(signed.accord, **changes)
    statement = {**intoto.read(signed.envelope, terms.PREDICATE), "predicate": None}
    statement["predicate"] = terms.plain(accord)
    envelope = intoto.sign(statement, acts.open_key(sides.ours))
    whole = terms.read(intoto.sign(statement, acts.open_key(sides.theirs), envelope))
    return AccordEntry(digest=whole.digest, envelope=whole.envelope.decode(), signed=whole.signed)


def test_a_kept_accord_has_no_breach(parties):
    meet(parties, parties.agree())
    for folder in (parties.ours, parties.theirs):
        assert check_accords(open_ledger(folder).entries()) == []


@pytest.mark.parametrize(("moment", "broken"), [(59, 0), (60, 1), (660, 1), (661, 0)])
def test_a_start_within_the_window_is_a_breach_of_who_started(parties, moment, broken):
    signed = parties.agree()
    parties.at(moment)
    parties.compute()
    found = check_accords(open_ledger(parties.theirs).entries())
    assert [(one.accord, one.finding.rule) for one in found] == [(signed.digest, "start")] * broken
    assert check_accords(open_ledger(parties.ours).entries()) == []


@pytest.mark.parametrize(("jobs", "rules"), [(1, []), (2, ["start"])])
def test_a_slow_allows_as_many_starts_an_hour_as_its_term_says(parties, jobs, rules):
    parties.at(0)
    theirs = evidence.read(acts.introduce(parties.theirs))
    window = (parties.start + timedelta(seconds=60), parties.start + timedelta(seconds=660))
    owed = [(theirs.study, "slow", 1)]
    proposed = acts.propose(parties.ours, theirs, owed, window, 150, 5, "")
    acts.sign(parties.theirs, proposed.envelope)
    for number in range(jobs):
        parties.at(100 + number)
        parties.compute()
    found = check_accords(open_ledger(parties.theirs).entries())
    assert [one.finding.rule for one in found] == rules


def test_one_signature_binds_nobody(parties):
    parties.at(0)
    parties.propose()
    parties.at(100)
    own = parties.other  # the study that never signed computes
    own.run(own.prepare({"models/train.py": b"def main(i, o): pass"}))
    for folder in (parties.ours, parties.theirs):
        assert check_accords(open_ledger(folder).entries()) == []


def test_a_signature_within_the_window_is_a_breach(parties):
    parties.at(0)
    proposed = parties.propose()
    parties.at(100)
    statement = intoto.read(proposed.envelope, terms.PREDICATE)
    key = keys.signer(parties.other.running.secret)
    acts.record(parties.theirs, terms.read(intoto.sign(statement, key, proposed.envelope)))
    (found,) = check_accords(open_ledger(parties.theirs).entries())
    assert found.finding.rule == "signed late"


def test_an_accord_that_was_recorded_before_is_refused(parties):
    parties.agree()
    open_ledger(parties.ours).append(last_fact(parties.ours, AccordEntry))
    refused(parties.ours, "recorded before")


def test_an_accord_of_other_studies_is_refused(parties):
    parties.agree()
    third = parties.other.open_other().running
    third.ledger.append(last_fact(parties.ours, AccordEntry))
    refused(third.folder, "of other studies")


@pytest.mark.parametrize(("seconds", "right"), [(45, True), (44, False)])
def test_an_accord_that_is_dated_before_its_proposal_is_refused(parties, seconds, right):
    parties.at(50)
    proposed = parties.propose()
    statement = intoto.read(proposed.envelope, terms.PREDICATE)
    key = keys.signer(parties.other.running.secret)
    parties.at(seconds)  # the clocks may differ by 5 s
    acts.record(parties.theirs, terms.read(intoto.sign(statement, key, proposed.envelope)))
    if right:
        assert check_accords(open_ledger(parties.theirs).entries()) == []
    else:
        refused(parties.theirs, "dated before it was proposed")


def test_an_accord_signed_by_the_other_side_alone_is_refused(parties):
    parties.at(0)
    proposed = parties.propose()
    acts.record(parties.theirs, proposed)
    refused(parties.theirs, "did not sign it")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"head": "0" * 64}, "another entry"),
        ({"sequence": 10**6}, "another entry"),
        ({"public": ""}, "signed by none|another key"),
    ],
)
def test_an_accord_of_another_head_or_key_of_this_study_is_refused(parties, change, words):
    signed = parties.agree()
    own, other = signed.accord.parties
    if "public" in change:  # whoever holds both keys swaps them
        change, other = {"public": other.public}, replace(other, public=own.public)
    ledger = open_ledger(parties.ours)
    ledger.append(signed_anew(parties, signed, parties=(replace(own, **change), other)))
    refused(parties.ours, words)


def test_a_replayed_beat_is_refused(parties):
    signed = parties.agree()
    meet(parties, signed, 150)
    old = last_fact(parties.ours, BeatEntry)
    meet(parties, signed, 290)
    open_ledger(parties.ours).append(old)
    refused(parties.ours, "older head")


def test_a_beat_with_a_head_that_the_other_never_signed_is_refused(parties):
    signed = parties.agree()
    meet(parties, signed, 150)
    beat = last_fact(parties.ours, BeatEntry)
    heard = replace(beat.heard[0], sequence=beat.heard[0].sequence + 1)
    open_ledger(parties.ours).append(replace(beat, heard=(heard,)))
    refused(parties.ours, "never signed")


def test_a_beat_of_an_accord_that_one_side_signed_is_refused(parties):
    parties.at(0)
    proposed = parties.propose()
    open_ledger(parties.ours).append(BeatEntry(accord=proposed.digest, heard=()))
    refused(parties.ours, "no accord that both sides had signed")


def test_older_evidence_is_not_heard_again(parties):
    signed = parties.agree()
    meet(parties, signed, 55)
    old = parties.shown[parties.theirs]
    meet(parties, signed, 150)
    with pytest.raises(BadInput, match="heard before"):
        acts.beat(parties.ours, signed, [old])


def test_an_envelope_with_fewer_signatures_is_recorded_no_more(parties):
    parties.at(0)
    proposed = parties.propose()
    whole = acts.sign(parties.theirs, proposed.envelope)
    acts.sign(parties.ours, whole.envelope)
    statement = intoto.read(whole.envelope, terms.PREDICATE)
    alone = intoto.sign(statement, acts.open_key(parties.theirs))
    before = len(open_ledger(parties.theirs).entries())
    acts.sign(parties.theirs, alone)
    assert len(open_ledger(parties.theirs).entries()) == before
    assert check_accords(open_ledger(parties.theirs).entries()) == []


def test_no_leaf_of_an_accord_or_a_beat_can_change(parties):
    meet(parties, parties.agree(), 150)
    found = open_ledger(parties.ours).entries()
    places = [n for n, one in enumerate(found) if one.kind in ("accord", "beat")]
    count = 0
    for place in places:
        for path in leaves(found[place].body):
            changed = replace(found[place], body=mutated(found[place].body, path))
            with pytest.raises(VerificationFailed):
                check_accords([*found[:place], changed, *found[place + 1 :]])
            count += 1
    assert count > 20 and {found[n].kind for n in places} == {"accord", "beat"}


@pytest.fixture
def broken(tmp_path, go):
    """A whole run that signed a pause and replayed a job within it; its settings and folder."""
    cfgs = [config(tmp_path, f"study.name={name}") for name in ("a", "b")]
    for cfg in cfgs:
        mandate(cfg)
        go(cfg, FakeBox(better))
    one, other = (tmp_path / "runs" / cfg.study.name for cfg in cfgs)
    with set_clock():
        now = datetime.now(UTC).replace(microsecond=0)
        SetClock.moment = now + timedelta(seconds=10)
        theirs = evidence.read(acts.introduce(other))
        window = (now + timedelta(seconds=60), now + timedelta(seconds=660))
        owed = [(acts.show(one).study, "pause", 0)]
        proposed = acts.propose(one, theirs, owed, window, 600, 5, "")
        acts.sign(one, acts.sign(other, proposed.envelope).envelope)
        SetClock.moment = now + timedelta(seconds=100)
        name = next(e.body["digest"] for e in entries(cfgs[0]) if e.kind == "plan")
        go(cfgs[0], FakeBox(better), lambda _: replay.replay(one, name[:8]))
        yield cfgs[0], one


def test_verify_opens_one_incident_for_a_broken_accord_and_the_record_still_holds(
    broken, monkeypatch, capsys
):
    cfg, folder = broken
    for _ in range(2):
        (found,) = verify_and_record(folder)["breaches"]
        (opened,) = [one.incident for one in facts_of(entries(cfg), IncidentEntry)]
        assert (opened.detector, opened.kind) == ("accord", "incident")
        assert found.finding.text == opened.root_cause and "1 starts" in opened.root_cause
    signed = acts.find_signed(folder)
    acts.judge(folder, gather(signed, []))  # the files tell nothing yet; no second incident
    assert len(list(facts_of(entries(cfg), IncidentEntry))) == 1
    assert verify(folder)["findings"] == []
    make.again(folder)
    (row,) = rows_of(read_report(folder), "accords")
    assert row[:4] == ("a", signed.digest[:12], "this run", "pause")
    state, starts, rules = row[6:]
    assert (state, starts, rules) == ("under way", 1, "start")
    monkeypatch.setattr(sys, "argv", ["heirloop", "verify", str(folder), "--json"])
    with pytest.raises(SystemExit) as end:
        main.main()
    shown = capsys.readouterr()
    assert end.value.code == 6 and "the record holds, and accord" in shown.err
    assert "breach 1" in {pair["checked"] for pair in json.loads(shown.out)}


def test_a_changed_accord_fails_the_verification_of_its_run(broken):
    cfg, folder = broken
    (_, fact), *_ = lines_of(entries(cfg), AccordEntry)
    open_ledger(folder).append(fact)
    with pytest.raises(VerificationFailed, match=r"\(accord\): it was recorded before"):
        verify(folder)
