"""Whether the loop amplifies: does the newer proposer propose better, and is it the successor's
skill or only its longer history?

A falling gain per generation is ordinary diminishing returns, and a twin that sees more data beats
a frozen one without being a better proposer: neither alone says anything here. Definitions and
sources: docs/instruments.md. Pure functions over records and repeats.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
from numpy.typing import ArrayLike

from configs.build import need
from evals.arms import UNIT, Curve, common, difference, paired
from evals.intervals import (
    Figure,
    Floats,
    bootstrap,
    capped,
    mean,
    missing,
    monotone,
    percentiles,
    ratio,
    resampled,
    told,
)

MOST_BITS = 6
"""Compute-equivalent gains beyond the reference curve are told as more than this many bits, or as
more than its own end where that is less.
"""
FEWEST_BUDGETS, FEWEST_SEEDS, FEWEST_GENERATIONS = 6, 10, 20
STEPS = 12
"""Budgets at which slopes are read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Skill:
    """Q(theta(recipe, history)): mean verified gain of k proposals on the fixed parents, gate
    split, fresh seeds, equal compute.
    """

    repeat: int
    "repeat; the same number shares parents and seeds"
    recipe: int
    "generation whose recipe trained the proposer"
    history: int
    "generation up to which its history goes"
    scrambled: bool
    "whether outcomes were permuted before training"
    value: float
    "log-odds per proposal; NaN where it could not be measured"


def effects(
    skills: Sequence[Skill],
    *,
    ceiling: float | None = None,
    deviation: float = 0.0,
    scores: ArrayLike = (),
) -> dict[str, Figure]:
    """Return self, data and placebo effect from Q at the first and the last generation; each paired
    over repeats.

    self = Q(r_T, h_T) - Q(r_0, h_T); data = Q(r_0, h_T) - Q(r_0, h_0); placebo = Q(r_T, h_T) -
    Q(r_T, permuted h_T). `scores` are the last champions', on the scale of `ceiling`: within one
    seed `deviation` of it nothing can be told.
    """
    last = max((s.recipe for s in skills), default=0)
    cells = {
        "both": (last, last, False),
        "old recipe": (0, last, False),
        "old": (0, 0, False),
        "permuted": (last, last, True),
    }
    table = {(s.recipe, s.history, s.scrambled, s.repeat): s.value for s in skills}
    repeats = sorted({s.repeat for s in skills})
    column = {
        name: np.array([table.get((*cell, r), math.nan) for r in repeats])
        for name, cell in cells.items()
    }
    asked = {
        "self": ("both", "old recipe"),
        "data": ("old recipe", "old"),
        "placebo": ("both", "permuted"),
    }
    found = {
        name: (
            mean(column[a] - column[b], f"{UNIT} per proposal") if last else missing("not measured")
        )
        for name, (a, b) in asked.items()
    }
    return {name: capped(figure, scores, ceiling, deviation) for name, figure in found.items()}


def amplifying(found: Mapping[str, Figure], arms: Mapping[str, Curve]) -> bool:
    """Tell whether the self effect's lower bound is above 0 and the self arm gained more than
    `refit`, which reads the same history.
    """
    return found["self"].over(0.0) and difference(arms, "self", "refit").over(0.0)


def gain_ratio(arms: Mapping[str, Curve], arm: str, cpu_us: float | None = None) -> Figure:
    """Return rho = G(second half of the spent plan) / G(first half), Fieller set; unbounded means
    `cannot tell`, neutral is 1.
    """
    if arm not in arms:
        return missing("not measured", "ratio")
    at = common(arms) if cpu_us is None else cpu_us
    half, whole = arms[arm].at(at / 2), arms[arm].at(at)
    return ratio(whole - half, half, "ratio")


def decline(arms: Mapping[str, Curve]) -> str:
    """Return how the self arm's gain ratio reads beside `refit` and `random` from the same start,
    at equal spent plan.

    Compares the ratios, paired over repeats, by bootstrap; an interval below 1 alone is ordinary.
    """
    mine = gain_ratio(arms, "self")
    references = [name for name in ("refit", "random") if name in arms]
    if mine.value is None or len(references) < 2:
        return "not measured"
    readings = [_relative(arms, name) for name in references]
    if all(r == "slower" for r in readings):
        return "falls faster than its references"
    if all(r == "faster" for r in readings):
        return (
            "falls less than its references" if mine.value < 1 else "grows more than its references"
        )
    return "ordinary diminishing returns" if not mine.word and mine.value < 1 else "cannot tell"


def _relative(arms: Mapping[str, Curve], name: str) -> str:
    at = common(arms)
    (half, theirs), (whole, whole_theirs) = (
        paired(arms, "self", name, part) for part in (at / 2, at)
    )

    def gap(w: Floats) -> Floats:
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray(
                w @ (whole - half) / (w @ half) - w @ (whole_theirs - theirs) / (w @ theirs)
            )

    found = bootstrap(gap, len(half), "difference of ratios")
    return (
        "cannot tell"
        if found.word or found.value is None
        else "faster"
        if found.value > 0
        else "slower"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """What a reference reached with how much compute, on the scale of gains; its prefixes are its
    smaller budgets.
    """

    budgets: Floats
    "CPU-microseconds (M,), ascending"
    scores: Floats
    "(M, seeds); a seed is the same campaign at every budget"
    paired: bool = False
    "whether its seeds are the repeats of the arms that are read off it, in the same order"

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
        """Return the monotone fit (draws, M) of its means for weights (draws, R) over repeats;
        seeds of its own are resampled beside them.
        """
        seeds = self.scores.shape[1]
        own = (
            weights if self.paired else np.ones((1, seeds)) if len(weights) == 1 else _picks(seeds)
        )
        return monotone(own @ self.scores.T / own.sum(axis=1, keepdims=True))

    def bits(self, fit: Floats, reached: Floats) -> Floats:
        """Return log2 of the compute (draws, K) at which a fit (draws, M) reaches scores
        (draws, K); infinite beyond it.
        """
        return _inverse(np.log2(self.budgets), fit, reached)


def compute_equivalent(reference: Reference, used_us: float, reached: ArrayLike) -> Figure:
    """Return log2 CEG = log2(C_ref(s) / C_used): how many doublings of the reference's compute the
    mean of `reached` (R,) after `used_us` is worth.

    C_ref is the inverse of the monotone fit (Robertson 1988), linear in log2 between budgets.
    `above` or `below` where the whole interval lies outside the measured range, or beyond 6: the
    value is its end. Bootstrap over repeats and the reference's seeds.
    """
    mine, used = np.asarray(reached, float), math.log2(used_us)
    n, ends = (
        len(mine),
        (
            math.log2(reference.budgets[0]) - used,
            min(math.log2(reference.budgets[-1]) - used, MOST_BITS),
        ),
    )

    def bits_at(weights: Floats) -> Floats:
        found = reference.bits(reference.fit(weights), (weights @ mine / n)[:, None])[:, 0] - used
        return np.where(found > MOST_BITS, math.inf, found)

    if n < 2:
        return missing("not measured", "doublings", n)
    value, (low, high) = float(bits_at(np.ones((1, n)))[0]), percentiles(bits_at(resampled(n)), n)
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
    return told(
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
    """Return how often each seed of the reference stands in each bootstrap sample: (draws,
    seeds).
    """
    return (
        np.random.default_rng(23)
        .multinomial(seeds, np.full(seeds, 1 / seeds), size=len(resampled(seeds)))
        .astype(float)
    )


def _inverse(bits: Floats, fit: Floats, wanted: Floats) -> Floats:
    """Return for each row of the fit (B, M) where it reaches `wanted` (B, K): linear between the
    budgets below and above it; infinite beyond them.
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
    found = bits[left] + np.clip(part, 0.0, 1.0) * (bits[right] - bits[left])
    return np.asarray(
        np.where(low == len(bits), math.inf, np.where(high == 0, -math.inf, found)), order="C"
    )


def rounds_against_one(arms: Mapping[str, Curve]) -> Figure:
    """Return the gain of K rounds minus that of one round with the whole compute, at equal spent
    plan.
    """
    return difference(arms, "self", "one_shot")


def rate_ratio(
    arms: Mapping[str, Curve], references: Sequence[str], reference: Reference
) -> tuple[Figure, str]:
    """Return (R, strongest): slope of log2 C_ref(s) per CPU-second of self over that of the
    reference arm with the largest.

    s is the mean gain at budgets spread evenly from where each arm's first generation has ended, as
    far as all of them stay within what the reference measured: a faster arm leaves it early, and a
    clipped slope would read as slower. `cannot tell` with fewer than 3 budgets left. The interval
    spans those of all references that cannot be told from the strongest. R >= 2 here does not
    correspond to a lab's threshold.
    """
    known = [name for name in references if name in arms]
    if "self" not in arms or not known:
        return missing("not measured", "ratio"), ""
    chosen = {name: arms[name] for name in ("self", *known)}
    repeats = sorted(set.intersection(*(set(c.repeats) for c in chosen.values())))
    budgets = np.linspace(
        max(float(c.spent[:, 0].max()) for c in chosen.values()), common(chosen), STEPS
    )
    gains = {
        name: np.stack([c.between(b)[[c.repeats.index(r) for r in repeats]] for b in budgets])
        for name, c in chosen.items()
    }
    fit = reference.fit(np.ones((1, len(repeats))))
    reached = [np.isfinite(reference.bits(fit, g.mean(axis=1)[None])[0]) for g in gains.values()]
    use = np.flatnonzero(np.logical_and.reduce(reached))
    if len(use) < 3:
        return missing("cannot tell", "ratio", len(repeats)), ""
    away, ends = (budgets[use] - budgets[use].mean()) / 1e6, np.log2(reference.budgets[[0, -1]])

    def slope(name: str, weights: Floats, fit: Floats) -> Floats:
        means = weights @ gains[name][use].T / len(repeats)
        return np.asarray(np.clip(reference.bits(fit, means), *ends) @ away / (away @ away))

    many = (resampled(len(repeats)), reference.fit(resampled(len(repeats))))
    drawn = {
        name: (slope(name, np.ones((1, len(repeats))), fit), slope(name, *many)) for name in chosen
    }

    def over(name: str) -> Figure:
        whole, each = (
            np.where(theirs > 0, mine / np.where(theirs > 0, theirs, 1.0), math.nan)
            for mine, theirs in zip(drawn["self"], drawn[name], strict=True)
        )
        return bootstrap(
            lambda w: whole if len(w) == 1 else each, len(repeats), "ratio", neutral=1.0
        )

    strongest = max(known, key=lambda name: float(drawn[name][0][0]))
    tied = [
        over(name)
        for name in known
        if percentiles(drawn[strongest][1] - drawn[name][1], len(repeats))[0] <= 0
    ]
    open_ = any(one.low is None or one.high is None for one in tied)
    span = (
        (None, None)
        if open_
        else (min(one.low or 0.0 for one in tied), max(one.high or 0.0 for one in tied))
    )
    return told(replace(over(strongest), low=span[0], high=span[1], word=""), 1.0), strongest


def _rises(
    curve: Callable[[Floats, Floats], Floats], shapes: ArrayLike
) -> Callable[[Floats], Floats]:
    """Return x (G,), in runs since the start -> how much each shape of a curve rises in each
    generation, (shapes, G).
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
"""Growth model -> (free parameters: its size, and its shape where it has one; what each shape gains
in each generation).
"""


SURE = 6.0
"""Units of AICc by which a model must lead: a wrong one leads by so much in about e^-3 = 5 % of
curves at most. A model that another one contains (none in linear, linear in the bent ones) leads it
by about 2 at most, and is never named.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Growth:
    """Growth models of a mean curve."""

    weights: dict[str, float]
    "Akaike weight of each model; empty below 20 generations"
    best: str
    "the best model, or `cannot tell` where the second is within SURE units of AICc"
    more: int | None
    """generations more at which the two best are expected to lie 10 units apart; None: not within
    ten times as many, or nothing to tell apart
    """


def growth(values: ArrayLike) -> Growth:
    """Return growth models of the mean of gain curves (R, G) by AICc (Hurvich and Tsai 1989);
    nothing is fitted below 20 generations.

    Fitted to what each generation added: a curve adds its noise up, and fitted to itself any
    wandering reads as a law. A generation counts the less the more its repeats differ, beyond the
    median generation.
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
    """Return (mean squared rest, index of the shape, size) of the weighted least squares over a
    model's shapes.
    """
    rises = GROWTH[name][1](x) * sure
    size = rises @ (y * sure) / np.maximum((rises**2).sum(axis=1), 1e-300)
    left = ((y * sure - size[:, None] * rises) ** 2).mean(axis=1)
    return float(left.min()), int(left.argmin()), float(size[left.argmin()])


def _aicc(left: float, n: int, parameters: int) -> float:
    k = parameters + 1
    return n * math.log(max(left, 1e-12)) + 2 * k + 2 * k * (k + 1) / (n - k - 1)


def _more(first: str, second: str, fit: tuple[float, int, float], sure: Floats) -> int | None:
    """Extrapolate the best model without noise, fit the second to it, and look when their gap
    outgrows the noise, which stays as it was last.
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
