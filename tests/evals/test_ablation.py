"""What made the gain: champions whose changes are worth a known amount."""

import math

import numpy as np
import pytest

from evals.ablation import Champion, Taken, ablate

WORTH = {"rate": 0.5, "width": 0.3, "loss": 0.2}


def champion(repeat, changes, gain):
    taken = [
        Taken(change=name, value="x", loss=loss / 4, unbounded=loss)
        for name, loss in changes.items()
    ]
    return Champion(repeat=repeat, gain=gain, changes=tuple(taken))


def test_changes_that_add_up_carry_their_own_worth_and_nothing_is_beyond_them():
    rng = np.random.default_rng(3)
    champions = []
    for repeat in range(40):
        names = rng.permutation(list(WORTH))[: rng.integers(1, 4)]
        own = {name: WORTH[name] + rng.normal(0, 0.02) for name in names}
        champions.append(champion(repeat, own, math.fsum(own.values())))
    read = ablate(champions, same_scale=True)
    for name, worth in WORTH.items():
        loss = read["changes"][name]["loss"]
        assert loss.low < worth < loss.high and loss.word == ""
        having = sum(any(t.change == name for t in one.changes) for one in champions)
        assert read["changes"][name]["champions"].value == having / 40
    assert read["beyond"].value == pytest.approx(0, abs=1e-12)
    assert read["alone"].value == pytest.approx(read["gain"].value)


def test_in_a_world_of_one_bit_that_bit_carries_all_and_stands_first():
    rng = np.random.default_rng(4)
    champions = [
        champion(r, {"width": 0.0, "loss": gain, "rate": 0.0}, gain)
        for r, gain in enumerate(1.6 + rng.normal(0, 0.1, 12))
    ]
    read = ablate(champions, same_scale=True)
    assert next(iter(read["changes"])) == "loss"
    assert read["changes"]["loss"]["share"].value == pytest.approx(1)
    assert read["changes"]["width"]["share"].value == pytest.approx(0)


def test_two_changes_that_need_each_other_lose_the_whole_gain_each():
    gains = [1.0 + repeat / 50 for repeat in range(10)]
    champions = [champion(r, {"a": gain, "b": gain}, gain) for r, gain in enumerate(gains)]
    read = ablate(champions, same_scale=True)
    shares = [read["changes"][name]["share"].value for name in "ab"]
    assert shares == pytest.approx([1, 1])
    # So the gain is less than its parts.
    assert read["beyond"].value == pytest.approx(-read["gain"].value)


def test_the_objective_s_unit_is_told_where_it_is_another_scale():
    champions = [champion(r, {"a": 1.0}, 1.0) for r in range(10)]
    assert "loss, objective's unit" not in ablate(champions, same_scale=True)["changes"]["a"]
    own = ablate(champions, same_scale=False)["changes"]["a"]["loss, objective's unit"]
    assert own.value == 0.25


def test_what_was_not_measured_or_did_not_gain_is_a_word_and_never_0():
    unmeasured = [champion(r, {"a": math.nan}, 1.0) for r in range(10)]
    own = ablate(unmeasured, same_scale=True)["changes"]["a"]
    assert own["loss"].value is None and own["loss"].word == "not measured"
    assert own["share"].value is None and own["share"].word == "not measured"
    assert own["champions"].value == 1
    worthless = [champion(r, {"a": 0.1}, (-1.0) ** r) for r in range(10)]
    own = ablate(worthless, same_scale=True)["changes"]["a"]
    assert own["share"].word == "undefined" and own["share"].value is None


def test_a_champion_that_is_the_baseline_counts_with_no_gain_and_no_change():
    champions = [champion(0, {}, 0.0), *(champion(r, {"a": 1.0}, 1.0) for r in range(1, 10))]
    read = ablate(champions, same_scale=True)
    assert read["gain"].value == pytest.approx(0.9)
    assert read["changes"]["a"]["champions"].value == pytest.approx(0.9)
    assert read["changes"]["a"]["loss"].n == 9
