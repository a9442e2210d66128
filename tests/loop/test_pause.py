"""Arms that stand still for a part of a study: what their twin does, and then nothing more."""

import numpy as np
import pytest
from studies import execute, mandate, read_facts

from configs.errors import BadInput
from configs.settings.accord import Pause
from evals.accord import compare_paused
from evals.arms import Curve
from loop.settings import compose_settings
from loop.study.open import release_locks
from loop.verify.run import verify

SMALL = (
    "study=accord-v1-short",
    "study.name=t",
    "study.repeats=1",
    "study.generations=4",
    "study.arms=[self,self_paused,self_resumed]",
    "study.final_replicates=4",
)


@pytest.fixture
def played(tmp_path):
    config = compose_settings([*SMALL, f"runs={tmp_path}/runs"])
    mandate(config)
    execute(config)
    release_locks()
    return tmp_path / "runs" / "t"


def test_an_arm_that_stands_still_does_what_its_twin_did_until_then(played):
    facts = read_facts(played)
    tried = {}
    for plan in facts.plans.values():
        if plan.purpose == "candidate":
            tried.setdefault(plan.arm, []).append((plan.generation, plan.index, plan.recipe))
    lasts = {arm: max(generation for generation, *_ in plans) for arm, plans in tried.items()}
    assert lasts == {"self": 4, "self_paused": 2, "self_resumed": 3}
    for arm, last in lasts.items():
        assert tried[arm] == [one for one in tried["self"] if one[0] <= last]
    verify(played)


def curve(*gains):
    value = np.array([gains]).T
    return Curve(repeats=tuple(range(len(gains))), spent=np.ones_like(value), value=value)


def test_the_figures_are_differences_of_the_arms_ends():
    arms = {
        "self": curve(3.0, 3.2, 3.4),
        "self_paused": curve(2.0, 2.1, 2.2),
        "self_resumed": curve(2.5, 2.6, 2.7),
        "frozen": curve(1.5, 1.6, 1.7),
        "frozen_paused": curve(1.0, 1.1, 1.2),
    }
    found = {name: figure.value for name, figure in compare_paused(arms, 1.0).items()}
    assert found == pytest.approx(
        {
            "cost of a pause to self": 1.1,
            "cost of a pause to frozen": 0.5,
            "lead, self alone pauses": 0.5,
            "lead, both pause": 1.0,
            "lead, both minus none": -0.6,
            "cost of a breach to self": 0.6,
            "saved by finding it": 0.5,
        }
    )
    del arms["self_paused"]
    assert set(compare_paused(arms, 1.0)) == {
        "cost of a pause to frozen",
        "cost of a breach to self",
    }


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("study.pause=null", "pause is 'null'"),
        ("study.pause.rounds=4", "pause.rounds is 4; it should be below 4"),
        ("study.plan_trainings=200", "plan_trainings is 200; it should be 0 with a pause"),
        ("study.pause.found=3", "found is 3"),
        ("study.pause.rounds=0", "rounds is 0"),
    ],
)
def test_a_pause_that_does_not_fit_is_refused(change, words):
    with pytest.raises(BadInput, match=words):
        compose_settings([*SMALL, change])


def test_a_pause_is_found_within_itself():
    assert Pause(rounds=3, found=3).found == 3
