"""Verbs on a single study: its plans, its proposers, and a proposal by hand.

The verb for running a study is in run.py.
"""

from pathlib import Path
from typing import Any

import click

from configs.arms import ARMS
from configs.errors import BadInput
from configs.metrics import METRICS
from loop.facts.reader import FactsReader
from loop.facts.summary import make_summary
from loop.propose.by_hand import hand_in_proposal
from loop.propose.table import PROPOSERS
from loop.terminal import AS_JSON, FOLDER, print_table, read_user
from sandbox.foreign import read_file
from sandbox.heads import open_ledger

PROPOSAL_BYTES = 100_000
"""Longest part read of a proposal's file."""


def read_summary(folder: Path) -> dict[str, Any]:
    """Return the summary of a run, computed from its ledger now."""
    ledger = open_ledger(folder)
    return make_summary(ledger, FactsReader(ledger).facts())


@click.command()
@FOLDER
@AS_JSON
def plans(folder: Path, as_json: bool) -> None:
    """List the plans of a run."""
    flag, summary = "computable" if as_json else "flag", read_summary(folder)
    metric = summary["objective"]["metric"]
    way = f", {metric}, lower is better" if METRICS[metric].better == "down" else ""
    feedback = "feedback" if as_json else f"feedback{way}"
    head = ["plan", "arm", "generation", "class", "verdict", feedback, flag, "why"]
    rows = []
    for generation in summary["generations"]:
        for plan in generation["plans"]:
            computable = plan["computable"]
            rows.append(
                [
                    plan["id"][:12],
                    generation["arm"],
                    generation["index"],
                    plan["change"]["class"],
                    plan["verdict"],
                    plan["shown"],
                    computable if as_json else "computable" * computable,
                    "; ".join(filter(None, [plan["denied"], *plan["failures"]])),
                ]
            )
    print_table(rows, head, as_json)


@click.command()
@AS_JSON
def proposers(as_json: bool) -> None:
    """List every proposer with its view and its cost."""
    rows = []
    for name, row in PROPOSERS.items():
        arms = [arm for arm, settings in ARMS.items() if settings.proposer == name]
        needs = " or ".join(f"proposer.{setting}" for setting in row.needs)
        rows.append([name, ", ".join(arms) or name, row.where, row.sees, row.costs, needs])
    print_table(rows, ["proposer", "arm", "where", "sees", "costs", "needs"], as_json)


@click.command()
@FOLDER
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--arm", default="human", show_default=True, help="An arm in which people propose.")
@click.option("--repeat", default=0, show_default=True)
def propose(folder: Path, file: Path, arm: str, repeat: int) -> None:
    """Hand in a proposal (strict JSON: hypothesis, knobs, predicted_gain, edits) as a person; it is
    recorded with your name.
    """
    try:
        text = read_file(file, PROPOSAL_BYTES, follow=True).decode()
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"FILE is {str(file)!r}; it cannot be read ({error})") from None
    user = read_user()
    name = hand_in_proposal(folder, text, arm, repeat, user, user.removeprefix("user "))
    click.echo(
        f"handed in {name[:12]}; it becomes a plan when the loop comes to it, and is decided on"
        " like any other"
    )
