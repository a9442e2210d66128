"""A table of recorded trainings as a world: scores of recipes are known, and replicates are drawn.

Example: five trainings of a recipe have 3.9 to 4.0 bits. Their mean is the recipe's true score on
this table. A replicate is that mean, plus a residual of some training: of this recipe, or of
another whose seeds deviate about as much. The residual keeps all folds together.

Nothing is fitted and nothing is near: a recipe or a compute level without rows is unlisted.
"""

import copy
import hashlib
import itertools
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from configs.build import plain
from configs.cost import steps
from configs.errors import BadInput
from configs.recipe import Recipe, knob_values
from configs.settings.task import TaskSetup
from configs.tokens import layout

Floats = NDArray[np.float64]
PLANNED = 1.0
"""The compute level of a study: planned compute, once."""
THIRDS = 3
"""Groups of recipes by the deviation of their seeds; residuals pass within a group."""
UNLISTED = "unlisted"
"""The word for a recipe or a compute level without rows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A recorded training."""

    recipe: Recipe
    "what was trained"
    level: float
    "compute, as a multiple of the planned compute"
    number: int
    "number of the training of this recipe at this level"
    seed: int
    "seed of the training"
    failure: str
    "why it gave no score; empty otherwise"
    bits: tuple[float, ...]
    "bits of each fold, then of each slice; empty after a failure"
    steps: int
    "training steps"
    cpu_us: int
    "charge of the training, start-up excluded"
    startup_cpu_us: int
    "charge of its start-up"
    predict_cpu_us: int
    "charge of its predictions on the whole pool, start-up excluded"
    peak_bytes: int
    "largest memory of the training"
    weights: str
    "digest of its weights"


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Recorded trainings with all that decides them."""

    name: str
    "name and version, such as text-v1"
    task: TaskSetup
    "task of the trainings: cost, baseline, and the grid"
    levels: tuple[float, ...]
    "compute levels of the table"
    folds: int
    "folds of the pool"
    slices: tuple[str, ...]
    "slices that were scored"
    code: str
    "digest of the code that trained"
    design: str
    "digest of the design, which says what is trained"
    complete: bool
    "whether every planned training is there"
    rows: tuple[Row, ...]
    "the trainings"


class Unlisted(BadInput):
    """A recipe or a compute level of which the table has no row; its text begins with UNLISTED."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """A replicate: its scores, and the row that says its charges."""

    row: Row
    "a training of this recipe at this level"
    bits: Floats
    "bits of each fold and slice; empty after a failure"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """The trainings of a recipe at a level."""

    rows: tuple[Row, ...]
    "all of them"
    mean: Floats
    "mean bits of those with a score"
    residuals: Floats
    "distances from the mean, times sqrt(n / (n - 1)), a row each"
    deviation: float
    "standard deviation of mean bits over seeds; NaN below two scores"


def list_grid(task: TaskSetup) -> list[Recipe]:
    """Return every recipe of a task's grid, knobs in the grid's order.

    Raises BadInput for a recipe that cannot be, and for a baseline off the grid.
    """
    grid = task.grid or {}
    base, recipes = plain(task.baseline), list[Recipe]()
    for values in itertools.product(*grid.values()):
        recipes.append(Recipe(**{**base, **dict(zip(grid, values, strict=True))}))
    if task.baseline not in recipes:
        raise BadInput("task.baseline is off the grid; each of its knobs should have a grid value")
    return recipes


class World:
    """The world of a table: true scores and replicates. It holds the whole table in memory."""

    def __init__(self, table: Table) -> None:
        self.table = table
        groups: dict[tuple[Recipe, float], list[Row]] = {}
        for row in table.rows:
            groups.setdefault((row.recipe, row.level), []).append(row)
        self._cells = {key: _make_cell(rows, table.folds) for key, rows in groups.items()}
        self._keys = {key: _name_cell(*key) for key in self._cells}
        self._donors = {level: _group_donors(self._cells, level) for level in table.levels}
        self._steps = {
            (recipe, _steps(table.task, recipe, level)): level for recipe, level in self._cells
        } | {
            (recipe, _steps(table.task, recipe, PLANNED)): PLANNED
            for recipe, level in self._cells
            if level == PLANNED
        }

    def within(self, fixed: Mapping[str, Any]) -> "World":
        """Return the part of this world whose recipes have the fixed knobs; others are unlisted.

        Scores and replicates are those of the whole world.
        """
        task, part = self.table.task, copy.copy(self)
        own = {name: (value,) for name, value in fixed.items()}
        base, grid = replace(task.baseline, **fixed), {**(task.grid or {}), **own}
        part.table = replace(self.table, task=replace(task, baseline=base, grid=grid))
        inside = set(list_grid(part.table.task))
        part._cells = {key: cell for key, cell in self._cells.items() if key[0] in inside}
        part._steps = {key: level for key, level in self._steps.items() if key[0] in inside}
        return part

    def level(self, recipe: Recipe, count: int) -> float:
        """Return the compute level of a training of so many steps; raise Unlisted without rows."""
        level = self._steps.get((recipe, count))
        if level is not None:
            return level
        if any((recipe, other) in self._cells for other in self.table.levels):
            raise Unlisted(f"{UNLISTED}: the table has no training of this recipe at {count} steps")
        raise self._lacks(recipe)

    def _lacks(self, recipe: Recipe) -> Unlisted:
        off = self._off(recipe)
        return Unlisted(f"{UNLISTED}: the table has no training of this recipe{off}")

    def true(self, recipe: Recipe, level: float = PLANNED) -> Floats:
        """Return the mean bits per fold and slice of a recipe; empty if all trainings failed."""
        if (recipe, level) not in self._cells:
            raise self._lacks(recipe)
        return self._cells[recipe, level].mean

    def score(
        self, recipe: Recipe, level: float = PLANNED, own: NDArray[np.int64] | None = None
    ) -> float:
        """Return the true bits of a recipe, its mean over all folds; NaN if it always failed.

        `own` folds alone give the truth of the items that a split of a repeat holds.
        """
        folds = self.true(recipe, level)[: self.table.folds]
        if not len(folds):
            return math.nan
        return float((folds if own is None else folds[own]).mean())

    def scores(self, recipe: Recipe, level: float = PLANNED) -> list[float]:
        """Return the bits of each training of a recipe that gave a score, its mean over all
        folds.
        """
        self.true(recipe, level)
        rows = self._cells[recipe, level].rows
        return [float(np.mean(r.bits[: self.table.folds])) for r in rows if not r.failure]

    def draw(self, recipe: Recipe, level: float, seed: int) -> Drawn:
        """Return the replicate of a recipe at a level with a seed; there is no default seed.

        The same seed, recipe and level give the same replicate. Two recipes with one seed have
        independent noise, since the recipe is in the key.
        """
        self.true(recipe, level)
        cell, donors = self._cells[recipe, level], self._donors[level][recipe]
        key = hashlib.sha256(f"replicate:{seed}:{self._keys[recipe, level]}".encode()).digest()
        row = cell.rows[int.from_bytes(key[:8], "big") % len(cell.rows)]
        if row.failure or not len(donors):
            return Drawn(row=row, bits=np.zeros(0) if row.failure else cell.mean)
        residual = donors[int.from_bytes(key[8:16], "big") % len(donors)]
        return Drawn(row=row, bits=np.maximum(cell.mean + residual, 0.0))

    def best(self, level: float = PLANNED) -> tuple[Recipe, float]:
        """Return the recipe with the best true score of those listed at a level, and that score."""
        listed = [r for r in list_grid(self.table.task) if (r, level) in self._cells]
        scores = {recipe: self.score(recipe, level) for recipe in listed}
        finite = {recipe: bits for recipe, bits in scores.items() if math.isfinite(bits)}
        recipe = min(finite, key=lambda name: finite[name])
        return recipe, finite[recipe]

    def deviations(self, level: float = PLANNED) -> list[float]:
        """Return the deviation over seeds of every recipe at a level."""
        return [cell.deviation for (_, other), cell in self._cells.items() if other == level]

    def _off(self, recipe: Recipe) -> str:
        """Return the knobs of a recipe that are off the grid, as a clause."""
        base, grid = knob_values(self.table.task.baseline), self.table.task.grid or {}
        off = [
            f"{name}={value}"
            for name, value in knob_values(recipe).items()
            if value not in grid.get(name, (base[name],))
        ]
        return f": {', '.join(off)} is off its grid" if off else ""


def _make_cell(rows: Sequence[Row], folds: int) -> Cell:
    scored = np.array([row.bits for row in rows if not row.failure], np.float64)
    count = len(scored)
    if not count:
        return Cell(rows=tuple(rows), mean=np.zeros(0), residuals=scored, deviation=math.nan)
    mean = scored.mean(axis=0)
    scale = math.sqrt(count / (count - 1)) if count > 1 else 0.0
    totals = scored[:, :folds].mean(axis=1)
    return Cell(
        rows=tuple(rows),
        mean=mean,
        residuals=(scored - mean) * scale if count > 1 else scored[:0],
        deviation=float(totals.std(ddof=1)) if count > 1 else math.nan,
    )


def _group_donors(cells: Mapping[tuple[Recipe, float], Cell], level: float) -> dict[Recipe, Floats]:
    """Return the residuals from which each recipe draws: those of its third by deviation."""
    here = {recipe: cell for (recipe, other), cell in cells.items() if other == level}
    ranked = sorted(
        (recipe for recipe, cell in here.items() if math.isfinite(cell.deviation)),
        key=lambda recipe: here[recipe].deviation,
    )
    places = {recipe: rank * THIRDS // len(ranked) for rank, recipe in enumerate(ranked)}
    thirds = [
        np.concatenate([here[recipe].residuals for recipe in ranked if places[recipe] == third])
        for third in sorted(set(places.values()))
    ]
    # A recipe with a single score has no deviation; it draws from the middle third.
    middle = len(thirds) // 2
    order = {third: number for number, third in enumerate(sorted(set(places.values())))}
    none = np.zeros((0, 0))
    return {
        recipe: thirds[order[places[recipe]] if recipe in places else middle] if thirds else none
        for recipe in here
    }


def _name_cell(recipe: Recipe, level: float) -> str:
    text = json.dumps([plain(recipe), level], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _steps(task: TaskSetup, recipe: Recipe, level: float) -> int:
    return steps(recipe, layout(task.format(), recipe), task.cost, int(task.planned_cpu_us * level))
