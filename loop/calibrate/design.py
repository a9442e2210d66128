"""The design of a table: which recipes are trained, how often, and at which compute.

People write it in configs/tab/NAME.yaml. Begin with `read_design`, then `list_slots`.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from omegaconf import OmegaConf

from configs.build import need, parse, plain
from configs.errors import BadInput
from configs.recipe import Recipe, knobs
from configs.settings.config import Config
from evals.table import PLANNED, list_grid
from loop.plan import ROOT
from loop.settings import compose_settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Levels:
    """Trainings at other compute than planned."""

    times: tuple[float, ...]
    "multiples of the planned compute, such as 0.25 and 4"
    recipes: int
    "recipes at each: the baseline, its single-knob neighbours, then uniform draws from the grid"
    seeds: int
    "trainings of each"


@dataclass(frozen=True, slots=True, kw_only=True)
class Design:
    """What a table holds, as people wrote it in configs/tab/NAME.yaml."""

    task: str
    "task whose nets are trained, such as text; its compute is the planned compute"
    baseline: dict[str, Any]
    "knobs that the baseline has in this table, beside those of the task"
    grid: dict[str, tuple[Any, ...]]
    "values per knob, in order of size; every combination is trained"
    seeds: int
    "trainings of every recipe at planned compute"
    levels: Levels
    "trainings at other compute"
    pool: int
    "held-out windows that every training predicts"
    folds: int
    "parts of the pool, each with a score of its own"
    chance_rows: int
    "rows of chance in the notebook of every training; 0 unless the baseline has a share for it"

    def __post_init__(self) -> None:
        need(2 <= self.seeds <= 1000, "seeds", self.seeds, "between 2 and 1000")
        need(60 <= self.folds <= 240, "folds", self.folds, "between 60 and 240")
        odd = [name for name in (*self.grid, *self.baseline) if name not in knobs()]
        need(not odd, "grid", odd, f"knobs: {', '.join(knobs())}")
        times = self.levels.times
        need(
            PLANNED not in times and len(set(times)) == len(times), "levels.times", times, "others"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    """A training that a table wants."""

    recipe: Recipe
    level: float
    number: int


def read_design(name: str) -> Design:
    """Return the design of a table; raise BadInput for one that is not there or not sound."""
    folder = ROOT / "configs" / "tab"
    known = sorted(path.stem for path in folder.glob("*.yaml"))
    if name not in known:
        raise BadInput(f"no table is named {name!r}; configs/tab has {', '.join(known)}")
    return parse(Design, OmegaConf.to_object(OmegaConf.load(folder / f"{name}.yaml")), name)


def compose_design(design: Design, overrides: tuple[str, ...]) -> Config:
    """Return the settings of a design: its task, with its grid and baseline."""
    config = compose_settings([f"task={design.task}", "study=single", *overrides])
    base = parse(Recipe, {**plain(config.task.baseline), **design.baseline}, "baseline")
    need(
        bool(base.notebook) == bool(design.chance_rows),
        "chance_rows",
        design.chance_rows,
        "above 0 where the baseline has a share for the notebook, else 0",
    )
    own = {name: tuple(values) for name, values in design.grid.items()}
    task = replace(config.task, baseline=base, grid=own, notebook=bool(base.notebook))
    return replace(config, task=task)


def list_slots(design: Design, config: Config) -> Iterator[Slot]:
    """Yield every training that a design wants: first two of each recipe, then the levels."""
    recipes = list_grid(config.task)
    for number in range(2):
        yield from (Slot(recipe=r, level=PLANNED, number=number) for r in recipes)
    chosen = _choose_recipes(design, config, recipes)
    for number in range(design.levels.seeds):
        for level in design.levels.times:
            yield from (Slot(recipe=r, level=level, number=number) for r in chosen)
    for number in range(2, design.seeds):
        yield from (Slot(recipe=r, level=PLANNED, number=number) for r in recipes)


def _choose_recipes(design: Design, config: Config, recipes: list[Recipe]) -> list[Recipe]:
    """Return the recipes for other levels: baseline, single-knob neighbours, uniform draws."""
    base = config.task.baseline

    def changes(recipe: Recipe) -> int:
        return sum(getattr(recipe, name) != getattr(base, name) for name in design.grid)

    near = sorted((r for r in recipes if changes(r) <= 1), key=changes)
    others = [recipe for recipe in recipes if changes(recipe) > 1]
    random.Random(0).shuffle(others)
    return [*near, *others][: design.levels.recipes]
