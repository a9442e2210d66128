import math
from dataclasses import replace

import pytest

from configs.objective import Constraint, Objective
from configs.records import Scores
from evals.metrics import floor, holds, log_odds, primary, read_metric, skill, spread

ONE = Scores(
    split="confirm",
    items=400,
    exact_match=0.5,
    token_accuracy=0.8,
    log_odds=0.0,
    parameters=10,
    planned_cpu_us=1,
    measured_cpu_us=1,
    inference_cpu_us=50,
    nll=1.5,
    calibration_error=0.1,
    slices={"carries": 0.3, "longer": 0.1},
)


@pytest.mark.parametrize(
    ("objective", "value"),
    [
        (Objective(), 0.5),
        (Objective(metric="nll", direction="down"), -1.5),
        (Objective(metric="robustness"), 0.1),
        (Objective(scale="log_odds"), 0.0),
        (Objective(metric="calibration_error", direction="down"), -0.1),
        (Objective(metric="weighted", weights={"exact_match": 0.5, "calibration_error": 0.5}), 0.7),
    ],
)
def test_the_primary_metric_is_larger_where_it_is_better(objective, value):
    assert primary(objective, ONE) == pytest.approx(value)


def test_log_odds_are_finite_at_the_ceiling_and_at_nothing():
    top, bottom = (
        primary(Objective(scale="log_odds"), replace(ONE, exact_match=v)) for v in (1.0, 0.0)
    )
    assert top == -bottom == pytest.approx(math.log(801))


def test_what_is_missing_is_not_a_number_and_holds_nothing():
    bare = replace(ONE, nll=None, slices={})
    assert all(
        map(
            math.isnan,
            (
                read_metric(bare, "nll"),
                read_metric(bare, "robustness"),
                read_metric(bare, "exact_match", "carries"),
            ),
        )
    )
    wanted = (
        Constraint(metric="nll", at_most=9.0),
        Constraint(slice="carries", no_loss=0.5),
        Constraint(metric="robustness", at_least=0.01),
    )
    for condition in wanted:
        assert not holds(condition, [(bare, ONE)] * 4, Objective())[0]
    assert not holds(Constraint(metric="nll", at_most=9.0), [], Objective())[0]


@pytest.mark.parametrize(
    ("condition", "held"),
    [
        (Constraint(metric="parameters", at_most=10.0), True),
        (Constraint(metric="parameters", at_most=9.0), False),
        (Constraint(metric="inference_cpu_us", at_most=49.0), False),
        (Constraint(metric="token_accuracy", at_least=0.8), True),
        (Constraint(slice="carries", no_loss=0.1), False),
        (Constraint(slice="carries", no_loss=0.21), True),
        (Constraint(metric="nll", no_loss=0.4), False),
        (Constraint(metric="nll", no_loss=0.6), True),
        (Constraint(metric="spread", at_most=0.0), True),
    ],
)
def test_a_condition_holds_over_the_mean_of_the_pairs(condition, held):
    champion = replace(ONE, nll=1.0, slices={"carries": 0.5, "longer": 0.1})
    assert holds(condition, [(ONE, champion)] * 4, Objective())[0] is held


def test_spread_is_over_seeds_and_needs_two():
    pairs = [(replace(ONE, exact_match=v), ONE) for v in (1.0, 1.0, 0.1)]
    assert holds(Constraint(metric="spread", at_most=0.3), pairs, Objective())[:2] == (
        False,
        pytest.approx(spread([1.0, 1.0, 0.1])),
    )
    assert math.isnan(spread([1.0]))


def test_a_proposer_has_skill_if_it_ranks_its_own_gains():
    assert skill([0.1, 0.2, 0.3, 0.4], [0.0, 0.1, 0.2, 0.9]) == pytest.approx(1)
    assert skill([0.4, 0.3, 0.2], [0.0, 0.1, 0.2]) == pytest.approx(-1)
    assert skill([0.1, 0.2], [0.1, 0.2]) is None and skill([0.1] * 5, [1, 2, 3, 4, 5]) is None


def test_the_floor_of_a_share_is_its_worst_and_other_metrics_need_one_of_their_own():
    assert floor(Objective(), 100) == 0.0
    assert floor(Objective(scale="log_odds"), 100) == log_odds(0.0, 100)
    worst = Objective(metric="calibration_error", direction="down")
    assert floor(worst, 100) == -1.0
    bits = Objective(metric="bits", direction="down")
    assert math.isnan(floor(bits, 100)) and floor(replace(bits, floor=6.6), 100) == -6.6
