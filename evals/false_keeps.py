"""Which keeps of a log are worth nothing, and how lucky is its last champion?

A trial's true score is its champion's plus an effect, and an evaluation adds normal noise of a
known size. Effects are drawn from a share of exact zeros and a normal distribution; all of 130 such
distributions are weighed by the log (`PRIORS`). Then the true score of the champion is followed
trial by trial on a grid. Decisions may rest on the logged scores and on nothing else that knows the
noise. Pure functions; proven on logs whose truth is planted (tests/evals/test_false_keeps.py).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from scipy.special import ndtr

from evals.intervals import LEVEL, Figure, Floats, missing
from evals.trial_logs import Step, count_hits, range_of_count

STEP, BELOW, ABOVE = 0.2, 30, 20
"""Width of the grid in noise deviations, and its points below and above the champion's score."""
FAR = 8.0
"""Noise deviations below the champion at which a trial says nothing about it."""
ZEROS = (0.0, 0.25, 0.5, 0.75, 0.9)
MEANS = (0.0, -1.0, -2.0, -4.0)
SPREADS = (0.25, 0.5, 1.0, 2.0, 4.0, 16.0)
PRIORS: Floats = np.array([*product(ZEROS, MEANS, SPREADS), *((1.0, 0.0, 1.0),) * 10])
"""(share of exact zeros, mean, spread) of effects, in noise deviations; ten of the 130 are the
same: every effect is exactly zero.
"""
SHAPES, SHAPE_OF = np.unique(PRIORS[:, 1:], axis=0, return_inverse=True)
"""The different (mean, spread), and the number of each prior's."""
MOST_KEEPS = 300
TINY = 1e-280
"""Chance below which a prior explains nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Weighed:
    """What the model says of a log, in units of the score."""

    false_keeps: Figure
    "keeps that are no better than the champion that they replaced"
    chances: tuple[float, ...]
    "for each keep, the chance that it is false"
    excess: Figure
    "logged less true score of the last champion: the winner's curse"
    left: Figure
    "true gain of the last champion over the first"


def weigh(steps: Sequence[Step], noise: float) -> Weighed:
    """Return the weighed log; `noise` is the deviation of one evaluation.

    `not exercised` without a keep, `not evaluable` with more than MOST_KEEPS of them.
    """
    keeps = sum(step.keep for step in steps)
    if keeps > MOST_KEEPS:
        much = missing("not evaluable", "keeps", keeps)
        return Weighed(false_keeps=much, chances=(), excess=much, left=much)
    if not keeps:
        none = missing("not exercised", "keeps")
        return Weighed(false_keeps=none, chances=(), excess=none, left=none)
    first = steps[0].score
    walk = _Walk(0.0)
    for step in steps[1:]:
        walk.take((step.score - first) / noise, step.keep)
    return _describe(walk, steps, noise)


class _Walk:
    """The true score of the champion, under every prior: chances (priors, points) on a grid."""

    def __init__(self, first: float) -> None:
        self.weights: Floats = np.zeros(len(PRIORS))
        self.false: list[Floats] = []
        self.grid = _grid(first)
        self.chances: Floats = np.tile(_normal(first - self.grid, 1.0), (len(PRIORS), 1))
        self._settle()

    def take(self, score: float, keep: bool) -> None:
        """Learn from a trial; a kept one becomes the champion."""
        zeros, mean, spread = (column[:, None] for column in PRIORS.T)
        ahead = score - self.grid[None, :]
        if not keep and ahead.max() < -FAR + ABOVE * STEP:
            return
        same = zeros * _normal(ahead, 1.0)
        moved = (1 - zeros) * _normal(ahead - mean, np.hypot(1.0, spread))
        if keep:
            self._replace(score, same, moved)
        else:
            # A trial that no prior can explain says nothing.
            learned = self.chances * (same + moved)
            self.chances = np.where(learned.sum(axis=1, keepdims=True) > 0, learned, self.chances)
        self._settle()

    def _replace(self, score: float, same: Floats, moved: Floats) -> None:
        """Move on to the true score of a new champion; note the chance that it is no better."""
        mean, spread = (column[:, None] for column in SHAPES.T)
        share = spread**2 / (1 + spread**2)
        centre = self.grid + mean + share * (score - self.grid - mean)
        worse = ndtr((self.grid - centre) / np.sqrt(share))[SHAPE_OF]
        same, moved = self.chances * same, self.chances * moved
        total = (same + moved).sum(axis=1)
        beyond = total < TINY  # no prior can explain it: its own score is all that is known
        false = (same + moved * worse).sum(axis=1) / np.maximum(total, TINY)
        self.false.append(np.where(beyond, float(score <= self.grid.mean()), false))
        new = _grid(score)
        kernel = _normal(new[None, None, :] - centre[:, :, None], np.sqrt(share)[:, :, None])
        after = np.matmul(moved[:, None, :], kernel[SHAPE_OF])[:, 0] * STEP
        shift = round((new[0] - self.grid[0]) / STEP)
        for i in range(max(0, shift), min(len(self.grid), len(new) + shift)):
            after[:, i - shift] += same[:, i]
        after[beyond] = _normal(score - new, 1.0)
        self.grid, self.chances = new, after

    def _settle(self) -> None:
        """Keep each prior's chances at a sum of 1; its likelihood goes to the weights."""
        total = np.maximum(self.chances.sum(axis=1), TINY)
        self.weights = self.weights + np.log(total)
        self.chances = self.chances / total[:, None]


def _grid(score: float) -> Floats:
    first = round(score / STEP) - BELOW
    result: Floats = STEP * np.arange(first, first + BELOW + ABOVE + 1, dtype=float)
    return result


def _normal(distance: Floats, spread: Floats | float) -> Floats:
    result: Floats = np.exp(-0.5 * (distance / spread) ** 2) / (spread * np.sqrt(2 * np.pi))
    return result


def _describe(walk: _Walk, steps: Sequence[Step], noise: float) -> Weighed:
    weights = np.exp(walk.weights - walk.weights.max())
    weights /= weights.sum()
    false = np.array(walk.false)
    counts = weights @ np.array([count_hits(column) for column in false.T])
    low, high = range_of_count(counts)
    keeps, n = len(false), len(steps) - 1
    mean = false @ weights
    last = [step for step in steps if step.keep][-1].score - steps[0].score
    chances = weights @ walk.chances
    true = walk.grid
    excess = _spread(last / noise - true[::-1], chances[::-1], noise, n)
    left = _blur(true, chances, noise, n)
    return Weighed(
        false_keeps=Figure(value=float(mean.sum()), low=low, high=high, n=keeps, unit="keeps"),
        chances=tuple(min(1.0, float(chance)) for chance in mean),
        excess=excess,
        left=left,
    )


def _spread(values: Floats, chances: Floats, noise: float, n: int) -> Figure:
    """Return mean and 95 % range of ascending values with these chances."""
    total = np.cumsum(chances) / chances.sum()
    tails = (1 - LEVEL) / 2, (1 + LEVEL) / 2
    low, high = (float(np.interp(tail, total, values + STEP / 2)) for tail in tails)
    mean = float(values @ chances / chances.sum())
    return Figure(value=noise * mean, low=noise * low, high=noise * high, n=n, unit="score")


def _blur(values: Floats, chances: Floats, noise: float, n: int) -> Figure:
    """Return the figure of values that have the noise of one evaluation besides."""
    kernel = _normal(STEP * np.arange(-20, 21, dtype=float), 1.0)
    wide = np.convolve(chances, kernel / kernel.sum())
    first = values[0] - 20 * STEP
    return _spread(first + STEP * np.arange(len(wide)), wide, noise, n)
