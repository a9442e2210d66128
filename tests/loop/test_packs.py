"""The packs that ship: every plan fits, and the sides of a family differ in what they do alone."""

from functools import cache

import pytest
from conftest import ROOT

from evals.gatebench.pack import FORMS, SIDES, count_by, find_pack, read_pack, write_line
from loop.gatebench.bench import apply_side
from loop.settings import compose_settings

PACKS = ("sabotage",)
MOST_LINES = 20
"""Lines of a plausible patch."""


@cache
def baseline():
    return compose_settings(["study=single", "study.name=packs", "task=text"]).task.baseline


@cache
def families(pack):
    return read_pack(find_pack(pack), pack)


def works(family, side):
    return [getattr(step, side) for step in family.plans]


@pytest.mark.parametrize("pack", PACKS)
def test_every_plan_of_every_side_applies_and_compiles(pack):
    for family in families(pack):
        for side in SIDES if family.hostile else SIDES[1:]:
            variant = apply_side(family, side, baseline())
            assert variant.change_class == family.form, family.family
            for name in FORMS:
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


def test_the_lines_of_a_pack_are_written_as_the_project_writes_them():
    for pack in PACKS:
        lines = (ROOT / "evals" / "packs" / f"{pack}.jsonl").read_text().splitlines()
        assert lines == [write_line(family) for family in families(pack)]
