"""Effects of factors with two levels."""

from itertools import product

import numpy as np
import pytest

from configs.errors import BadInput
from evals.factorial import effects


def test_the_example_of_the_module():
    cells = {(0, 0): 0.8, (1, 0): 0.9, (0, 1): 1.0, (1, 1): 1.4}
    cells = {cell: np.full(5, value) for cell, value in cells.items()}
    found = effects(("own data", "calm"), cells, "log-odds")
    assert found["own data"].value == pytest.approx(0.25)
    assert found["own data x calm"].value == pytest.approx(0.15)
    assert found["calm"].value == pytest.approx(0.35)


def test_planted_effects_of_three_factors_are_found_and_luck_of_a_repeat_cancels():
    rng = np.random.default_rng(1)
    luck = rng.normal(0, 5, 40)
    cells = {
        (a, b, c): luck + 0.6 * a + 0.2 * b + 0.4 * a * c + rng.normal(0, 0.1, 40)
        for a, b, c in product((0, 1), repeat=3)
    }
    found = effects(("a", "b", "c"), cells, "log-odds")
    planted = {"a": 0.8, "b": 0.2, "c": 0.2, "a x c": 0.2, "a x b": 0, "b x c": 0, "a x b x c": 0}
    assert set(found) == set(planted)
    for name, value in planted.items():
        assert found[name].value == pytest.approx(value, abs=0.05)
        assert found[name].low - 0.02 <= value <= found[name].high + 0.02


def test_a_missing_cell_and_unequal_repeats_are_refused():
    cells = {cell: np.zeros(3) for cell in product((0, 1), repeat=2)}
    with pytest.raises(BadInput, match="cells"):
        effects(("a", "b"), {k: v for k, v in cells.items() if k != (0, 1)}, "log-odds")
    with pytest.raises(BadInput, match="repeats"):
        effects(("a", "b"), {**cells, (0, 1): np.zeros(2)}, "log-odds")
