"""Proposers that run on the trusted side: `random` and `local`. Each writes strict JSON, like any other proposer.

What a proposer may see: the champion's recipe, and of its own campaign's trials the recipes and what the Ladder tells of them.
"""

import json
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from configs.build import plain
from configs.errors import BadInput
from configs.recipe import GRID, Recipe
from evals.ladder import Told


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """All that a proposer is shown."""

    champion: Recipe
    "recipe to improve"
    history: Sequence[tuple[Recipe, Told]]
    "the campaign's trials: recipe, and what is told of its feedback score (evals/ladder.py); no time, no exit code, no log"
    mutations: int
    "the most knobs that one local proposal changes"
    rng: random.Random
    "seeded by study seed, arm, repeat, generation and index"


def propose_random(scene: Scene) -> str:
    """Draw every knob uniformly from its grid."""
    return _proposal(scene.champion, _draw(scene.rng, dict(GRID)), "uniform draw from the grid")


def propose_local(scene: Scene) -> str:
    """Change one to `mutations` knobs of the champion to other grid values; never a recipe that was tried."""
    tried = [recipe for recipe, _ in scene.history]
    recipe = scene.champion
    for _ in range(200):
        names = scene.rng.sample(sorted(GRID), scene.rng.randint(1, scene.mutations))
        fixed = {k: (v,) for k, v in plain(scene.champion).items()}
        other = {name: tuple(v for v in GRID[name] if (v,) != fixed[name]) for name in names}
        recipe = _draw(scene.rng, fixed, other)
        if recipe not in tried:
            break
    return _proposal(scene.champion, recipe, "a step from the champion's recipe")


def _draw(rng: random.Random, choices: dict[str, tuple[Any, ...]], other: dict[str, tuple[Any, ...]] | None = None) -> Recipe:
    """Draw until the knobs fit together; a step that cannot fit (heads and width) falls back to one head."""
    choices = choices | (other or {})
    for _ in range(1000):
        try:
            return Recipe(**{name: rng.choice(values) for name, values in choices.items()})
        except BadInput:
            continue
    return _draw(rng, choices | {"heads": (1,)})


def _proposal(champion: Recipe, recipe: Recipe, hypothesis: str) -> str:
    before = plain(champion)
    knobs = {name: value for name, value in plain(recipe).items() if value != before[name]}
    return json.dumps({"hypothesis": hypothesis, "knobs": knobs, "predicted_gain": None, "edits": []})


PROPOSERS: dict[str, Callable[[Scene], str]] = {"local": propose_local, "random": propose_random}
