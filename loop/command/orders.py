"""Verbs that act on a run from outside: stop, pause, slow, resume, drill, deploy, roll back,
recall, amend, unseal, compute, incidents.
"""

import json
from pathlib import Path
from typing import Any

import click

from configs.errors import BadInput
from loop import terminal
from loop.people import send
from loop.terminal import AS_JSON, FOLDER, WHY, cli


@cli.command()
@FOLDER
@WHY
@AS_JSON
def stop(folder: Path, why: str, as_json: bool) -> None:
    """Kill every job of a run and let nothing start, even if its loop hangs or is dead."""
    from sandbox.control import stop as act

    terminal.table(
        [[k, v] for k, v in act(folder, terminal.who(), why).items()], ["what", "value"], as_json
    )
    send.call_people(folder)


@cli.command()
@FOLDER
@WHY
def pause(folder: Path, why: str) -> None:
    """Let jobs end and start none."""
    from loop.people.requests import open_gate
    from sandbox.control import order

    order(open_gate(folder).ledger, "pause", terminal.who(), why)
    click.echo("paused: running jobs end, none starts")
    send.call_people(folder)


@cli.command()
@FOLDER
@click.argument("per_hour", type=int)
@WHY
def slow(folder: Path, per_hour: int, why: str) -> None:
    """Start at most PER_HOUR jobs in any hour."""
    from loop.people.requests import open_gate
    from sandbox.control import order

    order(open_gate(folder).ledger, "slow", terminal.who(), why, per_hour)
    click.echo(f"slowed: {per_hour} jobs an hour")


@cli.command()
@FOLDER
def resume(folder: Path) -> None:
    """Let a stopped, paused or slowed run go on, if the reviewers that the study names said so."""
    from loop.people.acts import resume as act

    found = act(folder, terminal.who())
    click.echo(
        "resumed"
        + (
            f" by {len(found['decisions'])} signed decisions"
            if found["decisions"]
            else ", unsigned: the study names no reviewer"
        )
    )


@cli.command()
@FOLDER
@AS_JSON
def drill(folder: Path, as_json: bool) -> None:
    """Stop a running study for practice, measure how long its jobs lived on, and let it go on."""
    from sandbox.control import drill as act

    terminal.table(
        [[k, v] for k, v in act(folder, terminal.who()).items()], ["what", "value"], as_json
    )


@cli.command()
@FOLDER
def deploy(folder: Path) -> None:
    """Copy the champion's weights and card to RUN/deployed, once people decided on it (class
    deploy).
    """
    from loop.people.acts import deploy as act

    found = act(folder)
    click.echo(f"deployed {found['plan'][:12]} ({found['kind']}): {found['folder']}")


@cli.command()
@FOLDER
@click.option(
    "--arm",
    default="",
    help="Open it for this arm's champions and not for the study's: all that have no opening yet.",
)
@click.option("--repeat", type=click.IntRange(0), help="This repeat of that arm alone, from 0.")
@AS_JSON
def unseal(folder: Path, arm: str, repeat: int | None, as_json: bool) -> None:
    """Open the sealed split for the champion against the baseline, once a reviewer signed it (class
    unseal); every opening counts.
    """
    from loop.unseal import unseal as act
    from loop.unseal import unseal_arm

    if repeat is not None and not arm:
        raise BadInput("--repeat is given without --arm; name both")
    if arm and repeat is None:
        numbers, others = (
            ("gain", "low", "high", "champion_mean", "baseline_mean"),
            ("repeat", "plan", "champion", "replicates", "refused"),
        )
        opened = [
            {name: one.get(name) for name in (*others, *numbers)} for one in unseal_arm(folder, arm)
        ]
        shown = [
            {
                **one,
                "plan": str(one["plan"] or "")[:12],
                "champion": str(one["champion"] or "")[:12],
                "replicates": one["replicates"] or "-",
                **{name: "-" if one[name] is None else f"{one[name]:.3f}" for name in numbers},
            }
            for one in opened
        ]
        return terminal.table(
            [list(one.values()) for one in (opened if as_json else shown)],
            [*others, *numbers],
            as_json,
        )
    found = act(folder, (arm, repeat) if repeat is not None else None)
    terminal.table([[k, v] for k, v in found.items()], ["what", "value"], as_json)


@cli.command()
@FOLDER
def rollback(folder: Path) -> None:
    """Deploy what was deployed before; it takes a decision of its own."""
    from loop.people.acts import rollback as act

    found = act(folder)
    click.echo(f"rolled back to {found['plan'][:12]} ({found['kind']}): {found['folder']}")


@cli.command()
@FOLDER
@click.argument("plan")
@click.option("--why", required=True, help="Why; recorded.")
def recall(folder: Path, plan: str, why: str) -> None:
    """Quarantine a successor and its descendants: neither parent nor champion any more."""
    from loop.people.acts import recall as act

    click.echo(
        f"quarantined: {', '.join(name[:12] for name in act(folder, plan, terminal.who(), why))}"
    )


@cli.command()
@FOLDER
@click.argument("changes", nargs=-1)
@click.option("--why", default="", help="Why; recorded.")
@click.option("--reviewers", "repin", is_flag=True, help="Pin this user's keys as they are now.")
@click.option(
    "--apply",
    "apply",
    default="",
    help="Open the version that people decided on; the digest's beginning.",
)
def amend(folder: Path, changes: tuple[str, ...], why: str, repin: bool, apply: str) -> None:
    """Propose another objective, budget, gates or reviewers (FIELD=VALUE ...), or apply what people
    decided.
    """
    from loop.people.amend import amend as propose
    from loop.people.amend import apply_amendment

    if apply:
        click.echo(
            f"the study root is at version {apply_amendment(folder, apply)}; older grants and"
            " mandates are dead"
        )
        return
    name = propose(folder, changes, terminal.who(), why, repin)
    click.echo(
        f"proposed {name[:12]}; `heirloop approve {name[:12]} --run {folder} --key NAME`, then"
        f" `heirloop amend {folder} --apply {name[:12]}`"
    )


@cli.command()
@click.argument("folders", type=click.Path(path_type=Path), nargs=-1)
@click.option("--since", default="", help="UTC time, such as 2026-01-31T00:00.")
@click.option("--until", default="", help="UTC time.")
@click.option(
    "--check",
    "file",
    type=click.Path(path_type=Path),
    help="Check a statement instead, with nothing but --public.",
)
@click.option(
    "--public",
    default="",
    help="Public key that must have signed it, hex; the study root has it as checkpoint_key.",
)
def compute(
    folders: tuple[Path, ...], since: str, until: str, file: Path | None, public: str
) -> None:
    """Print the signed compute statement of runs (total, peaks, per class and account) and record
    it, or check one.
    """
    from configs.errors import BadInput
    from loop.verify.statement import check, publish

    if file:
        try:
            envelope = file.read_bytes()
        except OSError as error:
            raise BadInput(
                f"--check is {str(file)!r}; it cannot be read ({error.strerror})"
            ) from None
        click.echo(json.dumps(check(envelope.strip(), public), indent=2))
        return
    if not folders:
        raise BadInput("FOLDERS is empty; name runs, or --check FILE --public HEX")
    click.echo(publish(folders, since, until).decode())
    for folder in folders:
        send.call_people(folder)


@cli.group("incident")
def incident_group() -> None:
    """What was violated, nearly was, or could be."""


@incident_group.command("list")
@FOLDER
@AS_JSON
def incident_list(folder: Path, as_json: bool) -> None:
    """List a run's incidents."""
    rows = [
        [i.id, i.kind, i.severity, i.detected_at, i.detector, i.title, i.notification_due_at]
        for i in _incidents(folder).values()
    ]
    terminal.table(
        rows, ["id", "kind", "severity", "detected", "detector", "title", "notice due"], as_json
    )


@incident_group.command("show")
@FOLDER
@click.argument("name")
@AS_JSON
def incident_show(folder: Path, name: str, as_json: bool) -> None:
    """Show one incident in full, as last amended."""
    from configs.build import plain

    terminal.table(
        [[k, json.dumps(v)] for k, v in plain(_incident(folder, name)).items()],
        ["field", "value"],
        as_json,
    )


@incident_group.command("amend")
@FOLDER
@click.argument("name")
@click.argument("changes", nargs=-1, required=True)
def incident_amend(folder: Path, name: str, changes: tuple[str, ...]) -> None:
    """Add to an incident: FIELD=VALUE ...; what was written before stays."""
    from configs.errors import BadInput
    from sandbox.incident import amend
    from sandbox.ledger import Ledger

    if bad := next((c for c in changes if "=" not in c), ""):
        raise BadInput(f"CHANGES holds {bad!r}; it should be field=value")
    told: dict[str, Any] = dict(c.split("=", 1) for c in changes)
    if "internal_use" in told:
        told["internal_use"] = told["internal_use"] == "true"
    one = amend(Ledger.file(folder / "ledger.sqlite"), name, told, terminal.who())
    click.echo(
        f"{one.id}: amended"
        + (f"; notice is due {one.notification_due_at}" if one.notification_due_at else "")
    )
    send.call_people(folder)


@incident_group.command("export")
@FOLDER
@click.argument("name")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("."),
    show_default=True,
    help="Folder for NAME.json and NAME.html.",
)
def incident_export(folder: Path, name: str, out: Path) -> None:
    """Write one incident as JSON and as a page."""
    from loop.report.incident import export_incident

    data, page = export_incident(folder, name)
    out.mkdir(parents=True, exist_ok=True)
    (out / f"{name}.json").write_bytes(data)
    (out / f"{name}.html").write_text(page)
    click.echo(f"{out / name}.json, {out / name}.html")


@incident_group.command("report")
@FOLDER
@click.argument("title")
@click.option("--kind", default="hazard", show_default=True)
@click.option("--severity", default="low", show_default=True)
def incident_report(folder: Path, title: str, kind: str, severity: str) -> None:
    """Open an incident by hand."""
    from sandbox.incident import report as act
    from sandbox.ledger import Ledger

    with Ledger.file(folder / "ledger.sqlite").transaction() as txn:
        entry = act(
            txn, title, kind=kind, severity=severity, detector="a person", reporter=terminal.who()
        )
    click.echo(entry.body["id"])
    send.call_people(folder)


def _incidents(folder: Path) -> Any:
    from sandbox.incident import latest
    from sandbox.ledger import Ledger

    return {
        name: one
        for name, (one, _) in latest(Ledger.file(folder / "ledger.sqlite").entries()).items()
    }


def _incident(folder: Path, name: str) -> Any:
    from configs.errors import BadInput

    known = _incidents(folder)
    if name not in known:
        raise BadInput(f"NAME is {name!r}; this run has {', '.join(known) or 'no incidents'}")
    return known[name]
