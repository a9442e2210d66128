"""A simulated study in several processes is the same study, and ends as one, however it ends."""

import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from multiprocessing import get_context
from pathlib import Path

import pytest
from studies import entries, mandate

from configs.entries import EndEntry, PauseEntry, QuestionsEntry, facts_of
from configs.errors import HeirloopError, Interrupted, NeedsHuman, NoBaseline, NoBox, Stopped
from loop import crew, session
from loop.facts.facts import fold_entries
from loop.settings import compose_settings
from loop.study import open as study_open
from loop.study.simulated import SimulatedBox
from loop.verify.run import verify
from sandbox.gate import Halted

SMALL = [
    "study=planted",
    "study.name=t",
    "study.arms=[local,random]",
    "study.generations=2",
    "study.proposals=2",
    "study.repeats=4",
    "study.start_trials=1",
    "study.confirm_replicates=4",
    "study.final_replicates=4",
    "objective.acceptance=paired_t",
    "objective.alpha=0.3",
    "task.world=linear",
    "budget.looks.feedback=5000",
    "budget.looks.confirm=5000",
]


@pytest.fixture
def small(tmp_path):
    """Return a function that gives the settings of a study in some processes, with a mandate."""

    def compose(processes, *more):
        place = tmp_path / str(processes)
        config = compose_settings([*SMALL, f"box.parallel={processes}", f"runs={place}", *more])
        mandate(config)
        return config

    return compose


def _run(config, act=lambda: None):
    """Run a study, and release its lock as the end of a process would."""
    threading.Thread(target=act, daemon=True).start()
    try:
        return session.execute(config)
    finally:
        study_open.release_locks()


def _outcome(config):
    """Return what a study found, by the places of its plans."""
    facts = fold_entries(entries(config))
    at = {name: (p.arm, p.repeat, p.generation, p.index) for name, p in facts.plans.items()}
    return (
        {key: [at[name] for name in names] for key, names in facts.champions.items()},
        {(at[name], *rest): scores for (name, *rest), scores in facts.scores.items()},
        {at[name]: p.recipe for name, p in facts.plans.items()},
    )


def test_a_study_in_one_two_or_three_processes_finds_the_same_and_verifies(small):
    found = []
    for processes in (1, 2, 3):
        config = small(processes)
        assert _run(config)["finished"]
        assert verify(Path(config.runs) / "t")["plans"] > 40
        found.append(_outcome(config))
        counts = Counter((q.repeat, q.split) for q in facts_of(entries(config), QuestionsEntry))
        assert set(counts.values()) == {1}
        assert len(list(facts_of(entries(config), EndEntry))) == 1
    assert found[0] == found[1] == found[2] and len(found[0][0]) == 8


def test_a_single_repeat_is_not_split_among_workers(small):
    """What a proposer reads is in the order of the ledger, so its campaigns take turns."""
    orders = []
    for processes in (1, 4):
        config = small(processes, "study.repeats=1", "study.start_trials=8")
        _run(config)
        orders.append([(p.arm, p.index) for p in fold_entries(entries(config)).plans.values()])
    assert orders[0] == orders[1]


def test_processes_work_at_the_same_time(small, monkeypatch):
    """Each of two processes waits inside its first job for the other one."""
    both = get_context("fork").Barrier(2)
    real, mine = SimulatedBox.run, []

    def run(box, execution):
        if not mine:
            mine.append(both.wait(60))  # raises where nobody else comes
        return real(box, execution)

    monkeypatch.setattr(SimulatedBox, "run", run)
    assert _run(small(2))["finished"]


def _only_in(repeat, act):
    """Return a stage that acts before the campaigns of a repeat."""

    def stage(campaign, _):
        if campaign.repeat == repeat:
            act()
        crew.run_campaign(campaign)

    return stage


def _raise(error):
    raise error


def test_an_error_in_a_forked_process_stops_the_study_and_keeps_its_words(small, monkeypatch):
    config, error = small(2, "study.repeats=8"), NeedsHuman("people must decide")
    error.question = ("ab", "recipe")
    stage = _only_in(1, lambda: _raise(error))
    with monkeypatch.context() as patch:
        patch.setitem(crew._STAGES, "campaign", stage)
        with pytest.raises(NeedsHuman, match="people must decide") as caught:
            _run(config)
    assert caught.value.question == ("ab", "recipe")
    (pause,) = facts_of(entries(config), PauseEntry)
    assert pause.exit_code == 3
    assert len(_outcome(config)[0]) < 16, "the other process went on to its end"


def test_a_fault_of_ours_in_a_forked_process_comes_with_its_traceback(small, monkeypatch):
    monkeypatch.setitem(crew._STAGES, "campaign", _only_in(1, lambda: _raise(Odd({1: print}))))
    with pytest.raises(RuntimeError, match="_only_in"):
        _run(small(2))


class Odd(Exception):
    """An error that no pipe can carry."""

    def __init__(self, first):
        super().__init__(lambda: first)


def test_a_process_that_cannot_open_the_study_says_why(small, monkeypatch):
    monkeypatch.setattr(crew, "reopen", lambda running: _raise(NoBox("no box for a second one")))
    with pytest.raises(NoBox, match="no box for a second one"):
        _run(small(2))


def test_a_paused_campaign_stops_no_other(small, monkeypatch):
    def stage(campaign, _):
        if campaign.key == ("local", 1):
            raise NoBaseline("it left no score")
        crew.run_campaign(campaign)

    monkeypatch.setitem(crew._STAGES, "campaign", stage)
    config = small(2, "study.start_trials=0")  # a stage without any task ends no process
    with pytest.raises(NoBaseline):
        _run(config)
    assert len(fold_entries(entries(config)).ended) == 7


def test_a_killed_process_ends_the_study_and_the_same_command_goes_on(small, monkeypatch):
    whole, config = small(1), small(2)
    _run(whole)
    stage = _only_in(3, lambda: os.kill(os.getpid(), signal.SIGKILL))
    with monkeypatch.context() as patch:
        patch.setitem(crew._STAGES, "campaign", stage)
        with pytest.raises(Interrupted, match="the same command goes on"):
            _run(config)
    assert _run(config)["finished"]
    assert _outcome(config) == _outcome(whole)


def test_a_stop_from_outside_reaches_every_process(small):
    config = small(2, "study.repeats=200")
    folder = Path(config.runs) / "t"

    def act():
        while not (folder / "store").exists():
            time.sleep(0.05)
        (folder / "STOP").write_text("enough")

    with pytest.raises(Stopped):
        _run(config, act)
    assert multiprocessing.active_children() == []
    assert len(fold_entries(entries(config)).ended) < 400


def test_forked_processes_end_with_a_killed_loop(small, tmp_path):
    config = small(3, "study.repeats=200")
    words = [*SMALL, "box.parallel=3", f"runs={config.runs}", "study.repeats=200"]
    loop = subprocess.Popen([Path(sys.executable).parent / "heirloop", "run", *words])
    try:
        children = Path(f"/proc/{loop.pid}/task/{loop.pid}/children")
        while len(forked := children.read_text().split()) < 2:
            assert loop.poll() is None
            time.sleep(0.05)
    finally:
        loop.kill()
        loop.wait()
    for pid in forked:  # the kernel kills them; a zombie has no memory map
        while Path(f"/proc/{pid}/statm").exists() and _alive(pid):
            time.sleep(0.05)


def _alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] not in "ZX"
    except OSError:
        return False


def _errors(kind):
    return [kind, *(one for sub in kind.__subclasses__() for one in _errors(sub))]


@pytest.mark.parametrize("kind", _errors(HeirloopError), ids=lambda kind: kind.__name__)
def test_a_pipe_carries_every_error_with_its_words_and_advice(kind):
    error = Halted("held", "slow") if kind is Halted else kind("wrong")
    error.advice = "try `this`"
    again = crew._portable(error)
    assert again is error
    copy = pickle.loads(pickle.dumps(error))
    assert (type(copy), str(copy), vars(copy)) == (kind, str(error), vars(error))
