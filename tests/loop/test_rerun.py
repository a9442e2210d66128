"""A study that is run again, resumed or killed anywhere does nothing twice."""

import json
import random
import re
from contextlib import contextmanager

import pytest
from studies import entries, mandate

from configs.arms import START
from loop import session
from loop.campaign import Campaign
from loop.course import run_campaign, run_start_trial
from loop.settings import compose_settings
from loop.study import open as study_open
from loop.verify.run import verify
from sandbox.ledger import Ledger

PLANTED = [
    "study=planted",
    "study.name=t",
    "study.generations=2",
    "study.proposals=2",
    "study.confirm_replicates=6",
    "study.final_replicates=4",
    "objective.acceptance=paired_t",
    "objective.alpha=0.3",
    "task.world=linear",
    "box.parallel=1",
]
STUDIES = {
    "program": ["study.arms=[planted,random]", "study.repeats=1"],
    "weights": [
        "study.arms=[self]",
        "study.repeats=1",
        "task.notebook=true",
        "study.start_trials=16",
        "study.skill_proposals=2",
    ],
    "selection": [
        "study.arms=[self_skill,skill_placebo]",
        "study.repeats=1",
        "task.notebook=true",
        "study.start_trials=16",
        "study.skill_proposals=1",
        "study.skill_parents=1",
        "objective.skill={every: 1, asks: 2}",
        "objective.minimum_effect=0.5",
    ],
    "reviewer": [
        "study.arms=[planted]",
        "study.repeats=1",
        "autonomy=assisted",
        "reviewer=scripted",
        "gates=attended",
        "gates.canaries=1.0",
    ],
}
"""Studies whose proposers are a program, weights, weights that are selected on their proposing, and
a program under a scripted reviewer.
"""
SESSIONS = ("session", "pause", "grant")
"""Kinds of entries that tell of a session, or of an attempt at a job, and not of the study."""
LOST = ("start", "job", "reserve", "settle")
"""Kinds of entries of an attempt at a job that a kill ended."""


class Killed(BaseException):
    """Stands for a process that ends at once."""


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """The luck of a simulated study hangs on the name of its folder: a relative name is the same
    everywhere.
    """
    monkeypatch.chdir(tmp_path)


def release():
    for lock in study_open._LOCKS:
        lock.close()
    study_open._LOCKS.clear()


def play(cfg):
    """Run the campaigns of a study in a single thread, and end it as a session does."""
    try:
        running = study_open.open_study(cfg, lean=True)
        say = lambda _: None  # noqa: E731
        for repeat in range(cfg.study.repeats):
            for number in range(cfg.study.start_trials):
                run_start_trial(Campaign(running, START, repeat, None, say), number)
        for repeat in range(cfg.study.repeats):
            for arm in cfg.arms():
                run_campaign(Campaign(running, arm, repeat, None, say))
        if not running.facts().closed:
            running.ledger.append("end", {"reason": "every campaign ended"})
        running.checkpoint()
    finally:
        release()


def killing(monkeypatch, after, whole_jobs):
    """Let the process end at the end of the last of so many transactions; not within a job if
    `whole_jobs`.
    """
    real, left = Ledger.transaction, [after]

    @contextmanager
    def transaction(ledger):
        with real(ledger) as txn:
            yield txn
        left[0] -= bool(txn.own)
        starts = any(entry.kind == "start" for entry in txn.own)
        if left[0] <= 0 and not (starts and whole_jobs):
            raise Killed

    monkeypatch.setattr(Ledger, "transaction", transaction)


def told(cfg):
    """Return what a ledger says of its study: no session, no lost attempt, no name of chance."""
    lines, lost = entries(cfg), set()
    for line in lines:
        if line.kind == "job" and line.body["result"]["status"] == "box":
            lost.add(line.body["nonce"])
    rows = []
    for line in lines:
        if line.kind in SESSIONS or (line.kind in LOST and names(line) & lost):
            continue
        rows.append((line.kind, plain(line.body)))
    return rows


def names(line):
    """Return the nonces in an entry of a job."""
    body = line.body
    return {body.get("nonce"), body.get("key"), body.get("grant", {}).get("nonce")}


CHANCE = {
    *("nonce", "envelope", "digest", "authority", "by", "id", "attempt", "sequence"),
    *("at", "detected_at", "occurred_start", "occurred_end", "expires", "issued", "seen"),
}
"""Fields of nonces, signatures, times and numbers of entries, and digests of them."""


def plain(body):
    """Return a body as text, without its fields of chance."""

    def cleared(fields):
        return {name: 0 if name in CHANCE else value for name, value in fields.items()}

    text = json.dumps(json.loads(json.dumps(body), object_hook=cleared))
    return re.sub(r"\b[0-9a-f]{32}\b|grant:[0-9a-f]{16}", "0", text)


@pytest.mark.parametrize("kind", STUDIES)
def test_a_study_killed_after_every_few_transactions_ends_as_if_nothing_had_happened(
    tmp_path, monkeypatch, kind
):
    cfg = compose_settings([*PLANTED, *STUDIES[kind]])
    if kind != "reviewer":
        mandate(cfg)
    play(cfg)
    whole, kills, rng = told(cfg), 0, random.Random(kind)
    (tmp_path / "runs" / "t").rename(tmp_path / "before")
    for _ in range(400):
        with monkeypatch.context() as patch:
            # An approval pays for each job of its plan once, so no job of it is lost here.
            killing(patch, rng.randint(5, 9), whole_jobs=kind == "reviewer")
            try:
                play(cfg)
                break
            except Killed:
                kills += 1
    # Answers to requests put together come in another order after a kill.
    order = sorted if kind == "reviewer" else list
    assert kills > 10 and order(told(cfg)) == order(whole)
    verify(tmp_path / "runs" / "t")
    assert any(name == "selection" for name, _ in whole) == (kind == "selection")


@pytest.mark.parametrize("kind", STUDIES)
def test_a_study_that_ended_is_run_again_and_only_a_session_is_added(tmp_path, kind):
    cfg = compose_settings([*PLANTED, *STUDIES[kind]])
    if kind != "reviewer":
        mandate(cfg)
    results = [session.execute(cfg)]
    before = entries(cfg)
    for _ in range(2):
        release()
        results.append(session.execute(cfg))
    release()
    assert [e.kind for e in entries(cfg)[len(before) :]] == ["session", "session"]
    assert results[0]["accounts"] == results[2]["accounts"]
    verify(tmp_path / "runs" / "t")


def test_a_generation_with_three_trainings_is_at_most_twenty_entries(tmp_path):
    cfg = compose_settings(
        [
            *PLANTED,
            *STUDIES["program"],
            "study.arms=[planted]",
            "study.generations=4",
            "study.proposals=1",
            "study.confirm_replicates=1",
            "study.final_replicates=0",
            "objective.acceptance=greedy",
            "objective.first_look=1",
        ]
    )
    mandate(cfg)
    play(cfg)
    lines = entries(cfg)
    first = next(e.sequence for e in lines if e.kind == "plan" and e.body["plan"]["generation"])
    # The charge for the proposal, the training files and the scores stand beside other facts.
    shared = [e.kind for e in lines if e.number and e.sequence > first]
    assert shared.count("data") == 2 * 4 and shared.count("verdict") == 4
    assert (lines[-1].sequence - first) / 4 <= 20
