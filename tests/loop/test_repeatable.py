"""Simulated studies repeat everywhere: other folders, users, keys and Pythons change nothing."""

import json
import platform
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from studies import mandate

from configs.build import plain
from configs.entries import PlanEntry, facts_of
from configs.errors import VerificationFailed
from loop import session
from loop.settings import compose_settings
from loop.study import open as study_open
from loop.study.open import open_study
from loop.verify.run import verify
from sandbox import keys
from sandbox.canonical import digest
from sandbox.decision import policy
from sandbox.ledger import Ledger
from sandbox.unsigned import new_approval

TINY = [
    "study=planted",
    "study.name=t",
    "study.generations=2",
    "study.repeats=1",
    "study.confirm_replicates=6",
    "study.final_replicates=4",
    "objective.acceptance=paired_t",
    "objective.alpha=0.3",
    "task.world=linear",
]
OF_THIS_LEDGER = {
    *("time", "monotonic_us", "previous", "wall_seconds", "issued", "expires", "at"),
    *("nonce", "public", "envelope", "authority", "by", "approval", "mandate"),
}
"""Keys that name times, people's signatures, and what rests on them."""
OF_THIS_MACHINE = ("reviewers", "python", "proved")
"""Keys of a study root that say where and under whom this ledger began."""


@pytest.fixture
def places(tmp_path, monkeypatch):
    """Return a function that makes a place to run: a user's folder, keys, a Python and a path."""

    def go(name, *reviewers, python="3.11.2"):
        monkeypatch.setenv("HEIRLOOP_HOME", str(tmp_path / name / "home"))
        monkeypatch.setenv("USER", name)
        monkeypatch.setattr(platform, "python_version", lambda: python)
        for reviewer in reviewers:
            keys.new_key(reviewer, "person", "a long passphrase")
        return f"runs={tmp_path}/{name}/runs"

    return go


def run(*overrides):
    cfg = compose_settings([*TINY, *overrides])
    if cfg.reviewer.policy == "people":
        mandate(cfg)
    try:
        session.execute(cfg)
    finally:
        study_open.release_locks()
    return Ledger.at(study_folder(cfg)).entries()


def study_folder(cfg):
    return Path(cfg.runs) / cfg.study.name


def strip(value):
    """Return a value without what is of a single ledger."""
    if isinstance(value, dict):
        signed = {"digest"} if "envelope" in value else set()
        return {k: strip(v) for k, v in value.items() if k not in OF_THIS_LEDGER | signed}
    if isinstance(value, str) and value.startswith("grant:"):
        return "the account of a decision"
    return [strip(v) for v in value] if isinstance(value, list) else value


def compared(entries):
    """Return the lines of a ledger, as bytes, without what is of that ledger or machine alone."""
    first, *rest = entries
    root = {k: v for k, v in plain(first.fact).items() if k not in OF_THIS_MACHINE}
    root["config"]["runs"] = ""
    rows = [root, *({"kind": e.kind, "body": strip(plain(e.fact))} for e in rest)]
    return [json.dumps(row, sort_keys=True) for row in rows]


def plans(entries):
    return [(fact.digest, fact.plan) for fact in facts_of(entries, PlanEntry)]


@pytest.mark.parametrize("more", [[], ["autonomy=assisted", "reviewer=scripted"]])
def test_a_simulated_study_repeats_on_another_path_under_other_keys_user_and_python(places, more):
    here = run(places("a", "ada"), *more)
    there = run(places("b", "bob", "eve", python="3.13.0"), "tracker.kind=none", *more)
    assert plain(here[0].fact)["reviewers"] != plain(there[0].fact)["reviewers"]
    assert here[0].hash != there[0].hash
    assert plans(here) == plans(there) and len(plans(here)) > 3
    assert compared(here) == compared(there)


def test_another_name_or_seed_is_another_draw_of_luck_and_no_other_setting_is(places):
    where, seen = places("a"), {}
    for label, more in {
        "as it is": [],
        "name": ["study.name=u"],
        "seed": ["study.seed=2"],
        "budget": ["budget.jobs=9999"],
    }.items():
        cfg = compose_settings([*TINY, where, *more])
        try:
            seen[label] = open_study(cfg).secret
        finally:
            study_open.release_locks()
        shutil.rmtree(study_folder(cfg))
    assert seen["as it is"] == seen["budget"]
    assert len({seen["as it is"], seen["name"], seen["seed"]}) == 3


def test_the_plans_of_another_experiment_have_other_digests(places):
    where = places("a")
    other = run(where, "study.name=u", "objective.alpha=0.2")
    assert not {name for name, _ in plans(run(where))} & {name for name, _ in plans(other)}


def test_a_yes_of_one_ledger_counts_in_no_other_ledger_of_the_experiment(places):
    """Both ledgers hold the same plan, and ada may decide in both: her yes names its own root."""
    attended = ["autonomy=assisted", "gates=attended", "gates.patience_seconds=0"]
    attended.append("study.arms=[planted]")
    waiting = []
    for name in ("a", "b"):
        where = places(name)
        if name == "a":
            half = keys.new_key("ada", "person", "a long passphrase")
            private = keys.open_key("ada", "a long passphrase")
        else:
            keys.add("ada", "person", "ada", half["public"])
            keys.new_key("bob", "person", "a long passphrase")
        cfg = compose_settings([*TINY, where, *attended])
        with pytest.raises(Exception, match="waits for"):
            session.execute(cfg)
        study_open.release_locks()
        waiting.append(cfg)
    first, second = (open_study(cfg) for cfg in waiting)
    assert list(first.gate.memory.plans) == list(second.gate.memory.plans)
    (name,) = first.gate.memory.plans
    memory = first.gate.memory
    subject = memory.subjects[name]
    approval = new_approval(memory.rules, subject, "recipe", "approve", "", 1, half)
    envelope = keys.sign(plain(approval), private, "approval")
    assert "does not have" in second.gate.admit(envelope, "approval")
    assert first.gate.admit(envelope, "approval") == ""
    study_open.release_locks()


def test_a_plan_that_names_another_experiment_does_not_verify(places, tmp_path):
    where = places("a")
    entries = run(where)
    assert verify(tmp_path / "a/runs/t")["jobs"]
    ledger = Ledger.at(tmp_path / "a/runs/t")
    rules = policy(entries)
    plan = next(plan for _, plan in plans(entries))
    assert plan.study == rules.study != rules.root
    strange = replace(plan, study=rules.root, index=7)
    ledger.append(PlanEntry(digest=digest(strange), plan=strange))
    with pytest.raises(VerificationFailed, match="another study or version"):
        verify(tmp_path / "a/runs/t")
