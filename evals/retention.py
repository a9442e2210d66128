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

from evals.intervals import Figure, Floats, capped, missing, pairs, proven, ratio

Rung = Literal["feedback", "gate", "closing", "sealed", "shifted", "large"]
RUNGS: tuple[Rung, ...] = ("feedback", "gate", "closing", "sealed", "shifted", "large")
"""feedback and gate: sums over accepted plans, both selected on; closing: champion against baseline
on gate, fresh seeds; sealed; shifted: out of distribution; large: at 4 x the compute. The order is
the order in which they are told.
"""
TRANSFER: tuple[Rung, ...] = ("closing", "sealed", "shifted", "large")
"""Rungs on seeds that selected nothing: only what is lost between these is loss in transfer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """Gain of one campaign on one rung."""

    repeat: int
    "repeat of the campaign"
    rung: Rung
    "where it was measured"
    value: float
    "gain, on an unbounded scale; NaN where it was not measured"
    score: float = math.nan
    "the champion's raw mean score there, for the ceiling; NaN where none is known"


def rungs(held: Iterable[Held]) -> dict[str, Floats]:
    """Return rung -> gains (R,) over the repeats in ascending order, NaN where a campaign was not
    measured there.
    """
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
    """Return rho_i of each step between rungs, `loss` = 1 - their product, and `loss in transfer`
    over the unselected rungs alone.

    rho_i = sum of gains on rung i + 1 over that on rung i, paired over repeats, Fieller; signed,
    may exceed 1 or be negative. A rung that was not measured is left out, and its steps are `not
    measured`; `undefined` where the rung before shows no gain; `cannot tell` where champions score
    within one seed `deviation` of the `ceiling` on a rung that the figure rests on.
    """
    listed = list(held)
    found, known = dict[str, Figure](), rungs(listed)
    top = {
        rung: [h.score for h in listed if h.rung == rung and math.isfinite(h.score)]
        for rung in known
    }

    def under(figure: Figure, *chain: Rung) -> Figure:
        for rung in chain:
            figure = capped(figure, top.get(rung, ()), ceiling, deviation)
        return figure

    for a, b in pairwise(RUNGS):
        found[f"{a} to {b}"] = under(_kept(known, a, b), a, b)
    for name, order in (("loss", RUNGS), ("loss in transfer", TRANSFER)):
        chain = [r for r in order if r in known]
        found[name] = under(_lost(known, chain), *chain)
    return found


def _kept(known: Mapping[str, Floats], a: str, b: str) -> Figure:
    if a not in known or b not in known:
        return missing("not measured", "share kept")
    before, after = pairs(known[a], known[b])
    if not proven(before):
        return missing("undefined", "share kept", len(before))
    return ratio(after, before, "share kept")


def _lost(known: Mapping[str, Floats], chain: Sequence[str]) -> Figure:
    """Return 1 - last / first of a chain of rungs: what the product of its steps leaves."""
    if len(chain) < 2:
        return missing("not measured", "share lost")
    first, last = pairs(known[chain[0]], known[chain[-1]])
    if not proven(first):
        return missing("undefined", "share lost", len(first))
    return ratio(first - last, first, "share lost", neutral=0.0)
