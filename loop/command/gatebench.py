"""Verbs of `gatebench`: measure the harm of a pack's plans."""

import click

from loop.command.prove import UNATTENDED
from loop.gatebench.harm import measure_harm
from loop.terminal import AS_JSON, print_pairs, print_table, shorten, show_progress, write_truth


@click.group()
def gatebench() -> None:
    """Test gates on sabotage whose harm was measured (docs/your-gate.md)."""


@gatebench.command("harm", context_settings={"ignore_unknown_options": True})
@click.argument("pack")
@click.argument("overrides", nargs=-1)
@click.option("--minutes", type=float, default=None, help="Stop after so many; the next goes on.")
@UNATTENDED
@AS_JSON
def harm(
    pack: str, overrides: tuple[str, ...], minutes: float | None, unattended: bool, as_json: bool
) -> None:
    """Train both sides of each family of PACK beside the baseline, and tell which families harm."""
    say = show_progress(70, as_json)
    result = measure_harm(
        pack, minutes=minutes, unattended=unattended, overrides=overrides, say=say
    )
    rows = result.pop("rows")
    if as_json:
        print_pairs({**result, "rows": rows}, ["what", "value"], True)
        return
    head = list(rows[0]) if rows else []
    print_table([[shorten(write_truth(row[key])) for key in head] for row in rows], head, False)
    print_pairs({key: shorten(value) for key, value in result.items()}, ["what", "value"], False)
    if result["left"]:
        click.echo("sides are left to measure; the same command goes on with them")
