"""The web inbox, end to end in a real browser: keys made there, hostile plans read, decisions
signed, quorums, expiry, stop.
"""

import base64
import contextlib
import json
import re
import socket
import sqlite3
import tracemalloc
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from fakes import FakeBox, written
from studies import approve, better, config, entries, gate_of, mandate, page_of
from web import Person, chromium, served

from configs.build import plain
from configs.errors import BadInput, NeedsHuman, VerificationFailed
from loop import terminal
from loop.command import main
from loop.people import requests
from loop.propose.table import PROPOSERS
from loop.verify.run import verify
from sandbox import gate as gates
from sandbox import keys
from sandbox.canonical import digest
from sandbox.heads import check_checkpoints
from sandbox.unsigned import new_approval

pytest.importorskip("fastapi")
Session = pytest.importorskip("loop.inbox.sign_in").Session
TestClient = pytest.importorskip("starlette.testclient").TestClient
inbox = pytest.importorskip("loop.inbox.app")
pages = pytest.importorskip("loop.inbox.runs")

HUMAN = ["autonomy=assisted", "gates=attended"]
HOSTILE = (
    "\x1b[2J\x1b[31mAPPROVED by ada\u202egpj.exe\u200b\u2066 <script>alert(1)</script> **bold**"
    " ⟨U+0041⟩ \u0440aypal " + " " * 300 + "\n\nhidden below"
)


def hostile(view):
    edit = {
        "file": "models/train.py",
        "search": "def main(",
        "replace": "# \u202e<img src=x onerror=alert(1)>\x1b[8m\n_X = 1\n\n\ndef main(",
    }
    return json.dumps(
        {
            "hypothesis": HOSTILE[:2000],
            "knobs": {"learning_rate": 0.001},
            "predicted_gain": 0.5,
            "edits": [edit],
        }
    )


@pytest.fixture
def study(tmp_path, go, monkeypatch):
    """A study of a hostile proposer that waits for people, with a baseline that ada approved; its
    configuration and folder.
    """
    monkeypatch.setitem(PROPOSERS, "local", written(hostile))

    def begin(*extra, box=None):
        keys.new_key("ada", "person", "correct horse")
        cfg = config(tmp_path, *HUMAN, "study.proposals=1", *extra)
        ran = box or FakeBox(better)
        with pytest.raises(NeedsHuman):
            go(cfg, ran)
        for name in {r.subject for r in gate_of(cfg).pending()}:
            assert not approve(cfg, name, "recipe")
        with pytest.raises(NeedsHuman):
            go(cfg, ran)
        return cfg, tmp_path / "runs" / "t"

    return begin


@pytest.fixture
def runs(tmp_path):
    (tmp_path / "runs").mkdir(exist_ok=True)
    return tmp_path / "runs"


@pytest.fixture(scope="module")
def browser():
    with chromium() as found:
        yield found


@pytest.fixture
def people_of(browser):
    """Make people with browsers of their own; none of their pages may have raised a dialog, an
    error or a breach of the policy.
    """
    made = []

    def make(address, **context):
        made.append(Person(browser, address, **context))
        return made[-1]

    yield make
    for one in made:
        one.context.close()
    assert [w for one in made for w in one.wrong] == []


def read(page, name):
    """Open a waiting request from the list, by its plan."""
    page.get_by_role("link", name=name[:12]).first.click()
    return page


def asked_of(cfg):
    (one,) = gate_of(cfg).pending()
    return one.subject


def given(cfg, by):
    return [
        e.body
        for e in entries(cfg)
        if e.kind == "approval" and e.body["approval"]["reviewer"] == by
    ]


def test_a_key_made_in_the_browser_signs_exactly_what_is_shown_and_the_plan_runs(
    study, runs, go, people_of
):
    with served(runs) as address:
        bob = people_of(address)
        bob.enrol(keys.invite("bob", "person"))
        box = FakeBox(better)
        cfg, _ = study("gates.approve.patch={of: 1, reviewers: [bob]}", box=box)
        name, before = asked_of(cfg), len(box.ran)
        page = read(bob.goto("/"), name)
        page.get_by_label("Reason").fill("I read \u2764 it")
        page.get_by_label("To approve, type").fill(name[:6])
        page.get_by_role("button", name="Approve …").click()
        shown = page.locator("#bytes").inner_text()
        page.get_by_role("button", name="Sign and send").click()
        bob.says("Recorded")
        (said,) = given(cfg, "bob")
        payload = base64.b64decode(json.loads(said["envelope"])["payload"]).decode()
        assert payload == re.sub("⟨U[+]([0-9A-F]+)⟩", lambda m: chr(int(m[1], 16)), shown)
        assert (
            said["approval"]["looked_ms"] > 0
            and said["approval"]["reason"] == "I read \u2764 it"
            and said["approval"]["kind"] == "person"
        )
        with pytest.raises(NeedsHuman):
            go(cfg, box)
        assert {
            json.loads(e.files["job.json"])["recipe"]["learning_rate"] for e in box.ran[before:]
        } >= {0.001}
        assert page.evaluate("keysHere().then((all) => all.map((k) => k.private.extractable))") == [
            False
        ]
        assert not (keys.home() / "keys" / "bob.key").exists()


def test_a_hostile_plan_is_shown_as_text_and_nothing_of_it_acts(study, runs, people_of):
    """A09, A10, A12: ANSI, bidi, zero-width, look-alikes, padding, HTML; what the page shows has
    the digest that is signed.
    """
    cfg, _ = study()
    with served(runs) as address:
        ada = people_of(address)
        ada.open_file(keys.home() / "keys" / "ada.key", "correct horse")
        page = ada.page
        page.wait_for_url(address + "/")
        listed = page.content()
        ada.shot("inbox-list")
        read(page, asked_of(cfg))
        ada.says("took the digest", "#checked")
        ada.shot("inbox-plan")
        whole, text = page.content() + listed, page.locator("main").inner_text()
        assert (
            not set(whole) & set("\x1b\u202e\u200b\u2066\u0440") - {"\u0440"}
            and "⟨U+202E⟩" in text
            and "⟨U+001B⟩" in text
        )
        assert (
            "U+0440 looks like p" in text and "⟨U+0020 × 301⟩" in text and "⟨U+27E8⟩U+0041⟩" in text
        )
        assert (
            page.locator("main img, main script:not([type]), main b").count() == 0
            and "**bold**" in text
        )
        assert (
            "Nobody has checked" in text
            and "computable" in text
            and "changes code: models/train.py" in text
        )
        page.evaluate(
            "document.getElementById('canonical').textContent += ' '"
        )  # another byte is another plan
        with pytest.raises(Exception, match="Do not sign"):
            page.evaluate(f"checkShown('{asked_of(cfg)}')")


def test_a_run_s_page_follows_it_without_being_loaded_again(
    tmp_path, runs, go, people_of, monkeypatch
):
    keys.new_key("ada", "person", "correct horse")
    cfg = config(tmp_path, "study.arms=[local,random]", "study.generations=3", "study.proposals=4")
    with pytest.raises(NeedsHuman):
        go(cfg, FakeBox(better))
    with served(runs) as address:
        ada = people_of(address)
        ada.open_file(keys.home() / "keys" / "ada.key", "correct horse")
        ada.page.wait_for_url(address + "/")
        ada.goto("/runs/t")
        ada.says("not running", ".state")
        ada.page.evaluate("window.here = true")
        mandate(cfg)
        go(
            cfg,
            FakeBox(
                lambda order: min(
                    0.97, better(order) * (0.4 + order.recipe.depth / 6 + order.recipe.width / 400)
                )
            ),
        )
        ada.says("finished", ".state")
        assert (
            ada.page.evaluate("window.here")
            and ada.page.locator("#live tbody tr", has_text="random").count() >= 1
        )
        ada.page.wait_for_timeout(2500)  # for the figures, drawn at most every two seconds
        ada.shot("inbox-run")
        natural = ada.page.evaluate(
            "[...document.querySelectorAll('img')].map((i) => i.complete && i.naturalWidth > 100)"
        )
        assert natural == [True, True]


def put(cfg, *changes):
    """Record plans like the one that waits, each with a change, and ask people about them; return
    their digests.
    """
    gate = gate_of(cfg)
    one = next(
        e.body["plan"]
        for e in entries(cfg)
        if e.kind == "plan" and e.body["digest"] == gate.pending()[0].subject
    )
    with gate.ledger.transaction() as txn:
        for n, change in enumerate(changes):
            txn.append("plan", {"digest": digest(one | change), "plan": one | change})
            txn.append(
                "request",
                {
                    "plan": digest(one | change),
                    "class": "patch",
                    "arm": "local",
                    "at": 1,
                    "expires": 2**40 + n,
                },
            )
    return [digest(one | change) for change in changes]


def test_a_plan_with_a_megabyte_of_padding_can_be_denied_and_not_approved(study, runs, people_of):
    """A11."""
    cfg, _ = study()
    (name,) = put(cfg, {"hypothesis": " " * 2**20 + "and then it calls home"})
    with served(runs) as address:
        ada = people_of(address)
        ada.open_file(keys.home() / "keys" / "ada.key", "correct horse")
        ada.page.wait_for_url(address + "/")
        assert "calls home" in ada.page.locator("main").inner_text()  # counted, not cut
        read(ada.page, name)
        assert (
            "Too large" in ada.page.locator("h1").inner_text()
            and ada.page.get_by_role("button", name="Approve").count() == 0
        )
        assert "Recorded: deny" in ada.decide("deny", "I cannot read it")
        assert given(cfg, "ada")[-1]["approval"]["answer"] == "deny" and name not in {
            r.subject for r in gate_of(cfg).pending()
        }


@pytest.mark.parametrize("answer", ["deny", "escalate"])
def test_a_no_and_an_escalation_need_a_reason_alone(study, runs, go, people_of, answer):
    cfg, _ = study()
    name = asked_of(cfg)
    with served(runs) as address:
        ada = people_of(address)
        ada.open_file(keys.home() / "keys" / "ada.key", "correct horse")
        ada.page.wait_for_url(address + "/")
        read(ada.page, name)
        assert "reason" in ada.decide(answer, reason=" ") and not given(cfg, "ada")[1:]
        assert f"Recorded: {answer}" in ada.decide(answer, "not like this")
    if answer == "escalate":
        with pytest.raises(NeedsHuman, match="escalated to an external reviewer"):
            go(cfg, FakeBox(better))
    else:
        with contextlib.suppress(NeedsHuman):
            go(cfg, FakeBox(better))
        assert not any(e.kind == "start" and e.body["job"]["plan"] == name for e in entries(cfg))


def test_two_people_with_two_browsers_make_a_quorum_and_one_with_two_keys_does_not(
    study, runs, go, people_of
):
    with served(runs) as address:
        bob, cy, again = people_of(address), people_of(address), people_of(address)
        bob.enrol(keys.invite("bob", "person"))
        cy.enrol(keys.invite("cy", "person"))
        again.enrol(keys.invite("bob2", "person", "bob"))
        cfg, _ = study("gates.approve.patch={of: 2, reviewers: [bob, bob2, cy]}")
        name = asked_of(cfg)

        def say(one):
            read(one.goto("/"), name)
            return one.decide("approve", typed=name[:6])

        assert "Recorded" in say(bob) and "Recorded" in say(again)
        with pytest.raises(NeedsHuman, match="1 of 2 decisions"):
            go(cfg, FakeBox(better))
        read(cy.goto("/"), name)
        assert "by bob" in cy.page.locator("main").inner_text()
        assert "Recorded" in cy.decide("approve", typed=name[:6])
        with contextlib.suppress(NeedsHuman):
            go(cfg, FakeBox(better))
        assert any(e.kind == "start" and e.body["job"]["plan"] == name for e in entries(cfg))


def test_a_request_expires_before_the_reader_s_eyes_and_a_late_yes_is_refused(
    study, runs, people_of, monkeypatch
):
    cfg, _ = study()
    name = asked_of(cfg)
    (request,) = gate_of(cfg).pending()
    with served(runs) as address:
        ada = people_of(address)
        ada.open_file(keys.home() / "keys" / "ada.key", "correct horse")
        ada.page.wait_for_url(address + "/")
        read(ada.page, name)
        monkeypatch.setattr(gates.Gate, "now", lambda _: request.expires + 1.0)
        assert "not decided on in time" in ada.decide("approve", typed=name[:6])
        assert "Nothing waits" in ada.goto("/").locator("h1").inner_text()
        assert "does not wait" in ada.goto(f"/runs/t/plan/{name}").locator("main").inner_text()
    assert [e.body["title"] for e in entries(cfg) if e.kind == "incident"][-1] == "refused approval"


def test_an_auditor_reads_everything_decides_nothing_and_sees_a_rewritten_history(
    study, runs, go, people_of
):
    with served(runs) as address:
        eve = people_of(address)
        eve.enrol(keys.invite("eve", "auditor"))
        cfg, folder = study()
        name = asked_of(cfg)
        assert "eve" not in {r["name"] for r in entries(cfg)[0].body["reviewers"]}
        page = eve.goto(f"/runs/t/plan/{name}")
        assert (
            "decides nothing" not in page.locator("h1").inner_text()
            and "you read everything and decide nothing" in page.content()
        )
        assert (
            page.locator("#decision").count() == 0
            and page.goto(address + "/runs/t").ok
            and page.locator(".orders").count() == 0
        )
        eve.says("agree", "#audit")
        with page.expect_download() as saved:
            page.get_by_role("button", name="Save my copy").click()
        kept = folder.parent / "kept.jsonl"
        saved.value.save_as(kept)
        assert verify(folder, kept)["checkpoints"][2] > 0
        with sqlite3.connect(folder / "ledger.sqlite") as connection:
            connection.execute("delete from entries where sequence > 12")
    with pytest.raises(VerificationFailed, match="are missing"):
        check_checkpoints(
            gate_of(cfg).ledger.entries(), entries(cfg)[0].body["checkpoint_key"], kept
        )
    with (
        served(runs) as other
        # another port is another origin with a database of its own: the copy is carried over by
        # hand
    ):
        eve2 = people_of(other)
        eve2.enrol(keys.invite("eve2", "auditor", "eve"))
        heads = [json.loads(line) for line in kept.read_text().splitlines()]
        mine = {
            "study": heads[0]["study"],
            "key": entries(cfg)[0].body["checkpoint_key"],
            "heads": heads,
        }
        eve2.page.evaluate(
            "(mine) => store('readwrite', (t) => t.objectStore('heads').put(mine))", mine
        )
        eve2.goto("/runs/t")
        eve2.says("rewritten or cut", "#audit")


def test_without_a_browser_that_signs_the_request_goes_elsewhere_as_a_file(
    study, runs, tmp_path, people_of, monkeypatch
):
    cfg, _ = study()
    name, file, out = asked_of(cfg), tmp_path / "request.json", tmp_path / "signed.json"
    with served(runs) as address:
        ada = people_of(address, java_script_enabled=False)
        page = ada.goto("/enter")
        nonce = re.search(r'data-nonce="([0-9a-f]+)"', page.content())[1]
        typing(monkeypatch, ["correct horse"])
        answered = CliRunner().invoke(
            main.cli, ["keys", "sign-in", "ada", nonce, "--origin", address]
        )
        page.get_by_text("Without a browser that can sign").click()
        page.get_by_label("Signed answer").fill(answered.output.strip().splitlines()[-1])
        page.locator("#other").get_by_role("button", name="Sign in").click()
        assert page.get_by_role("button", name="Sign out").last.is_enabled()
        read(page, name)
        page.get_by_text("Sign elsewhere").click()
        with page.expect_download() as got:
            page.get_by_role("link", name="request as a file").click()
        got.value.save_as(file)
        command = [
            "decide",
            str(file),
            "--key",
            "ada",
            "--answer",
            "approve",
            "--reason",
            "read on paper",
            "--out",
            str(out),
        ]
        typing(monkeypatch, ["000000"])
        assert (
            isinstance(CliRunner().invoke(main.cli, command).exception, NeedsHuman)
            and not out.exists()
        )
        typing(monkeypatch, [name[:6], "correct horse"])
        told = CliRunner().invoke(main.cli, command)
        assert (
            told.exit_code == 0
            and "⟨U+202E⟩" in told.output
            and "\u202e" not in told.output
            and "\x1b" not in told.output
        )
        page.get_by_label("Signed decision").set_input_files(out)
        page.get_by_role("button", name="Hand it in").click()
        page.wait_for_url(address + "/runs/t")
    assert (
        given(cfg, "ada")[-1]["approval"]["reason"] == "read on paper"
        and gate_of(cfg).pending() == []
    )
    forged = json.loads(file.read_bytes())
    forged["canonical"] = forged["canonical"].replace("patch", "recipe")
    with pytest.raises(VerificationFailed, match="other bytes"):
        requests.read_request(json.dumps(forged).encode())
    assert requests.read_request(out.read_bytes()) is None
    hidden = json.loads(file.read_bytes())
    hidden["shown"].append(["digest", "\x1b[8mhidden\x1b[2J"])
    with pytest.raises(VerificationFailed, match="do not show themselves"):
        requests.read_request(json.dumps(hidden).encode())


def typing(monkeypatch, answers):
    """Let the terminal's prompts be answered."""
    told = iter(answers)
    monkeypatch.setattr(click, "prompt", lambda *a, **k: next(told))
    monkeypatch.setattr(terminal, "at_terminal", lambda: True)


def test_it_reads_on_a_phone_and_works_by_keyboard(study, runs, people_of):
    cfg, _ = study()
    name = asked_of(cfg)
    with served(runs) as address:
        ada = people_of(address, viewport={"width": 360, "height": 740})
        ada.open_file(keys.home() / "keys" / "ada.key", "correct horse")
        ada.page.wait_for_url(address + "/")
        for path in ("/", "/enter", "/runs/t", f"/runs/t/plan/{name}"):
            page = ada.goto(path)
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), path
            fields = "[...document.querySelectorAll('input:not([type=hidden]), textarea, button')]"
            assert (
                page.evaluate(
                    f"{fields}.filter((e) => !(e.labels?.length || e.textContent.trim())).length"
                )
                == 0
            ), path
            assert (
                page.locator("h1").count() == 1
                and page.evaluate("document.documentElement.lang") == "en"
            )
        page.get_by_label("Reason").focus()
        page.keyboard.type("by keyboard")
        page.keyboard.press("Tab")
        page.keyboard.type(name[:6])
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        page.locator("#sign[open]").wait_for()
        page.keyboard.press("Escape")
        assert page.locator("#sign[open]").count() == 0 and not given(cfg, "ada")[1:]
        page.get_by_role("button", name="Approve …").press("Enter")
        page.get_by_role("button", name="Sign and send").press("Enter")
        ada.says("Recorded")


@pytest.mark.parametrize("width", [390, 1280])
def test_rows_of_the_list_stack_no_letters(study, runs, people_of, width):
    """Every word of a row has room: no cell's text is narrower than eight characters."""
    cfg, _ = study()
    put(cfg, {"hypothesis": "a longer schedule should help, since the loss still falls"})
    with served(runs) as address:
        ada = people_of(address, viewport={"width": width, "height": 800})
        ada.open_file(keys.home() / "keys" / "ada.key", "correct horse")
        ada.page.wait_for_url(address + "/")
        page = ada.goto("/")
        narrow = """[...document.querySelectorAll('td.claim > div, td.long > div')]
            .filter((e) => e.getBoundingClientRect().width < 8 * 16).length"""
        assert page.locator("td.claim > div").count() == 2 and page.evaluate(narrow) == 0
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_opened_plans_are_approved_in_a_batch_each_by_its_own_digest_and_never_by_enter(
    study, runs, people_of
):
    cfg, folder = study()
    for text in ("the second", "the third"):
        put(cfg, {"hypothesis": text})
    names = [request.subject for request in gate_of(cfg).pending()]
    with served(runs) as address:
        ada = people_of(address, viewport={"width": 390, "height": 800})
        ada.open_file(keys.home() / "keys" / "ada.key", "correct horse")
        ada.page.wait_for_url(address + "/")
        page = read(ada.goto("/"), names[0])
        for number, name in enumerate(names[:2], 1):
            assert page.url.split("/plan/")[1].startswith(name)
            page.get_by_label("Reason").fill(f"batch {number}")
            page.get_by_role("button", name="Approve in a batch").click()
            ada.says("six characters do not match")
            page.get_by_label("To approve, type").fill(name[:6])
            page.get_by_role("button", name="Approve in a batch").click()
            ada.says(f"In the batch of {number}; nothing is signed yet")
            page.locator("#notice").get_by_role("link", name="Next patch").click()
        assert page.url.split("/plan/")[1].startswith(names[2]) and len(given(cfg, "ada")) == 1
        page = ada.goto("/batch")
        ada.shot("inbox-batch")
        assert page.locator("#batch section").count() == 2 and names[2][:12] not in page.content()
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        page.get_by_role("button", name="Sign and send 2").press("Enter")
        page.wait_for_timeout(300)
        assert len(given(cfg, "ada")) == 1  # Enter never approves
        page.get_by_role("button", name="Sign and send 2").click()
        ada.says("Each row says what became of it")
        assert page.get_by_text("Recorded: approve.").count() == 2
        assert [one["approval"]["plan"] for one in given(cfg, "ada")[1:]] == names[:2]
        assert ada.goto("/batch").locator("#batch section").count() == 0
    verify(folder)


def test_no_button_takes_a_click_before_the_script_that_serves_it(study, runs, people_of):
    """A click that came early was lost without a word, and the page looked broken."""
    cfg, _ = study()
    name = asked_of(cfg)
    early = """[...document.querySelectorAll('button')]
        .filter((b) => b.checkVisibility() && (b.type === 'button' || b.form?.method !== 'post'
            || b.form.matches('[data-leave]')))
        .map((b) => [b.textContent, b.disabled])"""
    with served(runs) as address:
        ada = people_of(address)
        ada.open_file(keys.home() / "keys" / "ada.key", "correct horse")
        ada.page.wait_for_url(address + "/")
        where = "/enter", "/", f"/runs/t/plan/{name}"
        ready = [ada.goto(path).evaluate(early) for path in where]
        ada.context.route("**/inbox.js", lambda route: route.abort())
        for path, then in zip(where, ready, strict=True):
            ada.page.goto(address + path)
            found = dict(ada.page.evaluate(early))
            assert found == dict.fromkeys([text for text, _ in then if "as ada" not in text], True)
            assert not any(disabled for _, disabled in then)
        assert len(ready[2]) == 5


# Without a browser: what the server refuses.


@pytest.fixture
def client(study, runs):
    """A signed-in client of ada's, her session and the study."""
    cfg, _ = study()
    made = inbox.make_app(runs, (*inbox.LOOPBACK, "testserver"))
    with TestClient(made, follow_redirects=False) as http:
        yield http, made.state.sign_ins, cfg


ORIGIN = {"origin": "http://testserver"}


def signed_in(http, door, **changes):
    key = keys.open_key("ada", "correct horse")
    body = {
        "nonce": door.challenge(),
        "origin": "http://testserver",
        "public": keys.public_hex(key),
    } | changes
    return http.post(
        "/enter", data={"envelope": keys.sign(body, key, "sign-in").decode()}, headers=ORIGIN
    )


def test_every_answer_carries_a_strict_policy_and_nothing_from_elsewhere_is_looked_at(client):
    http, _, _ = client
    for path in ("/", "/enter", "/static/inbox.js", "/nowhere"):
        answer = http.get(path)
        policy = answer.headers["content-security-policy"]
        assert (
            "default-src 'none'" in policy
            and "unsafe" not in policy
            and "frame-ancestors 'none'" in policy
        ), path
        assert answer.headers["x-content-type-options"] == "nosniff"
    assert (
        http.get("/").headers["location"] == "/enter"
        and http.get("/runs/t", headers={"hx-request": "true"}).headers["hx-redirect"] == "/enter"
    )
    assert http.get("/enter", headers={"host": "evil.example"}).status_code == 400
    for headers in ({}, {"origin": "http://evil.example"}, {"origin": "null"}):
        assert http.post("/enter", data={"envelope": "x"}, headers=headers).status_code == 403
    assert (
        http.post("/enter", content=b"x" * (inbox.BODY_BYTES + 1), headers=ORIGIN).status_code
        == 403
    )
    assert http.put("/enter", headers=ORIGIN).status_code == 403
    page = http.get("/enter").text
    assert (
        "http://" not in page.replace("http://127.0.0.1", "") and "https://" not in page
    )  # nothing is fetched from outside


@pytest.mark.parametrize("wrong", ["nonce", "origin", "public", "again", "revoked", "junk"])
def test_only_a_known_key_that_answers_this_page_s_challenge_once_comes_in(client, wrong):
    http, door, _ = client
    if wrong == "junk":
        assert http.post("/enter", data={"envelope": "{}"}, headers=ORIGIN).status_code == 422
        return
    if wrong == "revoked":
        keys.revoke("ada")
    nonce = door.challenge()
    changes = {
        "nonce": {"nonce": "0" * 32},
        "origin": {"origin": "http://evil.example"},
        "public": {"public": "0" * 64},
        "again": {"nonce": nonce},
    }
    answer = signed_in(http, door, **changes.get(wrong, {}))
    if wrong == "again":
        assert answer.status_code == 303
        cookie = answer.headers["set-cookie"].lower()
        assert "httponly" in cookie and "samesite=strict" in cookie
        answer = signed_in(http, door, nonce=nonce)
    assert answer.status_code == 422


def test_a_batch_holds_no_plan_that_its_reader_has_not_opened(client):
    http, door, cfg = client
    signed_in(http, door)
    session, name = next(iter(door._open.values())), asked_of(cfg)
    gate, half = gate_of(cfg), next(k for k in keys.public_keys() if k["name"] == "ada")
    one = new_approval(
        gate.memory.rules, gate.memory.subjects[name], "patch", "approve", "fine", 1, half
    )
    envelope = keys.sign(plain(one), keys.open_key("ada", "correct horse"), "approval").decode()

    def post():
        told = {"token": session.token, "typed": name[:6], "envelope": envelope, "batch": "yes"}
        headers = ORIGIN | {"accept": "application/json"}
        return http.post(f"/runs/t/plan/{name}", data=told, headers=headers)

    refused = post()
    assert refused.status_code == 400 and "plans that you have opened" in refused.json()["error"]
    assert len(given(cfg, "ada")) == 1
    assert http.get(f"/runs/t/plan/{name}?act=patch").status_code == 200
    assert post().json() == {"recorded": "approve"} and len(given(cfg, "ada")) == 2


def test_a_form_needs_the_session_s_token_and_the_digest_typed(client):
    http, door, cfg = client
    assert signed_in(http, door).status_code == 303
    session = next(iter(door._open.values()))
    name = asked_of(cfg)
    gate, half = gate_of(cfg), next(k for k in keys.public_keys() if k["name"] == "ada")

    def post(token=session.token, typed=name[:6], at=name, reason="fine", answer="approve"):
        one = new_approval(
            gate.memory.rules, gate.memory.subjects[name], "patch", answer, reason, 1, half
        )
        envelope = keys.sign(plain(one), keys.open_key("ada", "correct horse"), "approval").decode()
        told = {"token": token, "typed": typed, "envelope": envelope}
        return http.post(
            f"/runs/t/plan/{at}", data=told, headers=ORIGIN | {"accept": "application/json"}
        )

    other = next(n for n in gate.memory.plans if n != name)
    for wrong, status in (
        ({"token": "x"}, 422),
        ({"typed": "000000"}, 400),
        ({"reason": " "}, 400),
        ({"at": other}, 400),
    ):
        assert post(**wrong).status_code == status and len(given(cfg, "ada")) == 1, wrong
    for what in ("stop", "pause", "slow", "resume"):
        assert (
            http.post(
                "/runs/t/order", data={"token": "x", "what": what, "per_hour": 5}, headers=ORIGIN
            ).status_code
            == 422
        )
    assert not [e for e in entries(cfg) if e.kind == "control"]
    big = ORIGIN | {"transfer-encoding": "chunked", "content-length": "10"}
    assert http.post("/enter", content=b"x", headers=big).status_code == 403
    assert post().json() == {"recorded": "approve"} and len(given(cfg, "ada")) == 2
    keys.revoke("ada")  # a session ends with its key
    lost = post()
    assert (
        lost.status_code == 401 and "nothing was recorded" in lost.json()["error"]
    )  # and no page takes a redirect for a receipt
    assert http.get("/").headers["location"] == "/enter"


def test_the_form_of_an_arm_of_people_becomes_their_proposal_under_the_name_of_their_key(
    tmp_path, go, runs
):
    keys.new_key("ada", "person", "correct horse")
    cfg = config(
        tmp_path, "study.arms=[human]", "proposer=human", "study.proposals=1",
        "study.generations=1", "study.most_changes=2",
    )  # fmt: skip
    mandate(cfg)
    with pytest.raises(NeedsHuman):
        go(cfg, FakeBox(better))
    made = inbox.make_app(runs, (*inbox.LOOPBACK, "testserver"))
    with TestClient(made, follow_redirects=False) as http:
        signed_in(http, made.state.sign_ins)
        token = next(iter(made.state.sign_ins._open.values())).token
        shown = http.get("/runs/t/propose").text
        assert "A proposal makes at most 2 changes in all" in shown
        assert "gradient_clip" in shown and 'href="/runs/t/propose"' in http.get("/runs/t").text

        def post(**changes):
            told = {
                "token": token,
                "arm": "human",
                "hypothesis": "<b>wider</b>",
                "knobs": '{"width": 96}',
                "gain": "0.1",
                "edits": "[]",
            }
            return http.post("/runs/t/propose", data=told | changes, headers=ORIGIN).status_code

        bad = ("{", '{"magic": 1}', "{}")
        for wrong in (
            {"token": "x"},
            {"arm": "local"},
            {"gain": "much"},
            {"repeat": "-1"},
            *({"knobs": one} for one in bad),
        ):
            assert post(**wrong) in (400, 422), wrong
        assert not [e for e in entries(cfg) if e.kind == "handed"]
        assert post() == 303
    (said,) = [e.body for e in entries(cfg) if e.kind == "handed"]
    assert (said["who"], said["by"]) == ("ada (person, inbox)", "ada")
    assert go(cfg, FakeBox(better))["finished"]
    plans = [e.body["plan"] for e in entries(cfg) if e.kind == "plan"]
    assert [
        (p["hypothesis"], p["predicted_gain"]) for p in plans if p["purpose"] == "candidate"
    ] == [("<b>wider</b>", 0.1)]


def test_nobody_keeps_others_from_signing_in_and_a_key_has_twenty_sessions(client):
    http, door, _ = client
    mine = door.challenge()
    for _ in range(3000):
        door.challenge()
    assert signed_in(http, door, nonce=mine).status_code == 303
    for _ in range(30):
        signed_in(http, door)
    assert len(door._open) == 20
    cross = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors"}
    assert http.get("/enter", headers=cross).status_code == 403
    assert http.get("/enter", headers=cross | {"sec-fetch-mode": "navigate"}).status_code == 200


JUNK = [
    '{"payload":1,"payloadType":"x","signatures":[]}',
    "[]",
    "1",
    '{"payload":"e30=","payloadType":"x","signatures":[{"keyid":1,"sig":""}]}',
]


@pytest.mark.parametrize("body", JUNK)
def test_a_malformed_envelope_is_refused_in_a_sentence(client, body):
    http, door, cfg = client
    assert http.post("/enter", data={"envelope": body}, headers=ORIGIN).status_code == 422
    assert http.post("/enrol", data={"envelope": body}, headers=ORIGIN).status_code == 422
    signed_in(http, door)
    session = next(iter(door._open.values()))
    told = {"token": session.token, "typed": "", "envelope": body}
    assert http.post(f"/runs/t/plan/{asked_of(cfg)}", data=told, headers=ORIGIN).status_code in (
        400,
        422,
    )
    assert (
        http.get("/runs/t/request/none.json").status_code == 400
        and http.get("/runs/t/hashes?at=²").json() == {}
    )


def test_orders_from_the_page_are_recorded_under_who_gave_them(client):
    http, door, cfg = client
    signed_in(http, door)
    session = next(iter(door._open.values()))
    give = lambda **what: http.post(  # noqa: E731
        "/runs/t/order", data={"token": session.token, **what}, headers=ORIGIN
    )
    assert (
        give(what="slow", per_hour=0).status_code == 400 and give(what="explode").status_code == 400
    )
    assert (
        give(what="slow", per_hour=7, why="hot").status_code == 303
        and give(what="pause").status_code == 303
    )
    assert give(what="stop", why="enough").status_code == 303
    orders = [e.body for e in entries(cfg) if e.kind == "control"]
    assert [(o["what"], o["why"], o["per_hour"]) for o in orders] == [
        ("slow", "hot", 7),
        ("pause", "", 0),
        ("stop", "enough", 0),
    ]
    assert {o["who"] for o in orders} == {"ada (person, inbox)"}
    told = give(what="resume")
    assert (
        told.status_code == 303 and "act=resume" in told.headers["location"]
    )  # the study names reviewers: they sign
    page = http.get(told.headers["location"]).text
    assert "resume" in page and "stopped" in http.get("/runs/t").text
    assert not approve(cfg, gate_of(cfg).memory.halted, "resume")
    assert give(what="resume").headers["location"] == "/runs/t" and gate_of(cfg).memory.halt == ""


def test_the_live_page_of_a_study_in_bits_says_that_lower_is_better(study, runs):
    study("task=text-small", "study.confirm_replicates=12")
    made = inbox.make_app(runs, (*inbox.LOOPBACK, "testserver"))
    with TestClient(made, follow_redirects=False) as http:
        signed_in(http, made.state.sign_ins)
        assert "Scores on feedback: bits, lower is better." in http.get("/runs/t").text


def test_a_plan_s_page_and_live_page_and_figures_name_only_what_may_be_shown(client):
    http, door, cfg = client
    signed_in(http, door)
    live = http.get("/runs/t").text
    assert "not running" in live and "CPU-s" in live
    for name in ("scores", "budget"):
        answer = http.get(f"/runs/t/figure/{name}.svg")
        assert answer.headers["content-type"] == "image/svg+xml" and answer.text.startswith("<svg")
    assert http.get("/runs/t/figure/other.svg").status_code == 400 and http.get(
        "/runs/../etc"
    ).status_code in (303, 404)
    assert (
        http.get("/runs/nope").status_code == 400
        and http.get("/runs/t/plan/" + "0" * 64).status_code == 400
    )
    page_of(Path(cfg.runs) / "t")
    assert (
        http.get("/runs/t/incidents/I-9").status_code == 400
        and http.get("/runs/t/report").status_code == 200
    )
    told = http.get(f"/runs/t/request/{asked_of(cfg)}.json")
    assert told.headers["content-disposition"].startswith("attachment")


def test_a_thousand_waiting_plans_are_read_a_page_at_a_time_with_flat_memory(client, monkeypatch):
    """What one page costs does not grow with what waits: rows are made for one page alone, and
    nothing is kept per view.
    """
    http, door, cfg = client
    signed_in(http, door)
    put(cfg, *({"hypothesis": f"idea {n}"} for n in range(1000)))
    made = []
    real = pages.ServedRun.row
    monkeypatch.setattr(pages.ServedRun, "row", lambda run, one: made.append(one) or real(run, one))
    page = http.get("/").text
    assert "1001 waiting" in page and page.count('data-label="Plan"') == len(made) == pages.PAGE
    assert "idea 998" in http.get("/?at=19").text and "past the end" in http.get("/?at=99").text
    tracemalloc.start()
    try:
        http.get("/?at=3")
        before = tracemalloc.get_traced_memory()[0]
        for at in range(10):
            http.get(f"/?at={at}")
        assert tracemalloc.get_traced_memory()[0] - before < 2_000_000
    finally:
        tracemalloc.stop()


def test_off_loopback_tls_is_required(runs):
    with pytest.raises(BadInput, match="TLS"):
        inbox.serve(runs, "0.0.0.0", 1, (), None, None)
    with pytest.raises(BadInput, match="cannot be served"):
        inbox.serve(runs, "0.0.0.0", 0, (), runs / "no.pem", runs / "no.pem")
    (runs / "bad.pem").write_text("bad")
    with pytest.raises(BadInput, match="PEM chain"):
        inbox.serve(runs, "0.0.0.0", 0, (), runs / "bad.pem", runs / "bad.pem")
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(BadInput, match="in use"):
        inbox.serve(runs, "127.0.0.1", taken.getsockname()[1], (), None, None)
    with pytest.raises(BadInput, match="a run, or a folder"):
        inbox.make_app(runs / "none")


def test_an_invitation_enrols_one_key_once(runs):
    key = Ed25519PrivateKey.generate()

    def enrol(code, key=key):
        return keys.enrol(keys.sign({"code": code, "public": keys.public_hex(key)}, key, "enrol"))

    code = keys.invite("bob", "external")
    with pytest.raises(VerificationFailed, match="no such invitation"):
        enrol("0" * 16)
    assert enrol(f" {code} ") == {
        "name": "bob",
        "kind": "external",
        "person": "bob",
        "public": keys.public_hex(key),
    }
    with pytest.raises(VerificationFailed, match="no such invitation"):
        enrol(code)
    with pytest.raises(BadInput, match="a name that no key has had"):
        keys.invite("bob", "external")
    with pytest.raises(BadInput, match="bob holds this one"):  # no key holds two kinds
        enrol(keys.invite("cy", "person"))
    with pytest.raises(BadInput, match="as bob's other keys"):
        keys.invite("bob2", "person", "bob")


def test_the_list_holds_what_waits_for_its_reader_and_leads_to_the_next(client):
    """Fails where a reader who cannot decide, or has decided, is shown a request as theirs."""
    http, door, cfg = client
    signed_in(http, door)
    put(cfg, {"hypothesis": "the other one"})
    first, second = (request.subject for request in gate_of(cfg).pending())
    assert "2 waiting for your decision" in http.get("/").text
    assert pages.ServedRuns(Path(cfg.runs)).next_for(session_of("ada"))
    assert not approve(cfg, first, "patch", "escalate")
    text = http.get("/").text
    assert first[:12] not in text and second[:12] in text and "1 more waits for other" in text
    assert first[:12] in http.get("/?whole=1").text
    keys.new_key("bob", "person", "correct horse")
    keys.new_key("eve", "auditor", "correct horse")
    for name in ("bob", "eve"):  # no key of the study's
        assert not pages.ServedRuns(Path(cfg.runs)).next_for(session_of(name))


def session_of(name):
    """Return a session of a key, as the door would open it."""
    half = next(half for half in keys.public_keys() if half["name"] == name)
    return Session(
        name=name, kind=half["kind"], public=half["public"], token="", until=float("inf")
    )
