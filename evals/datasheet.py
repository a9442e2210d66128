"""The facts of a table of recorded trainings, and whether a study may rest on it."""

import math
from typing import Any

import numpy as np

from configs.errors import BadInput
from configs.recipe import knob_values
from evals.table import PLANNED, Table, World, list_grid

FEWEST_SEEDS = 2
"""Trainings that every recipe of the grid needs at planned compute."""


def check_table(table: Table, code: str) -> None:
    """Raise BadInput for a table on which no study may rest.

    `code` is the digest of the code that would train now.
    """
    if table.code != code:
        raise BadInput(
            f"table {table.name} was trained by other code ({table.code[:12]}, and here it is"
            f" {code[:12]}); check out the code of the table, or build another version"
        )
    wide = {len(row.bits) for row in table.rows if not row.failure}
    if wide != {table.folds + len(table.slices)}:
        raise BadInput(
            f"table {table.name} holds rows of {sorted(wide)} scores; it should be"
            f" {table.folds} folds and {len(table.slices)} slices"
        )
    for row in table.rows:
        if not all(0 <= value < math.inf for value in row.bits):
            raise BadInput(
                f"table {table.name} holds a score that is no finite number of bits, of seed"
                f" {row.seed} at level {row.level:g}; take a fresh copy"
            )
    again = f"`heirloop tab build {table.name.rpartition('-')[0]}` goes on with it"
    for level in table.levels:
        if not any(row.level == level and row.recipe == table.task.baseline for row in table.rows):
            raise BadInput(
                f"table {table.name} lacks the baseline at {level:g} times the planned compute;"
                f" {again}"
            )
    counts = dict.fromkeys(list_grid(table.task), 0)
    for row in table.rows:
        if row.level == PLANNED and row.recipe in counts:
            counts[row.recipe] += 1
    short = sum(count < FEWEST_SEEDS for count in counts.values())
    if short:
        raise BadInput(
            f"table {table.name} is incomplete: {short} of {len(counts)} recipes have fewer than"
            f" {FEWEST_SEEDS} trainings; {again}"
        )


def describe(table: Table) -> dict[str, Any]:
    """Return the facts of a table for people: sizes, levels, failures and seed noise."""
    world, planned = World(table), [row for row in table.rows if row.level == PLANNED]
    noise = [value for value in world.deviations() if math.isfinite(value)]
    recipe, best = world.best()
    base = knob_values(table.task.baseline)
    changed = {name: v for name, v in knob_values(recipe).items() if v != base[name]}
    return {
        "table": table.name,
        "complete": table.complete,
        "trainings": len(table.rows),
        "recipes": len({row.recipe for row in planned}),
        "levels": list(table.levels),
        "folds": table.folds,
        "failed": sum(bool(row.failure) for row in table.rows),
        "cpu_seconds": round(sum(row.cpu_us + row.startup_cpu_us for row in table.rows) / 1e6, 1),
        "seed_deviation": float(np.sqrt(np.mean(np.square(noise)))) if noise else None,
        "baseline_bits": world.score(table.task.baseline),
        "best_bits": best,
        "best_changes": changed,
    }
