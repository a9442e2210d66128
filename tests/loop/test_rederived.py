"""Each check of `heirloop verify` on a fact of the ledger, alone: in a recorded run one fact is
changed, all facts before it are true, and the check must name what is wrong.
"""

import tarfile
from copy import deepcopy
from dataclasses import replace

import pytest
from conftest import ROOT

from configs.entries import GrantEntry
from configs.errors import VerificationFailed
from loop.verify import work
from loop.verify.decisions import check_entry
from loop.verify.state import Replay
from sandbox.decision import policy
from sandbox.gate.memory import Memory
from sandbox.ledger import Ledger
from sandbox.store import Store

OTHER = "f" * 64


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """The entries and the store of recorded runs, by name; each is unpacked once."""
    opened = {}

    def read(name):
        if name not in opened:
            folder = tmp_path_factory.mktemp(name)
            with tarfile.open(ROOT / f"tests/ledgers/{name}.tar.xz") as archive:
                archive.extractall(folder, filter="data")
            run = folder / "runs" / name
            opened[name] = Ledger.at(run).entries(), Store(run / "store")
        return opened[name]

    return read


def start(entries, store):
    return Replay(memory=Memory(rules=policy(entries[:1])), store=store)


def is_of(**fields):
    """Return a test of bodies: every field has its value."""
    return lambda body: all(body.get(name) == value for name, value in fields.items())


def put(value, *path):
    """Return a change of bodies: a value at a path."""

    def change(body):
        place = body
        for name in path[:-1]:
            place = place[name]
        assert place[path[-1]] != value
        place[path[-1]] = value

    return change


def silent(body):
    body["answer"]["text"] = ""


def later(body):
    return body["name"] != "root"


FIRST = is_of()
CHANGES = {
    "deployment": ("orders", "deploy", FIRST, put([OTHER], "by"), "other decisions than those"),
    "deployed without": ("orders", "deploy", FIRST, put(OTHER, "plan"), "rests on no decision"),
    "amended by": ("orders", "amended", FIRST, put([OTHER], "by"), "other decisions than those"),
    "amended": ("orders", "amended", FIRST, put(OTHER, "decided"), "not what people decided on"),
    "a released stop": ("orders", "control", is_of(what="pause"), put("resume", "what"), "went on"),
    "mandate": ("orders", "mandate", FIRST, put(9, "mandate", "caps", "drift"), "was signed"),
    "mandate's name": ("orders", "mandate", FIRST, put(OTHER, "digest"), "was signed"),
    "approval": ("people", "approval", FIRST, put(9, "approval", "generation"), "was signed"),
    "approval's name": ("people", "approval", FIRST, put(OTHER, "digest"), "was signed"),
    "plan's study": ("people", "plan", FIRST, put(OTHER, "plan", "study"), "for another study"),
    "objective": ("people", "plan", FIRST, put(OTHER, "plan", "objective"), "another objective"),
    "opened": ("people", "look", FIRST, put("sealed", "split"), "nobody decided on it"),
    "decision": ("people", "decision", FIRST, put([OTHER], "by"), "gave another decision"),
    "job": ("people", "start", FIRST, put(OTHER, "digest"), "does not match its digest"),
    "granted job": ("people", "start", FIRST, put(7, "grant", "index"), "without a grant"),
    "grant's decision": ("people", "grant", FIRST, put(OTHER, "grant", "authority"), "no decision"),
    "grant's job": ("people", "grant", FIRST, put(99, "grant", "index"), "no such job"),
    "result": ("people", "job", FIRST, put("f" * 32, "nonce"), "never began, or a second one"),
    "settled": ("people", "settle", FIRST, put(9, "released", "jobs"), "was not reserved"),
    "account": ("people", "account", later, put("root", "name"), "opened before"),
    "question": ("outside", "call", FIRST, put(OTHER, "digest"), "does not match its digest"),
    "answer": ("outside", "answer", FIRST, put(OTHER, "digest"), "answers another question"),
    "charge": ("outside", "answer", FIRST, put(9, "answer", "charged", "tokens"), "not settled"),
    "no text": ("outside", "answer", lambda b: b["answer"]["text"], silent, "with status ok"),
    "text": ("outside", "answer", FIRST, put("yes", "answer", "text"), "with status busy"),
}
"""Name -> run, kind of the fact, which of its bodies, the change, and words of the refusal."""


@pytest.mark.parametrize("name", CHANGES)
def test_a_changed_fact_is_refused_by_the_check_meant_for_it(recorded, name):
    run, kind, which, change, words = CHANGES[name]
    entries, store = recorded(run)
    replay = start(entries, store)
    for entry in entries:
        if entry.kind == kind and which(entry.body):
            body = deepcopy(entry.body)
            change(body)
            with pytest.raises(VerificationFailed, match=words):
                check_entry(replay, replace(entry, body=body))
            return
        check_entry(replay, entry)
    raise AssertionError(f"{run} has no such {kind}")


AGAIN = ("plan", "approval", "grant", "reserve", "job", "verdict", "end")
"""Kinds that come about once: the next fact with the same body is refused."""


@pytest.mark.parametrize("kind", AGAIN)
def test_a_fact_that_comes_about_once_is_refused_the_second_time(recorded, kind):
    entries, store = recorded("people")
    replay = start(entries, store)
    for entry in entries:
        check_entry(replay, entry)
        if entry.kind == kind:
            break
    with pytest.raises(VerificationFailed, match=r"before|second one|has a verdict"):
        check_entry(replay, entry)


def test_no_ledger_since_format_2_has_grants_without_a_start(recorded):
    entries, store = recorded("people")
    replay = start(entries, store)
    grant = next(entry for entry in entries if entry.kind == "grant")
    for entry in entries[: entries.index(grant)]:
        check_entry(replay, entry)
    replay.memory.rules = replace(replay.memory.rules, format=2)
    assert isinstance(grant.fact, GrantEntry)
    with pytest.raises(VerificationFailed, match="only a ledger of format 1"):
        work.check_grant(replay, grant.fact)
