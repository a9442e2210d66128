import math
from dataclasses import replace

import numpy as np
import pytest

from configs.errors import BadInput
from configs.objective import Constraint, Objective
from configs.records import Scores
from evals.judge import interval, judge, least, spend
from evals.rules import RULES

ONE = Scores(
    split="confirm",
    items=400,
    exact_match=0.5,
    token_accuracy=0.8,
    log_odds=0.0,
    parameters=10,
    planned_cpu_us=1,
    measured_cpu_us=1,
)
LEVEL = 0.05 / 3


def scores(*values):
    return [None if v is None else replace(ONE, exact_match=v) for v in values]


def verdict(candidate, champion, objective=Objective(), **kw):  # noqa: B008
    return judge(
        candidate,
        champion,
        objective,
        **{"level": LEVEL, "seed_deviation": 0.05, "compute": 1.0, **kw},
    )


GOOD, BASE = scores(*np.linspace(0.9, 0.97, 8)), scores(*np.linspace(0.1, 0.15, 8))


def test_a_clear_gain_is_accepted_and_its_interval_told():
    v = verdict(GOOD, BASE)
    assert (
        v.answer == "accept"
        and v.low > 0.5
        and v.rule == "group_sequential"
        and v.evidence <= LEVEL
    )


def test_a_verdict_says_by_which_rule_and_against_which_bound():
    texts = {c.name: c.text for c in verdict(GOOD, BASE).criteria}
    assert texts["exact_match"].startswith("group_sequential: p <= ")
    assert (
        texts["planned compute"] == "charge of the trainings over their plan, at the machine's pace"
    )
    assert texts["replicates"] == "pairs that counted"


def test_only_shares_have_figures_about_shares():
    """`hidden` and `bounded` assume gains between -1 and 1; log-odds know no such bounds."""
    fair = verdict(GOOD, BASE)
    assert fair.hidden is not None and fair.bounded is not None
    odds = [[replace(s, log_odds=s.exact_match) for s in side] for side in (GOOD, BASE)]
    wide = verdict(*odds, Objective(metric="log_odds"))
    assert wide.answer == "accept" and wide.hidden is None and wide.bounded is None


def test_pairs_are_added_until_the_rule_decides():
    answers = [verdict(GOOD[:n], BASE[:n], most=8).answer for n in range(1, 8)]
    assert answers == ["continue"] * 6 + ["accept"]
    assert (
        verdict(BASE[:4], GOOD[:4], most=8).answer == "reject"
    )  # no look can accept any more: no pair is wasted
    mixed = verdict(scores(0.2, 0.0, 0.2, 0.0), scores(0.1, 0.1, 0.0, 0.1), most=6)
    assert mixed.answer == "inconclusive" and mixed.gain > 0


def test_no_rule_is_asked_before_the_first_look():
    eager = Objective(acceptance="greedy", first_look=3)
    assert [verdict(GOOD[:n], BASE[:n], eager, most=8).answer for n in (1, 2)] == ["continue"] * 2
    assert verdict(GOOD[:1], BASE[:1], replace(eager, first_look=1), most=8).answer == "accept"


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("bad", [None, math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("most", [4, 8, 12])
def test_a_missing_or_non_finite_number_never_passes(rule, bad, most):
    objective, other = Objective(acceptance=rule), scores(*[0.1] * 4)
    v = verdict(scores(0.9, 0.9, 0.9, bad), other, objective, most=most)
    assert v.answer == "reject" and v.evidence is None
    assert (
        verdict(scores(*[0.9] * 4), scores(0.1, 0.1, 0.1, bad), objective, most=most).answer
        == "inconclusive"
    )


@pytest.mark.parametrize("rule", RULES)
def test_ties_and_a_champion_at_its_ceiling_are_never_accepted(rule):
    objective = Objective(acceptance=rule, first_look=1)
    for n in range(1, 13):
        assert (
            verdict(scores(*[0.5] * n), scores(*[0.5] * n), objective, most=12).answer != "accept"
        )
        assert (
            verdict(scores(*[1.0] * n), scores(*[1.0] * n), objective, most=12).answer != "accept"
        )
    assert verdict(scores(*[0.5] * 12), scores(*[0.5] * 12), objective).answer == "reject"


@pytest.mark.parametrize("rule", ["paired_t", "t_mixture"])
def test_identical_gains_do_not_make_a_zero_error(rule):
    few = scores(*[0.2] * 4), scores(*[0.1] * 4)
    assert verdict(*few, Objective(acceptance=rule)).answer == "inconclusive"
    assert (
        verdict(*few, Objective(acceptance=rule), seed_deviation=1e-9).answer == "accept"
    )  # the floor is what holds it


def test_over_budget_and_broken_constraints_are_rejected():
    assert verdict(GOOD, BASE, compute=1.25).answer == "accept"
    assert verdict(GOOD, BASE, compute=1.2501).answer == "reject"
    assert verdict(GOOD, BASE, compute=math.nan).answer == "reject"
    assert (
        verdict(
            GOOD, BASE, Objective(constraints=(Constraint(metric="parameters", at_most=5.0),))
        ).answer
        == "reject"
    )
    assert (
        verdict(
            GOOD, BASE, Objective(constraints=(Constraint(metric="parameters", at_most=50.0),))
        ).answer
        == "accept"
    )
    assert (
        verdict(GOOD[:2], BASE[:2], compute=9.0, most=8).answer == "continue"
    )  # the pace is judged on what was proven


def test_alpha_is_split_over_the_planned_confirmations_and_not_re_earned():
    assert spend(0.05, 10, []) == pytest.approx(0.005)
    assert spend(0.05, 10, [0.005] * 9) == pytest.approx(0.005)
    assert spend(0.05, 10, [0.005] * 10) == 0
    levels = [0.005] * 5  # an amendment doubles the plan after five: the rest shares what is left
    while len(levels) < 20:
        levels.append(spend(0.05, 20, levels))
    assert math.fsum(levels) == pytest.approx(0.05) and levels[-1] == pytest.approx(0.025 / 15)
    assert verdict(GOOD, BASE, level=0.0).answer != "accept"


def test_a_rule_that_could_never_accept_is_found_before_the_study():
    assert (
        least(Objective(), 0.005, 12) == 9
        and least(Objective(), 0.005, 8) == 8
        and least(Objective(), 0.005, 7) is None
    )
    assert least(Objective(acceptance="betting"), 0.005, 12) == 10
    with pytest.raises(BadInput, match="at most 20 with group_sequential"):
        least(Objective(), 0.005, 30)
    assert least(Objective(acceptance="sign_flip"), 0.005, 30) is not None


def test_the_naive_interval_is_wider_at_a_smaller_level():
    assert (
        interval([0.1, 0.2, 0.15, 0.12], 0.005, 0.01)[1]
        < interval([0.1, 0.2, 0.15, 0.12], 0.05, 0.01)[1]
    )
