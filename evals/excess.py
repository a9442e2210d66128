"""What a loop's gain loses on a rung beyond what any change of its size loses there: excess loss.

Example: champions gain 0.20 bits, and 0.10 on a slice outside the training distribution. Reference
changes that gain 0.20 lose 0.10 there too, so the excess is 0: the slice asks for something else,
and the loop is not to blame. Definitions: docs/instruments.md. Pure functions.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial

import numpy as np
from scipy.stats import norm
from scipy.stats import t as student

from evals.arms import UNIT
from evals.intervals import (
    LEVEL,
    Figure,
    Floats,
    is_positive,
    mark_unclear,
    missing,
    pairs,
    resample,
)
from evals.retention import Guard, Held, guard, order, rungs

FEWEST_REFERENCES = 5
"""Reference changes below which no excess is told."""
FLATTEST = 0.2
"""Share of the references' spread of gains that must be more than noise, for a line to be drawn."""


@dataclass(frozen=True, slots=True, kw_only=True)
class References:
    """The reference changes with both gains, in order of their names."""

    gain: Floats
    "gain in the closing look (K,), mean over its measurements"
    loss: Floats
    "that gain less the gain on the rung (K,)"
    noise: tuple[float, float]
    """the part that chance has in the variance of `gain`, and in its covariance with `loss`; 0 for
    gains that are known exactly
    """


def excess(
    own: Iterable[Held],
    references: Iterable[Held],
    *,
    limits: Guard | None = None,
    level: float = LEVEL,
) -> dict[str, Figure]:
    """Return rung after the closing look -> excess loss, on the gain's scale; 0 is none.

    It is the mean of closing gain less gain on the rung, less the same of a reference change with
    the same closing gain. References (`Held.change` names them) were fixed before the study. Their
    losses are a straight line over their gains, and it is read at the arm's *mean* gain: a single
    measured gain has luck that the rung has not. The loss on sealed is excess as it is, since a
    change fixed beforehand loses nothing from one split to another. Campaigns whose baseline is
    champion still changed nothing, and are left out: the line need not pass through 0.

    Each end is the wider of Student's t (the line's part by the jackknife over references;
    Satterthwaite 1946) and of the bootstrap over repeats and references at once. `not measured`
    with fewer than FEWEST_REFERENCES; `undefined` without a proven gain; `cannot tell` where the
    arm's gain lies outside the references' range, or a champion near the floor or ceiling.
    """
    listed = list(own)
    known, gains = list(references), rungs(listed)
    return {
        rung: guard(_measure(gains, known, rung, level), listed, limits, "closing", rung)
        for rung in order(gains)
        if "closing" in gains and rung not in ("feedback", "gate", "closing")
    }


def lossy_on(
    own: Iterable[Held], references: Iterable[Held], *, limits: Guard | None = None
) -> list[str]:
    """Return the rungs on which the excess is proven above 0, with Holm's correction (Holm 1979).

    Two-sided at 1 - LEVEL over all rungs that have a figure.
    """
    listed, known = list(own), list(references)
    left = [r for r, f in excess(listed, known, limits=limits).items() if f.value is not None]
    proven = list[str]()
    while left:
        level = 1 - (1 - LEVEL) / len(left)
        figures = excess(listed, known, limits=limits, level=level)
        above = [rung for rung in left if figures[rung].over(0.0)]
        if not above:
            break
        proven += above
        left = [rung for rung in left if rung not in above]
    return proven


def _measure(
    gains: dict[str, Floats], references: Sequence[Held], rung: str, level: float
) -> Figure:
    gain, there = pairs(gains["closing"], gains[rung])
    moved = (gain != 0) | (there != 0)
    gain, there = gain[moved], there[moved]
    if not is_positive(gain):
        return missing("undefined", UNIT, len(gain))
    if rung == "sealed":
        return _subtract(gain, gain - there, None, level)
    known = _read(references, rung)
    if known is None or len(known.gain) < FEWEST_REFERENCES:
        return missing("not measured", UNIT, len(gain))
    figure = _subtract(gain, gain - there, known, level)
    inside = known.gain.min() <= gain.mean() <= known.gain.max()
    return figure if inside else replace(figure, word="cannot tell", sees=None)


def _read(references: Sequence[Held], rung: str) -> References | None:
    """Return the reference changes that were measured in the closing look and on the rung."""
    values = {(h.change, h.repeat, h.rung): h.value for h in references}
    both = dict[str, list[tuple[float, float]]]()
    for (change, repeat, name), closing in values.items():
        there = values.get((change, repeat, rung), math.nan)
        if name == "closing" and math.isfinite(closing) and math.isfinite(there):
            both.setdefault(change, []).append((closing, closing - there))
    if not both:
        return None
    samples = [np.array(both[change]) for change in sorted(both)]
    gain, loss = np.array([sample.mean(axis=0) for sample in samples]).T
    return References(gain=gain, loss=loss, noise=_noise(samples))


def _noise(samples: Sequence[Floats]) -> tuple[float, float]:
    """Return the mean error of the references' gains: its variance, and covariance with the loss.

    Pooled within references. A single measurement of each is taken as exact.
    """
    freedom = sum(len(sample) - 1 for sample in samples)
    if not freedom:
        return 0.0, 0.0
    within = sum(
        (sample - sample.mean(axis=0)).T @ (sample - sample.mean(axis=0)) / freedom
        for sample in samples
    )
    per = float(np.mean([1 / len(sample) for sample in samples]))
    return float(within[0, 0]) * per, float(within[0, 1]) * per


def _line(known: References, at: Floats, weights: Floats) -> tuple[Floats, Floats]:
    """Return the line's loss at the gains `at` (B,), and its slopes (B,), under weights (B, K).

    Least squares, less what chance adds (moments: Fuller 1987, 1.2). NaN where no line is left.
    """
    total = weights.sum(axis=1)
    x, y = (weights @ values / total for values in (known.gain, known.loss))
    spread = weights @ known.gain**2 - total * x**2
    together = weights @ (known.gain * known.loss) - total * x * y
    square = spread - (total - 1) * known.noise[0]
    with np.errstate(divide="ignore", invalid="ignore"):
        slope = (together - (total - 1) * known.noise[1]) / square
    slope = np.where(square > FLATTEST * spread, slope, math.nan)
    return y + slope * (at - x), slope


def _subtract(gain: Floats, loss: Floats, known: References | None, level: float) -> Figure:
    """Return the mean loss (R,) less the references' loss at the mean gain, with its interval."""
    n, count = len(gain), len(known.gain) if known else 0
    expected, _ = _at(known, gain, np.ones((1, n)), np.ones((1, count)))
    value = float(loss.mean() - expected[0])
    if n < 2 or not math.isfinite(value):
        kept = value if math.isfinite(value) else None
        return Figure(value=kept, n=n, unit=UNIT, word="cannot tell")
    ends = partial(_ends_at, gain, loss, known)
    low, high = (end if math.isfinite(end) else None for end in ends(level))
    return mark_unclear(Figure(value=value, low=low, high=high, n=n, unit=UNIT, ends=ends), 0.0)


def _ends_at(
    gain: Floats, loss: Floats, known: References | None, level: float
) -> tuple[float, float]:
    n, count, own = len(gain), len(known.gain) if known else 0, resample(len(gain))
    expected, slope = _at(known, gain, np.ones((1, n)), np.ones((1, count)))
    errors = [(float((loss - slope[0] * gain).var(ddof=1)) / n, n - 1)]
    if known:
        left_out = 1.0 - np.eye(count)
        without, _ = _line(known, np.full(count, gain.mean()), left_out)
        errors.append(((count - 1) * float(without.var()), count - 2))
    value = float(loss.mean() - expected[0])
    expected, _ = _at(known, gain, own, _resample_references(count))
    drawn = own @ loss / n - expected
    return _ends(value, errors, drawn, min(n, count or n), level)


def _at(
    known: References | None, gain: Floats, own: Floats, weights: Floats
) -> tuple[Floats, Floats]:
    """Return the references' loss at the mean of the gains (R,), and the slopes, per draw."""
    at = own @ gain / own.sum(axis=1)
    return _line(known, at, weights) if known else (np.zeros(len(own)), np.zeros(len(own)))


@cache
def _resample_references(count: int) -> Floats:
    """Return the counts (draws, K) of bootstrap samples, apart from those of the repeats."""
    rng = np.random.default_rng([19, count])
    shares = np.full(max(1, count), 1 / max(1, count))
    return rng.multinomial(count, shares, size=len(resample(2))).astype(float)


def _ends(
    value: float, errors: Sequence[tuple[float, int]], drawn: Floats, n: int, level: float
) -> tuple[float, float]:
    """Return the interval from variances with their degrees of freedom, and from resampling."""
    variance = math.fsum(v for v, _ in errors)
    if not math.isfinite(variance):
        return -math.inf, math.inf  # without one reference there is no line
    freedom = variance**2 / math.fsum(v**2 / f for v, f in errors) if variance else n - 1
    half = float(student.ppf((1 + level) / 2, freedom)) * math.sqrt(variance)
    far = float(student.ppf((1 + level) / 2, n - 1))
    tail = float(norm.cdf(-math.sqrt(n / (n - 1)) * far))
    low, high = (
        sign * max(sign * _quantile(drawn, part, sign), sign * value + half)
        for sign, part in ((-1, tail), (1, 1 - tail))
    )
    return low, high


def _quantile(drawn: Floats, part: float, sign: int) -> float:
    """Return a quantile; a draw that is not finite counts as unbounded to the side of `sign`."""
    filled = np.where(np.isfinite(drawn), drawn, sign * math.inf)
    return float(np.quantile(filled, part, method="nearest"))
