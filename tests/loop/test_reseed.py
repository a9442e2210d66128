"""Arm reseed: like beside like. Every training moves, and the true effect is exactly 0."""

from pathlib import Path

import fabricated
import numpy as np
import pytest
from fakes import FakeBox
from studies import compose_cached, config, mandate, read_facts

from configs.entries import StartEntry, facts_of
from configs.errors import BadInput
from configs.records import Proposal
from evals.loss import PlanFact, accept_rate
from evals.truth import hold
from loop import session
from loop.instruments.measure import measure
from loop.instruments.run import Run
from loop.instruments.truth import read_campaigns
from loop.measure import jobs
from loop.plan import apply_proposal, source
from loop.settings import compose_settings
from loop.study import open as study_open
from loop.study.tabulated import read_world
from loop.verify.run import verify
from sandbox.heads import open_ledger
from sandbox.ledger import Ledger


def seeds_of(folder, arm):
    """Return plan -> (role, index) -> (recipe, seed) of an arm's trainings."""
    facts = read_facts(folder)
    found = {}
    for start in facts_of(Ledger.at(folder).entries(), StartEntry):
        job = start.job
        if job.role.endswith("train") and facts.plans[job.plan].arm == arm:
            found.setdefault(job.plan, {})[job.role, job.index] = (job.order.recipe, job.order.seed)
    return found


@pytest.fixture
def folder(tmp_path, go):
    """A study of two arms in the loop's own box, where a score is luck with the seed alone."""
    cfg = config(
        tmp_path, "study.arms=[reseed, random]", "study.generations=3",
        "objective.acceptance=greedy", "objective.minimum_effect=0",
    )  # fmt: skip
    mandate(cfg)
    go(cfg, FakeBox(lambda order: 0.3 + 0.5 * (order.seed % 97) / 97))
    return tmp_path / "runs" / "t"


def test_both_sides_of_a_pair_are_one_recipe_under_seeds_of_their_own(folder):
    facts, trained = read_facts(folder), seeds_of(folder, "reseed")
    plans = {name: facts.plans[name] for name in trained}
    confirmed = [name for name in trained if len(trained[name]) > 2]
    assert len(confirmed) >= 3 and len({plan.recipe for plan in plans.values()}) == 1
    assert all(not plan.changed for plan in plans.values())
    for name in confirmed:
        every = [seed for _, seed in trained[name].values()]
        assert len(set(every)) == len(every) >= 8  # four pairs; a candidate was screened, too
    screened = {trained[name]["train", 0][1] for name in trained if ("train", 0) in trained[name]}
    assert len(screened) >= 6
    shared = seeds_of(folder, "random")
    pair = next(runs for runs in shared.values() if ("champion-train", 0) in runs)
    assert pair["train", 1][1] == pair["champion-train", 0][1]


def test_the_run_verifies_and_its_differences_are_noise_and_no_ties(folder):
    assert verify(folder)["findings"] == []
    figures = measure([folder])["arms"]["reseed"]
    assert figures["accepted of the confirmed"]["n"] == 3
    facts = read_facts(folder)
    gains = [
        verdict.gain
        for name, verdict in facts.verdicts.items()
        if facts.plans[name].arm == "reseed"
    ]
    assert len(gains) >= 3 and any(gain != 0 for gain in gains)


def test_without_seeds_of_its_own_every_pair_is_a_tie(tmp_path, go, monkeypatch):
    monkeypatch.setattr(jobs, "APART", 0)
    cfg = config(tmp_path, "study.arms=[reseed]", "study.generations=2")
    mandate(cfg)
    go(cfg, FakeBox(lambda order: 0.3 + 0.5 * (order.seed % 97) / 97))
    facts = read_facts(tmp_path / "runs" / "t")
    assert {verdict.gain for verdict in facts.verdicts.values()} == {0.0}


def test_on_a_table_the_truth_of_every_gain_is_zero_and_what_is_measured_is_not(
    tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    fabricated.write(tmp_path)
    cfg = compose_settings(
        [
            "study=nulls-v2", "study.name=t", "task.table=fabricated-v1.parquet", "study.claims=[]",
            "study.repeats=3", "study.generations=4", "objective.acceptance=greedy",
            "objective.minimum_effect=0",
        ]
    )  # fmt: skip
    mandate(cfg)
    session.execute(cfg)
    study_open.release_locks()
    run = Run(0, open_ledger(Path("runs/t")))
    world = read_world(cfg)
    campaigns = list(read_campaigns(run, world, world.best()[1], "reseed"))
    plans = [plan for campaign in campaigns for plan in campaign.plans]
    assert {plan.true for plan in plans} == {0.0}
    assert {campaign.true for campaign in campaigns} == {0.0}
    confirmed = [plan for plan in plans if plan.confirmed]
    assert len(confirmed) == 12 and all(abs(plan.gate) > 1e-6 for plan in confirmed)
    accepted = sum(plan.accepted for plan in plans)
    assert 0 < accepted < 12  # greedy keeps about half of the noise
    assert hold(campaigns, 0.0)["false accepts"]["true"].value == 1.0
    assert measure([Path("runs/t")])["arms"]["reseed"]["accepted of the confirmed"]["value"] == (
        pytest.approx(accepted / 12)
    )


def test_an_arm_that_reseeds_changes_nothing_and_another_arm_something():
    recipe = compose_cached("study=single").task.baseline
    files = {path: data for path, data in source().items()}
    nothing = Proposal(hypothesis="", knobs={})
    other = Proposal(hypothesis="", knobs={"learning_rate": recipe.learning_rate * 2})
    assert apply_proposal(recipe, files, nothing, True).recipe == recipe
    with pytest.raises(BadInput, match="changes nothing; change a knob"):
        apply_proposal(recipe, files, nothing)
    with pytest.raises(BadInput, match="changes a knob; it should change none here"):
        apply_proposal(recipe, files, other, True)


def test_a_simulated_study_has_no_seeds_to_exchange():
    with pytest.raises(BadInput, match=r"study\.arms is 'reseed'"):
        compose_settings(["study=planted", "task.world=linear", "study.arms=[reseed]"])


def test_the_accept_rate_counts_confirmed_plans_alone():
    fates = [("accepted", 8), ("no effect", 4), ("inconclusive", 8), ("superseded", 0)]
    plans = [
        PlanFact(plan=str(place), repeat=0, generation=1, fate=fate, replicates=pairs)
        for place, (fate, pairs) in enumerate(fates)
    ]
    figure = accept_rate(plans)
    assert (figure.value, figure.n) == (pytest.approx(1 / 3), 3)
    assert accept_rate(plans[3:]).word == "not exercised"
    low, high = (np.round(end, 3) for end in (figure.low, figure.high))
    assert (low, high) == (0.008, 0.906)  # Clopper and Pearson for 1 of 3
