"""Notices through apprise to a real server on loopback: what goes out, what does not, retries,
hangs, acknowledgements.
"""

import json
import logging
import re
import stat
import threading
import time
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from click.testing import CliRunner
from fakes import FakeBox, written
from studies import HUMAN, approve, better, bodies, config, entries, gate_of, mandate, waiting

from configs.build import plain
from configs.errors import BadInput, NeedsHuman, VerificationFailed
from loop.command import main
from loop.facts import statement
from loop.people import notice, requests, send
from loop.people.addresses import Addresses
from loop.people.send import BACKOFF_SECONDS, Caller
from loop.propose.table import PROPOSERS
from loop.study import root
from loop.verify.run import verify
from sandbox import control, incident, keys
from sandbox.canonical import digest
from sandbox.decision import unix
from sandbox.unsigned import new_approval

BODY = re.compile(
    r"(a decision of class (recipe|patch|promote|deploy|resume|amend) is asked for until [-0-9T:+]+"
    r"|a request of class (recipe|patch) was not decided on in time, which means no"
    r"|a (stop|pause) was ordered( by a tripwire)?|a compute statement was signed"
    r"|I-\d+ was (recorded|amended): (incident|near miss|hazard), severity"
    r" (low|medium|high|critical)(, a notice to authorities is due [-0-9T:+]+)?)"
    r"; (subject [0-9a-f]{64}; )?entry [0-9a-f]{64}; notice [0-9a-f]{64}; study [0-9a-f]{64}"
)
HOSTILE = "https://evil.example/approve?token=1 \x1b[2J‮ ignore the digest"


class Receiver:
    """A real HTTP server whose answers are scripted: a status, or "hang" until the test ends; then
    200.
    """

    def __init__(self, *script):
        self.script, self.got, self.over = list(script), [], threading.Event()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                outer.got.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                answer = outer.script.pop(0) if outer.script else 200
                if answer == "hang":
                    outer.over.wait()
                with_status = 200 if answer == "hang" else answer
                try:
                    self.send_response(with_status)
                    self.end_headers()
                except OSError:
                    pass

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"json://127.0.0.1:{self.server.server_port}/hook"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        self.over.set()
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def receive():
    made = []

    def start(*script):
        made.append(Receiver(*script))
        return made[-1]

    yield start
    for one in made:
        one.close()


@pytest.fixture
def asked(tmp_path, go, monkeypatch):
    """A study with a hostile proposer that waits for ada and the outsider eve, the counterparty."""
    keys.new_key("ada", "person", "correct horse")
    keys.new_key("eve", "external", "correct horse")
    cfg = config(tmp_path, *HUMAN, "gates.counterparty=eve", "study.proposals=1")
    with pytest.raises(NeedsHuman):
        go(cfg, FakeBox(better))
    approve(cfg, waiting(cfg)[0], "recipe")
    proposal = json.dumps({"hypothesis": HOSTILE, "knobs": {"depth": 3}, "predicted_gain": 0.5})
    monkeypatch.setitem(PROPOSERS, "local", written(lambda view: proposal))
    with pytest.raises(NeedsHuman):
        go(cfg, FakeBox(better))
    return cfg, tmp_path / "runs" / "t"


def call(cfg, folder, now=None, seconds=send.SEND_SECONDS, passes=30):
    """Send all that is due; the recorded attempts."""
    caller, rows = Caller(gate_of(cfg), folder), []
    for _ in range(passes):
        got = caller.deliver(now, seconds)
        rows += got
        if not got:
            break
    return rows


def test_what_goes_out_is_digests_and_a_fixed_line_whatever_a_model_or_a_person_wrote(
    asked, receive
):
    cfg, folder = asked
    ada, eve = receive(), receive()
    Addresses().set("ada", ada.url)
    Addresses().set("eve", eve.url)
    gate = gate_of(cfg)
    plan = gate.pending()[0].subject
    with gate.ledger.transaction() as txn:
        incident.report(
            txn,
            HOSTILE,
            severity="high",
            kind="incident",
            harm_actual="other",
            containment=HOSTILE,
            plan=plan,
        )
    incident.amend(gate.ledger, "I-1", {"root_cause": HOSTILE}, HOSTILE)
    control.order(gate.ledger, "pause", HOSTILE, HOSTILE)
    statement.publish([folder])
    rows = call(cfg, folder)
    assert all(r.ok for r in rows) and {r.scheme for r in rows} == {"json"}
    whats = ["order", "incident", "incident", "request"]
    assert [r.what for r in rows if r.to == "ada"] == whats
    assert sorted(r.what for r in rows if r.to == "eve") == sorted(
        [*whats, "compute"]
    )  # the statement is for the outsider
    for message in [*ada.got, *eve.got]:
        assert BODY.fullmatch(message["message"]) and re.fullmatch(
            r"Heirloop: [a-z]+", message["title"]
        )
        assert (
            set(message) == {"version", "title", "message", "attachments", "type"}
            and message["attachments"] == []
        )
        assert "evil" not in json.dumps(message) and "://" not in message["message"]
    assert any(f"subject {plan}" in m["message"] for m in ada.got)
    told = {digest(n) for n in notice.list_notices(gate.refresh(), entries(cfg), gate.now())}
    assert all(re.search("notice ([0-9a-f]{64})", m["message"])[1] in told for m in ada.got)
    verify(folder)


def test_with_titles_in_messages_an_attacker_s_text_would_go_out(asked, receive, monkeypatch):
    """Ablation of the fixed line: what the test above would see."""
    cfg, folder = asked
    ada, real = receive(), notice._notify_event
    Addresses().set("ada", ada.url)
    monkeypatch.setattr(
        notice,
        "_notify_event",
        lambda root, e: (
            (made := real(root, e)) and replace(made, text=e.body.get("title", made.text))
        ),
    )
    with gate_of(cfg).ledger.transaction() as txn:
        incident.report(txn, HOSTILE)
    call(cfg, folder)
    assert "evil" in ada.got[0]["message"] and not BODY.fullmatch(ada.got[0]["message"])


def test_without_the_record_of_what_was_sent_it_would_go_out_twice(asked, receive, monkeypatch):
    cfg, folder = asked
    ada = receive()
    Addresses().set("ada", ada.url)
    monkeypatch.setattr(type(gate_of(cfg).ledger), "append", lambda *_: None)
    for _ in range(2):
        assert Caller(gate_of(cfg), folder).deliver()
    assert len(ada.got) == 2


def test_a_resumed_run_sends_nothing_twice_and_no_notice_opens_or_closes_a_gate(asked, receive, go):
    cfg, folder = asked
    ada = receive()
    Addresses().set("ada", ada.url)
    before = [(r.subject, r.change_class) for r in gate_of(cfg).pending()]
    for _ in range(2):
        with pytest.raises(NeedsHuman):
            go(cfg, FakeBox(better))  # the loop calls by itself
    assert len(ada.got) == 1 and [b["ok"] for b in bodies(cfg, "notice")] == [True]
    assert (
        call(cfg, folder) == []
        and [(r.subject, r.change_class) for r in gate_of(cfg).pending()] == before
    )


def test_a_failing_receiver_is_tried_again_a_bounded_number_of_times_and_then_given_up(
    asked, receive
):
    cfg, folder = asked
    ada = receive(*[503] * 20)
    Addresses().set("ada", ada.url)
    start = int(gate_of(cfg).now()) + 1
    assert (
        len(call(cfg, folder, start)) == 1
        and call(cfg, folder, start + BACKOFF_SECONDS[1] - 1) == []
    )
    at = start
    for wait in BACKOFF_SECONDS[1:]:
        at += wait
        assert len(call(cfg, folder, at)) == 1
    assert call(cfg, folder, at + 10 * BACKOFF_SECONDS[-1]) == [] and len(ada.got) == len(
        BACKOFF_SECONDS
    )
    rows = bodies(cfg, "notice")
    assert [r["attempt"] for r in rows] == [1, 2, 3, 4, 5] and {
        (r["ok"], r["error"]) for r in rows
    } == {(False, "status 503")}
    assert gate_of(cfg).pending()  # what was asked still waits
    other = receive()
    Addresses().set("ada", other.url)  # another address begins anew
    assert [r.ok for r in call(cfg, folder, at + 1)] == [True] and len(other.got) == 1


def test_a_receiver_that_recovers_gets_it_once(asked, receive):
    cfg, folder = asked
    ada = receive(500)
    Addresses().set("ada", ada.url)
    start = int(gate_of(cfg).now()) + 1
    found = (
        call(cfg, folder, start)
        + call(cfg, folder, start + BACKOFF_SECONDS[1])
        + call(cfg, folder, start + 10**4)
    )
    assert [(r.ok, r.error) for r in found] == [(False, "status 500"), (True, "")] and len(
        ada.got
    ) == 2


def test_a_dead_address_is_a_recorded_failure(asked):
    cfg, folder = asked
    Addresses().set("ada", "json://127.0.0.1:9/x")
    assert [(r.ok, r.error) for r in call(cfg, folder)] == [(False, "connection")]


def test_a_failure_is_told_though_another_library_silenced_every_logger(asked, monkeypatch):
    cfg, folder = asked
    monkeypatch.setattr(logging.getLogger("apprise"), "disabled", True)
    Addresses().set("ada", "json://127.0.0.1:9/x")
    assert [(r.ok, r.error) for r in call(cfg, folder)] == [(False, "connection")]


def test_a_hanging_receiver_holds_up_neither_the_others_nor_the_loop(asked, receive, go):
    cfg, folder = asked
    Addresses().set("ada", receive(*["hang"] * 9).url + "?rto=3600")
    eve = receive()
    Addresses().set("eve", eve.url)
    caller = Caller(gate_of(cfg), folder)
    found = caller.deliver(seconds=5)
    assert {r.to: (r.ok, r.error) for r in found} == {
        "ada": (False, "timeout"),
        "eve": (True, ""),
    }
    later = gate_of(cfg).now() + BACKOFF_SECONDS[1]
    assert caller.deliver(later, 1) == []  # no second thread while the first one hangs
    approve(cfg, waiting(cfg)[0], "recipe")
    box = FakeBox(better)
    with pytest.raises(NeedsHuman):
        go(
            cfg,
            box,
            # its own thread hangs in ada's server until this test is over; the plan is trained all
            # the
            # same, and the run ends
        )
    assert box.ran and not any(r["ok"] for r in bodies(cfg, "notice") if r["to"] == "ada")


def test_one_receiver_gets_no_flood(asked, receive, monkeypatch):
    cfg, folder = asked
    ada = receive()
    Addresses().set("ada", ada.url)
    monkeypatch.setattr(send, "PER_HOUR", 5)
    gate = gate_of(cfg)
    for _ in range(20):
        with gate.ledger.transaction() as txn:
            incident.report(txn, "again")
    start = int(gate.now()) + 1
    assert (
        len(call(cfg, folder, start)) == 5
        and call(cfg, folder, start + 60) == []
        and len(call(cfg, folder, start + 3601)) == 5
    )
    assert len(ada.got) == 10


def test_a_request_that_expires_is_told_and_one_that_was_decided_is_not(asked, receive):
    cfg, folder = asked
    ada = receive()
    Addresses().set("ada", ada.url)
    (request,) = gate_of(cfg).pending()
    found = call(cfg, folder, request.expires + 1)
    assert [r.what for r in found] == ["expiry"] and "was not decided on in time" in ada.got[0][
        "message"
    ]
    assert not approve(
        cfg, request.subject, "recipe", changes={"expires": int(request.expires) + 60}
    )
    assert gate_of(cfg).expired(request.expires + 1) == []


def test_two_processes_do_not_send_for_one_run(asked, receive):
    cfg, folder = asked
    ada = receive()
    Addresses().set("ada", ada.url)
    with send.lock_sending(folder / "notice.lock") as mine:
        assert mine and call(cfg, folder) == []
    assert len(call(cfg, folder)) == 1


def test_an_address_stays_in_the_user_s_folder_and_shows_no_secret(asked, receive, home, capsys):
    cfg, folder = asked
    ada = receive()
    url = ada.url.replace("json://", "json://bot:s3cret@").replace("/hook", "/T0KEN?+X-Key=h1dden")
    run = CliRunner().invoke(main.cli, ["keys", "address", "ada", url])
    assert run.exit_code == 0 and "json://..." in run.output
    listed = CliRunner().invoke(main.cli, ["keys", "list", "--json"]).output
    assert (
        stat.S_IMODE((home / "addresses.json").stat().st_mode) == 0o600
        and Addresses().urls["ada"] == url
    )
    call(cfg, folder)
    assert len(ada.got) == 1
    bare = ada.url.removeprefix("json://").partition("/")[0]
    everything = (
        b"".join(p.read_bytes() for p in folder.rglob("*") if p.is_file())
        + (run.output + listed + capsys.readouterr().err).encode()
    )
    for word in ("s3cret", "T0KEN", "h1dden", bare):
        assert word.encode() not in everything
    assert (
        CliRunner().invoke(main.cli, ["keys", "address", "ada", "--remove"]).exit_code == 0
        and Addresses().urls == {}
    )
    for bad in ("nonsense", "nothing://x", "json://"):
        with pytest.raises(BadInput, match="apprise URL"):
            Addresses().set("ada", bad)
    with pytest.raises(BadInput, match="reviewer's key"):
        Addresses().set("../ada", ada.url)


def test_a_revoked_reviewer_is_told_nothing(asked, receive):
    cfg, folder = asked
    ada = receive()
    Addresses().set("ada", ada.url)
    keys.revoke("ada")
    assert call(cfg, folder) == [] and ada.got == []


@pytest.mark.parametrize(
    "verb", [["pause"], ["incident", "report", "smoke"], ["compute"], ["notify"]]
)
def test_a_command_calls_people_about_what_it_did_and_a_dead_receiver_does_not_fail_it(
    asked, receive, verb
):
    cfg, folder = asked
    eve = receive()
    Addresses().set("ada", "json://127.0.0.1:9/x")
    Addresses().set("eve", eve.url)
    arguments = [verb[0], str(folder)] if len(verb) == 1 else [*verb[:2], str(folder), *verb[2:]]
    run = CliRunner().invoke(main.cli, arguments)
    assert run.exit_code == 0, run.output
    what = {"pause": "order", "incident": "incident", "compute": "compute", "notify": "request"}[
        verb[0]
    ]
    assert [m["title"] for m in eve.got] == [f"Heirloop: {what}"] and any(
        not r["ok"] for r in bodies(cfg, "notice") if r["to"] == "ada"
    )


@contextmanager
def told(cfg, folder, receive, name="eve"):
    """Deliver the waiting request to a receiver; yield the message's digests: notice, entry,
    study.
    """
    one = receive()
    Addresses().set(name, one.url)
    call(cfg, folder)
    yield [
        re.search(rf"\b{word} ([0-9a-f]{{64}})", one.got[-1]["message"])[1]
        for word in ("notice", "entry", "study")
    ]


def signed(payload, key="eve", kind="acknowledgement"):
    return keys.sign(payload, keys.open_key(key, "correct horse"), kind)


def test_an_acknowledgement_is_an_entry_with_its_delay_and_decides_nothing(
    asked, receive, tmp_path
):
    cfg, folder = asked
    with told(cfg, folder, receive) as (name, about, root):
        one = plain(requests.acknowledgement(gate_of(cfg), name[:12], "", "", "eve"))
        assert one == {
            **plain(requests.acknowledgement(None, name, root, about, "eve")),
            "at": one["at"],
        }  # an outsider needs the message alone
        (tmp_path / "ack.json").write_bytes(signed(one))
        for _ in range(2):
            run = CliRunner().invoke(
                main.cli, ["decide", str(tmp_path / "ack.json"), "--run", str(folder)]
            )
            assert run.exit_code == 0 and "decides nothing" in run.output
        (body,) = bodies(cfg, "acknowledgement")
        first = next(e for e in entries(cfg) if e.kind == "notice" and e.body["ok"])
        mine = next(e for e in entries(cfg) if e.kind == "acknowledgement")
        assert (
            0 <= body["delay_seconds"] <= time.time() - unix(first)
            and mine.sequence > first.sequence
        )
        gate = gate_of(cfg)
        with pytest.raises(NeedsHuman, match="0 of 1"):
            gate.authority(gate.pending()[0].subject, "recipe")
        verify(folder)
        with pytest.raises(BadInput, match="exactly one"):
            requests.acknowledgement(gate_of(cfg), "ffff", "", "", "eve")


@pytest.mark.parametrize(
    "bad",
    [
        "other notice",
        "other entry",
        "other study",
        "not the receiver",
        "forged",
        "unpinned",
        "revoked",
        "more fields",
    ],
)
def test_an_acknowledgement_of_anything_else_is_refused(asked, receive, bad):
    cfg, folder = asked
    with told(cfg, folder, receive) as (name, about, root):
        one = plain(requests.acknowledgement(None, name, root, about, "eve"))
        other = {
            "other notice": {"notice": "0" * 64},
            "other entry": {"about": "0" * 64},
            "other study": {"study": "0" * 64},
            "more fields": {"answer": "approve"},
            "unpinned": {"receiver": "mal"},
        }.get(bad, {})
        envelope = signed({**one, **other})
        if bad == "not the receiver":
            envelope = signed(
                plain(requests.acknowledgement(None, name, root, about, "ada")), "ada"
            )
        if bad == "forged":
            envelope = envelope.replace(b'"sig":"', b'"sig":"00')
        if bad == "revoked":
            keys.revoke("eve")
        with pytest.raises(VerificationFailed):
            notice.take(gate_of(cfg), envelope)
        assert bodies(cfg, "acknowledgement") == []


@pytest.mark.parametrize("enforced", [True, False])
def test_an_acknowledgement_never_counts_as_a_decision(asked, receive, monkeypatch, enforced):
    """With its ablation: a person signs, as an acknowledgement, bytes that hold a whole
    approval.
    """
    cfg, _ = asked
    gate = gate_of(cfg)
    subject = gate.memory.subjects[gate.pending()[0].subject]
    half = next(k for k in keys.public_keys() if k["name"] == "ada")
    envelope = signed(
        plain(new_approval(gate.memory.rules, subject, "recipe", "approve", "", 1, half)), "ada"
    )
    if not enforced:
        real = keys.verify
        monkeypatch.setattr(
            keys,
            "verify",
            lambda data, public, kind: real(
                data, public, "acknowledgement" if data == envelope else kind
            ),
        )
        assert not gate.admit(envelope, "approval") and gate.authority(subject.digest, "recipe")
        return
    assert notice.is_acknowledgement(envelope)
    with pytest.raises(VerificationFailed, match="malformed"):
        notice.take(gate, envelope)
    assert "should be a approval" in gate.admit(envelope, "approval")
    with pytest.raises(NeedsHuman, match="0 of 1"):
        gate.authority(subject.digest, "recipe")


def test_a_counterparty_is_a_pinned_external_reviewer(tmp_path, go):
    keys.new_key("ada", "person", "correct horse")
    cfg = config(tmp_path, "gates.counterparty=ada")
    mandate(cfg)
    with pytest.raises(BadInput, match="pinned external reviewer"):
        go(cfg, FakeBox(better))
    with pytest.raises(BadInput, match="none here"):
        root.need_counterparty(replace(cfg, gates=replace(cfg.gates, counterparty="mal")), [])
