"""How did oversight work? Decisions, time, canaries, notices, incidents."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

from configs.entries import IncidentAmendedEntry, IncidentEntry, facts_of
from loop.report.evidence import Index
from loop.report.shape import Table, table
from loop.report.study import MeasuredStudy
from sandbox import incident

DECIDED = ("mandate", "approval", "refused", "person", "external", "simulated", "unattended")
"""Counts of decisions by class, in the order of the columns."""


def oversight(study: MeasuredStudy, index: Index, name: str) -> list[Table]:
    """Return the tables of decisions, added up over runs, and of each run's times and canaries."""
    sums: dict[str, list[int]] = {}
    for summary in study.summaries:
        for change_class, counts in summary["oversight"]["by_class"].items():
            before = sums.get(change_class, [0] * len(DECIDED))
            added = [counts[column] for column in DECIDED]
            sums[change_class] = [a + b for a, b in zip(before, added, strict=True)]
    rows = [(change_class, *counts) for change_class, counts in sorted(sums.items())]
    tables = [table("decisions", rows, index.of("decision"), name)]
    for place in range(len(study.runs)):
        tables += _of_run(study, place, index, name)
    return tables


def _of_run(study: MeasuredStudy, place: int, index: Index, name: str) -> list[Table]:
    number, state = study.numbers[place], study.summaries[place]["oversight"]
    title = name
    if len(study.runs) > 1:
        folder = study.folders[place].name
        title = f"{name}, {folder}" if name else folder
    approvals = index.of("approval", number)
    ledger = approvals or index.of("decision", number)
    return [
        table("oversight", measures(state), ledger, title),
        table("canaries", canaries(state["canaries"]), index.of("probe", number), title),
        table("signed", _signed(state), approvals, title),
    ]


def _signed(state: dict[str, Any]) -> Iterator[tuple[Any, ...]]:
    for decision in state["decisions"]:
        yield (
            decision["plan"][:12],
            decision["class"],
            decision["answer"],
            decision["reviewer"],
            decision["kind"],
            int(decision["decided"] - decision["asked"]),
            decision["looked_ms"] / 1000,
        )


def measures(state: dict[str, Any]) -> list[tuple[str, str]]:
    """Return (name, value) of the measures in a summary's oversight."""
    notices = state["notices"]
    missed = f"{notices['undelivered']}, {notices['failed_attempts']}"
    shares = f"{state['share_by_mandate']:.0%}, {state['share_unattended']:.0%}"
    return [
        (
            "signed decisions of people, of simulated reviewers",
            f"{state['human']}, {state['simulated']}",
        ),
        ("human minutes", f"{state['human_minutes']:.1f}"),
        ("queue delay of people, median and largest", _queue(state["queue_seconds"])),
        ("share decided by mandate, by unattended mandate", shares),
        ("drills, milliseconds until no job was left", _drills(state["drills_ms"])),
        ("incidents", str(state["incidents"])),
        (
            "notices that arrived, that did not, attempts that failed",
            f"{notices['delivered']}, {missed}",
        ),
        ("acknowledged, median and largest delay", _acknowledged(notices)),
        ("canaries", _canary_state(state["canaries"])),
    ]


def _queue(delay: dict[str, Any] | None) -> str:
    if not delay:
        return "no person decided"
    return f"{delay['median']:.0f} s, {delay['largest']:.0f} s"


def _drills(milliseconds: list[int]) -> str:
    return ", ".join(map(str, milliseconds)) or "none was held"


def _acknowledged(notices: dict[str, Any]) -> str:
    delay = notices["acknowledged_seconds"]
    if not delay:
        return "none"
    return f"{notices['acknowledged']}, {delay['median']:.0f} s, {delay['largest']:.0f} s"


def _canary_state(counts: dict[str, Any] | None) -> str:
    if counts is None:
        return "counted only where the study secret is at hand"
    return "see below" if counts["declared"] else "the study declared no canaries"


def canaries(counts: dict[str, Any] | None) -> list[tuple[Any, ...]]:
    """Return hits and misses, never without the false blocks beside them."""
    if counts is None or not counts["declared"]:
        return []
    return [
        (
            counts["hits"],
            counts["misses"],
            counts["false_alarms"],
            counts["passes"],
            _interval(counts["d_prime"]),
            _interval(counts["criterion"]),
        )
    ]


def _interval(ends: tuple[float, float, float] | None) -> str:
    if not ends:
        return "not enough of both"
    value, low, high = ends
    return f"{value:.2f} ({low:.2f} to {high:.2f})"


def list_incidents(study: MeasuredStudy, index: Index, name: str) -> Table:
    """Return the newest version of each incident."""
    rows, ledger = list[tuple[Any, ...]](), list[str]()
    for number, run in zip(study.numbers, study.runs, strict=True):
        versions = Counter(fact.incident.id for fact in facts_of(run.entries, IncidentEntry))
        amended = facts_of(run.entries, IncidentAmendedEntry)
        versions.update(fact.incident.id for fact in amended)
        for key, (newest, sequence) in incident.latest(run.entries).items():
            rows.append(
                (
                    key,
                    newest.title,
                    newest.kind,
                    newest.severity,
                    newest.detector,
                    newest.detected_at[:19],
                    versions[key],
                )
            )
            ledger.append(index.entry(number, sequence, f"incident {key}"))
    return table("incidents", rows, ledger, name)
