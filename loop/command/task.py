"""Verbs for a task's worth: its check, and the climb from its baseline to its reference."""

import json
from pathlib import Path
from typing import Any

import click

from configs.build import parse
from configs.errors import VerificationFailed
from configs.settings.task import Depth
from loop.calibrate.climb import climb_task
from loop.calibrate.program import check_program
from loop.calibrate.task import check_task
from loop.command.prove import UNATTENDED
from loop.terminal import AS_JSON, print_table, shorten, show_progress, write_truth


@click.group()
def task() -> None:
    """Tasks: test their worth."""


@task.command("check", context_settings={"ignore_unknown_options": True})
@click.argument("task")
@click.argument("overrides", nargs=-1)
@click.option("--trainings", default=8, show_default=True, help="Of the baseline, for the noise.")
@click.option("--recipes", default=12, show_default=True, help="Random recipes, or single changes.")
@UNATTENDED
@AS_JSON
def check(
    task: str,
    overrides: tuple[str, ...],
    trainings: int,
    recipes: int,
    unattended: bool,
    as_json: bool,
) -> None:
    """Test a task, by name, an own file or a folder, for exclusion, noise, headroom and leakage;
    exit 6 if a row fails.
    """
    result = (check_program if Path(task).is_dir() else check_task)(
        task,
        trainings=trainings,
        recipes=recipes,
        overrides=overrides,
        unattended=unattended,
        say=show_progress(40, as_json),
    )
    if as_json:
        click.echo(json.dumps(result))
    else:
        _print_checks(result["rows"])
        run = result["run"]
        click.echo(f"recorded in {run}; `heirloop verify {run}` recomputes it")
    failed = [row["check"] for row in result["rows"] if not row["passed"]]
    if failed:
        raise VerificationFailed(f"the task fails {', '.join(failed)}")


@task.command("climb", context_settings={"ignore_unknown_options": True})
@click.argument("task")
@click.argument("overrides", nargs=-1)
@click.option("--seeds", default=8, show_default=True, help="That choose; as many more tell.")
@UNATTENDED
@AS_JSON
def climb(
    task: str, overrides: tuple[str, ...], seeds: int, unattended: bool, as_json: bool
) -> None:
    """Measure how deep a task is: single-knob gains, the best pair, and the steps of a greedy climb
    to 95 % of the reference. It takes hundreds of trainings, and resumes where it stopped.
    """

    def say(line: str) -> None:
        click.echo(line, err=True)

    result = climb_task(
        task,
        seeds=seeds,
        overrides=overrides,
        unattended=unattended,
        say=say,
        progress=show_progress(40, as_json),
    )
    if as_json:
        click.echo(json.dumps(result))
        return
    _print_climb(result["singles"], result["climb"])
    depth = parse(Depth, result["depth"])
    click.echo(f"{task} is {result['word']}: {depth.describe()}")
    run = result["run"]
    click.echo(f"recorded in {run}; `heirloop verify {run}` recomputes it")


def _print_climb(singles: list[dict[str, Any]], measured: dict[str, Any]) -> None:
    print_table(
        [
            [
                row["knob"],
                write_truth(row["value"]),
                shorten(row["gain"]["value"]),
                shorten(row["gain"]["low"]),
            ]
            for row in singles
        ],
        ["single change", "value", "gain", "at least"],
        False,
    )
    print_table(
        [
            [
                number,
                step["knob"],
                write_truth(step["value"]),
                shorten(step["gain"]["value"]),
                shorten(step["gain"]["low"]),
                f"{step['reached']:.0%}",
            ]
            for number, step in enumerate(measured["steps"], 1)
        ],
        ["step", "knob", "value", "gain", "at least", "reached"],
        False,
    )


def _print_checks(rows: list[dict[str, Any]]) -> None:
    head = ["check", "passed", "value", "bound", "text"]
    cells = []
    for row in rows:
        values = [row[name] for name in head]
        cells.append([shorten(v) if isinstance(v, float) else write_truth(v) for v in values])
    print_table(cells, head, False)
