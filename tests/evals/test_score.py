import json
import math
import struct

import numpy as np
import pytest
from fakes import predictions
from safetensors.numpy import load, save

from configs.cost import parameters
from configs.recipe import Recipe
from configs.tokens import Task, layout
from evals.data import answers, held_out, slices
from evals.score import calibration_error, distance, flat, inspect_weights, score

SECRET = b"s" * 32
TASKS = [
    Task(name="addition", digits=2, held_out=400),
    Task(name="modular", modulus=31, held_out=60),
    Task(name="digits", held_out=200),
]
TASK = TASKS[0]
ITEMS = held_out(TASK, SECRET)["confirm"]
RIGHT = answers(TASK, ITEMS)
V = layout(TASK, Recipe()).vocabulary


def told(data, items=ITEMS, task=TASK, **more):
    return score(data, items, task, Recipe(), "confirm", 1, 1, **more)


def test_scores_come_from_predictions_alone():
    perfect = told(predictions(RIGHT, V))
    assert perfect.exact_match == 1 and math.isfinite(perfect.log_odds)
    wrong = RIGHT.copy()
    wrong[:100, 0] = 0
    found = told(predictions(wrong, V))
    assert found.exact_match == 0.75 and found.token_accuracy == 1 - 100 / RIGHT.size


def test_likelihood_and_calibration_are_what_the_probabilities_say():
    wrong = RIGHT.copy()
    wrong[:100, 0] = 0
    found, rest = told(predictions(wrong, V, sure=0.9)), 0.1 / (V - 1)
    share = 100 / RIGHT.size
    assert found.nll == pytest.approx(
        -(1 - share) * math.log(0.9) - share * math.log(rest), rel=1e-5
    )
    assert found.calibration_error == pytest.approx(abs(0.75 - 0.9**3), abs=1e-6)
    assert told(predictions(wrong, V, sure=1.0)).nll == pytest.approx(
        -share * math.log(1e-6), rel=1e-3
    )


def test_calibration_error_is_zero_where_confidence_is_right_and_counts_each_bin():
    right = np.array([True] * 3 + [False] * 1)
    assert calibration_error(np.full(4, 0.75), right) == pytest.approx(0)
    assert calibration_error(
        np.array([0.95, 0.95, 0.05, 0.05]), np.array([False, False, True, True])
    ) == pytest.approx(0.95)


def test_probabilities_are_renormalised_within_the_tolerance_and_refused_beyond():
    def scaled(by):
        found = load(predictions(RIGHT, V))
        return save(
            {"tokens": found["tokens"], "probabilities": found["probabilities"] * np.float32(by)}
        )

    assert told(scaled(1.0005)).nll == pytest.approx(told(scaled(1)).nll, rel=1e-5)
    assert "add up to 1.00" in told(scaled(1.002)) and "add up to 0.99" in told(scaled(0.998))


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, -0.1, 1.5])
def test_no_probability_outside_its_range_is_taken(value):
    found = load(predictions(RIGHT, V))
    spoiled = found["probabilities"].copy()
    spoiled[7, 1, 3] = value
    assert "not finite or not between" in told(
        save({"tokens": found["tokens"], "probabilities": spoiled})
    )


def test_predictions_of_another_form_are_refused():
    good = load(predictions(RIGHT, V))
    tokens, p = good["tokens"], good["probabilities"]
    other = held_out(TASKS[1], SECRET)["confirm"]
    bad = {
        "malformed": b"junk",
        "lone tokens": save({"tokens": tokens}),
        "more": save({**good, "metrics": np.ones(1)}),
        "fewer rows": save({"tokens": tokens[:5], "probabilities": p[:5]}),
        "float tokens": save({**good, "tokens": tokens.astype(np.float32)}),
        "double": save({**good, "probabilities": p.astype(np.float64)}),
        "other token": save({**good, "tokens": tokens[::-1].copy()}),
        "metadata": save(good, metadata={"exact_match": "1.0"}),
        "another task": predictions(
            answers(TASKS[1], other), layout(TASKS[1], Recipe()).vocabulary
        ),
    }
    said = {name: told(data) for name, data in bad.items()}
    assert all(isinstance(one, str) for one in said.values()), said
    assert "should be uint8" in said["another task"] and "most probable" in said["other token"]


@pytest.mark.parametrize("what", ["duplicate", "giant"])
def test_a_header_with_two_meanings_or_of_a_gigabyte_is_refused_before_it_is_read(what):
    data = predictions(RIGHT, V)
    size = int.from_bytes(data[:8], "little")
    header = data[8 : 8 + size].strip()
    head = header[:-1] + b"," + header[1:] if what == "duplicate" else header + b" " * 150_000
    spoiled = struct.pack("<Q", len(head)) + head + data[8 + size :]
    assert "malformed" in told(spoiled)
    assert "malformed" in told(struct.pack("<Q", 2**40) + json.dumps({"a": 1}).encode())


@pytest.mark.parametrize("task", TASKS, ids=str)
def test_slices_are_scored_apart(task):
    items = held_out(task, SECRET)["confirm"]
    parts = slices(task, SECRET, "confirm", items)
    assert set(parts) == set(task.slices()) and all(len(part) for part in parts.values())
    tokens = np.concatenate([answers(task, part) for part in (items, *parts.values())])
    tokens[len(items) :, 0] = 0
    found = told(predictions(tokens, layout(task, Recipe()).vocabulary), items, task, slices=parts)
    assert (
        found.exact_match == 1 and set(found.slices.values()) == {0.0} and found.items == len(items)
    )


def test_distance_is_nothing_for_a_copy_and_one_for_strangers():
    rng = np.random.default_rng(1)
    one, other = rng.standard_normal((2, 10_000))
    assert (
        distance(one, one) == 0
        and abs(distance(one, other) - 1) < 0.05
        and distance(one, other[:-1]) is None
    )
    assert distance(one, one + 0.001 * other) < 0.01
    swapped = [save({"a": one[:5].astype(np.float32), "b": one[5:].astype(np.float32)})]
    assert len(flat(swapped[0])) == 10_000


def test_weights_of_another_size_are_refused():
    count = parameters(Recipe(), layout(TASK, Recipe()))
    assert inspect_weights(save({"w": np.ones(count, np.float32)}), TASK, Recipe()) == ""
    assert "the net has" in inspect_weights(
        save({"w": np.ones(count + 1, np.float32)}), TASK, Recipe()
    )
