"""Adaptive overfitting: a proposer that climbs the noise of `feedback` by what it is told (Blum and
Hardt 2015, section 4).
"""

import math

import numpy as np
import pytest

from configs.objective import Objective
from configs.records import Scores
from evals.ladder import ladder, release_feedback

N, QUERIES = 400, 500
ERROR = math.sqrt(0.25 / N)


def scored(value):
    return Scores(
        split="feedback",
        items=N,
        exact_match=value,
        token_accuracy=0.5,
        log_odds=0.0,
        parameters=1,
        planned_cpu_us=1,
        measured_cpu_us=1,
    )


def answers(rule, values):
    return release_feedback(
        [scored(v) for v in values], Objective(feedback=rule), looks=QUERIES + 2, deviation=1e-9
    )


def climb(rule, seed):
    """Ask 500 random guesses, keep what was told to be good, ask their majority; return (claimed,
    on gate) gains in standard errors.
    """
    rng = np.random.default_rng(seed)
    truth = {split: rng.integers(0, 2, N) for split in ("feedback", "gate")}
    guesses = rng.integers(
        0, 2, (QUERIES + 1, 2, N)
    )  # both splits: a guess is a rule, it answers every question
    values = (guesses[:, 0] == truth["feedback"]).mean(axis=1)
    said = answers(rule, values)
    votes = np.zeros((2, N))
    for guess, one in zip(guesses[1:], said[1:], strict=True):
        sign = 0.0 if one.score is None else np.sign(one.score - 0.5)
        votes += sign * (2 * guess - 1)
    last = np.where(votes == 0, guesses[0], votes > 0)
    found = [(last[i] == truth[split]).mean() for i, split in enumerate(("feedback", "gate"))]
    final = answers(rule, [*values, found[0]])
    released = [one.score for one in final if one.score is not None]
    claimed = released[-1] if rule == "rounded" else max(released)
    return (claimed - released[0]) / ERROR, (
        found[1] - (guesses[0, 1] == truth["gate"]).mean()
    ) / ERROR


def test_climbing_noise_gains_nothing_with_the_rule_and_much_without():
    off, on = ([climb(rule, seed) for seed in range(20)] for rule in ("rounded", "ladder"))
    beyond = {
        name: np.array([claimed - gate for claimed, gate in rows])
        for name, rows in (("on", on), ("off", off))
    }
    assert (
        np.mean([claimed for claimed, _ in on]) <= 1 and abs(np.mean([gate for _, gate in on])) <= 1
    )
    assert beyond["on"].mean() <= 1 < 8 < beyond["off"].mean(), beyond
    assert (
        np.mean([claimed for claimed, _ in off]) > 8 and abs(np.mean([gate for _, gate in off])) < 1
    )


def test_noise_makes_a_step_in_few_campaigns_and_without_the_margin_in_most():
    rng = np.random.default_rng(2)
    values = rng.binomial(N, 0.5, (400, QUERIES)) / N
    steps = [
        sum(
            one.outcome == "better"
            for one in ladder(row, [N] * QUERIES, looks=QUERIES, deviation=0.0)
        )
        for row in values
    ]
    assert np.mean([s > 0 for s in steps]) <= 0.1
    careless = [
        sum(one.outcome == "better" for one in ladder(row, [N] * QUERIES, looks=2, deviation=0.0))
        for row in values
    ]
    assert np.mean([s > 0 for s in careless]) > 0.5


def test_a_real_step_is_told_rounded_and_what_is_worse_is_not_told_at_all():
    said = answers("ladder", [0.0611, 0.0522, 0.9149, 0.12])
    assert [(one.outcome, one.score) for one in said] == [
        ("first", 0.06),
        ("not better", None),
        ("better", 0.91),
        ("not better", None),
    ]
    assert [one.score for one in answers("rounded", [0.0611, 0.12])] == [0.06, 0.12]


def test_seed_noise_counts_and_failures_are_told_as_such():
    values = [0.1, math.nan, 0.4, 0.95]
    said = ladder(values, [N] * 4, looks=13, deviation=0.0877)
    assert [one.outcome for one in said] == ["first", "failed", "not better", "better"]
    assert [one.outcome for one in ladder(values, [N] * 4, looks=13, deviation=0.001)] == [
        "first",
        "failed",
        "better",
        "better",
    ]


@pytest.mark.parametrize("metric", ["nll", "log_odds"])
def test_what_is_no_share_has_the_noise_of_its_seeds_alone(metric):
    objective = Objective(metric=metric, direction="down" if metric == "nll" else "up")
    trials = [
        Scores(
            **{
                **{name: getattr(scored(0.5), name) for name in Scores.__slots__},
                "nll": 2.0 - i,
                "log_odds": float(i),
            }
        )
        for i in range(2)
    ]
    assert [one.outcome for one in release_feedback(trials, objective, looks=3, deviation=0.1)] == [
        "first",
        "better",
    ]
    assert [one.outcome for one in release_feedback(trials, objective, looks=3, deviation=1.0)] == [
        "first",
        "not better",
    ]
