import math
from dataclasses import replace

import numpy as np
import pytest

from configs.objective import Constraint, Objective
from configs.records import Scores
from evals.judge import interval, judge

ONE = Scores(split="gate", items=400, exact_match=0.5, token_accuracy=0.8, log_odds=0.0, parameters=10, planned_cpu_us=1, measured_cpu_us=1)


def scores(*values):
    return [None if v is None else replace(ONE, exact_match=v) for v in values]


def verdict(candidate, champion, objective=Objective(), **kw):  # noqa: B008
    kw = {"confirmations": 3, "seed_deviation": 0.05, "compute": 1.0, **kw}
    return judge(candidate, champion, objective, **kw)


def test_a_clear_gain_is_accepted_and_its_interval_told():
    v = verdict(scores(0.9, 0.92, 0.95, 0.91), scores(0.1, 0.15, 0.1, 0.12))
    assert v.answer == "accept" and v.low > 0.5


@pytest.mark.parametrize("bad", [None, math.nan, math.inf])
def test_a_missing_or_non_finite_number_never_passes(bad):
    assert verdict(scores(0.9, 0.9, 0.9, bad), scores(0.1, 0.1, 0.1, 0.1)).answer == "reject"


def test_fewer_than_four_pairs_never_pass():
    assert verdict(scores(0.9, 0.9, 0.9), scores(0.1, 0.1, 0.1)).answer == "reject"


def test_identical_gains_do_not_make_a_zero_error():
    same = verdict(scores(0.2, 0.2, 0.2, 0.2), scores(0.1, 0.1, 0.1, 0.1))
    assert same.answer == "inconclusive"
    assert verdict(scores(0.2, 0.2, 0.2, 0.2), scores(0.1, 0.1, 0.1, 0.1), seed_deviation=1e-6).answer == "accept"


def test_over_budget_and_broken_constraints_are_rejected():
    good, base = scores(0.9, 0.9, 0.95, 0.9), scores(0.1, 0.1, 0.1, 0.1)
    assert verdict(good, base, compute=1.25).answer == "accept"
    assert verdict(good, base, compute=1.2501).answer == "reject"
    assert verdict(good, base, compute=math.nan).answer == "reject"
    assert verdict(good, base, Objective(constraints=(Constraint(metric="parameters", at_most=5.0),))).answer == "reject"
    assert verdict(good, base, Objective(constraints=(Constraint(metric="parameters", at_most=50.0),))).answer == "accept"


def test_the_level_is_split_over_planned_confirmations():
    low_one = interval([0.1, 0.2, 0.15, 0.12], 0.05, 0.01)[1]
    low_ten = interval([0.1, 0.2, 0.15, 0.12], 0.005, 0.01)[1]
    assert low_ten < low_one


def test_false_accepts_on_a_null_stay_at_the_level():
    rng, n = np.random.default_rng(3), 3000
    draws = rng.normal(0.5, 0.05, (n, 2, 4))
    accepted = sum(verdict(scores(*d[0]), scores(*d[1]), confirmations=1).answer == "accept" for d in draws)
    assert accepted / n < 0.06
