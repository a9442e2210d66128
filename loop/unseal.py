"""`heirloop unseal RUN`: open the sealed split for the study's champion, or those of campaigns,
against its baseline, once a reviewer signed it.

Each opening is a plan of its own class, which no mandate covers: its own approval, fresh replicates
of both, one look of the account `look sealed`, one entry, counted in every later report. Refuses a
study that did not end, one without a champion beside its baseline, and one whose looks are spent.
Killed, the same command goes on with the opening that was approved.
"""

import contextlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from configs.build import plain
from configs.errors import BadInput, BudgetExhausted, Denied
from configs.records import Proposal, Scores
from evals.judge import interval
from evals.metrics import measured, primary, spread
from loop.cycle import Campaign
from loop.facts.facts import Facts
from loop.facts.summary import champion
from loop.measure.replicate import replicate
from loop.report.make import publish
from loop.study.open import Running, config_at, open_study, read_config
from sandbox.budget import balances, look_account
from sandbox.ledger import Ledger

LEVEL = 0.025
"""Each end of the interval that an opening reports: 95 % in all, for this one opening."""


def unseal(folder: Path, campaign: tuple[str, int] | None = None) -> dict[str, Any]:
    """Open sealed for the champion of a campaign (arm, repeat), of the study where none is named;
    return the entry's body.

    Raises NeedsHuman until people decided, Denied, BudgetExhausted, BadInput.
    """
    with _opened(folder) as running:
        return _one(running, campaign)


def unseal_arm(folder: Path, arm: str) -> list[dict[str, Any]]:
    """Open sealed for every campaign of an arm that has a champion beside its baseline and was not
    asked for yet; return each entry's body.

    A reviewer's no is told in `refused`, and not asked again. Raises NeedsHuman, BudgetExhausted,
    BadInput.
    """
    with _opened(folder) as running:
        facts = running.archive.facts()
        changed = {
            repeat
            for (of, repeat), names in facts.champions.items()
            if of == arm and facts.plans[names[-1]].generation
        }
        if not changed:
            raise BadInput(
                f"no campaign of arm {arm!r} of {folder} has a champion beside its baseline;"
                " `heirloop plans` lists them"
            )
        denied = [name for name, what in running.gate.refresh().refused if what == "unseal"]
        done = {
            facts.plans[name].repeat
            for name in (*facts.openings, *denied)
            if facts.plans[name].arm == arm
        }
        return [
            {"repeat": repeat, "refused": "", **_answered(running, (arm, repeat))}
            for repeat in sorted(changed - done)
        ]


def _answered(running: Running, campaign: tuple[str, int]) -> dict[str, Any]:
    try:
        return _one(running, campaign)
    except Denied as error:
        return {"refused": str(error)}


@contextmanager
def _opened(folder: Path) -> Iterator[Running]:
    """Open a study that was run, and sign and publish what was added."""
    running = open_study(config_at(read_config(Ledger.file(folder / "ledger.sqlite")), folder))
    try:
        yield running
    finally:
        running.sandbox.box.close()
        running.checkpoint()
        publish(running.ledger, running.archive.facts(), running.folder)


def _one(running: Running, campaign: tuple[str, int] | None) -> dict[str, Any]:
    name = _plan(running, campaign)
    if not _campaign(running, name).allowed(name):
        raise Denied(
            f"opening {name[:12]} was refused: {running.gate.refresh().refused[name, 'unseal']}"
        )
    _campaign(running, name).admit(name)
    _campaign(running, name).look("sealed", name)
    return _open(running, name)


def _plan(running: Running, campaign: tuple[str, int] | None) -> str:
    """Return the opening that is under way, of that campaign where one is named, or record the next
    one.
    """
    facts = running.archive.facts()
    mine = [name for name, plan in facts.plans.items() if plan.purpose == "unseal"]
    refused = running.gate.refresh().refused
    for name in mine:
        ours = campaign in (None, (facts.plans[name].arm, facts.plans[name].repeat))
        if (
            ours
            and name not in facts.openings
            and (name, "unseal") not in refused
            and facts.plans[name].version == running.gate.rules.version
        ):
            return name
    best = _subject(running, facts, campaign)
    plan = facts.plans[best]
    base = facts.plans[facts.champions[plan.arm, plan.repeat][0]]
    of = Campaign(running, plan.arm, plan.repeat, None, lambda _: None)
    where = (running.config.study.generations + 1, 1 + len(mine))
    return of.record(
        where,
        "unseal",
        best,
        plan.recipe,
        "unseal",
        plan.recipe,
        plan.bundle,
        (base.bundle, base.recipe),
        Proposal(hypothesis=f"opening {len(mine) + 1} of sealed", knobs={}),
    )


def _subject(running: Running, facts: Facts, campaign: tuple[str, int] | None) -> str:
    if not facts.closed:
        raise BadInput(
            f"{running.folder} did not end; sealed is opened after every campaign of the study"
        )
    if campaign and campaign not in facts.champions:
        raise BadInput(
            f"{running.folder} has no campaign of arm {campaign[0]!r}, repeat {campaign[1]};"
            " `heirloop plans` lists them"
        )
    best = facts.champions[campaign][-1] if campaign else champion(facts, running.config.objective)
    if facts.plans[best].generation == 0:
        raise BadInput(
            f"{running.folder} has no champion beside its baseline; there is nothing to open"
            " sealed for"
        )
    left = running.ledger.read(balances)[look_account("sealed")]["looks"]
    if left["spent"] >= left["limit"]:
        raise BudgetExhausted(
            f"{left['spent']} of {left['limit']} looks at sealed are spent; `heirloop amend` can"
            " raise budget.looks.sealed"
        )
    return best


def _campaign(running: Running, name: str) -> Campaign:
    plan = running.archive.facts().plans[name]
    return Campaign(running, plan.arm, plan.repeat, None, lambda _: None)


def _open(running: Running, name: str) -> dict[str, Any]:
    """Measure champion and baseline on sealed, pair by pair, and record what came out; no gain
    where a pair failed or could not be paid.
    """
    plan, objective = running.archive.facts().plans[name], running.config.objective
    count = next(job.count for job in plan.jobs if job.role == "train")
    both = list[tuple[Scores, Scores]]()
    with contextlib.suppress(BudgetExhausted):
        for i in range(count):
            mine, base = (
                replicate(running, name, i, "sealed", None, champion=beside)
                for beside in (False, True)
            )
            both += [(mine, base)] if mine and base else []
    gains = [primary(objective, mine) - primary(objective, base) for mine, base in both]
    gain, low, high = (
        interval(gains, LEVEL, running.config.deviation())
        if len(both) == count
        else (None, None, None)
    )
    sides: list[list[Scores]] = [[pair[side] for pair in both] for side in (0, 1)]
    means = [
        (
            sum(measured(s, objective.metric, weights=objective.weights) for s in side) / len(side)
            if side
            else None
        )
        for side in sides
    ]
    apart = spread([primary(objective, s) for s in sides[0]]) if len(both) > 1 else None
    body = {
        "plan": name,
        "champion": plan.parent,
        "metric": objective.metric,
        "gain": gain,
        "low": low,
        "high": high,
        "replicates": len(both),
        "of": count,
        "champion_mean": means[0],
        "baseline_mean": means[1],
        "spread": apart,
        "computable": running.gate.computable(plan),
    }
    running.ledger.append("opening", plain(body))
    return body
