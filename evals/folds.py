"""Folds: the held-out items of a table of recorded trainings, and the pool of windows behind them.

Example: a pool of 4,096 windows in 64 folds. The held-out blocks of a text are dealt to the folds,
and 64 windows are drawn from the blocks of each. A recorded training has one score per fold.

In a study on a table an item *is* a fold: its question is the number of the fold, and its answer is
always the same token. The secret of a repeat deals the folds to the three splits. So no answer is
hidden, and none can leak: the table's box writes the recorded probability of the right character.
"""

import hmac

import numpy as np
from numpy.typing import NDArray

from configs.errors import BadInput
from configs.records import SPLITS
from configs.tokens import FIRST_VALUE, Task
from evals import text
from evals.tables import Items

RIGHT = FIRST_VALUE
"""The answer of every fold."""


def held_out_folds(task: Task, secret: bytes) -> dict[str, Items]:
    """Return the folds of each split, uint8 (held_out, 2), dealt by a repeat's secret."""
    if task.folds < len(SPLITS) * task.held_out:
        raise BadInput(
            f"task.held_out is {task.held_out}; it should be at most {task.folds // len(SPLITS)},"
            f" a third of the table's {task.folds} folds"
        )
    seed = int.from_bytes(hmac.digest(secret, b"folds", "sha256"), "big")
    dealt = np.random.default_rng(seed).permutation(task.folds)
    size = task.held_out
    return {split: _items(dealt[i * size : (i + 1) * size]) for i, split in enumerate(SPLITS)}


def slice_fold(task: Task, name: str) -> Items:
    """Return the single item of a slice: the column after the folds that holds its score.

    A table has one score of a slice, so all splits and repeats share it.
    """
    return _items(np.array([task.folds + task.slices().index(name)]))


def no_data() -> Items:
    """Return the training file of a study on a table: an item that no fold has."""
    return np.zeros((1, 2), np.uint8)


def columns_of(questions: Items) -> NDArray[np.int64]:
    """Return the columns of a table's scores for which these questions ask."""
    return questions[:, 0].astype(np.int64) - FIRST_VALUE


def probabilities_of(bits: NDArray[np.float64], values: int) -> dict[str, NDArray[np.generic]]:
    """Return predictions (N, 1, values) with so many bits for the right answer of each item.

    The rest of the probability is spread evenly over all other tokens.
    """
    right = np.exp2(-bits)
    rest = (1 - right) / (values - 1)
    table = np.repeat(rest[:, None], values, axis=1)
    table[:, RIGHT] = right
    tokens = table.argmax(axis=1).astype(np.uint8)[:, None]
    return {"tokens": tokens, "probabilities": table[:, None, :].astype(np.float32)}


def draw_pool(task: Task, secret: bytes, windows: int, folds: int) -> dict[str, Items]:
    """Return the windows of a table's pool, fold after fold, and those of each slice.

    A fold is drawn from whole blocks of the text, so no two folds share a block. Raises BadInput
    if there are too few blocks, or if the windows do not divide into the folds.
    """
    parts = text.deal("english", secret)
    blocks = np.concatenate([parts[split] for split in SPLITS])
    if len(blocks) < folds:
        raise BadInput(f"folds is {folds}; it should be at most {len(blocks)}, the held-out blocks")
    if windows % folds:
        raise BadInput(f"pool is {windows}; it should be a multiple of folds, which is {folds}")
    pool = [
        _draw(task, "english", blocks[fold::folds], windows // folds, secret, f"fold:{fold}")
        for fold in range(folds)
    ]
    slices = {
        name: _draw(
            task,
            name,
            np.concatenate([text.deal(name, secret)[split] for split in SPLITS]),
            windows // 4,
            secret,
            f"pool:{name}",
        )
        for name in task.slices()
    }
    return {"": np.concatenate(pool), **slices}


def _items(columns: NDArray[np.int64]) -> Items:
    answer = np.full(len(columns), RIGHT)
    return np.stack([columns + FIRST_VALUE, answer], axis=1).astype(np.uint8)


def _draw(
    task: Task, name: str, blocks: NDArray[np.int64], count: int, secret: bytes, label: str
) -> Items:
    whole = text.windows(name, blocks, task.window + 1)
    seed = int.from_bytes(hmac.digest(secret, label.encode(), "sha256"), "big")
    rows = np.random.default_rng(seed).permutation(len(whole))[:count]
    if len(rows) < count:
        raise BadInput(f"pool asks for {count} windows of {label}; there are {len(whole)}")
    return np.asarray(whole[rows] + np.uint8(FIRST_VALUE))
