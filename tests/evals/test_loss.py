from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evals.foretold import calibration
from evals.loss import (
    FATES,
    PARTS,
    PlanFact,
    duplicates,
    efficiency,
    funnel,
    priors,
    promise,
    sum_promises,
    yield_now,
)
from evals.retention import Guard, Held, retention

RNG = np.random.default_rng(0)
NUMBER = st.floats(-10, 10)
MAYBE = st.none() | NUMBER
ANY_PLAN = st.builds(
    PlanFact,
    plan=st.uuids().map(str),
    repeat=st.integers(0, 3),
    generation=st.integers(1, 5),
    fate=st.sampled_from(FATES),
    promised=MAYBE,
    feedback=MAYBE,
    gate=MAYBE,
    corrected=MAYBE,
)


def accepted(repeat, generation, gained, **more):
    return PlanFact(
        plan=f"{repeat}.{generation}.{gained}",
        repeat=repeat,
        generation=generation,
        fate="accepted",
        promised=gained + 0.3,
        feedback=gained + 0.2,
        gate=gained + 0.1,
        corrected=gained,
        gained=gained,
        **more,
    )


def held(score=float("nan"), **rungs):
    return [
        Held(repeat=r, rung=rung, value=v + 0.01 * RNG.standard_normal(), score=score)
        for rung, v in rungs.items()
        for r in range(12)
    ]


@given(st.lists(ANY_PLAN, max_size=12))
def test_the_parts_of_a_promise_add_up_to_it_whatever_is_missing(plans):
    rows = promise(plans)
    assert [row["plan"] for row in rows] == [one.plan for one in plans]
    for row in rows:
        assert sum(row[name] for name in (*FATES[:-1], *PARTS)) == pytest.approx(
            row["promised"], abs=1e-9
        )
    sums = sum_promises(plans)
    if plans:
        assert sum(sums[name].value for name in (*FATES[:-1], *PARTS)) == pytest.approx(
            sums["promised"].value, abs=1e-9
        )


def test_a_rejected_plan_s_promise_falls_whole_into_its_first_bin():
    row = promise(
        [
            PlanFact(
                plan="a",
                repeat=0,
                generation=1,
                fate="no effect",
                promised=0.5,
                feedback=0.4,
                gate=-0.1,
            )
        ]
    )[0]
    assert row["no effect"] == 0.5 and all(row[part] == 0 for part in PARTS)


def test_the_parts_of_an_accepted_promise_are_signed():
    row = promise(
        [
            PlanFact(
                plan="a",
                repeat=0,
                generation=1,
                fate="accepted",
                promised=0.1,
                feedback=0.4,
                gate=0.3,
                corrected=0.2,
            )
        ]
    )[0]
    assert [row[part] for part in PARTS] == pytest.approx([-0.3, 0.1, 0.1, 0.2])


def test_a_proposer_that_predicts_nothing_gets_the_mean_of_earlier_generations_marked():
    plans = [
        PlanFact(plan="a", repeat=0, generation=1, fate="no effect", gate=0.2),
        PlanFact(plan="b", repeat=0, generation=1, fate="crashed"),
        PlanFact(plan="c", repeat=0, generation=2, fate="no effect", gate=9.0),
    ]
    assert priors(plans) == {
        "a": 0.0,
        "b": 0.0,
        "c": 0.1,
    }  # never its own generation, nor later ones
    assert [row["prior"] for row in promise(plans)] == [1, 1, 1]


def screened(rng, slope=1.0, group=0.3, repeats=12, generations=8, parallel=4):
    """Screened plans whose shown gain is `slope` times the foretold one, with noise of their own
    and of their generation.
    """
    plans = []
    for r, g in product(range(repeats), range(generations)):
        shared = group * rng.standard_normal()
        for index, promised in enumerate(0.2 * rng.standard_normal(parallel)):
            shown = slope * promised + 0.15 * rng.standard_normal() + shared
            name = f"{r}:{g}:{index}"
            plans.append(
                PlanFact(
                    plan=name,
                    repeat=r,
                    generation=g,
                    fate="superseded",
                    promised=float(promised),
                    screened=float(shown),
                    corrected=float(shown),
                )
            )
    return plans


def chosen(plans):
    """The best of each generation: what is accepted."""
    best = {}
    for plan in sorted(plans, key=lambda p: p.screened):
        best[plan.repeat, plan.generation] = plan
    return list(best.values())


def test_a_calibrated_proposer_reads_1_and_its_accepted_plans_alone_would_not():
    slopes, selected = [], []
    for seed in range(60):
        plans = screened(np.random.default_rng(seed))
        figure = calibration(plans)["calibration"]
        slopes.append((figure.value, figure.low <= 1 <= figure.high))
        x, y = np.array([(p.promised, p.corrected) for p in chosen(plans)]).T
        selected.append(np.polyfit(x, y, 1)[0])
    values, covered = np.array(slopes, float).T
    assert abs(values.mean() - 1) < 0.05 and covered.mean() >= 0.85
    assert np.mean(selected) < 0.85


def test_a_forecast_of_the_parent_plus_noise_is_no_skill():
    """Foretold and shown share the parent of a generation, so a pooled slope would be near 1."""
    rng, plans = np.random.default_rng(5), []
    for plan in screened(rng, slope=0.0, group=0.0):
        parent = 1.0 * np.random.default_rng([plan.repeat, plan.generation]).standard_normal()
        plans.append(
            replace(plan, promised=plan.promised + parent, screened=plan.screened + parent)
        )
    x, y = np.array([(p.promised, p.screened) for p in plans]).T
    figure = calibration(plans)["calibration"]
    assert np.polyfit(x, y, 1)[0] > 0.9 and abs(figure.value) < 0.15 and figure.high < 0.5


def test_promises_that_are_too_high_are_a_bias_and_no_slope():
    plans = [replace(p, promised=p.promised + 0.4) for p in screened(RNG, group=0.0)]
    found = calibration(plans)
    assert found["calibration bias"].value == pytest.approx(-0.4, abs=0.05)
    assert found["calibration"].value == pytest.approx(1, abs=0.15)


def test_without_predictions_or_with_one_plan_a_generation_there_is_no_slope():
    assert calibration([])["calibration"].word == "not measured"
    single = screened(RNG, parallel=1)
    assert calibration(single)["calibration"].word == "not measured"
    assert calibration(single)["calibration bias"].value is not None


def test_a_prior_hears_of_no_other_repeat():
    plans = [
        PlanFact(plan=f"{r}:{g}", repeat=r, generation=g, fate="no effect", gate=float(r))
        for r in range(3)
        for g in (1, 2)
    ]
    assert priors(plans) == {"0:1": 0, "0:2": 0, "1:1": 0, "1:2": 1, "2:1": 0, "2:2": 2}


def test_a_study_without_a_crash_does_not_claim_that_none_can_happen():
    plans = [accepted(r, 1, 0.1 * r) for r in range(12)]
    found = sum_promises(plans)
    assert (found["crashed"].value, found["crashed"].word) == (0.0, "not exercised")
    assert found["crashed"].low is None and found["verified gain"].low is not None
    parts = [figure.value for name, figure in found.items() if name != "promised"]
    assert sum(parts) == pytest.approx(found["promised"].value)


def test_the_funnel_counts_every_plan_once_with_its_compute():
    rows = funnel(
        [PlanFact(plan=f, repeat=0, generation=1, fate=f, cpu_us=2_000_000) for f in FATES]
    )
    assert (
        [r["fate"] for r in rows] == list(FATES)
        and {r["plans"] for r in rows} == {1}
        and sum(r["cpu_seconds"] for r in rows) == 16
    )


def test_retention_s_steps_multiply_to_what_is_left():
    found = retention(held(feedback=4.0, gate=2.0, closing=1.0, sealed=0.5))
    kept = np.prod([found[s].value for s in ("feedback to gate", "gate to closing")])
    assert found["loss by selection"].value == pytest.approx(1 - kept)
    assert found["closing to sealed"].high < 0.6


def test_loss_by_selection_alone_is_no_loss_on_sealed():
    found = retention(held(feedback=4.0, gate=2.0, closing=1.0, sealed=1.0))
    assert found["loss by selection"].over(0.5) and found["closing to sealed"].low > 0.95


def test_each_slice_is_read_apart_and_against_the_closing_look():
    """A dead slice takes nothing from a live one, and more compute is not read against a slice."""
    found = retention(held(closing=1.0, dead=0.0, live=0.8, large=0.5))
    kept = {step: figure.value for step, figure in found.items() if figure.value is not None}
    assert kept == pytest.approx(
        {"closing to dead": 0.0, "closing to live": 0.8, "closing to large": 0.5}, abs=0.02
    )


def test_a_gain_that_grows_on_the_way_is_kept_more_than_once():
    assert retention(held(closing=1.0, sealed=1.2))["closing to sealed"].low > 1.1


def test_near_the_ceiling_of_a_rung_nothing_is_told_to_be_lost():
    lost = held(closing=1.0, sealed=0.5)
    limits = Guard(ceiling=1.0, deviation=0.05)
    assert retention(lost, limits)["closing to sealed"].high < 0.6
    near = [*held(score=0.5, closing=1.0), *held(score=0.97, sealed=0.5)]
    assert retention(near, limits)["closing to sealed"].word == "saturated"
    assert retention(near)["closing to sealed"].high < 0.6


def test_a_rung_that_was_not_measured_says_so_and_without_gain_nothing_is_kept():
    found = retention(held(closing=1.0, sealed=0.5))
    assert {found[step].word for step in ("closing to large", "feedback to gate")} == {
        "not measured"
    }
    assert found["closing to sealed"].high < 0.6
    nothing = retention(
        [
            Held(repeat=r, rung=rung, value=(-1.0) ** r)
            for rung in ("closing", "sealed")
            for r in range(12)
        ]
    )
    assert nothing["closing to sealed"].word == "undefined"
    assert retention([])["loss by selection"].word == "not measured"
    few = retention([h for h in held(closing=1.0, sealed=0.5) if h.repeat < 9])["closing to sealed"]
    assert few.word == "cannot tell" and few.value == pytest.approx(0.5, abs=0.05)


def world(early, late, cost=1, replicates=(4, 4)):
    plans = []
    for r in range(12):
        for g in range(1, 9):
            second = g > 4
            for i in range(10):
                done = i < (late if second else early)[1]
                more = {
                    "cpu_us": (cost if second else 1) * 1_000_000,
                    "replicates": replicates[second],
                    "around_cpu_us": 100_000,
                }
                gained = (late if second else early)[0] * (1 + 0.1 * RNG.standard_normal())
                lost = PlanFact(
                    plan=f"{r}.{g}.{i}", repeat=r, generation=g, fate="no effect", **more
                )
                plans.append(accepted(r, g, gained, **more) if done else lost)
    return plans


def test_efficiency_falls_by_smaller_harder_and_costlier_which_add_up():
    found = efficiency(world((0.4, 8), (0.2, 4), cost=2, replicates=(4, 8)), around=False)
    assert [found[n].value for n in ("smaller", "harder", "costlier", "noisier")] == pytest.approx(
        [np.log(2) / 4] * 4, rel=0.1
    )
    assert (
        found["E"].value
        == pytest.approx(-sum(found[n].value for n in ("smaller", "harder", "costlier")))
        and found["E"].high < 0
    )


def test_proposing_and_oversight_are_left_out_only_on_request():
    plans = world((0.4, 8), (0.4, 8))
    assert yield_now(plans, around=False).value == pytest.approx(1.1 * yield_now(plans).value)


def test_a_half_without_accepts_has_no_efficiency_to_compare():
    found = efficiency(world((0.4, 8), (0.4, 0)))
    assert {f.word for f in found.values()} == {"not exercised"}
    assert {f.word for f in efficiency([]).values()} == {"not measured"}


def test_a_campaign_is_halved_at_its_own_last_generation():
    """Cut to its first six generations, a world that halves its gain after the third changes by log
    2 over three generations, not over four.
    """
    plans = [
        replace(p, gained=p.gained and (0.4 if p.generation <= 3 else 0.2))
        for p in world((0.4, 8), (0.4, 8))
        if p.generation <= 6
    ]
    assert efficiency(plans)["smaller"].value == pytest.approx(np.log(2) / 3)
    mixed = [
        p for p in plans if p.repeat < 6 or p.generation <= 2 or p.generation in (4, 5)
    ]  # half of the repeats end at the fifth
    assert efficiency([p for p in mixed if p.repeat >= 6])["smaller"].value == pytest.approx(
        np.log(2) / 2.5
    )


def test_duplicates_are_told_by_the_number_of_parallel_proposals():
    plans = [
        PlanFact(plan=str(i), repeat=0, generation=1, fate="no effect", parallel=p, duplicate=i < p)
        for p in (1, 4)
        for i in range(20)
    ]
    found = duplicates(plans)
    assert found[1].value == 0.05 and found[4].value == 0.2 and found[4].low < 0.2 < found[4].high


def coverage_of_sealed(rng, whole_study, each_repeat, studies=300):
    """Return how often the interval of `closing to sealed` holds 1, where nothing is lost.

    Luck with the items of sealed is drawn once for a whole study, or for each repeat.
    """
    held_truth = 0
    for _ in range(studies):
        luck = whole_study * rng.standard_normal() + each_repeat * rng.standard_normal(12)
        closing, sealed = 1 + 0.1 * rng.standard_normal((2, 12)) + np.stack([0 * luck, luck])
        rows = [
            Held(repeat=r, rung=rung, value=value)
            for rung, values in (("closing", closing), ("sealed", sealed))
            for r, value in enumerate(values)
        ]
        kept = retention(rows)["closing to sealed"]
        held_truth += kept.low <= 1 <= kept.high
    return held_truth / studies


def test_careless_one_draw_of_items_for_all_repeats_is_luck_that_no_interval_holds():
    """So the loop draws items for each repeat anew (docs/splits.md)."""
    rng = np.random.default_rng(4)
    assert coverage_of_sealed(rng, whole_study=0.1, each_repeat=0.0) < 0.6
    assert coverage_of_sealed(rng, whole_study=0.0, each_repeat=0.1) > 0.92
