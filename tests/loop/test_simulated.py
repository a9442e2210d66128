"""The whole loop on worlds whose law is known: nothing is trained, everything else is real."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
from fakes import FakeBox
from scipy.stats import binom
from studies import mandate, page_of

from configs.arms import START
from configs.errors import BadInput, NoBox, VerificationFailed
from configs.job import Limits
from evals.law import CLAIM
from evals.planted import LAWS
from evals.simulate import worth
from loop import session
from loop.calibrate import power
from loop.campaign import Campaign
from loop.course import run_campaign, run_start_trial
from loop.facts.reader import FactsReader
from loop.instruments.gains import read_gains
from loop.instruments.measure import measure
from loop.instruments.run import Run
from loop.report import make
from loop.settings import compose_settings
from loop.study import open as study_open
from loop.study.simulated import SimulatedBox
from loop.unseal import unseal
from loop.verify.run import verify
from sandbox.box.base import Execution
from sandbox.canonical import canonical
from sandbox.ledger import Ledger

SELF = ["task.notebook=true", "study.start_trials=16"]
SMALL = [
    "study=planted",
    "study.name=t",
    "study.generations=3",
    "study.repeats=10",
    "study.confirm_replicates=6",
    "study.final_replicates=4",
    "objective.acceptance=paired_t",
    "objective.alpha=0.3",
]


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """Let every run of a test lie under its own relative folder."""
    monkeypatch.chdir(tmp_path)


def config(world, *overrides):
    return compose_settings([*SMALL, f"task.world='{world}'", *overrides])


def released(act):
    """Do something, and release the locks as the end of a process would."""
    try:
        return act()
    finally:
        study_open.release_locks()


def run(cfg):
    mandate(cfg)
    return released(lambda: session.execute(cfg))


def loop_alone(cfg):
    """Run a study's campaigns to their end, without the report and the verification that `heirloop
    run` ends with; return its folder.
    """
    mandate(cfg)

    def act():
        running = study_open.open_study(cfg, lean=True)
        say = lambda _: None  # noqa: E731
        for repeat in range(cfg.study.repeats):
            for number in range(cfg.study.start_trials):
                run_start_trial(Campaign(running, START, repeat, None, say), number)
        for arm in cfg.arms():
            for repeat in range(cfg.study.repeats):
                run_campaign(Campaign(running, arm, repeat, None, say))
        running.ledger.append("end", {"reason": "every campaign ended"})
        running.checkpoint()
        return running.folder

    return released(act)


def facts(tmp_path):
    return FactsReader(Ledger.at(tmp_path / "runs" / "t")).facts()


def test_a_simulated_study_runs_through_the_real_loop_says_so_and_verifies(tmp_path):
    cfg = config("linear", "study.repeats=1")
    result = run(cfg)
    assert result["finished"] and (result["tier"], result["box"]) == ("simulated", "planted")
    assert "simulated" in page_of(tmp_path / "runs/t").lower()
    counted = verify(tmp_path / "runs/t")
    assert counted["scores"] == counted["jobs"] / 2 > 30
    charged = {r.charged_by for r, _ in facts(tmp_path).results.values()}
    assert charged == {"plan"}


def test_the_same_simulated_study_gives_the_same_plans_scores_and_verdicts(tmp_path):
    cfg, seen = config("linear", "study.repeats=2", "study.arms=[planted,random]"), []
    for _ in range(2):
        run(cfg)
        found = facts(tmp_path)
        seen.append((found.plans, found.scores, found.verdicts, found.champions))
        shutil.rmtree(tmp_path / "runs" / "t")
    assert seen[0] == seen[1] and len(seen[0][0]) > 10


@pytest.mark.parametrize(
    "settings",
    [
        ["task=planted", "box=auto"],
        ["task=planted", "box=namespace"],
        ["box=planted"],
        ["task=fast", "box=planted"],
    ],
)
def test_a_simulated_box_and_a_real_task_are_refused_together(settings):
    with pytest.raises(BadInput, match=r"box\.kind"):
        compose_settings(settings)


@pytest.mark.parametrize(
    ("world", "more", "why"),
    [
        ("nowhere", [], "one of null, linear"),
        ("human-bottlenecked", [], "a reviewer that stands in"),
        ("human-bottlenecked", ["autonomy=assisted"], "stands in"),
        ("human-bottlenecked", ["reviewer=scripted"], "autonomy=assisted"),
        ("correlated arms", ["study.arms=[self]", *SELF], "a seed of its own"),
    ],
)
def test_what_a_world_cannot_be_held_with_is_refused_with_the_reason(tmp_path, world, more, why):
    with pytest.raises(BadInput, match=why):
        config(world, *more)


@pytest.mark.parametrize("arm", ["evolve", "llm", "hostile", "human"])
def test_an_arm_that_needs_more_than_a_law_is_refused(tmp_path, arm):
    with pytest.raises(BadInput, match=f"study.arms is '{arm}'|arm {arm} needs"):
        config("linear", f"study.arms=[{arm}]")


def test_a_study_that_demands_a_tier_takes_no_simulated_box(tmp_path):
    cfg = config("linear")
    cfg = replace(cfg, box=replace(cfg.box, tier="C"))
    with pytest.raises(NoBox, match="demands tier C"):
        run(cfg)


def test_the_door_refuses_a_real_box_for_a_simulated_task_and_a_simulated_box_for_a_real_one(
    tmp_path, go
):
    box = FakeBox(lambda order: 0.5)
    cfg = config("linear", "study.repeats=1")
    mandate(cfg)
    with pytest.raises(VerificationFailed, match="a fake box and task planted"):
        go(cfg, box)
    assert box.ran == []
    real = compose_settings(["task=addition-v1", "study.name=u", "task.held_out=100"])
    mandate(real)
    with pytest.raises(VerificationFailed, match="a planted box and task addition"):
        go(real, SimulatedBox(cfg))


def test_the_simulated_box_itself_answers_no_job_of_another_task(tmp_path):
    real = compose_settings(["task=addition-v1", "study.name=u"])
    order = {
        "role": "train",
        "task": real.task.format(),
        "recipe": real.task.baseline,
        "seed": 1,
        "steps": 1,
    }
    asked = Execution(
        role="train", files={"job.json": canonical(order)}, limits=Limits(), outputs={}
    )
    done = SimulatedBox(config("linear")).run(asked)
    assert (done.status, done.files) == ("box", {}) and "task addition" in done.detail


WORTH = [
    "study.generations=2",
    "study.confirm_replicates=4",
    "study.final_replicates=4",
    "objective.alpha=0.3",
]


def studies(world, count, *overrides):
    """So many studies of a world, each measured; and the true gain of each campaign's last
    champion, which its recipe says.
    """
    measured, true = [], {}
    for seed in range(count):
        cfg = config(
            world, *WORTH, f"study.name={world.split()[0]}{seed}", f"study.seed={seed}", *overrides
        )
        folder = loop_alone(cfg)
        found = FactsReader(Ledger.at(folder)).facts()
        for (arm, _), names in found.champions.items():
            first, last = (
                worth(LAWS[world], found.plans[name].recipe) for name in (names[0], names[-1])
            )
            true.setdefault(arm, []).append((last - first, len(names) - 1))
        measured.append(measure([folder]))
    return measured, {arm: np.mean(rows, axis=0) for arm, rows in true.items()}


def near(figure, truth):
    """Whether a truth lies in a 95 % interval twice as wide, which one in 700 misses: for tests of
    a single figure.
    """
    more = (figure["high"] - figure["low"]) / 2
    return figure["low"] - more <= truth <= figure["high"] + more


def test_instruments_recover_what_the_worlds_hold_from_the_ledgers_of_the_real_loop(tmp_path):
    """Gain and over-claim of arms in four worlds: misses of 95 % intervals stay within the binomial
    bound of one in 1,000.
    """
    held = list[bool]()
    worlds = (
        ("linear", "planted", []),
        ("hacking", "planted", []),
        ("saturating", "planted", []),
        ("compounding", "self", SELF),
    )
    for world, arms, more in worlds:
        measured, true = studies(world, 2, f"study.arms=[{arms}]", *more)
        for one in measured:
            found = one["arms"][arms]
            gained, accepts = true[arms]
            claim = (CLAIM - LAWS[world].hack) * accepts
            held += [
                f["low"] <= t <= f["high"]
                for f, t in ((found["gain"], gained), (found["promise"]["over-claim"], claim))
            ]
            assert found["automation"]["accept"]["value"] == 1 and found["provenance"][
                "value"
            ] == float(arms == "self")
        assert accepts > 1  # the gate lets most of these gains pass
    assert len(held) == 16 and sum(held) >= binom.ppf(0.001, len(held), 0.95)


def test_a_world_without_gains_gives_none_though_a_lax_gate_keeps_noise(tmp_path):
    measured, true = studies("null", 2, "study.arms=[planted]", "objective.alpha=0.5")
    assert (
        list(true["planted"][:1]) == [0.0] and true["planted"][1] > 0.1
    )  # the gate lets noise pass
    for one in measured:
        assert near(one["arms"]["planted"]["gain"], 0.0)
        assert not any(one.get("words", {}).values())


def test_scrambled_outcomes_lose_the_gain_that_self_has_and_kappa_says_so(tmp_path):
    (one,), true = studies("compounding", 1, "study.arms=[self,frozen,refit,scrambled]", *SELF)
    kappa = one["between"]["kappa"]
    assert near(kappa, 1 - true["scrambled"][0] / true["self"][0]) and kappa["low"] > 0
    assert min(true["self"][0], true["refit"][0], true["frozen"][0]) > true["scrambled"][0]


def test_what_is_gone_on_sealed_is_found_by_openings_of_the_real_loop(tmp_path, monkeypatch):
    monkeypatch.setattr("loop.unseal.publish", make.summarize)  # ten reports that nobody reads
    folders = []
    for seed in range(10):
        cfg = config(
            "lossy",
            *WORTH,
            f"study.name=s{seed}",
            f"study.seed={seed}",
            "study.repeats=1",
            "reviewer=scripted",
            "study.generations=3",
            "study.confirm_replicates=6",
        )
        folders.append(loop_alone(cfg))
        released(lambda: unseal(folders[-1]))
    kept = measure(folders)["arms"]["planted"]["retention"]["closing to sealed"]
    assert near(kept, LAWS["lossy"].kept) and kept["high"] < 1


def test_where_people_decide_closure_and_cost_are_told_as_if_the_stand_in_were_people(tmp_path):
    """The world's people are a stand-in that gates put before every recipe and promotion; its law
    is that of `compounding`.
    """
    more = ["study.arms=[planted]", "autonomy=assisted", "reviewer=scripted"]
    (one,), true = studies("human-bottlenecked", 1, *more)
    arm = one["arms"]["planted"]
    other = arm["were reviewers people"]
    assert (
        arm["automation"]["approve"]["value"],
        other["automation"]["approve"]["value"],
        other["stage"],
    ) == (1.0, 0.0, "assisted")
    assert other["automation"]["propose"]["value"] == 1.0 and near(arm["gain"], true["planted"][0])
    plans = (
        FactsReader(Ledger.file(tmp_path / "runs" / "human-bottlenecked0" / "ledger.sqlite"))
        .facts()
        .plans
    )
    decided = (
        len(plans) / 10 + true["planted"][1]
    )  # recipes of a campaign, the closing look's included, and its promotions
    assert other["human cost"]["decisions"]["value"] == pytest.approx(
        decided / arm["gain"]["value"], rel=0.15
    )


def test_noise_that_arms_mirror_leaves_each_arm_its_gain(tmp_path):
    """What `planted` is pushed up by, `random` is pushed down by, in the same repeat and
    generation.
    """
    (one,), true = studies(
        "correlated arms", 1, "study.arms=[planted,random]", "study.generations=1"
    )
    plans = (
        FactsReader(Ledger.file(tmp_path / "runs" / "correlated0" / "ledger.sqlite"))
        .facts()
        .plans.values()
    )
    first = {
        (p.arm, p.repeat): worth(LAWS["correlated arms"], p.recipe)
        for p in plans
        if p.purpose == "candidate" and p.generation == 1
    }
    pushed = np.array([[first[arm, r] for r in range(10)] for arm in ("planted", "random")])
    assert pushed[1] == pytest.approx(
        np.maximum(0.0, 0.1 - (pushed[0] - 0.25)), abs=1e-6
    )  # no worth is below 0
    assert pushed.std(axis=1).min() > 0.05
    assert all(near(one["arms"][arm]["gain"], true[arm][0]) for arm in ("planted", "random"))


def test_the_repeats_that_a_difference_needs_follow_from_the_measured_spread(tmp_path):
    cfg = config("linear", "study.repeats=4", "study.arms=[planted,random]")
    folder = loop_alone(cfg)
    (row,) = power.list_repeats([folder], gain=0.3, target=0.8)
    arms = measure([folder])["arms"]
    ends = {(g.arm, g.repeat): g.value for g in read_gains(Run(0, Ledger.at(folder)))}
    means = {arm: np.mean([ends[arm, repeat] for repeat in range(4)]) for arm in arms}
    assert {arm: arms[arm]["gain"]["value"] for arm in arms} == pytest.approx(means)
    gaps = [ends["planted", repeat] - ends["random", repeat] for repeat in range(4)]
    assert row["difference"] == "planted minus random" and row["repeats seen"] == 4
    assert row["deviation"] == round(float(np.std(gaps, ddof=1)), 4)
    more = power.list_repeats([folder], gain=0.1, target=0.8)[0]["repeats needed"]
    assert more > row["repeats needed"] >= 2
    still = loop_alone(
        config("null", "study.repeats=3", "study.arms=[planted,random]", "study.name=n")
    )
    alike = power.list_repeats([still], gain=0.3)[0]
    assert alike["deviation"] == 0.0 and alike["repeats needed"] is None  # nothing was accepted
    with pytest.raises(BadInput, match="too little"):
        power.list_repeats(
            [loop_alone(config("linear", "study.repeats=2", "study.name=u"))], gain=0.3
        )
