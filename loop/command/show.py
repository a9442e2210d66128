"""`heirloop show`: what came of a run, or a plan in full."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click

from configs.build import plain
from configs.errors import BadInput
from loop.facts.nearest import recorded_nearest
from loop.facts.reader import FactsReader
from loop.people.requests import open_gate
from loop.report.make import read_report
from loop.report.short import write_answers
from loop.study.root import read_config
from loop.terminal import AS_JSON, RUN, print_answers, print_pairs
from sandbox.address import has_ledger
from sandbox.heads import open_ledger


@click.command()
@click.argument("subject")
@RUN
@AS_JSON
def show(subject: str, folder: Path, as_json: bool) -> None:
    """Show what came of a run in five answers (heirloop show runs/quickstart), or a plan in full,
    with the nearest other weights of each scored replicate.
    """
    if has_ledger(Path(subject)):
        _show_answers(Path(subject), as_json)
    else:
        _show_plan(subject, folder, as_json)


def _show_answers(folder: Path, as_json: bool) -> None:
    report = read_report(folder)
    if as_json:
        click.echo(json.dumps(dict(write_answers(report))))
    else:
        click.echo(report.title)
        print_answers(write_answers(report))


def _tell_apart(nearest: dict[str, Any], files: bool) -> dict[str, Any]:
    """Return the nearest weights; files of a program of people's own cannot be compared."""
    return {**nearest, "distance": "not possible"} if files else nearest


def _show_plan(plan: str, folder: Path, as_json: bool) -> None:
    ledger = open_ledger(folder)
    facts = FactsReader(ledger).facts()
    name = _find_plan(facts.plans, plan)
    verdict, files = facts.verdicts.get(name), read_config(ledger).task.weights == "files"
    criteria = verdict.criteria if verdict else ()
    fields = {
        "digest": name,
        **plain(facts.plans[name]),
        "verdict": verdict.answer if verdict else None,
        "criteria": [[criterion.name, criterion.passed] for criterion in criteria],
        "computable": open_gate(folder).computable(facts.plans[name]),
        "nearest": [_tell_apart(row, files) for row in recorded_nearest(ledger.entries(), name)],
        "failures": list(facts.failures.get(name, [])),
        "denied": {act: why for (plan, act), why in facts.denied.items() if plan == name},
    }
    texts = {field: json.dumps(value) for field, value in fields.items()}
    print_pairs(texts, ["field", "value"], as_json)


def _find_plan(plans: Iterable[str], prefix: str) -> str:
    """Return the only digest with a prefix; raise BadInput for no match or several."""
    matches = [name for name in plans if name.startswith(prefix)]
    if len(matches) != 1:
        raise BadInput(
            f"PLAN is {prefix!r}; it should begin exactly one plan's digest, {len(matches)} match"
            " (`heirloop plans RUN`)"
        )
    return matches[0]
