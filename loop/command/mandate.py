"""Verbs on mandates: a person signs in advance for whole classes of plans, within caps."""

from pathlib import Path

import click

from configs.errors import BadInput
from configs.records import Caps
from configs.settings.config import Config
from loop import terminal
from loop.people.advice import standing_classes
from loop.people.requests import open_gate
from loop.people.sign import sign_mandate, sign_unattended
from loop.settings import compose_settings
from sandbox.address import has_ledger


@click.group()
def mandate() -> None:
    """Standing approvals with caps."""


@mandate.command("grant", context_settings={"ignore_unknown_options": True})
@click.option(
    "--unattended",
    is_flag=True,
    help="Without a person at a terminal, within the study's fixed caps.",
)
@click.option("--key", help="Reviewer's key that signs.")
@click.option(
    "--classes", help="Change classes, comma-separated; default: those that the study needs."
)
@click.option("--jobs", type=int, help="Most jobs; default: the study's budget.")
@click.option("--cpu-seconds", type=int, help="Most CPU-seconds; default: the study's budget.")
@click.option("--hours", default=24, show_default=True)
@click.option("--drift", default=40, show_default=True, help="Most changes without a person's yes.")
@click.option("--per-hour", default=1000, show_default=True, help="Most plans in an hour.")
@click.option(
    "--run",
    "folder",
    type=click.Path(path_type=Path),
    help="For a run that has begun, with its own settings; without OVERRIDES.",
)
@click.argument("overrides", nargs=-1)
def grant(
    unattended: bool,
    key: str | None,
    classes: str | None,
    jobs: int | None,
    cpu_seconds: int | None,
    hours: int,
    drift: int,
    per_hour: int,
    folder: Path | None,
    overrides: tuple[str, ...],
) -> None:
    """Print a standing approval in full and sign it, for the study of these OVERRIDES."""
    config, version = _read_study(folder, overrides)
    if unattended:
        click.echo(f"signed (unattended): {sign_unattended(config, version)}")
        return
    terminal.need_terminal(
        "a mandate is signed by a person at a terminal; run this there, or use --unattended"
    )
    if not key:
        raise BadInput("--key is missing; name a reviewer's key (`heirloop keys list`)")
    caps = Caps(
        classes=tuple(classes.split(",")) if classes else standing_classes(config),
        jobs=config.budget.jobs if jobs is None else jobs,
        cpu_seconds=config.budget.cpu_seconds if cpu_seconds is None else cpu_seconds,
        hours=hours,
        drift=drift,
        per_hour=per_hour,
    )
    kind, path = sign_mandate(config, caps, key, version)
    click.echo(f"signed ({kind}): {path}")


def _read_study(folder: Path | None, overrides: tuple[str, ...]) -> tuple[Config, int]:
    """Return the settings of a study and the version of its root, from its run where it began."""
    if folder is not None:
        if overrides:
            raise BadInput(f"--run is given with {overrides[0]!r}; a run has its own settings")
        rules = open_gate(folder).memory.rules
        return rules.config, rules.version
    config = compose_settings(overrides)
    run = Path(config.runs) / config.study.name
    return config, open_gate(run).memory.rules.version if has_ledger(run) else 1
