"""Several proposers at once: what do they find together, and how much of it twice?

Example: three agents work on one code base. With a common notebook each knows what the others tried
in earlier generations, with notebooks of their own it does not. Both are compared with each other,
and with a single proposer who writes as many proposals, at equal planned compute. Lambert (2026)
names work that many agents do at once, and do twice, as a friction of self-improvement.
Definitions: docs/instruments.md. Pure functions over records.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from configs.arms import PAIRS
from evals.arms import UNIT, Curve, pair_gains
from evals.intervals import Figure, Floats, mean, missing
from evals.loss import PlanFact

SHARE = "share of the knobs"
YIELD = f"{UNIT} per planned CPU-second"
UNITS = {
    "gain": UNIT,
    "yield per compute": YIELD,
    "duplicates": "share of plans",
    "distance": SHARE,
}
"""Measure of a team -> its unit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Team:
    """What the proposers of an arm did, repeat by repeat."""

    repeats: tuple[int, ...]
    "numbers of the repeats, ascending"
    gained: Floats
    "sum of the verified gains of accepted plans (R,)"
    duplicates: Floats
    "share of plans equal to an earlier plan of the campaign (R,)"
    distance: Floats
    "mean distance between proposals of a generation (R,); NaN where no generation has two"


def distances(proposals: Sequence[Sequence[object]]) -> list[float]:
    """Return each proposal's mean distance to the others of its generation.

    A proposal is its knobs' values. The distance of two is the share of knobs in which they differ
    (Hamming 1950, normalised). NaN for a proposal without others, or without knobs.
    """
    count = len(proposals)
    if count < 2 or not len(proposals[0]):
        return [float("nan")] * count
    apart = np.zeros((count, count))
    for one, other in combinations(range(count), 2):
        differing = sum(a != b for a, b in zip(proposals[one], proposals[other], strict=True))
        apart[one, other] = apart[other, one] = differing / len(proposals[one])
    return [float(total) / (count - 1) for total in apart.sum(axis=1)]


def read_team(plans: Sequence[PlanFact]) -> Team:
    """Return what the proposers of an arm did, from the fates of their proposals."""
    repeats = sorted({plan.repeat for plan in plans})
    rows = [[plan for plan in plans if plan.repeat == repeat] for repeat in repeats]
    return Team(
        repeats=tuple(repeats),
        gained=np.array([sum(p.gained or 0.0 for p in r if p.fate == "accepted") for r in rows]),
        duplicates=np.array([np.mean([p.duplicate for p in row]) for row in rows]),
        distance=np.array([_mean_distance(row) for row in rows]),
    )


def _mean_distance(plans: Sequence[PlanFact]) -> float:
    """Return the mean over generations of the mean distance between their proposals."""
    means = []
    for generation in sorted({plan.generation for plan in plans}):
        own = [p.apart for p in plans if p.generation == generation and p.apart is not None]
        if own:
            means.append(float(np.mean(own)))
    return float(np.mean(means)) if means else float("nan")


def spread(plans: Sequence[PlanFact]) -> Figure:
    """Return the mean distance between an arm's proposals of a generation, over repeats."""
    return mean(read_team(plans).distance, SHARE, neutral=None)


def compare_teams(
    names: tuple[str, str, str],
    plans: Mapping[str, Sequence[PlanFact]],
    spent: Mapping[str, Mapping[int, float]],
    arms: Mapping[str, Curve],
    cpu_us: float,
) -> dict[str, dict[str, Figure]]:
    """Return measure -> difference -> figure, paired over the repeats in both arms.

    `names` are the arms with shared and with separate histories and the one with a single
    proposer; `spent` holds arm -> repeat -> planned CPU-seconds of its trainings and readings. A
    difference without one of its arms is `not measured`. Gains are at `cpu_us` of spent plan.
    """
    teams = {name: read_team(plans[name]) for name in names if plans.get(name)}
    figures = {measure: dict[str, Figure]() for measure in UNITS}
    for pair, (first, second) in PAIRS.items():
        one, other = names[first], names[second]
        for measure, unit in UNITS.items():
            figures[measure][pair] = missing("not measured", unit)
        if one not in teams or other not in teams:
            continue
        values = [_measures(teams[name], spent[name]) for name in (one, other)]
        both = sorted(values[0].keys() & values[1].keys())
        for place, measure in enumerate(("yield per compute", "duplicates", "distance")):
            apart = [values[0][r][place] - values[1][r][place] for r in both]
            figures[measure][pair] = mean(apart, UNITS[measure])
        if one in arms and other in arms:
            gains = pair_gains(arms, one, other, cpu_us)
            figures["gain"][pair] = mean(gains[0] - gains[1], UNIT)
    return figures


def _measures(team: Team, spent: Mapping[int, float]) -> dict[int, tuple[float, float, float]]:
    """Return repeat -> yield, share of duplicates, distance."""
    rows = zip(team.repeats, team.gained, team.duplicates, team.distance, strict=True)
    return {
        repeat: (float(gained) / spent[repeat], float(again), float(apart))
        for repeat, gained, again, apart in rows
        if spent.get(repeat)
    }
