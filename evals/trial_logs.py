"""What a log of single evaluations can say: keeps, their rule, noise, and what noise alone keeps.

Pure functions over a log's trials (configs/records/trials.py). Scores are turned so that larger is
better. `evals/false_keeps.py` weighs the keeps of the log itself.
"""

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.integrate import quad
from scipy.optimize import brentq
from scipy.stats import chi2, nct, norm
from scipy.stats import t as student

from configs.build import need
from configs.records.trials import Direction, Trial
from evals.intervals import LEVEL, POWER, Figure, Floats, figure_of, missing

RuleName = Literal["greedy", "bar", "other", "not recorded"]
MOST_PAIRS = 100_000
"""Most repeats a side that are searched for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A trial with a score, beside the champion of its time."""

    index: int
    "place among all trials"
    score: float
    "larger is better"
    gain: float
    "over the champion of its time; 0 for the first"
    keep: bool
    "whether it became the champion"
    champion: int
    "place of that champion among the steps; its own for the first"


@dataclass(frozen=True, slots=True, kw_only=True)
class KeepRule:
    """The rule that the log's keeps follow."""

    name: RuleName
    better_dropped: int = 0
    "trials that scored better than the champion and were dropped"
    worse_kept: int = 0
    "trials that scored no better and were kept"
    bar: tuple[float, float] | None = None
    "rule `bar`: the least gain that is kept lies between these"


def list_steps(trials: Sequence[Trial], direction: Direction) -> list[Step]:
    """Return the trials that have a score, in order.

    The first is the first champion. A later one replaces it if the log says that it was kept; where
    the log says nothing of keeps, if it is better than all before it.
    """
    recorded = is_recorded(trials)
    sign = -1.0 if direction == "down" else 1.0
    steps: list[Step] = []
    champion = 0
    for i, trial in enumerate(trials):
        if trial.score is None:
            continue
        score = sign * trial.score
        gain = score - steps[champion].score if steps else 0.0
        keep = bool(steps) and (trial.kept is True if recorded else gain > 0)
        steps.append(
            Step(index=i, score=score, gain=gain, keep=keep, champion=champion if steps else 0)
        )
        if keep:
            champion = len(steps) - 1
    return steps


def is_recorded(trials: Sequence[Trial]) -> bool:
    """Tell whether the log says of any trial with a score whether it was kept."""
    return any(trial.kept is not None for trial in trials if trial.score is not None)


def infer_direction(trials: Sequence[Trial]) -> Direction:
    """Return where better scores lie, if the recorded keeps can be gains on one side alone."""
    gains = [step.gain for step in list_steps(trials, "up") if step.keep and step.gain != 0]
    up = sum(gain > 0 for gain in gains)
    if not is_recorded(trials) or 2 * up == len(gains):
        return ""
    return "up" if 2 * up > len(gains) else "down"


def infer_rule(trials: Sequence[Trial], steps: Sequence[Step]) -> KeepRule:
    """Return the rule that every recorded decision follows.

    `greedy`: each trial better than its champion was kept, and no other. `bar`: each trial that
    gained more than some bar was kept, and no other. `other`: none of both.
    """
    if not is_recorded(trials):
        return KeepRule(name="not recorded")
    dropped = [step.gain for step in steps[1:] if not step.keep]
    kept = [step.gain for step in steps[1:] if step.keep]
    better, worse = sum(gain > 0 for gain in dropped), sum(gain <= 0 for gain in kept)
    if not better and not worse:
        return KeepRule(name="greedy")
    low, high = max(dropped, default=-math.inf), min(kept, default=math.inf)
    bar = (low, high) if not worse and kept and low < high else None
    name: RuleName = "bar" if bar else "other"
    return KeepRule(name=name, better_dropped=better, worse_kept=worse, bar=bar)


def group_repeats(trials: Sequence[Trial]) -> list[list[float]]:
    """Return the scores of each content that was evaluated more than once, on the same data."""
    groups: dict[tuple[str, str], list[float]] = defaultdict(list)
    for trial in trials:
        if trial.content and trial.score is not None:
            groups[trial.content, trial.group].append(trial.score)
    return [scores for scores in groups.values() if len(scores) > 1]


def measure_noise(groups: Sequence[Sequence[float]]) -> Figure:
    """Return the standard deviation of one evaluation, pooled over groups of repeats.

    Its interval is that of normal noise of the same size in every group (chi-squared). `constant`
    if no repeat ever differed: then the noise was not sampled. n is the degrees of freedom.
    """
    arrays = [np.asarray(group, float) for group in groups if len(group) > 1]
    freedom = sum(len(a) - 1 for a in arrays)
    if not freedom:
        return missing("not measured", "score")
    squares = sum(float(((a - a.mean()) ** 2).sum()) for a in arrays)
    if all(bool((a == a[0]).all()) for a in arrays):
        return Figure(value=0.0, n=freedom, unit="score", word="constant")
    value = math.sqrt(squares / freedom)

    def ends(level: float) -> tuple[float, float]:
        high, low = (float(chi2.ppf((1 + side * level) / 2, freedom)) for side in (-1, 1))
        return math.sqrt(squares / low), math.sqrt(squares / high)

    return figure_of(value, ends, freedom, "score")


def count_by_noise(trials: int) -> Figure:
    """Return the keeps that greedy keeping makes by noise alone, if no trial has any effect.

    The i-th of equally good trials is the best so far with chance 1/i, whatever the noise, and
    independently of the others (Renyi 1962). The interval is of the count itself.
    """
    if trials < 2:
        return missing("not exercised", "keeps", max(0, trials - 1))
    chances = 1 / np.arange(2, trials + 1)
    low, high = range_of_count(count_hits(chances))
    value = float(chances.sum())
    return Figure(value=value, low=low, high=high, n=trials - 1, unit="keeps")


def count_hits(chances: Floats) -> Floats:
    """Return P(k) for the number k of independent events of these chances."""
    result = np.ones(1)
    for chance in chances:
        result = np.append(result * (1 - chance), 0.0) + np.append(0.0, result * chance)
    return result


def range_of_count(chances: Floats) -> tuple[float, float]:
    """Return the smallest and largest count that a tail of 2.5 % leaves."""
    total = np.cumsum(chances) / chances.sum()
    tail = (1 - LEVEL) / 2
    low, high = (int(np.searchsorted(total, q)) for q in (tail, 1 - tail))
    return float(low), float(min(high, len(chances) - 1))


def excess_of_best(trials: int, noise: float) -> float:
    """Return by how much the best of equally good trials exceeds its true score, on average."""
    if trials < 2:
        return 0.0

    def part(x: float) -> float:
        return float(x * trials * norm.pdf(x) * math.exp((trials - 1) * norm.logcdf(x)))

    return noise * float(quad(part, -9, 12, limit=200)[0])


def smallest_gain(pairs: int, noise: float) -> float:
    """Return the true gain that a t test on `pairs` repeats a side sees with probability POWER.

    Two-sided at 5 %, champion and challenger repeated independently.
    """
    need(pairs >= 2, "repeats", pairs, "2 or more")
    freedom = 2 * pairs - 2
    bound = float(student.ppf((1 + LEVEL) / 2, freedom))
    shift = brentq(lambda s: float(nct.sf(bound, freedom, s)) - POWER, 0.1, 60 * bound)
    return float(shift) * noise * math.sqrt(2 / pairs)


def repeats_to_tell(gain: float, noise: float) -> int | None:
    """Return the repeats a side that tell a true gain; None for more than MOST_PAIRS or no gain."""
    if not gain > 0 or smallest_gain(MOST_PAIRS, noise) > gain:
        return None
    low, high = 1, MOST_PAIRS
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if smallest_gain(middle, noise) <= gain else (middle, high)
    return high
