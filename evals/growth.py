"""Which law of growth a gain curve follows: none, linear, exponential, saturating or a power.

Definitions and sources: docs/instruments.md. Pure functions.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from evals.intervals import Floats

FEWEST_GENERATIONS = 20


def _rises(
    curve: Callable[[Floats, Floats], Floats], shapes: ArrayLike
) -> Callable[[Floats], Floats]:
    """Return x (G,) -> rise (shapes, G) of each shape in each generation; x runs since the
    start.
    """
    column = np.asarray(shapes, float)[:, None]
    return lambda x: np.diff(curve(np.concatenate([[0.0], x])[None, :], column), axis=1)


GROWTH: dict[str, tuple[int, Callable[[Floats], Floats]]] = {
    "none": (0, _rises(lambda x, c: 0 * x * c, [0.0])),
    "linear": (1, _rises(lambda x, c: x * c, [1.0])),
    "exponential": (
        2,
        _rises(lambda x, c: np.expm1(np.clip(c * x, 0, 50)), np.geomspace(0.25, 12, 80)),
    ),
    "saturating": (2, _rises(lambda x, c: -np.expm1(-c * x), np.geomspace(0.25, 40, 80))),
    "power": (2, _rises(lambda x, c: x**c, np.geomspace(0.2, 5, 81))),
}
"""Growth model -> (free parameters: size and perhaps shape; the rise of each shape per generation).
"""
SURE = 6.0
"""Units of AICc by which a model must lead. A wrong model leads by as much in about e^-3 = 5 % of
curves at most. A model contained in another (none in linear, linear in the bent ones) leads it by
about 2 at most, and is never named.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Growth:
    """Growth models of a mean curve."""

    weights: dict[str, float]
    "Akaike weight of each model; empty below 20 generations"
    best: str
    "the best model, or `cannot tell` if the second is within SURE units of AICc"
    more: int | None
    """further generations until the two best are expected to lie 10 units apart; None: not within
    ten times as many, or nothing to tell apart
    """


def growth(values: ArrayLike) -> Growth:
    """Return growth models of the mean of gain curves (R, G), by AICc (Hurvich and Tsai 1989).

    Nothing is fitted below 20 generations. Models are fitted to the rise of each generation: a
    curve adds its noise up, and fitted to itself any wandering reads as a law. A generation counts
    less if its repeats differ more than in the median generation.
    """
    added = np.diff(np.asarray(values, float), axis=1, prepend=0.0)
    if added.shape[1] < FEWEST_GENERATIONS or not np.isfinite(added).all() or not len(added):
        return Growth(weights={}, best="cannot tell", more=None)
    y, apart = added.mean(axis=0), added.std(axis=0)
    apart = np.hypot(apart, np.median(apart))
    sure = 1 / np.where(apart > 0, apart, 1.0)
    x, sure = (
        np.arange(1, len(y) + 1) / len(y),
        sure / (float(np.sqrt(np.mean((sure * y) ** 2))) or 1.0),
    )
    fits = {name: _fit(name, x, y, sure) for name in GROWTH}
    score = {name: _aicc(left, len(y), GROWTH[name][0]) for name, (left, _, _) in fits.items()}
    weights = {name: math.exp(-(s - min(score.values())) / 2) for name, s in score.items()}
    first, second = sorted(score, key=score.__getitem__)[:2]
    close = score[second] - score[first] < SURE
    return Growth(
        weights={name: w / sum(weights.values()) for name, w in weights.items()},
        best="cannot tell" if close else first,
        more=_more(first, second, fits[first], sure),
    )


def _fit(name: str, x: Floats, y: Floats, sure: Floats) -> tuple[float, int, float]:
    """Return (mean squared rest, index of the shape, size) of the best weighted least squares."""
    rises = GROWTH[name][1](x) * sure
    size = rises @ (y * sure) / np.maximum((rises**2).sum(axis=1), 1e-300)
    left = ((y * sure - size[:, None] * rises) ** 2).mean(axis=1)
    return float(left.min()), int(left.argmin()), float(size[left.argmin()])


def _aicc(left: float, n: int, parameters: int) -> float:
    k = parameters + 1
    return n * math.log(max(left, 1e-12)) + 2 * k + 2 * k * (k + 1) / (n - k - 1)


def _more(first: str, second: str, fit: tuple[float, int, float], sure: Floats) -> int | None:
    """Extrapolate the best model without noise, and fit the second to it.

    Return the generations until their gap outgrows the noise of the last generations.
    """
    (left, shape, size), n = fit, len(sure)
    for total in np.unique(np.geomspace(n, 10 * n, 24).astype(int)):
        longer = np.arange(1, total + 1) / n
        gap = _fit(
            second,
            longer,
            size * GROWTH[first][1](longer)[shape],
            np.pad(sure, (0, total - n), mode="edge"),
        )[0]
        if total * math.log1p(gap / max(left, 1e-12)) > 10:
            return int(total - n)
    return None
