"""Verbs on incidents: list, show, open, amend and export the incidents of a run."""

import json
from pathlib import Path
from typing import Any

import click

from configs.build import plain
from configs.errors import BadInput, VerificationFailed
from configs.records import Incident
from loop.people.send import call_people
from loop.report.incident import export_incident
from loop.terminal import AS_JSON, FOLDER, print_pairs, print_table, read_user
from sandbox import control
from sandbox import incident as incidents
from sandbox.files import replace_file
from sandbox.heads import open_ledger


@click.group()
def incident() -> None:
    """Incidents: rules violated, nearly violated, or open to violation."""


@incident.command("list")
@FOLDER
@AS_JSON
def list_incidents(folder: Path, as_json: bool) -> None:
    """List a run's incidents."""
    head = ["id", "kind", "severity", "detected", "detector", "title", "notice due"]
    rows = [
        [i.id, i.kind, i.severity, i.detected_at, i.detector, i.title, i.notification_due_at]
        for i in _read_incidents(folder).values()
    ]
    print_table(rows, head, as_json)


@incident.command("show")
@FOLDER
@click.argument("name")
@AS_JSON
def show(folder: Path, name: str, as_json: bool) -> None:
    """Show an incident in full, as last amended."""
    incidents = _read_incidents(folder)
    if name not in incidents:
        raise BadInput(f"NAME is {name!r}; this run has {', '.join(incidents) or 'no incidents'}")
    fields = {field: json.dumps(value) for field, value in plain(incidents[name]).items()}
    print_pairs(fields, ["field", "value"], as_json)


@incident.command("amend")
@FOLDER
@click.argument("name")
@click.argument("changes", nargs=-1, required=True)
def amend(folder: Path, name: str, changes: tuple[str, ...]) -> None:
    """Add to an incident: FIELD=VALUE ...; its earlier text stays."""
    fields: dict[str, Any] = {}
    for change in changes:
        field, equals, value = change.partition("=")
        if not equals:
            raise BadInput(f"CHANGES holds {change!r}; it should be field=value")
        fields[field] = value == "true" if field == "internal_use" else value
    amended = incidents.amend(open_ledger(folder), name, fields, read_user())
    due = amended.notification_due_at
    click.echo(f"{amended.id}: amended" + (f"; notice is due {due}" if due else ""))
    call_people(folder)


@incident.command("export")
@FOLDER
@click.argument("name")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("."),
    show_default=True,
    help="Folder for NAME.json and NAME.html.",
)
def export(folder: Path, name: str, out: Path) -> None:
    """Write an incident as JSON and as a page."""
    data, page = export_incident(folder, name)
    out.mkdir(parents=True, exist_ok=True)
    replace_file(out / f"{name}.json", data)
    replace_file(out / f"{name}.html", page)
    click.echo(f"{out / name}.json, {out / name}.html")


@incident.command("report")
@FOLDER
@click.argument("title")
@click.option("--kind", default="hazard", show_default=True)
@click.option("--severity", default="low", show_default=True)
def report(folder: Path, title: str, kind: str, severity: str) -> None:
    """Open an incident by hand."""
    user = read_user()
    with open_ledger(folder).transaction() as txn:
        entry = incidents.report(
            txn, title, kind=kind, severity=severity, detector="a person", reporter=user
        )
    click.echo(entry.body["id"])
    call_people(folder)


def _read_incidents(folder: Path) -> dict[str, Incident]:
    """Return the incidents of a run by id, each as last amended.

    Incidents of the run in the user's folder follow: O-1, for example. They can be read where the
    ledger cannot.
    """
    outside = {
        incident.id: incident for incident in incidents.outside(control.read_root(folder), folder)
    }
    try:
        entries = open_ledger(folder).entries()
    except VerificationFailed:
        if not outside:
            raise
        return outside
    inside = {name: incident for name, (incident, _) in incidents.latest(entries).items()}
    return inside | outside
