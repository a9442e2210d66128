"""The weighing of a log's keeps, held against loops whose truth is planted."""

from functools import cache

import numpy as np
import pytest
from foreign import plant

from evals.false_keeps import MOST_KEEPS, weigh
from evals.trial_logs import Step, list_steps

LOGS = 30


@cache
def play(world, noise=0.01):
    """Return (planted loop, weighed log) for seeds whose loop kept anything."""
    loops = [plant(world, [7, seed], noise=noise) for seed in range(LOGS)]
    return [(loop, weigh(list_steps(loop.trials, "up"), noise)) for loop in loops if loop.keeps]


def held(pairs, name, truth):
    return np.mean([getattr(w, name).low <= truth(p) <= getattr(w, name).high for p, w in pairs])


@pytest.mark.parametrize("world", ["no effect", "mostly harm", "zeros and gains"])
def test_where_many_effects_are_zero_the_expected_false_keeps_are_those_that_happened(world):
    pairs = play(world)
    real = np.array([p.false for p, _ in pairs], float)
    told = np.array([w.false_keeps.value for _, w in pairs])
    assert abs(told.mean() - real.mean()) < 0.2 * real.mean()
    assert held(pairs, "false_keeps", lambda p: p.false) >= 0.9
    assert all(len(w.chances) == p.keeps for p, w in pairs)


@pytest.mark.parametrize("world", ["small effects", "many gains"])
def test_where_no_effect_is_zero_there_are_no_more_false_keeps_than_expected(world):
    pairs = play(world)[:20]
    assert np.mean([w.false_keeps.value - p.false for p, w in pairs]) > 0
    assert held(pairs, "false_keeps", lambda p: p.false) >= 0.9


@pytest.mark.parametrize("world", ["no effect", "mostly harm", "zeros and gains"])
def test_curse_and_gain_that_is_left_are_those_of_the_planted_truth(world):
    pairs = play(world)
    for name, truth in (("excess", lambda p: p.excess), ("left", lambda p: p.left)):
        error = np.array([getattr(w, name).value - truth(p) for p, w in pairs])
        assert abs(error.mean()) < 4 * error.std() / np.sqrt(len(error)), (name, error.mean())
        assert held(pairs, name, truth) >= 0.85, name
    # What the log shows is off by the excess, which has one sign.
    shown = np.array([p.excess for p, _ in pairs])
    assert shown.mean() > 8 * shown.std() / np.sqrt(len(shown)) and shown.mean() > 0.01


def test_a_large_gain_is_no_false_keep_and_a_tiny_one_may_be():
    steps = [(0.0, False), (-1.0, False), (20.0, True), (19.0, False), (20.1, True)]
    trials = [
        Step(index=i, score=score, gain=0.0, keep=keep, champion=0)
        for i, (score, keep) in enumerate(steps)
    ]
    first, second = weigh(trials, 1.0).chances
    assert first < 1e-6 and 0.3 < second < 1


def test_a_log_without_a_keep_or_with_too_many_is_not_weighed():
    step = Step(index=0, score=0.0, gain=0.0, keep=False, champion=0)
    kept = Step(index=1, score=1.0, gain=1.0, keep=True, champion=0)
    assert weigh([step, step], 1.0).false_keeps.word == "not exercised"
    many = weigh([step, *[kept] * (MOST_KEEPS + 1)], 1.0)
    assert many.false_keeps.word == many.left.word == "not evaluable"


def test_what_no_effect_can_explain_leaves_plain_numbers():
    """A keep far below its champion is false; a drop far above it changes nothing."""
    far = [(0.0, False), (-1e8, True), (1e8, False), (-1e8 + 5, True)]
    steps = [
        Step(index=i, score=score, gain=0.0, keep=keep, champion=0)
        for i, (score, keep) in enumerate(far)
    ]
    weighed = weigh(steps, 1.0)
    first, second = weighed.chances
    assert first == 1 and second < 0.1
    assert weighed.left.low < -1e8 + 5 < weighed.left.high
