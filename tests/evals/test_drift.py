"""Drift in behaviour: campaigns whose differences from the baseline are known."""

import numpy as np
import pytest

from evals.drift import Drift, at_end, by_generation


def drift(repeat, steps, quantity="bits on code", looked=True):
    return Drift(repeat=repeat, quantity=quantity, steps=tuple(steps), looked=looked)


def test_many_small_losses_add_up_to_one_that_is_seen():
    rng = np.random.default_rng(2)
    losses = rng.normal(0.01, 0.002, (12, 8))
    lineages = [drift(r, np.cumsum([0.0, *row])) for r, row in enumerate(losses)]
    end = at_end(lineages)["bits on code"]
    assert end.low < 0.08 < end.high and end.low > 0 and end.word == ""
    rows = [figure.value for _, _, figure, _ in by_generation(lineages)]
    assert rows == pytest.approx(np.cumsum([0.0, *losses.mean(axis=0)]))


def test_quantities_are_kept_apart():
    found = at_end([drift(0, [0, 1]), drift(0, [0, 5], "nll"), drift(1, [0, 3])])
    assert {name: figure.value for name, figure in found.items()} == {"bits on code": 2, "nll": 5}


def test_an_ended_campaign_keeps_its_difference_and_a_row_is_a_look_if_all_had_theirs():
    rows = list(by_generation([drift(0, [0, 1]), drift(1, [0, 3, 5]), drift(2, [0, 2, 3])]))
    assert [(at, figure.value, looked) for _, at, figure, looked in rows] == [
        (0, 0, False),
        (1, 2, False),
        (2, 3, True),
    ]
    rows = list(by_generation([drift(0, [0, 1], looked=False), drift(1, [0, 1])]))
    assert not rows[-1][3]


def test_no_drift_is_not_told_as_one():
    end = at_end([drift(r, [0.0, 0.1 * (-1) ** r]) for r in range(12)])["bits on code"]
    assert end.word == "cannot tell" and end.sees > 0
