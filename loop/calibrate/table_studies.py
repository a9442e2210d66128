"""Studies on worlds of a table of recorded trainings.

Example: a world has some recipe of the table's grid as its baseline, and six of its ten knobs may
change. Every second world learns: there a newer recipe reads the notebook better.
"""

import random
from dataclasses import dataclass, replace
from typing import Any

from configs.arms import ONE_SHOT
from configs.errors import BadInput
from configs.recipe import Recipe
from configs.settings.config import Config
from evals.closure import STAGES, Event
from evals.pace import Effort
from evals.retention import Held
from evals.table import PLANNED, World
from loop.calibrate.in_memory import play_study
from loop.instruments.drift import read_drift
from loop.instruments.gains import read_gains, read_skills
from loop.instruments.gather import Records
from loop.instruments.losses import read_plans, read_rungs
from loop.instruments.proposing import read_proposing
from loop.instruments.run import Run
from loop.settings import compose_settings

ARMS = ("self", "refit", "scrambled", "scrambled_own", "random", "local", "one_shot")
"""Arms of every study; a program that reads the notebook stands in for weights."""
REPEATS = (8, 12)
"""Fewest and most repeats of a study."""
FEWEST_KNOBS = 6
"""Fewest free knobs of a world, or all that the grid has."""
SEEDS = 10**6
"""Distance between the seeds of worlds."""
SETTINGS = (
    "study=tabulated",
    "study.arms=[random,local]",
    "study.start_trials=16",
    "study.generations=8",
    "study.plan_trainings=160",
    "study.skill_proposals=8",
)
"""Settings of every study, beside its table, its arms, its baseline and its knobs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TableWorld:
    """A world on a table."""

    number: int
    "its number, from 0"
    baseline: Recipe
    "recipe that people gave"
    fixed: dict[str, Any]
    "knobs that stay at the baseline's value"
    learns: bool
    "whether a newer recipe reads better; if not, self and refit have the same law"


def compose_study(path: str) -> Config:
    """Return the settings of every study on a table, from its file."""
    config = compose_settings([*SETTINGS, f"task.table={path}"])
    return replace(config, study=replace(config.study, arms=ARMS))


def comparable(config: Config) -> tuple[str, ...]:
    """Return the arms that live as many generations as each other: all but the one-shot arms."""
    return tuple(arm for arm in config.arms() if arm not in ONE_SHOT)


def draw_world(world: World, number: int) -> TableWorld:
    """Return a world of a table by its number; every second one learns.

    Its baseline is a recipe of the grid that never failed, its knobs are a part of the grid's.
    """
    rng, grid = random.Random(f"world:{number}"), world.table.task.grid or {}
    failed = {row.recipe for row in world.table.rows if row.failure}
    recipes = {row.recipe: None for row in world.table.rows if row.level == PLANNED}
    sound = [recipe for recipe in recipes if recipe not in failed]
    if not sound:
        raise BadInput(f"table {world.table.name} has no recipe that never failed, for a baseline")
    count = rng.randint(min(FEWEST_KNOBS, len(grid)), len(grid))
    names = rng.sample(sorted(grid), count)
    baseline = rng.choice(sound)
    return TableWorld(
        number=number,
        baseline=baseline,
        fixed={name: getattr(baseline, name) for name in grid if name not in names},
        learns=number % 2 == 1,
    )


def draw_repeats(place: TableWorld, number: int) -> int:
    """Return the repeats of a study of a world."""
    return random.Random(f"repeats:{place.number}:{number}").randint(*REPEATS)


def play(
    config: Config,
    world: World,
    place: TableWorld,
    number: int,
    repeats: int,
    *,
    truth: bool = False,
) -> Run:
    """Play a study; its name and seed decide its luck. A truth needs no corrected gains."""
    name = f"world-{place.number}-{'truth' if truth else 'study'}-{number}"
    seed = number + SEEDS * (2 * place.number + truth)
    study = replace(config.study, name=name, seed=seed, repeats=repeats)
    task = replace(config.task, baseline=place.baseline, fixed=place.fixed or None)
    own = replace(config, study=study, task=task)
    return play_study(number, own, world, learns=place.learns, cautions=not truth)


def read_records(run: Run, references: tuple[Held, ...] = ()) -> Records:
    """Return the records of a run as the instruments need them; no person decided anything."""
    arms, nobody = comparable(run.config), Effort(decisions=(), minutes=(), queue_seconds=())
    return Records(
        config=run.config,
        gains=tuple(read_gains(run)),
        events=dict.fromkeys(arms, _decide_by_rule()),
        plans={arm: tuple(read_plans(run, arm)) for arm in arms},
        held={arm: tuple(read_rungs(run, arm)) for arm in arms},
        references=references,
        effort=nobody,
        efforts=dict.fromkeys(arms, nobody),
        simulated={},
        acts=0,
        lived=0,
        skills=tuple(read_skills(run)),
        tops={},
        proposing={arm: tuple(read_proposing(run, arm)) for arm in arms},
        drifts={arm: tuple(read_drift(run, arm)) for arm in arms},
        clock=((0.0, 0.0, 0.0),),
    )


def _decide_by_rule() -> tuple[Event, ...]:
    """Return the decisions of a loop that nobody holds up, so that no word fails for people."""
    return tuple(
        Event(stage=stage, actor="unattended rule", cpu_us=1, decisions=100) for stage in STAGES
    )
