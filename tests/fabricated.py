"""A small fabricated table: its numbers come from a generator with a seed, and nothing was trained.

Example: `table(tmp_path)` writes `fabricated-v1.parquet` over 2 x 2 x 3 recipes with five seeds.
"""

from dataclasses import replace
from functools import cache

import numpy as np

from configs.cost import steps
from configs.tokens import layout
from evals.table import PLANNED, Row, Table, list_grid
from loop.settings import compose_settings
from loop.study.tab_file import bits_as_written, stamp_code, write_table

GRID = {"learning_rate": (0.002, 0.005), "schedule": ("constant", "cosine"), "depth": (1, 2, 3)}
WITH_NOTEBOOK = GRID | {"position": ("rotary", "learned"), "notebook": (0.05, 0.1)}
"""The grid of a table whose trainings have a share for the notebook: 48 recipes."""
GAINS = {("learning_rate", 0.005): -0.3, ("schedule", "cosine"): -0.2, ("depth", 2): -0.1}
"""Bits by which a value lowers the score of a recipe."""
FOLDS = 64


@cache
def fabricated_task(notebook=False):
    """Return task text-small over a fabricated grid; its baseline has each knob's first value."""
    task, values = compose_settings(["task=text-small"]).task, WITH_NOTEBOOK if notebook else GRID
    first = {"notebook": 0.0} | {name: choices[0] for name, choices in values.items()}
    grid = {name: tuple(choices) for name, choices in values.items()}
    return replace(task, grid=grid, notebook=notebook, baseline=replace(task.baseline, **first))


def level_bits(recipe):
    """Return the planted score of a recipe."""
    gains = (GAINS.get((name, getattr(recipe, name)), 0.0) for name in GRID)
    return 4.0 + sum(gains)


def fabricate(seeds=5, levels=(PLANNED, 4.0), code=None, noise=0.04, failing=(), notebook=False):
    """Return the table. `failing` recipes fail in every training."""
    task, rng, rows = fabricated_task(notebook), np.random.default_rng(20), []
    hard = rng.normal(0, 0.3, FOLDS + 2)
    for level in levels:
        for number in range(seeds if level == PLANNED else 2):
            for place, recipe in enumerate(list_grid(task)):
                if level != PLANNED and place % 2:
                    continue
                luck = rng.normal(0, noise) + rng.normal(0, 0.05, FOLDS + 2)
                bits = level_bits(recipe) - 0.1 * np.log2(level) + hard + luck
                failed = recipe in failing
                rows.append(
                    Row(
                        recipe=recipe,
                        level=level,
                        number=number,
                        seed=1000 + number,
                        failure="exit 1" if failed else "",
                        bits=() if failed else bits_as_written(bits),
                        steps=steps(
                            recipe,
                            layout(task.format(), recipe),
                            task.cost,
                            int(task.planned_cpu_us * level),
                        ),
                        cpu_us=int(task.planned_cpu_us * level * 0.95) + number,
                        startup_cpu_us=5000,
                        predict_cpu_us=40_000,
                        peak_bytes=200_000_000,
                        weights=f"{place:04x}{number:04x}",
                    )
                )
    return Table(
        name="fabricated-v1",
        task=task,
        levels=tuple(levels),
        folds=FOLDS,
        slices=("code", "licence"),
        design="of nobody",
        code=stamp_code() if code is None else code,
        complete=True,
        rows=tuple(rows),
    )


def write(folder, table=None):
    """Write a fabricated table into a folder; return its path."""
    path = folder / "fabricated-v1.parquet"
    write_table(table or fabricate(), path)
    return path
