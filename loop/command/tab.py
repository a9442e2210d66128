"""Verbs of tables: build recorded trainings, show a table, hold a run against its truth."""

import json
from pathlib import Path
from typing import Any

import click

from configs.build import need, plain
from evals.datasheet import check_table, describe
from loop.calibrate.climb import climb_table
from loop.calibrate.tab import build
from loop.instruments.run import Run
from loop.instruments.truth import list_truth, measure_truth
from loop.report.study import finite
from loop.study.tab_file import read_table, stamp_code
from loop.terminal import AS_JSON, print_pairs, print_table, shorten, show_progress
from sandbox.heads import open_ledger


@click.group()
def tab() -> None:
    """Tables of recorded trainings: build and show."""


@tab.command("build", context_settings={"ignore_unknown_options": True})
@click.argument("name")
@click.argument("overrides", nargs=-1)
@click.option("--minutes", type=float, default=None, help="Stop after so many; the next goes on.")
@click.option("--folder", type=click.Path(path_type=Path), default=Path("tab"), show_default=True)
@AS_JSON
def build_table(
    name: str, overrides: tuple[str, ...], minutes: float | None, folder: Path, as_json: bool
) -> None:
    """Train every recipe of configs/tab/NAME.yaml in a box, and record a table."""
    need(minutes is None or minutes > 0, "--minutes", minutes, "above 0")
    say = show_progress(70, as_json)
    result = build(name, folder=folder, minutes=minutes, overrides=overrides, say=say)
    _print(result, as_json)
    if not result["complete"] and not as_json:
        click.echo("the table is not complete; the same command goes on with it")


@tab.command("show")
@click.argument("file", type=click.Path(path_type=Path))
@AS_JSON
def show(file: Path, as_json: bool) -> None:
    """Show the facts of a table; exit 2 if no study may rest on it."""
    table = read_table(str(file))
    check_table(table, stamp_code())
    by_truth, by_halves = climb_table(table)
    path = [f"{step.knob}={step.value} {step.gain.value:+.3f}" for step in by_truth.steps]
    depth = by_truth.depth()
    facts = {
        "word": by_truth.word(),
        "depth": plain(depth) if as_json else depth.describe(),
        "climb": path if as_json else ", ".join(path),
        "depth_by_halves": plain(by_halves.depth()) if as_json else by_halves.depth().describe(),
    }
    _print(describe(table) | facts, as_json)


@click.command()
@click.argument("folders", nargs=-1, required=True, type=click.Path(path_type=Path))
@AS_JSON
def truth(folders: tuple[Path, ...], as_json: bool) -> None:
    """Hold the figures of runs on a table against its truth, instrument by instrument."""
    read = measure_truth([Run(i, open_ledger(folder)) for i, folder in enumerate(folders)])
    if as_json:
        click.echo(json.dumps(finite(read)))
        return
    for key in ("table", "baseline", "best"):
        click.echo(f"{key}: {shorten(read[key])}")
    rows = [[shorten(value) for value in row] for row in list_truth(read)]
    head = ["arm", "instrument", "measured", "true", "low", "high", "n", "unit"]
    print_table(rows, head, False)


def _print(facts: dict[str, Any], as_json: bool) -> None:
    cells = facts if as_json else {name: shorten(value) for name, value in facts.items()}
    print_pairs(cells, ["what", "value"], as_json)
