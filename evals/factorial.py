"""Effects and interactions of factors with two levels each, repeat by repeat.

Example: a loop gains 1.0 without and 1.4 with data of its own on a calm cluster, and 0.8 and 0.9
on a troubled one. The effect of own data is the mean of 0.4 and 0.1, 0.25; its interaction with
calm is half of their difference, 0.15. Pure functions over arrays.
"""

from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations, product
from math import prod

import numpy as np

from configs.build import need
from evals.intervals import Figure, Floats, mean

Cell = tuple[int, ...]
"""Level of each factor, 0 or 1, in the order of their names."""


def effects(factors: Sequence[str], cells: Mapping[Cell, Floats], unit: str) -> dict[str, Figure]:
    """Return main effects and interactions, by the names of their factors joined with ` x `.

    `cells` holds the response (R,) of each combination of levels; repeats are paired over cells. An
    effect is twice the mean over cells of the response times the signs of its factors. Raises
    BadInput where a cell is missing or has another number of repeats.
    """
    wanted = set(product((0, 1), repeat=len(factors)))
    need(set(cells) == wanted, "cells", len(cells), f"one of each of {len(wanted)} combinations")
    lengths = {len(values) for values in cells.values()}
    need(len(lengths) == 1, "repeats", sorted(lengths), "equally many in every cell")
    return {
        " x ".join(factors[place] for place in chosen): mean(_contrast(cells, chosen), unit)
        for count in range(1, len(factors) + 1)
        for chosen in combinations(range(len(factors)), count)
    }


def _contrast(cells: Mapping[Cell, Floats], chosen: Iterable[int]) -> Floats:
    places = tuple(chosen)
    signed = [values * prod(2 * cell[p] - 1 for p in places) for cell, values in cells.items()]
    return np.asarray(2 * np.mean(signed, axis=0))
