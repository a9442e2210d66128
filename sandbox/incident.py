"""Incidents: records of something violated, nearly violated, or open to violation.

An amendment adds; it never rewrites. The fields answer California SB 53 (critical safety incidents)
and EU AI Act Article 73 (serious incidents). docs/incidents.md maps them field by field.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

from configs.build import parse, plain, strict_json
from configs.entries import Entry, IncidentAmendedEntry, IncidentEntry
from configs.errors import BadInput, BudgetExhausted, VerificationFailed
from configs.records import Harm, Incident
from sandbox import keys
from sandbox.canonical import canonical, digest
from sandbox.files import append_line, read_lines
from sandbox.ledger import Ledger, Transaction

DUE_HOURS: dict[Harm, int | None] = {
    "none": None,
    "other": 15 * 24,
    "death": 10 * 24,
    "infrastructure": 2 * 24,
    "imminent": 24,
}
"""Hours from detection to the earliest notice that either law asks for, by harm that did occur or
is imminent.

other: SB 53 section 22757.13(c)(1) and Art. 73(2), 15 days; death: Art. 73(4), 10 days;
infrastructure: Art. 73(3), a widespread infringement or disruption of critical infrastructure, 2
days; imminent: SB 53 section 22757.13(c)(2), risk of death or serious injury, 24 hours.
"""
FREE = (
    "title",
    "kind",
    "severity",
    "occurred_start",
    "occurred_end",
    "harm_actual",
    "harm_potential",
    "root_cause",
    "containment",
    "corrective_action",
    "internal_use",
)
"""The fields that an amendment may add or correct."""


def report(txn: Transaction, title: str, **known: Any) -> Entry:
    """Record an incident in a transaction; its id counts up, times left out are now."""
    entries = txn.entries()
    number = 1 + sum(e.kind == IncidentEntry.kind for e in entries)
    now = txn.now().isoformat(timespec="seconds")
    fields = {
        "kind": "near miss",
        "severity": "low",
        "detector": "heirloop",
        "reporter": "heirloop",
        "detected_at": now,
        "occurred_start": now,
        "occurred_end": now,
        **known,
        "id": f"I-{number}",
        "title": title,
        "study": entries[0].hash,
        "amended_from": 0,
    }
    return txn.append(IncidentEntry(incident=_with_due(fields)))


def report_outside(study: str, folder: Path, reason: str) -> Path:
    """Record, once per reason, that a run was not written on; return the file in the user's folder.

    The run itself may be what is wrong, so the record lies outside it.
    """
    place, reason = outside_place(study, folder), _written(reason)
    with suppress(OSError):
        noted = outside(study, folder)
        if all(incident.root_cause != reason for incident in noted):
            now = datetime.now(UTC).isoformat(timespec="seconds")
            fields = {
                "id": f"O-{len(noted) + 1}",
                "title": "the record of the run does not hold",
                "kind": "incident",
                "severity": "high",
                "detector": "door",
                "reporter": "heirloop",
                "study": study,
                "detected_at": now,
                "occurred_start": now,
                "occurred_end": now,
                "root_cause": reason,
                "containment": _written(
                    f"nothing ran and nothing was written in {folder.resolve()}"
                ),
            }
            append_line(place, canonical(_with_due(fields)))
    return place


def _written(text: str) -> str:
    """Return a text with bytes of a name outside UTF-8 as escapes, which JSON can hold."""
    return text.encode(errors="backslashreplace").decode()


def outside(study: str, folder: Path) -> list[Incident]:
    """Return the incidents of a study that lie in the user's folder."""
    incidents = []
    with suppress(VerificationFailed):
        for line in read_lines(outside_place(study, folder)):
            with suppress(BadInput):
                incidents.append(parse(Incident, strict_json(line)))
    return incidents


def outside_place(study: str, folder: Path) -> Path:
    """Return the file of a study's incidents in the user's folder.

    A ledger that does not tell its root is named by its folder.
    """
    return keys.home() / "incidents" / f"{study or digest(_written(str(folder.resolve())))}.jsonl"


@contextmanager
def refusals(ledger: Ledger, what: str, harm: str, plan: str = "") -> Iterator[None]:
    """Record a refusal at the door as a near miss, and let the refusal go on.

    The request passes a budget or differs from the grant.
    """
    try:
        yield
    except (BudgetExhausted, VerificationFailed) as error:
        with ledger.transaction() as txn:
            report(
                txn,
                f"{what} refused: {type(error).__name__}",
                detector="door",
                plan=plan,
                containment=str(error)[:300],
                harm_potential=harm,
            )
        raise


def amend(ledger: Ledger, name: str, changes: dict[str, Any], reporter: str) -> Incident:
    """Add a version of an incident; the versions before stay. Raises BadInput for an unknown id or
    field.
    """
    for field in changes:
        if field not in FREE:
            raise BadInput(f"field is {field!r}; an amendment sets one of {', '.join(FREE)}")
    with ledger.transaction() as txn:
        recorded = latest(txn.entries())
        if name not in recorded:
            raise BadInput(f"incident is {name!r}; this run has {', '.join(recorded) or 'none'}")
        old, sequence = recorded[name]
        fields = {**plain(old), **changes, "reporter": reporter, "amended_from": sequence}
        incident = _with_due(fields)
        txn.append(IncidentAmendedEntry(incident=incident))
    return incident


def latest(entries: Iterable[Entry]) -> dict[str, tuple[Incident, int]]:
    """Return id -> (newest version, its ledger entry), in order of opening."""
    newest: dict[str, tuple[Incident, int]] = {}
    for entry in entries:
        if entry.kind in (IncidentEntry.kind, IncidentAmendedEntry.kind):
            fact = cast(IncidentEntry | IncidentAmendedEntry, entry.fact)
            newest[fact.incident.id] = (fact.incident, entry.sequence)
    return newest


def _with_due(fields: dict[str, Any]) -> Incident:
    """Return the incident of these fields, with the moment when a notice is due."""
    incident = parse(Incident, {**fields, "notification_due_at": ""})
    hours = DUE_HOURS[incident.harm_actual]
    if hours is None:
        return incident
    due = datetime.fromisoformat(incident.detected_at) + timedelta(hours=hours)
    return replace(incident, notification_due_at=due.isoformat(timespec="seconds"))
