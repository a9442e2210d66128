"""How much of a gain holds on the next rung: from feedback to gate, fresh seeds, sealed and beyond.

Loss by selection (feedback to gate, winner's curse) happens in every honest loop. It is told apart
from loss in transfer, and loss in transfer alone makes a loop lossy. Definitions:
docs/instruments.md. Pure functions.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np

from evals.intervals import Figure, Floats, cap_at_ceiling, is_positive, missing, pairs, ratio

Rung = Literal["feedback", "gate", "closing", "sealed", "shifted", "large"]
RUNGS: tuple[Rung, ...] = ("feedback", "gate", "closing", "sealed", "shifted", "large")
"""In the order of reports. feedback and gate (the split confirm): sums over accepted plans, both
selected on; closing: champion against baseline on confirm, fresh seeds; sealed; shifted: out of
distribution; large: at 4 x the compute.
"""
RUNG_WORDS: dict[str, str] = {"gate": "confirm"}
"""Rungs that people read by another word. Instruments and exports keep the names."""
TRANSFER: tuple[Rung, ...] = ("closing", "sealed", "shifted", "large")
"""Rungs on seeds without selection: only a loss between these is loss in transfer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """Gain of one campaign on one rung."""

    repeat: int
    "repeat of the campaign"
    rung: Rung
    "split or look of the measurement"
    value: float
    "gain, on an unbounded scale; NaN without a measurement"
    score: float = math.nan
    "the champion's raw mean score there, for the ceiling; NaN if unknown"


def name_step(step: str) -> str:
    """Return a rung, or a step between rungs, in people's words.

    Example: `feedback to gate` reads `feedback to confirm`.
    """
    return " ".join(RUNG_WORDS.get(word, word) for word in step.split(" "))


def rungs(held: Iterable[Held]) -> dict[str, Floats]:
    """Return rung -> gains (R,) over the repeats in ascending order; NaN without a measurement."""
    listed = list(held)
    repeats = sorted({h.repeat for h in listed})
    table = {(h.rung, h.repeat): h.value for h in listed}
    return {
        rung: np.array([table.get((rung, r), math.nan) for r in repeats])
        for rung in RUNGS
        if any(h.rung == rung for h in listed)
    }


def retention(
    held: Iterable[Held], *, ceiling: float | None = None, deviation: float = 0.0
) -> dict[str, Figure]:
    """Return rho_i of each step between rungs, `loss` = 1 - their product, and `loss in transfer`.

    rho_i = sum of gains on rung i + 1 over the sum on rung i, paired over repeats, Fieller; signed,
    perhaps negative or above 1. Loss in transfer is over the unselected rungs alone. Steps of a
    rung that was not measured are `not measured`, and the loss skips it. `undefined` if the rung
    before shows no gain. `saturated` if champions score within a seed `deviation` of the
    `ceiling` on a rung of the figure.
    """
    listed = list(held)
    figures, gains = dict[str, Figure](), rungs(listed)
    top = {
        rung: [h.score for h in listed if h.rung == rung and math.isfinite(h.score)]
        for rung in gains
    }

    def under(figure: Figure, *chain: Rung) -> Figure:
        for rung in chain:
            figure = cap_at_ceiling(figure, top.get(rung, ()), ceiling, deviation)
        return figure

    for a, b in pairwise(RUNGS):
        figures[f"{a} to {b}"] = under(_retained(gains, a, b), a, b)
    for name, order in (("loss", RUNGS), ("loss in transfer", TRANSFER)):
        chain = [r for r in order if r in gains]
        figures[name] = under(_lost(gains, chain), *chain)
    return figures


def _retained(gains: Mapping[str, Floats], a: str, b: str) -> Figure:
    if a not in gains or b not in gains:
        return missing("not measured", "share kept")
    before, after = pairs(gains[a], gains[b])
    if not is_positive(before):
        return missing("undefined", "share kept", len(before))
    return ratio(after, before, "share kept")


def _lost(gains: Mapping[str, Floats], chain: Sequence[str]) -> Figure:
    """Return 1 - last / first of a chain of rungs, which is 1 less the product of its steps."""
    if len(chain) < 2:
        return missing("not measured", "share lost")
    first, last = pairs(gains[chain[0]], gains[chain[-1]])
    if not is_positive(first):
        return missing("undefined", "share lost", len(first))
    return ratio(first - last, first, "share lost", neutral=0.0)
