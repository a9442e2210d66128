"""Proposers: functions from a history to one strict-JSON proposal. Whatever it is, its output is data and its compute is charged.

Those of this file are programs on the trusted side, charged their own CPU time. `heirloop proposers` lists all.
"""

import json
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from configs.build import plain
from configs.errors import BadInput
from configs.history import History
from configs.recipe import Recipe
from configs.study import Proposer as Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """All that a program on the trusted side is shown when it is asked for one proposal."""

    history: History
    "the champion and the campaign's trials (configs/history.py)"
    sources: Mapping[str, str]
    "digest of a trial's bundle -> text of its models/train.py"
    settings: Settings
    "group `proposer` of the study"
    rng: random.Random
    "seeded by study seed, arm, repeat, generation and index"
    generation: int
    "number of the generation"
    index: int
    "number of the proposal within it"


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposer:
    """One way to get proposals."""

    where: Literal["trusted", "box", "outside", "people", "record"]
    "who writes: a program on the trusted side, a job in a box, an outside model, people, or a recorded run"
    sees: str
    "what it may see, in one clause"
    costs: str
    "what is charged for it, in one clause"
    write: Callable[[Scene], str] | None = None
    "trusted: returns the text of one proposal (configs.records.Proposal)"
    needs: tuple[str, ...] = ()
    "settings of group `proposer` of which one must be given"
    program: bool = False
    "box: the study's own program writes, not the champion's weights"


def propose_random(scene: Scene) -> str:
    """Draw every knob uniformly from its grid."""
    return proposal(scene.history.champion, draw(scene.rng, scene.history.champion, scene.history.grid), "uniform draw from the grid")


def propose_local(scene: Scene) -> str:
    """Change one to `mutations` knobs of the champion to other grid values; never a recipe that was tried."""
    grid, champion = scene.history.grid, scene.history.champion
    tried = [trial.recipe for trial in scene.history.trials]
    recipe, before = champion, plain(champion)
    for _ in range(200):
        names = scene.rng.sample(sorted(grid), scene.rng.randint(1, min(scene.settings.mutations, len(grid))))
        recipe = draw(scene.rng, champion, {name: tuple(v for v in grid[name] if v != before[name]) for name in names})
        if recipe not in tried:
            break
    return proposal(champion, recipe, "a step from the champion's recipe")


def draw(rng: random.Random, base: Recipe, choices: Mapping[str, tuple[Any, ...]]) -> Recipe:
    """Draw knobs until they fit together; a step that cannot fit (heads and width) falls back to one head."""
    for attempt in range(200):
        found = {**plain(base), **{name: rng.choice(values) for name, values in choices.items()}}
        if attempt > 100:
            found["heads"] = 1
        try:
            return Recipe(**found)
        except BadInput:
            continue
    raise AssertionError("no draw fits")


def proposal(champion: Recipe, recipe: Recipe, hypothesis: str, predicted_gain: float | None = None) -> str:
    """Return the text of a proposal that changes the champion's recipe into another."""
    before = plain(champion)
    knobs = {name: value for name, value in plain(recipe).items() if value != before[name]}
    return json.dumps({"hypothesis": hypothesis, "knobs": knobs, "predicted_gain": predicted_gain, "edits": []})


HISTORY = "own campaign's recipes, rounded feedback scores and verdicts"
PROPOSERS: dict[str, Proposer] = {
    "local": Proposer(where="trusted", write=propose_local, sees="the champion's recipe, recipes tried", costs="its own CPU time"),
    "random": Proposer(where="trusted", write=propose_random, sees="the champion's recipe", costs="its own CPU time"),
    "notebook": Proposer(where="box", sees=HISTORY, costs="one training of the champion on the notebook and one propose job a generation, "
                                                          "and the notebook's share of every training"),
    "command": Proposer(where="box", program=True, needs=("program", "file"), sees=HISTORY, costs="one propose job a generation"),
    "human": Proposer(where="people", sees="all that people see of the run", costs="nothing of the budget; people's time"),
    "replay": Proposer(where="record", needs=("replay",), sees="nothing: it makes the proposals of a recorded run again", costs="nothing"),
}  # fmt: skip
ARMS: dict[str, str] = {"self": "notebook"}
"""Arms whose name is not their proposer's: `self`, in which the champion proposes its own successor."""


def proposer(arm: str) -> Proposer:
    """Return the proposer of an arm; raise BadInput for an unknown one."""
    name = ARMS.get(arm, arm)
    if name not in PROPOSERS:
        raise BadInput(f"study.arms names {arm!r}; it should be one of {', '.join((*ARMS, *PROPOSERS))}")
    return PROPOSERS[name]
