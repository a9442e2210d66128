"""Registered claims: what a study may claim, and what it cannot measure."""

import re
from dataclasses import replace

import pytest
from studies import compose_cached

from configs.build import parse, plain
from configs.errors import BadInput
from configs.settings.claims import INSTRUMENTS, MOST, Claim, need_measurable
from configs.settings.study import Study

STUDY = Study(name="t", start_trials=8)
RUNGS = ("sealed", "large", "code")
ARMS = (
    "self",
    "refit",
    "scrambled_own",
    "one_shot",
    "one_shot_free",
    "more_compute",
    "more_proposals",
    "more_both",
    "parallel_shared",
    "evolve",
    "edits",
    "evolve_no_grid",
)


def claim(instrument="self minus refit", **more):
    fields = {"name": "c", "asks": "above", "bound": 0.0, "smallest": 0.1, **more}
    return Claim(instrument=instrument, **fields)


@pytest.mark.parametrize(
    "instrument",
    [
        "self minus refit",
        "between, self minus refit",
        "own effect",
        "kappa own",
        "rounds against one",
        "reach, one_shot",
        "arms, more_compute, gain",
        "arms, self, compute x proposals",
        "parallel, duplicates, shared minus single",
        "arms, refit, calibration",
        "evolve, gain, minus edits",
        "evolve, cells, minus evolve_no_grid",
    ],
)
def test_a_study_claims_what_it_can_measure(instrument):
    need_measurable([claim(instrument)], ARMS, STUDY)


def test_excess_losses_need_the_slice_and_reference_changes():
    sealed, large, code = (claim(f"arms, self, excess loss, {rung}") for rung in RUNGS)
    need_measurable([sealed], ARMS, STUDY)
    further = replace(STUDY, larger_replicates=4)
    need_measurable([large, replace(code, name="d")], ARMS, further, ("code",), on_table=True)
    for one, study, slices, why in (
        (large, STUDY, (), "it needs arm reference,"),
        (large, STUDY, (), "and study.arms has self, refit"),
        (code, STUDY, ("code",), "it needs arm reference,"),
        (code, STUDY, (), "the task's slices are none"),
        (code, STUDY, ("noised",), "the task's slices are noised"),
    ):
        with pytest.raises(BadInput, match=re.escape(why)):
            need_measurable([one], ARMS, study, slices)
    with pytest.raises(BadInput, match=r"it needs study\.larger_replicates above 0"):
        need_measurable([large], ARMS, STUDY, (), on_table=True)


@pytest.mark.parametrize(
    ("instrument", "study", "why"),
    [
        ("kappa", {}, "it needs arm scrambled, and study.arms has self, refit"),
        ("self minus tpe", {}, "it needs arm tpe,"),
        ("arms, nobody, gain", {}, "it needs arm nobody,"),
        ("interaction", {}, "it needs arm scrambled_start, scrambled,"),
        ("self effect", {}, "it needs study.skill_proposals above 0"),
        ("self minus refit", {"final_replicates": 0}, "it needs study.final_replicates above 0"),
        ("own effect", {"start_trials": 9}, "study.start_trials of at most 8, which is 9"),
        ("self minus more_compute", {}, "arm more_compute has more to spend"),
        ("parallel, gain, shared minus separate", {}, "it needs arm parallel_separate,"),
        ("parallel, luck, shared minus single", {}, "it should be one of"),
        ("evolve, gain, minus local", {}, "it needs arm local,"),
        ("evolve, parents, minus edits", {}, "it needs study.most_changes above 0"),
        ("luck", {}, "it should be one of “self minus {arm}”"),
        ("arms, self, luck", {}, "it should be one of"),
    ],
)
def test_an_instrument_that_cannot_exist_in_the_study_is_refused_by_name(instrument, study, why):
    with pytest.raises(BadInput) as refused:
        first = claim("arms, refit, provenance", name="a")
        need_measurable([first, claim(instrument)], ARMS, replace(STUDY, **study))
    assert str(refused.value).startswith(f"study.claims[1].instrument is {instrument!r}; ")
    assert why in str(refused.value)


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"smallest": None}, "smallest is None; it should be a distance above 0"),
        ({"smallest": 0.0}, "smallest is 0.0; it should be a distance above 0"),
        ({"asks": "equivalent", "bound": 0.1}, "smallest is 0.1; it should be left out"),
        ({"asks": "equivalent", "smallest": None}, "bound is 0.0; it should be above 0"),
        ({"name": " "}, "name is ' '"),
    ],
)
def test_a_claim_that_contradicts_itself_is_refused(more, why):
    with pytest.raises(BadInput) as refused:
        claim(**more)
    assert why in str(refused.value)


def test_many_claims_and_two_of_a_name_are_refused():
    with pytest.raises(BadInput, match=r"study\.claims is '9 claims'; it should be at most 8"):
        need_measurable([claim(name=str(i)) for i in range(MOST + 1)], ARMS, STUDY)
    with pytest.raises(BadInput, match=r"study\.claims is .* a list of different names"):
        need_measurable([claim(), claim()], ARMS, STUDY)


def test_claims_are_settings_of_the_study_and_older_studies_have_none():
    said = "[{name: c, instrument: 'arms, local, gain', asks: above, bound: 0, smallest: 0.1}]"
    config = compose_cached("study=single", f"+study.claims={said}")
    assert config.study.claims == (claim("arms, local, gain"),)
    assert parse(Study, plain(config.study)) == config.study
    older = compose_cached("study=single")
    assert older.study.claims == () and "claims" not in plain(older.study)
    with pytest.raises(BadInput, match=r"study\.claims\[0\]\.instrument is 'own effect'"):
        compose_cached(
            "study=single", f"+study.claims={said.replace('arms, local, gain', 'own effect')}"
        )
    with pytest.raises(BadInput, match=r"study\.claims\[0\]\.asks is 'more'"):
        compose_cached("study=single", f"+study.claims={said.replace('above', 'more')}")


def test_a_claim_in_words_names_bound_and_size():
    assert claim().describe() == "self minus refit above 0, by 0.1 or more"
    kept = claim("arms, self, gain ratio", asks="equivalent", bound=0.2, smallest=None)
    assert kept.describe() == "arms, self, gain ratio within 0.2 of 1" and kept.interest == 0.2
    assert all(name.startswith(("between, ", "arms, ")) for name in INSTRUMENTS)
