"""Does a loop dismantle its own proposer? Notebook share and proposing, generation by generation.

Example: a loop that selects on the task drops the notebook from its recipes, since learning it
costs the task. So its weights learn less of past trials, and may propose worse. The share says what
recipes give; the proposed gain says what the proposals were worth. Pure functions.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import beta

from evals.intervals import LEVEL, Figure, Floats, mark_unclear, mean, missing
from evals.loss import UNIT

SHARE = "of the baseline's share"


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposing:
    """How a campaign proposed."""

    repeat: int
    "repeat of the campaign"
    shares: tuple[float, ...]
    "notebook share of the champion's recipe after generation 0 (the baseline), 1, 2, ..."
    gains: tuple[float, ...]
    """mean gain of a proposal over its parent in generation 1, 2, ...; objective's unit; NaN where
    no proposal has a gain
    """
    range: tuple[float, float]
    "least and most notebook share that a proposal can have"

    @property
    def gain(self) -> float:
        """Mean over generations; NaN without any gain."""
        return _mean(self.gains)


def share_kept(campaigns: Sequence[Proposing]) -> Figure:
    """Return the last champions' notebook share over the baseline's; `undefined` without such."""
    if not campaigns:
        return missing("not measured", SHARE)
    if any(not one.shares[0] for one in campaigns):
        return missing("undefined", SHARE, len(campaigns))
    base = campaigns[0].shares[0]
    level = _level([one.shares[-1] for one in campaigns], campaigns)
    ends = (None if end is None else end / base for end in (level.value, level.low, level.high))
    value, low, high = ends
    figure = Figure(value=value, low=low, high=high, n=len(campaigns), unit=SHARE)
    return figure if low == high else mark_unclear(figure, 1.0)


def proposed_gain(campaigns: Sequence[Proposing]) -> Figure:
    """Return the mean gain of a proposal over its parent."""
    gains = [one.gain for one in campaigns]
    return mean(gains, UNIT) if np.isfinite(gains).any() else missing("not measured", UNIT)


def proposed_apart(own: Sequence[Proposing], other: Sequence[Proposing]) -> Figure:
    """Return how much more the proposals of one arm gain than another's, paired over repeats.

    From generation 2 on: in the first, both arms read the same bytes. Only generations in which
    both have a gain count.
    """
    others, apart = {one.repeat: one for one in other}, list[float]()
    for one in own:
        if one.repeat in others:
            pairs = zip(one.gains[1:], others[one.repeat].gains[1:], strict=False)
            apart.append(_mean([a - b for a, b in pairs]))
    return mean(apart, UNIT) if np.isfinite(apart).any() else missing("not measured", UNIT)


def by_generation(campaigns: Sequence[Proposing]) -> Iterator[tuple[int, Figure, Figure]]:
    """Yield (generation, notebook share, proposed gain), means over campaigns.

    Generation 0 is the baseline. An ended campaign keeps its last share, and proposes nothing.
    """
    longest = max((len(one.shares) for one in campaigns), default=0)
    for generation in range(longest):
        shares = [one.shares[min(generation, len(one.shares) - 1)] for one in campaigns]
        gains = [_at(one.gains, generation - 1) for one in campaigns]
        proposed = mean(gains, UNIT, neutral=None)
        yield generation, _level(shares, campaigns), proposed


def _level(shares: Sequence[float], campaigns: Sequence[Proposing]) -> Figure:
    """Return the mean of shares that lie in a known range, with an exact binomial interval.

    A grid has few shares, so all repeats may have the same, and Student's interval would be a
    point. Of all laws on a range the one on its two ends spreads most, and its interval is that of
    Clopper and Pearson (1934).
    """
    low, high = (pick(one.range[end] for one in campaigns) for end, pick in ((0, min), (1, max)))
    low, high = min(low, *shares), max(high, *shares)
    n, unit, value = len(shares), "share of the training", math.fsum(shares) / len(shares)
    if low == high:
        return Figure(value=low, low=low, high=low, n=n, unit=unit)
    count, tail = n * (value - low) / (high - low), (1 - LEVEL) / 2
    least = float(beta.ppf(tail, count, n - count + 1)) if count > 0 else 0.0
    most = float(beta.ppf(1 - tail, count + 1, n - count)) if count < n else 1.0
    ends = (low + share * (high - low) for share in (least, most))
    return Figure(value=value, low=next(ends), high=next(ends), n=n, unit=unit)


def _at(values: Sequence[float], place: int) -> float:
    return values[place] if 0 <= place < len(values) else math.nan


def _mean(values: Sequence[float] | Floats) -> float:
    known = [value for value in values if math.isfinite(value)]
    return math.fsum(known) / len(known) if known else math.nan
