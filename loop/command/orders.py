"""Verbs for orders to a run from outside its loop: stop, resume, deploy and recall, for example."""

from pathlib import Path

import click

from loop.people import acts
from loop.people.advice import to_resume
from loop.people.send import call_people
from loop.terminal import AS_JSON, FOLDER, WHY, print_pairs, read_user
from sandbox import control


@click.command()
@FOLDER
@WHY
@AS_JSON
def stop(folder: Path, why: str, as_json: bool) -> None:
    """Kill every job of a run and let nothing start, even if its loop hangs or is dead."""
    result = control.stop(folder, read_user(), why)
    print_pairs(result, ["what", "value"], as_json)
    if not as_json and result["order"] != control.ENDED:
        click.echo(f"the study is stopped; {to_resume(folder)}")
    call_people(folder)


@click.command()
@FOLDER
@WHY
def pause(folder: Path, why: str) -> None:
    """Start no more jobs; running jobs end.

    A run whose ledger takes no order is stopped.
    """
    control.hold(folder, "pause", read_user(), why)
    click.echo(f"paused: running jobs end, none starts; {to_resume(folder)}")
    call_people(folder)


@click.command()
@FOLDER
@click.argument("per_hour", type=int)
@WHY
def slow(folder: Path, per_hour: int, why: str) -> None:
    """Start at most PER_HOUR jobs in any hour."""
    control.hold(folder, "slow", read_user(), why, per_hour)
    click.echo(f"slowed: {per_hour} jobs an hour; {to_resume(folder)}")


@click.command()
@FOLDER
def resume(folder: Path) -> None:
    """Let a stopped, paused or slowed run go on, after a yes of the study's reviewers."""
    decisions = acts.resume(folder, read_user())
    if decisions:
        click.echo(f"resumed by {len(decisions)} signed decisions")
    else:
        click.echo("resumed, unsigned: the study names no reviewer")


@click.command()
@FOLDER
@AS_JSON
def drill(folder: Path, as_json: bool) -> None:
    """Stop a running study for practice, measure how long its jobs lived on, and let it go on."""
    print_pairs(control.drill(folder, read_user()), ["what", "value"], as_json)


@click.command()
@FOLDER
def deploy(folder: Path) -> None:
    """Copy the champion's weights and card to RUN/deployed, once people decided on it (class
    deploy).
    """
    deployed = acts.deploy(folder)
    click.echo(f"deployed {deployed.plan[:12]} ({deployed.kind}): {deployed.folder}")


@click.command()
@FOLDER
def rollback(folder: Path) -> None:
    """Deploy the previously deployed successor again; it takes a decision of its own."""
    deployed = acts.rollback(folder)
    click.echo(f"rolled back to {deployed.plan[:12]} ({deployed.kind}): {deployed.folder}")


@click.command()
@FOLDER
@click.argument("plan")
@click.option("--why", required=True, help="Why; recorded.")
def recall(folder: Path, plan: str, why: str) -> None:
    """Quarantine a successor and its descendants: neither parent nor champion any more."""
    names = acts.recall(folder, plan, read_user(), why)
    click.echo(f"quarantined: {', '.join(name[:12] for name in names)}")
