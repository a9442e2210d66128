"""One incident as a page: its fields, its chain of events, what each amendment changed. Everything
in it is escaped.
"""

import itertools
import json
import re
from pathlib import Path
from typing import Any

from configs.errors import BadInput
from loop.report.page import STYLE, e, head
from sandbox.canonical import canonical
from sandbox.ledger import Ledger

PAGE = """body{max-width:50rem;font-size:15px}h2{margin:1.2rem 0 0;font-size:1.1em;border:0}table{margin:.3rem 0}
td{overflow-wrap:anywhere;white-space:pre-wrap;max-width:none}
th,td{vertical-align:top}.fields{display:table;width:100%}.fields th{width:11rem;font-weight:400}
@media print{body{font-size:11px}}"""  # noqa: E501


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
KEPT = ("amended_from", "reporter")
"""What every amendment changes."""


def incident_page(versions: list[dict[str, Any]], chain: list[dict[str, Any]]) -> str:
    """Return one incident, newest version, as a page: its fields, its chain of events, what each
    amendment changed.
    """
    last = versions[-1]
    name, due = e(last["id"]), last["notification_due_at"]
    tables = [
        f"<h2>{part}</h2>{_fields({field: last[field] for field in fields})}"
        for part, fields in PARTS.items()
    ]
    events = "".join(
        f"<tr><th>{one['sequence']}"
        f" {e(one['kind'])}<br>{e(one['time'][:19])}</th><td>{_body(one['body'])}</td></tr>"
        for one in chain
    )
    pairs = [
        (at, new["reporter"], {k: new[k] for k in new if new[k] != old[k] and k not in KEPT})
        for at, (old, new) in enumerate(itertools.pairwise(versions), 2)
    ]
    changed = "".join(
        f"<tr><th>version {at}<br>{e(by)}</th><td>{_body(fields)}</td></tr>"
        for at, by, fields in pairs
    )
    return "\n".join(
        [
            head(f"Incident {last['id']}", STYLE + PAGE),
            f"<h1>Incident {name}</h1>",
            (
                f"<p class=warn>Notice to authorities is due by <b>{e(due)}</b>.</p>"
                if due
                else "<p>No law asks for a notice: no harm occurred.</p>"
            ),
            *tables,
            f"<h2>Chain of events</h2><table class=fields>{events}</table>" if events else "",
            f"<h2>Amendments</h2><table class=fields>{changed}</table>" if changed else "",
            (
                "<p>The newest version is shown; the ledger keeps all of them. Times are UTC,"
                " digests sha256; those in the chain of events are shortened to 12 digits, the JSON"
                " beside this page has them whole.</p></html>"
            ),
        ]
    )


def _body(body: dict[str, Any]) -> str:
    told = {
        name.replace("_", " "): (
            value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        )
        for name, value in body.items()
    }
    lines = (f"{name}: {value}" for name, value in told.items())
    return e(re.sub(r"\b([0-9a-f]{12})[0-9a-f]{52}\b", r"\1…", "\n".join(lines)), lines=True)


def _fields(values: dict[str, Any]) -> str:
    def cell(value: Any) -> str:
        if isinstance(value, list | tuple):
            return "<br>".join(map(cell, value)) or "none"
        text = {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)
        return (
            f"<code>{e(text)}</code>"
            if len(text) == 64 and text.isalnum()
            else e(text, lines=True) or "not known yet"
        )

    rows = "".join(
        f"<tr><th>{e(name.replace('_', ' '))}</th><td>{cell(value)}</td></tr>"
        for name, value in values.items()
    )
    return f"<table class=fields>{rows}</table>"


def export_incident(folder: Path, name: str) -> tuple[bytes, str]:
    """Return an incident as JSON (every version, and the entries of its chain) and as a page of
    HTML that stands alone.
    """
    entries = Ledger.file(folder / "ledger.sqlite").entries()
    versions = [
        e.body
        for e in entries
        if e.kind in ("incident", "incident-amended") and e.body["id"] == name
    ]
    if not versions:
        raise BadInput(
            f"NAME is {name!r}; `heirloop incident list {folder}` names those of this run"
        )
    told = [e for e in entries if e.sequence in versions[-1]["chain"]]
    chain = [
        {"sequence": e.sequence, "kind": e.kind, "time": e.time, "hash": e.hash, "body": e.body}
        for e in told
    ]
    return canonical({"versions": versions, "chain": chain}), incident_page(versions, chain)
