"""Figures: value, 95 % interval, n, and a word where the value alone would mislead.

Pure functions over repeats, without a clock or hidden randomness: the bootstrap's weights are a
fixed stream. Samples of unequal length are refused. A repeat without a number is left out of both
sides. Fewer than FEWEST repeats are `cannot tell` in any case.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache, partial
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import beta, norm
from scipy.stats import t as student

from configs.build import need

Floats = NDArray[np.float64]
Ends = Callable[[float], tuple[float, float]]
"""Two-sided level -> ends of the interval at it; infinite where it is unbounded."""
Word = Literal[
    "",
    "cannot tell",
    "not exercised",
    "not measured",
    "undefined",
    "not evaluable",
    "at least",
    "above",
    "below",
    "constant",
    "saturated",
]
"""cannot tell: the interval holds the neutral value, is unbounded, or rests on few repeats;
saturated: champions score as the best known, so that arms have nothing to differ by; at least:
nothing was counted, the lower end is a bound; above, below: beyond the measured range, the value is
its end; constant: it follows from the settings, nothing was sampled
"""
FEWEST = 10
"""Repeats below which no interval decides anything."""
POWER = 0.8
"""Probability with which the smallest visible effect is seen."""
COMPARED = ("", "cannot tell")
"""Words of a figure that has an interval to be read by."""
LEVEL = 0.95
"""Two-sided level of every interval."""
_DRAWS = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One measured number."""

    value: float | None
    "the estimate; None without any"
    low: float | None = None
    "lower end of the 95 % interval; None: unbounded, or no interval"
    high: float | None = None
    "upper end"
    n: int = 0
    "repeats or events behind it"
    unit: str = ""
    "unit of value, low and high"
    word: Word = ""
    "a caution about the value; empty: nothing to add"
    sees: float | None = None
    "beside `cannot tell`: the smallest distance from the neutral value seen with probability 0.8"
    ends: Ends | None = field(default=None, compare=False, repr=False, metadata={"later": True})
    "the interval at other levels; None: at 95 % alone, as in everything that is written"

    def over(self, bound: float = 0.0) -> bool:
        """Tell whether the whole interval lies above `bound`, and no word forbids to say so."""
        return self.word in ("", "above", "constant") and self.low is not None and self.low > bound


def settle(tree: Any) -> Any:
    """Return a tree of dicts, lists and figures whose figures hold numbers and words alone."""
    if isinstance(tree, Figure):
        return replace(tree, ends=None)
    if isinstance(tree, Mapping):
        return {name: settle(part) for name, part in tree.items()}
    return [settle(part) for part in tree] if isinstance(tree, list | tuple) else tree


def missing(word: Word, unit: str = "", n: int = 0) -> Figure:
    """Return a figure that is only a word."""
    return Figure(value=None, n=n, unit=unit, word=word)


def pairs(*columns: ArrayLike) -> list[Floats]:
    """Return the columns (R,) without the repeats that are not finite in every column.

    Raises BadInput for unequal lengths.
    """
    arrays = [np.asarray(c, float) for c in columns]
    need(
        len({c.shape for c in arrays}) == 1 and arrays[0].ndim == 1,
        "columns",
        [c.shape for c in arrays],
        "as many values in each, one a repeat",
    )
    whole = np.logical_and.reduce([np.isfinite(c) for c in arrays])
    return [c[whole] for c in arrays]


def mean(values: ArrayLike, unit: str, *, neutral: float | None = 0.0) -> Figure:
    """Return the mean over repeats (R,); give differences of two arms for a paired figure.

    Each side is the wider of Student's interval and the studentized bootstrap (Efron and Tibshirani
    1993, 12.5), with a resampled deviation of at least a quarter of the sample's. The first covers
    heavy tails, the second skew. `cannot tell` if it holds `neutral`. If all are `neutral`, nothing
    bounds the mean: where a loop seldom accepts, a study of ten may hold zeros alone.
    """
    (x,) = pairs(values)
    n = len(x)
    if n > 1 and neutral is not None and (x == neutral).all():
        return _without_spread(neutral, n, unit)
    if n < 2:
        return _without_spread(float(x[0]) if n else None, n, unit)
    return mark_unclear(figure_of(float(x.mean()), partial(_mean_ends, x), n, unit), neutral)


def _without_spread(value: float | None, n: int, unit: str) -> Figure:
    return Figure(value=value, n=n, unit=unit, word="cannot tell" if n else "not measured")


def figure_of(value: float | None, ends: Ends, n: int, unit: str) -> Figure:
    """Return a figure with its interval at LEVEL; an end that is not finite is unbounded."""
    low, high = (end if math.isfinite(end) else None for end in ends(LEVEL))
    return Figure(value=value, low=low, high=high, n=n, unit=unit, ends=ends)


def _mean_ends(x: Floats, level: float) -> tuple[float, float]:
    centre, error = float(x.mean()), float(x.std(ddof=1)) / math.sqrt(len(x))
    low, high = _studentized(x, centre, error, level) if error > 0 else (0.0, 0.0)
    far = reach(len(x), level)
    return centre - error * max(far, high), centre + error * max(far, -low)


def is_positive(values: ArrayLike) -> bool:
    """Tell whether the mean's interval lies above 0, so that the mean can be divided by.

    A figure on few repeats gets its own word.
    """
    return (mean(values, "").low or 0.0) > 0


@cache
def reach(n: int, level: float | None = None) -> float:
    """Return the standard errors of Student's two-sided interval with n repeats, at LEVEL."""
    return float(student.ppf((1 + (LEVEL if level is None else level)) / 2, n - 1))


def _studentized(x: Floats, centre: float, error: float, level: float) -> tuple[float, float]:
    """Return the points of the resampled t that leave (1 - level) / 2 on either side."""
    n, weights = len(x), resample(len(x))
    means = weights @ x / n
    errors = np.sqrt(
        np.maximum(weights @ (x - centre) ** 2 / n - (means - centre) ** 2, 0.0) / (n - 1)
    )
    t = np.sort((means - centre) / np.maximum(errors, 0.25 * error))
    last = min(int(_DRAWS * (1 + level) / 2), _DRAWS - 1)
    return float(t[int(_DRAWS * (1 - level) / 2)]), float(t[last])


@cache
def resample(n: int) -> Floats:
    """Return the counts (draws, n) of each repeat in each bootstrap sample; a row adds up to n."""
    return (
        np.random.default_rng([17, n]).multinomial(n, np.full(n, 1 / n), size=_DRAWS).astype(float)
    )


def bootstrap(
    statistic: Callable[[Floats], Floats], n: int, unit: str, *, neutral: float | None = 0.0
) -> Figure:
    """Return a statistic over repeats; `statistic` maps (draws, n) weights to (draws,) values.

    Percentile interval, widened for small n (Hesterberg 2015, section 4.5). A draw that is not
    finite counts as unbounded on both sides.
    """
    if n < 2:
        return missing("not measured", unit, n)
    value, ends = float(statistic(np.ones((1, n)))[0]), partial(_bootstrap_ends, statistic, n)
    return mark_unclear(figure_of(value if math.isfinite(value) else None, ends, n, unit), neutral)


def _bootstrap_ends(
    statistic: Callable[[Floats], Floats], n: int, level: float
) -> tuple[float, float]:
    drawn = np.asarray(statistic(resample(n)))
    low, high = (np.where(np.isfinite(drawn), drawn, end) for end in (-math.inf, math.inf))
    return percentiles(low, n, level)[0], percentiles(high, n, level)[1]


def percentiles(drawn: Floats, n: int, level: float | None = None) -> tuple[float, float]:
    """Return the percentile interval of resampled values (draws,) of n repeats, at LEVEL.

    It is widened for small n (Hesterberg 2015, section 4.5).
    """
    tail = float(norm.cdf(-math.sqrt(n / (n - 1)) * reach(n, level)))
    low, high = (float(np.quantile(drawn, q, method="nearest")) for q in (tail, 1 - tail))
    return low, high


def ratio(top: ArrayLike, bottom: ArrayLike, unit: str, *, neutral: float | None = 1.0) -> Figure:
    """Return mean(top) / mean(bottom) of paired repeats (R,), with its set after Fieller (1954).

    Each end reaches as far as Student's t or, if that is further, the studentized bootstrap of top
    - end x bottom: for skew, as in `mean`. An unbounded set is `cannot tell`, as is a `top` of
    zeros alone.
    """
    a, b = pairs(top, bottom)
    n = len(a)
    if n > 1 and b.any() and not a.any():
        return _without_spread(0.0, n, unit)
    if n < 2:
        return _without_spread(float(a[0] / b[0]) if n and b[0] else None, n, unit)
    a, b = (a, b) if b.mean() >= 0 else (-a, -b)
    value = float(a.mean()) / float(b.mean()) if b.any() else None
    return mark_unclear(figure_of(value, partial(_ratio_ends, a, b), n, unit), neutral)


def _ratio_ends(a: Floats, b: Floats, level: float) -> tuple[float, float]:
    far = reach(len(a), level)
    first = _fieller(a, b, far)
    if first is None:
        return -math.inf, math.inf
    low, high = (
        _fieller(a, b, max(far, _skewed(a - end * b, side, level)))
        for side, end in enumerate(first)
    )
    return low[0] if low else -math.inf, high[1] if high else math.inf


def _fieller(a: Floats, b: Floats, far: float) -> tuple[float, float] | None:
    """Return the ratios at which mean(a - ratio x b) lies `far` standard errors from 0.

    None if they enclose no interval.
    """
    cover, up, down = np.cov(a, b) / len(a) * far**2, float(a.mean()), float(b.mean())
    square, half, rest = down**2 - cover[1, 1], up * down - cover[0, 1], up**2 - cover[0, 0]
    if square <= 0:
        return None
    root = math.sqrt(max(half**2 - square * rest, 0.0))
    return float((half - root) / square), float((half + root) / square)


def _skewed(x: Floats, side: int, level: float) -> float:
    """Return the standard errors that the resampled t reaches against the end of a ratio.

    The lower end takes its upper point.
    """
    error = float(x.std(ddof=1)) / math.sqrt(len(x))
    low, high = _studentized(x, float(x.mean()), error, level) if error > 0 else (0.0, 0.0)
    return -low if side else high


def mark_unclear(figure: Figure, neutral: float | None) -> Figure:
    """Return the figure, with `cannot tell` if it is unbounded, neutral, or of few repeats."""
    unbounded = figure.low is None or figure.high is None
    open_ = unbounded or (
        neutral is not None and (figure.low or 0.0) <= neutral <= (figure.high or 0.0)
    )
    if not open_ and figure.n >= FEWEST:
        return figure
    seen = None if unbounded or neutral is None else smallest_seen(figure)
    return replace(figure, word="cannot tell", sees=seen)


def smallest_seen(figure: Figure) -> float | None:
    """Return the effect that so wide an interval excludes with probability POWER (Student's t)."""
    if figure.low is None or figure.high is None or figure.n < 2:
        return None
    more = float(student.ppf(POWER, figure.n - 1)) / reach(figure.n)
    return (figure.high - figure.low) / 2 * (1 + more)


def cap_at_ceiling(
    figure: Figure, scores: ArrayLike, ceiling: float | None, deviation: float
) -> Figure:
    """Return the figure, `saturated` if the mean of `scores` is that of the `ceiling`.

    It is if they are within a seed `deviation`. A best known score that is clearly beaten is no
    ceiling.
    """
    (values,) = pairs(scores)
    near = (
        ceiling is not None
        and len(values) > 0
        and abs(float(values.mean()) - ceiling) <= deviation * (1 + 1e-9)
    )
    return replace(figure, word="saturated") if near and figure.word in COMPARED else figure


def constant(value: float, n: int, unit: str) -> Figure:
    """Return a figure that follows from the settings: nothing was sampled, so it has no spread."""
    return Figure(value=value, low=value, high=value, n=n, unit=unit, word="constant")


def share(count: int, total: int, unit: str = "share") -> Figure:
    """Return count / total with the exact interval (Clopper and Pearson 1934).

    `not exercised` if total is 0.
    """
    need(0 <= count <= total, "count", count, f"between 0 and {total}")
    if not total:
        return missing("not exercised", unit)
    return figure_of(count / total, partial(_share_ends, count, total), total, unit)


def _share_ends(count: int, total: int, level: float) -> tuple[float, float]:
    tail = (1 - level) / 2
    low = float(beta.ppf(tail, count, total - count + 1)) if count else 0.0
    high = float(beta.ppf(1 - tail, count + 1, total - count)) if count < total else 1.0
    return low, high
