"""`heirloop truth RUN`: the instruments of a run on a table, measured beside true.

The true score of a recipe is the mean of its rows, over all folds. It is read after the study and
never by the loop: no proposer, gate or judge sees it.
"""

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from configs.build import plain
from configs.errors import BadInput
from configs.recipe import Recipe
from configs.records import CONFIRM, Plan, Split
from evals.folds import columns_of
from evals.intervals import settle
from evals.table import PLANNED, Unlisted, World
from evals.truth import TrueCampaign, TruePlan, TrueSkill, hold, hold_skills
from loop.instruments.gains import (
    closing_gain,
    is_unusable,
    list_cells,
    read_asks,
    read_skills,
)
from loop.instruments.gather import shared_settings
from loop.instruments.losses import read_plans
from loop.instruments.run import Run
from loop.study.items import draw_items
from loop.study.root import plain_secret
from loop.study.tabulated import read_world


def measure_truth(runs: Sequence[Run]) -> dict[str, Any]:
    """Return {table, arms: {arm: {instrument: {measured, true}}}} of runs on one table.

    Raises BadInput for a run on no table, or whose table is not the pinned file any more.
    """
    config = runs[0].config
    if any(not run.config.task.table for run in runs):
        raise BadInput(
            f"{config.study.name} did not run on a table; `heirloop truth RUN` needs one with"
            " task.table, for only there the truth is known"
        )
    if any(run.config.task.table_digest != config.task.table_digest for run in runs):
        raise BadInput("these runs rest on different tables; name runs on one table")
    if any(shared_settings(run.config) != shared_settings(config) for run in runs):
        raise BadInput("these runs differ in more than name and seed; name repeats of one study")
    if not all(run.facts.closed for run in runs):
        raise BadInput("the study has not ended; its truth is read after the end")
    if config.objective.metric != "bits":
        raise BadInput(
            f"objective.metric is {config.objective.metric}; the truth of a table is in bits"
        )
    world = read_world(config)
    best, bits = world.best()
    return {
        "study": config.study.name,
        "tier": "T: tabulated",
        "table": world.table.name,
        "digest": config.task.table_digest,
        "baseline": world.score(config.task.baseline),
        "best": bits,
        "best recipe": _changed(config.task.baseline, best),
        "arms": {arm: _hold_arm(runs, world, bits, arm) for arm in config.arms()},
    }


def _changed(base: Recipe, other: Recipe) -> dict[str, Any]:
    before = plain(base)
    return {name: v for name, v in plain(other).items() if before.get(name) != v}


def _hold_arm(runs: Sequence[Run], world: World, best: float, arm: str) -> dict[str, Any]:
    campaigns = [campaign for run in runs for campaign in read_campaigns(run, world, best, arm)]
    held = hold(campaigns, runs[0].config.objective.minimum_effect)
    cells = [read_true_skills(run, world, arm) for run in runs]
    return dict(plain(settle(held | hold_skills([skill for own in cells for skill in own]))))


def read_true_skills(run: Run, world: World, arm: str) -> Iterator[TrueSkill]:
    """Yield Q of each cell of an arm, measured and true."""
    for skill, (_, repeat, cell) in zip(read_skills(run, arm), list_cells(run, arm), strict=True):
        true = true_skill(world, run, arm, repeat, cell)
        yield TrueSkill(cell=cell, repeat=skill.repeat, measured=skill.value, true=true)


def read_campaigns(run: Run, world: World, best: float, arm: str) -> Iterator[TrueCampaign]:
    """Yield an arm's campaigns, measured and true; `best` is the best true score of the grid.

    An arm with more compute is held to the table's level of that compute.
    """
    level = level_of(run, arm)
    best = best if level == PLANNED else world.best(level)[1]
    plans = {repeat: list[TruePlan]() for name, repeat in run.campaigns if name == arm}
    for fact in read_plans(run, arm):
        if fact.fate == "invalid":
            continue
        plans[fact.repeat - run.base].append(
            TruePlan(
                accepted=fact.fate == "accepted",
                confirmed=fact.plan in run.facts.verdicts,
                promised=fact.promised,
                feedback=fact.feedback,
                gate=fact.gate,
                corrected=fact.corrected,
                true=true_gain(world, run, run.facts.plans[fact.plan]),
            )
        )
    for repeat, own in plans.items():
        names = run.facts.champions[arm, repeat]
        first, last = (run.facts.plans[names[at]].recipe for at in (0, -1))
        folds = split_folds(run, repeat, CONFIRM)
        yield TrueCampaign(
            repeat=run.base + repeat,
            plans=tuple(own),
            closing=closing_gain(run, arm, repeat, run.unbounded),
            true=true_score(world, first, level=level) - true_score(world, last, level=level),
            on_folds=true_score(world, first, folds, level) - true_score(world, last, folds, level),
            regret=true_score(world, last, level=level) - best,
        )


def level_of(run: Run, arm: str) -> float:
    """Return an arm's compute of a training, as a multiple of the planned compute."""
    return run.config.compute(arm) / run.config.task.planned_cpu_us


def true_gain(world: World, run: Run, plan: Plan) -> float:
    """Return the bits that a plan's recipe saves against its parent's, by the table's means."""
    level, parent = level_of(run, plan.arm), run.facts.plans[plan.parent]
    before = true_score(world, parent.recipe, level=level)
    return before - true_score(world, plan.recipe, level=level)


def true_skill(world: World, run: Run, arm: str, repeat: int, cell: str) -> float:
    """Return the true Q of a cell: the mean bits that its proposals save against their parents.

    Both over the table's means. An unusable proposal counts with the objective's floor.
    """
    gains = list[float]()
    for proposals in read_asks(run, arm, repeat, cell):
        plans = [run.facts.plans[one] for one in proposals if isinstance(one, str)]
        parent = plans[0].reference_recipe if plans else None
        before = true_score(world, parent or run.config.task.baseline)
        floor = run.config.objective.floor
        lost = math.nan if floor is None else before - floor
        for one in proposals:
            usable = isinstance(one, str) and not is_unusable(run, one)
            after = true_score(world, run.facts.plans[one].recipe) if isinstance(one, str) else 0.0
            gains.append(before - after if usable else lost)
    known = [gain for gain in gains if math.isfinite(gain)]
    return math.fsum(known) / len(known) if known else math.nan


def split_folds(run: Run, repeat: int, split: Split) -> NDArray[np.int64]:
    """Return the folds that the secret of a repeat dealt to a split."""
    items = draw_items(run.config.task.format(), plain_secret(run.config), repeat, format=2)
    return columns_of(items.splits[split])


def true_score(
    world: World,
    recipe: Recipe,
    folds: NDArray[np.int64] | None = None,
    level: float = PLANNED,
) -> float:
    """Return the true bits of a recipe, over all folds or `folds`; NaN where it is unlisted."""
    try:
        return world.score(recipe, level, folds)
    except Unlisted:
        return math.nan


def list_truth(truth: dict[str, Any]) -> Iterator[list[Any]]:
    """Yield [arm, instrument, measured, true, low, high, n, unit] for a table.

    The interval is that of the measured figure, or of the true where there is no other.
    """
    for arm, instruments in truth["arms"].items():
        for name, sides in instruments.items():
            shown = sides.get("measured", sides["true"])
            yield [
                arm,
                name,
                sides["measured"]["value"] if "measured" in sides else None,
                sides["true"]["value"],
                *(shown[key] for key in ("low", "high", "n", "unit")),
            ]
