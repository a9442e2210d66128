"""How much of a gain holds on the next rung: from feedback to confirm, fresh seeds, and beyond.

Loss by selection (feedback to confirm, winner's curse) happens in every honest loop. What is lost
beyond the closing look is told rung by rung; excess.py tells whether the loop is to blame for it.
Definitions: docs/instruments.md. Pure functions.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from evals.intervals import Figure, Floats, cap_at_ceiling, is_positive, missing, pairs, ratio

FIRST = ("feedback", "gate", "closing", "sealed")
"""Rungs of every study, in the order of reports. feedback and gate (the split confirm): sums over
accepted plans, both selected on; closing: champion against baseline on confirm, fresh seeds;
sealed.
"""
LAST = "large"
"""The rung at 4 x the compute. Between FIRST and it stand the task's slices outside the training
distribution, each by its own name.
"""
RUNG_WORDS: dict[str, str] = {"gate": "confirm"}
"""Rungs that people read by another word. Instruments and exports keep the names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """Gain of one campaign, or of a reference change, on one rung."""

    repeat: int
    "repeat of the campaign"
    rung: str
    "split, slice or look of the measurement"
    value: float
    "gain, on an unbounded scale; NaN without a measurement"
    score: float = math.nan
    "the champion's raw mean score there, for the ceiling and the floor; NaN if unknown"
    beside: float = math.nan
    "the baseline's, for the floor"
    change: str = ""
    "name of the reference change; empty: a champion's gain"


@dataclass(frozen=True, slots=True, kw_only=True)
class Guard:
    """Raw scores near which a gain says nothing, turned so that larger is better."""

    ceiling: float | None = None
    "the best score that can be"
    floor: float | None = None
    "what a net reaches that has learned nothing"
    deviation: float = 0.0
    "seed deviation of one score: nearer than this is near"


def name_step(step: str) -> str:
    """Return a rung, or a step between rungs, in people's words.

    Example: `feedback to gate` reads `feedback to confirm`.
    """
    return " ".join(RUNG_WORDS.get(word, word) for word in step.split(" "))


def order(names: Iterable[str]) -> list[str]:
    """Return rungs in the order of reports."""
    listed = list(dict.fromkeys(names))
    slices = [name for name in listed if name not in (*FIRST, LAST)]
    return [name for name in (*FIRST, *slices, LAST) if name in listed]


def rungs(held: Iterable[Held]) -> dict[str, Floats]:
    """Return rung -> gains (R,) over the repeats in ascending order; NaN without a measurement."""
    listed = list(held)
    repeats = sorted({h.repeat for h in listed})
    table = {(h.rung, h.repeat): h.value for h in listed}
    return {
        rung: np.array([table.get((rung, r), math.nan) for r in repeats])
        for rung in order(h.rung for h in listed)
    }


def retention(held: Iterable[Held], limits: Guard | None = None) -> dict[str, Figure]:
    """Return the share of a gain that holds at each step, and `loss by selection`.

    Steps lead from feedback to confirm to the closing look, and from there to sealed, to each slice
    and to more compute. A share is the sum of gains on the second rung over the sum on the first,
    paired over repeats, Fieller; signed, perhaps negative or above 1. Loss by selection is 1 less
    the first two steps' product. Steps of a rung that was not measured are `not measured`;
    `undefined` if the rung before shows no gain; `saturated` near the ceiling, `cannot tell` near
    the floor.
    """
    listed = list(held)
    gains = rungs(listed)
    far = [rung for rung in order(["sealed", *gains, LAST]) if rung not in FIRST[:3]]
    steps = [("feedback", "gate"), ("gate", "closing"), *(("closing", rung) for rung in far)]
    figures = {f"{a} to {b}": guard(_retained(gains, a, b), listed, limits, a, b) for a, b in steps}
    lost = _lost(gains, "feedback", "closing")
    return figures | {"loss by selection": guard(lost, listed, limits, "closing")}


def guard(figure: Figure, held: Sequence[Held], limits: Guard | None, *names: str) -> Figure:
    """Return the figure; `saturated` or `cannot tell` if champions score near a limit on a rung.

    Near the ceiling it is the champions' mean that counts, near the floor the champions' and the
    baseline's: where neither has learned anything, nothing can be lost.
    """
    for rung in names if limits else ():
        assert limits is not None
        scored = [h for h in held if h.rung == rung and math.isfinite(h.score)]
        scores = [h.score for h in scored]
        figure = cap_at_ceiling(figure, scores, limits.ceiling, limits.deviation)
        low = [max(h.score, h.beside) for h in scored if math.isfinite(h.beside)]
        near = limits.floor is not None and low and np.mean(low) <= limits.floor + limits.deviation
        figure = replace(figure, word="cannot tell") if near and not figure.word else figure
    return figure


def _retained(gains: Mapping[str, Floats], a: str, b: str) -> Figure:
    if a not in gains or b not in gains:
        return missing("not measured", "share kept")
    before, after = pairs(gains[a], gains[b])
    if not is_positive(before):
        return missing("undefined", "share kept", len(before))
    return ratio(after, before, "share kept")


def _lost(gains: Mapping[str, Floats], a: str, b: str) -> Figure:
    if a not in gains or b not in gains:
        return missing("not measured", "share lost")
    before, after = pairs(gains[a], gains[b])
    if not is_positive(before):
        return missing("undefined", "share lost", len(before))
    return ratio(before - after, before, "share lost", neutral=0.0)
