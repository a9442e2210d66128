"""An incident as a page: its fields, its chain of events, the changes of each amendment.

Its markup stands in `templates/incident.html`.
"""

import itertools
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from configs.entries import Entry, IncidentAmendedEntry, IncidentEntry
from configs.errors import BadInput
from configs.records import Incident
from loop.report.markup import Lines, render
from sandbox.canonical import canonical
from sandbox.heads import open_ledger

PARTS = {
    "What happened": (
        "title",
        "kind",
        "severity",
        "occurred_start",
        "occurred_end",
        "detected_at",
        "detector",
        "reporter",
        "internal_use",
    ),
    "Harm": ("harm_actual", "harm_potential", "notification_due_at"),
    "Cause and answer": ("root_cause", "containment", "corrective_action"),
    "Evidence": ("study", "plan", "artifacts", "chain", "amended_from"),
}
"""The fields of an incident but its id, as its page groups them."""
ALWAYS_CHANGED = ("amended_from", "reporter")
"""Fields that every amendment changes."""
VERSIONS = (IncidentEntry.kind, IncidentAmendedEntry.kind)
"""Kinds of entries that hold a version of an incident."""
DIGEST = re.compile(r"\b([0-9a-f]{12})[0-9a-f]{52}\b")


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldView:
    """A field as the page shows it."""

    name: str
    "its name in words"
    values: tuple[str, ...]
    "text, line by line"


@dataclass(frozen=True, slots=True, kw_only=True)
class PartView:
    """A group of fields."""

    title: str
    "heading"
    fields: tuple[FieldView, ...]
    "fields"


@dataclass(frozen=True, slots=True, kw_only=True)
class EventView:
    """An entry of the chain of events, or an amendment."""

    name: str
    "first line of its head"
    detail: str
    "second line"
    text: Lines
    "its fields, one a line"


def export_incident(folder: Path, name: str) -> tuple[bytes, str]:
    """Return an incident as JSON and as a page without outside parts.

    The JSON holds every version and the entries of its chain. Raises BadInput for an unknown name.
    """
    entries = open_ledger(folder).entries()
    # The JSON holds the bodies as they stand on the wire.
    versions = [e.body for e in entries if e.kind in VERSIONS and _incident(e).id == name]
    if not versions:
        raise BadInput(
            f"NAME is {name!r}; `heirloop incident list {folder}` names those of this run"
        )
    sequences = set(versions[-1]["chain"])
    chain = [
        {"sequence": e.sequence, "kind": e.kind, "time": e.time, "hash": e.hash, "body": e.body}
        for e in entries
        if e.sequence in sequences
    ]
    return canonical({"versions": versions, "chain": chain}), incident_page(versions, chain)


def _incident(entry: Entry) -> Incident:
    return cast(IncidentEntry | IncidentAmendedEntry, entry.fact).incident


def incident_page(versions: list[dict[str, Any]], chain: list[dict[str, Any]]) -> str:
    """Return the page of an incident from its versions and its chain of events."""
    last = versions[-1]
    return render(
        "incident.html",
        title=f"Incident {last['id']}",
        name=last["id"],
        due=last["notification_due_at"],
        parts=[_view_part(title, names, last) for title, names in PARTS.items()],
        chain=[_view_event(event) for event in chain],
        changes=_view_changes(versions),
    )


def _view_part(title: str, names: tuple[str, ...], incident: dict[str, Any]) -> PartView:
    fields = [FieldView(name=_words(name), values=tuple(_texts(incident[name]))) for name in names]
    return PartView(title=title, fields=tuple(fields))


def _texts(value: Any) -> list[str]:
    """Return a field as lines of text."""
    if isinstance(value, list | tuple):
        lines = [line for part in value for line in _texts(part)]
        return lines or ["none"]
    if isinstance(value, bool):
        return ["yes" if value else "no"]
    return [str(value) or "not known yet"]


def _view_event(event: dict[str, Any]) -> EventView:
    return EventView(
        name=f"{event['sequence']} {event['kind']}",
        detail=event["time"][:19],
        text=_fields_text(event["body"]),
    )


def _view_changes(versions: list[dict[str, Any]]) -> list[EventView]:
    changes = []
    for number, (old, new) in enumerate(itertools.pairwise(versions), 2):
        changed = {
            name: value
            for name, value in new.items()
            if value != old[name] and name not in ALWAYS_CHANGED
        }
        changes.append(
            EventView(name=f"version {number}", detail=new["reporter"], text=_fields_text(changed))
        )
    return changes


def _fields_text(body: dict[str, Any]) -> Lines:
    """Return fields as text, each on a line, digests shortened."""
    lines = []
    for name, value in body.items():
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        lines.append(f"{_words(name)}: {text}")
    return Lines(DIGEST.sub(r"\1…", "\n".join(lines)))


def _words(name: str) -> str:
    return name.replace("_", " ")
