import math
from dataclasses import replace

import numpy as np
import pytest

from configs.errors import BadInput
from evals.arms import Gain, common, curves, difference, gain, pair_gains, shared_luck


def rows(arm, values, cost=10, repeats=12):
    return [
        Gain(arm=arm, repeat=r, generation=g + 1, planned_cpu_us=cost * (g + 1), value=v)
        for r in range(repeats)
        for g, v in enumerate(values)
    ]


def test_arms_are_compared_at_equal_spent_plan_and_not_at_equal_generations():
    arms = curves(
        [*rows("self", [1.0, 2.0, 3.0, 4.0], cost=10), *rows("random", [2.5, 5.0], cost=20)]
    )
    assert common(arms) == 40
    mine, theirs = pair_gains(arms, "self", "random", 20)
    assert set(mine) == {2.0} and set(theirs) == {2.5}
    assert difference(arms, "self", "random").value == -1.0


def test_where_generations_alone_end_a_study_each_arm_stands_at_its_end():
    arms = curves([*rows("self", [1.0, 2.0], cost=10), *rows("random", [5.0], cost=30)])
    assert common(arms) == 30 and common(arms, ("self",)) == 20
    mine, theirs = pair_gains(arms, "self", "random")
    assert set(mine) == {2.0} and set(theirs) == {5.0}


def test_before_the_first_generation_ends_nothing_is_gained():
    assert set(curves(rows("self", [1.0]))["self"].at(9)) == {0.0}


def test_only_repeats_that_both_arms_have_are_paired():
    arms = curves([*rows("self", [1.0], repeats=12), *rows("refit", [0.5], repeats=11)])
    mine, theirs = pair_gains(arms, "self", "refit")
    assert len(mine) == len(theirs) == 11


def test_a_repeat_that_ended_early_bounds_where_arms_are_compared():
    arms = curves(
        [
            *rows("self", [1.0, 2.0]),
            Gain(arm="self", repeat=12, generation=1, planned_cpu_us=10, value=1.0),
        ]
    )
    assert common(arms) == 10 and gain(arms, "self").value == 1.0


def test_campaigns_of_one_plan_are_compared_when_it_is_used_whatever_its_rest_could_not_hold():
    def given(arm, values, cost, plan):
        return [replace(g, allotted_cpu_us=plan) for g in rows(arm, values, cost)]

    arms = curves([*given("self", [1.0, 2.0], 40, 100), *given("random", [0.5, 1.0, 1.5], 30, 100)])
    assert (
        common(arms) == 100 and difference(arms, "self", "random").value == 0.5
    )  # at 80, all that self spent, random stood at 1.0
    assert (
        common(curves([*given("self", [1.0], 104, 100)])) == 104
    )  # a charge beyond the plan is no reason to forget the generation
    assert (
        common(curves([*given("self", [1.0, 2.0], 40, 100), *given("more", [1.0], 90, 125)])) == 80
    )
    assert set(arms["random"].ends()) == {1.5}


def test_a_missing_twin_is_not_measured_and_a_missing_gain_is_left_out():
    arms = curves([*rows("self", [1.0]), *rows("refit", [math.nan], repeats=1)])
    assert (
        difference(arms, "self", "frozen").word
        == "not measured"
        == difference(arms, "self", "refit").word
    )


def test_spent_plan_that_falls_is_refused():
    with pytest.raises(BadInput, match="never falls"):
        curves(
            [
                Gain(arm="self", repeat=0, generation=g, planned_cpu_us=10 - g, value=0.0)
                for g in (1, 2)
            ]
        )


def sums_of(own, other, repeat):
    """Return the sums of squares of a plan's pairs."""
    own, other = own - own.mean(), other - other.mean()
    return repeat, float(own @ own), float(other @ other), float(own @ other)


def test_the_luck_that_a_pair_shares_is_the_correlation_that_it_was_drawn_with():
    rng = np.random.default_rng(1)
    for shared in (0.0, 0.3, 0.8):
        luck = rng.multivariate_normal([1.0, 2.0], [[1, shared], [shared, 1]], size=(40, 12))
        found = shared_luck([sums_of(*plan.T, repeat) for repeat, plan in enumerate(luck)])
        assert found.low <= shared <= found.high and found.n == 40
        assert abs(found.value - shared) < 0.1
        assert (found.word == "cannot tell") == (shared == 0.0)
    assert shared_luck([]).word == "not measured"
