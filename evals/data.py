"""Task items: held-out splits from the study secret, and a training file per replicate that excludes them.

An item is a row of uint8 tokens in canonical order (configs/tokens.py). Every random choice comes from
HMAC-SHA256(secret, label). Refuses tasks whose held-out items would leave no training data.
"""

import hmac
from functools import cache

import numpy as np
from numpy.typing import NDArray

from configs.errors import BadInput
from configs.tokens import EQUALS, FIRST_VALUE, PIXEL_SIDE, PLUS, Task

Items = NDArray[np.uint8]
SPLITS = ("feedback", "gate", "sealed")


def replicate_seed(secret: bytes, plan: str, index: int) -> int:
    """Return seed `index` of a plan, below 2^53: HMAC(secret, plan digest, index)."""
    label = f"replicate:{plan}:{index}".encode()
    return int.from_bytes(hmac.digest(secret, label, "sha256")[:8], "big") >> 11


def held_out(task: Task, secret: bytes) -> dict[str, Items]:
    """Return feedback, gate and sealed: uint8 (held_out, columns) each, answers included, disjoint."""
    universe = _universe_size(task)
    if universe < 4 * task.held_out:
        raise BadInput(f"task.held_out is {task.held_out}; it should be at most {universe // 4} for this task")
    chosen = _rng(secret, "held-out").permutation(_canonical_numbers(task))[: 3 * task.held_out]
    rows = _rows(task, chosen)
    return {name: rows[i * task.held_out : (i + 1) * task.held_out] for i, name in enumerate(SPLITS)}


def draw_train(task: Task, secret: bytes, seed: int) -> Items:
    """Return one replicate's training file: uint8 (N, columns), sample and order from `seed`.

    Held-out items are excluded, for sums in both operand orders, for images with every duplicate. `modular` trains on
    half of what is left, chosen once per study, so that its complement does not name the held-out items.
    """
    rng = _rng(secret, f"train:{seed}")
    out = np.concatenate(list(held_out(task, secret).values()))
    if task.name == "digits":
        banned = {row.tobytes() for row in questions(task, out)}
        images = _images(task.levels)
        keep = np.array([row.tobytes() not in banned for row in questions(task, images)])
        return rng.permutation(images[keep])[: task.train_items]
    side = _side(task)
    a, b = _operands(task, out)
    banned_numbers = np.unique(np.concatenate([a * side + b, b * side + a]))
    if task.name == "modular":
        left = np.setdiff1d(np.arange(side * side), banned_numbers)
        half = _rng(secret, "half").permutation(left)[: (side * side) // 2]
        return _rows(task, rng.permutation(half)[: task.train_items])
    numbers = rng.integers(0, side * side, task.train_items + 4 * len(banned_numbers) + 64)
    return _rows(task, numbers[~np.isin(numbers, banned_numbers)][: task.train_items])


def questions(task: Task, items: Items) -> Items:
    """Return the question columns, separator included; a contiguous copy, for safetensors writes views wrongly."""
    return items[:, : _question(task)].copy()


def answers(task: Task, items: Items) -> Items:
    """Return the answer columns, a contiguous copy."""
    return items[:, _question(task) :].copy()


def _question(task: Task) -> int:
    return {"addition": 2 * task.digits + 2, "modular": 4, "digits": PIXEL_SIDE**2 + 1}[task.name]


def _rng(secret: bytes, label: str) -> np.random.Generator:
    return np.random.default_rng(int.from_bytes(hmac.digest(secret, label.encode(), "sha256"), "big"))


def _side(task: Task) -> int:
    return 10**task.digits if task.name == "addition" else task.modulus


def _universe_size(task: Task) -> int:
    return len(_images(task.levels)) if task.name == "digits" else _side(task) * (_side(task) + 1) // 2


def _canonical_numbers(task: Task) -> NDArray[np.int64]:
    """Numbers of the items that may be held out: for sums a half of the pairs, so that (a, b) and (b, a) never split."""
    if task.name == "digits":
        _, first = np.unique(questions(task, _images(task.levels)), axis=0, return_index=True)
        return np.sort(first).astype(np.int64)
    side = _side(task)
    if side <= 1000:
        a, b = np.divmod(np.arange(side * side), side)
        return np.flatnonzero((a <= b) if task.name == "modular" else ((a < b) == ((a + b) % 2 == 0)) | (a == b))
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
    if task.name == "digits":
        return _images(task.levels)[numbers]
    a, b = np.divmod(numbers, _side(task))
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


@cache
def _images(levels: int) -> Items:
    from sklearn.datasets import load_digits

    data = load_digits()
    pixels = np.minimum(data.data * levels / 17, levels - 1).astype(np.int64) + FIRST_VALUE
    columns = [pixels, np.full((len(pixels), 1), EQUALS), data.target[:, None] + FIRST_VALUE]
    return np.concatenate(columns, axis=1).astype(np.uint8, order="C")
