"""Compute-equivalent gains: how much compute would a reference have needed for the same gain?

Example: the reference needed 4 CPU-hours for a gain that the arm reached with 1, so the arm's gain
is worth 2 doublings. Definitions and sources: docs/instruments.md. Pure functions.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
from numpy.typing import ArrayLike

from configs.build import need
from evals.arms import Curve, common
from evals.intervals import (
    Figure,
    Floats,
    bootstrap,
    mark_unclear,
    missing,
    percentiles,
    resample,
)

MOST_BITS = 6
"""Compute-equivalent gains are given as more than this many bits at most. They end with the
reference curve if it ends earlier.
"""
FEWEST_BUDGETS, FEWEST_SEEDS = 6, 10
STEPS = 12
"""Budgets at which slopes are read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """Gains that a reference reached, by compute; its prefixes are its smaller budgets."""

    budgets: Floats
    "CPU-microseconds (M,), ascending"
    scores: Floats
    "(M, seeds); a seed is the same campaign at every budget"
    paired: bool = False
    "whether its seeds are the repeats of the arms that are compared with it, in the same order"

    def __post_init__(self) -> None:
        """Refuse a curve of fewer than 6 budgets by 10 seeds, or of budgets that do not ascend."""
        need(
            len(self.budgets) >= FEWEST_BUDGETS and self.scores.shape[1] >= FEWEST_SEEDS,
            "reference curve",
            self.scores.shape,
            "6 budgets by 10 seeds or more",
        )
        need(
            bool((np.diff(self.budgets) > 0).all()),
            "budgets",
            list(self.budgets),
            "in ascending order",
        )

    def fit(self, weights: Floats) -> Floats:
        """Return the monotone fit (draws, M) of its means for weights (draws, R) over repeats.

        Seeds of its own are resampled beside the repeats.
        """
        seeds = self.scores.shape[1]
        own = (
            weights if self.paired else np.ones((1, seeds)) if len(weights) == 1 else _picks(seeds)
        )
        return monotone(own @ self.scores.T / own.sum(axis=1, keepdims=True))

    def bits(self, fit: Floats, reached: Floats) -> Floats:
        """Return log2 of the compute (draws, K) at which a fit (draws, M) reaches scores (draws,
        K).

        Infinite beyond the fit.
        """
        return _inverse(np.log2(self.budgets), fit, reached)


def monotone(means: Floats, weights: Sequence[float] | None = None) -> Floats:
    """Return the non-decreasing least-squares fit of each row of (B, M) (Robertson 1988).

    It is the largest, over starts, of the smallest mean over ends.
    """
    sizes = np.ones(means.shape[1]) if weights is None else np.asarray(weights, float)
    sums = np.concatenate([np.zeros((1, len(means))), np.cumsum((means * sizes).T.copy(), axis=0)])
    counts, m = np.concatenate([[0.0], np.cumsum(sizes)])[:, None], means.shape[1]
    fit = np.empty_like(means)
    for i in range(m):  # rows last: minima and maxima then run along B
        between = (sums[None, i + 1 :] - sums[: i + 1, None]) / (
            counts[None, i + 1 :] - counts[: i + 1, None]
        )
        fit[:, i] = between.min(axis=1).max(axis=0)
    return fit


def compute_equivalent(reference: Reference, used_us: float, reached: ArrayLike) -> Figure:
    """Return log2 CEG = log2(C_ref(s) / C_used): the worth of a gain in doublings of compute.

    s is the mean of `reached` (R,), after `used_us`. C_ref is the inverse of the monotone fit
    (Robertson 1988), linear in log2 between budgets. `above` or `below` if the whole interval lies
    outside the measured range, or beyond 6 bits; the value is then the end of the range. Bootstrap
    over repeats and the reference's seeds.
    """
    gains, used = np.asarray(reached, float), math.log2(used_us)
    n, ends = (
        len(gains),
        (
            math.log2(reference.budgets[0]) - used,
            min(math.log2(reference.budgets[-1]) - used, MOST_BITS),
        ),
    )

    def bits_at(weights: Floats) -> Floats:
        bits = reference.bits(reference.fit(weights), (weights @ gains / n)[:, None])[:, 0] - used
        return np.where(bits > MOST_BITS, math.inf, bits)

    if n < 2:
        return missing("not measured", "doublings", n)
    value, (low, high) = float(bits_at(np.ones((1, n)))[0]), percentiles(bits_at(resample(n)), n)
    if min(low, value) == math.inf or max(high, value) == -math.inf:
        end, over = (ends[1], True) if value > 0 else (ends[0], False)
        return Figure(
            value=end,
            low=end if over else None,
            high=None if over else end,
            n=n,
            unit="doublings",
            word="above" if over else "below",
        )
    return mark_unclear(
        Figure(
            value=float(np.clip(value, *ends)),
            low=low if math.isfinite(low) else None,
            high=high if math.isfinite(high) else None,
            n=n,
            unit="doublings",
        ),
        0.0,
    )


@cache
def _picks(seeds: int) -> Floats:
    """Return the counts (draws, seeds) of each seed of the reference in each bootstrap sample."""
    return (
        np.random.default_rng(23)
        .multinomial(seeds, np.full(seeds, 1 / seeds), size=len(resample(seeds)))
        .astype(float)
    )


def _inverse(bits: Floats, fit: Floats, wanted: Floats) -> Floats:
    """Return where each row of the fit (B, M) reaches `wanted` (B, K), linear between budgets.

    Infinite beyond the budgets.
    """
    low, high = np.zeros(wanted.shape, int), np.zeros(wanted.shape, int)
    for column in fit.T:  # M is small: faster than a sum over the last axis of (B, K, M)
        low += column[:, None] < wanted
        high += column[:, None] <= wanted
    rows = np.arange(len(fit))[:, None]
    left, right = np.clip(low - 1, 0, len(bits) - 1), np.clip(high, 0, len(bits) - 1)
    start = fit[rows, left]
    rise = fit[rows, right] - start
    part = np.where(rise > 0, (wanted - start) / np.where(rise > 0, rise, 1.0), 0.5)
    inside = bits[left] + np.clip(part, 0.0, 1.0) * (bits[right] - bits[left])
    return np.asarray(
        np.where(low == len(bits), math.inf, np.where(high == 0, -math.inf, inside)), order="C"
    )


def rate_ratio(
    arms: Mapping[str, Curve], references: Sequence[str], reference: Reference
) -> tuple[Figure, str]:
    """Return (R, strongest): slope of log2 C_ref(s) per CPU-second of self over the strongest
    reference.

    s is the mean gain at budgets spread evenly, from the end of each arm's first generation.
    Budgets beyond the measured reference are left out for all arms: a faster arm leaves it early,
    and a clipped slope would read as slower. `cannot tell` with fewer than 3 budgets left. The
    interval spans all references that are not told apart from the strongest. R >= 2 here does not
    correspond to a lab's threshold.
    """
    present = [name for name in references if name in arms]
    if "self" not in arms or not present:
        return missing("not measured", "ratio"), ""
    chosen = {name: arms[name] for name in ("self", *present)}
    repeats, budgets, gains = _gains_at_budgets(chosen)
    # Each fit is made once for all arms: weights over repeats, and the fit for them.
    fits = [
        (weights, reference.fit(weights)) for weights in (np.ones((1, repeats)), resample(repeats))
    ]
    fit = fits[0][1]
    reached = [np.isfinite(reference.bits(fit, g.mean(axis=1)[None])[0]) for g in gains.values()]
    use = np.flatnonzero(np.logical_and.reduce(reached))
    if len(use) < 3:
        return missing("cannot tell", "ratio", repeats), ""
    away = (budgets[use] - budgets[use].mean()) / 1e6
    slopes = {name: _slopes(reference, g[use], away, fits) for name, g in gains.items()}
    ratios = {name: _ratio(slopes["self"], slopes[name], repeats) for name in present}
    strongest = max(present, key=lambda name: float(slopes[name][0][0]))
    tied = [
        ratios[name]
        for name in present
        if percentiles(slopes[strongest][1] - slopes[name][1], repeats)[0] <= 0
    ]
    low, high = _span(tied)
    return mark_unclear(replace(ratios[strongest], low=low, high=high, word=""), 1.0), strongest


def _gains_at_budgets(arms: Mapping[str, Curve]) -> tuple[int, Floats, dict[str, Floats]]:
    """Return (number of repeats in all arms, budgets (STEPS,), arm -> gains (STEPS, repeats))."""
    repeats = sorted(set.intersection(*(set(c.repeats) for c in arms.values())))
    first = max(float(c.spent[:, 0].max()) for c in arms.values())
    budgets = np.linspace(first, common(arms), STEPS)
    gains = {}
    for name, curve in arms.items():
        rows = [curve.repeats.index(r) for r in repeats]
        gains[name] = np.stack([curve.between(budget)[rows] for budget in budgets])
    return len(repeats), budgets, gains


def _slopes(
    reference: Reference, gains: Floats, away: Floats, fits: Sequence[tuple[Floats, Floats]]
) -> tuple[Floats, Floats]:
    """Return the slope of log2 C_ref on compute: (1,) for the repeats, (draws,) resampled."""
    ends = np.log2(reference.budgets[[0, -1]])

    def slope(weights: Floats, fit: Floats) -> Floats:
        means = weights @ gains.T / weights.shape[1]
        return np.asarray(np.clip(reference.bits(fit, means), *ends) @ away / (away @ away))

    whole, drawn = (slope(weights, fit) for weights, fit in fits)
    return whole, drawn


def _ratio(own: tuple[Floats, Floats], other: tuple[Floats, Floats], repeats: int) -> Figure:
    """Return the ratio of two slopes; NaN over a slope that is not positive."""
    whole, each = (
        np.where(b > 0, a / np.where(b > 0, b, 1.0), math.nan)
        for a, b in zip(own, other, strict=True)
    )
    return bootstrap(lambda w: whole if len(w) == 1 else each, repeats, "ratio", neutral=1.0)


def _span(figures: Sequence[Figure]) -> tuple[float | None, float | None]:
    """Return the ends of the interval over all figures; None if one of them is unbounded."""
    if any(figure.low is None or figure.high is None for figure in figures):
        return None, None
    return min(f.low or 0.0 for f in figures), max(f.high or 0.0 for f in figures)
