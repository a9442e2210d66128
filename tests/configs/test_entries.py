"""Ledger entries: a record per kind that reads and writes the very bytes of real studies."""

import dataclasses
import json
import tarfile
from collections import defaultdict
from pathlib import Path

import archives
import pytest

from configs.build import plain
from configs.entries import KINDS, DecisionEntry, Entry, RequestEntry
from configs.entries.manual import HEADING, field_texts, inner_records, write_manual
from configs.errors import BadEntry, BadInput, VerificationFailed
from configs.reader import WHOLE, wire_keys
from sandbox.canonical import canonical, digest

PER_KIND = 12
"""Entries of a kind that are tried in each archive."""
READ_BYTES = 3_000_000
"""How far into an archive's ledgers the sample reaches; unpacking more takes seconds."""
LATER = {"door", "node", "fault", "selection", "program", "prune", "accord", "beat"}
LATER |= {"served", "review", "release", "rollback", "change", "reviewed", "reviews-end"}
"""Kinds younger than the recorded runs. Written by test_trials.py, test_node.py, test_faults.py,
test_selection.py, test_programs.py, test_prune.py, test_accord.py, test_factory.py, test_reviews.py
and test_claims_inbox.py.
"""
CLOSED = {"sealed", "score", "probe"}
"""Reasons for which an export closes so much of an entry that it is no record any more."""
RECORDED = sorted((Path(__file__).resolve().parents[1] / "ledgers").glob("*.tar.xz"))


def line(kind, body):
    return Entry(
        sequence=7, previous="", kind=kind, time="", monotonic_us=0, body=body, hash=digest(b"")
    )


def sampled(archive):
    """Return some lines of each kind from the first ledger of an archive."""
    lines = defaultdict(list)
    with tarfile.open(archives.path_of(archive)) as tar:
        for member in tar:
            if member.name.endswith(".jsonl") and "entries-" in member.name:
                stream = tar.extractfile(member)
                for row in stream.read(READ_BYTES).splitlines()[:-1]:
                    fields = json.loads(row)
                    kind = fields.get("entry", fields)["kind"]
                    if len(lines[kind]) < PER_KIND:
                        lines[kind].append((row, fields))
                break
    return [pair for rows in lines.values() for pair in rows]


def gives_back(row, fields):
    """Check that the record of a line gives its bytes back, unless too much of it is closed; return
    its kind.
    """
    inner = fields.get("entry", fields)
    entry = Entry(**{"monotonic_us": 0, **inner}, hash="")
    if fields.get("closed") in CLOSED:
        with pytest.raises(BadEntry, match=r"is missing|unknown key scores\.rounded"):
            entry.fact
        return ""
    whole = {**inner, "body": entry.fact}
    again = {**fields, "entry": whole} if "entry" in fields else whole
    assert canonical(again) == row
    return entry.kind


WHOLE_ARCHIVES = sorted(name for name in archives.digests() if not archives.is_lean(name))


@pytest.mark.parametrize("archive", WHOLE_ARCHIVES)
def test_a_record_gives_back_the_bytes_of_an_archived_entry(archive):
    kinds = {gives_back(row, fields) for row, fields in sampled(archive)}
    assert {"study", "account", "plan", "grant", "reserve", "settle", "start", "job"} <= kinds


def test_a_record_of_every_kind_gives_back_the_bytes_of_the_recorded_runs():
    kinds = set()
    for path in RECORDED:
        with tarfile.open(path) as tar:
            for member in tar:
                if "/entries-" in member.name:
                    rows = tar.extractfile(member).read().splitlines()
                    kinds |= {gives_back(row, json.loads(row)) for row in rows}
    assert kinds - {""} == set(KINDS) - LATER


def test_every_kind_is_a_frozen_record_named_after_it():
    for kind, record in KINDS.items():
        words = "".join(word.capitalize() for word in kind.split("-"))
        assert record.__name__ == f"{words}Entry" and record.kind == kind
        assert record.__dataclass_params__.frozen and "__slots__" in vars(record)
        keys = [key for _, key in wire_keys(record)]
        assert WHOLE not in keys or len(keys) == 1
    assert len(KINDS) == 60


def test_a_key_that_python_cannot_write_has_another_name_in_the_record():
    renamed = {
        (record.__name__, name, key)
        for record in KINDS.values()
        for name, key in wire_keys(record)
        if name != key and key != WHOLE
    }
    assert renamed == {
        ("DecisionEntry", "change_class", "class"),
        ("DecisionEntry", "reviewer_kind", "kind"),
        ("RequestEntry", "change_class", "class"),
    }


DECISION = {
    "plan": "p",
    "class": "patch",
    "allow": True,
    "authority": "a",
    "kind": "person",
    "how": "approval",
    "by": ["a"],
    "reason": "",
}


def test_a_fact_is_decoded_once():
    entry = line("decision", DECISION)
    assert isinstance(entry.fact, DecisionEntry) and entry.fact is entry.fact
    assert plain(entry.fact) == DECISION


def test_an_older_decision_that_names_no_authorities_is_read():
    assert line("decision", {k: v for k, v in DECISION.items() if k != "by"}).fact.by == ()


@pytest.mark.parametrize(
    ("kind", "body", "words"),
    [
        ("decision", DECISION | {"extra": 1}, "decision: unknown key extra is 1"),
        ("decision", DECISION | {"allow": 1}, "decision: allow is 1; it should be true or false"),
        ("decision", DECISION | {"kind": "dog"}, "kind is 'dog'; it should be one of"),
        ("decision", {"plan": "p"}, "decision: class is missing; it should be text"),
        ("grant", {"grant": {}}, "grant: grant.plan is missing"),
        ("warning", {"sign": 1}, "warning: sign is 1"),
        ("incident", {"id": "I-1"}, "incident: title is missing"),
        ("note", {}, "'note', which is unknown; known are study, account"),
    ],
)
def test_a_malformed_entry_is_refused_by_number_and_kind(kind, body, words):
    with pytest.raises(BadEntry, match=f"^entry 7 is .*{words}"):
        line(kind, body).fact
    assert issubclass(BadEntry, VerificationFailed) and issubclass(BadEntry, BadInput)
    assert BadEntry.exit_code == 6


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_refuses_an_unknown_key_and_a_missing_key(kind):
    record = KINDS[kind]
    with pytest.raises(BadEntry, match=f"is no entry of kind {kind}"):
        line(kind, {"no such key": 1}).fact
    required = [f.name for f in dataclasses.fields(record) if f.default is dataclasses.MISSING]
    if required and kind != "warning":
        with pytest.raises(BadEntry, match="is missing"):
            line(kind, {}).fact


def test_a_request_is_written_with_the_keys_of_the_wire():
    request = RequestEntry(plan="p", change_class="patch", arm="local", at=1, expires=2)
    assert canonical(request) == b'{"arm":"local","at":1,"class":"patch","expires":2,"plan":"p"}'


def test_the_ledger_s_document_ends_with_the_manual_that_the_records_print():
    text = (Path(__file__).resolve().parents[2] / "docs" / "ledger.md").read_text()
    assert HEADING in text
    assert text[text.index(HEADING) :] == write_manual()  # `python -m configs.entries`


def test_every_field_of_an_entry_and_of_the_records_in_it_has_a_meaning():
    for record in (*KINDS.values(), *inner_records()):
        assert set(field_texts(record)) == {f.name for f in dataclasses.fields(record)}, record
