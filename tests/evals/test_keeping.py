"""What a habit of keeping costs, on facts whose truth is known."""

import numpy as np
import pytest

from configs.arms import KEEPING
from evals.arms import Curve
from evals.keeping import compare_keeping
from evals.loss import PlanFact

GREEDY, RULE = KEEPING


def facts(repeat, kept, confirmed=3):
    """A campaign: so many confirmed placebos, the first of them kept, and a real change kept."""
    placebos = [
        PlanFact(
            plan=f"{repeat}.{i}",
            repeat=repeat,
            generation=i + 1,
            fate="accepted" if i < kept else "no effect",
            promised=0.0,
            gate=0.01,
        )
        for i in range(confirmed)
    ]
    real = PlanFact(
        plan=f"{repeat}.real", repeat=repeat, generation=9, fate="accepted", promised=0.1, gate=0.1
    )
    unsaid = PlanFact(
        plan=f"{repeat}.none",
        repeat=repeat,
        generation=10,
        fate="accepted",
        promised=None,
        gate=0.1,
    )
    return [*placebos, real, unsaid]


def curve(gains):
    return Curve(
        repeats=tuple(range(len(gains))),
        spent=np.full((len(gains), 1), 1.0),
        value=np.array(gains)[:, None],
    )


def compare(kept, gains):
    plans = {
        arm: [fact for r, count in enumerate(counts) for fact in facts(r, count)]
        for arm, counts in kept.items()
    }
    return compare_keeping(KEEPING, plans, {arm: curve(own) for arm, own in gains.items()}, 9.0)


def test_kept_placebos_are_false_keeps_and_nothing_else_is():
    kept = {GREEDY: [1, 2, 1, 0] * 3, RULE: [0, 0, 0, 0] * 3}
    gains = {GREEDY: [0.1, 0.2, 0.3, 0.2] * 3, RULE: [0.15, 0.3, 0.35, 0.2] * 3}
    found = compare(kept, gains)
    apart = found["false keeps"]["greedy minus rule"]
    assert apart.value == pytest.approx(1.0) and apart.low > 0 and apart.n == 12
    share = found["false keeps"][GREEDY]
    assert (share.value, share.n) == (pytest.approx(12 / 36), 36)
    assert found["false keeps"][RULE].value == 0 and found["false keeps"][RULE].high < 0.1
    assert found["gain"]["rule minus greedy"].value == pytest.approx(0.05)


def test_a_study_without_placebos_or_before_its_end_measures_no_false_keeps():
    assert compare({GREEDY: [0], RULE: [0]}, {})["false keeps"]["greedy minus rule"].word == (
        "not measured"
    )
    real = {arm: [fact for fact in facts(0, 0) if fact.promised != 0] for arm in KEEPING}
    arms = {arm: curve([0.1, 0.2]) for arm in KEEPING}
    found = compare_keeping(KEEPING, real, arms, 9.0)["false keeps"]
    assert {figure.word for figure in found.values()} == {"not measured", "not exercised"}
