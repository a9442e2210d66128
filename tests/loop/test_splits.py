"""What leaves each held-out split: steps from feedback, a verdict from gate, nothing from sealed
before a signature; every look counted.
"""

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fakes import FakeBox, written
from safetensors.numpy import load, save
from studies import approve, better, config, entries, gate_of, mandate, page_of, read_facts

from configs.entries import PlanEntry
from configs.errors import BadInput, BudgetExhausted, Denied, NeedsHuman, VerificationFailed
from configs.settings import task
from configs.settings.budget import Looks
from evals.judge import judge as real_judge
from loop import session
from loop.campaign import Campaign
from loop.command.study import read_summary
from loop.facts.nearest import recorded_nearest
from loop.measure import confirm, replicate
from loop.people import acts, lines, view
from loop.plan import Planned
from loop.propose.table import PROPOSERS, propose_random
from loop.study import open as study_open
from loop.unseal import unseal, unseal_arm
from loop.verify.run import verify
from sandbox import budget, keys
from sandbox.canonical import digest
from sandbox.keys import new_secret  # the real one: tests of studies draw by name

PATCH = {
    "file": "models/train.py",
    "search": "first = lay.question - 1",
    "replace": "first = lay.question - 2",
}


@pytest.fixture
def finished(tmp_path, go, monkeypatch):
    """A finished study with a champion, one reviewer's key, and a way to open sealed."""
    keys.new_key("ada", "person", "correct horse")
    monkeypatch.setattr(
        confirm, "judge", lambda *a, **k: replace(real_judge(*a, **k), answer="accept")
    )
    monkeypatch.setitem(
        PROPOSERS,
        "local",
        written(lambda view: '{"hypothesis": "a", "knobs": {"batch_size": 128}}'),
    )
    cfg = config(tmp_path, "budget.looks.sealed=2", "study.generations=1", "study.proposals=1")
    mandate(cfg)
    go(cfg, FakeBox(better))
    return cfg, lambda: go(cfg, FakeBox(better), lambda _: unseal(tmp_path / "runs" / "t"))


def sign(cfg, answer="approve"):
    (asked,) = gate_of(cfg).pending()
    assert asked.change_class == "unseal"
    assert not approve(cfg, asked.subject, "unseal", answer)
    return asked.subject


def counted(cfg, split):
    return read_summary(Path(cfg.runs) / "t")["looks"][split]


def test_sealed_opens_by_a_signature_each_time_and_every_opening_is_counted(tmp_path, finished):
    cfg, attempt = finished
    folder = tmp_path / "runs" / "t"
    with pytest.raises(NeedsHuman, match="unseal"):
        attempt()
    assert counted(cfg, "sealed") == {"spent": 0, "limit": 2} and not [
        e for e in entries(cfg) if e.kind == "opening"
    ]
    first = sign(cfg)
    found = attempt()
    assert (
        found["plan"] == first
        and found["gain"] > 0.5
        and found["replicates"] == 4
        and not found["computable"]
    )
    with pytest.raises(NeedsHuman):  # the signature is used up: another opening is another plan
        attempt()
    second = sign(cfg)
    attempt()
    result = read_summary(folder)
    assert (
        second != first
        and [o["plan"] for o in result["openings"]] == [first, second]
        and counted(cfg, "sealed")["spent"] == 2
    )
    assert "Sealed was opened 2 times" in (folder / "report.html").read_text()
    with pytest.raises(BudgetExhausted, match="2 of 2 looks at sealed are spent"):
        attempt()
    splits = {
        e.body["scores"]["split"]
        for e in entries(cfg)
        if e.kind == "score" and e.body["plan"] in (first, second)
    }
    assert splits == {"sealed"} and verify(folder)["scores"] > 16


def test_a_denied_opening_shows_nothing_and_no_mandate_opens(tmp_path, finished):
    cfg, attempt = finished
    with pytest.raises(NeedsHuman):
        attempt()
    sign(cfg, "deny")
    with pytest.raises(Denied, match="denied by ada"):
        attempt()
    assert counted(cfg, "sealed")["spent"] == 0
    with pytest.raises(BadInput, match="classes is 'unseal'"):
        replace(cfg.gates.unattended, classes=("unseal",))
    with pytest.raises(BadInput, match="every opening is signed"):
        config(tmp_path, "autonomy.rules.unseal=mandate")


def test_the_openings_of_an_arm_tell_a_no_and_do_not_ask_again(tmp_path, go, finished):
    cfg, _ = finished

    def attempt():
        return go(cfg, FakeBox(better), lambda _: unseal_arm(tmp_path / "runs" / "t", "local"))

    with pytest.raises(NeedsHuman):
        attempt()
    sign(cfg, "deny")
    (one,) = attempt()
    assert (
        "denied by ada" in one["denied"] == one["refused"]
        and "gain" not in one
        and counted(cfg, "sealed")["spent"] == 0
    )
    assert attempt() == [] and not gate_of(cfg).pending()


def test_a_killed_opening_goes_on_without_a_second_look(tmp_path, go, finished):
    cfg, attempt = finished
    with pytest.raises(NeedsHuman):
        attempt()
    sign(cfg)
    box = FakeBox(
        better,
        lambda execution: (_ for _ in ()).throw(KeyboardInterrupt) if len(box.ran) == 5 else None,
    )
    with pytest.raises(KeyboardInterrupt):
        go(cfg, box, lambda _: unseal(tmp_path / "runs" / "t"))
    assert counted(cfg, "sealed")["spent"] == 1
    assert attempt()["replicates"] == 4 and counted(cfg, "sealed")["spent"] == 1


def test_a_study_without_an_end_or_a_champion_is_not_opened(tmp_path, go):
    cfg = config(tmp_path, "study.generations=1", "study.proposals=1")
    with pytest.raises(NeedsHuman):
        go(cfg, FakeBox(better))
    with pytest.raises(BadInput, match="did not end"):
        go(cfg, FakeBox(better), lambda _: unseal(tmp_path / "runs" / "t"))
    mandate(cfg)
    go(cfg, FakeBox(lambda order: 0.5))
    with pytest.raises(BadInput, match="no champion beside its baseline"):
        go(cfg, FakeBox(better), lambda _: unseal(tmp_path / "runs" / "t"))


GATE, FEEDBACK = 0.76543, 0.23456


@pytest.mark.parametrize("closed", [True, False])
def test_nothing_of_gate_leaves_but_the_verdict_before_the_closing_look(
    tmp_path, go, monkeypatch, closed
):
    """With the ablation: a summary that shows what it should not is found."""
    views, rows = [], []
    real = replicate.score

    def marked(data, items, task, recipe, split, *more):
        found = real(data, items, task, recipe, split, *more)
        return replace(
            found,
            exact_match=GATE if split == "confirm" else FEEDBACK,
            nll=GATE,
            calibration_error=GATE,
        )

    monkeypatch.setattr(replicate, "score", marked)
    monkeypatch.setitem(
        PROPOSERS, "local", written(lambda view: views.append(view) or propose_random(view))
    )
    monkeypatch.setattr("loop.export.track.Null.log", lambda _, row: rows.append(row))
    if not closed:
        monkeypatch.setattr("loop.facts.scores.round_primary", lambda objective, scores: GATE)
    cfg, folder = config(tmp_path, "study.final_replicates=0"), tmp_path / "runs" / "t"
    mandate(cfg)
    go(cfg, FakeBox(better), session.execute)  # verifying would find the marked scores
    named = gate_of(cfg)
    inbox = [
        lines.list_lines(view.view_subject(named, subject))
        for subject in named.memory.subjects.values()
    ]
    told = [
        (folder / "summary.json").read_text(),
        page_of(folder),
        repr(rows),
        repr(views),
        repr(inbox),
    ]
    assert bool(re.search(r"\.7654|[:>=]0\.77[,}<)]", " ".join(told))) is not closed
    assert (
        (":0.23," in told[0]) is closed
        and "0.2345" not in " ".join(told)
        and any(e.kind == "verdict" for e in entries(cfg))
    )


def test_a_proposer_is_told_steps_beyond_noise_and_nothing_else(tmp_path, go, monkeypatch):
    views = []
    monkeypatch.setitem(
        PROPOSERS, "local", written(lambda view: views.append(view) or propose_random(view))
    )
    cfg = config(tmp_path)
    mandate(cfg)
    go(cfg, FakeBox(lambda order: 0.48 + 0.04 * (order.seed % 2)))  # noise between 0.48 and 0.52
    assert {one.outcome for view in views for one in view.history.trials} == {
        "first",
        "not better",
        "waiting",
    }
    assert (
        len({one.score for view in views for one in view.history.trials}) == 2
    )  # the baseline's, and none


def test_looks_are_charged_like_compute_and_refused_when_spent(tmp_path, go, monkeypatch):
    cfg = config(tmp_path)
    mandate(cfg)
    result = go(cfg, FakeBox(better))
    facts = entries(cfg)
    assert (
        result["looks"]["feedback"]["spent"]
        == 5
        == sum(e.kind == "look" and e.body["split"] == "feedback" for e in facts)
    )
    assert result["looks"]["confirm"]["spent"] == sum(e.kind == "verdict" for e in facts)
    assert result["accounts"]["root"]["looks"]["spent"] == sum(e.kind == "look" for e in facts)
    ledger = gate_of(cfg).ledger
    for number in range(50 - result["looks"]["confirm"]["spent"]):
        budget.look(ledger, "confirm", f"another {number}")
    budget.look(ledger, "confirm", "another 0")  # the same look twice is one
    with pytest.raises(BudgetExhausted, match="account look confirm has 0 looks left"):
        budget.look(ledger, "confirm", "one more")
    assert counted(cfg, "confirm") == {"spent": 50, "limit": 50}
    verify(tmp_path / "runs" / "t")


def test_a_repeat_uses_up_its_own_share_of_the_looks_and_no_other_s(tmp_path, go):
    shares = [Looks(confirm=50).share("confirm", repeat, 4) for repeat in range(4)]
    assert shares == [13, 13, 12, 12] and Looks(sealed=3).share("sealed", 1, 2) == 3
    cfg = config(tmp_path, "study.repeats=2", "budget.looks.confirm=7", "study.proposals=3")
    mandate(cfg)
    go(cfg, FakeBox(better))
    assert read_facts(tmp_path / "runs" / "t").looks[1, "confirm"] == 3
    running = go(cfg, FakeBox(better), lambda cfg: study_open.open_study(cfg))
    facts = running.facts()
    spare = [
        Planned(digest=name, plan=plan)
        for name, plan in facts.plans.items()
        if (plan.purpose, plan.repeat) == ("candidate", 1) and ("confirm", name) not in facts.looked
    ]
    with pytest.raises(BudgetExhausted, match="repeat 1 has used its 3 of the study's looks"):
        Campaign(running, "local", 1, None, print).look("confirm", spare[0])
    verify(tmp_path / "runs" / "t")
    budget.look(running.ledger, "confirm", spare[0].digest)  # past the share
    running.checkpoint()
    with pytest.raises(VerificationFailed, match="repeat 1 has 3 looks at confirm, and this is"):
        verify(tmp_path / "runs" / "t")


@pytest.mark.parametrize("task_flag", [True, False])
def test_computable_gains_are_flagged_in_every_table_and_no_mandate_promotes_them(
    tmp_path, go, monkeypatch, task_flag
):
    proposals = iter([{"knobs": {}, "edits": [PATCH]}, {"knobs": {"depth": 3}, "edits": []}] * 4)
    monkeypatch.setitem(
        PROPOSERS,
        "local",
        written(lambda view: json.dumps({"hypothesis": "code", **next(proposals)})),
    )
    monkeypatch.setattr(
        confirm, "judge", lambda *a, **k: replace(real_judge(*a, **k), answer="accept")
    )
    if not task_flag:  # the ablation, and what holds for a task that code cannot compute
        monkeypatch.setattr(task, "COMPUTED_TASKS", ())
    cfg = config(
        tmp_path,
        "gates.unattended.classes=[recipe,patch,promote]",
        "study.proposals=1",
        "study.generations=2",
    )
    mandate(cfg)
    if not task_flag:
        result = go(cfg, FakeBox(better))
        assert (
            not any(p["computable"] for g in result["generations"] for p in g["plans"])
            and not result["champion"]["computable"]
        )
        return
    keys.new_key("ada", "person", "correct horse")
    cfg = config(
        tmp_path,
        "gates.unattended.classes=[recipe,patch,promote]",
        "study.proposals=1",
        "study.generations=2",
        "study.name=c",
    )
    mandate(cfg)
    for _ in range(2):  # the patch, and a recipe on top of its code
        with pytest.raises(NeedsHuman, match=r"\(promote\) is computable"):
            go(cfg, FakeBox(better))
        named = gate_of(cfg)
        (asked,) = named.pending()
        assert named.computable(named.memory.plans[asked.subject])
        assert not approve(cfg, asked.subject, "promote")
    result = go(cfg, FakeBox(better))
    flags = {p["purpose"]: p["computable"] for g in result["generations"] for p in g["plans"]}
    assert flags == {"baseline": False, "candidate": True, "final": True}
    assert result["champion"]["computable"] and result["arms"][0]["computable"]
    assert page_of(tmp_path / "runs" / "c").count("<td>computable</td>") == 4


def test_training_data_with_held_out_items_do_not_run(tmp_path, go, monkeypatch):
    cfg, box = config(tmp_path), FakeBox(better)
    mandate(cfg)
    real = replicate.draw_train
    monkeypatch.setattr(
        replicate,
        "draw_train",
        lambda task, secret, seed: np.concatenate(
            [real(task, secret, seed), measure_items(task, secret)]
        ),
    )
    with pytest.raises(VerificationFailed, match="holds 3 held-out items; nothing ran"):
        go(cfg, box)
    assert box.ran == []


def measure_items(task, secret):
    from evals.data import held_out

    return held_out(task, secret)["sealed"][:3]


def test_weights_that_equal_others_but_for_noise_are_refused_and_distances_are_told(tmp_path, go):
    cfg, first = config(tmp_path, "study.generations=1", "study.proposals=1"), []

    def copies(execution):
        if execution.role != "train":
            return None
        made = FakeBox(better).run(execution)
        mine = load(made.files["weights.safetensors"])["w"]
        first.append(mine)
        near = (
            first[0][: len(mine)] + np.float32(1e-4) * mine
            if len(first) == 3 and len(mine) <= len(first[0])
            else mine
        )
        return replace(made, files={**made.files, "weights.safetensors": save({"w": near})})

    mandate(cfg)
    proposals = json.dumps({"hypothesis": "a", "knobs": {"batch_size": 128}})
    PROPOSERS_LOCAL, PROPOSERS["local"] = PROPOSERS["local"], written(lambda view: proposals)
    try:
        result = go(cfg, FakeBox(better, copies))
    finally:
        PROPOSERS["local"] = PROPOSERS_LOCAL
    plan = next(p for g in result["generations"] for p in g["plans"] if p["purpose"] == "candidate")
    assert any("trained under another seed (distance 0.000" in f for f in plan["failures"]), plan
    told = [e.body["nearest"] for e in entries(cfg) if e.kind == "score"]
    assert (
        told[0] == {"compared": 0, "plan": "", "distance": None}
        and told[1]["compared"] == 1
        and told[1]["distance"] > 0.9
    )
    facts = read_facts(tmp_path / "runs" / "t")
    rows = list(recorded_nearest(entries(cfg), plan["id"]))
    scored = [e.body for e in entries(cfg) if e.kind == "score" and e.body["plan"] == plan["id"]]
    assert [row["distance"] for row in rows] == [body["nearest"]["distance"] for body in scored]
    copied = min(rows, key=lambda row: row["distance"])
    assert copied["distance"] < 0.001 and copied["plan"] in facts.plans


def test_the_objective_stands_in_sentences_on_every_gate(tmp_path, go):
    keys.new_key("ada", "person", "correct horse")
    cfg = config(tmp_path, "autonomy=assisted", "gates=attended", "objective.minimum_effect=0.02")
    with pytest.raises(NeedsHuman):
        go(cfg, FakeBox(better))
    named = gate_of(cfg)
    found = view.view_subject(named, next(iter(named.memory.subjects.values())))
    assert (
        any("by more than 0.02" in text for _, text in lines.list_lines(found))
        and len(found.objective) >= 4
    )


def test_a_proposer_s_claims_are_ranked_against_what_feedback_showed(tmp_path, go, monkeypatch):
    made = iter([(0.1, 1), (0.2, 3), (0.3, 4), (0.0, 1)])

    def claim(view):
        gain, depth = next(made)
        return json.dumps(
            {
                "hypothesis": "a",
                "knobs": {"depth": depth, "warmup": gain / 10},
                "predicted_gain": gain,
            }
        )

    monkeypatch.setitem(PROPOSERS, "local", written(claim))
    cfg = config(tmp_path, "study.generations=1", "study.proposals=3")
    mandate(cfg)
    result = go(cfg, FakeBox(lambda order: (0.0, 0.05, 0.3, 0.6, 0.98)[min(order.recipe.depth, 4)]))
    assert result["arms"][0]["skill"] == {"claims": 3, "rank_correlation": 1.0}


def test_each_repeat_has_items_seeds_and_start_trials_of_its_own(tmp_path, go):
    cfg = config(
        tmp_path, "study.arms=[random,tpe]", "study.repeats=2", "study.start_trials=2",
        "study.generations=1", "study.proposals=1", "budget.looks.feedback=20",
    )  # fmt: skip
    mandate(cfg)
    go(cfg, FakeBox(better))
    kinds = {}
    for entry in entries(cfg):
        kinds.setdefault(entry.kind, []).append(entry.fact)
    plans = {fact.digest: fact.plan for fact in kinds["plan"]}
    asked = {(fact.repeat, fact.split): fact.digest for fact in kinds["questions"]}
    assert len(asked) == len(set(asked.values())) == 6
    starts = [plan for plan in plans.values() if plan.purpose == "start"]
    assert sorted((p.repeat, p.index) for p in starts) == [(0, 0), (0, 1), (1, 0), (1, 1)]
    seeds = {}
    for start in kinds["start"]:
        plan, order = plans[start.job.plan], start.job.order
        if order.role == "train" and plan.purpose == "candidate":
            number = start.job.index + start.job.role.startswith("champion")
            place = (plan.repeat, plan.generation, plan.index, number)
            seeds.setdefault(place, set()).add((plan.arm, order.seed))
    assert all(len({seed for _, seed in pairs}) == 1 for pairs in seeds.values())
    assert any(len({arm for arm, _ in pairs}) == 2 for pairs in seeds.values())
    of_place = {place: pairs.copy().pop()[1] for place, pairs in seeds.items()}
    assert len(set(of_place.values())) == len(of_place)  # no seed twice, none across repeats
    data = {(plans[fact.plan].repeat, fact.digest) for fact in kinds["data"]}
    assert not {blob for repeat, blob in data if repeat} & {b for repeat, b in data if not repeat}
    verify(tmp_path / "runs" / "t")


def test_a_plan_beyond_the_change_limit_is_invalid_and_the_gate_refuses_it(
    tmp_path, go, monkeypatch
):
    cfg = config(tmp_path, "study.most_changes=1", "study.generations=1", "study.proposals=2")
    mandate(cfg)
    wide = '{"hypothesis": "three knobs", "knobs": {"batch_size": 128, "dropout": 0.1, "depth": 1}}'
    narrow = '{"hypothesis": "one knob", "knobs": {"batch_size": 128}}'
    texts = iter([wide, narrow] * 9)
    monkeypatch.setitem(PROPOSERS, "local", written(lambda view: next(texts)))
    go(cfg, FakeBox(better))
    facts = entries(cfg)
    reasons = [e.fact.reason for e in facts if e.kind == "invalid"]
    assert reasons == ["changes is 3; it should be at most 1 knobs and regions"]
    assert sum(e.kind == "plan" and e.fact.plan.purpose == "candidate" for e in facts) == 1


def test_changes_may_count_against_a_screened_plan_and_the_parent_stays_the_champion(
    tmp_path, go, monkeypatch
):
    cfg = config(
        tmp_path, "study.most_changes=1", "study.generations=2", "study.proposals=1",
        "study.final_replicates=0",
    )  # fmt: skip
    mandate(cfg)
    views = []

    def write(view):
        views.append(view)
        step = {"hypothesis": "a", "knobs": {"dropout": 0.1}, "edits": []}
        bases = [t.plan for t in view.history.trials if t.recipe.dropout == 0.1]
        if not bases:
            return json.dumps(step)
        return json.dumps({**step, "knobs": {"dropout": 0.1, "warmup": 0.1}, "basis": bases[0]})

    monkeypatch.setitem(PROPOSERS, "local", written(write))
    go(cfg, FakeBox(lambda order: 0.5))
    plans = {e.fact.digest: e.fact.plan for e in entries(cfg) if e.kind == "plan"}
    first, second = [plan for plan in plans.values() if plan.purpose == "candidate"]
    assert not first.basis and plans[second.basis] == first
    assert plans[second.parent].purpose == "baseline" and len(second.changed) == 2
    assert {view.history.most_changes for view in views} == {1}
    assert all(len(trial.plan) == 64 for trial in views[-1].history.trials)
    verify(tmp_path / "runs" / "t")


def test_a_recalled_basis_quarantines_what_was_built_on_it_and_is_a_basis_no_more(
    tmp_path, go, monkeypatch
):
    cfg = config(
        tmp_path, "study.most_changes=1", "study.generations=4", "study.proposals=1",
        "study.final_replicates=0",
    )  # fmt: skip
    folder, views = tmp_path / "runs" / "t", []
    mandate(cfg)

    def write(view):
        views.append(view)
        number, basis = len(views), ""
        if number in (2, 3):
            basis = next(t.plan for t in view.history.trials if t.recipe.dropout == 0.1)
        if number == 3:
            acts.recall(folder, basis, "ada", "it cheats")
        knobs = {1: {"dropout": 0.1}, 4: {"dropout": 0.2}}.get(
            number, {"dropout": 0.1, "warmup": 0}
        )
        return json.dumps({"hypothesis": "a", "knobs": knobs, "basis": basis})

    monkeypatch.setitem(PROPOSERS, "local", written(write))
    go(cfg, FakeBox(lambda order: 0.5))
    gate_now = gate_of(cfg)
    plans = gate_now.memory.plans
    first, second, third = [n for n, plan in plans.items() if plan.purpose == "candidate"]
    assert plans[second].basis == first and gate_now.memory.recalled == {first, second}
    assert [bool(trial.plan) for trial in views[-1].history.trials] == [True, False, False]
    (reason,) = [e.fact.reason for e in entries(cfg) if e.kind == "invalid"]
    assert reason.endswith("which is quarantined: it or an ancestor was recalled")
    with pytest.raises(Denied, match="quarantined"):
        gate_now.authority(second, "promote")
    verify(folder)
    # What is recorded on a recalled basis later is quarantined from the start.
    late = replace(plans[third], basis=second)
    gate_now.ledger.append(PlanEntry(digest=digest(late), plan=late))
    assert digest(late) in gate_of(cfg).memory.recalled
    with pytest.raises(Denied, match="quarantined"):
        gate_of(cfg).grant(digest(late))


@pytest.mark.parametrize("limit", [0, 1])
def test_a_plan_beyond_the_limit_against_its_basis_is_denied_whoever_records_it(
    tmp_path, go, monkeypatch, limit
):
    cfg = config(
        tmp_path, f"study.most_changes={limit}", "study.generations=1", "study.proposals=1",
        "study.final_replicates=0",
    )  # fmt: skip
    mandate(cfg)
    monkeypatch.setattr("loop.propose.draft.need_few_changes", lambda *_: None)
    wide = '{"hypothesis": "two knobs", "knobs": {"batch_size": 128, "dropout": 0.1}}'
    monkeypatch.setitem(PROPOSERS, "local", written(lambda view: wide))
    go(cfg, FakeBox(better))
    denied = [e.fact.reason for e in entries(cfg) if e.kind == "decision" and not e.fact.allow]
    texts = ["changes 2 knobs and regions; at most 1 may be"] * limit
    assert [reason.split(" ", 2)[2] for reason in denied] == texts


def test_every_study_draws_a_secret_of_its_own_which_its_owner_alone_may_read(home):
    """Fails where secrets can be foretold: whoever knows one knows every held-out item."""
    made = {new_secret() for _ in range(8)}
    assert len(made) == 8 and {len(secret) for secret in made} == {32}
    for secret in made:
        file = home / "secrets" / digest(secret)
        assert file.read_bytes() == secret and file.stat().st_mode & 0o777 == 0o600
