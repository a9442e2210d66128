"""The judge: paired scores and an objective in, a verdict out, criterion by criterion.

It is called after each added pair and may ask for another. The acceptance rule (evals/rules.py)
runs at this confirmation's share of the campaign's alpha. Only proven gains are accepted: a
missing, non-finite or tied number never passes.
"""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from scipy.stats import t as student

from configs.objective import Objective
from configs.records import Criterion, Scores, Verdict, VerdictAnswer
from evals.accepted_gain import estimate_gain
from evals.metrics import holds, primary
from evals.rules import RULES, Decision, Rule

__all__ = ["OVER_BUDGET", "RULES", "Decision", "Rule", "interval", "judge", "least", "spend"]
OVER_BUDGET = 1.25
"""Trainings charged more than this times their plan are over budget and cannot be accepted."""
CHARGE = "charge of the trainings over their plan, at the machine's pace"


def spend(alpha: float, planned: int, spent: Sequence[float]) -> float:
    """Return the level of the next confirmation: the rest of `alpha`, shared by the planned rest.

    `spent` holds the levels of past confirmations, accepted or not. A skipped confirmation gives
    nothing back, and an extended plan shares the rest. A confirmation beyond the plan gets 0, at
    which no rule accepts.
    """
    left = planned - len(spent)
    return max(0.0, alpha - math.fsum(spent)) / left if left > 0 else 0.0


def judge(
    candidate: Sequence[Scores | None],
    champion: Sequence[Scores | None],
    objective: Objective,
    *,
    level: float,
    seed_deviation: float,
    compute: float,
    most: int = 0,
    effect: float | None = None,
    cautions: bool = True,
) -> Verdict:
    """Return the verdict on paired replicates: candidate[i] and champion[i] share a seed.

    A failed replicate is None. `level` is this confirmation's (`spend`), `most` the planned most
    pairs (0: these are all). The answer is `continue` below `most` while a later pair could still
    decide. `compute` is the charge of the candidate's trainings over their plan, at the machine's
    pace. The gain must exceed `effect`, by default the objective's minimum effect; below 0 it is
    the largest loss that is allowed (non-inferiority). A candidate without a finite score is
    rejected. A champion without one is inconclusive.
    Without `cautions` an accept lacks its corrected gain, which takes most of the time.
    """
    candidates, champions = ([_value(s, objective) for s in side] for side in (candidate, champion))
    gains = [c - b for c, b in zip(candidates, champions, strict=True) if math.isfinite(c - b)]
    effect = objective.minimum_effect if effect is None else effect
    most, complete = max(most, len(candidates)), len(gains) == len(candidates)
    if complete:
        decision = _decide(gains, objective, level, seed_deviation, most, effect)
    else:
        decision = _missing(candidates)
    accepts = decision.answer == "accept"
    criteria = [
        _criterion("replicates", complete, len(gains), len(candidates), "pairs that counted"),
        _criterion(objective.metric, accepts, _mean(gains), effect, decision.text),
        _criterion("planned compute", compute <= OVER_BUDGET, compute, OVER_BUDGET, CHARGE),
        *_conditions(list(zip(candidate, champion, strict=True)), objective, complete),
    ]
    held = all(c.passed for c in criteria if c.name != objective.metric)
    answer: VerdictAnswer = decision.answer if held or not accepts else "reject"
    mean, low, high = _mean(gains), None, None
    if complete and len(gains) > 1:
        mean, low, high = interval(gains, level, seed_deviation)
    verdict = Verdict(
        answer=answer,
        criteria=tuple(criteria),
        gain=mean,
        low=low,
        high=high,
        level=level,
        replicates=len(gains),
        rule=objective.acceptance,
        evidence=decision.evidence if complete else None,
    )
    if answer != "accept" or not cautions:
        return verdict
    return _with_cautions(verdict, gains, objective, seed_deviation, most, effect)


def least(objective: Objective, level: float, most: int) -> int | None:
    """Return the fewest pairs with which the rule can accept, given the largest gains.

    None if it can never accept within `most`.
    """
    rule = RULES[objective.acceptance]
    bounds = rule.asked(level, most)
    best = rule.evidence(
        np.full((1, most), (1.0 if objective.bounded() else 1e6) - objective.minimum_effect),
        objective.minimum_effect,
        1e-3,
    )[0]
    counts = [
        n for n in range(min(objective.first_look, most), most + 1) if best[n - 1] <= bounds[n - 1]
    ]
    return counts[0] if counts else None


def interval(
    gains: Sequence[float], level: float, seed_deviation: float
) -> tuple[float, float | None, float | None]:
    """Return (mean, lower, upper): one-sided t bounds of n >= 2 paired gains at `level` each.

    They are blind to stopping and selection. The standard error is never below `seed_deviation` x
    sqrt(2/n). No bounds at level 0.
    """
    n = len(gains)
    mean = sum(gains) / n
    if level <= 0:
        return mean, None, None
    sample = math.sqrt(sum((g - mean) ** 2 for g in gains) / (n - 1) / n)
    reach = float(student.ppf(1 - level, n - 1)) * max(sample, seed_deviation * math.sqrt(2 / n))
    return mean, mean - reach, mean + reach


def _decide(
    gains: Sequence[float],
    objective: Objective,
    level: float,
    deviation: float,
    most: int,
    effect: float,
) -> Decision:
    if len(gains) < min(objective.first_look, most):
        return Decision(
            answer="continue", evidence=1.0, text=f"first look after {objective.first_look} pairs"
        )
    return RULES[objective.acceptance](
        gains, level=level, effect=effect, deviation=deviation, most=most
    )


def _with_cautions(
    verdict: Verdict,
    gains: Sequence[float],
    objective: Objective,
    deviation: float,
    most: int,
    effect: float,
) -> Verdict:
    estimate = estimate_gain(
        gains,
        rule=objective.acceptance,
        level=verdict.level,
        effect=effect,
        deviation=deviation,
        most=most,
        first_look=objective.first_look,
    )
    shares = objective.bounded()  # null b and betting are about shares
    return replace(
        verdict,
        corrected=estimate.corrected,
        corrected_low=estimate.low,
        corrected_high=estimate.high,
        hidden=estimate.hidden if shares else None,
        bounded=estimate.bounded if shares else None,
    )


def _missing(candidates: Sequence[float]) -> Decision:
    failed = not all(map(math.isfinite, candidates))
    who = "candidate" if failed else "champion"
    return Decision(
        answer="reject" if failed else "inconclusive",
        evidence=1.0,
        text=f"a replicate of the {who} gave no finite score",
    )


def _conditions(
    pairs: Sequence[tuple[Scores | None, Scores | None]], objective: Objective, complete: bool
) -> list[Criterion]:
    both, criteria = [(c, b) for c, b in pairs if c is not None and b is not None], []
    for condition in (*objective.secondary, *objective.constraints):
        held, value, bound = holds(condition, both, objective)
        criteria.append(
            _criterion(condition.text(), complete and held, value, bound, "mean over pairs")
        )
    return criteria


def _value(scores: Scores | None, objective: Objective) -> float:
    return math.nan if scores is None else primary(objective, scores)


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


def _criterion(name: str, passed: bool, value: float | None, bound: float, text: str) -> Criterion:
    finite = float(value) if value is not None and math.isfinite(value) else None
    return Criterion(name=name, passed=passed, value=finite, bound=float(bound), text=text)
