"""Registered claims after a study: p-values, Holm over the family, decisions, power.

Example: claims with p 0.01, 0.04 and 0.03 have p 0.03, 0.06 and 0.06 over the family, so that the
first alone is shown. A claim is decided by the interval of its own instrument, at another level.
Pure functions over figures; definitions: docs/instruments.md.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from scipy.stats import t as student

from configs.settings.claims import Claim, neutral
from evals.intervals import COMPARED, FEWEST, Ends, Figure

ALPHA = 0.05
"""Probability of any wrong decision in the family, at most."""
_LEAST, _NEAR = 1e-9, 1e-6
"""Smallest p-value told, and the relative error of one, which is on the side of a larger p."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decided:
    """A registered claim beside what was measured."""

    name: str
    "name of the claim"
    says: str
    "the claim in words"
    instrument: str
    "its instrument"
    asks: str
    "above, below or equivalent"
    bound: float
    "the registered bound, in `unit`"
    smallest: float
    "smallest distance that is of interest, in `unit`"
    value: float | None
    "estimate; empty where none can be given"
    low: float | None
    "lower end of the 95 % interval"
    high: float | None
    "upper end of the 95 % interval"
    low_90: float | None
    "lower end of the 90 % interval, without which nothing is equivalent"
    high_90: float | None
    "upper end of the 90 % interval"
    n: int
    "repeats or events behind it"
    unit: str
    "unit of all of these"
    p: float | None
    "smallest level at which its own interval shows the claim; empty where it cannot be tested"
    p_family: float
    "the same over the family (Holm 1979)"
    power: float | None
    """probability that an interval as wide shows an effect of `smallest` at level 0.05 / claims;
    for equivalent: that it shows a true value that is neutral
    """
    reads: str
    "shown, not shown, equivalent, cannot tell; or the word of a figure that allows no claim"


def decide(claims: Sequence[tuple[Claim, Figure]]) -> list[Decided]:
    """Return each claim of a family with its decision; the family is all that were registered.

    A claim that cannot be tested (fewer than 10 repeats, a figure with another word) counts in the
    family with p = 1.
    """
    p_values = [p_value(claim, figure) for claim, figure in claims]
    family = holm([1.0 if p is None else p for p in p_values])
    return [
        _decided(claim, figure, p, adjusted, len(claims))
        for (claim, figure), p, adjusted in zip(claims, p_values, family, strict=True)
    ]


def _decided(
    claim: Claim, figure: Figure, p: float | None, adjusted: float, claims: int
) -> Decided:
    low_90, high_90 = _finite(figure.ends, 1 - 2 * ALPHA)
    return Decided(
        name=claim.name,
        says=claim.describe(),
        instrument=claim.instrument,
        asks=claim.asks,
        bound=claim.bound,
        smallest=claim.interest,
        value=figure.value,
        low=figure.low,
        high=figure.high,
        low_90=low_90,
        high_90=high_90,
        n=figure.n,
        unit=figure.unit,
        p=p,
        p_family=adjusted,
        power=power(claim, figure, ALPHA / claims),
        reads=_read(claim, figure, p, adjusted),
    )


def _finite(ends: Ends | None, level: float) -> tuple[float | None, float | None]:
    low, high = ends(level) if ends else (-math.inf, math.inf)
    return (low if math.isfinite(low) else None), (high if math.isfinite(high) else None)


def _read(claim: Claim, figure: Figure, p: float | None, adjusted: float) -> str:
    if p is None:
        return figure.word or "cannot tell"
    if claim.asks == "equivalent":
        return "equivalent" if adjusted <= ALPHA else "cannot tell"
    return "shown" if adjusted <= ALPHA else "not shown"


def p_value(claim: Claim, figure: Figure) -> float | None:
    """Return the smallest level at which the figure's own interval shows the claim; 1 if none does.

    At level a: above and below take the 1 - a interval, of which one side decides; equivalent takes
    the 1 - 2 a interval (two one-sided tests: Schuirmann 1987). None for a figure of fewer than 10
    repeats, without an interval at other levels, or with a word that forbids to read it; and where
    all repeats agree, as where nothing was accepted: the next one may differ.
    """
    ends = figure.ends
    if ends is None or figure.n < FEWEST or figure.low == figure.high:
        return None
    if figure.word not in COMPARED:
        return None
    tails = 2 if claim.asks == "equivalent" else 1
    return _smallest(lambda level: shows(claim, ends(1 - tails * level)), 1 / tails)


def shows(claim: Claim, ends: tuple[float, float]) -> bool:
    """Tell whether an interval shows the claim."""
    low, high = ends
    if claim.asks == "above":
        return low > claim.bound
    if claim.asks == "below":
        return high < claim.bound
    centre = neutral(claim.path)
    return centre - claim.bound < low and high < centre + claim.bound


def _smallest(shown: Callable[[float], bool], most: float) -> float:
    """Return the smallest level in (0, most) at which a claim is shown, by bisection on its log."""
    low, high = math.log(_LEAST), math.log(most * (1 - 1e-6))
    if not shown(math.exp(high)):
        return 1.0
    while high - low > _NEAR:
        middle = (low + high) / 2
        low, high = (low, middle) if shown(math.exp(middle)) else (middle, high)
    return math.exp(high)


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values over their family (Holm 1979): a claim is shown at level a if its own is at
    most a, and any wrong one is shown with probability a at most, however they depend.
    """
    adjusted, largest = [0.0] * len(p_values), 0.0
    for rank, place in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[place]))
        adjusted[place] = largest
    return adjusted


def power(claim: Claim, figure: Figure, level: float) -> float | None:
    """Return the probability that an interval as wide as this one's shows the claim at `level`.

    The true value lies `smallest` beyond the bound; for equivalent it is neutral. Student's t, as
    in `smallest_seen`. None without a bounded interval.
    """
    both = claim.asks == "equivalent"
    wide = 1 - (2 if both else 1) * level
    low, high = _finite(figure.ends, wide)
    if low is None or high is None or figure.n < 2 or high <= low:
        return None
    freedom = figure.n - 1
    far = float(student.ppf((1 + wide) / 2, freedom))
    seen = float(student.cdf((2 * claim.interest / (high - low) - 1) * far, freedom))
    return max(0.0, 2 * seen - 1) if both else seen
