"""A study on a table, run by the loop and played in memory: the same plans, scores and verdicts."""

import json
import random
from dataclasses import replace
from pathlib import Path

import fabricated
import numpy as np
import pytest
from studies import mandate

from configs.errors import BadInput, NoBaseline
from configs.history import History, Trial
from evals.table import World, list_grid
from loop import session
from loop.calibrate.in_memory import play_study
from loop.calibrate.reader import MOST_DRAFTS, count_outcomes, write_proposals
from loop.instruments.gains import read_gains
from loop.instruments.losses import read_plans, read_rungs
from loop.instruments.run import Run
from loop.propose import ask
from loop.propose.history import history_of
from loop.settings import compose_settings
from loop.study import open as study_open
from sandbox.ledger import Ledger

SMALL = ["study=tabulated", "study.name=t", "study.repeats=2", "study.generations=4"]
TABLE = "task.table=fabricated-v1.parquet"


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """Let every run of a test lie under its own relative folder, beside a fabricated table."""
    monkeypatch.chdir(tmp_path)
    fabricated.write(tmp_path)


def config(*overrides, arms=("random", "local"), **task):
    cfg = compose_settings([*SMALL, TABLE, "study.arms=[random]", *overrides])
    own = replace(cfg.task, **task)
    return replace(cfg, study=replace(cfg.study, arms=arms), task=own)


def in_the_loop(cfg):
    mandate(cfg)
    try:
        session.execute(cfg)
    finally:
        study_open.release_locks()
    return Run(0, Ledger.at(Path("runs/t")))


def read_in_the_loop(campaign, generation, index):
    """Write as the stand-in for weights does, in place of a job in a box."""
    count, seed = campaign.shape()[1], campaign.running.config.study.seed
    rng = random.Random(f"{seed}:{campaign.arm}:{campaign.repeat}:{generation}")
    kept = read_in_the_loop.kept
    if index == 0:
        kept[campaign.key] = write_proposals(history_of(campaign, count), rng, MOST_DRAFTS)
    return ask.Written(text=ask.pick_line(kept[campaign.key], index))


def places(run, *purposes):
    """Return (purpose, arm, repeat, generation, index) -> digest of the plans with a purpose."""
    return {
        (plan.purpose, plan.arm, plan.repeat, plan.generation, plan.index): name
        for name, plan in run.facts.plans.items()
        if plan.purpose in purposes
    }


def tell_verdict(verdict, purpose):
    corrected = verdict.corrected if purpose == "candidate" else 0.0  # no closing look uses it
    numbers = (verdict.gain, corrected, verdict.level, verdict.evidence)
    passed = [criterion.passed for criterion in verdict.criteria]
    return [verdict.answer, verdict.replicates, *passed], [n or 0.0 for n in numbers]


def need_same(loop, played):
    """Compare every plan, score and verdict, then the records that instruments read."""
    plans = [places(run, "start", "baseline", "candidate", "final") for run in (loop, played)]
    assert plans[0].keys() == plans[1].keys()
    for place, name in plans[0].items():
        other = plans[1][place]
        own, same = loop.facts.plans[name], played.facts.plans[other]
        assert (own.recipe, own.predicted_gain) == (same.recipe, same.predicted_gain)
        bits = [
            {at[1:]: score and score.bits for at, score in run.facts.scores.items() if at[0] == one}
            for run, one in ((loop, name), (played, other))
        ]
        assert bits[0] == pytest.approx(bits[1], abs=1e-6) and bits[0]
        verdicts = [loop.facts.verdicts.get(name), played.facts.verdicts.get(other)]
        assert (verdicts[0] is None) == (verdicts[1] is None)
        if verdicts[0]:
            told = [tell_verdict(verdict, own.purpose) for verdict in verdicts]
            words, numbers = zip(*told, strict=True)
            assert words[0] == words[1] and numbers[0] == pytest.approx(numbers[1], abs=1e-6)
    tell = [
        {
            "gains": [(g.arm, g.repeat, g.generation, g.planned_cpu_us) for g in read_gains(run)],
            "values": pytest.approx([g.value for g in read_gains(run)], abs=1e-6),
            "fates": [(p.fate, p.cpu_us, p.duplicate) for a in ARMS for p in read_plans(run, a)],
        }
        for run in (loop, played)
    ]
    assert tell[0]["gains"] == tell[1]["gains"] and tell[0]["fates"] == tell[1]["fates"]
    assert [g.value for g in read_gains(loop)] == tell[1]["values"]
    assert any(fate == "accepted" for fate, _, _ in tell[0]["fates"])


ARMS = ("random", "local")


def test_a_study_that_is_played_is_the_study_that_the_loop_runs():
    """Another baseline, a part of the knobs, start trials, a plan that ends the campaigns early."""
    recipes = list_grid(fabricated.fabricated_task())
    held = {"schedule": recipes[4].schedule}
    cfg = config("study.start_trials=3", "study.plan_trainings=75", baseline=recipes[4], fixed=held)
    loop, played = in_the_loop(cfg), play_study(0, cfg, World(fabricated.fabricate()))
    need_same(loop, played)
    lived = {played.last_generation(*campaign) for campaign in played.campaigns}
    assert max(lived) < 4 and lived == {loop.last_generation(*c) for c in loop.campaigns}


def test_histories_of_arms_that_read_are_those_of_the_loop(monkeypatch):
    """A program writes for `self` and `scrambled` inside the loop: permuted outcomes and all."""
    monkeypatch.setitem(ask.WAYS, "box", read_in_the_loop)
    read_in_the_loop.kept = {}
    arms = ("self", "scrambled")
    cfg = config("study.start_trials=16", "study.proposals=2", arms=arms)
    failing = fabricated.fabricate(failing=(list_grid(fabricated.fabricated_task())[7],))
    fabricated.write(Path.cwd(), failing)
    cfg = replace(cfg, task=compose_settings([*SMALL, TABLE, "study.arms=[random]"]).task)
    loop, played = in_the_loop(cfg), play_study(0, cfg, World(failing))
    plans = [places(run, "start", "baseline", "candidate", "final") for run in (loop, played)]
    recipes = [
        {place: run.facts.plans[name].recipe for place, name in own.items()}
        for run, own in zip((loop, played), plans, strict=True)
    ]
    assert recipes[0] == recipes[1]
    assert any(score is None for score in played.facts.scores.values())
    champions = [
        {key: [run.facts.plans[name].recipe for name in names] for key, names in own.items()}
        for run, own in ((loop, loop.facts.champions), (played, played.facts.champions))
    ]
    assert champions[0] == champions[1] and any(len(names) > 1 for names in champions[0].values())


def test_sealed_is_opened_on_its_own_folds_and_skill_is_measured_on_the_baseline():
    small = ["study.generations=2", "study.proposals=2", "study.skill_proposals=1"]
    cfg = config("study.start_trials=1", *small, arms=("self", "local"))
    world = World(fabricated.fabricate(noise=0.001))
    run = play_study(0, cfg, world)
    held = {(h.rung, h.repeat): h.value for arm in ("self",) for h in read_rungs(run, arm)}
    assert {"sealed", "closing", "code", "licence"} <= {rung for rung, _ in held}
    base, best = (run.facts.plans[run.facts.champions["self", 0][at]].recipe for at in (0, -1))
    folds = run_folds(cfg, 0, "sealed")
    true = world.score(base, own=folds) - world.score(best, own=folds)
    assert held["sealed", 0] == pytest.approx(true, abs=0.05) and true > 0.2
    skills = [plan for plan in run.facts.plans.values() if plan.purpose == "skill"]
    assert len(skills) == 2 * 4 and {plan.reference_recipe for plan in skills} == {base}


def run_folds(cfg, repeat, split):
    from evals.folds import columns_of
    from loop.study.items import draw_items
    from loop.study.root import plain_secret

    items = draw_items(cfg.task.format(), plain_secret(cfg), repeat, 2)
    return columns_of(items.splits[split])


def test_reading_is_charged_one_training():
    cfg = config("study.start_trials=16", "study.generations=1", arms=("self", "random"))
    run = play_study(0, cfg, World(fabricated.fabricate()))
    charged = [run.planned_us[arm, 0, -1] for arm in ("self", "random")]
    assert charged == [cfg.task.planned_cpu_us, 4 * 100_000]


def test_what_cannot_be_played_is_refused():
    world = World(fabricated.fabricate(failing=(fabricated.fabricated_task().baseline,)))
    with pytest.raises(NoBaseline, match="left no score"):
        play_study(0, config(), world)
    with pytest.raises(BadInput, match="arm human cannot be played"):
        play_study(0, config(arms=("human",)), World(fabricated.fabricate()))


def trials(scores, knob="learning_rate"):
    base = fabricated.fabricated_task().baseline
    return [
        Trial(recipe=replace(base, **{knob: value}), outcome="scored", score=score)
        for value, score in scores
    ]


def history(past, limit=1, count=4):
    task = fabricated.fabricated_task()
    return History(
        champion=task.baseline,
        champion_source="",
        champion_score=-4.0,
        trials=tuple(past),
        grid=dict(task.grid),
        count=count,
        most_changes=limit,
    )


def write(past, drafts=MOST_DRAFTS):
    texts = write_proposals(past, random.Random(1), drafts)
    return [json.loads(text) for text in texts]


def test_the_reader_proposes_what_did_well_and_foresees_its_score():
    past = trials([(0.0021, -4.0)] * 6) + trials([("cosine", -3.5)] * 6, knob="schedule")
    past += trials([(3, -4.4)] * 6, knob="depth")
    tried = {"schedule": "cosine"}
    (first,) = write(history(past, limit=2, count=1))
    assert first["knobs"].items() > tried.items() and 0 < first["predicted_gain"] < 0.5


def test_the_reader_keeps_the_limit_and_repeats_no_trial():
    past = trials([("cosine", -3.5)], knob="schedule")
    many = write(history(past, limit=1, count=20))
    knobs = [tuple(one["knobs"].items()) for one in many]
    assert {len(one) for one in knobs} == {1} and len(set(knobs)) == len(knobs)
    assert set(knobs) == {(("learning_rate", 0.005),), (("depth", 2),), (("depth", 3),)}


def test_counts_say_which_value_goes_with_a_good_outcome():
    scores = [
        (rate, top - step / 100) for step in range(6) for rate, top in ((0.005, -3.5), (0.002, -4))
    ]
    belief = count_outcomes(history(trials(scores)))
    good, bad = belief.values[3, 0], belief.values[0, 0]
    assert good[1] > good[0] and bad[1] < bad[0] and np.isneginf(bad[2])
    assert belief.worth[3] == pytest.approx(-3.51)
