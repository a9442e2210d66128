"""The judge: paired scores and an objective in, a verdict out, criterion by criterion.

Rule: paired one-sided t bound at `level / planned confirmations` (Bonferroni), standard error never below the task's
measured seed deviation x sqrt(2/n). It accepts only what is proven: a missing or non-finite number never passes.
"""

import math
from collections.abc import Sequence

from scipy.stats import t as student

from configs.objective import Objective
from configs.records import Answer, Criterion, Scores, Verdict
from evals.metrics import holds, primary

LEAST_REPLICATES = 4
OVER_BUDGET = 1.25
"""Trainings charged more than this times their plan are over budget and cannot be accepted."""


def judge(
    candidate: Sequence[Scores | None],
    champion: Sequence[Scores | None],
    objective: Objective,
    *,
    confirmations: int,
    seed_deviation: float,
    compute: float,
) -> Verdict:
    """Return the verdict on paired replicates: candidate[i] and champion[i] share a seed; None is a failed replicate.

    `compute` is the charge of the candidate's trainings over their plan, at the machine's pace; above OVER_BUDGET is `over budget`.
    """
    pairs = [(c, b) for c, b in zip(candidate, champion, strict=True) if c is not None and b is not None]
    gains = [primary(objective, c) - primary(objective, b) for c, b in pairs]
    level = objective.alpha / max(1, confirmations)
    complete = len(gains) == len(candidate) >= LEAST_REPLICATES and all(map(math.isfinite, gains))
    mean, low, high = interval(gains, level, seed_deviation) if complete else (None, None, None)
    proven = low is not None and low > objective.minimum_effect
    criteria = [
        _criterion("replicates", complete, float(len(gains)), float(max(LEAST_REPLICATES, len(candidate))), "pairs that counted"),
        _criterion(objective.metric, proven, low, objective.minimum_effect, "lower bound of the gain against the minimum effect"),
        _criterion("planned compute", compute <= OVER_BUDGET, compute, OVER_BUDGET, "charge of the trainings over their plan, at the machine's pace"),
    ]
    for condition in (*objective.secondary, *objective.constraints):
        held, value, bound = holds(condition, pairs, objective)
        criteria.append(_criterion(condition.text(), complete and held, value, bound, "mean over pairs"))
    answer: Answer = "accept" if all(c.passed for c in criteria) else "reject"
    if answer == "reject" and all(c.passed for c in criteria if c.name != objective.metric):
        answer = "inconclusive" if high is not None and high > objective.minimum_effect else "reject"
    return Verdict(answer=answer, criteria=tuple(criteria), gain=mean, low=low, high=high, level=level, replicates=len(gains))


def interval(gains: Sequence[float], level: float, seed_deviation: float) -> tuple[float, float, float]:
    """Return (mean, lower, upper) one-sided t bounds of paired gains at `level` each; n >= 2."""
    n = len(gains)
    mean = sum(gains) / n
    sample = math.sqrt(sum((g - mean) ** 2 for g in gains) / (n - 1) / n)
    reach = float(student.ppf(1 - level, n - 1)) * max(sample, seed_deviation * math.sqrt(2 / n))
    return mean, mean - reach, mean + reach


def _criterion(name: str, passed: bool, value: float | None, bound: float, text: str) -> Criterion:
    finite = value if value is not None and math.isfinite(value) else None
    return Criterion(name=name, passed=passed, value=finite, bound=bound, text=text)
