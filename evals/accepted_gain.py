"""The gain of an accepted plan without the winner's curse, printed beside every accept.

Example: pairs gained 0.20 on average, and the rule accepts only large means, so the gain is more
likely 0.14. Two more figures come along: the rate at which the rule accepts null b, and the bound
of a betting rule on the same gains. The judge is simulated on normal noise in a fixed stream, so a
ledger replays to the same figures. It takes about a second per rule and level.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy.stats import chi2
from scipy.stats import t as student

from evals.rules import RULES, Gains

FAILING = (0.94,) * 9 + (0.04,)
"""Null b: scores of a candidate with one failed run in ten. The champion is steady at their mean,
0.85.
"""
_DRIFTS = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.5)
_CERTAIN = 5.0
"""Gains of more standard deviations are accepted for certain, so there is nothing to correct."""
_GRID = np.linspace(-1.0, 8.0, 181)
"""Grid of true gains above the effect, in standard deviations of a paired gain."""

_PARTS = 12
"""Parts in which the grid is gone through, from its smallest gain up."""
_QUANTILES = (0.05, 0.5, 0.95)


@dataclass(frozen=True, slots=True, kw_only=True)
class AcceptedGain:
    """Figures of an accepted gain."""

    corrected: float | None
    """median-unbiased gain given the accept; null with fewer than three pairs or with equal gains,
    since they tell no spread, and where the rule would have stopped before a third pair
    """
    low: float | None
    "lower end of its 90 % interval"
    high: float | None
    "upper end"
    hidden: float
    """rate at which the rule accepts null b at this level: equal mean, one failed run in ten"""
    bounded: float
    "p-value bound of the same gains by betting, valid for noise of every shape"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Accepted:
    """Accepted simulated confirmations, in standard deviations of a paired gain above the
    effect.
    """

    mean: Gains
    total: Gains
    pairs: Gains
    mixture: Gains
    "density under the drifts they were drawn with, over density without drift"


def estimate_gain(
    gains: Sequence[float],
    *,
    rule: str,
    level: float,
    effect: float,
    deviation: float,
    most: int,
    first_look: int,
) -> AcceptedGain:
    """Return the figures of an accept of `gains` by a rule (evals/rules.py)."""
    x = np.asarray(gains, float)
    spread = float(x.std(ddof=1)) if len(x) > 2 else 0.0
    low, corrected, high = (
        _corrected(x, spread, rule, level, effect, deviation, most, first_look)
        if spread > 1e-9
        else (None, None, None)
    )
    fooled = hidden_rate(rule, level, effect, deviation, most, first_look)
    bounded = float(RULES["betting"].evidence((x - effect)[None, :], effect, deviation)[0, -1])
    return AcceptedGain(
        corrected=corrected, low=low, high=high, hidden=fooled, bounded=min(1.0, bounded)
    )


@cache
def hidden_rate(
    rule: str, level: float, effect: float, deviation: float, most: int, first_look: int
) -> float:
    """Return the rate at which a rule accepts null b at the effect, in 2,000 simulated
    confirmations.
    """
    candidate, champion = draw_failing(np.random.default_rng(7), (2000, most))
    accepted, _ = RULES[rule].play(
        candidate - champion + effect,
        level=level,
        effect=effect,
        deviation=deviation,
        first_look=first_look,
    )
    return float(accepted.mean())


def draw_failing(
    rng: np.random.Generator, shape: tuple[int, ...], sample: Sequence[float] = FAILING
) -> tuple[Gains, Gains]:
    """Return (candidate, champion) scores of null b, with a jitter of 0.01.

    The candidate draws from `sample`, and the champion is steady at its mean.
    """
    jitter = 0.01 * rng.standard_normal((2, *shape))
    return (
        rng.choice(np.asarray(sample, float), shape) + jitter[0],
        float(np.mean(sample)) + jitter[1],
    )


def _corrected(
    x: Gains,
    spread: float,
    rule: str,
    level: float,
    effect: float,
    deviation: float,
    most: int,
    first_look: int,
) -> tuple[float, float, float] | tuple[None, None, None]:
    """Return (5 %, median, 95 %): true gains with these chances of an accept with so large a mean.

    Conditional inference after selection (Zhong and Prentice 2008) with normal noise. The unknown
    deviation is averaged over spread x sqrt(v / chi2_v). Importance weights reuse one pool of
    accepts for every true gain. An interval beyond the grid ends at its edge. None where the rule
    would have stopped before a third pair, as greedy does at a second: these gains were not chosen
    by it.
    """
    if (float(x.mean()) - effect) / spread > _CERTAIN:
        reach = float(student.ppf(0.95, len(x) - 1)) * spread / np.sqrt(len(x))
        return float(x.mean()) - reach, float(x.mean()), float(x.mean()) + reach
    unit = 1.0 if RULES[rule].scale_free else float(f"{spread:.2g}")
    pool = _pool(rule, level, effect / unit, deviation / unit, most, first_look, unit)
    if not len(pool.mean):
        return None, None, None
    degrees = len(x) - 1
    ratios = np.sqrt(degrees / chi2.ppf((np.arange(7) + 0.5) / 7, degrees))
    above, chance = (float(x.mean()) - effect) / spread, np.empty(0)
    for part in np.array_split(_GRID, _PARTS):
        found = np.mean([_chance(pool, part / r, above / r) for r in ratios], axis=0)
        chance = np.concatenate([chance, found])
        if found.max() >= _QUANTILES[-1]:  # what lies beyond changes no end
            break
    ends = np.searchsorted(np.maximum.accumulate(chance), _QUANTILES)
    low, median, high = (effect + spread * float(_GRID[min(end, len(_GRID) - 1)]) for end in ends)
    return low, median, high


def _chance(pool: _Accepted, drifts: Gains, mean: float) -> Gains:
    """Return for each drift (D,) the share of its accepts with a mean gain of at least `mean`."""
    weights = (
        np.exp(drifts[:, None] * pool.total - 0.5 * np.square(drifts)[:, None] * pool.pairs)
        / pool.mixture
    )
    return np.asarray((weights * (pool.mean >= mean)).sum(axis=1) / weights.sum(axis=1))


@cache
def _pool(
    rule: str,
    level: float,
    effect: float,
    deviation: float,
    most: int,
    first_look: int,
    unit: float,
) -> _Accepted:
    """Draw confirmations under several drifts and keep those accepted by the rule."""
    rng = np.random.default_rng(11)
    x = np.concatenate([drift + rng.standard_normal((800, most)) for drift in _DRIFTS])
    accepted, pairs = RULES[rule].play(
        (x + effect) * unit,
        level=level,
        effect=effect * unit,
        deviation=deviation * unit,
        first_look=first_look,
    )
    chosen: NDArray[np.bool_] = accepted & (pairs > 2)
    x, n = x[chosen], pairs[chosen].astype(float)
    used = np.arange(most) < n[:, None]
    total = (x * used).sum(axis=1)
    mixture = np.mean([np.exp(d * total - 0.5 * d * d * n) for d in _DRIFTS], axis=0)
    return _Accepted(mean=total / n, total=total, pairs=n, mixture=mixture)
