"""What a database of programs did, on plans whose truth is known."""

import numpy as np
import pytest

from configs.records import Origin
from evals.arms import Curve
from evals.evolving import compare_databases, describe_programs, measure_programs
from evals.loss import PlanFact

REPEATS = range(10)


def fact(repeat, generation, parent, island=0, cell=(0, 0), **more):
    return PlanFact(
        plan=f"{repeat}.{generation}.{parent}.{island}",
        repeat=repeat,
        generation=generation,
        fate="no effect",
        parent=parent,
        of_champion=parent == "best",
        origin=Origin(island=island, cell=cell),
        **more,
    )


def campaign(repeat, islands):
    """Two islands with parents of their own, or the champion as the parent of all but one."""
    first = [fact(repeat, 1, "best", island, cell=(3, island)) for island in (0, 1)]
    if islands:
        later = [
            fact(repeat, 2 + i, f"p{island}{i}", island) for i in range(3) for island in (0, 1)
        ]
        return [*first, *later, fact(repeat, 5, "best", 1)]
    return [*first, *(fact(repeat, 2 + i, "best") for i in range(11)), fact(repeat, 13, "p")]


PLANS = {
    "evolve": [plan for repeat in REPEATS for plan in campaign(repeat, islands=True)],
    "edits": [plan for repeat in REPEATS for plan in campaign(repeat, islands=False)],
    "tpe": [
        PlanFact(plan=f"{repeat}", repeat=repeat, generation=2, fate="no effect")
        for repeat in REPEATS
    ],
}


def curve(gains):
    gains = np.array(gains, float)[:, None]
    return Curve(repeats=tuple(REPEATS), spent=np.full_like(gains, 1e6), value=gains)


def test_eleven_of_twelve_parents_that_are_the_champion_are_seen():
    figures = describe_programs(PLANS["edits"])
    assert figures["champion as parent"].value == pytest.approx(11 / 12)
    assert figures["parents"].value == 2 and figures["parents of island 0"].value == 2
    own = describe_programs(PLANS["evolve"])
    assert own["champion as parent"].value == pytest.approx(1 / 7)
    assert [own[f"parents of island {i}"].value for i in (0, 1)] == [3, 4]
    assert own["parents"].value == 7 and own["parents"].n == 10


def test_generation_1_knows_a_single_program_and_counts_for_cells_alone():
    found = measure_programs([fact(0, 1, "best", cell=(1, 1)), fact(0, 1, "best", cell=(2, 1))])
    assert found["cells"] == {0: 2} and found["parents"] == found["champion as parent"] == {}
    assert describe_programs([fact(0, 1, "best")])["parents"].word == "not measured"


def test_cells_and_duplicates_are_counted_campaign_by_campaign():
    plans = [fact(r, 2, "p", cell=(r, 0), duplicate=r == 1) for r in (0, 1, 1)]
    found = measure_programs(plans)
    assert found["cells"] == {0: 1, 1: 1} and found["duplicates"] == {0: 0.0, 1: 1.0}


def test_a_plan_without_a_named_parent_is_left_out():
    """Without a change limit a plan does not name its parent."""
    found = measure_programs([fact(0, 2, ""), fact(0, 3, "p")])
    assert found["champion as parent"] == {0: 0.0} and found["parents"] == {0: 1}


def test_arms_are_compared_in_pairs_and_recipes_by_their_gain_alone():
    rng = np.random.default_rng(1)
    luck = rng.normal(0, 1, 10)
    arms = {
        "evolve": curve(0.3 + luck),
        "edits": curve(0.1 + luck + rng.normal(0, 0.01, 10)),
        "tpe": curve(0.2 + luck + rng.normal(0, 0.01, 10)),
    }
    found = compare_databases(PLANS, arms, 1e6)
    assert found["gain"]["minus edits"].value == pytest.approx(0.2, abs=0.02)
    assert found["gain"]["minus edits"].low > 0.15  # the luck of a repeat is common to its arms
    assert found["parents"] == {"minus edits": found["parents"]["minus edits"]}
    assert found["parents"]["minus edits"].value == 5
    assert set(found["gain"]) == {"minus edits", "minus tpe"}


def test_a_study_without_programs_that_evolve_has_none_of_these_figures():
    assert describe_programs(PLANS["tpe"]) == {}
    assert compare_databases({"evolve": PLANS["tpe"], "tpe": PLANS["tpe"]}, {}, 1e6) == {}
