"""What faults of production took: counts, shares of charge and plan, and the gain that they cost.

Example: campaign 3 was charged 100 CPU-seconds, and 6 of them went to tries that were preempted or
whose results were lost: 6 % of its CPU is lost. Pure functions over records.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from configs.arms import SPARED
from evals.arms import UNIT, Curve, difference, pair_gains
from evals.intervals import Figure, mean


@dataclass(frozen=True, slots=True, kw_only=True)
class Befallen:
    """The faults of a campaign, and what they took."""

    counts: Mapping[str, int]
    "fault -> how often"
    cpu_us: int
    "CPU charged to its jobs, lost tries included"
    lost_cpu_us: int
    "the part charged to tries that were preempted or whose results were lost"
    wall_us: int
    "wall time charged to its jobs"
    lost_wall_us: int
    "the part of lost tries, of waiting, and of slow nodes"
    cut: float
    "share of its planned compute that quota cuts took"
    hours_away: float
    "hours until the reviewer's late answers, each at most until the gate's timer"
    silences: int
    "questions that the gate's timer decided"


def describe_faults(campaigns: Sequence[Befallen]) -> dict[str, Figure]:
    """Return the figures of an arm's campaigns, each a mean over campaigns."""
    counts = {
        name: mean([one.counts[name] for one in campaigns], "of a campaign", neutral=None)
        for name in campaigns[0].counts
    }
    return {
        **counts,
        "decided by the timer": _mean([one.silences for one in campaigns], "of a campaign"),
        "CPU lost": _share([(one.lost_cpu_us, one.cpu_us) for one in campaigns], "CPU charged"),
        "wall time lost": _share(
            [(one.lost_wall_us, one.wall_us) for one in campaigns], "wall time charged"
        ),
        "plan cut": _mean([one.cut for one in campaigns], "share of the plan"),
        "hours of waiting": _mean([one.hours_away for one in campaigns], "simulated hours"),
    }


def _mean(values: Sequence[float], unit: str) -> Figure:
    return mean(values, unit, neutral=None)


def _share(parts: Sequence[tuple[int, int]], of: str) -> Figure:
    return _mean([part / whole if whole else 0.0 for part, whole in parts], f"share of {of}")


def compare_spared(arms: Mapping[str, Curve], cpu_us: float) -> dict[str, Figure]:
    """Return what faults cost each arm that has a spared twin, paired over repeats.

    `cost of ARM` is the verified gain of the twin less the arm's, at `cpu_us` of spent plan;
    `closure` the lead of arm self over arm scrambled with faults, less the same lead without.
    """
    figures = {
        f"cost of {arm}": difference(arms, twin, arm, cpu_us)
        for arm, twin in SPARED.items()
        if arm in arms and twin in arms
    }
    four = ("self", "scrambled", SPARED["self"], SPARED["scrambled"])
    if all(arm in arms for arm in four):
        hit, spared = (pair_gains(arms, *pair, cpu_us) for pair in (four[:2], four[2:]))
        apart = np.subtract(*hit) - np.subtract(*spared)
        figures["closure, with minus without"] = mean(apart, UNIT)
    return figures
