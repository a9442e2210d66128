"""Which entries does an export close, and how does the rest still prove itself?

A line of `entries.jsonl` is an entry's own bytes, or a closed entry: its hash, and its fields
without the closed ones. An open line has the hash of its bytes. The next open entry and the next
signed head bind the hash of a closed line. The table WHY says which kinds may be closed, and when;
verification holds every closed line against it. A hash without salt hides nothing from a guess: a
reader who guesses a closed entry can confirm the guess.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import sqlalchemy as sa

from configs.build import parse
from configs.entries import (
    TRANSACTION,
    ApprovalEntry,
    EndEntry,
    Entry,
    ProbeEntry,
    ScoreEntry,
    StartEntry,
    StudyEntry,
    VerdictEntry,
    by_entry,
    facts_of,
    flatten,
    unflatten,
)
from configs.errors import VerificationFailed
from configs.objective import Objective
from configs.records import Scores
from evals.metrics import round_primary
from loop.facts.facts import Facts
from loop.facts.reader import FactsReader
from sandbox.canonical import canonical, digest
from sandbox.chain import GENESIS
from sandbox.decision import policy
from sandbox.ledger import ENTRIES, Ledger

WHY: dict[str, tuple[tuple[str, ...], bool, str]] = {
    "seed": (("start",), False, "a training's seed comes from the study secret"),
    "sealed": (
        ("score",),
        False,
        "of sealed only the effect and its interval leave, with the opening",
    ),
    "score": (("score",), True, "until the study ends only rounded feedback scores are shown"),
    "verdict": (("verdict",), True, "until the study ends only the answer leaves the gate split"),
    "selection": (("selection", "program"), True, "no skill that selects is shown until the end"),
    "probe": (
        ("probe", "request", "approval", "decision"),
        True,
        "a reviewer would know a probe from a plan",
    ),
}
"""Reason -> (kinds of entries that it closes, whether in a running study alone, why)."""
Place = tuple[int, int]
"""Number of an entry, and place of a fact in it, from 0."""
DAMAGE = (ValueError, TypeError, KeyError, AttributeError, RecursionError)
"""What reading a line raises that is no entry."""
MEASURABLE = ("seed", "verdict", "selection")
"""Reasons that leave an entry fit for the instruments."""
ENDS = ("corrected", "corrected_low", "corrected_high")
FIGURES = ("gain", "low", "high", "evidence", *ENDS, "hidden", "bounded")
"""Fields of a verdict that stay closed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClosedScore:
    """The open part of a closed score."""

    plan: str
    "digest of the plan"
    role: str
    "role of the job that predicted"
    index: int
    "number of the replicate"
    reason: str
    "why it failed; empty: it did not"
    split: str
    "the split"
    rounded: float | None
    "the rounded score on feedback"


@dataclass(frozen=True, slots=True, kw_only=True)
class Carried:
    """A run as an export carries it."""

    entries: list[Entry]
    "every fact; a closed fact without its closed fields"
    closed: dict[Place, str]
    "place of a closed fact -> reason"

    def ledger(self) -> "Folded":
        """Return the entries as a ledger, without closed scores and probes."""
        return Folded([e for e in self.entries if self._is_measurable(e)])

    def facts(self) -> Facts:
        """Return the facts of the open part."""
        return FactsReader(self.ledger()).facts()

    @property
    def study(self) -> str:
        """The digest of the study root."""
        return self.entries[0].hash

    @property
    def root(self) -> StudyEntry:
        """The study root."""
        return cast(StudyEntry, self.entries[0].fact)

    def _is_measurable(self, entry: Entry) -> bool:
        return entry.place not in self.closed or self.closed[entry.place] in MEASURABLE


class Folded(Ledger):
    """A ledger without a database: entries, read and checked elsewhere."""

    def __init__(self, entries: list[Entry]) -> None:
        self._entries = entries

    def entries(self) -> list[Entry]:
        """Return all entries."""
        return list(self._entries)

    def since(
        self, sequence: int, connection: sa.Connection | None = None, upto: int = 2**53
    ) -> list[Entry]:
        """Return the entries after a sequence."""
        return [e for e in self._entries if e.sequence > sequence]


def close_entries(entries: Sequence[Entry]) -> Carried:
    """Return a ledger's entries as an export carries them."""
    ended, objective = _has_ended(entries), policy(list(entries)).config.objective
    probes = set() if ended else {probe.digest for probe in facts_of(entries, ProbeEntry)}
    carried, closed = list[Entry](), dict[Place, str]()
    for entry in entries:
        why = _reason(entry, ended, probes)
        if why:
            closed[entry.place] = why
            entry = replace(entry, monotonic_us=0, body=_without(entry.body, why, objective))
        carried.append(entry)
    return Carried(entries=carried, closed=closed)


def closed_score(entry: Entry) -> ClosedScore:
    """Return the open part of a closed score; its body is no record of its kind any more."""
    body = entry.body
    return ClosedScore(
        plan=body["plan"],
        role=body["role"],
        index=body["index"],
        reason=body["reason"],
        split=body["scores"]["split"],
        rounded=body["scores"].get("rounded"),
    )


def _has_ended(entries: Sequence[Entry]) -> bool:
    return any(entry.kind == EndEntry.kind for entry in entries)


def _reason(entry: Entry, ended: bool, probes: set[str]) -> str:
    """Return why an entry is closed; empty: it is open."""
    # Bodies are read as they stand on the wire: a closed body is no record of its kind.
    if entry.kind == StartEntry.kind:
        return "seed"
    if entry.kind == ScoreEntry.kind and entry.body["scores"]:
        if entry.body["scores"]["split"] == "sealed":
            return "sealed"
        return "" if ended else "score"
    if entry.kind == VerdictEntry.kind:
        return "" if ended else "verdict"
    if entry.kind in WHY["selection"][0]:
        return "" if ended else "selection"
    names_probe = entry.kind in WHY["probe"][0] and _subject(entry) in probes
    return "probe" if names_probe else ""


def _subject(entry: Entry) -> Any:
    """Return the subject of a probe, a request or a decision."""
    if entry.kind == ProbeEntry.kind:
        return entry.body["digest"]
    return (entry.body["approval"] if entry.kind == ApprovalEntry.kind else entry.body).get("plan")


def _without(body: Mapping[str, Any], why: str, objective: Objective) -> dict[str, Any]:
    """Return a body without its closed fields."""
    if why == "seed":
        job = body["job"]
        return {**body, "job": {**job, "order": {**job["order"], "seed": None}}}
    if why == "verdict":
        return {**body, "verdict": _answer_alone(body["verdict"])}
    if why == "selection" and "contenders" not in body:
        return {**body, "skill": None, "gained": None}
    if why == "selection":
        hidden = dict.fromkeys(("skill", "counted"))
        return {**body, "contenders": [one | hidden for one in body["contenders"]]}
    if why == "probe":
        return {}
    scores = body["scores"]
    shown = {"split": scores["split"]}
    if scores["split"] == "feedback":
        value = round_primary(objective, parse(Scores, scores))
        if math.isfinite(value):
            shown["rounded"] = value
    rest = {name: value for name, value in body.items() if name != "nearest"}
    return {**rest, "scores": shown}


def _answer_alone(verdict: Mapping[str, Any]) -> dict[str, Any]:
    criteria = [{**criterion, "value": None, "text": ""} for criterion in verdict["criteria"]]
    return {**verdict, **dict.fromkeys(FIGURES), "criteria": criteria}


def lines(ledger: Ledger, carried: Carried) -> bytes:
    """Return `entries.jsonl`.

    A line is the ledger's own bytes of an entry, or the canonical bytes of a closed entry.
    """

    def read_lines(connection: sa.Connection) -> bytes:
        last = carried.entries[-1].sequence
        stored = connection.execute(
            sa.select(ENTRIES.c.bytes).order_by(ENTRIES.c.sequence).limit(last)
        ).scalars()
        written = list[bytes]()
        for facts, data in zip(by_entry(carried.entries), stored, strict=True):
            reasons = {
                f.number: carried.closed[f.place] for f in facts if f.place in carried.closed
            }
            written.append(_closed(facts, reasons) if reasons else bytes(data))
        return b"".join(line + b"\n" for line in written)

    return bytes(ledger.read(read_lines))


def _closed(facts: Sequence[Entry], reasons: Mapping[int, str]) -> bytes:
    """Return the line of an entry with closed facts.

    Its reason is a text, or for a transaction a text for each closed fact, by its number.
    """
    fields = unflatten(facts)
    del fields["monotonic_us"]
    by_number = {str(number): why for number, why in reasons.items()}
    why = by_number if fields["kind"] == TRANSACTION else reasons[0]
    return canonical({"closed": why, "hash": facts[0].hash, "entry": fields})


def read(data: bytes) -> Carried:
    """Read and check `entries.jsonl`: each hash, each link, each closed line by the table.

    Raises VerificationFailed with the number of the entry.
    """
    entries, closed, before = list[Entry](), dict[Place, str](), GENESIS
    rows = data.split(b"\n")
    if rows.pop():
        raise VerificationFailed(f"entry {len(rows) + 1} has no line end; the file is cut there")
    for expected, line in enumerate(rows, 1):
        try:
            facts, reasons = _read_line(line)
        except DAMAGE:
            raise VerificationFailed(f"entry {expected} is no entry of a ledger") from None
        if (facts[0].sequence, facts[0].previous) != (expected, before):
            raise VerificationFailed(
                f"entry {expected} is missing or out of order, or the entry before it has wrong"
                " bytes: the chain breaks there"
            )
        closed |= {(expected, number): why for number, why in reasons.items()}
        entries += facts
        before = facts[0].hash
    _check_closed(entries, closed)
    return Carried(entries=entries, closed=closed)


def _read_line(line: bytes) -> tuple[list[Entry], dict[int, str]]:
    """Return the facts of a line, and the reason of each closed fact by its number."""
    fields = json.loads(line)
    if "closed" not in fields:
        return flatten(fields, digest(line)), {}
    facts = flatten({**fields["entry"], "monotonic_us": 0}, fields["hash"])
    why = fields["closed"]
    reasons = {0: why} if isinstance(why, str) else {int(n): str(why[n]) for n in why}
    if not reasons or not reasons.keys() <= set(range(len(facts))):
        raise ValueError("it closes no fact, or a fact that it lacks")
    if _closed(facts, reasons) != line:
        raise ValueError("not canonical")
    return facts, reasons


def _check_closed(entries: Sequence[Entry], closed: Mapping[Place, str]) -> None:
    """Hold every entry against the table WHY."""
    ended = _has_ended(entries)
    for entry in entries:
        try:
            _check_reason(entry, closed.get(entry.place, ""), ended)
        except DAMAGE:
            # No hash binds a closed line, and none yet the last one.
            raise VerificationFailed(f"entry {entry.sequence} is no entry of a ledger") from None


def _check_reason(entry: Entry, why: str, ended: bool) -> None:
    name = f"entry {entry.sequence} ({entry.kind})"
    kinds, running, _ = WHY.get(why, ((), False, ""))
    if why and (entry.kind not in kinds or (running and ended)):
        raise VerificationFailed(f"{name} is closed as {why!r}; it may not be")
    expected = "" if why else _reason(entry, ended, set())
    if expected:
        raise VerificationFailed(f"{name} is open; it should be closed as {expected!r}")
    if why == "seed" and entry.body["job"]["order"]["seed"] is not None:
        raise VerificationFailed(f"entry {entry.sequence} shows a seed")
