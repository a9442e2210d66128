import numpy as np
import pytest

from configs.errors import BadInput
from evals.arms import Curve
from evals.closure import (
    COMPARISONS,
    STAGES,
    WITHHELD,
    Event,
    actors,
    as_people,
    automation,
    autonomy,
    provenance,
    self_closure,
    stage_table,
)
from evals.pace import (
    FACTORS,
    Effort,
    amortise,
    elasticities,
    human_cost,
    limiting,
    run_length,
    speed_up,
)

RNG = np.random.default_rng(0)


def arm(values):
    return Curve(
        repeats=tuple(range(len(values))),
        spent=np.ones((len(values), 1)),
        value=np.asarray(values, float)[:, None],
    )


def near(mean, n=12):
    return mean + 0.01 * RNG.standard_normal(n)


def test_automation_is_a_share_of_released_compute_and_not_of_decisions():
    events = [Event(stage="accept", actor="person", cpu_us=90, repeat=r) for r in (0, 1)]
    events += [
        Event(stage="accept", actor="unattended rule", cpu_us=10, repeat=r, decisions=9)
        for r in (0, 1)
    ]
    assert automation(events)["accept"].value == pytest.approx(0.1)
    assert actors(events)["accept"]["person"] == pytest.approx(0.9)
    once = automation([e for e in events if e.repeat == 0])["accept"]
    assert once.value == pytest.approx(0.1) and (once.low, once.word) == (None, "cannot tell")


def test_a_stage_without_events_is_not_exercised_and_never_automated():
    vector = automation([Event(stage="train", actor="fixed program", cpu_us=1)])
    assert {s for s, f in vector.items() if f.word == "not exercised"} == {*STAGES, *WITHHELD} - {
        "train"
    }
    assert vector["deploy"].value is None and not vector["deploy"].over(-1)


def test_full_automation_of_few_decisions_has_a_wide_interval():
    vector = automation([Event(stage="approve", actor="standing rule", cpu_us=5, decisions=5)])
    assert vector["approve"].value == 1.0
    assert vector["approve"].low == pytest.approx(0.4782, abs=1e-3)


def test_what_the_settings_fix_is_a_constant_and_has_no_interval():
    """A study cannot sample that its training is a program: a person could not have trained."""
    vector = automation([Event(stage="train", actor="fixed program", cpu_us=5, decisions=5)])
    assert (vector["train"].low, vector["train"].value, vector["train"].high) == (1.0, 1.0, 1.0)
    assert vector["train"].word == "constant" and vector["train"].over(0.5)
    alone = provenance(["lineage"] * 3, ["lineage"] * 9)
    assert (alone.low, alone.high) == (1.0, 1.0)
    mixed = provenance(["lineage"] * 3, ["lineage"] * 9 + ["person"])
    assert mixed.low < 0.5 < mixed.high == 1.0


def test_a_cron_job_and_an_optuna_study_stand_beside_with_full_automation():
    for events in COMPARISONS.values():
        assert (
            automation(events)["train"].value == 1.0
            and automation(events)["set objective"].value == 0.0
        )
    assert automation(COMPARISONS["a nightly cron job"])["deploy"].value == 1.0


def test_a_simulated_reviewer_is_no_person_and_no_lineage():
    events = [Event(stage="accept", actor="simulated reviewer", cpu_us=1, decisions=50)]
    assert (
        automation(events)["accept"].value == 1.0
        and actors(events)["accept"]["simulated reviewer"] == 1.0
    )
    assert provenance(["simulated reviewer", "lineage"]).value == 0.5
    assert (
        automation(as_people(events))["accept"].value == 0.0
        and as_people([Event(stage="train", actor="lineage", cpu_us=1)])[0].actor == "lineage"
    )


def test_run_length_without_a_human_act_is_a_bound():
    assert (
        run_length(90, 0).low == pytest.approx(30.04, abs=0.01) and run_length(90, 0).value is None
    )
    assert run_length(90, 9).value == 10
    effort = Effort(decisions=(), minutes=(), queue_seconds=(), setup_minutes=9, mandates=3)
    assert (
        amortise(90, effort)["set-up minutes"].value == 0.1
        and amortise(0, effort)["mandates"].word == "not exercised"
    )


def test_kappa_is_the_share_that_hangs_on_the_loop_s_own_outcomes():
    kappa = self_closure({"self": arm(near(2.0)), "scrambled": arm(near(0.5))})
    assert kappa.value == pytest.approx(0.75, abs=0.02) and kappa.over(0.5)


def test_kappa_may_be_negative():
    kappa = self_closure({"self": arm(near(1.0)), "scrambled": arm(near(1.5))})
    assert kappa.value == pytest.approx(-0.5, abs=0.05) and kappa.high < 0


def test_kappa_is_undefined_without_gain_and_not_measured_without_a_twin():
    nothing = RNG.standard_normal(12)
    assert (
        self_closure({"self": arm(nothing - nothing.mean()), "scrambled": arm(near(0.5))}).word
        == "undefined"
    )
    assert self_closure({"self": arm(near(1.0))}).word == "not measured"
    few = self_closure({"self": arm(near(1.0)[:9]), "scrambled": arm(near(0.5)[:9])})
    assert few.word == "cannot tell" and few.value == pytest.approx(
        0.5, abs=0.05
    )  # a gain on too few repeats is a gain all the same


def test_human_cost_per_gain_is_undefined_without_gain():
    effort = Effort(decisions=(4,) * 12, minutes=(8.0,) * 12, queue_seconds=(60.0,) * 12)
    assert human_cost(effort, near(2.0))["minutes"].value == pytest.approx(4.0, rel=0.02)
    assert human_cost(effort, [-1.0, 1.0] * 6)["decisions"].word == "undefined"


def test_instant_people_speed_up_by_amdahl_s_law():
    found = speed_up(near(75.0), near(20.0), [100.0] * 12)
    assert found["people were instant"].value == pytest.approx(4, rel=0.01) and found[
        "compute were instant"
    ].value == pytest.approx(1.25, rel=0.01)
    once = speed_up([75.0], [20.0], [100.0])["people were instant"]
    assert once.value == 4.0 and (once.low, once.word) == (None, "cannot tell")
    with pytest.raises(BadInput, match="no more than the campaign took"):
        speed_up([101.0], [1.0], [100.0])


def test_the_limiting_factor_is_the_largest_elasticity_and_only_when_it_is_clear():
    base = near(2.0)
    raised = {name: base * 1.01 + near(0.0) for name in FACTORS} | {"reviewer speed": base * 1.2}
    assert limiting(base, raised) == "reviewer speed"
    assert elasticities(base, raised)["reviewer speed"].value == pytest.approx(0.8, abs=0.02)
    assert elasticities(base, raised, {"reviewer speed": 1.5})[
        "reviewer speed"
    ].value == pytest.approx(0.4, abs=0.02)
    assert limiting(base, raised | {"compute": base * 1.2 + near(0.0)}) == "cannot tell"
    assert limiting(base, {"compute": base}) == "not measured"
    assert limiting(base, raised | {"compute": base * np.nan}) == "not measured"
    assert limiting(base * np.nan, raised) == "cannot tell"
    # Half as many proposals more gain 0.6, a quarter more compute 0.5: a per cent of compute more.
    other = {"proposals": base + 0.6 + near(0.0), "compute": base + 0.5 + near(0.0)}
    by = {"proposals": 1.5, "compute": 1.25}
    assert limiting(base, raised | {"reviewer speed": base} | other, by) == "compute"
    assert (
        elasticities(base, {})["compute"].word == "not measured"
        and elasticities([-1.0, 1.0] * 6, raised)["compute"].word == "undefined"
    )


def test_the_stage_of_development_follows_from_who_released_what():
    def vector(**people):
        return automation(
            [
                Event(
                    stage=s,
                    actor="person" if people.get(s) else "unattended rule",
                    cpu_us=1,
                    decisions=20,
                )
                for s in STAGES
            ]
        )

    assert {autonomy(vector(**{stage: 1})) for stage in ("approve", "train", "accept")} == {
        "assisted"
    }
    assert autonomy(vector(deploy=1)) == "bounded" and autonomy(vector()) == "autonomous"
    assert autonomy(automation([])) == "not exercised"
    without = automation(
        [Event(stage=s, actor="lineage", cpu_us=1) for s in STAGES if s != "deploy"]
    )
    assert autonomy(without) == "bounded"  # a deployment that nobody tried is not an automated one
    table = stage_table(
        [
            Event(stage="accept", actor="standing rule", cpu_us=1),
            Event(stage="set budget", actor="person", cpu_us=1),
        ],
        "compute",
    )
    assert [row["controlled by"] for row in table] == [
        "a person's standing rule",
        "people",
        "",
    ] and table[-1]["who"] == "compute"
