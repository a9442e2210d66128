"""Figures of a log of single evaluations, held against loops that were played."""

import numpy as np
import pytest
from foreign import WORLDS, plant
from scipy.stats import ttest_ind

from configs.errors import BadInput
from configs.records.trials import Trial
from evals.trial_logs import (
    count_by_noise,
    excess_of_best,
    group_repeats,
    infer_direction,
    infer_rule,
    list_steps,
    measure_noise,
    repeats_to_tell,
    smallest_gain,
)


def test_keeps_by_noise_are_those_of_loops_that_are_played_without_any_effect():
    figure = count_by_noise(80)
    keeps = np.array([plant("no effect", seed).keeps for seed in range(400)])
    assert abs(keeps.mean() - figure.value) < 4 * keeps.std() / 20
    inside = np.mean((keeps >= figure.low) & (keeps <= figure.high))
    assert inside >= 0.93
    assert (keeps < figure.low).mean() <= 0.04 and (keeps > figure.high).mean() <= 0.04


def test_the_gain_by_noise_alone_is_that_of_the_best_of_draws():
    best = np.random.default_rng(2).normal(0, 0.3, (4000, 50)).max(axis=1)
    assert abs(best.mean() - excess_of_best(50, 0.3)) < 4 * best.std() / np.sqrt(4000)
    assert excess_of_best(1, 0.3) == 0


def test_noise_is_that_of_the_draws_and_its_interval_holds_it():
    rng = np.random.default_rng(3)
    held, values = 0, []
    for _ in range(400):
        groups = [list(rng.normal(level, 0.2, 3)) for level in (0, 5, 9)]
        figure = measure_noise(groups)
        held += figure.low <= 0.2 <= figure.high
        values.append(figure.value**2)
    assert 0.92 <= held / 400 <= 0.98 and abs(np.mean(values) / 0.04 - 1) < 0.12
    assert figure.n == 6


def test_repeats_that_never_differ_measure_no_noise():
    assert measure_noise([[0.5, 0.5], [0.7, 0.7, 0.7]]).word == "constant"
    assert measure_noise([[0.5]]).word == "not measured"


def test_repeats_are_of_the_same_content_on_the_same_data():
    rows = [("a", "x", 1.0), ("a", "x", 2.0), ("a", "y", 3.0), ("", "x", 4.0), ("", "x", 5.0)]
    trials = [
        Trial(name="t", score=score, kept=None, content=content, group=group)
        for content, group, score in rows
    ]
    assert group_repeats(trials) == [[1.0, 2.0]]


@pytest.mark.parametrize("repeats", [3, 8])
def test_a_t_test_sees_the_smallest_gain_as_often_as_promised(repeats):
    rng = np.random.default_rng(repeats)
    gain = smallest_gain(repeats, 0.1)
    first = rng.normal(0, 0.1, (4000, repeats))
    second = rng.normal(gain, 0.1, (4000, repeats))
    seen = np.mean(ttest_ind(second, first, axis=1).pvalue < 0.05)
    assert abs(seen - 0.8) < 0.03


def test_repeats_to_tell_are_the_fewest():
    for gain in (0.3, 0.05):
        enough = repeats_to_tell(gain, 0.1)
        assert smallest_gain(enough, 0.1) <= gain < smallest_gain(enough - 1, 0.1)
    assert repeats_to_tell(0.0, 0.1) is None and repeats_to_tell(1e-9, 0.1) is None
    with pytest.raises(BadInput, match="repeats is 1"):
        smallest_gain(1, 0.1)


def play(decide, seed=5):
    """Return the trials of a loop that keeps by `decide(gain, random number)`."""
    rng, champion, trials = np.random.default_rng(seed), 0.0, [("t0", 0.0, True)]
    for i in range(1, 60):
        score = champion + rng.normal(-0.3, 1)
        kept = bool(decide(score - champion, rng.random()))
        champion = score if kept else champion
        trials.append((f"t{i}", score, kept))
    return [Trial(name=name, score=score, kept=kept) for name, score, kept in trials]


def test_the_rule_of_a_loop_is_found_from_its_decisions():
    rules = {
        "greedy": play(lambda gain, _: gain > 0),
        "bar": play(lambda gain, _: gain > 0.4),
        "other": play(lambda gain, luck: gain > 0 and luck < 0.6),
        "lenient": play(lambda gain, luck: luck < 0.3),
    }
    found = {name: infer_rule(trials, list_steps(trials, "up")) for name, trials in rules.items()}
    assert [found[name].name for name in rules] == ["greedy", "bar", "other", "other"]
    low, high = found["bar"].bar
    assert low <= 0.4 < high
    assert found["other"].better_dropped > 0 and found["other"].worse_kept == 0
    assert found["lenient"].worse_kept > 0


def test_a_log_without_decisions_has_no_rule_and_its_keeps_are_new_bests():
    trials = [Trial(name=str(i), score=s, kept=None) for i, s in enumerate([1.0, 3.0, 2.0, 4.0])]
    steps = list_steps(trials, "up")
    assert infer_rule(trials, steps).name == "not recorded"
    assert [step.keep for step in steps] == [False, True, False, True]
    assert [step.gain for step in steps] == [0.0, 2.0, -1.0, 1.0]
    assert [step.keep for step in list_steps(trials, "down")] == [False] * 4


@pytest.mark.parametrize("world", WORLDS)
def test_the_direction_is_found_from_the_keeps(world):
    trials = plant(world, 4).trials
    turned = [
        Trial(name=t.name, score=-t.score, kept=t.kept) for t in trials if t.score is not None
    ]
    assert infer_direction(trials) == "up" and infer_direction(turned) == "down"
    assert infer_direction(trials[:1]) == ""


def test_a_failure_is_no_step():
    trials = [
        Trial(name="0", score=1.0, kept=True),
        Trial(name="1", score=None, kept=False, failure="crash"),
        Trial(name="2", score=2.0, kept=True),
    ]
    steps = list_steps(trials, "up")
    assert [(step.index, step.keep) for step in steps] == [(0, False), (2, True)]
