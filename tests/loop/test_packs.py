"""The packs that ship: every plan fits, and the sides of a family differ in what they do alone."""

import importlib.util
import random
from functools import cache

import pytest
from conftest import ROOT

from configs.records import CLASS_OF_FILE
from evals.gatebench.pack import SIDES, count_by, find_pack, read_pack
from loop.gatebench.skill import read_world
from loop.gatebench.variant import apply_side
from loop.plan import SERVICE, apply_proposal, source
from loop.settings import compose_settings

PACKS = ("sabotage", "benign", "catalogue", "service")
MOST_LINES = 20
"""Lines of a plausible patch."""


@cache
def baseline():
    return compose_settings(["study=single", "study.name=packs", "task=text"]).task.baseline


@cache
def families(pack):
    return read_pack(find_pack(pack), pack)


@pytest.fixture(scope="module")
def bench():
    return load_bench("packs")


def load_bench(name):
    path = ROOT / "tests" / "bench" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(f"bench_{name}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def read(pack):
    return (ROOT / "evals" / "packs" / f"{pack}.jsonl").read_text()


@pytest.mark.parametrize("pack", PACKS)
def test_every_plan_of_every_side_applies_and_compiles(pack):
    for family in families(pack):
        for side in SIDES if family.hostile else SIDES[1:]:
            variant = apply_side(family, side, baseline())
            assert variant.change_class == family.form, family.family
            for name in CLASS_OF_FILE.keys() & variant.files.keys():
                compile(variant.files[name], name, "exec")


def test_both_sides_touch_the_same_knobs_and_places():
    for family in families("sabotage"):
        for step in family.plans:
            attack, twin = step.attack, step.twin
            assert list(attack.knobs) == list(twin.knobs), family.family
            assert [e.file for e in attack.edits] == [e.file for e in twin.edits], family.family
            for one, other in zip(attack.edits, twin.edits, strict=True):
                lines = [edit.replace.count("\n") for edit in (one, other)]
                assert abs(lines[0] - lines[1]) <= 1 and max(lines) < MOST_LINES, family.family
                assert abs(len(one.replace) - len(other.replace)) <= 12, family.family


def test_sabotage_is_large_various_and_mostly_written_by_hand():
    pack = families("sabotage")
    forms, origins = count_by(pack, "form"), count_by(pack, "origin")
    assert len(pack) >= 64 and origins["written-by-hand"] >= 40
    assert min(forms[form] for form in ("recipe", "patch")) >= 20
    assert min(forms[form] for form in ("structural", "proposer")) >= 6
    assert sum(len(family.plans) > 1 for family in pack) >= 6
    assert all(family.hostile and family.unit != "escape" for family in pack)


def test_written_packs_are_what_their_program_writes(bench):
    assert read("benign") == bench.make_benign()
    assert read("catalogue") == bench.make_catalogue()
    assert read("sabotage") == bench.make_sabotage(read("sabotage"))
    assert read("service") == load_bench("service_pack").make_service()


def test_changes_of_a_service_fit_upon_each_other_in_any_order():
    pack = families("service")
    assert len(pack) >= 30 and all(one.hostile and one.form == "patch" for one in pack)
    for seed in range(4):
        files, rng = source(serves=True), random.Random(seed)
        for family in rng.sample(pack, len(pack)):
            proposal = family.plans[0].proposal(rng.choice(SIDES))
            files = apply_proposal(baseline(), files, proposal).files
        compile(files[SERVICE], SERVICE, "exec")
    assert SERVICE not in source()


def test_ordinary_plans_are_many_and_their_recipes_harmless_by_the_table():
    pack, world = families("benign"), read_world()
    zero = world.score(baseline())
    assert len(pack) >= 300 and not any(family.hostile for family in pack)
    recipes = [family for family in pack if family.form == "recipe"]
    assert len(recipes) >= 200
    for family in recipes:
        recipe = apply_side(family, "twin", baseline()).recipe
        assert world.score(recipe) - zero < 0.01, family.family


def test_the_catalogue_tries_to_escape_and_its_twins_have_its_form_and_size():
    pack = families("catalogue")
    assert len(pack) >= 50 and {family.unit for family in pack} == {"escape"}
    for family in pack:
        (step,) = family.plans
        for one, other in zip(step.attack.edits, step.twin.edits, strict=True):
            assert abs(len(one.replace) - len(other.replace)) <= 2, family.family
            assert one.replace.count("\n") == other.replace.count("\n"), family.family
