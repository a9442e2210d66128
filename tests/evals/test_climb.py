"""Depth of a task: told gains, shares and words."""

import math

import numpy as np
import pytest
from scipy import stats

from evals.climb import Climb, Gain, Step, share_of, told_gain

SURE = Gain(value=0.1, low=0.05)


def made(gains=(SURE,) * 7, *, single=0.2, pair=0.3, stalled=False, distance=SURE):
    steps = tuple(Step(knob="depth", value=1, gain=gain, reached=0.5) for gain in gains)
    return Climb(distance=distance, single=single, pair=pair, steps=steps, stalled=stalled)


def test_a_told_gain_is_welch_s():
    rng = np.random.default_rng(1)
    base, other = rng.normal(0, 1, 8), rng.normal(1, 2, 11)
    interval = stats.ttest_ind(other, base, equal_var=False).confidence_interval(0.9)
    gain = told_gain(list(base), list(other))
    assert gain.value == pytest.approx(other.mean() - base.mean())
    assert gain.low == pytest.approx(interval.low)


def test_a_single_seed_tells_no_bound_and_equal_scores_are_exact():
    assert told_gain([1.0], [2.0, 3.0]).low == -math.inf
    assert told_gain([1.0, 1.0], [2.0, 2.0]) == Gain(value=1.0, low=1.0)


def test_the_bound_misses_a_null_in_one_of_twenty():
    rng = np.random.default_rng(2)
    draws = [told_gain(list(rng.normal(size=8)), list(rng.normal(size=8))) for _ in range(4000)]
    missed = np.mean([gain.low > 0 for gain in draws])
    assert 0.038 < missed < 0.062


@pytest.mark.parametrize(
    "climb, word",
    [
        (made(), "deep"),
        (made((SURE,) * 5), "shallow"),
        (made((SURE,) * 5 + (Gain(value=0.1, low=0.0),)), "shallow"),
        (made(single=0.34), "shallow"),
        (made(pair=0.51), "shallow"),
        (made(stalled=True), "stalled"),
        (made(distance=Gain(value=0.1, low=0.0)), "shallow"),
    ],
)
def test_the_word_follows_the_steps_that_count_and_the_shares(climb, word):
    assert climb.word() == word


def test_a_share_of_nothing_is_infinite():
    assert share_of(SURE, Gain(value=0.0, low=-1.0)) == math.inf
    assert share_of(SURE, Gain(value=0.4, low=0.3)) == pytest.approx(0.25)
