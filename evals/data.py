"""Task items: held-out splits with their slices, and a training file per replicate.

An item is a row of uint8 tokens in canonical order (configs/tokens.py). Every random choice comes
from HMAC-SHA256(secret, label). Training files exclude the held-out items. A task whose held-out
items would leave no training data is refused.
"""

import hmac
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from configs.errors import BadInput
from configs.records import SPLITS
from configs.tokens import COPIED, EQUALS, FIRST_VALUE, PLUS, Task
from evals import folds, text
from evals.tables import Items, table

TABLES = ("digits", "custom", "planted")
"""Tasks whose items are a fixed table, not numbers."""


def replicate_seed(secret: bytes, place: str, index: int) -> int:
    """Return seed `index` at a place of a campaign, below 2^53: HMAC(secret of the repeat, ...).

    A place is purpose, generation and number of the proposal, so every arm has the same seeds.
    """
    label = f"replicate:{place}:{index}".encode()
    return int.from_bytes(hmac.digest(secret, label, "sha256")[:8], "big") >> 11


def held_out(task: Task, secret: bytes) -> dict[str, Items]:
    """Return disjoint feedback, confirm, sealed: uint8 (held_out, columns) each, with answers."""
    if task.folds:
        return folds.held_out_folds(task, secret)
    if task.name == "text":
        return text.held_out_rows(task, secret)
    numbers = _canonical_numbers(task)
    if task.hold_carries:
        numbers = numbers[~_every_column_carries(task, *np.divmod(numbers, _side(task)))]
    if len(numbers) < 4 * task.held_out:
        raise BadInput(
            f"task.held_out is {task.held_out}; it should be at most {len(numbers) // 4} for this"
            " task"
        )
    chosen = _rng(secret, "held-out").permutation(numbers)[: 3 * task.held_out]
    rows = _rows(task, chosen)
    return {
        name: rows[i * task.held_out : (i + 1) * task.held_out] for i, name in enumerate(SPLITS)
    }


def draw_train(task: Task, secret: bytes, seed: int) -> Items:
    """Return a replicate's training file: uint8 (N, columns), sample and order from `seed`.

    Held-out items are excluded: for sums in both operand orders, for images and own items with
    every duplicate. `modular` trains on half of the rest, chosen once per study, so that its
    complement does not name the held-out items.
    """
    if task.folds:
        return folds.no_data()
    rng = _rng(secret, f"train:{seed}")
    if task.name == "text":
        return text.train_rows(task, secret, rng)
    if task.name in TABLES:
        return rng.permutation(_left(task, secret))[: task.train_items]
    out = np.concatenate(list(held_out(task, secret).values()))
    side = _side(task)
    a, b = _operands(task, out)
    banned_numbers = np.unique(np.concatenate([a * side + b, b * side + a]))
    if task.name == "modular":
        left = np.setdiff1d(np.arange(side * side), banned_numbers)
        half = _rng(secret, "half").permutation(left)[: (side * side) // 2]
        return _rows(task, rng.permutation(half)[: task.train_items])
    numbers = rng.integers(
        0,
        side * side,
        task.train_items * (4 if task.hold_carries else 1) + 4 * len(banned_numbers) + 64,
    )
    if task.hold_carries:
        numbers = numbers[~_every_column_carries(task, *np.divmod(numbers, side))]
    return _rows(task, numbers[~np.isin(numbers, banned_numbers)][: task.train_items])


@lru_cache(maxsize=4)
def _left(task: Task, secret: bytes) -> Items:
    """Return the items of a table whose question is in no held-out item."""
    banned = {
        row.tobytes()
        for row in questions(task, np.concatenate(list(held_out(task, secret).values())))
    }
    whole = table(task)
    return np.asarray(
        whole[np.array([row.tobytes() not in banned for row in questions(task, whole)])]
    )


def slices(task: Task, secret: bytes, split: str, items: Items) -> dict[str, Items]:
    """Return the named slices of a split, items with answers; they are scored apart.

    addition: `carries` (every column carries: items of the split, or with hold_carries as many that
    training never saw), `longer` (an operand has more digits than any in training). modular:
    `other_modulus` (operands below p - 2, answers modulo p - 2; the format does not name the
    modulus, so a net of p is right unless the sum wraps). digits: `shifted` (one pixel to the
    right), `noised` (6 of 64 pixels, or 2 of 16, at random). text: `code`, `licence` (other texts),
    a quarter as many windows each.
    """
    if task.folds:
        return {name: folds.slice_fold(task, name) for name in task.slices()}
    if task.name == "text":
        count = len(items) // 4
        return {name: text.slice_rows(task, secret, split, name, count) for name in task.slices()}
    rng = _rng(secret, f"slices:{split}")
    return {name: SLICES[name](task, items, rng) for name in task.slices()}


def overlap(task: Task, train: Items, out: Items) -> int:
    """Return the number of training rows that ask a held-out question, in either operand order.

    text: that hold a run of 32 characters of a held-out window.
    """
    if task.name == "text" and not task.folds:
        return int(text.shared_runs(train, out).sum())
    banned = {row.tobytes() for row in questions(task, out)}
    if task.name not in (*TABLES, "text"):
        a, b = _operands(task, out)
        banned |= {row.tobytes() for row in questions(task, _sums(task, b, a))}
    return sum(row.tobytes() in banned for row in questions(task, train))


def _carries(task: Task, items: Items, rng: np.random.Generator) -> Items:
    if not task.hold_carries:
        return _fixed(items[_every_column_carries(task, *_operands(task, items))], len(items) // 8)
    side = _side(task)
    numbers = rng.integers(
        0, side * side, 40 * len(items) * 2 ** (task.train_digits or task.digits)
    )
    carrying = numbers[_every_column_carries(task, *np.divmod(numbers, side))]
    return _rows(task, np.unique(carrying)[rng.permutation(len(np.unique(carrying)))[: len(items)]])


def _fixed(rows: Items, count: int) -> Items:
    """Return `count` rows, repeated if there are fewer.

    Every split asks equally many questions, so that their number names no split.
    """
    return np.resize(rows, (count, rows.shape[1])) if len(rows) else rows


def _longer(task: Task, items: Items, rng: np.random.Generator) -> Items:
    a, b = rng.integers(0, 10**task.digits, (2, 20 * len(items)))
    keep = np.flatnonzero(np.maximum(a, b) >= _side(task))[: len(items)]
    return _sums(task, a[keep], b[keep])


def _other_modulus(task: Task, items: Items, rng: np.random.Generator) -> Items:
    other = task.modulus - 2
    a, b = _operands(task, items)
    keep = (a < other) & (b < other)
    rows = np.concatenate(
        [
            questions(task, items[keep]),
            ((a + b)[keep, None] % other + FIRST_VALUE).astype(np.uint8),
        ],
        axis=1,
    )
    return _fixed(rows, len(items) // 2)


def _shifted(task: Task, items: Items, rng: np.random.Generator) -> Items:
    moved = items.copy()
    pixels = items[:, : task.side**2].reshape(-1, task.side, task.side)
    moved[:, : task.side**2] = np.pad(
        pixels, ((0, 0), (0, 0), (1, 0)), constant_values=FIRST_VALUE
    )[:, :, :-1].reshape(len(items), -1)
    return moved


def _noised(task: Task, items: Items, rng: np.random.Generator) -> Items:
    noisy = items.copy()
    where = np.argsort(rng.random((len(items), task.side**2)), axis=1)[
        :, : 6 if task.side == 8 else 2
    ]
    noisy[np.arange(len(items))[:, None], where] = (
        rng.integers(0, task.levels, where.shape) + FIRST_VALUE
    )
    return noisy


SLICES = {
    "carries": _carries,
    "longer": _longer,
    "other_modulus": _other_modulus,
    "shifted": _shifted,
    "noised": _noised,
}
"""Name of a slice -> its function of a split's items."""


def _every_column_carries(
    task: Task, a: NDArray[np.int64], b: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Tell for each sum whether every column of its operands carries into the next."""
    powers = 10 ** np.arange(1, (task.train_digits or task.digits) + 1)
    return np.asarray((a[:, None] % powers + b[:, None] % powers >= powers).all(axis=1))


def questions(task: Task, items: Items) -> Items:
    """Return the question columns, separator included.

    They are a contiguous copy, for safetensors writes views wrongly.
    """
    return items[:, : _question(task)].copy()


def answers(task: Task, items: Items) -> Items:
    """Return the answer columns, a contiguous copy."""
    return items[:, _question(task) :].copy()


def _question(task: Task) -> int:
    if task.folds:
        return 1
    return {
        "planted": COPIED + 1,
        "addition": 2 * task.digits + 2,
        "modular": 4,
        "digits": task.side**2 + 1,
        "text": task.window,
        "custom": task.question + 1,
    }[task.name]


def _rng(secret: bytes, label: str) -> np.random.Generator:
    return np.random.default_rng(
        int.from_bytes(hmac.digest(secret, label.encode(), "sha256"), "big")
    )


def _side(task: Task) -> int:
    return 10 ** (task.train_digits or task.digits) if task.name == "addition" else task.modulus


def _canonical_numbers(task: Task) -> NDArray[np.int64]:
    """Return the numbers of the items that may be held out.

    For sums they are half of the pairs, so that (a, b) and (b, a) never split.
    """
    if task.name in TABLES:
        _, first = np.unique(questions(task, table(task)), axis=0, return_index=True)
        return np.sort(first).astype(np.int64)
    side = _side(task)
    if side <= 1000:
        a, b = np.divmod(np.arange(side * side), side)
        return np.flatnonzero(
            (a <= b) if task.name == "modular" else ((a < b) == ((a + b) % 2 == 0)) | (a == b)
        )
    step = np.random.default_rng(0).integers(0, side, (400_000, 2))
    return np.unique(np.minimum(step[:, 0], step[:, 1]) * side + np.maximum(step[:, 0], step[:, 1]))


def _operands(task: Task, rows: Items) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    values = rows.astype(np.int64) - FIRST_VALUE
    if task.name == "modular":
        return values[:, 0], values[:, 2]
    powers = 10 ** np.arange(task.digits)[::-1]
    n = task.digits
    return values[:, :n] @ powers, values[:, n + 1 : 2 * n + 1] @ powers


def _rows(task: Task, numbers: NDArray[np.int64]) -> Items:
    if task.name in TABLES:
        return table(task)[numbers]
    return _sums(task, *np.divmod(numbers, _side(task)))


def _sums(task: Task, a: NDArray[np.int64], b: NDArray[np.int64]) -> Items:
    plus, equals = np.full((len(a), 1), PLUS), np.full((len(a), 1), EQUALS)
    if task.name == "modular":
        left, right, total = (n[:, None] + FIRST_VALUE for n in (a, b, (a + b) % task.modulus))
        columns = [left, plus, right, equals, total]
    else:
        n = task.digits
        columns = [_digits(a, n), plus, _digits(b, n), equals, _digits(a + b, n + 1)]
    return np.concatenate(columns, axis=1).astype(np.uint8, order="C")


def _digits(numbers: NDArray[np.int64], n: int) -> NDArray[np.int64]:
    return numbers[:, None] // 10 ** np.arange(n)[::-1] % 10 + FIRST_VALUE
