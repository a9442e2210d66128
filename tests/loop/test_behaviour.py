"""Drift in behaviour, from ledgers: constraints and slices of champions against their baseline."""

import json
from pathlib import Path

import fabricated
import pytest
from exports import read_rows
from fakes import FakeBox, written
from reports import read_report, rows_of
from studies import config, mandate, page_of, read_facts

from evals.metrics import read_metric
from evals.table import World
from loop import session
from loop.export.write import export
from loop.facts.scores import closing_scores
from loop.instruments.drift import read_drift
from loop.instruments.measure import measure
from loop.instruments.run import Run
from loop.propose.table import PROPOSERS
from loop.report.figures import draw
from loop.report.shape import table
from loop.settings import compose_settings
from loop.study import open as study_open
from sandbox.ledger import Ledger

CONSTRAINED = "objective.constraints=[{metric: token_accuracy, no_loss: 1.0}]"
STEPS = ({"depth": 3}, {"width": 48})
"""Changes of the first and of the second generation."""


def rising(order):
    """Each step of STEPS is better."""
    return 0.2 + 0.3 * (order.recipe.depth == 3) + 0.4 * (order.recipe.width == 48)


@pytest.fixture
def lineage(tmp_path, go, monkeypatch):
    """Run a study whose campaign accepts two changes; return (settings, folder, facts)."""
    asked = []

    def propose(view):
        asked.append(1)
        return json.dumps({"hypothesis": "h", "knobs": STEPS[(len(asked) - 1) // 2 % 2]})

    monkeypatch.setitem(PROPOSERS, "local", written(propose))
    cfg = config(tmp_path, CONSTRAINED, "study.generations=2", "study.proposals=2")
    mandate(cfg)
    assert go(cfg, FakeBox(rising))["finished"]
    folder = tmp_path / "runs" / "t"
    return cfg, folder, read_facts(folder)


def paired(facts, name, first):
    """Return the mean paired difference of a plan's token accuracy, from its ledger entries."""
    sides = [
        {
            index - (first if role == "predict" else 0): read_metric(scores, "token_accuracy")
            for (plan, role, index), scores in facts.scores.items()
            if plan == name and role == wanted and scores.split == "confirm"
        }
        for wanted in ("predict", "champion-predict")
    ]
    both = sides[0].keys() & sides[1].keys()
    return sum(sides[0][at] - sides[1][at] for at in both) / len(both)


def test_steps_add_up_over_a_lineage_and_end_with_the_closing_look(lineage):
    _, folder, facts = lineage
    names = facts.champions["local", 0]
    assert len(names) == 3, "both changes are accepted"
    (found,) = [d for d in read_drift(Run(0, Ledger.at(folder)), "local") if "token" in d.quantity]
    look = next(n for n, p in facts.plans.items() if p.purpose == "final")
    assert found.quantity == "token_accuracy" and found.looked
    assert found.steps == pytest.approx((0, paired(facts, names[1], 1), paired(facts, look, 0)))
    # The closing look spans both steps; the first alone is less.
    assert 0 < found.steps[1] < found.steps[2]


def test_without_a_closing_look_the_sum_stands_and_says_so(tmp_path, go, monkeypatch):
    text = json.dumps({"hypothesis": "h", "knobs": STEPS[0]})
    monkeypatch.setitem(PROPOSERS, "local", written(lambda view: text))
    cfg = config(tmp_path, CONSTRAINED, "study.final_replicates=0")
    mandate(cfg)
    go(cfg, FakeBox(rising))
    folder = tmp_path / "runs" / "t"
    (found,) = [d for d in read_drift(Run(0, Ledger.at(folder)), "local") if "token" in d.quantity]
    assert not found.looked and found.steps[0] == 0 < found.steps[1] == found.steps[2]


def test_the_report_and_the_export_hold_the_drift(lineage, tmp_path):
    _, folder, _ = lineage
    figure = measure([folder])["arms"]["local"]["drift"]["token_accuracy"]
    page = page_of(folder)
    rows = [row for row in rows_of(read_report(folder), "drift") if row[1] == "token_accuracy"]
    assert [row[2] for row in rows] == [0, 1, 2]
    assert rows[-1][3] == pytest.approx(figure["value"]) and rows[-1][7] == "closing look"
    assert {row[8] for row in rows} == {"higher"} and 'class="drift"' in page
    export([folder], tmp_path / "out", False)
    cells = {row["instrument"]: row for row in read_rows(tmp_path / "out", "instruments")}
    exported = cells["arms, local, drift, token_accuracy"]
    assert float(exported["value"]) == pytest.approx(figure["value"])


def test_before_the_end_of_a_study_nothing_of_it_is_told(tmp_path, go):
    cfg = config(tmp_path, CONSTRAINED)
    mandate(cfg)

    def breaking(execution):
        if any(run.role == "predict" for run in box.ran[:-1]) and len(box.ran) > 20:
            raise RuntimeError("the power went")

    box = FakeBox(rising, breaking)
    with pytest.raises(RuntimeError, match="power"):
        go(cfg, box)
    folder = tmp_path / "runs" / "t"
    assert not list(read_drift(Run(0, Ledger.at(folder)), "local"))
    page_of(folder)
    assert not rows_of(read_report(folder), "drift")


def test_on_a_table_slices_drift_as_their_means_do(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    fabricated.write(tmp_path, fabricated.fabricate(noise=0.0))
    cfg = compose_settings(
        [
            "study=tabulated",
            "study.name=t",
            "task.table=fabricated-v1.parquet",
            "study.arms=[random]",
            "study.repeats=2",
            "study.generations=3",
        ]
    )
    mandate(cfg)
    try:
        session.execute(cfg)
    finally:
        study_open.release_locks()
    run, world = Run(0, Ledger.at(Path("runs/t"))), World(fabricated.fabricate(noise=0.0))
    found = {(one.repeat, one.quantity): one.steps[-1] for one in read_drift(run, "random")}
    assert {quantity for _, quantity in found} == {"bits on code", "bits on licence"}
    moved = 0
    for repeat in range(2):
        names = run.facts.champions["random", repeat]
        base, best = (world.true(run.facts.plans[names[at]].recipe) for at in (0, -1))
        apart = best[fabricated.FOLDS :] - base[fabricated.FOLDS :]
        # Eight pairs: each slice has a single score a training.
        assert found[repeat, "bits on code"] == pytest.approx(apart[0], abs=0.12)
        assert found[repeat, "bits on licence"] == pytest.approx(apart[1], abs=0.12)
        moved += apart[0] < -0.15
        look = run.finals.get(("random", repeat, "final"))
        before, after = closing_scores(run.facts, look, cfg)
        told = after["slice_bits"]["code"] - before["slice_bits"]["code"]
        assert found[repeat, "bits on code"] == pytest.approx(told)
    assert moved


def test_of_many_arms_a_figure_has_those_of_the_loop_and_its_data_all():
    arms = ["frozen", "no_carry", "one_shot", "local", "random", "refit", "self"]
    rows = [
        (arm, "bits on code", at, -0.1 * at, None, None, 1, "accepted plans", "lower", "")
        for arm in arms
        for at in range(3)
    ]
    svg = draw([table("drift", rows, "")], arms)
    drawn = [arm for arm in arms if f">{arm}<" in svg]
    assert drawn == ["local", "random", "refit", "self"]
    few = [row for row in rows if row[0] in ("frozen", "one_shot")]
    svg = draw([table("drift", few, "")], arms)
    assert ">frozen<" in svg and ">one_shot<" in svg
