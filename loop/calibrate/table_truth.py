"""The truth of a world of a table: the law's mean over many campaigns.

A truth is an instrument on other campaigns of the world than those of its studies. Every measured
gain is replaced there by the gain that the table's means give.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from configs.recipe import Recipe
from configs.records import CONFIRM
from configs.settings.config import Config
from evals.amplify import Skill
from evals.arms import Gain
from evals.drift import Drift
from evals.intervals import Figure
from evals.loss import PlanFact
from evals.retention import Held
from evals.table import World
from evals.truth import hold
from loop.calibrate.table_studies import TableWorld, comparable, play, read_records
from loop.instruments.gains import list_cells, read_skills
from loop.instruments.gather import Records
from loop.instruments.proposers import read_truth
from loop.instruments.run import Run
from loop.instruments.truth import (
    read_campaigns,
    split_folds,
    true_gain,
    true_score,
    true_skill,
)

CHUNK = 10
"""Campaigns of each arm that are played at once: facts are large."""


@dataclass(slots=True, kw_only=True)
class Truth:
    """The law of a world, by many campaigns."""

    records: Records
    "records with true gains instead of measured gains"
    held: dict[str, float]
    "instrument of `heirloop truth` -> true value"
    false_accepts: list[bool]
    "whether each campaign accepted a plan that gains too little"


def play_truth(
    config: Config, world: World, place: TableWorld, campaigns: int, best: float
) -> Truth:
    """Play so many campaigns of each arm, and return their law.

    `best` is the best true score of the grid.
    """
    parts, sums, flags = list[Records](), dict[str, tuple[float, int]](), list[bool]()
    for number in range(campaigns // CHUNK):
        run = play(config, world, place, number, CHUNK, truth=True)
        parts.append(_make_true(run, world))
        for name, figure in hold_truth(run, world, best, "true"):
            if figure.value is not None:
                total, count = sums.get(name, (0.0, 0))
                sums[name] = total + figure.value * figure.n, count + figure.n
        flags.extend(count_false(run, world, best))
    held = {name: total / count for name, (total, count) in sums.items()}
    return Truth(records=_join(parts), held=held, false_accepts=flags)


def _join(parts: Sequence[Records]) -> Records:
    """Return the records of all chunks together."""

    def by_arm(name: str) -> dict[str, tuple[Any, ...]]:
        return {
            arm: tuple(one for part in parts for one in getattr(part, name)[arm])
            for arm in parts[0].plans
        }

    return replace(
        parts[0],
        gains=tuple(gain for part in parts for gain in part.gains),
        plans=by_arm("plans"),
        held=by_arm("held"),
        proposing=by_arm("proposing"),
        drifts=by_arm("drifts"),
        skills=tuple(skill for part in parts for skill in part.skills),
    )


def _make_true(run: Run, world: World) -> Records:
    """Return a run's records with the gains that the table's means give.

    A gain is true over all folds. Rungs on fresh seeds are true on their own folds; feedback and
    confirm stay as measured, for both select.
    """
    records = read_records(run)
    return replace(
        records,
        gains=tuple(_true_champion(run, world, gain) for gain in records.gains),
        plans={
            arm: tuple(_true_plan(run, world, fact) for fact in facts)
            for arm, facts in records.plans.items()
        },
        held={
            arm: tuple(_true_rung(run, world, arm, rung) for rung in rungs)
            for arm, rungs in records.held.items()
        },
        skills=tuple(true_skills(run, world)),
        proposing={arm: tuple(read_truth(run, arm, world)) for arm in records.proposing},
        drifts={
            arm: tuple(_true_drift(run, world, arm, drift) for drift in drifts)
            for arm, drifts in records.drifts.items()
        },
    )


def _champions(run: Run, arm: str, repeat: int, until: int | None = None) -> tuple[Recipe, Recipe]:
    """Return the recipes of the baseline and of the last champion, up to a generation."""
    plans = [run.facts.plans[name] for name in run.facts.champions[arm, repeat]]
    own = [plan for plan in plans if until is None or plan.generation <= until]
    return plans[0].recipe, own[-1].recipe


def _true_champion(run: Run, world: World, gain: Gain) -> Gain:
    base, best = _champions(run, gain.arm, gain.repeat - run.base, gain.generation)
    return replace(gain, value=true_score(world, base) - true_score(world, best))


def _true_plan(run: Run, world: World, fact: PlanFact) -> PlanFact:
    if fact.fate != "accepted":
        return fact
    true = true_gain(world, run, run.facts.plans[fact.plan])
    return replace(fact, corrected=true, gained=true)


def _true_rung(run: Run, world: World, arm: str, held: Held) -> Held:
    repeat = held.repeat - run.base
    base, best = _champions(run, arm, repeat)
    if held.rung in ("closing", "sealed"):
        folds = split_folds(run, repeat, CONFIRM if held.rung == "closing" else "sealed")
        true = true_score(world, base, folds) - true_score(world, best, folds)
        return replace(held, value=true)
    if held.rung in world.table.slices:
        away = world.true(base) - world.true(best)
        place = world.table.folds + world.table.slices.index(held.rung)
        return replace(held, value=float(away[place]))
    return held


def _true_drift(run: Run, world: World, arm: str, drift: Drift) -> Drift:
    """Return a drift whose last step is true; a table's quantities are bits on its slices."""
    base, best = _champions(run, arm, drift.repeat - run.base)
    away = world.true(best) - world.true(base)
    place = world.table.folds + world.table.slices.index(drift.quantity.partition(" on ")[2])
    return replace(drift, steps=(*drift.steps[:-1], float(away[place])))


def true_skills(run: Run, world: World) -> Iterator[Skill]:
    """Yield the mean true gain of each cell's proposals."""
    for skill, (arm, repeat, cell) in zip(read_skills(run), list_cells(run), strict=True):
        yield replace(skill, value=true_skill(world, run, arm, repeat, cell))


def hold_truth(run: Run, world: World, best: float, side: str) -> Iterator[tuple[str, Figure]]:
    """Yield one side of `heirloop truth`, arm by arm, for the instruments that have both."""
    for arm in comparable(run.config):
        campaigns = list(read_campaigns(run, world, best, arm))
        for name, sides in hold(campaigns, run.config.objective.minimum_effect).items():
            if "measured" in sides:
                yield f"truth, {arm}, {name}", sides[side]


def count_false(run: Run, world: World, best: float) -> Iterator[bool]:
    """Yield whether each campaign accepted a plan that gains no more than people want."""
    least = run.config.objective.minimum_effect
    for arm in run.config.arms():
        for campaign in read_campaigns(run, world, best, arm):
            yield any(plan.accepted and plan.true <= least for plan in campaign.plans)
