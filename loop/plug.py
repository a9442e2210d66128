"""Verbs for what people bring: a task of their own to be checked."""

import json
import sys

import click

from loop import terminal
from loop.terminal import AS_JSON, cli


@cli.group()
def task() -> None:
    """Tasks, and what they are worth."""


@task.command("check", context_settings={"ignore_unknown_options": True})
@click.argument("task")
@click.argument("overrides", nargs=-1)
@click.option("--trainings", default=8, show_default=True, help="Of the baseline, for the noise.")
@click.option("--recipes", default=12, show_default=True, help="Random recipes, for the headroom.")
@click.option("--unattended", is_flag=True, help="Sign the unattended mandate that the trainings need.")
@AS_JSON
def check(task: str, overrides: tuple[str, ...], trainings: int, recipes: int, unattended: bool, as_json: bool) -> None:
    """Test a task, by name or a file of one's own, for exclusion, noise, headroom and leakage; exit 6 if a row fails."""
    from configs.errors import VerificationFailed
    from loop.check import check as act

    shown = sys.stderr.isatty()
    found = act(task, trainings=trainings, recipes=recipes, overrides=overrides, unattended=unattended,
                say=lambda text: click.echo(f"\r{text:40}", err=True, nl=False) if shown else None)  # fmt: skip
    if as_json:
        click.echo(json.dumps(found))
    else:
        head = ["check", "passed", "value", "bound", "text"]
        rows = [[f"{v:.4g}" if isinstance(v := row[name], float) else terminal.yes(v) for name in head] for row in found["rows"]]
        terminal.table(rows, head, False)
        click.echo(f"recorded in {found['run']}; `heirloop verify {found['run']}` recomputes it")
    failed = [row["check"] for row in found["rows"] if not row["passed"]]
    if failed:
        raise VerificationFailed(f"the task fails {', '.join(failed)}")
