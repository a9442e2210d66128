"""Regions of a person's own program have a class each, and the gate decides by the highest."""

import json
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from fakes import FakeBox, written
from programs import NUMBERS, TASK, TRAIN, answer_jobs, composer, write_folder
from studies import bodies, gate_of, mandate, read_facts

from configs.errors import BadInput, NeedsHuman
from loop.calibrate.program import check_program
from loop.people.view import view_subject
from loop.propose import ablation
from loop.propose.table import PROPOSERS
from loop.verify.run import verify
from sandbox.gate import flaw

TWO = TRAIN.replace(
    "import numpy as np\n", "import numpy as np\n# region: rate\nRATE = 1.0\n# endregion\n"
)
CLASSED = NUMBERS.replace(
    "{train.py: patch}", "{train.py#rate: recipe, train.py#update: structural}"
)
FILES = {"task.yaml": CLASSED, "train.py": TWO}
NET = "models/train.py"


@pytest.fixture
def compose(tmp_path, monkeypatch):
    return partial(composer(tmp_path, monkeypatch), "study.generations=1", "study.proposals=1")


def proposing(monkeypatch, *changes):
    """Let arm evolve propose these replacements in the training file, in one plan."""
    edits = [{"file": NET, "search": old, "replace": new} for old, new in changes]
    text = json.dumps({"hypothesis": "h", "knobs": {}, "edits": edits})
    way = written(lambda view: text)
    monkeypatch.setitem(PROPOSERS, "evolve", replace(way, edits=True))


RATE, UPDATE = ("RATE = 1.0", "RATE = 2.0"), ("0.5)", "1.5)")
OUTSIDE = ("table = count(", "table =  count(")


def allow(cfg, *classes):
    mandate(cfg, caps=replace(cfg.gates.unattended, classes=classes))


def classes_of(gate):
    """Return the classes of a study's candidates."""
    plans = gate.memory.plans.values()
    return [plan.change_class for plan in plans if plan.purpose == "candidate"]


def run(go, cfg):
    better = answer_jobs(lambda text: 0.4 if text == TWO else 0.95, numbers=True)
    return go(cfg, FakeBox(lambda text: 0.0, better))


def test_a_change_of_a_region_of_class_recipe_needs_a_mandate_for_recipes_alone(
    compose, go, monkeypatch, tmp_path
):
    proposing(monkeypatch, RATE)
    cfg = compose(**FILES)
    assert cfg.task.may_change == {f"{NET}#rate": "recipe", f"{NET}#update": "structural"}
    allow(cfg, "recipe", "propose")
    with pytest.raises(NeedsHuman, match="promote"):  # it ran, and people promote it
        run(go, cfg)
    assert classes_of(gate_of(cfg)) == ["recipe"]
    assert verify(tmp_path / "runs" / "t")["scores"] > 0


@pytest.mark.parametrize("changes", [(UPDATE,), (RATE, UPDATE)])
def test_the_highest_class_that_is_touched_decides(compose, go, monkeypatch, tmp_path, changes):
    proposing(monkeypatch, *changes)
    cfg = compose(**FILES)
    allow(cfg, "recipe", "patch", "propose", "promote")
    with pytest.raises(NeedsHuman, match="structural"):
        run(go, cfg)
    gate = gate_of(cfg)
    name, plan = next((n, p) for n, p in gate.memory.plans.items() if p.purpose == "candidate")
    assert plan.change_class == "structural"
    flags = view_subject(gate, gate.memory.subjects[name]).flags
    assert any("models/train.py#update (structural)" in flag for flag in flags)
    assert not any("does not cover" in flag for flag in flags)
    # the same bytes under a lower class are refused by the gate, whoever wrote the plan
    for low in ("recipe", "patch"):
        found = flaw._find_change(gate.memory, gate.store, replace(plan, change_class=low))
        assert "changes models/train.py#update, which its class" in found
    with monkeypatch.context() as patch:  # without that look the low class would pass
        patch.setattr(flaw, "list_beyond", lambda *given: [])
        lower = replace(plan, change_class="recipe")
        assert flaw._find_change(gate.memory, gate.store, lower) == ""


def test_lines_outside_the_regions_may_not_change(compose, go, monkeypatch):
    proposing(monkeypatch, OUTSIDE)
    cfg = compose(**FILES)
    mandate(cfg)
    run(go, cfg)
    (refused,) = bodies(cfg, "invalid")
    assert "what the edits change is 'models/train.py'; it should be to change" in refused["reason"]
    gate = gate_of(cfg)
    (name,) = [n for n, plan in gate.memory.plans.items() if plan.purpose == "baseline"]
    parent = gate.memory.plans[name]
    files = gate.store.get_bundle(parent.bundle)
    for old, new in (OUTSIDE, ("# endregion\n", "# endregion\nx = 1\n"), ("# region: rate", "#")):
        text = files[NET].decode().replace(old, new, 1).encode()
        bundle = gate.store.put_bundle({**files, NET: text})
        plan = replace(parent, parent=name, change_class="structural", bundle=bundle)
        assert "changes models/train.py, which" in flaw._find_change(gate.memory, gate.store, plan)


def test_other_lines_have_the_class_of_the_file_where_it_has_one(compose, go, monkeypatch):
    proposing(monkeypatch, OUTSIDE, RATE)
    about = NUMBERS.replace("{train.py: patch}", "{train.py: patch, train.py#rate: recipe}")
    cfg = compose(**{**FILES, "task.yaml": about})
    allow(cfg, "recipe", "patch", "propose")
    with pytest.raises(NeedsHuman, match="promote"):
        run(go, cfg)
    assert classes_of(gate_of(cfg)) == ["patch"]


def test_a_task_yaml_of_files_alone_pins_what_it_pinned_before(compose):
    assert compose(**{"task.yaml": NUMBERS}).task.may_change is None
    two = NUMBERS.replace("train.py: patch", "train.py: patch, model.py: structural")
    assert compose(**{"task.yaml": two, "model.py": ""}).task.may_change is None
    both = NUMBERS.replace("train.py: patch", "train.py: structural, model.py: patch")
    assert compose(**{"task.yaml": both, "model.py": ""}).task.may_change is None
    lone = NUMBERS.replace("train.py: patch", "train.py: recipe")
    assert compose(**{"task.yaml": lone}).task.may_change == {"models/train.py": "recipe"}


OVER = TWO.replace("RATE = 1.0\n", "# region: inner\nRATE = 1.0\n# endregion\n")
TWICE = TWO + "# region: rate\nX = 1\n# endregion\n"
LOOSE = TWO.replace("# endregion\n", "", 1)


@pytest.mark.parametrize(
    "classed, source, reason",
    [
        ("train.py#rate: large", TWO, r"may_change.train.py#rate is 'large'; it should be one of"),
        ("train.py#rate: 3", TWO, "one of recipe, patch, structural"),
        ("train.py#rate: promote", TWO, "one of recipe, patch, structural"),
        ("train.py#rate: proposer", TWO, "one of recipe, patch, structural"),
        ("train.py#Rate: patch", TWO, "small letters"),
        ("train.py#: patch", TWO, "small letters"),
        ("train.py#a#b: patch", TWO, "small letters"),
        ("predict.py#a: patch", TWO, "without predict.py"),
        ("../train.py#rate: patch", TWO, "plain name"),
        ("train.py: patch, a.py: patch, b.py: patch", TWO, "of one or two files"),
        ("train.py#none: patch, train.py: patch", TWO, "region none of train.py .* is not in it"),
        ("train.py#rate: patch", TWO, "region update of train.py .* has no class; add train.py#up"),
        ("train.py: patch, train.py#rate: recipe", OVER, "region rate of .* overlaps another"),
        ("train.py: patch, train.py#rate: recipe", TWICE, "region rate of .* is marked twice"),
        ("train.py: patch, train.py#rate: recipe", LOOSE, "region rate of .* overlaps another"),
        ("train.py: patch, train.py#rate: recipe", "x = 1\n", "is not in it; mark it by"),
        ("train.py: patch, train.py#rate: recipe", TWO.replace("\n", "\r\n"), "is not in it"),
        ("train.py: patch, train.py#rate: recipe", "\udce9".join(TWO[:9]), "is not in it"),
    ],
)
def test_bad_classes_are_refused_in_a_sentence(tmp_path, compose, classed, source, reason):
    about = TASK.replace("train.py: patch", classed)
    folder = write_folder(tmp_path / "folder", **{"task.yaml": about, "a.py": "", "b.py": ""})
    (folder / "train.py").write_bytes(source.encode(errors="surrogateescape"))
    with pytest.raises(BadInput, match=reason) as refused:
        compose(**{"task.yaml": about, "train.py": None})
    assert "\n" not in str(refused.value)


def test_the_check_trains_changes_of_each_class(compose, go, tmp_path):
    compose(**FILES)
    box = FakeBox(lambda order: 0.0, answer_jobs(lambda text: 0.9, numbers=True))
    act = partial(check_program, str(tmp_path / "folder"), trainings=4, recipes=6, unattended=True)
    result = go(None, box, lambda _: act(overrides=[f"runs={tmp_path / 'runs'}"]))
    assert next(row for row in result["rows"] if row["check"] == "headroom")["value"] is not None
    plans = read_facts(Path(result["run"])).plans.values()
    assert {p.change_class for p in plans if p.purpose == "candidate"} == {"recipe", "structural"}


def test_a_champion_s_regions_are_taken_back_one_by_one_in_a_bundle_without_our_files():
    old, new = {NET: TWO.encode()}, TWO.replace(*RATE).replace(*UPDATE)
    taken = dict(ablation._list_sources(old, {NET: new.encode()}))
    assert set(taken) == {"region rate", "region update"}
    assert taken["region rate"] == {NET: TWO.replace(*UPDATE).encode()}
