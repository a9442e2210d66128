"""Studies that are really killed, 60 times at random instants, end as if nothing had happened."""

import itertools
import os
import random
import signal

import pytest
from crashes import KINDS, compose, crash, flaws, kept, lost_jobs, play
from studies import mandate

from loop.study import open as study_open
from loop.study.simulated import SimulatedBox

KILLS = 60 // len(KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_a_study_that_is_killed_at_random_instants_finds_what_it_finds_whole(
    tmp_path, monkeypatch, kind
):
    monkeypatch.chdir(tmp_path)  # the luck of a simulated study hangs on its folder's name
    cfg = compose(kind, seed=1)
    mandate(cfg)
    assert crash(lambda: play(cfg), random.Random(kind), 0.0, 0) == 0
    whole = kept(cfg)
    assert any("verdict" in name for name in whole)
    os.rename("runs", "whole")
    rng, kills = random.Random(kind), 0
    while kills < KILLS:
        kills += crash(lambda: play(cfg), rng, 1.0, KILLS - kills)
        assert list(flaws(cfg)) == [] and kept(cfg) == whole
        os.rename("runs", f"killed-{kills}")


@pytest.mark.parametrize("charged", [True, False])
def test_a_job_that_died_with_its_loop_is_charged_before_it_is_granted_anew(
    tmp_path, monkeypatch, charged
):
    monkeypatch.chdir(tmp_path)
    cfg = compose("program", seed=1)
    mandate(cfg)
    run, jobs = SimulatedBox.run, itertools.count(1)

    def dies(self, execution):
        if next(jobs) == 5:
            os.kill(os.getpid(), signal.SIGKILL)
        return run(self, execution)

    with monkeypatch.context() as patch:
        patch.setattr(SimulatedBox, "run", dies)
        with pytest.raises(RuntimeError, match="ended with -9"):
            crash(lambda: play(cfg), random.Random(0), 0.0, 0)
    if not charged:  # a lost grant was used: nothing runs on it
        monkeypatch.setattr(study_open, "reconcile", lambda ledger: 0)
        with pytest.raises(RuntimeError, match="ended with 1"):
            crash(lambda: play(cfg), random.Random(0), 0.0, 0)
        return
    crash(lambda: play(cfg), random.Random(0), 0.0, 0)
    assert lost_jobs(cfg) == 1 and list(flaws(cfg)) == []


def test_a_study_that_fails_by_itself_is_no_kill(tmp_path):
    with pytest.raises(RuntimeError, match="ended with 1"):
        crash(lambda: 1 / 0, random.Random(0), 0.0, 0)
