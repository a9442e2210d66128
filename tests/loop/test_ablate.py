"""What made the gain: changes of last champions, taken back alone, in studies and on tables."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import fabricated
import pytest
from click.testing import CliRunner
from exports import read_rows
from fakes import FakeBox, written
from reports import read_report, rows_of
from studies import better, config, entries, gate_of, mandate, page_of, read_facts

from configs.build import plain
from configs.errors import BadInput, Denied, NeedsHuman, VerificationFailed
from configs.recipe import Recipe, knob_values
from configs.records import Amount
from loop import session
from loop.command.main import cli
from loop.export.verify import verify_export
from loop.export.write import export
from loop.instruments.ablation import measure_ablation, read_truth
from loop.instruments.champions import read_champions
from loop.instruments.run import Run
from loop.plan import source
from loop.propose.ablation import list_changes
from loop.propose.evolve.patch import FILE, regions
from loop.propose.table import PROPOSERS
from loop.settings import compose_settings
from loop.study import open as study_open
from loop.study.tabulated import read_world
from loop.verify.run import verify
from sandbox.canonical import digest
from sandbox.ledger import Ledger
from sandbox.store import Store

CHANGES = {"depth": 3, "dropout": 0.1, "warmup": 0.05}
"""What every proposal changes: `better` rewards the depth, and nothing else of it."""


def read(folder="runs/t"):
    return measure_ablation([Run(0, Ledger.at(Path(folder)))])


@pytest.fixture
def on_table(tmp_path, monkeypatch):
    """Run a study on a fabricated table without noise; return its settings."""
    monkeypatch.chdir(tmp_path)

    def run(*overrides, gains=fabricated.GAINS):
        monkeypatch.setattr(fabricated, "GAINS", gains)
        fabricated.write(tmp_path, fabricated.fabricate(noise=0.0))
        cfg = compose_settings(
            ["study=tabulated", "study.name=t", "task.table=fabricated-v1.parquet", *overrides]
        )
        mandate(cfg)
        try:
            session.execute(cfg)
        finally:
            study_open.release_locks()
        return cfg

    return run


SHORT = ["study.arms=[random]", "study.repeats=3", "study.generations=4"]


def test_on_a_table_each_change_loses_what_was_planted(on_table):
    cfg = on_table(*SHORT)
    found = read()
    assert found["known"] == "means of the table" and not found["note"]
    changes = found["arms"]["random"]["changes"]
    assert len(changes) >= 2
    for name, own in changes.items():
        values = {part.rsplit(" ", 1)[0] for part in own["values"].split(", ")}
        planted = [
            -gain for (knob, value), gain in fabricated.GAINS.items()
            if knob == name and {str(value)} == values
        ]  # fmt: skip
        if planted:
            assert own["loss"]["value"] == pytest.approx(planted[0], abs=0.02)
        assert own["loss"]["unit"] == "bits"
    assert abs(found["arms"]["random"]["beyond"]["value"]) < 0.03
    facts = read_facts(Path("runs/t"))
    kept = [
        facts.plans[names[-1]].recipe for (a, _), names in facts.champions.items() if a == "random"
    ]
    for name, own in changes.items():
        having = sum(getattr(recipe, name) != getattr(cfg.task.baseline, name) for recipe in kept)
        assert own["champions"]["value"] == having / 3


def test_on_a_table_of_one_bit_that_bit_is_seen_at_once(on_table):
    on_table(*SHORT, gains={("schedule", "cosine"): -0.5})
    changes = read()["arms"]["random"]["changes"]
    assert next(iter(changes)) == "schedule"
    assert changes["schedule"]["share"]["value"] == pytest.approx(1, abs=0.05)
    lines = CliRunner().invoke(cli, ["ablate", "runs/t"], catch_exceptions=False).output
    assert "schedule = cosine" in lines and "3 of 3" in lines and "means of the table" in lines


def test_measured_losses_agree_with_the_table_and_change_nothing_before_them(on_table):
    """The setting measures on a table as in a box, where the truth is known."""
    cfg = on_table(*SHORT, "study.ablate=3", "study.final_replicates=20")
    verify(Path("runs/t"))
    run = Run(0, Ledger.at(Path("runs/t")))
    measured = {one.repeat: one for one in _champions(run)}
    for truth in _champions(run, cfg):
        own = measured[truth.repeat]
        assert [t.change for t in own.changes] == [t.change for t in truth.changes]
        for told, true in zip(own.changes, truth.changes, strict=True):
            # The items of a repeat are shared, and 20 pairs leave little luck of seeds.
            assert told.unbounded == pytest.approx(true.unbounded, abs=0.08)
    out = CliRunner().invoke(cli, ["instruments", "runs/t", "--json"], catch_exceptions=False)
    assert json.loads(out.output)["arms"]["random"]["ablation"]["changes"]
    made = [e.body["plan"] for e in entries(cfg) if e.kind == "plan"]
    on_table(*SHORT, "study.name=t2")
    others = [e.body["plan"] for e in Ledger.at(Path("runs/t2")).entries() if e.kind == "plan"]
    tried = [[p["changed"] for p in side if p["purpose"] == "candidate"] for side in (made, others)]
    assert tried[0] == tried[1]


def _champions(run, cfg=None):
    if cfg is None:
        return list(read_champions(run, "random"))
    return list(read_truth(run, "random", read_world(cfg)))


@pytest.fixture
def proposed(monkeypatch):
    """Let every proposal be the same changes."""
    text = json.dumps({"hypothesis": "deeper", "knobs": CHANGES})
    monkeypatch.setitem(PROPOSERS, "local", written(lambda view: text))


def study(tmp_path, go, *more):
    cfg = config(tmp_path, "study.ablate=3", "study.final_replicates=4", *more)
    mandate(cfg)
    assert go(cfg, FakeBox(better))["finished"]
    return cfg, read_facts(tmp_path / "runs" / "t")


def taken_back(facts):
    return [(n, p) for n, p in facts.plans.items() if p.purpose == "ablation"]


def test_in_a_box_a_change_is_measured_in_as_many_pairs_as_the_closing_look(tmp_path, go, proposed):
    cfg, facts = study(tmp_path, go)
    verify(tmp_path / "runs" / "t")
    found = taken_back(facts)
    names = facts.champions["local", 0]
    assert found and [list(p.changed) for _, p in found] == [["warmup"], ["depth"], ["dropout"]]
    final = next(p for p in facts.plans.values() if p.purpose == "final")
    for name, plan in found:
        assert plan.jobs == final.jobs and plan.parent == names[-1]
        assert plan.reference_recipe == facts.plans[names[-1]].recipe
        splits = {s.split for (n, _, _), s in facts.scores.items() if n == name}
        assert splits == {"confirm"} and ("confirm", name) in facts.looked
    seeds = [
        order["seed"] for e in entries(cfg) if e.kind == "start"
        for order in [e.body["job"]["order"]]
        if e.body["job"]["plan"] in dict(found) and order["role"] == "train"
    ]  # fmt: skip
    # Both sides of a pair share a seed, and no two pairs do.
    assert len(seeds) == 2 * 4 * len(found) and len(set(seeds)) == 4 * len(found)
    # The depth carries all of the gain, and the others nothing, but for the luck of 100 items.
    own = read(tmp_path / "runs" / "t")["arms"]["local"]
    shares = {
        name: part["loss"]["value"] / own["gain"]["value"] for name, part in own["changes"].items()
    }
    assert shares == pytest.approx({"depth": 1.0, "dropout": 0.0, "warmup": 0.0}, abs=0.35)
    assert next(iter(own["changes"])) == "depth"


def test_it_costs_the_study_and_nothing_of_the_campaign_s_plan(tmp_path, go, proposed):
    _, facts = study(tmp_path, go)
    found = dict(taken_back(facts))
    paid = [r.charged for (n, _, _), (r, _) in facts.results.items() if n in found]
    assert sum(paid, Amount()).jobs == 16 * len(found) > 0
    generations = facts.trainings["local", 0]
    assert max(generations) <= 2


def test_no_change_taken_back_can_become_champion(tmp_path, go, proposed):
    cfg, facts = study(tmp_path, go)
    with pytest.raises(Denied):
        gate_of(cfg).authority(taken_back(facts)[0][0], "promote")


def test_a_killed_ablation_goes_on_where_it_was(tmp_path, go, proposed):
    cfg = config(tmp_path, "study.ablate=3", "study.final_replicates=4")
    mandate(cfg)
    ran = []

    def breaking(execution):
        plans = gate_of(cfg).memory.plans
        if any(p.purpose == "ablation" for p in plans.values()):
            ran.append(execution.role)
        if len(ran) == 6:
            raise RuntimeError("the power went")

    with pytest.raises(RuntimeError, match="power"):
        go(cfg, FakeBox(better, breaking))
    box = FakeBox(better)
    assert go(cfg, box)["finished"]
    facts = read_facts(tmp_path / "runs" / "t")
    assert len(box.ran) == 16 * len(taken_back(facts)) - 5
    verify(tmp_path / "runs" / "t")


def test_a_plan_that_takes_back_something_else_does_not_verify(tmp_path, go, proposed):
    cfg, facts = study(tmp_path, go)
    plan = taken_back(facts)[0][1]
    other = replace(plan.recipe, dropout=0.37)
    gate = gate_of(cfg)
    champion = knob_values(facts.plans[plan.parent].recipe)
    told = {k: v for k, v in knob_values(other).items() if v != champion[k]}
    wrong = replace(plan, recipe=other, changed=told)
    gate.ledger.append("plan", {"digest": digest(wrong), "plan": plain(wrong)})
    gate_of(cfg).grant(digest(wrong))
    with pytest.raises(VerificationFailed, match="its changed is not"):
        verify(tmp_path / "runs" / "t")


def test_without_the_setting_changes_are_counted_and_a_sentence_says_how(tmp_path, go, proposed):
    cfg = config(tmp_path)
    mandate(cfg)
    go(cfg, FakeBox(better))
    folder = str(tmp_path / "runs" / "t")
    out = CliRunner().invoke(cli, ["ablate", folder], catch_exceptions=False).output
    assert "1 of 1" in out and "study.ablate=N" in out
    found = json.loads(
        CliRunner().invoke(cli, ["ablate", folder, "--json"], catch_exceptions=False).output
    )
    losses = [own["loss"] for own in found["arms"]["local"]["changes"].values()]
    assert losses and {loss["word"] for loss in losses} == {"not measured"}
    assert "ablation" not in json.dumps([e.body for e in entries(cfg) if e.kind == "plan"])


def test_where_no_change_was_accepted_a_sentence_says_so(tmp_path, go):
    cfg = config(tmp_path, "study.ablate=3", "study.generations=1")
    mandate(cfg)
    go(cfg, FakeBox(lambda order: 0.5))
    folder = str(tmp_path / "runs" / "t")
    out = CliRunner().invoke(cli, ["ablate", folder], catch_exceptions=False).output
    assert "no last champion differs" in out
    assert not taken_back(read_facts(tmp_path / "runs" / "t"))


def test_a_study_that_has_not_ended_is_refused(tmp_path, go):
    cfg = config(tmp_path)
    with pytest.raises(NeedsHuman):
        go(cfg, FakeBox(better))
    with pytest.raises(BadInput, match="has not ended"):
        read(tmp_path / "runs" / "t")


def test_an_ablation_without_a_closing_look_is_refused(tmp_path):
    with pytest.raises(BadInput, match="ablate"):
        config(tmp_path, "study.ablate=1", "study.final_replicates=0")
    with pytest.raises(BadInput, match=r"looks\.confirm"):
        config(tmp_path, "study.ablate=50", "budget.looks.confirm=20")


def test_the_report_and_the_export_hold_it(tmp_path, go, proposed):
    study(tmp_path, go)
    folder = tmp_path / "runs" / "t"
    page = page_of(folder)
    rows = rows_of(read_report(folder), "ablation")
    assert rows[0][1] == "whole gain" and {row[11] for row in rows} == {"closing pairs"}
    assert 'class="ablation"' in page and "What made the gain" in page
    export([folder], tmp_path / "out", False)
    names = [row["instrument"] for row in read_rows(tmp_path / "out", "instruments")]
    assert any(name.startswith("arms, local, ablation, changes, ") for name in names)
    assert verify_export(tmp_path / "out")["studies"] == 1


def test_a_region_is_taken_back_alone_and_any_other_file_whole(tmp_path):
    store, files = Store(tmp_path), source()
    text = files[FILE].decode()
    names = list(regions(text))[:2]
    for name in names:
        body = regions(text)[name]
        text = text.replace(body, f"{body}_X_{name} = 1\n", 1)
    changed = {
        **files,
        FILE: text.encode(),
        "models/net.py": files["models/net.py"] + b"\n_Y = 1\n",
    }
    base = SimpleNamespace(recipe=Recipe(), bundle=store.put_bundle(files))
    best = SimpleNamespace(recipe=Recipe(depth=3), bundle=store.put_bundle(changed))
    config = SimpleNamespace(task=SimpleNamespace(may_change=None))
    campaign = SimpleNamespace(running=SimpleNamespace(store=store, config=config))
    found = {one.name: one for one in list_changes(campaign, base, best)}
    assert next(iter(found)) == "depth" and found["depth"].files is None
    assert set(found) == {"depth", "models/net.py", *(f"region {name}" for name in names)}
    assert found["models/net.py"].change_class == "structural"
    for name, other in (names, names[::-1]):
        own = found[f"region {name}"]
        after = regions(own.files[FILE].decode())
        assert (
            own.change_class == "patch" and own.files["models/net.py"] == changed["models/net.py"]
        )
        assert after[name] == regions(files[FILE].decode())[name]
        assert after[other] == regions(text)[other]
