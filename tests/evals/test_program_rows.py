"""What a person's own training program hands over is read strictly: rows of its data, weights."""

import pickle

import numpy as np
import pytest
from programs import npy
from safetensors.numpy import save

from configs.errors import BadInput
from evals.program import FILE, count_weights, inspect_outputs, read_rows


def test_rows_are_whole_numbers_in_columns():
    found = read_rows(npy(np.arange(6, dtype="i8").reshape(3, 2)), "questions.npy", 4, 10)
    assert found.dtype == np.uint8 and found.tolist() == [[0, 1], [2, 3], [4, 5]]
    assert read_rows(npy(np.arange(3)), "answers.npy", 1, 10).shape == (3, 1)


class Loaded:
    """A pickle that would run code."""

    def __reduce__(self):
        return (pytest.fail, ("it was unpickled",))


HUGE = b"{'descr': '|u1', 'fortran_order': False, 'shape': (1000000000000, 9), }"


@pytest.mark.parametrize(
    "data, reason",
    [
        (b"", "no .npy file"),
        (b"\x93NUMPY\x01\x00\xff\xff" + b" " * 70_000, "header is too long"),
        (b"\x93NUMPY\x01\x00" + len(HUGE).to_bytes(2, "little") + HUGE, "does not fit"),
        (b"\x93NUMPY\x01\x00\x08\x00" + b"print(1)", "cannot be read"),
        (npy(np.array([Loaded()], object)), "whole numbers"),
        (npy(np.zeros((3, 2))), "whole numbers"),
        (npy(np.zeros((3, 2, 1), int)), "does not fit"),
        (npy(np.zeros((3, 9), int)), "1 to 4 columns"),
        (npy(np.zeros((0, 2), int)), "1 to 4 columns"),
        (npy(np.full((3, 2), -1)), "from 0 to 9"),
        (npy(np.full((3, 2), 10)), "from 0 to 9"),
    ],
)
def test_other_arrays_are_refused_in_a_sentence(data, reason):
    with pytest.raises(BadInput, match=reason):
        read_rows(data, "questions.npy", 4, 10)


def as_bytes(data):
    return np.frombuffer(data, "u1")


def test_files_are_never_opened_and_numbers_are_looked_at():
    code = save({f"{FILE}model.pkl": as_bytes(pickle.dumps(Loaded()))})
    numbers = save({"w": np.ones((2, 3), "f4")})
    assert inspect_outputs(code, "files") == inspect_outputs(numbers, "files") == ""
    assert inspect_outputs(numbers, "safetensors") == ""
    assert count_weights(numbers) == 6 and count_weights(b"") == 0
    assert "other files than" in inspect_outputs(code, "safetensors")


@pytest.mark.parametrize(
    "held, reason",
    [
        ({}, "not float32"),
        ({"w": np.ones(3, "f8")}, "not float32"),
        ({"w": np.array([1, np.nan], "f4")}, "NaN"),
        ({f"{FILE}a": np.ones(3, "f4")}, "no row of bytes"),
        ({f"{FILE}a": np.ones(3, "u1"), "b": np.ones(3, "u1")}, "not float32"),
    ],
)
def test_other_outputs_are_refused(held, reason):
    assert reason in inspect_outputs(save(held), "files")
