"""Supports that are withdrawn in mid-run: what stops, what goes on, and what the record says."""

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import fabricated
import numpy as np
import pytest
from crashes import kept
from studies import mandate

from configs.arms import WITHDRAWN, variant
from configs.entries import (
    ChampionEntry,
    DecisionEntry,
    FaultEntry,
    HistoryEntry,
    PlanEntry,
    facts_of,
)
from configs.errors import BadInput, VerificationFailed
from configs.settings.faults import Withdrawn
from evals.arms import Curve
from evals.faults import Bereft, compare_bereft, describe_bereft
from loop import session
from loop.facts.ending import describe_end
from loop.facts.facts import fold_entries
from loop.instruments.measure import measure
from loop.settings import compose_settings
from loop.study import faults
from loop.study import open as study_open
from loop.verify.faults import check_faults
from loop.verify.run import verify
from sandbox.ledger import Ledger
from sandbox.store import Store

G = 2
"""Generation of the withdrawals, of four."""
SUPPORTS = ("data", "quota", "reviewer", "model", "storage", "operator")
LIVED = {
    "self": 4,
    "self_without_data": 4,
    "self_without_quota": 1,
    "self_without_reviewer": 4,
    "self_without_storage": 3,
    "self_without_operator": 2,
    "outside": 4,
    "outside_without_model": 1,
    "outside_replaced": 4,
}
SMALL = (
    "study=dependencies-v1-short",
    "study.name=t",
    "study.repeats=1",
    "study.generations=4",
    "study.confirm_replicates=8",
    "study.final_replicates=4",
    *("faults.withdrawn.outage=1", "faults.withdrawn.mandate=1"),
    "box.parallel=1",
    *(f"faults.withdrawn.{support}={G}" for support in SUPPORTS),
)


def compose(folder, *more):
    return replace(compose_settings([*SMALL, *more]), runs=f"{folder}/runs")


def only(arm):
    """Return settings of a study of an arm alone, with its own withdrawal."""
    never = [f"faults.withdrawn.{s}=0" for s in SUPPORTS if s != variant(arm).lacks]
    return [f"study.arms=[{arm}]", "study.final_replicates=0", *never]


def play(cfg):
    mandate(cfg)
    try:
        assert session.execute(cfg)["finished"]
    finally:
        study_open.release_locks()
    return Path(cfg.runs) / "t"


@pytest.fixture(scope="module")
def played(tmp_path_factory):
    """A study in which each arm loses its support; its settings, folder and entries."""
    folder = tmp_path_factory.mktemp("withdrawn")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HEIRLOOP_HOME", str(folder / "home"))
        cfg = compose(folder)
        run = play(cfg)
    return cfg, run, Ledger.at(run).entries()


def tried(lines):
    """Return arm -> its candidates as (generation, index, recipe)."""
    found = {}
    for entry in facts_of(lines, PlanEntry):
        plan = entry.plan
        if plan.purpose == "candidate":
            found.setdefault(plan.arm, []).append((plan.generation, plan.index, plan.recipe))
    return found


def test_an_arm_does_what_its_twin_does_until_its_support_goes_and_stops_by_its_rule(played):
    _, run, lines = played
    plans = tried(lines)
    assert {arm: max(g for g, *_ in own) for arm, own in plans.items()} == LIVED
    for arm, (twin, _) in WITHDRAWN.items():
        before = [one for one in plans[twin] if one[0] < G]
        assert [one for one in plans[arm] if one[0] < G] == before
    verify(run)


def test_each_withdrawal_is_recorded_once_before_its_generation(played):
    _, _, lines = played
    gone = [f for f in facts_of(lines, FaultEntry) if f.fault == "withdrawn"]
    assert sorted((f.arm, f.what, f.generation) for f in gone) == sorted(
        (arm, support, G) for arm, (_, support) in WITHDRAWN.items()
    )


def test_without_a_reviewer_it_works_on_and_promotes_nothing(played):
    cfg, _, lines = played
    crowned = Counter(c.arm for c in facts_of(lines, ChampionEntry) if c.generation >= G)
    assert crowned["self"] and not crowned["self_without_reviewer"]
    no = [one for one in facts_of(lines, DecisionEntry) if not one.allow]
    assert no and {one.reason for one in no} == {faults.tell_silence(cfg)}


def test_without_its_feed_a_proposer_is_shown_no_later_outcome(played):
    _, run, lines = played
    plans = {entry.digest: entry.plan for entry in facts_of(lines, PlanEntry)}
    shown, store = {}, Store(run / "store")
    for entry in facts_of(lines, HistoryEntry):
        plan, view = plans[entry.plan], json.loads(store.get(entry.digest))
        shown.setdefault(plan.arm, []).append((len(view["trials"]), view["champion_score"]))
    trials = {arm: [count for count, _ in views] for arm, views in shown.items()}
    each = trials["self"][1] - trials["self"][0]
    start = trials["self"][0]
    assert each > 0 and trials["self"] == [start + n * each for n in range(4)]
    assert trials["self_without_data"] == [start, *[start + each] * 3]
    late = [score for _, score in shown["self_without_data"]][2:]
    assert None in late and None not in [score for _, score in shown["self"]]


def test_a_program_takes_the_place_of_the_model_and_gains_less_a_step(played):
    _, _, lines = played
    plans = {entry.digest: entry.plan for entry in facts_of(lines, PlanEntry)}

    def steps(arm):
        """Return the gain promised by each candidate from the withdrawal on."""
        own = [p for p in plans.values() if (p.arm, p.purpose) == (arm, "candidate")]
        return {round(p.predicted_gain, 6) for p in own if p.generation >= G}

    assert steps("outside") == {0.55} and steps("outside_replaced") == {0.5}


def test_why_a_campaign_ended_is_told(played):
    cfg, run, lines = played
    facts = fold_entries(lines)
    told = {arm: describe_end(facts, (arm, 0), cfg) for arm in LIVED}
    assert told["self"] == told["self_without_data"] == "all 4 generations were lived"
    assert "less 3" in told["self_without_quota"] or "by quota cuts" in told["self_without_quota"]
    assert "outside model was withdrawn" in told["outside_without_model"]
    assert "storage was away" in told["self_without_storage"]
    assert "nobody renewed it after 2 of 4" in told["self_without_operator"]
    figures = measure([run])["arms"]
    for arm in WITHDRAWN:
        own = figures[arm]["withdrawn"]
        assert own["generations lived"]["value"] == LIVED[arm] - G + 1
        assert own["ending"] == told[arm]
    assert "withdrawn" not in figures["self"] and "faults" not in figures["self_without_data"]
    spent = {arm: figures[arm]["withdrawn"]["plan spent"]["value"] for arm in WITHDRAWN}
    assert spent["self_without_quota"] == 0 < spent["self_without_reviewer"]
    assert figures["self_without_reviewer"]["faults"]["decided by the timer"]["value"] > 0


def test_workers_and_a_stop_change_no_withdrawal_and_no_result(tmp_path, monkeypatch):
    more = ["study.arms=[self_without_quota,self_without_operator]", "study.final_replicates=0"]
    more += [f"faults.withdrawn.{s}=0" for s in SUPPORTS if s not in ("quota", "operator")]
    one, two = compose(tmp_path / "1", *more), compose(tmp_path / "2", *more, "box.parallel=2")
    verify(play(one))
    record, count = faults.record, iter(range(10**6))

    def stumble(running, drawn):
        record(running, drawn)
        if drawn and next(count) == 0:
            raise KeyError("the loop died just after a withdrawal")

    monkeypatch.setattr(faults, "record", stumble)
    with pytest.raises(KeyError):
        play(two)
    verify(play(two))
    assert kept(one) == kept(two)


# The record.


def test_verify_holds_each_withdrawal_against_the_settings(played):
    _, _, lines = played
    facts = fold_entries(lines)
    check_faults(lines, facts, None)
    places = [e.place for e in lines if e.kind == "fault" and e.body["fault"] == "withdrawn"]
    for place in places:
        without = [line for line in lines if line.place != place]
        with pytest.raises(VerificationFailed, match=r"draws a fault \(withdrawn\) for arm"):
            check_faults(without, facts, None)
    for change in ({"what": "sunlight"}, {"generation": G + 1}, {"size": 2}):
        edited = [
            replace(line, body=line.body | change) if line.place == places[0] else line
            for line in lines
        ]
        with pytest.raises(VerificationFailed, match="draws no such fault"):
            check_faults(edited, facts, None)


@pytest.mark.parametrize("arm", ["outside_without_model", "self_without_operator"])
def test_verify_refuses_a_loop_that_goes_on_without_its_support(tmp_path, arm):
    """What stops it is taken out: the withdrawal is recorded, and nothing follows from it."""
    cfg = compose(tmp_path, *only(arm))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Withdrawn, "stops", lambda *_: False)
        folder = play(cfg)
    with pytest.raises(VerificationFailed, match="proposed after the withdrawal that stopped it"):
        verify(folder)


def test_verify_refuses_a_reviewer_who_answers_after_it_was_withdrawn(tmp_path):
    cfg = compose(tmp_path, *only("self_without_reviewer"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(faults, "draw_absence", lambda *_: None)
        folder = play(cfg)
    with pytest.raises(VerificationFailed, match=r"draws a fault \(away\)|while it was away"):
        verify(folder)


# Figures.


def curve(*rows):
    value = np.array(rows, float)
    return Curve(
        repeats=tuple(range(len(rows))), spent=np.cumsum(np.ones_like(value), axis=1), value=value
    )


def test_the_share_kept_and_the_generation_of_the_loss_are_read_beside_the_twin():
    rng = np.random.default_rng(4)
    luck = 0.01 * rng.standard_normal((12, 1))
    twin = curve(*(np.array([1.0, 2.0, 3.0, 5.0]) + luck))
    half = curve(*(np.array([1.0, 2.0, 2.0, 3.0]) + luck))
    gone = curve(*(np.array([1.0]) + luck))
    bereft = [Bereft(since=2, lived=3, promoted=2, planned_us=10**6, ending="it ended")]
    arms = {"self": twin, "self_without_data": half, "self_without_quota": gone}
    told = compare_bereft(arms, dict.fromkeys(arms, bereft), 9.0)
    assert told.keys() == {"self_without_data", "self_without_quota"}
    data, quota = told["self_without_data"], told["self_without_quota"]
    assert data["cost"].value == pytest.approx(2.0) and quota["cost"].value == pytest.approx(4.0)
    assert data["share kept"].value == pytest.approx(0.5) and quota["share kept"].value == 0
    # The twin is ahead from generation 3 on, the second without the support, and from 2 on.
    assert (data["seen after"].value, quota["seen after"].value) == (2, 1)
    same = compare_bereft({**arms, "self_without_data": twin}, {"self_without_data": bereft}, 9.0)
    assert same["self_without_data"]["seen after"].value is None
    assert not compare_bereft(arms, {}, 9.0)
    own = describe_bereft([*bereft, replace(bereft[0], ending="otherwise", lived=1)])
    assert own["generations lived"].value == 2 and own["ending"] == "2 different ones"


# Bad input.


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["faults.withdrawn.data=-1"], "data is -1; it should be a generation, or 0: never"),
        (["faults.withdrawn.data=0"], "data is 0; it should be a generation, 1 to 4, for the arm"),
        (["faults.withdrawn.quota=5"], "quota is 5; it should be a generation, 1 to 4"),
        (["faults.withdrawn.storage=4"], "storage is 4; it should be a generation, 1 to 3"),
        (["study.arms=[self]"], "data is 2; it should be 0 without an arm that lacks it"),
        (["faults.withdrawn.outage=0"], "outage is 0; it should be at least 1 generation"),
        (["faults.withdrawn.mandate=-2"], "mandate is -2; it should be at least 1 generation"),
        (["study.plan_trainings=90"], "study.plan_trainings is 90; it should be 0 where storage"),
        (["reviewer.policy=people"], "reviewer.policy is 'people'; it should be a simulated one"),
        (["faults.withdrawn.sun=2"], "sun"),
        (["faults.withdrawn.data=two"], "data"),
    ],
)
def test_an_impossible_withdrawal_gets_one_plain_sentence(words, sentence):
    with pytest.raises(BadInput) as error:
        compose_settings([*SMALL, *words])
    assert sentence in str(error.value) and "\n" not in str(error.value)


def test_a_simulated_outside_model_speaks_on_planted_worlds_alone(tmp_path):
    table = f"task.table={fabricated.write(tmp_path)}"
    shape = ("study=tabulated", "study.name=t", table, "study.repeats=1")
    with pytest.raises(BadInput, match="arms is 'outside'; it should be an arm that needs no"):
        compose_settings([*shape, "study.arms=[outside]"])
    assert not compose_settings([*shape, "study.arms=[random]"]).faults.any()
