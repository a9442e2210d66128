"""Excess loss: what a loop loses on a rung beyond what any change of its size loses there."""

import numpy as np
import pytest

import evals.excess as module
from evals.excess import excess, lossy_on
from evals.retention import Guard, Held

RNG = np.random.default_rng(3)
REPEATS, REFERENCES = 20, 8
GAINS = np.linspace(0.4, 1.6, REFERENCES)


def champions(rung, kept, gain=1.0, luck=0.1, repeats=REPEATS, **more):
    """Return champions that gain `gain` and keep a share of it, each measured with luck."""
    rows = []
    for r in range(repeats):
        closing, there = RNG.normal([gain, kept * gain], luck)
        rows += [
            Held(repeat=r, rung="closing", value=closing),
            Held(repeat=r, rung=rung, value=there, **more),
        ]
    return rows


def changes(rung, lost, gains=GAINS):
    """Return reference changes whose loss is exactly `lost(gain)`."""
    return [
        Held(repeat=0, rung=name, change=f"change {k}", value=value)
        for k, gain in enumerate(gains)
        for name, value in (("closing", gain), (rung, gain - lost(gain)))
    ]


def test_the_excess_is_the_loss_less_the_references_line_at_the_mean_gain():
    own = [
        Held(repeat=r, rung=rung, value=value)
        for r, (closing, there) in enumerate([(0.8, 0.2), (1.2, 0.2)] * 10)
        for rung, value in (("closing", closing), ("code", there))
    ]
    found = excess(own, changes("code", lambda gain: 0.1 + 0.5 * gain))["code"]
    # Mean gain 1.0 and mean loss 0.8; a reference with that gain loses 0.6.
    assert found.value == pytest.approx(0.2) and found.n == 20 and found.over(0.1)


def test_what_every_change_loses_makes_no_loop_lossy():
    own, any_change = champions("code", kept=0.4), changes("code", lambda gain: 0.6 * gain)
    assert excess(own, any_change)["code"].word == "cannot tell" and not lossy_on(own, any_change)
    brittle = champions("code", kept=0.1)
    assert lossy_on(brittle, any_change) == ["code"]
    assert excess(brittle, any_change)["code"].value == pytest.approx(0.3, abs=0.1)


def test_sealed_needs_no_reference_and_every_other_rung_does():
    own = [*champions("sealed", kept=0.5), *champions("code", kept=0.5)]
    found = excess(own, ())
    assert found["sealed"].over(0.3) and found["code"].word == "not measured"
    few = changes("code", lambda gain: 0.0, gains=np.linspace(0.5, 1.5, 4))
    assert excess(own, few)["code"].word == "not measured"
    assert lossy_on(own, ()) == ["sealed"]


def test_no_line_is_drawn_beyond_the_references():
    own = champions("code", kept=0.1, gain=2.5)
    found = excess(own, changes("code", lambda gain: 0.0))["code"]
    assert found.word == "cannot tell" and found.low > 0 and not lossy_on(own, ())


def test_without_a_proven_gain_nothing_can_be_lost():
    own = champions("code", kept=0.5, gain=0.0)
    assert excess(own, changes("code", lambda gain: 0.0))["code"].word == "undefined"


def test_a_dead_slice_and_a_full_one_say_nothing():
    """Champions and baseline at chance: the gain there is 0 whatever the loop does."""
    limits = Guard(ceiling=1.0, floor=0.1, deviation=0.03)
    any_change = changes("code", lambda gain: 0.0)
    dead = champions("code", kept=0.0, score=0.12, beside=0.11)
    assert lossy_on(dead, any_change) == ["code"] and not lossy_on(dead, any_change, limits=limits)
    alive = champions("code", kept=0.0, score=0.12, beside=0.4)
    assert lossy_on(alive, any_change, limits=limits) == ["code"]
    full = champions("code", kept=0.0, score=0.98, beside=0.4)
    assert not lossy_on(full, any_change, limits=limits)


def test_the_more_rungs_the_more_is_asked_of_one_and_proven_ones_ask_less_of_the_rest(monkeypatch):
    """Holm: three rungs at 0.02, 0.03, 0.9 prove nothing at 0.05; at 0.01, 0.02, 0.9 two."""

    def study(*chances):
        def measured(own, references, *, limits=None, level=0.95):
            return {
                f"rung {i}": module.Figure(value=1.0, low=1.0 if p <= 1 - level else -1.0)
                for i, p in enumerate(chances)
            }

        monkeypatch.setattr(module, "excess", measured)
        return module.lossy_on((), ())

    assert study(0.02, 0.03, 0.9) == [] and study(0.03) == ["rung 0"]
    assert study(0.01, 0.02, 0.9) == ["rung 0", "rung 1"] and study(0.01, 0.04, 0.9) == ["rung 0"]


def noisy_study(rng):
    """Return champions that lose what any change loses, and references measured with luck.

    Their gain lies near the end of the references' range, where a flattened line misleads.
    """
    references = [
        Held(repeat=r, rung=rung, change=f"change {k}", value=value + 0.25 * rng.standard_normal())
        for k, gain in enumerate(np.linspace(0.4, 1.2, REFERENCES))
        for r in range(4)
        for rung, value in (("closing", gain), ("code", 0.3 * gain))
    ]
    own = [
        Held(repeat=r, rung=rung, value=value + 0.1 * rng.standard_normal())
        for r in range(REPEATS)
        for rung, value in (("closing", 1.1), ("code", 0.33))
    ]
    return excess(own, references)["code"].value


def test_luck_in_the_references_gains_flattens_no_line(monkeypatch):
    """Ablation: taken as exact, their line is too steep by chance, for luck is in gain and loss."""
    rng = np.random.default_rng(5)
    corrected = [noisy_study(rng) for _ in range(250)]
    error = np.std(corrected) / np.sqrt(len(corrected))
    assert abs(np.mean(corrected)) < 3 * error
    monkeypatch.setattr(module, "_noise", lambda samples: (0.0, 0.0))
    rng = np.random.default_rng(5)
    taken_as_exact = [noisy_study(rng) for _ in range(250)]
    assert abs(np.mean(taken_as_exact)) > 3 * error


def test_a_campaign_that_changed_nothing_is_no_champion_without_a_loss():
    """Here any change gains 0.2 on the slice that it did not gain at home: the line misses 0."""
    own = champions("code", kept=1.2, luck=0.02)
    idle = [
        Held(repeat=r, rung=rung, value=0.0)
        for r in range(REPEATS, 3 * REPEATS)
        for rung in ("closing", "code")
    ]
    any_change = changes("code", lambda gain: -0.2)
    found = excess([*own, *idle], any_change)["code"]
    assert found.n == REPEATS and abs(found.value) < 0.03
    assert not lossy_on([*own, *idle], any_change)
