import numpy as np
import pytest

from configs.tokens import Task
from evals.data import SPLITS, answers, draw_train, held_out, questions, replicate_seed

TASKS = [Task(name="addition", digits=2, held_out=400), Task(name="addition", digits=3, held_out=300),
         Task(name="modular", modulus=31, held_out=60), Task(name="digits", held_out=200)]  # fmt: skip


def keys(task, items):
    """Sets of questions; a sum counts in both operand orders."""
    rows = questions(task, items)
    found = {row.tobytes() for row in rows}
    if task.name != "digits":
        n = 1 if task.name == "modular" else task.digits
        swapped = np.concatenate([rows[:, n + 1 : 2 * n + 1], rows[:, n : n + 1], rows[:, :n], rows[:, 2 * n + 1 :]], axis=1)
        found |= {row.tobytes() for row in swapped}
    return found


@pytest.mark.parametrize("task", TASKS, ids=str)
@pytest.mark.parametrize("secret", [b"a" * 32, b"b" * 32])
def test_held_out_items_never_stand_in_training_data(task, secret):
    splits = held_out(task, secret)
    out = set().union(*(keys(task, items) for items in splits.values()))
    for seed in range(3):
        train = draw_train(task, secret, seed)
        assert len(train) > task.held_out
        assert not keys(task, train) & out


@pytest.mark.parametrize("task", TASKS, ids=str)
def test_the_exclusion_is_what_keeps_them_apart(task):
    """Another secret's training file, from which these items were not excluded, does hold some of them."""
    out = set().union(*(keys(task, items) for items in held_out(task, b"a" * 32).values()))
    assert keys(task, draw_train(task, b"b" * 32, 1)) & out


@pytest.mark.parametrize("task", TASKS, ids=str)
def test_splits_are_disjoint_and_of_the_asked_size(task):
    splits = held_out(task, b"a" * 32)
    sets = [keys(task, splits[name]) for name in SPLITS]
    assert all(len(splits[name]) == task.held_out for name in SPLITS)
    assert not sets[0] & sets[1] and not sets[0] & sets[2] and not sets[1] & sets[2]


def test_answers_are_right():
    for task in TASKS[:2]:
        rows = draw_train(task, b"a" * 32, 1).astype(int) - 2
        n, number = task.digits, lambda d: d @ 10 ** np.arange(d.shape[1])[::-1]
        assert (number(rows[:, :n]) + number(rows[:, n + 1 : 2 * n + 1]) == number(rows[:, 2 * n + 2 :])).all()
    rows = draw_train(TASKS[2], b"a" * 32, 1).astype(int) - 2
    assert ((rows[:, 0] + rows[:, 2]) % 31 == answers(TASKS[2], rows)[:, 0]).all()


def test_draws_are_determined_by_secret_and_seed():
    task = TASKS[0]
    assert (draw_train(task, b"a" * 32, 1) == draw_train(task, b"a" * 32, 1)).all()
    assert (draw_train(task, b"a" * 32, 1) != draw_train(task, b"a" * 32, 2)).any()
    assert replicate_seed(b"a", "p", 0) != replicate_seed(b"b", "p", 0) != replicate_seed(b"a", "p", 1)


@pytest.mark.parametrize("task", TASKS, ids=str)
def test_rows_are_contiguous_because_safetensors_writes_views_wrongly(task):
    rows = draw_train(task, b"a" * 32, 1)
    kept = [rows, questions(task, rows), answers(task, rows), *held_out(task, b"a" * 32).values()]
    assert all(array.flags.c_contiguous and array.dtype == np.uint8 for array in kept)
    assert (np.concatenate([questions(task, rows), answers(task, rows)], axis=1) == rows).all()
