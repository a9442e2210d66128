import numpy as np
import pytest

from configs.records import SPLITS
from configs.tokens import Task
from evals.data import answers, draw_train, held_out, overlap, questions, replicate_seed, slices

TASKS = [
    Task(name="addition", digits=2, held_out=400),
    Task(name="addition", digits=3, held_out=300),
    Task(name="modular", modulus=31, held_out=60),
    Task(name="digits", held_out=200),
]


def keys(task, items):
    """Sets of questions; a sum counts in both operand orders."""
    rows = questions(task, items)
    found = {row.tobytes() for row in rows}
    if task.name != "digits":
        n = 1 if task.name == "modular" else task.digits
        swapped = np.concatenate(
            [rows[:, n + 1 : 2 * n + 1], rows[:, n : n + 1], rows[:, :n], rows[:, 2 * n + 1 :]],
            axis=1,
        )
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
    """Another secret's training file, from which these items were not excluded, does hold some of
    them.
    """
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
        assert (
            number(rows[:, :n]) + number(rows[:, n + 1 : 2 * n + 1]) == number(rows[:, 2 * n + 2 :])
        ).all()
    rows = draw_train(TASKS[2], b"a" * 32, 1).astype(int) - 2
    assert ((rows[:, 0] + rows[:, 2]) % 31 == answers(TASKS[2], rows)[:, 0]).all()


def test_draws_are_determined_by_secret_and_seed():
    task = TASKS[0]
    assert (draw_train(task, b"a" * 32, 1) == draw_train(task, b"a" * 32, 1)).all()
    assert (draw_train(task, b"a" * 32, 1) != draw_train(task, b"a" * 32, 2)).any()
    assert (
        replicate_seed(b"a", "p", 0) != replicate_seed(b"b", "p", 0) != replicate_seed(b"a", "p", 1)
    )


@pytest.mark.parametrize("task", TASKS, ids=str)
def test_rows_are_contiguous_because_safetensors_writes_views_wrongly(task):
    rows = draw_train(task, b"a" * 32, 1)
    kept = [rows, questions(task, rows), answers(task, rows), *held_out(task, b"a" * 32).values()]
    assert all(array.flags.c_contiguous and array.dtype == np.uint8 for array in kept)
    assert (np.concatenate([questions(task, rows), answers(task, rows)], axis=1) == rows).all()


@pytest.mark.parametrize("task", TASKS, ids=str)
def test_overlap_counts_what_training_should_not_hold(task):
    out = held_out(task, b"a" * 32)["confirm"]
    train = draw_train(task, b"a" * 32, 1)
    assert overlap(task, train, out) == 0
    assert overlap(task, np.concatenate([train, out[:7]]), out) == 7


def test_overlap_counts_sums_in_both_operand_orders():
    task = TASKS[0]
    out = held_out(task, b"a" * 32)["confirm"][:1]
    swapped = out[:, [3, 4, 2, 0, 1, 5, 6, 7, 8]]
    assert overlap(task, swapped, out) == 1


def numbers(task, rows):
    n, values = task.digits, rows.astype(int) - 2
    return [
        part @ 10 ** np.arange(part.shape[1])[::-1]
        for part in (values[:, :n], values[:, n + 1 : 2 * n + 1], values[:, 2 * n + 2 :])
    ]


@pytest.mark.parametrize("hold", [False, True])
def test_carries_are_sums_in_which_every_column_carries_and_are_never_trained_on_where_held(hold):
    task = Task(name="addition", digits=2, held_out=300, hold_carries=hold)
    items = held_out(task, b"a" * 32)["feedback"]
    part = slices(task, b"a" * 32, "feedback", items)["carries"]
    a, b, total = numbers(task, part)
    assert (
        len(part) >= 30 and ((a % 10 + b % 10 > 9) & (a + b > 99)).all() and (a + b == total).all()
    )
    a, b, _ = numbers(
        task, np.concatenate([draw_train(task, b"a" * 32, 1), *held_out(task, b"a" * 32).values()])
    )
    assert ((a % 10 + b % 10 > 9) & (a + b > 99)).any() != hold


def test_longer_numbers_are_longer_than_any_in_training():
    task = Task(name="addition", digits=4, train_digits=2, held_out=300)
    items = held_out(task, b"a" * 32)["confirm"]
    a, b, total = numbers(task, slices(task, b"a" * 32, "confirm", items)["longer"])
    assert len(a) == 300 and (np.maximum(a, b) > 99).all() and (a + b == total).all()
    a, b, total = numbers(task, np.concatenate([items, draw_train(task, b"a" * 32, 1)]))
    assert (np.maximum(a, b) < 100).all() and (a + b == total).all()


def test_another_modulus_and_moved_and_noised_images_ask_for_the_right_answers():
    task = TASKS[2]
    rows = (
        slices(task, b"a" * 32, "confirm", held_out(task, b"a" * 32)["confirm"])[
            "other_modulus"
        ].astype(int)
        - 2
    )
    assert (
        len(rows) > 20
        and ((rows[:, 0] + rows[:, 2]) % 29 == rows[:, 4]).all()
        and rows[:, :3:2].max() < 29
    )
    task = TASKS[3]
    items = held_out(task, b"a" * 32)["confirm"]
    parts = slices(task, b"a" * 32, "confirm", items)
    assert all((answers(task, part) == answers(task, items)).all() for part in parts.values())
    assert (parts["shifted"][:, 1:8] == items[:, :7]).all() and (parts["shifted"][:, 0] == 2).all()
    changed = (parts["noised"][:, :64] != items[:, :64]).sum(axis=1)
    assert 3 < changed.mean() <= 6 and changed.max() <= 6
