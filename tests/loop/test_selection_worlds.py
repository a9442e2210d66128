"""Selection on proposing skill in worlds with a known truth, played on a fabricated table.

In one, a knob without any part in the task decides how well weights read; in the other nothing
does. The truth is that of the table's means, over the same proposals.
"""

from functools import cache

import fabricated
import pytest

from configs.arms import SELECTING
from evals.amplify import effect_apart, effects
from evals.table import World
from loop.calibrate.in_memory import play_study
from loop.instruments.gains import read_skills
from loop.instruments.truth import read_true_skills
from loop.settings import compose_settings

STUDY = [
    "study=tabulated",
    "study.name=t",
    "study.arms=[self_skill,skill_placebo]",
    "study.repeats=16",
    "study.generations=8",
    "study.start_trials=8",
    "study.confirm_replicates=6",
    "study.final_replicates=0",
    "study.skill_proposals=2",
    "study.skill_parents=3",
    "study.skill_cells=[self,refit]",
    "objective.skill={every: 1, asks: 2, loss: 0.3}",
    "objective.acceptance=paired_t",
    "objective.alpha=0.5",
    "task.table=fabricated-v1.parquet",
]


def by_recipe(recipe):
    """Return the drafts of a reading where two knobs decide that have no part in the task."""
    return 64 if (recipe.position, recipe.notebook) == ("learned", 0.1) else 1


def alike(recipe):
    """Return the same drafts for every recipe."""
    return 8


@cache
def play(folder, reads):
    table = fabricated.fabricate(seeds=2, notebook=True)
    fabricated.write(folder, table)
    config = compose_settings([*STUDY[:-1], f"task.table={folder}/fabricated-v1.parquet"])
    world = World(table)
    return play_study(0, config, world, reads=reads, cautions=False), world


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("table")


def true_effect(run, world, arm):
    """Return the mean self effect by the table's means, repeat by repeat."""
    cells = {(one.cell, one.repeat): one.true for one in read_true_skills(run, world, arm)}
    repeats = sorted({repeat for _, repeat in cells})
    each = [cells["self", repeat] - cells["refit", repeat] for repeat in repeats]
    return sum(each) / len(each)


def test_where_recipes_decide_the_loop_that_selects_on_it_gets_better_at_proposing(folder):
    run, world = play(folder, by_recipe)
    own, placebo = (list(read_skills(run, arm)) for arm in SELECTING)
    shown, apart = effects(own)["self"], effect_apart(own, placebo)
    truth = [true_effect(run, world, arm) for arm in SELECTING]
    assert shown.over(0.0) and apart.over(0.0), (shown, apart)
    assert shown.low < truth[0] < shown.high and apart.low < truth[0] - truth[1] < apart.high


def test_where_nothing_decides_nothing_is_shown(folder):
    run, world = play(folder, alike)
    own, placebo = (list(read_skills(run, arm)) for arm in SELECTING)
    shown, apart = effects(own)["self"], effect_apart(own, placebo)
    truth = [true_effect(run, world, arm) for arm in SELECTING]
    assert shown.word == "cannot tell" and abs(apart.value) < 0.1, (shown, apart)
    assert shown.low < truth[0] < shown.high and apart.low < truth[0] - truth[1] < apart.high
