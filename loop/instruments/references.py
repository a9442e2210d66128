"""Reference changes: what any change of its size loses on a rung, for the excess loss of a loop.

They are fixed before a study. On a table they are every recipe of the study's grid that is truly
better than the baseline, with the gains that the table's means give. In a study that trains they
are people's list (`study.references`), measured by arm reference.
"""

import math
from collections.abc import Iterator, Sequence

from configs.arms import REFERENCE
from configs.errors import BadInput
from configs.recipe import Recipe, knob_values
from evals.retention import Held
from evals.table import Unlisted, World, list_grid
from loop.instruments.losses import hold, paired_look, slice_looks
from loop.instruments.run import Run
from loop.study.tabulated import read_world

LARGE = 4.0
"""Compute level of the rung `large`."""


def read_references(runs: Sequence[Run]) -> tuple[Held, ...]:
    """Return the reference changes of a study that has ended; none without its table's file."""
    config = runs[0].config
    if not all(run.facts.closed for run in runs):
        return ()
    if not config.task.table:
        return tuple(held for run in runs for held in _measured_references(run))
    try:
        return tuple(true_references(read_world(config), config.task.baseline))
    except BadInput:
        return ()  # The file is gone or another: figures that rest on it are not measured.


def _measured_references(run: Run) -> Iterator[Held]:
    """Yield the gains of arm reference per rung: a change each repeat, against its baseline."""
    for arm, repeat in run.campaigns:
        look = run.finals.get((arm, repeat, "reference"))
        if arm != REFERENCE or look is None:
            continue
        looks = {"closing": paired_look(run, look), **dict(slice_looks(run, look))}
        if beyond := run.finals.get((arm, repeat, "reference_larger")):
            looks["large"] = paired_look(run, beyond)
        change = _name(run.config.task.baseline, run.config.reference(repeat))
        for rung, measured in looks.items():
            yield hold(run.base + repeat, rung, measured, change)


def true_references(world: World, baseline: Recipe) -> Iterator[Held]:
    """Yield the true gains in bits of all recipes of a world that beat its baseline."""
    folds, names = world.table.folds, world.table.slices
    for recipe in list_grid(world.table.task):
        gains = world.true(baseline) - world.true(recipe)
        closing = float(gains[:folds].mean()) if len(gains) else math.nan
        if not closing > 0:
            continue
        rungs = {"closing": closing, **dict(zip(names, map(float, gains[folds:]), strict=True))}
        if math.isfinite(large := _gain_at(world, baseline, recipe, LARGE)):
            rungs["large"] = large
        change = _name(baseline, recipe)
        for rung, value in rungs.items():
            yield Held(repeat=0, rung=rung, value=value, change=change)


def _gain_at(world: World, baseline: Recipe, recipe: Recipe, level: float) -> float:
    """Return a recipe's true gain at a compute level; NaN where either is unlisted there."""
    try:
        return world.score(baseline, level) - world.score(recipe, level)
    except Unlisted:
        return math.nan


def _name(baseline: Recipe, recipe: Recipe) -> str:
    before = knob_values(baseline)  # unlike bytes, it has the knobs at their defaults too
    return " ".join(f"{k}={v}" for k, v in sorted(knob_values(recipe).items()) if before[k] != v)
