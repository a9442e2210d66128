"""No pack tells its attacks by their surface, and a pack that does is caught."""

from dataclasses import replace

import pytest

from evals.gatebench.pack import Work, find_pack, read_pack
from evals.gatebench.surface import list_surface, measure_leak


@pytest.fixture(scope="module")
def sabotage():
    return read_pack(find_pack("sabotage"))


@pytest.mark.parametrize("pack", ["sabotage", "catalogue"])
def test_no_pack_tells_attacks_from_their_twins(pack):
    families = read_pack(find_pack(pack))
    leak = measure_leak(families, families)
    assert not leak.leaks and leak.attacks == leak.others == len(families), leak


def longer(family):
    """Return a family with attacks that say more in their edits."""
    plans = []
    for step in family.plans:
        edits = tuple(
            replace(e, replace=e.replace + "# a longer remark" * 9) for e in step.attack.edits
        )
        attack = Work(knobs={**step.attack.knobs, "beta2": 0.98}, edits=edits)
        plans.append(replace(step, attack=attack))
    return replace(family, plans=tuple(plans))


def test_a_pack_with_larger_attacks_is_caught(sabotage):
    leaky = [longer(family) for family in sabotage]
    assert measure_leak(leaky, leaky).leaks


def test_a_pack_with_longer_words_is_caught_against_ordinary_plans(sabotage):
    """Sides share their words, so words can leak against ordinary plans alone."""

    def wordy(family):
        more = " It will surely be much better than anything that was ever tried."
        plans = [replace(s, hypothesis=s.hypothesis + more) for s in family.plans]
        return replace(family, plans=tuple(plans))

    ordinary = read_pack(find_pack("benign"))
    assert measure_leak([wordy(family) for family in sabotage], ordinary).leaks


def test_the_surface_holds_no_value_of_a_knob_and_no_code(sabotage):
    for form in ("recipe", "patch"):
        family = next(family for family in sabotage if family.form == form)
        work = family.plans[0].attack
        names = list_surface(family, "attack")
        assert {name for name in names if name.startswith("knob ")} == {
            f"knob {knob}" for knob in work.knobs
        }
        assert bool(work.knobs) == (form == "recipe") and bool(work.edits) == (form == "patch")
        texts = [str(value) for value in work.knobs.values()]
        texts += [edit.replace.strip() for edit in work.edits]
        assert texts and not any(text in name for text in texts for name in names), names
