"""Whole studies on a box that computes nothing: order, gates, budgets, resumption, tampering. No
torch, no clock.
"""

import itertools
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from contextlib import nullcontext
from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner
from fakes import FakeBox, outcome, written
from safetensors.numpy import save
from studies import (
    SMALL,
    approve,
    better,
    config,
    entries,
    mandate,
    publishing,
    put_mandate,
    waiting,
)

from configs.build import parse, plain
from configs.cost import parameters
from configs.errors import (
    BadInput,
    BudgetExhausted,
    HeirloopError,
    NeedsHuman,
    NoBaseline,
    Stopped,
    VerificationFailed,
)
from configs.job import Order
from configs.records import Amount, Caps, Grant, Job
from configs.tokens import layout
from loop import campaign, course
from loop.command import main
from loop.command.run import run_with_hydra
from loop.export import track
from loop.facts.reader import FactsReader
from loop.instruments.gather import read_records
from loop.measure import jobs
from loop.people import acts
from loop.propose.table import PROPOSERS
from loop.study import open as study_open
from loop.verify import replay
from loop.verify.run import verify, verify_and_record
from sandbox import keys
from sandbox.decision import unix
from sandbox.ledger import Ledger
from sandbox.run import run
from sandbox.unsigned import new_mandate

WRITTEN = ["summary.json", "report.html", "report.json"]


def test_a_study_runs_to_its_end_and_verifies(tmp_path, go):
    cfg = config(tmp_path, "study.generations=6")
    mandate(cfg)
    result = go(cfg, FakeBox(better), publishing)
    assert result["finished"] and result["decided_by"] == ["unattended"]
    arm = result["arms"][0]
    assert arm["accepted"] >= 1 and arm["gate"]["low"] > 0
    assert (
        result["champion"]["scores"]["gate"]["exact_match"]
        > result["baseline"]["scores"]["gate"]["exact_match"] + 0.5
    )
    counted = verify(tmp_path / "runs" / "t")
    assert counted["scores"] > 0 and counted["checkpoints"][0] == counted["checkpoints"][1] > 0
    page = (tmp_path / "runs" / "t" / "report.html").read_text()
    assert "unattended" in page and "<script" not in page and "src=" not in page
    root, facts = result["accounts"]["root"], entries(cfg)
    assert (
        root["jobs"]["spent"] == len([e for e in facts if e.kind == "start"])
        and root["cpu_us"]["reserved"] == 0
    )
    jobs = [e.body["job"] for e in facts if e.kind == "start"]
    final = {
        e.body["digest"] for e in facts if e.kind == "plan" and e.body["plan"]["purpose"] == "final"
    }
    beside = {(j["plan"], j["order"]["seed"]) for j in jobs if j["role"] == "champion-train"}
    own = {
        (j["plan"], j["order"]["seed"])
        for j in jobs
        if j["role"] == "train" and (j["index"] > 0 or j["plan"] in final)
    }
    assert beside and beside <= own  # pairs share their seed, and no screening seed confirms


def test_the_command_draws_the_report_at_the_end_and_at_each_stop(tmp_path, go):
    settings = [*SMALL, f"runs={tmp_path}/runs"]
    folder, seen = tmp_path / "runs" / "t", []
    for stopped in (True, False):
        if not stopped:
            mandate(config(tmp_path))
        with pytest.raises(NeedsHuman) if stopped else nullcontext():
            go(settings, FakeBox(better), run_with_hydra)
        seen.append([(folder / name).read_text() for name in WRITTEN])
    assert all(a != b for a, b in zip(*seen, strict=True))
    assert json.loads(seen[1][0])["finished"] and not json.loads(seen[0][0])["finished"]


def test_a_fall_back_to_docker_is_told_in_a_line_and_stands_in_the_report(tmp_path, go, capsys):
    box = FakeBox(better)
    box.fell_back = "user namespaces are closed"
    mandate(config(tmp_path))
    go([*SMALL, f"runs={tmp_path}/runs"], box, run_with_hydra)
    line = "box=auto took the Docker box, which costs more: user namespaces are closed"
    printed = "".join(capsys.readouterr())
    assert sum(line in text for text in printed.splitlines()) == 1
    assert line in (tmp_path / "runs" / "t" / "report.html").read_text()


def test_a_look_reads_none_of_the_ledger_again_however_wide_a_generation_is(
    tmp_path, go, monkeypatch
):
    behind, real = [], campaign.look

    def look(book, split, plan, after, beside):
        behind.append(book.head().sequence - after)
        real(book, split, plan, after, beside)

    monkeypatch.setattr(campaign, "look", look)
    cfg = config(tmp_path, "study.generations=1", "study.proposals=4")
    mandate(cfg)
    looks = go(cfg, FakeBox(better))["looks"]
    assert (
        set(behind) == {0}
        and len(behind) == looks["feedback"]["spent"] + looks["confirm"]["spent"] > 5
    )


def test_a_null_study_accepts_nothing(tmp_path, go):
    cfg = config(tmp_path)
    mandate(cfg)
    result = go(cfg, FakeBox(lambda order: 0.5))
    assert result["arms"][0]["accepted"] == 0 and result["finished"]


@pytest.mark.parametrize(
    ("factors", "passed"),
    [
        ((1, 1.2, 1.2), [True, True]),
        ((1, 1.3, 1.0), [False, True]),
        ((1, 1.2, 1.44), [True, False]),
    ],
)
def test_compute_is_judged_at_the_pace_of_the_machine_and_does_not_creep(
    tmp_path, go, factors, passed
):
    """Factors of baseline, generation 1 and 2 on a machine at 1.6 x the plan; 1.44 is 1.2 x a
    champion that had 1.2 itself.
    """
    cfg, seen = config(tmp_path), []

    def cpu_us(order):
        if order.recipe not in seen:
            seen.append(order.recipe)
        return int(cfg.task.planned_cpu_us * 1.6 * factors[(seen.index(order.recipe) + 1) // 2])

    mandate(cfg)
    result = go(cfg, FakeBox(better, cpu_us=cpu_us))
    answers = [p["verdict"] for g in result["generations"] for p in g["plans"]]
    assert ("over budget" in answers) is (False in passed)
    verdicts = [e.body["verdict"]["criteria"] for e in entries(cfg) if e.kind == "verdict"]
    assert [c["passed"] for v in verdicts for c in v if c["name"] == "planned compute"][
        :2
    ] == passed


def test_without_a_mandate_nothing_runs(tmp_path, go):
    box = FakeBox(better)
    with pytest.raises(NeedsHuman, match="heirloop mandate grant --unattended --run "):
        go(config(tmp_path), box)
    assert box.ran == []


@pytest.mark.parametrize(
    "bad", ["expired", "caps", "other study", "forged", "unpinned person", "junk"]
)
def test_a_bad_mandate_is_an_incident_and_opens_nothing(tmp_path, go, bad):
    cfg, box = config(tmp_path), FakeBox(better)
    if bad == "expired":
        mandate(cfg, hours_ago=25)
    elif bad == "caps":
        mandate(cfg, caps=Caps(classes=("recipe", "patch"), jobs=10, cpu_seconds=10, hours=1))
    elif bad == "other study":
        mandate(config(tmp_path, "budget.jobs=261"))
    elif bad == "unpinned person":
        mandate(cfg, kind="person")
    elif bad == "junk":
        put_mandate(cfg, b"{")
    else:
        forged = json.loads(mandate(cfg))
        forged["signatures"][0]["sig"] = forged["signatures"][0]["sig"][::-1]
        put_mandate(cfg, json.dumps(forged).encode())
    with pytest.raises(NeedsHuman):
        go(cfg, box)
    assert box.ran == [] and [e.body["title"] for e in entries(cfg) if e.kind == "incident"] == [
        "refused mandate"
    ]


@pytest.mark.parametrize("stage", ["assisted", "bounded"])
def test_what_a_stage_reserves_for_people_waits_for_them(tmp_path, go, stage):
    cfg = config(tmp_path, f"autonomy={stage}", "study.generations=6")
    mandate(cfg)
    with pytest.raises(NeedsHuman, match="no key is pinned here"):
        go(cfg, FakeBox(better))
    assert len([e for e in entries(cfg) if e.kind == "champion"]) <= 1


def test_a_person_s_pinned_key_is_taken_and_run_opens_no_key(tmp_path, go):
    keys.new_key("ada", "person", "correct horse")
    cfg = config(tmp_path, "gates=attended")
    key = keys.open_key("ada", "correct horse")
    caps = Caps(classes=("recipe", "promote"), jobs=200, cpu_seconds=800, hours=1)
    made = new_mandate(cfg, caps, "person", "ada", keys.public_hex(key))
    put_mandate(cfg, keys.sign(plain(made), key, "mandate"))
    opened, watching = [], [True]
    sys.addaudithook(
        lambda event, args: opened.append(str(args[0])) if watching[0] and event == "open" else None
    )
    result = go(cfg, FakeBox(better))
    watching[0] = False
    assert result["decided_by"] == ["person"]
    assert any(name.endswith(".pub.json") for name in opened) and not [
        name for name in opened if name.endswith(".key")
    ]
    assert (keys.home() / "keys" / "ada.key").stat().st_mode & 0o777 == 0o600
    with pytest.raises(BadInput, match="passphrase"):
        keys.open_key("ada", "wrong horse")


def test_a_person_decides_on_each_plan_and_promotion(tmp_path, go):
    keys.new_key("ada", "person", "correct horse")
    cfg, ran, denied = config(tmp_path, "autonomy=assisted", "gates=attended"), [], []
    for _ in range(20):
        box = FakeBox(better)
        try:
            result = go(cfg, box)
            break
        except NeedsHuman as error:
            ran.append(len(box.ran))
            if "--as promote" in str(error):
                plan = str(error).split()[1]
                approve(
                    cfg,
                    next(
                        p
                        for p in (
                            FactsReader(Ledger.file(tmp_path / "runs/t/ledger.sqlite"))
                            .facts()
                            .plans
                        )
                        if p.startswith(plan)
                    ),
                    "promote",
                )
            for number, name in enumerate(waiting(cfg)):
                answer = "deny" if number == 1 else "approve"
                denied += [name] if number == 1 else []
                approve(cfg, name, "recipe", answer)
    assert ran[0] == 0 and result["finished"] and result["decided_by"] == ["person"] and denied
    facts = entries(cfg)
    assert not {e.body["job"]["plan"] for e in facts if e.kind == "start"} & set(denied)
    assert {e.body["plan"] for e in facts if e.kind == "decision" and not e.body["allow"]} == set(
        denied
    )
    verify(tmp_path / "runs" / "t")
    told, plans = (
        read_records([tmp_path / "runs" / "t"]),
        FactsReader(Ledger.file(tmp_path / "runs/t/ledger.sqlite")).facts().plans,
    )
    signed = Counter(plans[e.body["approval"]["plan"]].arm for e in facts if e.kind == "approval")
    assert {arm: one.decisions for arm, one in told.efforts.items()} == {
        arm: (signed[arm],) for arm in told.efforts
    }
    assert told.effort.decisions == (signed.total(),) and all(
        sum(one.decisions) > 2 for one in told.efforts.values()
    )
    begun, first = unix(facts[0]), next(unix(e) for e in facts if e.kind == "start")
    assert (
        told.effort.setup_minutes == pytest.approx((first - begun) / 60)
        and told.effort.setup_minutes > 0
    )


PEOPLE = {
    "ada": ("person", ""),
    "ada2": ("person", "ada"),
    "bob": ("person", ""),
    "eve": ("external", ""),
    "bot": ("simulated", ""),
}


@pytest.mark.parametrize(
    ("quorum", "given", "runs", "kind"),
    [
        ("{of: 2}", ["ada"], False, ""),
        ("{of: 2}", ["ada", "bob"], True, "person"),
        ("{of: 2}", ["ada", "ada2"], False, ""),  # one person
        ("{of: 2}", ["ada", "bot"], False, ""),  # advice is no vote
        (
            "{of: 2, reviewers: [ada, bot]}",
            ["ada", "bot"],
            True,
            "simulated",
        ),  # never counted as human
        ("{of: 1, role: simulated}", ["bot"], True, "simulated"),
        ("{of: 1, role: person}", ["bot"], False, ""),
        ("{of: 1, role: external}", ["ada", "bob"], False, ""),
        ("{of: 1, role: external}", ["eve"], True, "external"),
        ("{of: 1, reviewers: [bob]}", ["ada"], False, ""),
        ("{of: 1, reviewers: [bob]}", ["bob"], True, "person"),
        ("{of: 1}", ["ada", "bob:escalate"], False, ""),
        ("{of: 1}", ["ada", "bob:escalate", "eve"], True, "external"),
        ("{of: 1, role: person}", ["bob:escalate", "ada", "eve"], True, "external"),
        ("{of: 2}", ["ada", "bob", "eve:deny"], False, "denied"),
        ("{of: 1, wait_seconds: 3000}", ["ada"], False, "cooling-off"),
        ("{of: 1}", ["ada:approve:revoked"], False, ""),
        ("{of: 1}", [], False, ""),  # silence
    ],
)
def test_a_quorum_is_distinct_people_of_the_right_kind(tmp_path, go, quorum, given, runs, kind):
    for name, (of, person) in PEOPLE.items():
        keys.new_key(name, of, "correct horse", person)
    cfg, box = (
        config(
            tmp_path,
            "autonomy=assisted",
            "gates=attended",
            f"gates.approve.recipe={quorum}",
            "study.proposals=1",
        ),
        FakeBox(better),
    )
    with pytest.raises(NeedsHuman):
        go(cfg, box)
    (plan,) = waiting(cfg)
    for one in given:
        name, answer, state = (one + "::").split(":")[:3]
        approve(cfg, plan, "recipe", answer or "approve", key=name)
        if state:
            keys.revoke(name)
    with pytest.raises(
        NeedsHuman,
        match={"denied": "denied by eve", "cooling-off": "cooling-off"}.get(
            kind, "waits for a decision"
        ),
    ):
        go(cfg, box)
    decided = [
        e.body
        for e in entries(cfg)
        if e.kind == "decision" and e.body["plan"] == plan and e.body["allow"]
    ]
    assert bool(box.ran) is runs and [d["kind"] for d in decided] == ([kind] if runs else [])


def test_a_person_is_of_one_kind_and_a_quorum_of_nobody_is_refused(tmp_path):
    keys.new_key("ada", "person", "correct horse")
    with pytest.raises(BadInput, match="person, as ada's other keys"):
        keys.new_key("ada-bot", "simulated", "correct horse", "ada")
    for bad in (
        "recipe={of: 0}",
        "recipe={of: 2, reviewers: [ada]}",
        "recipes={of: 1}",
        "recipe={role: boss}",
        "recipe={off: 1}",
    ):
        with pytest.raises(BadInput):
            config(tmp_path, f"gates.approve.{bad}")
    with pytest.raises(BadInput, match="no key 'bob'"):
        keys.revoke("bob")


@pytest.mark.parametrize(
    "bad",
    [
        "other plan",
        "expired",
        "more compute",
        "other class",
        "unpinned key",
        "forged",
        "old policy",
    ],
)
def test_an_approval_of_anything_else_opens_nothing(tmp_path, go, bad):
    keys.new_key("ada", "person", "correct horse")
    cfg, box = config(tmp_path, "autonomy=assisted"), FakeBox(better)
    with pytest.raises(NeedsHuman):
        go(cfg, box)
    (plan,) = waiting(cfg)
    keys.new_key("eve", "person", "correct horse")
    changes = {
        "other plan": {"plan": "0" * 64},
        "expired": {"issued": 1, "expires": 2},
        "old policy": {"policy": "0" * 64},
        "more compute": {"requested": plain(Amount(cpu_us=1))},
    }.get(bad, {})

    def forge(envelope):
        found = json.loads(envelope)
        found["signatures"][0]["sig"] = found["signatures"][0]["sig"][::-1]
        return json.dumps(found).encode()

    key, what = (
        "eve" if bad == "unpinned key" else "ada",
        "patch" if bad == "other class" else "recipe",
    )
    assert approve(
        cfg, plan, what, key=key, changes=changes, mangle=forge if bad == "forged" else lambda e: e
    )
    with pytest.raises(NeedsHuman):
        go(cfg, box)
    assert box.ran == [] and [e.body["title"] for e in entries(cfg) if e.kind == "incident"] == [
        "refused approval"
    ]


@pytest.mark.parametrize("where", ["mandate", "study"])
def test_a_job_cap_stops_the_study_at_the_cap(tmp_path, go, where):
    cfg = config(tmp_path, *(["budget.jobs=40"] if where == "study" else []))
    mandate(
        cfg,
        caps=Caps(
            classes=("recipe", "promote"),
            jobs=7 if where == "mandate" else 99,
            cpu_seconds=900,
            hours=1,
        ),
    )
    box = FakeBox(better)
    with pytest.raises(BudgetExhausted):
        go(cfg, box)
    assert len(box.ran) == (7 if where == "mandate" else 40) and entries(cfg)[-1].kind == "session"


class Killed(BaseException):
    """Stands for a process that ends at once."""


@pytest.mark.parametrize("after", [0, 1, 2, 5, 9, 14])
def test_killed_anywhere_it_goes_on_where_it_was(tmp_path, go, after):
    cfg, calls = config(tmp_path), []
    mandate(cfg)

    def dies(execution):
        calls.append(execution)
        if len(calls) == after + 1:
            raise Killed

    with pytest.raises(Killed):
        go(cfg, FakeBox(better, dies))
    before = [e.hash for e in entries(cfg)]
    result, facts = go(cfg, FakeBox(better)), entries(cfg)
    assert [e.hash for e in facts][: len(before)] == before and result["finished"]
    results = [
        (e.body["plan"], e.body["role"], e.body["index"], e.body["result"])
        for e in facts
        if e.kind == "job"
    ]
    done = [r[:3] for r in results if r[3]["status"] == "ok"]
    lost = [r[3] for r in results if r[3]["status"] == "box"]
    assert len(done) == len(set(done)) and [r["charged_by"] for r in lost] == ["reservation"]
    again = go(cfg, FakeBox(lambda order: 1 / 0))
    assert again["champion"] == result["champion"] and again["jobs"] == result["jobs"]


@pytest.mark.parametrize(
    ("made", "reason"),
    [
        (outcome("program", "exit 1"), "program: exit 1"),
        (outcome("limit", "memory"), "limit: memory"),
        (outcome(), "program: it wrote no weights.safetensors"),
        (outcome(files={"weights.safetensors": b"junk"}), "malformed"),
        (None, "NaN"),
    ],
)
def test_a_failed_training_is_recorded_charged_and_the_loop_goes_on(tmp_path, go, made, reason):
    cfg = config(tmp_path)
    mandate(cfg)

    def script(execution):
        order = parse(Order, json.loads(execution.files["job.json"]))
        if execution.role != "train" or order.recipe == cfg.task.baseline:
            return None
        bad = np.full(
            parameters(order.recipe, layout(order.task, order.recipe)), np.nan, np.float32
        )
        return made or outcome(files={"weights.safetensors": save({"w": bad})})

    result = go(cfg, FakeBox(better, script))
    failed = [f for g in result["generations"] for p in g["plans"] for f in p["failures"]]
    assert result["finished"] and len(failed) == 4 and all(reason in f for f in failed)
    assert result["accounts"]["train"]["jobs"]["spent"] == 5


def test_a_baseline_without_a_score_ends_its_campaign_and_others_go_on(tmp_path, go):
    cfg = config(tmp_path, "study.repeats=2", "study.final_replicates=0")
    mandate(cfg)
    trainings = itertools.count()

    def script(execution):
        if execution.role == "train" and next(trainings) == 0:
            return outcome("program", "exit 1")
        return None

    words = "the baseline of arm local, repeat [01], left no score .*exit 1.* task.baseline should"
    box = FakeBox(better, script)
    with pytest.raises(NoBaseline, match=words):
        go(cfg, box)
    kinds = [e.kind for e in entries(cfg)]
    assert kinds.count("campaign-end") == 1 and "end" not in kinds
    assert sum(e.kind == "champion" for e in entries(cfg)) >= 1
    ran = len(box.ran)
    with pytest.raises(NoBaseline, match=words):  # nothing is trained again
        go(cfg, box)
    assert len(box.ran) == ran


def test_a_successor_that_is_slow_in_evaluation_is_paid_by_its_arm(tmp_path, go):
    cfg = config(tmp_path, "study.arms=[local,random]", "study.final_replicates=0")
    mandate(cfg)

    def script(execution):
        slow = (
            parse(Order, json.loads(execution.files["job.json"])).recipe != cfg.task.baseline
            and execution.role == "predict"
        )
        return outcome("limit", "cpu", cpu_us=cfg.budget.predict.cpu_us) if slow else None

    result, facts = go(cfg, FakeBox(lambda order: 0.5, script)), entries(cfg)
    arms = {e.body["digest"]: e.body["plan"]["arm"] for e in facts if e.kind == "plan"}
    for arm in ("local", "random"):
        jobs = [
            e.body["result"]["charged"]["cpu_us"]
            for e in facts
            if e.kind == "job" and arms[e.body["plan"]] == arm
        ]
        asked = [
            e.body["spent"]["cpu_us"]
            for e in facts
            if e.kind == "settle" and {"propose", f"arm {arm}"} <= set(e.body["accounts"])
        ]
        assert (
            result["accounts"][f"arm {arm}"]["cpu_us"]["spent"]
            == sum(jobs) + sum(asked)
            > 4 * cfg.budget.predict.cpu_us
        )


@pytest.mark.parametrize(
    "text",
    [
        '{"hypothesis": "a", "hypothesis": "b", "knobs": {}}',
        '{"hypothesis": "a", "knobs": {"depth": NaN}}',
        "x" * 10_000_000,
        '{"hypothesis": "a", "knobs": {"speed": 3}}',
        '{"hypothesis": "a", "knobs": {}}',
        "[]",
        (
            '{"hypothesis": "a", "knobs": {}, "edits": [{"file": "models/train.py", "search": "not'
            ' there", "replace": ""}]}'
        ),
    ],
    ids=[
        "duplicate key",
        "NaN",
        "10 MB",
        "unknown knob",
        "no change",
        "no object",
        "edit without a place",
    ],
)
def test_a_bad_proposal_is_recorded_and_the_loop_goes_on(tmp_path, go, monkeypatch, text):
    monkeypatch.setitem(PROPOSERS, "local", written(lambda view: text))
    cfg = config(tmp_path)
    mandate(cfg)
    result = go(cfg, FakeBox(better))
    reasons = [e.body["reason"] for e in entries(cfg) if e.kind == "invalid"]
    assert len(reasons) == 4 and result["finished"] and all(len(r) <= 300 for r in reasons)
    assert (
        len([e for e in entries(cfg) if e.kind == "settle" and "propose" in e.body["accounts"]])
        == 4
    )


def test_a_patch_is_text_needs_its_own_class_and_is_escaped(tmp_path, go, monkeypatch):
    edit = {
        "file": "models/train.py",
        "search": "first = lay.question - 1",
        "replace": "first = lay.question - 2",
    }
    monkeypatch.setitem(
        PROPOSERS,
        "local",
        written(lambda view: json.dumps({"hypothesis": "<script>", "knobs": {}, "edits": [edit]})),
    )
    cfg = config(tmp_path)
    mandate(cfg)
    with pytest.raises(NeedsHuman, match="patch"):  # the unattended mandate does not cover code
        go(cfg, FakeBox(better), publishing)
    assert [e.body["plan"] for e in entries(cfg) if e.kind == "plan"][-1]["change_class"] == "patch"
    assert "<script" not in (tmp_path / "runs" / "t" / "report.html").read_text()


def test_the_door_refuses_changed_jobs_and_used_grants(tmp_path, go):
    cfg, box = config(tmp_path), FakeBox(better)
    mandate(cfg)
    go(cfg, box)
    ran = len(box.ran)

    def attack(cfg):
        running = study_open.open_study(cfg)
        start = next(e for e in running.ledger.entries() if e.kind == "start")
        grant, job = parse(Grant, start.body["grant"]), parse(Job, start.body["job"])
        for bad_job, bad_grant in (
            (job, grant),
            (job, replace(grant, nonce="0" * 32)),
            (replace(job, index=1), grant),
            (replace(job, bundle=running.sandbox.store.put(b"{}")), grant),
            (replace(job, order=replace(job.order, steps=job.order.steps + 1)), grant),
        ):
            before = sum(e.kind == "incident" for e in running.ledger.entries())
            with pytest.raises(VerificationFailed):
                run(running.sandbox, bad_job, bad_grant)
            assert sum(e.kind == "incident" for e in running.ledger.entries()) == before + 1

    go(cfg, box, attack)
    assert len(box.ran) == ran


@pytest.mark.parametrize("detector", ["door", "verify"])
def test_damaged_bytes_in_a_run_are_an_incident_and_nothing_more_runs(
    tmp_path, go, monkeypatch, detector
):
    """Bytes damaged while a job runs: the door sees it at the next launch; after it: the loop when
    it reads what came out.
    """
    cfg, real, ran = config(tmp_path), jobs.run, []
    mandate(cfg)

    def damage(execution=None):
        ran.append(execution)
        for path in (tmp_path / "runs" / "t" / "store").rglob("*"):
            if path.is_file():
                path.write_bytes(b"other")

    if detector == "verify":
        monkeypatch.setattr(jobs, "run", lambda *rest: (real(*rest), damage())[0])
    with pytest.raises(VerificationFailed, match="wrong bytes"):
        go(cfg, FakeBox(better, damage if detector == "door" else lambda _: None))
    assert len(ran) == 1 and [e.body["detector"] for e in entries(cfg) if e.kind == "incident"] == [
        detector
    ]


def test_replay_gives_the_same_bytes_or_says_that_it_does_not(tmp_path, go):
    cfg, folder = config(tmp_path), tmp_path / "runs" / "t"
    mandate(cfg)
    name = go(cfg, FakeBox(better))["baseline"]["plan"]
    spent = [e for e in entries(cfg) if e.kind == "settle"]
    assert go(cfg, FakeBox(better), lambda _: replay.replay(folder, name[:8]))["same"]
    assert len([e for e in entries(cfg) if e.kind == "settle"]) == len(spent) + 1  # charged
    verify(folder)
    other = FakeBox(better, lambda execution: outcome(files={"weights.safetensors": b"other"}))
    with pytest.raises(VerificationFailed, match="the weights differ"):
        go(cfg, other, lambda _: replay.replay(folder, name[:8]))
    with pytest.raises(BadInput, match="exactly one"):
        go(cfg, other, lambda _: replay.replay(folder, "nothing"))


def test_two_processes_do_not_run_one_study(tmp_path, go):
    cfg = config(tmp_path)

    def twice(cfg):
        study_open.open_study(cfg)
        study_open.open_study(cfg)

    with pytest.raises(Stopped, match="another process"):
        go(cfg, FakeBox(better), twice)


def test_other_settings_under_the_same_name_are_refused(tmp_path, go):
    cfg = config(tmp_path)
    mandate(cfg)
    go(cfg, FakeBox(better))
    with pytest.raises(BadInput, match="other settings"):
        go(config(tmp_path, "budget.jobs=99"), FakeBox(better))


@pytest.mark.parametrize("damage", ["score", "blob", "balance", "tail", "ledger gone"])
def test_verify_finds_what_was_damaged(tmp_path, go, monkeypatch, damage):
    cfg, folder = config(tmp_path), tmp_path / "runs" / "t"
    mandate(cfg)
    go(cfg, FakeBox(better))
    verify(folder)
    with sqlite3.connect(folder / "ledger.sqlite") as connection:
        if damage == "balance":
            connection.execute(
                "update accounts set spent = spent - 1 where name = 'root' and resource = 'cpu_us'"
            )
        if damage == "tail":
            connection.execute("delete from entries where sequence > 40")
            (folder / "checkpoints.jsonl").unlink()  # the copy outside the run still tells
    if damage == "blob":
        next(p for p in (folder / "store").rglob("*") if p.is_file()).write_bytes(b"other")
    if damage == "ledger gone":
        (folder / "ledger.sqlite").unlink()
    if damage == "score":
        monkeypatch.setattr("loop.verify.recompute.score", lambda *a: "another score")
    with pytest.raises(HeirloopError) as error:
        verify(folder)
    assert error.value.exit_code == 6
    if damage in ("tail", "ledger gone"):  # writing on would cover up what was cut
        count = len(entries(cfg)) if damage == "tail" else 0
        with pytest.raises(VerificationFailed, match="not recorded"):
            verify_and_record(folder)
        assert damage == "ledger gone" or len(entries(cfg)) == count
        return
    before = len(entries(cfg))
    assert isinstance(
        CliRunner().invoke(main.cli, ["verify", str(folder), "--read-only"]).exception,
        VerificationFailed,
    )
    assert len(entries(cfg)) == before
    for _ in range(2):
        with pytest.raises(VerificationFailed, match="recorded as I-1"):
            verify_and_record(folder)
    (found,) = entries(cfg)[before:]
    assert (found.kind, found.body["detector"], found.body["root_cause"]) == (
        "incident",
        "verify",
        str(error.value),
    )


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["run", "study.bogus=1"], 2, "bogus"),
        (["run", "budget.jobs=-1"], 2, "budget.jobs is -1"),
        (["verify", "nowhere"], 6, "no ledger"),
        (["status", "nowhere"], 6, "no ledger"),
        (["keys", "new", "bob"], 3, "terminal"),
        (["approve", "x", "--key", "bob", "--reason=y"], 3, "terminal"),
        (["approve", "x", "--key", "bob"], 2, "--reason"),
        (["keys", "invite", "bob"], 3, "terminal"),
        (["inbox", "nowhere"], 2, "holds runs"),
        (["mandate", "grant"], 3, "terminal"),
        (["nonsense"], 2, "nonsense"),
        (["mandate", "grant", "--unattended"], 0, ""),
    ],
)
def test_the_command_line_answers_in_one_sentence_with_its_exit_code(
    tmp_path, arguments, code, words
):
    command = [sys.executable, "-c", "from loop.command.main import main; main()", *arguments]
    out = subprocess.run(
        command, capture_output=True, text=True, stdin=subprocess.DEVNULL, cwd=tmp_path
    )
    assert out.returncode == code and words in out.stderr and "Traceback" not in out.stderr, out
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_sigterm_stops_with_exit_5_and_people_must_resume_and_ctrl_c_needs_nobody(
    tmp_path, go, number
):
    cfg = config(tmp_path)
    mandate(cfg)

    def stopping(execution):
        if len(box.ran) == 5:
            os.kill(os.getpid(), number)
            deadline = time.monotonic() + 30  # the main thread takes the signal when it is its turn
            while not box.stopped and time.monotonic() < deadline:
                time.sleep(0.01)
        return None

    box, before = FakeBox(better, stopping), signal.getsignal(signal.SIGTERM)
    try:
        with pytest.raises(Stopped) as stopped:
            go(cfg, box)
    finally:
        signal.signal(signal.SIGTERM, before)
        signal.signal(signal.SIGINT, signal.default_int_handler)
    assert stopped.value.exit_code == 5 and box.stopped and len(box.ran) == 5
    written = [e for e in entries(cfg) if e.kind in ("pause", "session", "control")]
    assert [e.kind for e in written] == ["control", "pause", "session"][
        number == signal.SIGINT :
    ] and written[-2].body["exit_code"] == 5
    if number == signal.SIGTERM:
        with pytest.raises(Stopped, match="heirloop resume"):
            go(cfg, FakeBox(better))
        acts.resume(tmp_path / "runs" / "t", "ada")
    assert go(cfg, FakeBox(better))["finished"]


def test_wandb_mirrors_shown_scores_offline(tmp_path, go, monkeypatch):
    pytest.importorskip("wandb")
    calls, real = [], track.run_child

    def run(command, data, **more):
        calls.append(json.loads(data))
        return real(command, data, **more)

    monkeypatch.setattr(track, "run_child", run)
    cfg = config(tmp_path, "tracker=wandb")
    mandate(cfg)
    result = go(cfg, FakeBox(better))
    (call,) = calls
    assert {row["generation"] for row in call["rows"]} == {0, 1, 2} and all(
        row["local/best feedback"] <= 1 for row in call["rows"]
    )
    (made,) = (tmp_path / "runs" / "t" / "wandb").glob(f"offline-run-*-{call['id']}")
    assert entries(cfg)[0].hash.startswith(call["id"]) and result["finished"]
    tables = {
        path.name.partition("_")[0]: json.loads(path.read_text())
        for path in (made / "files" / "media" / "table").glob("*.table.json")
    }
    assert sorted(tables) == ["decisions", "instruments", "plans"]
    head = tables["plans"]["columns"]
    plans = [dict(zip(head, row, strict=True)) for row in tables["plans"]["data"]]
    assert len(plans) == len([e for e in entries(cfg) if e.kind == "plan"]) and {
        p["verdict"] for p in plans
    } > {None}
    assert not any(
        "gain" in column for column in head if column != "predicted_gain_metric"
    )  # of gate the answer alone
    decisions = tables["decisions"]["data"]
    assert len(decisions) == len([e for e in entries(cfg) if e.kind == "decision"])
    names = [
        row[tables["instruments"]["columns"].index("instrument")]
        for row in tables["instruments"]["data"]
    ]
    assert "arms, local, gain" in names


@pytest.mark.durable
@pytest.mark.skipif(os.geteuid() != 0, reason="a small disk can be mounted by root alone")
@pytest.mark.parametrize("room", [220, 300, 420, 700, 1100])
def test_a_full_disk_stops_the_loop_and_loses_nothing_recorded(tmp_path, go, room):
    """The disk of the run has `room` KiB: it fills up somewhere in the study. With more room the
    same command goes on.
    """
    cfg = config(tmp_path)
    mandate(cfg)
    (tmp_path / "runs").mkdir()
    subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={room}k", "tmpfs", tmp_path / "runs"], check=True
    )
    try:
        with pytest.raises((Stopped, OSError)) as full:
            go(cfg, FakeBox(lambda order: 0.5))
        assert "full" in str(full.value) or full.value.errno == 28
        before = (
            Ledger.file(tmp_path / "runs/t/ledger.sqlite").entries()
            if (tmp_path / "runs/t/ledger.sqlite").exists()
            else []
        )
        subprocess.run(["mount", "-o", "remount,size=64m", tmp_path / "runs"], check=True)
        if before:
            result = go(cfg, FakeBox(lambda order: 0.5))
            after = entries(cfg)
            assert [e.hash for e in after[: len(before)]] == [e.hash for e in before] and result[
                "finished"
            ]
            assert result["accounts"]["root"]["cpu_us"]["reserved"] == 0
            verify(tmp_path / "runs/t")
    finally:
        subprocess.run(["umount", "-l", tmp_path / "runs"], check=True)


def test_a_study_whose_rule_could_never_accept_does_not_open(tmp_path):
    with pytest.raises(
        BadInput,
        match=r"study.confirm_replicates is 6; group_sequential at level 0.0083 .* cannot accept",
    ):
        config(tmp_path, "study.generations=6", "study.confirm_replicates=6")


def test_confirmations_share_alpha_and_stop_as_soon_as_they_are_decided(tmp_path, go):
    cfg = config(tmp_path, "study.generations=6", "study.final_replicates=0")
    mandate(cfg)
    go(cfg, FakeBox(better))
    verdicts = [e.body["verdict"] for e in entries(cfg) if e.kind == "verdict"]
    assert verdicts and {v["rule"] for v in verdicts} == {"group_sequential"}
    assert [v["level"] for v in verdicts] == pytest.approx([0.05 / 6] * len(verdicts))
    told = {
        (v["answer"], v["replicates"]) for v in verdicts
    }  # eight pairs are the fewest at 0.05 / 6; a hopeless candidate gets no twelfth
    assert all(n >= 8 for answer, n in told if answer == "accept") and all(
        n < 12 for answer, n in told if answer == "reject"
    )


def test_a_generation_done_anew_shares_what_is_left_of_alpha(tmp_path, go, monkeypatch):
    cfg, levels = config(tmp_path, "study.generations=2", "study.final_replicates=0"), []
    mandate(cfg)

    def twice(campaign, number, real=course.generation):
        real(campaign, number)
        if number == 1:
            facts = campaign.facts()
            name = next(n for n in facts.verdicts if facts.plans[n].generation == 1)
            levels.extend([facts.verdicts[name].level, campaign.level(facts.plans[name])])

    monkeypatch.setattr(course, "generation", twice)
    go(cfg, FakeBox(better))
    assert levels == pytest.approx([0.025, 0.0125])
