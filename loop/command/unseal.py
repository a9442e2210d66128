"""The verb for opening the sealed split."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from configs.errors import BadInput
from loop import unseal as sealed
from loop.terminal import AS_JSON, FOLDER, print_pairs, print_table
from loop.text import write_number

WORDS = ("repeat", "plan", "champion", "replicates", "denied")
NUMBERS = ("gain", "low", "high", "champion_mean", "baseline_mean")


@click.command()
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
    if repeat is not None and not arm:
        raise BadInput("--repeat is given without --arm; name both")
    if arm and repeat is None:
        _print_openings(sealed.unseal_arm(folder, arm), as_json)
        return
    opening = sealed.unseal(folder, (arm, repeat) if repeat is not None else None)
    print_pairs(opening, ["what", "value"], as_json)


def _print_openings(openings: list[dict[str, Any]], as_json: bool) -> None:
    head = [*WORDS, *NUMBERS]
    if as_json:
        head += ["refused"]  # older name of `denied`
        rows = [[opening.get(name) for name in head] for opening in openings]
    else:
        rows = [_opening_row(opening) for opening in openings]
    print_table(rows, head, as_json)


def _opening_row(opening: Mapping[str, Any]) -> list[Any]:
    """Return an opening as cells for a person: short digests, three decimals."""
    words = [
        opening.get("repeat"),
        str(opening.get("plan") or "")[:12],
        str(opening.get("champion") or "")[:12],
        opening.get("replicates") or "-",
        opening.get("denied"),
    ]
    values = [opening.get(name) for name in NUMBERS]
    return [*words, *("-" if value is None else write_number(value, ".3f") for value in values)]
