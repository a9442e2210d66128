"""What faults of production took: counts, shares of charge and plan, and the gain that they cost.
What a loop without one of its supports still gained.

Example: campaign 3 was charged 100 CPU-seconds, and 6 of them went to tries that were preempted or
whose results were lost: 6 % of its CPU is lost. Pure functions over records.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from configs.arms import SPARED, WITHDRAWN
from evals.arms import UNIT, Curve, difference, pair_gains
from evals.intervals import Figure, Floats, bootstrap, mean, missing


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Bereft:
    """A campaign from whose arm a support was withdrawn."""

    since: int
    "generation from which on it lacked the support"
    lived: int
    "generations that it began from then on"
    promoted: int
    "successors that were promoted from then on"
    planned_us: int
    "planned compute that it spent from then on, CPU-microseconds"
    ending: str
    "why it ended, in words; empty while it goes on"


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


def describe_bereft(campaigns: Sequence[Bereft]) -> dict[str, Figure | str]:
    """Return what an arm's campaigns still did without their support, means over campaigns."""
    endings = list(dict.fromkeys(one.ending for one in campaigns))
    return {
        "generations lived": _mean([one.lived for one in campaigns], "of a campaign"),
        "promotions": _mean([one.promoted for one in campaigns], "of a campaign"),
        "plan spent": _mean([one.planned_us / 1e6 for one in campaigns], "CPU-seconds of the plan"),
        "ending": endings[0] if len(endings) == 1 else f"{len(endings)} different ones",
    }


def compare_bereft(
    arms: Mapping[str, Curve], bereft: Mapping[str, Sequence[Bereft]], cpu_us: float
) -> dict[str, dict[str, Figure]]:
    """Return what a support's withdrawal costs each arm that loses one, beside its twin.

    `cost` is the twin's verified gain less the arm's, paired over repeats. `share kept` is the part
    of the gain that the twin still made from the withdrawal on that the arm made too: a ratio of
    means, bootstrap over repeats. `seen after` is the number of generations from the withdrawal on
    after which the interval of that difference lies above 0, and in all later ones too; it has no
    interval of its own.
    """
    return {
        arm: {
            "cost": difference(arms, twin, arm, cpu_us),
            "share kept": _share_kept(arms, arm, twin, bereft[arm][0].since, cpu_us),
            "seen after": _seen_after(arms[arm], arms[twin], bereft[arm][0].since),
        }
        for arm, (twin, _) in WITHDRAWN.items()
        if arm in arms and twin in arms and bereft.get(arm)
    }


def _share_kept(
    arms: Mapping[str, Curve], arm: str, twin: str, since: int, cpu_us: float
) -> Figure:
    own, whole = pair_gains(arms, arm, twin, cpu_us)
    if arms[arm].repeats != arms[twin].repeats:
        return missing("not measured", "share of the gain")
    before = _hold(arms[twin], since - 1)[:, -1]

    def share(weights: Floats) -> Floats:
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray((weights @ (own - before)) / (weights @ (whole - before)))

    return bootstrap(share, len(own), "share of the gain")


def _seen_after(own: Curve, twin: Curve, since: int) -> Figure:
    unit, last = "generations", twin.value.shape[1]
    if own.repeats != twin.repeats:
        return missing("not measured", unit)
    apart = (_hold(twin, last) - _hold(own, last))[:, since:]
    seen = [mean(column, UNIT).over(0.0) for column in apart.T]
    late = next((i for i in range(len(seen)) if all(seen[i:])), None)
    if late is None:
        return missing("cannot tell", unit, len(own.repeats))
    return Figure(value=float(late + 1), n=len(own.repeats), unit=unit)


def _hold(curve: Curve, generations: int) -> Floats:
    """Return the gain before the first generation and after each up to one (R, 1 + generations).

    An ended campaign keeps its last gain.
    """
    padded = np.full((len(curve.value), 1 + generations), np.nan)
    padded[:, 0] = 0.0
    known = curve.value[:, :generations]
    padded[:, 1 : 1 + known.shape[1]] = known
    for column in range(1, 1 + generations):
        empty = ~np.isfinite(padded[:, column])
        padded[empty, column] = padded[empty, column - 1]
    return padded
