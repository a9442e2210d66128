"""`heirloop validate --world table`: truths, exact nulls, and bugs that it finds."""

import json
import random
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields, replace

import fabricated
import numpy as np
import pytest
from click.testing import CliRunner
from conftest import ROOT

from configs.errors import BadInput
from evals import intervals
from evals.arms import Gain
from evals.proof import Called, Row
from evals.table import World
from loop.calibrate import table_studies, table_worlds, worlds
from loop.calibrate.table_studies import ARMS, compose_study, draw_world, play
from loop.calibrate.table_truth import play_truth
from loop.calibrate.table_worlds import Sizes, exchange, prove_table
from loop.command import main

SMALL = (
    "study=tabulated",
    "study.arms=[random,local]",
    "study.start_trials=3",
    "study.generations=2",
    "study.proposals=2",
    "study.confirm_replicates=8",
    "study.final_replicates=4",
    "study.plan_trainings=60",
    "study.skill_proposals=1",
)
STUDIES, CAMPAIGNS = 24, 60
TWO = ("self", "random")


@pytest.fixture(autouse=True)
def small(tmp_path, monkeypatch):
    """Play short studies of two arms and five repeats on a fabricated table."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(table_studies, "ARMS", TWO)
    monkeypatch.setattr(table_studies, "SETTINGS", SMALL)
    monkeypatch.setattr(table_studies, "REPEATS", (5, 5))
    fabricated.write(tmp_path)


def prove(studies=STUDIES, campaigns=CAMPAIGNS, count=1, processes=1):
    sizes = Sizes(studies=studies, campaigns=campaigns, worlds=count)
    return prove_table("fabricated-v1.parquet", sizes, processes)


def failing(rows):
    return {(row.world, row.instrument) for row in rows if not row.holds()}


def test_gains_on_a_table_cover_their_truth_and_a_halved_interval_is_found_out(monkeypatch):
    rows, called = prove()
    gains = {
        *(("table", f"arms, {arm}, gain") for arm in TWO),
        *((world, "between, self minus random") for world in ("table", "table, arms exchanged")),
    }
    assert gains <= {(row.world, row.instrument) for row in rows if row.n == STUDIES}
    assert not gains & failing(rows)
    assert {"amplifying", "lossy", "self-closed"} <= {word.word for word in called}
    monkeypatch.setattr(intervals, "LEVEL", 0.5)
    intervals.reach.cache_clear()
    narrow, _ = prove()
    intervals.reach.cache_clear()
    assert len(gains & failing(narrow)) >= 3


def test_means_that_moved_after_the_truth_was_read_are_found_out(monkeypatch):
    """The truth is of another table than the studies: there each value gains twice as much."""
    honest = table_worlds.play_truth
    for value, gain in list(fabricated.GAINS.items()):
        monkeypatch.setitem(fabricated.GAINS, value, 2 * gain)
    moved = World(fabricated.fabricate())
    monkeypatch.setattr(
        table_worlds, "play_truth", lambda config, _, *rest: honest(config, moved, *rest)
    )
    rows, _ = prove()
    assert {("table", f"arms, {arm}, gain") for arm in TWO} <= failing(rows)


def test_the_truth_is_the_mean_of_the_true_gains_of_its_campaigns():
    config, world = compose_study("fabricated-v1.parquet"), World(fabricated.fabricate())
    place = draw_world(world, 0)
    truth = play_truth(config, world, place, 20, world.best()[1])
    runs = [play(config, world, place, number, 10, truth=True) for number in range(2)]
    gains = [
        world.score(place.baseline) - world.score(run.facts.plans[names[-1]].recipe)
        for run in runs
        for (arm, _), names in run.facts.champions.items()
        if arm == "random"
    ]
    last = [g for g in truth.records.gains if g.arm == "random"]
    ends = {(g.repeat): g.value for g in sorted(last, key=lambda g: g.generation)}
    assert len(gains) == len(ends) == 20
    assert np.mean([*ends.values()]) == pytest.approx(np.mean(gains))
    assert truth.held["truth, random, gain"] == pytest.approx(np.mean(gains))


def test_worlds_differ_in_baseline_and_knobs_and_repeat_by_number(monkeypatch):
    monkeypatch.setattr(table_studies, "FEWEST_KNOBS", 1)
    world = World(fabricated.fabricate())
    drawn = [draw_world(world, number) for number in range(12)]
    assert drawn == [draw_world(world, number) for number in range(12)]
    assert len({place.baseline for place in drawn}) > 4
    assert {len(place.fixed) for place in drawn} == {0, 1, 2}
    assert Counter(place.learns for place in drawn) == {True: 6, False: 6}


def test_a_baseline_never_is_a_recipe_that_failed():
    recipes = {row.recipe for row in fabricated.fabricate().rows}
    (sound, *failed) = sorted(recipes, key=str)
    world = World(fabricated.fabricate(failing=failed))
    assert {draw_world(world, number).baseline for number in range(20)} == {sound}
    with pytest.raises(BadInput, match="no recipe that never failed"):
        draw_world(World(fabricated.fabricate(failing=tuple(recipes))), 0)


def test_arms_that_exchange_their_names_differ_by_nothing():
    gains = [
        Gain(arm=arm, repeat=repeat, generation=g, planned_cpu_us=g, value=float(ARMS.index(arm)))
        for arm in ARMS
        for repeat in range(2000)
        for g in (1, 2)
    ]
    mixed = exchange(gains, ARMS[:-1], random.Random(1))
    by_arm = {arm: [g.value for g in mixed if g.arm == arm] for arm in ARMS}
    assert all(len(values) == 4000 for values in by_arm.values())
    assert [np.mean(by_arm[arm]) for arm in ARMS[:-1]] == pytest.approx([2.5] * 6, abs=0.15)
    assert set(by_arm["one_shot"]) == {6.0}
    together = {(g.repeat, g.arm): g.value for g in mixed if g.generation == 1}
    assert all(g.value == together[g.repeat, g.arm] for g in mixed)


def call(*args):
    sizes = ["--studies", "2", "--campaigns", "10", "--worlds", "2"]
    where = ["--world", "table", "--table", "fabricated-v1.parquet"]
    return CliRunner().invoke(main.cli, ["validate", *where, *sizes, *args])


def test_the_verb_tells_bias_and_the_interval_of_the_coverage():
    found = json.loads(call("--json").output)
    row = next(r for r in found["instruments"] if r["instrument"] == "arms, random, gain")
    assert row["bias"] == pytest.approx(row["mean"] - row["truth"]) and row["n"] == 2
    assert 0 <= row["low"] < row["coverage"] <= row["high"] <= 1
    assert found["known failures"] == []  # two studies fail nothing
    false = next(w for w in found["words"] if w["word"] == table_worlds.FALSE_ACCEPT)
    assert false["n"] == len(TWO) * 2 * (5 + 10) and not false["true"]
    assert "table, arms exchanged" in call().output


def test_two_processes_give_the_rows_of_one(monkeypatch):
    alone = prove(studies=2, campaigns=10, count=2)
    # A process that is started anew knows none of the small settings above.
    monkeypatch.setattr(table_worlds, "ProcessPoolExecutor", lambda n, **_: ThreadPoolExecutor(n))
    assert prove(studies=2, campaigns=10, count=2, processes=2) == alone


@pytest.mark.parametrize(
    ("args", "why"),
    [
        (["--world", "table"], "should be the file of a table"),
        (["--world", "cron", "--table", "fabricated-v1.parquet"], "for that world alone"),
        (["--world", "table", "--table", "nowhere.parquet"], "cannot be read"),
        (["--campaigns", "9"], "campaigns is 9"),
        (["--studies", "1"], "studies is 1"),
        (["--processes", "0"], "processes is 0"),
    ],
)
def test_what_cannot_be_proven_is_refused_with_a_sentence(args, why):
    with pytest.raises(BadInput, match=why):
        if args[0] == "--world":
            CliRunner().invoke(main.cli, ["validate", *args], catch_exceptions=False)
        else:
            small = ["--world", "table", "--table", "fabricated-v1.parquet", "--worlds", "2"]
            CliRunner().invoke(main.cli, ["validate", *small, *args], catch_exceptions=False)


def test_the_recorded_proof_fails_only_where_a_reason_is_known():
    """The whole proof takes an hour; docs/table.md has its command."""
    read = json.loads((ROOT / "docs/figures/validate-table.json").read_text())
    names = [field.name for field in fields(Row)]
    rows = [Row(**{name: one[name] for name in names}) for one in read["instruments"]]
    words = [Called(**one) for one in read["words"]]
    assert worlds.list_failures(rows, words) == []
    assert worlds.list_known(rows, words) == read["known failures"]
    assert not any("holds here" in line for line in read["known failures"])
    assert sum(row.n >= worlds.ENOUGH for row in rows) > 250 and len(words) > 10


def test_a_known_failure_on_tables_is_listed_and_any_other_fails_the_verb(monkeypatch):
    monkeypatch.setattr(worlds, "KNOWN", {"arms, *, gain": "why", "lossy": "because"})
    row = Row(world="table", instrument="arms, self, gain", truth=0.0, mean=1.0, coverage=0, n=400)
    other, planted = replace(row, instrument="arms, self, yield"), replace(row, world="linear")
    holding = Called(world="table", word="lossy", true=False, called=0, n=400)
    assert worlds.list_failures([row, other, planted], [holding]) == [
        "arms, self, yield covers 0.000 of 400 on table",
        "arms, self, gain covers 0.000 of 400 on linear",
    ]
    assert worlds.list_known([row, other, planted], [holding]) == [
        "arms, self, gain covers 0.000 of 400 on table: why",
        "lossy holds here, and is listed as a known failure",
    ]
    assert worlds.list_known([planted], []) == []
