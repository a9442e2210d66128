"""Feedback of a proposer under the Ladder (Blum and Hardt 2015): repeated queries cannot climb
noise.

A trial's score is released only if it beats the last released score by a margin. Noise alone passes
the margin in FAMILY of campaigns with the planned number of looks. Every other trial is `not
better`, whatever its score. As long as no step of noise passes, all answers are the same, and the
proposer has learned nothing about the split. So the bound holds for adaptive queries, too.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Literal

from configs.metrics import METRICS
from configs.objective import Objective
from configs.records import Scores
from evals.metrics import primary

FAMILY = 0.05
"""Share of campaigns with a released step of noise."""
DIGITS = 2
"""A released score is rounded to this many digits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Feedback:
    """Everything a proposer learns about one trial."""

    outcome: Literal["first", "better", "not better", "failed", "scored", "waiting"]
    "scored: with the rule off, all scores are released; waiting: not measured yet"
    score: float | None
    """the objective's primary metric on its scale, larger is better, rounded; None unless first,
    better or scored
    """


def release_feedback(
    trials: Sequence[Scores | None], objective: Objective, *, looks: int, deviation: float
) -> list[Feedback]:
    """Return the feedback on each trial of a campaign, in order; None is a failed trial.

    `looks` is the number of planned trials, `deviation` the seed deviation of one training.
    """
    values = [primary(objective, s) if s is not None else math.nan for s in trials]
    if objective.feedback == "rounded":
        return [
            _release("scored", v) if math.isfinite(v) else Feedback(outcome="failed", score=None)
            for v in values
        ]
    share = METRICS[objective.metric].share and objective.scale == "raw"
    return ladder(
        values,
        [s.items if s is not None and share else 0 for s in trials],
        looks=looks,
        deviation=deviation,
    )


def ladder(
    values: Sequence[float], items: Sequence[int], *, looks: int, deviation: float
) -> list[Feedback]:
    """Return the feedback on each value in order; NaN is a failure.

    `items` is the size of each sample; 0: the value is no share of items.
    """
    result, best = list[Feedback](), math.nan
    margin = NormalDist().inv_cdf(1 - FAMILY / max(looks, 2))
    for value, n in zip(values, items, strict=True):
        if not math.isfinite(value):
            result.append(Feedback(outcome="failed", score=None))
        elif math.isnan(best):
            result.append(_release("first", value))
        elif value - best > margin * noise(value, best, n, deviation):
            result.append(_release("better", value))
        else:
            result.append(Feedback(outcome="not better", score=None))
        best = best if result[-1].score is None else result[-1].score
    return result


def noise(one: float, other: float, items: int, deviation: float) -> float:
    """Return the standard error of a difference of two trials.

    It holds the seeds of two trainings and two samples of `items` each.
    """
    rates = (
        ((min(max(abs(v), 0.0), 1.0) * items + 0.5) / (items + 1) for v in (one, other))
        if items
        else ()
    )
    return math.sqrt(2 * deviation**2 + sum(p * (1 - p) / items for p in rates))


def _release(outcome: Literal["first", "better", "scored"], value: float) -> Feedback:
    return Feedback(outcome=outcome, score=round(value, DIGITS))
