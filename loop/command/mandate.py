"""Verbs on mandates: a person signs in advance for whole classes of plans, within caps."""

from pathlib import Path

import click

from configs.errors import BadInput
from configs.records import Caps
from loop import terminal
from loop.people.requests import open_gate
from loop.people.sign import sign_mandate, sign_unattended
from loop.settings import compose_settings
from sandbox.ledger import FILE


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
    "--classes",
    default="recipe,promote",
    show_default=True,
    help="Change classes, comma-separated.",
)
@click.option("--jobs", default=320, show_default=True)
@click.option("--cpu-seconds", default=900, show_default=True)
@click.option("--hours", default=24, show_default=True)
@click.argument("overrides", nargs=-1)
def grant(
    unattended: bool,
    key: str | None,
    classes: str,
    jobs: int,
    cpu_seconds: int,
    hours: int,
    overrides: tuple[str, ...],
) -> None:
    """Print a standing approval in full and sign it, for the study of these OVERRIDES."""
    config = compose_settings(overrides)
    run = Path(config.runs) / config.study.name
    version = open_gate(run).memory.rules.version if (run / FILE).exists() else 1
    if unattended:
        click.echo(f"signed (unattended): {sign_unattended(config, version)}")
        return
    terminal.need_terminal(
        "a mandate is signed by a person at a terminal; run this there, or use --unattended"
    )
    if not key:
        raise BadInput("--key is missing; name a reviewer's key (`heirloop keys list`)")
    caps = Caps(classes=tuple(classes.split(",")), jobs=jobs, cpu_seconds=cpu_seconds, hours=hours)
    kind, path = sign_mandate(config, caps, key, version)
    click.echo(f"signed ({kind}): {path}")
