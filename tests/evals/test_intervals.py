import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import isotonic_regression
from scipy.stats import binom

from configs.errors import BadInput
from evals.equivalents import monotone
from evals.intervals import (
    FEWEST,
    bootstrap,
    cap_at_ceiling,
    mark_unclear,
    mean,
    missing,
    pairs,
    ratio,
    share,
)
from evals.pace import per_event

NOISE = {
    "normal": (lambda rng, n: rng.standard_normal(n), 0.0),
    "heavy": (lambda rng, n: rng.standard_t(3, n), 0.0),
    "skewed": (lambda rng, n: rng.exponential(size=n), 1.0),
    "seldom": (lambda rng, n: rng.normal(0.05, 0.01, n) * (rng.random(n) < 0.22), 0.011),
}
"""Kind -> draw, mean; seldom: as gains of a loop that accepts in one campaign of five."""


@pytest.mark.parametrize("kind", NOISE)
def test_a_mean_s_interval_covers_at_ten_repeats(kind):
    draw, truth = NOISE[kind]
    rng, studies = np.random.default_rng(5), 400
    figures = [mean(draw(rng, FEWEST), "x") for _ in range(studies)]
    held = sum(f.low is None or f.low <= truth <= f.high for f in figures)
    assert binom.ppf(0.001, studies, 0.95) <= held


def test_the_plain_percentile_bootstrap_does_not_cover_skewed_repeats():
    """Why a mean takes the wider of Student and the studentized bootstrap."""
    rng, held = np.random.default_rng(5), 0
    for _ in range(400):
        x = rng.exponential(size=FEWEST)
        drawn = np.sort(rng.choice(x, (1000, FEWEST)).mean(axis=1))
        held += drawn[25] <= 1.0 <= drawn[974]
    assert held < binom.ppf(0.001, 400, 0.95)


def test_zeros_alone_bound_neither_a_mean_nor_a_ratio():
    for figure in (mean([0.0] * 100, "x"), ratio([0.0] * 10, [1.0] * 10, "x", neutral=0.0)):
        assert (figure.value, figure.low, figure.high, figure.word) == (
            0,
            None,
            None,
            "cannot tell",
        )
    assert mean([0.0] * 12, "x", neutral=None).high == 0
    assert mean([0.1] * 12, "x").low == pytest.approx(0.1)


def test_an_interval_that_holds_the_neutral_value_cannot_tell():
    assert mean([-1.0, 1.0] * 6, "x").word == "cannot tell"
    assert mean([1.0, 1.1] * 6, "x").word == "" and mean([1.0, 1.1] * 6, "x").over(0.9)
    assert mean([1.0, 1.1] * 6, "x", neutral=None).word == ""


def test_few_repeats_decide_nothing_whatever_they_show():
    few = mean([1.0, 1.1, 1.05] * 3, "x")
    assert few.n == 9 and few.word == "cannot tell" and few.low is not None and not few.over(0.0)
    assert mean([1.0], "x").low is None and mean([], "x").word == "not measured"


def test_a_repeat_that_misses_a_number_leaves_both_sides():
    one, other = pairs([1.0, float("nan"), 3.0], [1.0, 2.0, float("inf")])
    assert one.tolist() == [1.0] and other.tolist() == [1.0]
    with pytest.raises(BadInput, match="as many values in each"):
        pairs([1.0], [1.0, 2.0])


def test_fieller_s_set_is_unbounded_where_the_denominator_may_be_zero():
    rng = np.random.default_rng(0)
    assert ratio(rng.standard_normal(12), rng.standard_normal(12), "x").word == "cannot tell"
    assert ratio(rng.standard_normal(12), rng.standard_normal(12), "x").low is None
    sharp = ratio(2 + 0.01 * rng.standard_normal(12), 1 + 0.01 * rng.standard_normal(12), "x")
    assert sharp.low < 2 < sharp.high and sharp.over(1.9)


def test_the_bootstrap_covers_a_ratio_of_sums():
    rng, held = np.random.default_rng(2), 0
    for _ in range(300):
        a, b = 2 + 0.5 * rng.standard_normal(12), 4 + 0.5 * rng.standard_normal(12)
        figure = bootstrap(lambda w, a=a, b=b: w @ a / (w @ b), 12, "x")
        held += figure.low <= 0.5 <= figure.high
    assert binom.ppf(0.001, 300, 0.95) <= held


def test_bootstrap_draws_without_a_value_open_the_interval():
    x = np.array([0.0] * 11 + [1.0])
    with np.errstate(divide="ignore"):
        figure = bootstrap(lambda w: np.log(w @ x), 12, "x")
    assert figure.low is None and figure.word == "cannot tell"


def test_zero_events_in_n_are_at_least_a_third_of_n():
    figure = per_event(300, 0, "generations")
    assert (
        figure.value is None
        and figure.word == "at least"
        and figure.low == pytest.approx(300 / 3, rel=0.002)
    )
    five = per_event(100, 5, "generations")
    assert (five.low, five.value, five.high) == (
        pytest.approx(100 / 11.668, rel=1e-3),
        20,
        pytest.approx(100 / 1.6235, rel=1e-3),
    )  # Garwood 1936
    assert per_event(0, 0, "x").word == "not exercised"


def test_a_share_is_clopper_and_pearson_s_and_zero_of_zero_is_not_exercised():
    assert share(0, 59).high == pytest.approx(0.0606, abs=1e-3) and share(
        59, 59
    ).low == pytest.approx(1 - 0.0606, abs=1e-3)
    assert share(0, 0).value is None and share(0, 0).word == "not exercised"
    with pytest.raises(BadInput):
        share(2, 1)


def test_where_champions_score_as_the_best_known_nothing_is_left_to_differ_by():
    clear, wide = mean([1.0, 1.1] * 6, "x"), mean([-1.0, 1.1] * 6, "x")
    for figure in (clear, wide):
        near = cap_at_ceiling(figure, [2.9] * 12, 3.0, 0.1)
        assert near.word == "saturated" and not near.over(-9.0) and near.value == figure.value
        assert cap_at_ceiling(figure, [3.05] * 12, 3.0, 0.1).word == "saturated"
        # A best known score that is clearly beaten is no ceiling.
        for scores, ceiling in (([2.85] * 12, 3.0), ([3.2] * 12, 3.0), ([], 3.0), ([3.0], None)):
            assert cap_at_ceiling(figure, scores, ceiling, 0.1) == figure
    absent = missing("not measured")
    assert cap_at_ceiling(absent, [3.0] * 12, 3.0, 0.1) == absent


def test_a_missing_figure_is_never_over_anything():
    assert (
        not missing("not measured").over(-1e9)
        and mark_unclear(missing(""), 0.0).word == "cannot tell"
    )


@given(st.lists(st.floats(-100, 100), min_size=1, max_size=9))
def test_the_monotone_fit_is_scipy_s(values):
    assert monotone(np.array([values]))[0] == pytest.approx(isotonic_regression(values).x, abs=1e-9)


def test_every_figure_and_what_is_decided_by_it_is_plain_json():
    rng = np.random.default_rng(1)
    a, b = rng.normal(2, 0.1, 12), rng.normal(1, 0.1, 12)
    made = [
        ratio(a, b, ""),
        mean(a, ""),
        bootstrap(lambda w: w @ a / w.sum(axis=1), 12, ""),
        share(3, 9),
        per_event(9, 3, ""),
    ]
    for one in made:
        assert {type(v) for v in (one.value, one.low, one.high)} == {float} and type(
            one.over(0.0)
        ) is bool


def test_beside_cannot_tell_stands_what_would_have_been_seen():
    """Studies with a true effect of that size say so in four of five."""
    rng = np.random.default_rng(11)
    blind = [mean(rng.normal(0, 1, 12), "") for _ in range(300)]
    sees = np.nanmean([figure.sees or np.nan for figure in blind])
    found = [mean(rng.normal(sees, 1, 12), "").over() for _ in range(400)]
    assert 0.7 < np.mean(found) < 0.9
    clear = mean(rng.normal(5, 1, 12), "")
    assert clear.sees is None and clear.word == ""
