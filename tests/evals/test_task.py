"""The rows of `heirloop task check` on items whose truth is known."""

import numpy as np
import pytest

from configs.tokens import Task
from evals import task as asked
from evals.data import draw_train, held_out, questions
from evals.tables import OWN


def own(name, rows, question, answer, values, held=20):
    OWN[name] = np.array(rows, np.uint8)
    return Task(
        name="custom", question=question, answer=answer, values=values, items=name, held_out=held
    )


@pytest.fixture
def sums():
    return own("sums", [[a, b, (a + b) % 16] for a in range(16) for b in range(16)], 2, 1, 16)


def drawn(task):
    return draw_train(task, b"a" * 32, 1), held_out(task, b"a" * 32)


def test_a_sound_task_passes_what_is_asked_of_its_items(sums):
    train, splits = drawn(sums)
    assert all(
        row.passed
        for row in (
            asked.exclusion(sums, [train], splits),
            asked.repeats(sums, train),
            asked.chance(sums, train, splits["confirm"]),
            asked.leakage(sums, train, splits["confirm"]),
            asked.inputs(sums, [questions(sums, splits["confirm"])]),
        )
    )


def test_exclusion_counts_held_out_questions_in_training_and_between_splits(sums):
    train, splits = drawn(sums)
    leaked = np.concatenate([train, splits["confirm"][:3]])
    assert (row := asked.exclusion(sums, [train, leaked], splits)).value == 3 and not row.passed
    assert asked.exclusion(sums, [train], splits | {"sealed": splits["confirm"]}).value == 20
    assert not asked.exclusion(sums, [], splits).passed


def test_the_exclusion_is_what_keeps_own_items_apart(sums):
    splits = held_out(sums, b"a" * 32)
    assert asked.exclusion(sums, [draw_train(sums, b"b" * 32, 1)], splits).value > 0


def test_a_question_with_two_answers_is_found():
    task = own(
        "two", [[a, b, c] for a in range(10) for b in range(20) for c in (0, a % 2)], 2, 1, 20
    )
    train, _ = drawn(task)
    assert (row := asked.repeats(task, train)).value > 0.4 and not row.passed


def test_an_answer_that_is_nearly_always_the_same_is_chance():
    task = own("rare", [[a, b, int(a + b == 0)] for a in range(15) for b in range(15)], 2, 1, 15)
    train, splits = drawn(task)
    assert (row := asked.chance(task, train, splits["confirm"])).value > 0.9 and not row.passed


def test_an_answer_that_stands_in_the_question_is_leakage():
    task = own("copy", [[a, b, (7 * b + 3) % 20] for a in range(20) for b in range(20)], 2, 1, 20)
    train, splits = drawn(task)
    assert (row := asked.leakage(task, train, splits["confirm"])).value == 1 and not row.passed


def test_inputs_with_the_answer_s_columns_fail(sums):
    splits = held_out(sums, b"a" * 32)
    assert not asked.inputs(sums, [questions(sums, splits["confirm"]), splits["confirm"]]).passed


def test_noise_fails_where_the_configured_deviation_is_too_small_or_a_training_failed():
    scores = [0.1, 0.3, 0.5, 0.7, 0.9, 0.2, 0.4, 0.6]
    assert (
        not asked.noise(scores, 0, 0.01).passed
        and asked.noise(scores, 0, 0.2).passed
        and not asked.noise(scores, 1, 0.2).passed
    )
    assert not asked.noise([0.5], 0, 0.2).passed


def test_headroom_needs_a_gain_beyond_its_noise_below_the_ceiling():
    assert asked.headroom([0.2, 0.21, 0.22, 0.2], [0.5, 0.52, 0.51, 0.5]).passed
    assert not asked.headroom([0.2, 0.4, 0.1, 0.3], [0.3, 0.2, 0.5, 0.3]).passed
    assert not asked.headroom([0.99, 0.985, 0.99, 0.99], [1.0, 1.0, 1.0, 1.0]).passed
    assert not asked.headroom([0.2, 0.2, 0.2, 0.2], []).passed


def test_headroom_of_a_score_that_should_fall_is_a_gain():
    baseline, best = [4.7, 4.71, 4.69, 4.7], [4.2, 4.21, 4.2, 4.19]
    row = asked.headroom(baseline, best, "down")
    assert row.passed and row.value == pytest.approx(0.5)
    assert not asked.headroom(best, baseline, "down").passed
