"""What people cost and what limits the pace: run length, effort per gain, elasticities.

Example: 120 generations with 4 live human acts are 30 generations per act. Definitions, units and
sources: docs/instruments.md. Pure functions over records.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import chi2

from configs.arms import RAISE
from configs.build import need
from evals.arms import UNIT
from evals.intervals import LEVEL, Figure, is_positive, mean, missing, pairs, ratio

FACTORS: tuple[str, ...] = ("compute", "proposals", "replicates", "reviewer speed")
PER_CENT, PER_DOUBLING = "% per %", "share of the gain per doubling"
"""Units of an elasticity."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """Effort of people for a study, repeat by repeat."""

    decisions: tuple[int, ...]
    "live decisions of people on plans (R,)"
    minutes: tuple[float, ...]
    "minutes of looking (R,)"
    queue_seconds: tuple[float, ...]
    "seconds of requests waiting for them (R,)"
    setup_minutes: float | None = 0.0
    """minutes to the first job, from the first signature or the study root: an upper bound of
    setting up; None where the study keeps no clock
    """
    mandates: int = 0
    "standing rules signed; each replaces many decisions"


def run_length(generations: int, live_acts: int) -> Figure:
    """Return generations per live human act, with the exact Poisson interval.

    No act in n generations is at least n / 3.
    """
    return per_event(generations, live_acts, "generations per live human act")


def per_event(exposure: float, events: int, unit: str) -> Figure:
    """Return exposure per event with the exact Poisson interval (Garwood 1936).

    Without events it is `at least` -exposure / ln 0.05, about a third of the exposure.
    """
    need(exposure >= 0 and events >= 0, "exposure, events", (exposure, events), "no less than 0")
    if not exposure:
        return missing("not exercised", unit)
    if not events:
        return Figure(
            value=None, low=exposure / -math.log(1 - LEVEL), n=0, unit=unit, word="at least"
        )
    tail = (1 - LEVEL) / 2
    few, many = float(chi2.ppf(tail, 2 * events)) / 2, float(chi2.ppf(1 - tail, 2 * events + 2)) / 2
    return Figure(
        value=exposure / events, low=exposure / many, high=exposure / few, n=events, unit=unit
    )


def amortise(generations: int, effort: Effort) -> dict[str, Figure]:
    """Return set-up minutes and mandates per generation.

    Run length hides them, since both were given before it began to count.
    """
    per = {"set-up minutes": effort.setup_minutes, "mandates": float(effort.mandates)}
    return {
        name: _per_generation(value, generations, f"{name} per generation")
        for name, value in per.items()
    }


def _per_generation(value: float | None, generations: int, unit: str) -> Figure:
    if value is None:
        return missing("not measured", unit)
    if not generations:
        return missing("not exercised", unit)
    return Figure(value=value / generations, n=generations, unit=unit)


def human_cost(effort: Effort, gains: ArrayLike) -> dict[str, Figure]:
    """Return the human cost per unit of verified gain (R,): decisions, minutes, queue seconds.

    `undefined` without gain.
    """
    costs = {
        "decisions": effort.decisions,
        "minutes": effort.minutes,
        "queue seconds": effort.queue_seconds,
    }
    if not is_positive(gains):
        return {name: missing("undefined", f"{name} per {UNIT}") for name in costs}
    return {
        name: ratio(values, gains, f"{name} per {UNIT}", neutral=None)
        for name, values in costs.items()
    }


def speed_up(waiting: ArrayLike, computing: ArrayLike, total: ArrayLike) -> dict[str, Figure]:
    """Return the factors by which a campaign would end sooner with instant people or instant
    compute.

    Wall seconds (R,) each (Amdahl 1967).
    """
    for part in (waiting, computing):
        need(
            bool((np.asarray(part) <= np.asarray(total)).all()),
            "seconds",
            part,
            "no more than the campaign took",
        )
    sides = {"people were instant": waiting, "compute were instant": computing}
    whole = np.asarray(total, float)
    return {
        name: ratio(whole, whole - np.asarray(part, float), "times as fast", neutral=1.0)
        for name, part in sides.items()
    }


def elasticities(
    base: ArrayLike,
    raised: Mapping[str, ArrayLike],
    by: Mapping[str, float] = {},
    doubling: bool = False,
) -> dict[str, Figure]:
    """Return per factor (G(raised) - G) / ((raise - 1) G), paired over repeats (R,).

    It is per cent of gain per per cent of the factor; with `doubling` it is
    (G(raised) - G) / (log2(raise) G), a share of the gain per doubling, for raises far from 1. `by`
    is the real factor where it is not RAISE. A factor without a twin run is `not measured`; without
    gain it is `undefined`.
    """
    unit = PER_DOUBLING if doubling else PER_CENT
    if not is_positive(base):
        return {name: missing("undefined", unit) for name in FACTORS}
    figures = {}
    for name in FACTORS:
        if name not in raised:
            figures[name] = missing("not measured", unit)
            continue
        low, high = pairs(base, raised[name])
        size = size_of(by.get(name, RAISE), doubling)
        figures[name] = ratio((high - low) / size, low, unit, neutral=0.0)
    return figures


def size_of(raise_: float, doubling: bool) -> float:
    """Return the size of a raise: its doublings, or its share beyond 1."""
    return math.log2(raise_) if doubling else raise_ - 1


def interaction(base: ArrayLike, one: ArrayLike, other: ArrayLike, both: ArrayLike) -> Figure:
    """Return G(both) - G(one) - G(other) + G, paired over repeats (R,): a 2 x 2.

    Above 0 two limits that are raised together gain more than the sum of what each gains alone.
    """
    low, first, second, high = pairs(base, one, other, both)
    return mean(high - first - second + low, UNIT)


def limiting(
    base: ArrayLike,
    raised: Mapping[str, ArrayLike],
    by: Mapping[str, float] = {},
    doubling: bool = False,
) -> str:
    """Return the limiting factor: a per cent of it gains more than one of any other, clear of 0.

    Gains are divided by the size of the real raise (`by`, else RAISE) before they are compared,
    paired over repeats; with `doubling` a doubling of it gains more. Else `cannot tell`. `not
    measured` unless every factor has a twin run with a gain in some repeat.
    """
    if set(raised) != set(FACTORS) or not all(
        np.isfinite(np.asarray(values, float)).any() for values in raised.values()
    ):
        return "not measured"
    gained = {
        name: (np.asarray(values, float) - np.asarray(base, float))
        / size_of(by.get(name, RAISE), doubling)
        for name, values in raised.items()
    }
    first, *others = sorted(FACTORS, key=lambda name: -_mean(gained[name]))
    clear = mean(gained[first], UNIT).over() and all(
        mean(gained[first] - gained[other], UNIT).over() for other in others
    )
    return first if clear else "cannot tell"


def _mean(values: NDArray[np.float64]) -> float:
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else -np.inf
