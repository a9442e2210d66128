"""`heirloop instruments`: what was measured, group by group; what was not is counted."""

import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import click
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from evals.loss import FATE_WORDS
from evals.retention import name_step
from loop.command.claims import print_decided
from loop.command.read import FOLDERS
from loop.instruments.measure import flatten, measure
from loop.terminal import AS_JSON, LEGIBLE, shorten
from loop.text import visible

MISSING = ("not measured", "not exercised", "undefined", "not evaluable")
"""Words of figures that stand folded: there was nothing to measure."""
FIRST = ("", "words", "conditions", "between")
"""Groups that are shown before the others."""
DEEP = ("arms", "beside")
"""Groups of groups: an arm, or another loop, is a group of its own."""
HEAD = ("instrument", "value (95 %)", "n", "unit, or what it reads")
NAME = 34
"""Fewest columns of a name."""
Row = tuple[str, Sequence[Any]]
"""Name of a figure within its group, and its parts."""


@click.command()
@FOLDERS
@click.option("--all", "everything", is_flag=True, help="Show what was not measured, too.")
@AS_JSON
def instruments(folders: tuple[Path, ...], everything: bool, as_json: bool) -> None:
    """Measure runs of a study, seeds as repeats: closure, amplification, loss
    (docs/instruments.md); gains only of ended studies. What was not measured is counted.
    """
    readings = measure(folders)
    if as_json:
        click.echo(json.dumps(readings))
        return
    if readings.get("claims"):
        print_decided(readings["claims"])
    print_groups(flatten(readings), everything)


def print_groups(figures: Iterable[Row], everything: bool) -> None:
    """Print figures in their groups; what was not measured is one line a group, or a row each."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for place, name in enumerate(HEAD):
        table.add_column(name, overflow="fold", min_width=0 if place else NAME)
    hidden = 0
    for group, rows in _arrange(figures):
        shown = [row for row in rows if everything or not is_missing(row[1])]
        folded = len(rows) - len(shown)
        hidden += folded
        _add_group(table, group, shown, folded)
    Console(width=None if sys.stdout.isatty() else LEGIBLE).print(table)
    if hidden:
        click.echo(f"{hidden} figures were not measured; --all lists them")


def is_missing(parts: Sequence[Any]) -> bool:
    """Tell whether there was nothing to measure for a figure."""
    return parts[0] in (None, *MISSING) or parts[5] in MISSING


def _arrange(figures: Iterable[Row]) -> list[tuple[str, list[Row]]]:
    """Return (group, its rows), the groups of FIRST in front; registered claims are left out."""
    groups = dict[str, list[Row]]()
    for name, parts in figures:
        group, rest = _split(name)
        if group != "claims":
            groups.setdefault(group, []).append((rest, parts))
    return sorted(
        groups.items(), key=lambda item: FIRST.index(item[0]) if item[0] in FIRST else len(FIRST)
    )


def _split(name: str) -> tuple[str, str]:
    """Return the group of a figure, and its name in it; a figure alone is in group ''."""
    parts = name.split(", ")
    depth = 2 if parts[0] in DEEP else 1
    if len(parts) <= depth or name.startswith("equal plan"):
        return "", name
    return ", ".join(parts[:depth]), _name_row(parts[depth:])


def _name_row(parts: Sequence[str]) -> str:
    """Return the name of a figure in people's words; `--json` keeps the names of exports."""
    *where, last = parts
    last = name_step(last) if "retention" in where else FATE_WORDS.get(last, last)
    return ", ".join([*where, last])


def _add_group(table: Table, group: str, rows: Sequence[Row], folded: int) -> None:
    if group:
        table.add_section()
        table.add_row(Text(visible(group), style="bold"), "", "", "")
    for name, parts in rows:
        cells = (f"{'  ' if group else ''}{name}", *_cells(parts))
        table.add_row(*(Text(visible(str(cell))) for cell in cells))
    if folded:
        figures = "1 figure" if folded == 1 else f"{folded} figures"
        table.add_row(Text(f"  not measured: {figures}", style="dim"), "", "", "")


def _cells(parts: Sequence[Any]) -> Iterator[str]:
    """Yield value with interval, n, and what it reads."""
    value, low, high, n, unit, word, sees = parts
    if isinstance(value, bool):
        value = "said" if value else "not said"
    yield f"{shorten(value)}{'' if word == 'constant' else write_interval(low, high)}"
    yield "" if n is None else str(n)
    yield f"{word}, sees {shorten(sees)}" if sees else word or unit


def write_interval(low: float | None, high: float | None) -> str:
    """Return an interval in brackets; nothing where there is none."""
    if low is None and high is None:
        return ""
    return f" ({shorten(low) or '-'} to {shorten(high) or '-'})"
