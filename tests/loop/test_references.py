"""Arm reference: changes that people fixed before the study, measured as closing looks are."""

from dataclasses import replace

import fabricated
import numpy as np
import pytest
from conftest import ROOT
from fakes import FakeBox
from studies import better, config, entries, gate_of, mandate, read_facts

from configs.errors import BadInput, Denied
from evals.table import World, list_grid
from loop.instruments.gather import read_records
from loop.instruments.measure import measure
from loop.instruments.references import true_references
from loop.study.tab_file import read_table
from loop.verify.run import verify

ROOM = [
    "study.arms=[local,reference]",
    "study.references=[{depth: 3},{depth: 4}]",
    "study.repeats=3",
    "study.final_replicates=4",
    "study.larger_replicates=4",
    "budget.jobs=2000",
    "gates.unattended.jobs=2000",
    "budget.cpu_seconds=4000",
    "gates.unattended.cpu_seconds=4000",
]


@pytest.fixture
def ran(tmp_path, go):
    cfg = config(tmp_path, *ROOM)
    mandate(cfg)
    assert go(cfg, FakeBox(better))["finished"]
    return cfg, read_facts(tmp_path / "runs" / "t")


def test_each_repeat_measures_the_next_change_of_the_list_and_none_becomes_champion(ran, tmp_path):
    cfg, facts = ran
    plans = [p for p in facts.plans.values() if p.purpose == "reference"]
    assert [(p.repeat, p.recipe.depth) for p in plans] == [(0, 3), (1, 4), (2, 3)]
    assert {p.changed["depth"] for p in plans} == {3, 4}
    assert {p.reference_recipe for p in plans} == {cfg.task.baseline}
    larger = [p for p in facts.plans.values() if p.purpose == "reference_larger"]
    assert {p.planned_cpu_us for p in larger} == {4 * cfg.task.planned_cpu_us}
    assert [len(facts.champions["reference", repeat]) for repeat in range(3)] == [1, 1, 1]
    verify(tmp_path / "runs" / "t")


def test_they_are_paid_for_and_looked_at_through_the_same_door(ran):
    cfg, facts = ran
    for digest, plan in facts.plans.items():
        if plan.purpose.startswith("reference"):
            results = {role for (name, role, _) in facts.results if name == digest}
            assert {"train", "predict", "champion-train", "champion-predict"} <= results
            assert digest in facts.granted and ("confirm", digest) in facts.looked
    bodies = [e for e in entries(cfg) if e.kind == "decision"]
    reference = {n for n, p in facts.plans.items() if p.purpose == "reference"}
    assert reference <= {e.body["plan"] for e in bodies}


def test_the_instruments_read_their_gains_and_compare_no_arm_with_them(ran, tmp_path):
    assert len(ran[1].plans) > 10
    records = read_records([tmp_path / "runs" / "t"])
    assert set(records.plans) == {"local"} == {g.arm for g in records.gains}
    gains = {(h.change, h.rung, h.repeat): h.value for h in records.references}
    assert {(change, repeat) for change, _, repeat in gains} == {
        ("depth=3", 0),
        ("depth=4", 1),
        ("depth=3", 2),
    }
    assert {rung for _, rung, _ in gains} == {"closing", "carries", "large"}
    deeper = [value for (change, rung, _), value in gains.items() if rung == "closing"]
    assert all(value > 0 for value in deeper)  # the fake box scores more depth higher
    told = measure([tmp_path / "runs" / "t"])["arms"]["local"]["excess loss"]
    assert told["carries"]["word"] in ("not measured", "undefined")  # two changes, three repeats


def test_a_study_that_is_killed_among_its_references_goes_on_and_repeats_none(tmp_path, go):
    cfg, seen = config(tmp_path, *ROOM), []
    mandate(cfg)

    def breaking(execution):
        seen.append(execution)
        if len(seen) > 150:
            raise RuntimeError("the power went")

    whole = FakeBox(better)
    with pytest.raises(RuntimeError, match="power"):
        go(cfg, FakeBox(better, breaking))
    before = read_facts(tmp_path / "runs" / "t")
    assert any(p.purpose == "reference" for p in before.plans.values())
    assert not before.closed
    assert go(cfg, whole)["finished"]
    facts = read_facts(tmp_path / "runs" / "t")
    assert sum(p.purpose == "reference" for p in facts.plans.values()) == 3
    verify(tmp_path / "runs" / "t")


@pytest.mark.parametrize(
    ("overrides", "why"),
    [
        (["study.arms=[local]"], r"references is .*; it should be at most 64 changes with arm"),
        (["study.references=[]"], r"references is \[\]; it should be at most 64 changes with arm"),
        (["study.references=[{depht: 3}]"], r"study\.references\.0: .*depht"),
        (["study.references=[{depth: 3},{depth: -1}]"], r"study\.references\.1: .*depth"),
        (["study.references=[{}]"], r"study\.references\.0 is .*; it should be a change"),
    ],
)
def test_a_list_that_cannot_be_measured_is_refused_before_anything_runs(tmp_path, overrides, why):
    with pytest.raises(BadInput, match=why):
        config(tmp_path, *ROOM, *overrides)


def test_every_better_recipe_is_a_reference_under_a_name_of_its_own():
    """Knobs at their defaults count too, in the recipe and in the baseline."""
    world = World(fabricated.fabricate(noise=0.0, notebook=True))
    for position in ("rotary", "learned"):
        baseline = replace(world.table.task.baseline, position=position)
        better = [r for r in list_grid(world.table.task) if world.score(r) < world.score(baseline)]
        names = [one.change for one in true_references(world, baseline) if one.rung == "closing"]
        assert len(names) == len(better) == len(set(names)) > 10
        assert any("position=" in name for name in names)


def test_the_gate_promotes_no_reference(ran):
    cfg, facts = ran
    gate, name = gate_of(cfg), next(n for n, p in facts.plans.items() if p.purpose == "reference")
    with pytest.raises(Denied):
        gate.authority(name, "promote")


def test_what_any_change_of_the_committed_table_loses_is_what_the_page_says():
    """docs/instruments.md: of a gain of 0.10 bits 0.05 is lost on source code."""
    world = World(read_table(ROOT / "tab" / "text-v1.parquet"))
    gains = {
        (one.change, one.rung): one.value
        for one in true_references(world, world.table.task.baseline)
    }
    names = [change for change, rung in gains if rung == "closing"]
    at_home, away = (
        np.array([gains[name, rung] for name in names]) for rung in ("closing", "code")
    )
    slope, start = np.polyfit(at_home, at_home - away, 1)
    assert len(names) > 1000 and round(start + 0.1 * slope, 2) == 0.05
    assert away.sum() / at_home.sum() == pytest.approx(0.55, abs=0.005)
