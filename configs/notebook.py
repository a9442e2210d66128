"""The notebook's tokens: past trials as outcome and knob-value pairs, over a task's grid.

Example: a grid of two knobs, three values each, has 5 + 6 tokens, and documents of 4 tokens. A
token names knob and value together, so the pairs of a document may stand in any order. Standard
library only.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import accumulate
from typing import Any

from configs.build import need
from configs.recipe import GRID, Recipe, typed_values

BUCKETS = 4
"""Outcomes in a notebook: quarters of the trials by rank, 0 the worst."""
ASK = BUCKETS
"""Notebook token in the place of an unknown outcome."""
FIRST_PAIR = ASK + 1
MOST_TOKENS = 256
"""A training file holds a token in a byte."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Notebook:
    """The tokens of a notebook over a grid."""

    grid: Mapping[str, tuple[Any, ...]]
    "values per knob, in order of size"
    pairs: Mapping[str, int]
    "first token of each knob's values: a single token gives knob and value"
    size: int
    "number of tokens"
    groups: tuple[int, ...]
    "group of each token: outcomes, ASK, then a group per knob"
    document: int
    "tokens of a document: outcome or ASK, a pair per knob, outcome"

    def encode(self, recipe: Recipe) -> list[int]:
        """Return a recipe's pair tokens in the order of the grid; a value off the grid counts as
        the nearest.
        """
        return [
            self.pairs[name] + _nearest(values, getattr(recipe, name))
            for name, values in self.grid.items()
        ]

    def decode(self, tokens: Sequence[int]) -> dict[str, Any]:
        """Return the knob values of pair tokens, in any order."""
        known = {
            first + i: (name, value)
            for name, first in self.pairs.items()
            for i, value in enumerate(self.grid[name])
        }
        return dict(known[token] for token in tokens)


def notebook_over(grid: Mapping[str, tuple[Any, ...]] | None) -> Notebook:
    """Return the notebook over a task's own grid; None stands for the common grid."""
    return _build(tuple((grid or GRID).items()))


@cache
def _build(items: tuple[tuple[str, tuple[Any, ...]], ...]) -> Notebook:
    grid = typed_values(dict(items))
    sizes = [len(values) for values in grid.values()]
    *firsts, size = accumulate(sizes, initial=FIRST_PAIR)
    need(size <= MOST_TOKENS, "grid", size, f"a grid of at most {MOST_TOKENS - FIRST_PAIR} values")
    knobs = [group for group, count in enumerate(sizes, 2) for _ in range(count)]
    return Notebook(
        grid=grid,
        pairs=dict(zip(grid, firsts, strict=True)),
        size=size,
        groups=((0,) * BUCKETS + (1,) + tuple(knobs)),
        document=len(grid) + 2,
    )


def _nearest(values: tuple[Any, ...], value: Any) -> int:
    if value in values:
        return values.index(value)
    if isinstance(value, str):
        return 0
    return min(range(len(values)), key=lambda i: abs(float(values[i]) - float(value)))
