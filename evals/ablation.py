"""What made the gain? Each change of a last champion taken back alone, and what is lost with it.

Example: of ten champions nine have `loss=answer`, and lose 1.4 of their gain of 1.6 without it. So
that change carries most of the gain. Shares of changes need not add up to 1: changes interact, and
`beyond` says by how much. Pure functions.
"""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from evals.arms import UNIT as UNBOUNDED
from evals.intervals import Figure, is_positive, mean, missing, ratio, share
from evals.loss import UNIT


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """A change of a champion against its baseline, and the champion's loss without it."""

    change: str
    "name of the knob, or of the source region"
    value: str
    "what the champion has there"
    loss: float
    "score of the champion less that without the change, objective's unit; NaN: not measured"
    unbounded: float
    "the same on the unbounded scale"


@dataclass(frozen=True, slots=True, kw_only=True)
class Champion:
    """The last champion of a campaign, with its changes."""

    repeat: int
    "repeat of the campaign"
    gain: float
    "its gain over the baseline, on the unbounded scale; 0 for the baseline itself; NaN: unknown"
    changes: tuple[Taken, ...]
    "its changes; none for the baseline itself"


def ablate(champions: Sequence[Champion], *, same_scale: bool) -> dict[str, Any]:
    """Return what each change of an arm's champions carries: gain, changes and `beyond`.

    `changes` maps a change, the costliest to lose first, to: `champions`, the share of them that
    have it; `values`, in words; `loss`, the mean loss without it over the champions that have it;
    `share`, that loss over their gain. `alone` is the sum of a champion's losses, and `beyond` its
    gain less that sum. With `same_scale` the objective's unit is the unbounded scale, and is not
    told twice.
    """
    names = list(dict.fromkeys(taken.change for one in champions for taken in one.changes))
    order = sorted(names, key=lambda name: -math.fsum(_known(champions, name)))
    gains = [one.gain for one in champions]
    alone = [_sum(one) for one in champions]
    return {
        "gain": mean(gains, UNBOUNDED),
        "alone": mean(alone, UNBOUNDED),
        "beyond": mean(np.subtract(gains, alone), UNBOUNDED),
        "changes": {name: _describe(champions, name, same_scale) for name in order},
    }


def _describe(champions: Sequence[Champion], name: str, same_scale: bool) -> dict[str, Any]:
    having = [taken for one in champions for taken in one.changes if taken.change == name]
    figures: dict[str, Any] = {
        "champions": share(len(having), len(champions), "share of champions"),
        "values": _count([taken.value for taken in having]),
        "loss": mean([taken.unbounded for taken in having], UNBOUNDED),
        "share": _carried(champions, name),
    }
    if not same_scale:
        figures["loss, objective's unit"] = mean([taken.loss for taken in having], UNIT)
    return figures


def _carried(champions: Sequence[Champion], name: str) -> Figure:
    """Return the change's part of the gain of the champions that have it.

    `undefined` where their gain is not proven above 0.
    """
    having = [one for one in champions if any(taken.change == name for taken in one.changes)]
    gains = [one.gain for one in having]
    losses = [_loss(one, name) for one in having]
    if not np.isfinite(losses).any():
        return missing("not measured", "share of the gain")
    if not is_positive(gains):
        return missing("undefined", "share of the gain", len(gains))
    return ratio(losses, gains, "share of the gain", neutral=0.0)


def _loss(champion: Champion, name: str) -> float:
    """Return a champion's loss without a change: 0 without the change, NaN if not measured."""
    own = [taken.unbounded for taken in champion.changes if taken.change == name]
    return own[0] if own else 0.0


def _sum(champion: Champion) -> float:
    return math.fsum(taken.unbounded for taken in champion.changes)


def _known(champions: Sequence[Champion], name: str) -> list[float]:
    return [loss for one in champions if math.isfinite(loss := _loss(one, name))]


def _count(values: Sequence[str]) -> str:
    """Return how often each value occurs, in words: `0.003 (7), 0.01 (2)`."""
    return ", ".join(f"{value} ({count})" for value, count in Counter(values).most_common())
