"""Studies that are really killed, 60 times at random instants and 3 times over real training, end
as if nothing had happened.
"""

import itertools
import os
import random
import signal
import sqlite3
from contextlib import closing

import pytest
from conftest import ROOT, need_box
from crashes import (
    ANY_CHARGE,
    KINDS,
    SPANS,
    compose,
    crash,
    entries,
    flaws,
    folder_of,
    kept,
    list_flaws,
    lost_jobs,
    play,
)
from studies import mandate

from configs.errors import VerificationFailed
from evals import judge
from loop.study import open as study_open
from loop.study.root import begin
from loop.study.simulated import SimulatedBox
from sandbox import keys
from sandbox.box.namespace import NamespaceBox
from sandbox.heads import open_ledger
from sandbox.ledger import FILE

KILLS = {**dict.fromkeys(KINDS, 60 // len(KINDS)), "real": 3}
"""Kinds of studies -> kills; `real` trains in a box."""


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("kind", KILLS)
def test_a_study_that_is_killed_at_random_instants_finds_what_it_finds_whole(
    tmp_path, monkeypatch, kind
):
    if kind == "real":
        need_box(lambda: NamespaceBox(ROOT / ".box", warm=False), "namespace").close()
    monkeypatch.chdir(tmp_path)  # the luck of a simulated study hangs on its folder's name
    monkeypatch.setattr(judge, "OVER_BUDGET", ANY_CHARGE)
    cfg = compose(kind, seed=1)
    mandate(cfg)
    assert crash(lambda: play(cfg), random.Random(kind), 0.0, 0) == 0
    whole = kept(cfg)
    assert any("verdict" in name for name in whole)
    os.rename("runs", "whole")
    rng, kills = random.Random(kind), 0
    for again in range(10 * KILLS[kind]):  # a quick machine may end a study before its kill
        kills += crash(lambda: play(cfg), rng, SPANS[kind], KILLS[kind] - kills)
        assert flaws(cfg) == [] and kept(cfg) == whole
        os.rename("runs", f"killed-{again}")
        if kills == KILLS[kind]:
            break
    assert kills == KILLS[kind]


@pytest.mark.parametrize("left", ["nothing", "a head", "tables", "half a file", "a root"])
def test_a_study_that_was_killed_while_it_began_begins_with_the_same_command(
    tmp_path, monkeypatch, left
):
    monkeypatch.chdir(tmp_path)
    cfg = compose("program", seed=1)
    mandate(cfg)
    crash(lambda: play(cfg), random.Random(0), 0.0, 0)
    whole, file = kept(cfg), folder_of(cfg) / FILE
    os.rename("runs", "whole")
    file.parent.mkdir(parents=True)
    file.touch()
    with closing(sqlite3.connect(file)) as book:
        if left != "nothing":
            book.execute("PRAGMA journal_mode=WAL")
    if left == "half a file":
        (file.parent / f".{'0' * 16}").touch()
    if left in ("tables", "a root"):
        file.unlink()
        with closing(open_ledger(file.parent, create=True)) as ledger:
            if left == "a root":
                monkeypatch.setattr(keys, "new_secret", lambda: keys.plain_secret(b"crashes"))
                begin(ledger, cfg, SimulatedBox(cfg))
    crash(lambda: play(cfg), random.Random(0), 0.0, 0)
    assert kept(cfg) == whole and flaws(cfg) == []


@pytest.mark.parametrize("beside", ["store", "checkpoints.jsonl"])
def test_a_run_that_lost_its_tables_is_no_new_study(tmp_path, monkeypatch, beside):
    monkeypatch.chdir(tmp_path)
    cfg = compose("program", seed=1)
    mandate(cfg)
    folder_of(cfg).mkdir(parents=True)
    (folder_of(cfg) / FILE).touch()
    (folder_of(cfg) / beside).touch()
    with pytest.raises(VerificationFailed, match="whose ledger is missing"):
        study_open.open_study(cfg, SimulatedBox(cfg))


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
    assert lost_jobs(cfg) == 1 and flaws(cfg) == []


def test_a_study_that_fails_by_itself_is_no_kill(tmp_path):
    with pytest.raises(RuntimeError, match="ended with 1"):
        crash(lambda: 1 / 0, random.Random(0), 0.0, 0)


def test_what_a_kill_may_never_leave_behind_is_found(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    cfg = compose("program", seed=1)
    mandate(cfg)
    crash(lambda: play(cfg), random.Random(0), 0.0, 0)
    lines = entries(cfg)
    start, job = (next(line for line in lines if line.kind == kind) for kind in ("start", "job"))
    without = [line for line in lines if line is not job]
    cell = {"limit": 5, "reserved": 1, "spent": 6}
    for changed, accounts, words in (
        ([*lines, start], {}, ["was used 2 times"]),
        ([*lines, job], {}, ["took effect 2 times", "was settled 2 times"]),
        (without, {}, ["has no end"]),
        (lines, {"root": {"jobs": cell}}, ["1 jobs stay reserved", "spent more jobs"]),
        (lines, {}, []),
    ):
        found = list(list_flaws(changed, accounts))
        assert len(found) == len(words)
        assert all(word in flaw for word, flaw in zip(words, found, strict=True))
