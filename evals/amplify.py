"""Whether the loop amplifies: does a newer proposer propose better, and why?

A falling gain per generation is ordinary diminishing returns. A twin that sees more data beats a
frozen twin without being a better proposer. Neither alone says anything here. Definitions and
sources: docs/instruments.md. Pure functions over records and repeats.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike

from evals.arms import UNIT, Curve, common, difference, pair_gains
from evals.intervals import (
    COMPARED,
    Figure,
    Floats,
    bootstrap,
    cap_at_ceiling,
    figure_of,
    mark_unclear,
    mean,
    missing,
    ratio,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Skill:
    """Q(theta(recipe, history)): mean verified gain of k proposals on the fixed parents.

    Measured on confirm, with fresh seeds and equal compute.
    """

    repeat: int
    "repeat; equal numbers share parents and seeds"
    recipe: int
    "generation of the recipe that trained the proposer"
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
    """Return self, data and placebo effect from Q at the first and the last generation.

    self = Q(r_T, h_T) - Q(r_0, h_T); data = Q(r_0, h_T) - Q(r_0, h_0); placebo = Q(r_T, h_T) -
    Q(r_T, permuted h_T); each is paired over repeats. `scores` are the last champions', on the
    scale of `ceiling`. Within a seed `deviation` of it an effect is `saturated`.
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
    contrasts = {
        "self": ("both", "old recipe"),
        "data": ("old recipe", "old"),
        "placebo": ("both", "permuted"),
    }
    figures = {
        name: (
            mean(column[a] - column[b], f"{UNIT} per proposal") if last else missing("not measured")
        )
        for name, (a, b) in contrasts.items()
    }
    return {
        name: cap_at_ceiling(figure, scores, ceiling, deviation) for name, figure in figures.items()
    }


def self_effects(skills: Sequence[Skill]) -> dict[int, float]:
    """Return repeat -> Q(r_T, h_T) - Q(r_0, h_T), where both were measured."""
    last = max((s.recipe for s in skills), default=0)
    plain = {(s.recipe, s.repeat): s.value for s in skills if s.history == last and not s.scrambled}
    repeats = sorted({repeat for _, repeat in plain})
    return {
        repeat: plain[last, repeat] - plain[0, repeat]
        for repeat in repeats
        if {(last, repeat), (0, repeat)} <= set(plain)
    }


def effect_apart(one: Sequence[Skill], other: Sequence[Skill]) -> Figure:
    """Return the self effect of an arm minus another's, paired over repeats."""
    own, others = self_effects(one), self_effects(other)
    return mean([own[r] - others[r] for r in own if r in others], f"{UNIT} per proposal")


def both(one: Figure, other: Figure) -> Figure:
    """Return the smaller of two figures: it lies above a bound where both do.

    Its interval has the smaller of both ends on either side, so that it lies above a bound exactly
    where each of theirs does: an intersection-union test (Berger 1982). Without either it is a
    word.
    """
    parts = [one, other]
    if lacking := [part for part in parts if part.value is None or part.ends is None]:
        return missing(lacking[0].word or "not measured", UNIT)
    first, second = one.ends, other.ends
    assert first and second and one.value is not None and other.value is not None

    def ends(level: float) -> tuple[float, float]:
        low, high = zip(first(level), second(level), strict=True)
        return min(low), min(high)

    n, value = min(one.n, other.n), min(one.value, other.value)
    figure = mark_unclear(figure_of(value, ends, n, f"{UNIT}, the smaller of two"), 0.0)
    words = [part.word for part in parts if part.word not in COMPARED]
    return replace(figure, word=words[0]) if words else figure


def amplifying(skill: Mapping[str, Figure], arms: Mapping[str, Curve]) -> bool:
    """Tell whether the self effect and the self arm's gain over `refit` are both clear of zero.

    `refit` reads the same history, so more data alone does not count.
    """
    return skill["self"].over(0.0) and difference(arms, "self", "refit").over(0.0)


def gain_ratio(arms: Mapping[str, Curve], arm: str, cpu_us: float | None = None) -> Figure:
    """Return rho = G(second half of the spent plan) / G(first half), with Fieller's set.

    Neutral is 1; an unbounded set is `cannot tell`.
    """
    if arm not in arms:
        return missing("not measured", "ratio")
    at = common(arms) if cpu_us is None else cpu_us
    half, whole = arms[arm].at(at / 2), arms[arm].at(at)
    return ratio(whole - half, half, "ratio")


def decline(arms: Mapping[str, Curve]) -> str:
    """Return how the self arm's gain ratio reads beside `refit` and `random`, at equal spent plan.

    The ratios are compared by bootstrap, paired over repeats. An interval below 1 alone is
    ordinary.
    """
    own = gain_ratio(arms, "self")
    references = [name for name in ("refit", "random") if name in arms]
    if own.value is None or len(references) < 2:
        return "not measured"
    readings = [_relative(arms, name) for name in references]
    if all(r == "slower" for r in readings):
        return "falls faster than its references"
    if all(r == "faster" for r in readings):
        return (
            "falls less than its references" if own.value < 1 else "grows more than its references"
        )
    return "ordinary diminishing returns" if not own.word and own.value < 1 else "cannot tell"


def _relative(arms: Mapping[str, Curve], name: str) -> str:
    at = common(arms)
    (half, other_half), (whole, other_whole) = (
        pair_gains(arms, "self", name, part) for part in (at / 2, at)
    )

    def gap(w: Floats) -> Floats:
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray(
                w @ (whole - half) / (w @ half) - w @ (other_whole - other_half) / (w @ other_half)
            )

    apart = bootstrap(gap, len(half), "difference of ratios")
    return (
        "cannot tell"
        if apart.word or apart.value is None
        else "faster"
        if apart.value > 0
        else "slower"
    )


def rounds_against_one(arms: Mapping[str, Curve]) -> Figure:
    """Return the gain of K rounds minus the gain of a single round with the whole compute."""
    return difference(arms, "self", "one_shot")
