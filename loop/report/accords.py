"""What did a study owe by its accords, from when to when, and was it broken? A table."""

from collections.abc import Iterator
from datetime import UTC
from typing import Any

from configs.entries import IncidentEntry, facts_of
from loop.accord.acts import list_signed, title_breach
from loop.accord.check import STARTS
from loop.accord.evidence import time_of
from loop.accord.own import find_breaches, list_within
from loop.accord.terms import Signed, Term
from loop.instruments.run import Run
from loop.report.evidence import Index
from loop.report.shape import Table, table
from loop.report.study import MeasuredStudy


def list_accords(study: MeasuredStudy, index: Index, name: str) -> Table:
    """Return a row of each term of each accord that a run recorded; empty without one."""
    rows, ledger = list[tuple[Any, ...]](), list[str]()
    for number, folder, run in zip(study.numbers, study.folders, study.runs, strict=True):
        for row in _list_terms(run):
            rows.append((folder.name, *row))
            ledger.append(index.of("accord", number))
    return table("accords", rows, ledger, name)


def _list_terms(run: Run) -> Iterator[tuple[Any, ...]]:
    entries = run.entries
    root = entries[0].hash
    for signed in list_signed(entries):
        for term in signed.accord.terms:
            party = signed.accord.party(term.study)
            own = term.study == root
            started = sum(entry.kind in STARTS for entry in list_within(entries, term))
            yield (
                signed.digest[:12],
                "this run" if own else party.name if party else "",
                f"{term.what} {term.per_hour or ''}".strip(),
                *(time.astimezone(UTC).strftime("%F %T") for time in term.window),
                _find_state(run, signed, term),
                started if own else None,
                ", ".join(sorted(_list_broken(run, signed, term.study))) or "none recorded",
            )


def _list_broken(run: Run, signed: Signed, study: str) -> set[str]:
    """Return the rules that a party broke: by this ledger, and by the incidents in it."""
    found = [one for one in find_breaches(run.entries) if one.accord == signed.digest]
    rules = {one.finding.rule for one in found if one.finding.study == study}
    start = title_breach(signed.digest, study, "")
    titles = (fact.incident.title for fact in facts_of(run.entries, IncidentEntry))
    return rules | {title.removeprefix(start) for title in titles if title.startswith(start)}


def _find_state(run: Run, signed: Signed, term: Term) -> str:
    """Return how far a window is by the newest entry: a report hangs on no clock."""
    first, last = term.window
    now = time_of(run.entries[-1])
    if not signed.whole:
        return "lacks a signature"
    return "ahead" if now < first else "under way" if now <= last else "over"
