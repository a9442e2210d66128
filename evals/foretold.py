"""How well proposals foretell what they gain: the slope of shown on foretold gain, and the bias.

Example: promises of 0.1 and 0.3 whose proposals showed 0.2 and 0.4 have slope 1 and bias +0.1.
Definitions: docs/instruments.md. Pure functions.
"""

import math
from collections.abc import Sequence
from functools import partial

import numpy as np

from evals.intervals import Figure, Floats, figure_of, mark_unclear, mean, missing, reach
from evals.loss import UNIT, PlanFact


def calibration(plans: Sequence[PlanFact]) -> dict[str, Figure]:
    """Return the slope of shown on foretold gain over all screened plans, and the bias.

    Plans with a prediction count, whatever became of them: those that were accepted were chosen by
    their outcome. Gains of a generation share the parent's noise, so the slope is taken within a
    generation of a repeat, where it is that of levels. 1 is calibrated, 0 tells good proposals from
    bad ones no better than chance. The bias is shown less foretold, mean over repeats. Interval of
    the slope: least squares with a repeat left out at a time (the jackknife, CR3: Bell and
    McCaffrey 2002; t with repeats - 1 degrees).
    """
    rows = [
        (p.repeat, p.generation, p.promised, p.screened)
        for p in plans
        if p.promised is not None and p.screened is not None
    ]
    if not rows:
        missed = missing("not measured", "ratio")
        return {"calibration": missed, "calibration bias": missing("not measured", UNIT)}
    repeat, generation, x, y = np.array(rows, float).T
    bias = mean([float((y - x)[repeat == r].mean()) for r in np.unique(repeat)], UNIT)
    x, y = (_within(repeat, generation, values) for values in (x, y))
    return {"calibration": _within_slope(repeat, x, y), "calibration bias": bias}


def _within(repeat: Floats, generation: Floats, values: Floats) -> Floats:
    """Return values less the mean of their generation and repeat."""
    _, group = np.unique(np.stack([repeat, generation]), axis=1, return_inverse=True)
    group = group.ravel()
    return np.asarray(values - (np.bincount(group, values) / np.bincount(group))[group])


def _within_slope(repeat: Floats, x: Floats, y: Floats) -> Figure:
    groups = np.array([r for r in np.unique(repeat) if np.ptp(x[repeat == r]) > 0])
    if len(groups) < 3:
        return missing("not measured", "ratio", len(groups))
    slope = float(x @ y / (x @ x))
    left = [repeat != r for r in groups]
    without = np.array([x[keep] @ y[keep] / (x[keep] @ x[keep]) for keep in left])
    error = math.sqrt((1 - 1 / len(groups)) * float(((without - slope) ** 2).sum()))
    ends = partial(_slope_ends, slope, error, len(groups))
    return mark_unclear(figure_of(slope, ends, len(groups), "ratio"), 1.0)


def _slope_ends(slope: float, error: float, n: int, level: float) -> tuple[float, float]:
    return slope - reach(n, level) * error, slope + reach(n, level) * error
