"""Does a loop dismantle its own proposer: campaigns whose shares and gains are known."""

import math

import numpy as np
import pytest

from evals.proposing import (
    Proposing,
    by_generation,
    proposed_apart,
    proposed_gain,
    share_kept,
)

NAN, RANGE = math.nan, (0.05, 0.1)


def campaigns(count=12, shares=(0.1, 0.1, 0.05), gains=(0.2, 0.1), spread=0.01, seed=1):
    rng = np.random.default_rng(seed)
    return [
        Proposing(
            repeat=repeat,
            shares=shares,
            range=RANGE,
            gains=tuple(gain + rng.normal(0, spread) for gain in gains),
        )
        for repeat in range(count)
    ]


def test_a_loop_that_halves_the_notebook_keeps_half_of_the_share():
    half, whole = campaigns(), campaigns(shares=(0.1, 0.1))
    mixed = [*half[:6], *whole[6:]]
    whole_loss = share_kept(half)
    assert whole_loss.value == pytest.approx(0.5) and whole_loss.high < 1
    figure = share_kept(mixed)
    assert figure.value == pytest.approx(0.75) and figure.low > 0.5 and figure.high < 1
    assert figure.word == ""


def test_without_a_notebook_in_the_baseline_no_share_is_kept():
    figure = share_kept(campaigns(shares=(0.0, 0.1)))
    assert figure.value is None and figure.word == "undefined"
    assert share_kept([]).word == "not measured"


def test_arms_are_compared_in_the_same_repeat_and_from_the_second_generation_on():
    luck = np.random.default_rng(5).normal(0, 1.0, 12)
    own = [
        Proposing(repeat=r, shares=(0.1,), range=RANGE, gains=(9.0, x - 0.1, x))
        for r, x in enumerate(luck)
    ]
    other = [
        Proposing(repeat=r, shares=(0.1,), range=RANGE, gains=(0.0, x, x + 0.1))
        for r, x in enumerate(luck)
    ]
    figure = proposed_apart(own, other[::-1])
    # Each repeat differs by 0.1, whatever its luck; the first generation is no comparison.
    assert figure.value == pytest.approx(-0.1) and figure.high < 0 and figure.n == 12
    alone = proposed_apart(own, other[:6])
    assert alone.n == 6
    assert proposed_apart(own, []).word == "not measured"


def test_a_generation_without_a_gain_on_one_side_is_left_out_of_both():
    own = [Proposing(repeat=0, shares=(0.1,), range=RANGE, gains=(0.0, 5.0, 0.3))]
    other = [Proposing(repeat=0, shares=(0.1,), range=RANGE, gains=(0.0, NAN, 0.1))]
    assert proposed_apart(own, other).value == pytest.approx(0.2)


def test_the_gain_of_an_arm_weighs_its_campaigns_alike():
    ones = [
        Proposing(repeat=0, shares=(0.1,), range=RANGE, gains=(1.0,)),
        Proposing(repeat=1, shares=(0.1,), range=RANGE, gains=(0.0, 0.0, NAN)),
    ]
    assert proposed_gain(ones).value == pytest.approx(0.5)
    nothing = [Proposing(repeat=0, shares=(0.1,), range=RANGE, gains=(NAN,))]
    assert proposed_gain(nothing).value is None and proposed_gain(nothing).word == "not measured"


def test_an_ended_campaign_keeps_its_share_and_proposes_nothing():
    ones = [
        Proposing(repeat=0, shares=(0.1, 0.05), range=RANGE, gains=(0.4,)),
        Proposing(repeat=1, shares=(0.1, 0.1, 0.2), range=RANGE, gains=(0.2, 0.6)),
    ]
    rows = {generation: (share, gain) for generation, share, gain in by_generation(ones)}
    assert [rows[at][0].value for at in range(3)] == pytest.approx([0.1, 0.075, 0.125])
    assert rows[0][1].value is None
    assert [(rows[at][1].value, rows[at][1].n) for at in (1, 2)] == [
        (pytest.approx(0.3), 2),
        (pytest.approx(0.6), 1),
    ]


def test_the_interval_of_a_share_of_two_values_covers_though_all_repeats_may_be_alike():
    """The truth is the law's mean; Student's interval would be a point in every third study."""
    rng, covered, studies = np.random.default_rng(6), 0, 400
    for _ in range(studies):
        halved = rng.random(10) < 0.9
        ones = [
            Proposing(repeat=r, shares=(0.1, 0.05 if half else 0.1), range=RANGE, gains=())
            for r, half in enumerate(halved)
        ]
        figure = share_kept(ones)
        covered += figure.low <= 0.55 <= figure.high
    assert covered / studies >= 0.95


def test_where_no_proposal_can_change_the_share_it_is_kept_exactly():
    ones = [Proposing(repeat=r, shares=(0.1, 0.1), range=(0.1, 0.1), gains=()) for r in range(10)]
    figure = share_kept(ones)
    assert (figure.value, figure.low, figure.high) == (1, 1, 1)
