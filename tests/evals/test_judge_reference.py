"""Judge and rules against independent references: mutants that other tests let live fail here."""

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import nct, norm, ttest_1samp
from scipy.stats import t as student

from configs.objective import Objective
from configs.records import Scores
from evals.accepted_gain import estimate_gain
from evals.judge import interval, judge
from evals.rules import RULES

GAINS = np.array([0.31, -0.12, 0.4, 0.22, 0.05, 0.17])


def evidence(rule, gains=GAINS, effect=0.0, deviation=0.05):
    return RULES[rule].evidence(np.asarray(gains)[None, :], effect, deviation)[0]


def test_the_paired_test_is_student_s_with_a_floor_under_the_error():
    p = evidence("paired_t", deviation=1e-9)
    assert p[0] == 1
    for n in range(2, 7):
        assert p[n - 1] == pytest.approx(ttest_1samp(GAINS[:n], 0, alternative="greater").pvalue)
    floored = student.sf(GAINS.mean() / (3 * math.sqrt(2 / 6)), 5)
    assert evidence("paired_t", deviation=3)[-1] == pytest.approx(floored)


def test_the_mixture_is_the_mean_likelihood_ratio_of_student_s_t():
    shares = (np.arange(16) + 0.5) / 32
    drifts = 2 * norm.ppf(0.5 + shares)
    p = evidence("t_mixture", deviation=1e-9)
    assert p[0] == 1
    for n in range(2, 7):
        t = GAINS[:n].mean() / (GAINS[:n].std(ddof=1) / math.sqrt(n))
        ratios = nct.pdf(t, n - 1, drifts * math.sqrt(n)) / student.pdf(t, n - 1)
        assert 1 / p[n - 1] == pytest.approx(ratios.mean(), rel=1e-6)


def test_sign_flips_bet_on_each_gain_by_the_scale_of_those_before():
    for n in range(1, 7):
        scale = [math.sqrt((2 * 0.05**2 + sum(GAINS[:i] ** 2)) / (i + 1)) for i in range(n)]
        bets = [np.prod(1 + np.tanh(c * GAINS[:n] / scale)) for c in (0.25, 0.5, 1.0, 2.0, 4.0)]
        assert 1 / evidence("sign_flip")[n - 1] == pytest.approx(np.mean(bets))


@pytest.mark.parametrize("effect", [0.0, 0.25])
def test_betting_is_the_mean_of_twelve_bets_that_the_effect_makes_smaller(effect):
    bets = np.linspace(0.05, 0.99, 12) / (1 + effect)
    for n in range(1, 7):
        wealth = np.mean([np.prod(1 + bet * GAINS[:n]) for bet in bets])
        assert 1 / evidence("betting", effect=effect)[n - 1] == pytest.approx(wealth)


def test_greedy_looks_at_the_sum_so_far_and_a_tie_is_no_gain():
    assert list(evidence("greedy", [0.25, -0.5, 0.25, 0.5, -0.75])) == [0, 1, 1, 0, 1]


def test_group_sequential_spends_in_whole_patterns_at_three_looks():
    asked = RULES["group_sequential"].asked(0.05, 12)
    looks = {6: 1 / 64, 9: 9 / 512, 12: 68 / 4096}
    assert {n + 1: bound for n, bound in enumerate(asked) if bound >= 0} == looks
    asked = RULES["group_sequential"].asked(0.05, 11)  # too few pairs for a look midway
    assert [n + 1 for n, bound in enumerate(asked) if bound >= 0] == [6, 11]


def scores(*values):
    blank = Scores(
        split="confirm",
        items=400,
        exact_match=0.5,
        token_accuracy=0.8,
        log_odds=0.0,
        parameters=10,
        planned_cpu_us=1,
        measured_cpu_us=1,
    )
    return [None if value is None else replace(blank, exact_match=value) for value in values]


def decided(candidate, champion, objective=Objective(), **settings):  # noqa: B008
    known = {"level": 0.02, "seed_deviation": 0.05, "compute": 1.0}
    return judge(candidate, champion, objective, **known | settings)


GOOD, BASE = scores(0.9, 0.93, 0.91, 0.97), scores(0.1, 0.12, 0.15, 0.11)


def test_the_interval_is_student_s_with_a_floor_and_none_without_a_level():
    gains = [0.1, 0.2, 0.15, 0.12]
    mean, low, high = interval(gains, 0.05, 1e-9)
    assert (low, high) == pytest.approx(ttest_1samp(gains, 0).confidence_interval(0.9))
    reach = student.ppf(0.95, 3) * 2 * math.sqrt(2 / 4)
    assert interval(gains, 0.05, 2) == pytest.approx((mean, mean - reach, mean + reach))
    assert interval(gains, 0.0, 2) == (pytest.approx(0.1425), None, None)


def test_a_verdict_holds_every_criterion_with_its_value_and_bound():
    objective = Objective(acceptance="paired_t", minimum_effect=0.01)
    v = decided(GOOD, BASE, objective, compute=1.1)
    rows = [(c.name, c.passed, c.value, c.bound) for c in v.criteria[:3]]
    assert rows == [
        ("replicates", True, 4, 4),
        ("exact_match", True, pytest.approx(0.8075), 0.01),
        ("planned compute", True, 1.1, 1.25),
    ]
    gains = [c.exact_match - b.exact_match for c, b in zip(GOOD, BASE, strict=True)]
    assert (v.gain, v.low, v.high) == pytest.approx(interval(gains, 0.02, 0.05))
    assert (v.rule, v.level, v.replicates) == ("paired_t", 0.02, 4)
    assert decided(GOOD[:1], BASE[:1], most=4).gain == pytest.approx(0.8)
    missing = decided([None], BASE[:1])
    assert missing.gain is None and missing.criteria[0].bound == 1


def test_an_accept_carries_the_figures_beside_it_and_a_reject_none():
    objective = Objective(acceptance="paired_t", minimum_effect=0.01)
    v = decided(GOOD, BASE, objective)
    gains = [c.exact_match - b.exact_match for c, b in zip(GOOD, BASE, strict=True)]
    b = estimate_gain(
        gains,
        rule="paired_t",
        level=0.02,
        effect=0.01,
        deviation=0.05,
        most=4,
        first_look=objective.first_look,
    )
    assert (v.corrected, v.corrected_low, v.corrected_high) == (b.corrected, b.low, b.high)
    assert (v.hidden, v.bounded) == (b.hidden, b.bounded)
    v = decided(BASE, GOOD, objective)
    assert v.answer == "reject" and (v.corrected, v.hidden, v.bounded) == (None, None, None)
