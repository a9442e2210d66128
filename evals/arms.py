"""Arms on common random numbers: gain against spent plan, repeat by repeat.

An arm's gain is its champion's verified gain over the baseline on an unbounded scale (log-odds,
log-likelihood or bits of compute). Accuracy has a ceiling, and a ceiling fakes a slowdown. Arms are
compared at equal given plan. Where generations alone end a study, they are compared at their ends,
and what each spent is a figure of its own. Ragged curves are refused.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from configs.build import need
from evals.intervals import Figure, Floats, bootstrap, mean, missing

ARMS: dict[str, str] = {
    "self": "the champion proposes",
    "frozen": "generation 0's weights and history for ever",
    "refit": (
        "a proposer trained each generation with generation 0's recipe on the same growing history"
    ),
    "scrambled": "the champion's recipe and history, outcomes permuted before training",
    "scrambled_own": "as scrambled, but only among the campaign's own trials",
    "scrambled_start": "as scrambled, but only among the trials of the start",
    "no_own": "each own trial replaced by one of the start, so that the history is as long",
    "no_carry": "each generation starts from the baseline",
    "one_shot": "one round with the whole compute",
    "no_carry_free": "as no_carry, without the change limit",
    "one_shot_free": "as one_shot, without the change limit",
    "parallel_shared": "several proposers at once, each reads all trials",
    "parallel_separate": "several proposers at once, each reads the start and its own trials",
    "random": "uniform draws",
    "local": "steps from the champion's recipe",
    "tpe": "tree-structured Parzen estimator",
    "scripted": "a person's list of recipes",
}
"""Name -> proposer of the arm."""
UNIT = "log-odds"


@dataclass(frozen=True, slots=True, kw_only=True)
class Gain:
    """Gain of a campaign after one generation."""

    arm: str
    "arm of ARMS, or any other name"
    repeat: int
    "repeat; equal numbers share their random numbers between arms"
    generation: int
    "generation, from 1"
    planned_cpu_us: int
    "planned compute spent so far: propose, train, predict, evaluate"
    value: float
    "verified gain of the champion over the baseline; NaN where it was not measured"
    allotted_cpu_us: int = 0
    """planned compute given to the campaign; its last gain stands there when no further generation
    fits; 0: generations alone end it
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """One arm: row r is repeat `repeats[r]`, column g its generation g + 1."""

    repeats: tuple[int, ...]
    "numbers of the repeats, ascending"
    spent: NDArray[np.float64]
    "planned CPU-microseconds spent (R, G), growing along a row"
    value: NDArray[np.float64]
    "verified gain (R, G)"
    allotted: float = 0.0
    "planned CPU-microseconds given to each campaign; 0: generations alone end it"

    def ends(self) -> Floats:
        """Return the gain (R,) at the end of each campaign."""
        return self.at(float(np.finfo(float).max))

    def at(self, cpu_us: float) -> Floats:
        """Return the gain (R,) after `cpu_us` of spent plan; 0 before the end of the first
        generation.
        """
        done = (self.spent <= cpu_us).sum(axis=1)
        start = np.concatenate([np.zeros((len(self.value), 1)), self.value], axis=1)
        return np.asarray(start[np.arange(len(start)), done])

    def between(self, cpu_us: float) -> Floats:
        """Return the gain (R,) on straight lines between ends of generations, for rates and
        references.
        """
        rows = [
            (s[np.isfinite(s)], v[np.isfinite(s)])
            for s, v in zip(self.spent, self.value, strict=True)
        ]
        return np.array([np.interp(cpu_us, [0.0, *s], [0.0, *v]) for s, v in rows])


def curves(gains: Iterable[Gain]) -> dict[str, Curve]:
    """Return arm -> curve. Shorter repeats are filled up with NaN gains that cost nothing more."""
    by_arm: dict[str, dict[int, list[Gain]]] = {}
    for gain in gains:
        by_arm.setdefault(gain.arm, {}).setdefault(gain.repeat, []).append(gain)
    return {arm: _curve(rows) for arm, rows in by_arm.items()}


def _curve(rows: Mapping[int, list[Gain]]) -> Curve:
    length = max(map(len, rows.values()))
    spent, value = np.full((len(rows), length), np.inf), np.full((len(rows), length), np.nan)
    for r, repeat in enumerate(sorted(rows)):
        row = sorted(rows[repeat], key=lambda gain: gain.generation)
        spent[r, : len(row)], value[r, : len(row)] = (
            [g.planned_cpu_us for g in row],
            [g.value for g in row],
        )
    need(
        bool((spent[:, 1:] >= spent[:, :-1]).all()),
        "planned_cpu_us",
        "falling",
        "spent plan that never falls",
    )
    allotted = {gain.allotted_cpu_us for row in rows.values() for gain in row}
    return Curve(
        repeats=tuple(sorted(rows)),
        spent=spent,
        value=value,
        allotted=allotted.pop() if len(allotted) == 1 else 0.0,
    )


def shared_luck(sums: Sequence[tuple[int, float, float, float]]) -> Figure:
    """Return the correlation of the two sides' scores within pairs; 0: a pair shares no luck.

    `sums` holds per measured plan its repeat, and the sums of squares of the candidate's scores, of
    the champion's, and of their products, each score less the mean of its side. Bootstrap over
    repeats. The sides of a pair have one seed: the more luck they share, the fewer pairs decide.
    """
    repeats = sorted({repeat for repeat, *_ in sums})
    if len(repeats) < 2:
        return missing("not measured", "correlation", len(repeats))
    table = np.zeros((3, len(repeats)))
    for repeat, *squares in sums:
        table[:, repeats.index(repeat)] += squares

    def correlate(weights: Floats) -> Floats:
        own, other, both = table @ weights.T
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray(both / np.sqrt(own * other))

    return bootstrap(correlate, len(repeats), "correlation")


def common(arms: Mapping[str, Curve], names: Iterable[str] = ()) -> float:
    """Return the spent plan at which the named arms (default: all) can be compared.

    It is the plan given to all. It counts as used even if its rest held no whole generation, or if
    a charge outran it. Without a plan, arms whose repeats have equally many generations stand at
    their ends, by looks on fresh seeds: it is the most that any repeat spent. Otherwise it is the
    most that all of them spent.
    """
    chosen = [arms[name] for name in names or arms if name in arms]
    spent = [np.where(np.isfinite(c.spent), c.spent, -np.inf).max(axis=1) for c in chosen]
    given = {c.allotted for c in chosen}
    whole = all(np.isfinite(c.spent).all() for c in chosen)
    if len(given) == 1 and (max(given) or whole):
        return max(max(given), *(float(s.max()) for s in spent))
    return min((float(s.min()) for s in spent), default=0.0)


def pair_gains(
    arms: Mapping[str, Curve], one: str, other: str, cpu_us: float | None = None
) -> tuple[Floats, Floats]:
    """Return both arms' gains (R,) at equal spent plan, for the repeats in both."""
    at = common(arms, (one, other)) if cpu_us is None else cpu_us
    both = sorted(set(arms[one].repeats) & set(arms[other].repeats))
    picks = [[arms[name].repeats.index(r) for r in both] for name in (one, other)]
    return arms[one].at(at)[picks[0]], arms[other].at(at)[picks[1]]


def gain(arms: Mapping[str, Curve], arm: str, cpu_us: float | None = None) -> Figure:
    """Return an arm's mean verified gain over its repeats."""
    return (
        mean(arms[arm].at(common(arms, (arm,)) if cpu_us is None else cpu_us), UNIT)
        if arm in arms
        else missing("not measured", UNIT)
    )


def average(curve: Curve, repeats: Sequence[int], generations: int) -> Floats:
    """Return the gain (R,) averaged over generations; an ended campaign keeps its last gain."""
    rows = [curve.value[curve.repeats.index(repeat)] for repeat in repeats]
    means = []
    for row in rows:
        known = row[np.isfinite(row)]
        last = known[-1] if len(known) else np.nan
        means.append(float(np.mean([*known, *[last] * (generations - len(known))])))
    return np.array(means)


def average_apart(arms: Mapping[str, Curve], *names: str) -> list[Floats]:
    """Return the gains (R,) of arms averaged over their generations, for the repeats in all."""
    shared = sorted(set[int].intersection(*(set(arms[name].repeats) for name in names)))
    longest = max(arms[name].value.shape[1] for name in names)
    return [average(arms[name], shared, longest) for name in names]


def difference(
    arms: Mapping[str, Curve], one: str, other: str, cpu_us: float | None = None
) -> Figure:
    """Return the mean gain of an arm minus another's at equal spent plan; `not measured` without
    both.
    """
    if one not in arms or other not in arms:
        return missing("not measured", UNIT)
    own, others = pair_gains(arms, one, other, cpu_us)
    return mean(own - others, UNIT)
