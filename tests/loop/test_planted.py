"""The whole loop on worlds whose law is known: nothing is trained, everything else is real."""

import json
from dataclasses import replace

import numpy as np
import pytest
from fakes import FakeBox
from scipy.stats import binom

from configs.errors import BadInput, NoBox, VerificationFailed
from configs.job import Limits
from evals.planted import CLAIM, LAWS
from evals.simulate import worth
from loop import main, study
from loop.archive import Archive
from loop.instruments import measure
from loop.planted import WITHHELD, Planted
from loop.verify import verify
from sandbox.box.base import Execution
from sandbox.canonical import canonical
from sandbox.ledger import Ledger
from test_cycle import go, mandate

__all__ = ["go"]
SMALL = ["study=planted", "study.name=t", "study.generations=3", "study.repeats=10", "study.confirm_replicates=6", "study.final_replicates=4",
         "objective.acceptance=paired_t", "objective.alpha=0.3"]  # fmt: skip


def config(tmp_path, world, *overrides):
    return main.composed([*SMALL, f"task.world={world}", f"runs={tmp_path}/runs", *overrides])


def run(cfg):
    mandate(cfg)
    try:
        return main.execute(cfg)
    finally:
        for lock in study._LOCKS:
            lock.close()
        study._LOCKS.clear()


def facts(tmp_path):
    return Archive(Ledger.file(tmp_path / "runs" / "t" / "ledger.sqlite")).facts()


def test_a_simulated_study_runs_through_the_real_loop_says_so_and_verifies(tmp_path):
    cfg = config(tmp_path, "linear", "study.repeats=1")
    result = run(cfg)
    assert result["finished"] and (result["tier"], result["box"]) == ("simulated", "planted")
    assert "simulated" in (tmp_path / "runs/t/report.html").read_text().lower()
    counted = verify(tmp_path / "runs/t")
    assert counted["scores"] == counted["jobs"] / 2 > 30
    charged = {r.charged_by for r, _ in facts(tmp_path).results.values()}
    assert charged == {"plan"}


def test_the_same_simulated_study_gives_the_same_plans_scores_and_verdicts(tmp_path):
    import shutil

    cfg, seen = config(tmp_path, "linear", "study.repeats=2", "study.arms=[planted,random]"), []
    for _ in range(2):
        run(cfg)
        found = facts(tmp_path)
        seen.append((found.plans, found.scores, found.verdicts, found.champions))
        shutil.rmtree(tmp_path / "runs" / "t")
    assert seen[0] == seen[1] and len(seen[0][0]) > 10


@pytest.mark.parametrize("settings", [["task=planted", "box=auto"], ["task=planted", "box=namespace"], ["box=planted"], ["task=fast", "box=planted"]])
def test_a_simulated_box_and_a_real_task_are_refused_together(settings):
    with pytest.raises(BadInput, match=r"box\.kind"):
        main.composed(settings)


@pytest.mark.parametrize("world", [*WITHHELD, "nowhere"])
def test_a_world_that_the_loop_cannot_express_is_refused_with_the_reason(tmp_path, world):
    with pytest.raises(BadInput, match=r"a decision of no person|its own plan's seed|one of null, linear"):
        config(tmp_path, f"'{world}'")


@pytest.mark.parametrize("arm", ["evolve", "llm", "hostile", "human"])
def test_an_arm_that_needs_more_than_a_law_is_refused(tmp_path, arm):
    with pytest.raises(BadInput, match=f"study.arms is '{arm}'|arm {arm} needs"):
        config(tmp_path, "linear", f"study.arms=[{arm}]")


def test_a_study_that_demands_a_tier_takes_no_simulated_box(tmp_path):
    cfg = config(tmp_path, "linear")
    cfg = replace(cfg, box=replace(cfg.box, tier="C"))
    with pytest.raises(NoBox, match="demands tier C"):
        run(cfg)


def test_the_door_refuses_a_real_box_for_a_simulated_task_and_a_simulated_box_for_a_real_one(tmp_path, go):
    box = FakeBox(lambda order: 0.5)
    cfg = config(tmp_path, "linear", "study.repeats=1")
    mandate(cfg)
    with pytest.raises(VerificationFailed, match="a fake box and task planted"):
        go(cfg, box)
    assert box.ran == []
    real = main.composed(["study.name=u", f"runs={tmp_path}/runs", "task.held_out=100"])
    mandate(real)
    with pytest.raises(VerificationFailed, match="a planted box and task addition"):
        go(real, Planted(cfg))


def test_the_simulated_box_itself_answers_no_job_of_another_task(tmp_path):
    real = main.composed(["study.name=u", f"runs={tmp_path}/runs"])
    order = {"role": "train", "task": real.task.format(), "recipe": real.task.baseline, "seed": 1, "steps": 1}
    asked = Execution(role="train", files={"job.json": canonical(order)}, limits=Limits(), outputs={})
    done = Planted(config(tmp_path, "linear")).run(asked)
    assert (done.status, done.files) == ("box", {}) and "task addition" in done.detail
