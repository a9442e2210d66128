"""Verbs for what people bring: proposals by hand, a task of their own to be checked, and the list
of all that proposes.
"""

import json
import sys
from pathlib import Path

import click

from loop import terminal
from loop.terminal import AS_JSON, cli


@cli.command()
@AS_JSON
def proposers(as_json: bool) -> None:
    """List every proposer with what it may see and what it costs."""
    from configs.arms import ARMS
    from loop.propose.table import PROPOSERS

    arms = {
        name: ", ".join(arm for arm, one in ARMS.items() if one.proposer == name) or name
        for name in PROPOSERS
    }
    rows = [
        [
            name,
            arms[name],
            one.where,
            one.sees,
            one.costs,
            " or ".join(f"proposer.{setting}" for setting in one.needs),
        ]
        for name, one in PROPOSERS.items()
    ]
    terminal.table(rows, ["proposer", "arm", "where", "sees", "costs", "needs"], as_json)


@cli.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--arm", default="human", show_default=True, help="An arm in which people propose.")
@click.option("--repeat", default=0, show_default=True)
def propose(folder: Path, file: Path, arm: str, repeat: int) -> None:
    """Hand in a proposal (strict JSON: hypothesis, knobs, predicted_gain, edits) as a person; it is
    recorded with your name.
    """
    from configs.errors import BadInput
    from loop.propose.by_hand import hand_in_proposal as act

    try:
        text = file.read_bytes()[:100_000].decode()
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"FILE is {str(file)!r}; it cannot be read ({error})") from None
    name = act(folder, text, arm, repeat, terminal.who(), terminal.who().removeprefix("user "))
    click.echo(
        f"handed in {name[:12]}; it becomes a plan when the loop comes to it, and is decided on"
        " like any other"
    )


@cli.group()
def task() -> None:
    """Tasks, and what they are worth."""


@task.command("check", context_settings={"ignore_unknown_options": True})
@click.argument("task")
@click.argument("overrides", nargs=-1)
@click.option("--trainings", default=8, show_default=True, help="Of the baseline, for the noise.")
@click.option("--recipes", default=12, show_default=True, help="Random recipes, for the headroom.")
@click.option(
    "--unattended", is_flag=True, help="Sign the unattended mandate that the trainings need."
)
@AS_JSON
def check(
    task: str,
    overrides: tuple[str, ...],
    trainings: int,
    recipes: int,
    unattended: bool,
    as_json: bool,
) -> None:
    """Test a task, by name or a file of one's own, for exclusion, noise, headroom and leakage; exit
    6 if a row fails.
    """
    from configs.errors import VerificationFailed
    from loop.calibrate.task import check_task as act

    shown = sys.stderr.isatty()
    found = act(
        task,
        trainings=trainings,
        recipes=recipes,
        overrides=overrides,
        unattended=unattended,
        say=lambda text: click.echo(f"\r{text:40}", err=True, nl=False) if shown else None,
    )
    if as_json:
        click.echo(json.dumps(found))
    else:
        head = ["check", "passed", "value", "bound", "text"]
        rows = [
            [f"{v:.4g}" if isinstance(v := row[name], float) else terminal.yes(v) for name in head]
            for row in found["rows"]
        ]
        terminal.table(rows, head, False)
        click.echo(f"recorded in {found['run']}; `heirloop verify {found['run']}` recomputes it")
    failed = [row["check"] for row in found["rows"] if not row["passed"]]
    if failed:
        raise VerificationFailed(f"the task fails {', '.join(failed)}")
