"""What an export leaves out of a ledger, and how the rest still proves itself.

A line of `entries.jsonl` is an entry's own bytes, or a closed entry: its fields without what stays
closed, and its hash. The hash of an open line is that of its bytes; that of a closed one is bound
by the next open entry and the next signed head. Which kinds may be closed, and when, is the table
below; verification holds every closed line against it. A hash without salt hides nothing that can
be guessed: who guesses a closed entry's content can confirm the guess.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import sqlalchemy as sa

from configs.build import parse
from configs.entries import Entry
from configs.errors import VerificationFailed
from configs.objective import Objective
from configs.records import Scores
from evals.metrics import rounded
from loop.facts.facts import Facts, FactsReader
from sandbox.canonical import canonical, digest
from sandbox.decision import policy
from sandbox.ledger import ENTRIES, GENESIS, Ledger

WHY: dict[str, tuple[tuple[str, ...], bool, str]] = {
    "seed": (("start",), False, "a training's seed comes from the study secret"),
    "sealed": (
        ("score",),
        False,
        "of sealed only the effect and its interval leave, with the opening",
    ),
    "score": (("score",), True, "until the study ends only rounded feedback scores are shown"),
    "verdict": (("verdict",), True, "until the study ends only the answer leaves the gate split"),
    "probe": (
        ("probe", "request", "approval", "decision"),
        True,
        "a reviewer would know a probe from a plan",
    ),
}
"""Reason -> (kinds of entries that it closes, whether in a running study alone, why)."""


FIGURES = (
    "gain",
    "low",
    "high",
    "evidence",
    "corrected",
    "corrected_low",
    "corrected_high",
    "hidden",
    "bounded",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Carried:
    """One run as an export carries it."""

    entries: list[Entry]
    "every entry; closed ones without what stays closed"
    closed: dict[int, str]
    "sequence of a closed entry -> reason"

    def ledger(self) -> "Folded":
        """Return what a ledger would give, without the scores and probes that are closed."""
        return Folded(
            [e for e in self.entries if self.closed.get(e.sequence, "seed") in ("seed", "verdict")]
        )

    def facts(self) -> Facts:
        """Return the facts of the open part."""
        return FactsReader(self.ledger()).facts()


class Folded(Ledger):
    """A ledger without a database: entries that were read and checked elsewhere."""

    def __init__(self, entries: list[Entry]) -> None:
        self._kept = entries

    def entries(self) -> list[Entry]:
        """Return all of them."""
        return list(self._kept)

    def since(
        self, sequence: int, connection: sa.Connection | None = None, upto: int = 2**53
    ) -> list[Entry]:
        """Return those after a sequence."""
        return [e for e in self._kept if e.sequence > sequence]


def redacted(entries: Sequence[Entry]) -> Carried:
    """Return a ledger's entries as an export carries them."""
    ended, objective = any(e.kind == "end" for e in entries), policy(list(entries)).config.objective
    probes = set() if ended else {e.body["digest"] for e in entries if e.kind == "probe"}
    kept, closed = list[Entry](), dict[int, str]()
    for entry in entries:
        why = _reason(entry, ended, probes)
        if why:
            closed[entry.sequence] = why
            entry = replace(entry, monotonic_us=0, body=_without(entry.body, why, objective))
        kept.append(entry)
    return Carried(entries=kept, closed=closed)


def _reason(entry: Entry, ended: bool, probes: set[str]) -> str:
    if entry.kind == "start":
        return "seed"
    if entry.kind == "score" and entry.body["scores"]:
        return "sealed" if entry.body["scores"]["split"] == "sealed" else "" if ended else "score"
    if entry.kind == "verdict":
        return "" if ended else "verdict"
    subject = (
        entry.body["digest"]
        if entry.kind == "probe"
        else (entry.body["approval"] if entry.kind == "approval" else entry.body).get("plan")
    )
    return "probe" if entry.kind in WHY["probe"][0] and subject in probes else ""


def _without(body: Mapping[str, Any], why: str, objective: Objective) -> dict[str, Any]:
    """Return a body without what its reason closes."""
    if why == "seed":
        job = body["job"]
        return {**body, "job": {**job, "order": {**job["order"], "seed": None}}}
    if why == "verdict":
        kept = {
            **body["verdict"],
            **dict.fromkeys(FIGURES),
            "criteria": [{**c, "value": None, "text": ""} for c in body["verdict"]["criteria"]],
        }
        return {**body, "verdict": kept}
    if why == "probe":
        return {}
    split, told = body["scores"]["split"], {}
    if split == "feedback" and math.isfinite(
        value := rounded(objective, parse(Scores, body["scores"]))
    ):
        told["rounded"] = value
    return {**{k: v for k, v in body.items() if k != "nearest"}, "scores": {"split": split, **told}}


def lines(ledger: Ledger, carried: Carried) -> bytes:
    """Return `entries.jsonl`: line by line the ledger's own bytes, or the canonical bytes of a
    closed entry.
    """

    def told(connection: sa.Connection) -> bytes:
        stored = connection.execute(
            sa.select(ENTRIES.c.bytes).order_by(ENTRIES.c.sequence).limit(len(carried.entries))
        ).scalars()
        closed = carried.closed
        return b"".join(
            (_closed(e, closed[e.sequence]) if e.sequence in closed else bytes(data)) + b"\n"
            for e, data in zip(carried.entries, stored, strict=True)
        )

    return bytes(ledger.read(told))


def _closed(entry: Entry, why: str) -> bytes:
    left = {
        "sequence": entry.sequence,
        "previous": entry.previous,
        "kind": entry.kind,
        "time": entry.time,
        "body": entry.body,
    }
    return canonical({"closed": why, "hash": entry.hash, "entry": left})


def read(data: bytes) -> Carried:
    """Read and check `entries.jsonl`: each hash, each link, each closed line by the table; raises
    VerificationFailed, which names the entry.
    """
    entries, closed, before = list[Entry](), dict[int, str](), GENESIS
    rows = data.split(b"\n")
    if rows.pop():
        raise VerificationFailed(f"entry {len(rows) + 1} has no line end; the file is cut there")
    for expected, line in enumerate(rows, 1):
        try:
            entry, why = _entry(line)
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            raise VerificationFailed(f"entry {expected} is no entry of a ledger") from None
        if (entry.sequence, entry.previous) != (expected, before):
            raise VerificationFailed(
                f"entry {expected} is missing or out of order, or the entry before it has wrong"
                " bytes: the chain breaks there"
            )
        closed |= {expected: why} if why else {}
        entries.append(entry)
        before = entry.hash
    _by_the_table(entries, closed)
    return Carried(entries=entries, closed=closed)


def _entry(line: bytes) -> tuple[Entry, str]:
    found = json.loads(line)
    if "closed" not in found:
        return Entry(**found, hash=digest(line)), ""
    entry = Entry(**found["entry"], monotonic_us=0, hash=found["hash"])
    if _closed(entry, found["closed"]) != line:
        raise ValueError("not canonical")
    return entry, str(found["closed"])


def _by_the_table(entries: Sequence[Entry], closed: Mapping[int, str]) -> None:
    ended = any(e.kind == "end" for e in entries)
    for entry in entries:
        why = closed.get(entry.sequence, "")
        kinds, running, _ = WHY.get(why, ((), False, ""))
        if why and (entry.kind not in kinds or (running and ended)):
            raise VerificationFailed(
                f"entry {entry.sequence} ({entry.kind}) is closed as {why!r}; it may not be"
            )
        if not why and _reason(entry, ended, set()):
            raise VerificationFailed(
                f"entry {entry.sequence} ({entry.kind}) is open; it should be closed as"
                f" {_reason(entry, ended, set())!r}"
            )
        if why == "seed" and entry.body["job"]["order"]["seed"] is not None:
            raise VerificationFailed(f"entry {entry.sequence} shows a seed")
