"""Drift in behaviour of a run: constraints and slices of each champion against its baseline."""

import math
from collections.abc import Iterator, Mapping

from configs.arms import variant
from configs.records import Scores
from evals.drift import Drift
from evals.metrics import read_metric
from loop.instruments.gains import pair_scores
from loop.instruments.run import Run

Quantity = tuple[str, str]
"""Metric and slice; an empty slice: the whole split."""
SLICED = {"bits": "bits"}
"""Primary metric -> metric of its slices, where it is not exact match."""


def list_quantities(run: Run) -> list[Quantity]:
    """Return what a study's objective constrains besides its metric, and the task's slices."""
    objective, task = run.config.objective, run.config.task.format()
    metric = SLICED.get(objective.metric, "exact_match")
    conditions = (*objective.constraints, *objective.secondary)
    named = [(one.metric, one.slice) for one in conditions if one.metric != "spread"]
    return list(dict.fromkeys([*named, *((metric, name) for name in task.slices())]))


def name_quantity(quantity: Quantity) -> str:
    """Return a quantity in words, such as `bits on code`."""
    metric, part = quantity
    return f"{metric} on {part}" if part else metric


def read_drift(run: Run, arm: str) -> Iterator[Drift]:
    """Yield the drifts of an arm's campaigns; none before the study's end.

    A champion's difference is the sum of the mean paired differences of the accepted plans up to
    it, on confirm. A campaign's last difference is that of its closing look, on fresh seeds.
    """
    for _, repeat in [key for key in run.campaigns if key[0] == arm and run.facts.closed]:
        for quantity in list_quantities(run):
            steps = list(_sum_steps(run, arm, repeat, quantity))
            look, moved = run.finals.get((arm, repeat, "final")), run.has_new_champion(arm, repeat)
            closing = _difference(run, look, quantity) if look and moved else math.nan
            if math.isfinite(closing):
                steps[-1] = closing
            if all(map(math.isfinite, steps)):
                yield Drift(
                    repeat=run.base + repeat,
                    quantity=name_quantity(quantity),
                    steps=tuple(steps),
                    looked=math.isfinite(closing) or not moved,
                )


def _sum_steps(run: Run, arm: str, repeat: int, quantity: Quantity) -> Iterator[float]:
    """Yield the difference of the champion after each generation, from the baseline's 0 on."""
    made = {run.facts.plans[n].generation: n for n in run.facts.champions[arm, repeat][1:]}
    total = 0.0
    yield total
    for generation in range(1, run.last_generation(arm, repeat) + 1):
        if generation in made:
            step = _difference(run, made[generation], quantity)
            # Without carry each generation starts from the baseline.
            total = total + step if variant(arm).carry else step
        yield total


def _difference(run: Run, digest: str, quantity: Quantity) -> float:
    """Return the mean paired difference of a plan from what was measured beside it; NaN without."""
    sides = pair_scores(run, digest)
    own, beside = (_read(sides[role], quantity) for role in ("predict", "champion-predict"))
    apart = [own[index] - beside[index] for index in own.keys() & beside.keys()]
    return math.fsum(apart) / len(apart) if apart else math.nan


def _read(scores: Mapping[int, Scores], quantity: Quantity) -> dict[int, float]:
    values = {index: read_metric(one, *quantity) for index, one in scores.items()}
    return {index: value for index, value in values.items() if math.isfinite(value)}
