"""How deep is a task: the steps of a greedy climb, and how much one knob or two explain.

Example: a baseline at 3.40 bits, a reference at 2.90; the best single change gives 0.10 of the 0.50
and the climb needs eight steps, so the task is `deep`. Where one knob gives 0.30 it is `shallow`.
Recipes are chosen on one half of the seeds and told on the other half, so that no gain here holds
the luck of its choice.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy.stats import t as student

from configs.settings.task import Depth

REACHED = 0.95
"""Share of the distance from baseline to reference at which a climb ends."""
LEVEL = 0.05
"""One-sided level of the lower bound of a gain."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gain:
    """A told difference of two recipes, in the objective's units; larger is better."""

    value: float
    "difference of the means"
    low: float
    "one-sided lower bound at 95 % (Welch); minus infinity with fewer than two seeds a side"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A step of a climb: a knob's new value, and what it gained."""

    knob: str
    value: Any
    gain: Gain
    reached: float
    "share of the distance that the climb has come, by the told seeds"


@dataclass(frozen=True, slots=True, kw_only=True)
class Climb:
    """A task's depth."""

    distance: Gain
    "of the reference from the baseline"
    single: float
    "share of the distance that the best single change gives"
    pair: float
    "share that the best pair of changes gives"
    steps: tuple[Step, ...] = field(default_factory=tuple)
    "every step, in order; one whose lower bound is not above 0 does not count"
    stalled: bool
    "whether it ended before REACHED for want of a better change"

    def depth(self) -> Depth:
        """Return what a task's settings pin of it."""
        counted = sum(step.gain.low > 0 for step in self.steps)
        return Depth(single=self.single, pair=self.pair, climb=counted, stalled=self.stalled)

    def word(self) -> str:
        """Return `deep`, `shallow` or `stalled`; shallow where the reference is not better."""
        return self.depth().word() if self.distance.low > 0 else "shallow"


def told_gain(base: Sequence[float], other: Sequence[float]) -> Gain:
    """Return the gain of `other` over `base`, each the scores of its own seeds."""
    n, k = len(base), len(other)
    value = float(np.mean(other) - np.mean(base))
    if min(n, k) < 2:
        return Gain(value=value, low=-math.inf)
    a, b = float(np.var(base, ddof=1)) / n, float(np.var(other, ddof=1)) / k
    if not a + b > 0:
        return Gain(value=value, low=value)
    freedom = (a + b) ** 2 / (a**2 / (n - 1) + b**2 / (k - 1))
    return Gain(value=value, low=value - float(student.ppf(1 - LEVEL, freedom)) * math.sqrt(a + b))


def share_of(gain: Gain, distance: Gain) -> float:
    """Return a gain as a share of the distance; infinite where there is none."""
    return gain.value / distance.value if distance.value > 0 else math.inf
