"""Tables of items: tasks with a fixed list of items, such as scikit-learn's handwriting."""

from functools import cache

import numpy as np
from numpy.typing import NDArray

from configs.errors import BadInput
from configs.tokens import COPIED, COPIED_VALUES, EQUALS, FIRST_VALUE, Task

Items = NDArray[np.uint8]
OWN: dict[str, Items] = {}
"""Values of people's own tasks, uint8 (N, question + answer), by digest; loop/study/own_files.py
fills it.
"""


def table(task: Task) -> Items:
    """Return every item of a task with a table of items.

    Raises BadInput for an own task that was not read here.
    """
    if task.name == "digits":
        return _images(task.levels, task.side)
    if task.name == "planted":
        return _copies()
    if task.items not in OWN:
        raise BadInput(
            f"the items {task.items[:12]} of task custom are not at hand; name the task's file in"
            " task.file"
        )
    values = OWN[task.items].astype(np.int64) + FIRST_VALUE
    columns = [
        values[:, : task.question],
        np.full((len(values), 1), EQUALS),
        values[:, task.question :],
    ]
    return np.concatenate(columns, axis=1).astype(np.uint8, order="C")


@cache
def _copies() -> Items:
    """Return every question of the simulated task, with its first column as the answer."""
    numbers = np.arange(COPIED_VALUES**COPIED)
    values = numbers[:, None] // COPIED_VALUES ** np.arange(COPIED) % COPIED_VALUES + FIRST_VALUE
    return np.concatenate(
        [values, np.full((len(values), 1), EQUALS), values[:, :1]], axis=1
    ).astype(np.uint8, order="C")


@cache
def _images(levels: int, side: int) -> Items:
    from sklearn.datasets import load_digits

    data = load_digits()
    whole = (
        data.images.reshape(-1, side, 8 // side, side, 8 // side)
        .mean(axis=(2, 4))
        .reshape(-1, side**2)
    )
    pixels = np.minimum(whole * levels / 17, levels - 1).astype(np.int64) + FIRST_VALUE
    columns = [pixels, np.full((len(pixels), 1), EQUALS), data.target[:, None] + FIRST_VALUE]
    return np.concatenate(columns, axis=1).astype(np.uint8, order="C")
