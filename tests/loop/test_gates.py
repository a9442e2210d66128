"""What a gate does over time: requests, expiry, caps, drift, the check at launch, scripted
reviewers, canaries.
"""

import base64
import json
import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from fakes import FakeBox, outcome
from studies import (
    HUMAN,
    SCRIPT,
    accept,
    approve,
    better,
    bodies,
    config,
    entries,
    gate_of,
    mandate,
    patches,
    real_judge,
    waiting,
)

from configs.build import plain
from configs.errors import BadInput, Denied, NeedsHuman, VerificationFailed
from configs.recipe import Recipe
from configs.records import KILLED, Approval, Edit, Proposal
from configs.settings import task
from evals.oversight import PAIRS, SignedDecision, cost, detection
from loop import terminal
from loop.facts.canaries import is_canary
from loop.measure import confirm
from loop.people import acts, stand_in
from loop.plan import apply_proposal
from loop.study import root
from loop.verify import decisions
from loop.verify.run import verify
from sandbox import budget, control, incident, keys, ledger
from sandbox import gate as gates
from sandbox.canonical import digest
from sandbox.decision import unix
from sandbox.gate import fold, launch, refusals
from sandbox.gate import grant as grants
from sandbox.gate.mandate import computable
from sandbox.gate.memory import JobState


def test_silence_is_a_no_when_the_request_expires(tmp_path, go, monkeypatch):
    keys.new_key("ada", "person", "correct horse")
    cfg, box = config(tmp_path, *HUMAN), FakeBox(better)
    with pytest.raises(NeedsHuman, match=r"`heirloop approve [0-9a-f]{12} --run "):
        go(cfg, box)
    (plan,) = waiting(cfg)
    (asked,) = bodies(cfg, "request")
    gate = gate_of(cfg)
    assert gate.expired(asked["expires"] - 1.0) == []
    assert [request.subject for request in gate.expired(asked["expires"])] == [plan]
    assert asked["expires"] - asked["at"] == 24 * 3600 and [
        r.subject for r in gate_of(cfg).pending()
    ] == [plan]
    monkeypatch.setattr(gates.Gate, "now", lambda _: asked["expires"] + 1.0)
    ended = r"not decided on in time \(it ended at \d{4}-\d\d-\d\dT\d\d:\d\d\+00:00"
    late = approve(cfg, plan, "recipe", changes={"issued": asked["expires"] - 60})
    assert re.search(rf"{ended}, and this was signed at \d{{4}}-", late)
    with pytest.raises(Denied, match=ended):
        go(cfg, box)
    assert (
        box.ran == []
        and gate_of(cfg).pending() == []
        and [d["allow"] for d in bodies(cfg)] == [False]
    )


def test_a_clock_that_is_set_back_reopens_nothing(tmp_path, go, monkeypatch):
    cfg = config(tmp_path)
    mandate(cfg)
    go(cfg, FakeBox(better))
    before = entries(cfg)[-1].time

    class Old(ledger.datetime):
        @classmethod
        def now(cls, zone):
            return cls(2001, 1, 1, tzinfo=zone)

    monkeypatch.setattr(ledger, "datetime", Old)
    monkeypatch.setattr(gates.decider.time, "time", lambda: 1.0)
    gate = gate_of(cfg)
    gate.ledger.append("note", {})
    assert entries(cfg)[-1].time == before and gate.now() == unix(entries(cfg)[-1])


@pytest.mark.parametrize(
    ("cap", "words"),
    [
        ("requests_per_hour=5", "5 requests an hour"),
        ("pending_per_arm=3", "3 requests of arm local waiting"),
    ],
)
def test_a_flood_is_refused_by_the_cap_and_people_see_one_line(tmp_path, go, cap, words):
    cfg = config(tmp_path, *SCRIPT, f"gates.{cap}", "study.proposals=6", "study.generations=1")
    result = go(cfg, FakeBox(better))
    refused = [d["reason"] for d in bodies(cfg) if not d["allow"]]
    assert refused and all(words in r for r in refused) and result["finished"]
    (incident,) = bodies(cfg, "incident")
    assert incident["title"].startswith("request flood")
    assert incident["plan"] in {d["plan"] for d in bodies(cfg) if not d["allow"]}
    started = {e.body["job"]["plan"] for e in entries(cfg) if e.kind == "start"}
    assert not started & {d["plan"] for d in bodies(cfg) if not d["allow"]}


def test_a_flood_of_bad_envelopes_is_told_in_a_line_and_every_line_says_why(tmp_path, go):
    gate = gate_of(asked(tmp_path, go)[0])
    for number in range(refusals.REFUSALS_PER_HOUR + 5):
        assert "no signed envelope" in gate.admit(b"no envelope %d" % number, "approval")
    incidents = [e.body for e in gate.ledger.entries() if e.kind == "incident"]
    titles = [incident["title"].split(":")[0] for incident in incidents]
    assert titles == ["refused approval"] * refusals.REFUSALS_PER_HOUR + ["decision flood"]
    assert all("no signed envelope" in incident["containment"] for incident in incidents)


def test_a_random_start_trial_is_compared_and_never_promoted(tmp_path, go):
    cfg = config(tmp_path, "study.arms=[random]", "study.start_trials=2", "study.generations=1")
    mandate(cfg)
    go(cfg, FakeBox(better))
    gate = gate_of(cfg)
    trials = [name for name, plan in gate.memory.plans.items() if plan.purpose == "start"]
    with pytest.raises(Denied, match="not of this study"):
        gate.authority(trials[0], "promote")
    base = gate.memory.rules.config.task.baseline
    drawn = [name for name in trials if gate.memory.plans[name].recipe != base]
    assert drawn and not any(gate.drift(name) for name in drawn)  # people gave the grid


def test_a_job_that_the_box_loses_runs_three_times_and_an_order_to_stop_does_not_count(
    tmp_path, go
):
    cfg = config(tmp_path)
    mandate(cfg)
    go(cfg, FakeBox(better))
    memory = gate_of(cfg).memory
    name = next(iter(memory.jobs))
    for lost in range(4):
        memory.jobs[name] = {"train 0": JobState(begun=lost + 2, lost=lost, stage="lost")}
        if lost == grants.ATTEMPTS:
            with pytest.raises(NeedsHuman, match="lost 3 times by the box"):
                grants.next_grant(memory, name, "train", 0)
        else:
            again = grants.next_grant(memory, name, "train", 0)
            assert again.attempt == lost + 2 and not grants.find_misuse(memory, again)
            for stage in ("running", "done"):
                memory.jobs[name] = {"train 0": JobState(begun=lost + 2, lost=lost, stage=stage)}
                assert "was used" in grants.find_misuse(memory, again)
    ended = next(e for e in entries(cfg) if e.kind == "job" and e.body["plan"] == name)
    role, index = ended.fact.role, ended.fact.index
    for detail, counted in ((f"{KILLED} by a stop", 0), ("the box was lost", 1)):
        memory.jobs[name] = {f"{role} {index}": JobState(begun=1, stage="running")}
        result = replace(ended.fact.result, status="box", detail=detail)
        fold._fold_job(memory, ended, replace(ended.fact, result=result))
        state = memory.job_state(name, role, index)
        assert (state.lost, state.stage) == (counted, "lost")


def test_a_job_that_the_box_lost_three_times_is_tried_again_once_people_resume(tmp_path, go):
    cfg, lost = config(tmp_path), outcome("box", "starved")
    mandate(cfg)
    box = FakeBox(better, lambda execution: lost if len(box.ran) > 12 else None)
    for _ in range(2):  # the same command again changes nothing
        with pytest.raises(NeedsHuman, match=r"lost 3 times by the box; `heirloop pause RUN`"):
            go(cfg, box)
    assert len(box.ran) == 12 + grants.ATTEMPTS
    folder = Path(cfg.runs) / "t"
    control.hold(folder, "pause", "ada", "the machine was busy")
    acts.resume(folder, "ada")
    assert go(cfg, FakeBox(better))["finished"]


@pytest.mark.parametrize("enforced", [True, False])
def test_many_small_changes_reach_the_drift_limit_and_then_a_person_is_asked(
    tmp_path, go, monkeypatch, enforced
):
    """A14, with its ablation: champion after champion, each one line from its parent, and each
    further from what people approved.
    """
    monkeypatch.setattr(
        task, "COMPUTED_TASKS", ()
    )  # as on a task whose answers code cannot compute: mandates may promote code
    keys.new_key("ada", "person", "correct horse")
    classes = "[recipe,patch,promote]"
    cfg = config(
        tmp_path,
        "autonomy=autonomous",
        f"gates.unattended.classes={classes}",
        "gates.unattended.drift=3",
        "study.generations=6",
        "study.proposals=1",
        "task.seed_deviation=0.001",
        "study.final_replicates=0",
    )
    mandate(cfg)
    patches(monkeypatch, 1)
    if not enforced:
        monkeypatch.setattr(gates.mandate, "drift", lambda *_: 0)
    grow = {}

    def quality(order):
        return min(0.99, 0.1 + 0.15 * grow.setdefault(order.seed, len(champions())))

    def champions():
        path = Path(cfg.runs) / "t" / "ledger.sqlite"
        return [e for e in entries(cfg) if e.kind == "champion"] if path.exists() else []

    monkeypatch.setattr(confirm, "judge", lambda *a, **k: accept(real_judge(*a, **k)))
    if not enforced:
        go(cfg, FakeBox(quality))
        assert len(champions()) == 7
        return
    with pytest.raises(NeedsHuman, match="has drifted"):
        go(cfg, FakeBox(quality))
    reached = len(champions())
    assert 1 < reached < 7
    (request,) = gate_of(cfg).pending()
    gate_of(cfg).drift(request.subject)  # looking does not reset it
    with pytest.raises(NeedsHuman, match="has drifted"):
        go(cfg, FakeBox(quality))
    assert not approve(cfg, request.subject, "patch")
    with pytest.raises(NeedsHuman, match="has drifted"):
        go(cfg, FakeBox(quality))
    assert len(champions()) > reached  # the approved plan is the new base


def test_a_plan_has_the_highest_class_of_its_edits():
    files = {"models/train.py": b"a = 1\n", "models/net.py": b"b = 1\n"}
    edits = [Edit(file=file, search="= 1", replace="= 2") for file in files]
    for told, risk in (
        ([], "recipe"),
        (edits[:1], "patch"),
        (edits[1:], "structural"),
        (edits, "structural"),
        (edits[::-1], "structural"),
    ):
        proposal = Proposal(hypothesis="it is only a recipe", knobs={"depth": 3}, edits=tuple(told))
        assert apply_proposal(Recipe(), files, proposal).change_class == risk


def test_a_mandate_lets_only_so_many_plans_pass_in_an_hour(tmp_path, go):
    cfg = config(tmp_path, "gates.unattended.per_hour=4")
    mandate(cfg)
    with pytest.raises(NeedsHuman, match="4 plans an hour"):
        go(cfg, FakeBox(better))
    assert len([d for d in bodies(cfg) if d["allow"]]) == 4


@pytest.mark.parametrize("change", ["revoked", "denied", "expired", "nothing"])
def test_what_a_grant_rests_on_is_checked_again_at_launch(tmp_path, go, monkeypatch, change):
    """A04: the world changes between the grant and the launch."""
    keys.new_key("ada", "person", "correct horse")
    keys.new_key("bob", "person", "correct horse")
    cfg = config(tmp_path, *HUMAN)
    with pytest.raises(NeedsHuman):
        go(cfg, FakeBox(better))
    (plan,) = waiting(cfg)
    approve(cfg, plan, "recipe")
    real = gates.Gate.grant

    def grant(gate, name):
        found = real(gate, name)
        if change == "revoked":
            keys.revoke("ada")
        if change == "denied":
            approve(cfg, plan, "recipe", "deny", key="bob")
        if change == "expired":
            monkeypatch.setattr(gates.memory.Memory, "lives", lambda *_: False)
        return found

    monkeypatch.setattr(gates.Gate, "grant", grant)
    box = FakeBox(better)
    words = {
        "revoked": "expired or was revoked",
        "expired": "expired or was revoked",
        "denied": "denied by bob",
        "nothing": "waits for a decision",
    }
    with pytest.raises(NeedsHuman, match=words[change]):
        go(cfg, box)
    assert bool(box.ran) is (change == "nothing")


def test_a_terminal_shows_every_character_and_a_decided_request_waits_no_more(tmp_path, go, capsys):
    keys.new_key("ada", "person", "correct horse")
    cfg = config(tmp_path, *HUMAN)
    with pytest.raises(NeedsHuman):
        go(cfg, FakeBox(better))
    gate = gate_of(cfg)
    (asked,) = gate.pending()
    terminal.print_table([[asked.subject, "a\u202eb " * 100]], ["plan", "text"], as_json=False)
    shown = capsys.readouterr().out
    assert "…" not in shown and "".join(shown.split()).count("U+202E") == 100
    approve(cfg, asked.subject, "recipe")
    assert gate_of(cfg).pending() == []


FIELDS = [
    f
    for f in Approval.__slots__
    if f not in ("answer", "reason", "seen", "looked_ms", "expires", "nonce")
]


@pytest.mark.parametrize("field", FIELDS)
def test_a_decision_that_shows_another_fact_opens_nothing(tmp_path, go, field):
    keys.new_key("ada", "person", "correct horse")
    keys.new_key("eve", "external", "correct horse")
    cfg = config(tmp_path, *HUMAN)
    with pytest.raises(NeedsHuman):
        go(cfg, FakeBox(better))
    (plan,) = waiting(cfg)
    other = {
        "version": 2,
        "change_class": "patch",
        "requested": {"cpu_us": 1},
        "generation": 1,
        "issued": 2**40,
        "kind": "external",
        "reviewer": "eve",
        "public": "0" * 64,
    }.get(field, "0" * 64)
    assert approve(cfg, plan, "recipe", changes={field: other})
    with pytest.raises(NeedsHuman, match="0 of 1"):
        go(cfg, FakeBox(better))


@pytest.mark.parametrize("policy", ["approve-all", "deny-all", "by-file", "fatigue"])
def test_a_scripted_reviewer_runs_a_study_and_is_never_counted_as_human(
    tmp_path, go, monkeypatch, policy
):
    (tmp_path / "answers.json").write_text(json.dumps({"recipe": "approve", "promote": "deny"}))
    chosen = {
        "by-file": ["reviewer=by-file", f"reviewer.file={tmp_path}/answers.json"],
        "fatigue": ["reviewer=fatigue", "reviewer.hit_rate=1", "reviewer.false_alarm_rate=0"],
    }.get(policy, ["reviewer=scripted", f"reviewer.policy={policy}"])
    cfg = config(tmp_path, *HUMAN, *chosen)
    monkeypatch.setattr(confirm, "judge", lambda *a, **k: accept(real_judge(*a, **k)))
    if policy == "deny-all":
        with pytest.raises(Denied, match="scripted"):
            go(cfg, FakeBox(better))
        return
    result = go(cfg, FakeBox(better))
    assert result["finished"] and result["decided_by"] == ["simulated"]
    assert {d["kind"] for d in bodies(cfg) if d["allow"]} == {"simulated"}
    assert (result["arms"][0]["accepted"] > 0) is (policy != "by-file")
    verify(tmp_path / "runs" / "t")


def test_a_reviewer_that_tires_blocks_proposals_by_mistake_and_never_what_people_ordered(
    tmp_path, go
):
    cfg = config(
        tmp_path,
        *HUMAN,
        "reviewer=fatigue",
        "reviewer.false_alarm_rate=1",
        "study.final_replicates=4",
    )
    assert go(cfg, FakeBox(better))["finished"]
    purposes = {
        e.body["digest"]: e.body["plan"]["purpose"] for e in entries(cfg) if e.kind == "plan"
    }
    told = {(purposes[d["plan"]], d["allow"]) for d in bodies(cfg)}
    assert (
        ("baseline", True) in told
        and ("candidate", False) in told
        and ("candidate", True) not in told
    )


def test_the_stand_in_decides_on_the_arm_whose_name_it_happens_to_share(tmp_path, go):
    cfg = config(tmp_path, *SCRIPT, "study.arms=[scripted]", "+proposer.script=[{depth: 3}]")
    assert cfg.arms() == ("scripted",) and go(cfg, FakeBox(better))["decided_by"] == ["simulated"]


def test_an_answer_that_another_campaign_got_is_seen(tmp_path, go, monkeypatch):
    """Two campaigns ask at once, one gets both answers: the other looks again before it gives
    up.
    """
    real = stand_in.answer
    monkeypatch.setattr(stand_in, "answer", lambda running: real(running) and 0)
    assert go(config(tmp_path, *SCRIPT), FakeBox(better))["finished"]


def test_a_cap_that_refuses_a_promotion_is_a_no_and_the_loop_goes_on(tmp_path, go, monkeypatch):
    monkeypatch.setattr(confirm, "judge", lambda *a, **k: accept(real_judge(*a, **k)))
    cfg = config(tmp_path, *SCRIPT, "gates.requests_per_hour=3", "study.proposals=2")
    assert go(cfg, FakeBox(better))["finished"]
    assert next(d["class"] for d in bodies(cfg) if not d["allow"]) == "promote"


def test_a_scripted_reviewer_s_file_is_checked(tmp_path):
    (tmp_path / "a.json").write_text('{"recipe": "yes"}')
    with pytest.raises(BadInput, match="approve, deny or escalate"):
        stand_in.read_answers(str(tmp_path / "a.json"))
    with pytest.raises(BadInput, match="cannot be read"):
        stand_in.read_answers(str(tmp_path / "b.json"))
    with pytest.raises(BadInput, match="scripted"):
        keys.new_key("scripted", "person", "correct horse")


def test_canaries_and_twins_come_in_pairs_that_look_alike_and_can_never_run(tmp_path, go):
    cfg = config(
        tmp_path,
        *SCRIPT,
        "gates.canaries=1",
        "reviewer=fatigue",
        "reviewer.hit_rate=1",
        "reviewer.decay=0",
        "reviewer.false_alarm_rate=0",
    )
    go(cfg, FakeBox(better))
    probes = bodies(cfg, "probe")
    secret = keys.load_secret(entries(cfg)[0].body["secret"])
    canaries = {p["digest"] for p in probes if is_canary(secret, p["digest"], p["commitment"])}
    assert canaries and 2 * len(canaries) == len(probes)
    told = {b["approval"]["plan"]: b["approval"]["answer"] for b in bodies(cfg, "approval")}
    assert {told[p["digest"]] for p in probes if p["digest"] in canaries} == {"deny"}
    assert {told[p["digest"]] for p in probes if p["digest"] not in canaries} == {"approve"}
    gate = gate_of(cfg)
    for probe in probes:
        with pytest.raises(Denied, match="no recorded plan"):
            gate.grant(probe["digest"])
    assert not {p["digest"] for p in probes} & {
        e.body["job"]["plan"] for e in entries(cfg) if e.kind == "start"
    }
    verify(tmp_path / "runs" / "t")


def test_pairs_are_matched_in_class_size_and_wording():
    for pairs in PAIRS.values():
        for canary, twin, text in pairs:
            sizes = [len(json.dumps(one)) for one in (canary, twin)]
            assert (
                len(canary) == len(twin)
                and max(sizes) - min(sizes) <= 12
                and text
                and canary != twin
            )
            assert plain(Proposal(hypothesis=text, knobs={}))
            for knobs in (canary, twin) if pairs is PAIRS["recipe"] else ():
                assert plain(replace(Recipe(), **{k: json.loads(v) for k, v in knobs.items()}))


def test_detection_gives_d_prime_from_counts_and_never_a_miss_share_alone():
    blind = detection(10, 10, 10, 10)
    assert blind["d_prime"][0] == 0 and blind["d_prime"][1] < 0 < blind["d_prime"][2]
    sharp = detection(50, 0, 0, 50)
    assert sharp["d_prime"][1] > 2 and abs(sharp["criterion"][0]) < 0.01
    assert detection(3, 1, 0, 0)["d_prime"] is None and detection(3, 1, 0, 0)["misses"] == 1
    lax = detection(20, 30, 1, 49)
    assert lax["criterion"][0] > 0.5


def test_cost_counts_people_alone():
    one = SignedDecision(
        plan="",
        change_class="recipe",
        answer="approve",
        reviewer="",
        kind="person",
        requested=10,
        seen=20,
        decided=100,
        looked_ms=90_000,
    )
    found = cost([one, replace(one, kind="simulated"), replace(one, kind="external", decided=50)])
    assert found == {
        "signed": 3,
        "human": 2,
        "simulated": 1,
        "human_minutes": 3.0,
        "queue_seconds": {"median": 90, "largest": 90},
    }
    assert cost([])["queue_seconds"] is None


@pytest.mark.parametrize(
    ("harm", "hours"),
    [("none", None), ("other", 360), ("death", 240), ("infrastructure", 48), ("imminent", 24)],
)
def test_an_incident_counts_up_says_when_notice_is_due_and_is_only_ever_added_to(
    tmp_path, go, harm, hours
):
    cfg = config(tmp_path)
    mandate(cfg)
    go(cfg, FakeBox(better))
    book = gate_of(cfg).ledger
    with book.transaction() as txn:
        incident.report(txn, "one", detector="test")
        second = incident.report(
            txn, "two", detected_at="2026-01-01T00:00:00+00:00", harm_actual=harm
        )
    assert second.body["id"] == "I-2"
    due = second.body["notification_due_at"]
    day = ledger.datetime.fromisoformat(second.body["detected_at"])
    assert (
        (due == "")
        if hours is None
        else (ledger.datetime.fromisoformat(due) - day).total_seconds() == hours * 3600
    )
    with pytest.raises(BadInput, match="amendment sets one of"):
        incident.amend(book, "I-2", {"detected_at": "x"}, "ada")
    with pytest.raises(BadInput, match="'I-9'"):
        incident.amend(book, "I-9", {"root_cause": "x"}, "ada")
    changed = incident.amend(book, "I-2", {"root_cause": "a bug", "kind": "incident"}, "ada")
    assert (changed.amended_from, changed.root_cause, changed.reporter) == (
        second.sequence,
        "a bug",
        "ada",
    )
    assert [e.body["root_cause"] for e in book.entries() if e.body.get("id") == "I-2"] == [
        "",
        "a bug",
    ]
    assert incident.latest(book.entries())["I-2"][0] == changed


def test_a_signed_decision_in_the_ledger_is_checked_whenever_it_is_read(tmp_path, go, monkeypatch):
    keys.new_key("ada", "person", "correct horse")
    cfg = config(tmp_path, *HUMAN)
    with pytest.raises(NeedsHuman):
        go(cfg, FakeBox(better))
    (plan,) = waiting(cfg)
    approve(cfg, plan, "recipe", "deny")
    (body,) = bodies(cfg, "approval")
    forged = {
        **body,
        "digest": digest(b"x"),
        "envelope": body["envelope"].replace('"sig":"', '"sig":"0'),
    }
    gate_of(cfg).ledger.append("approval", forged)
    with pytest.raises(VerificationFailed):
        gate_of(cfg)
    assert root.SCRIPTED not in {r["name"] for r in entries(cfg)[0].body["reviewers"]}


def asked(tmp_path, go, *extra):
    """A study that waits for people about its baseline, its people ada, bob and the external eve;
    configuration and plan.
    """
    for name, kind in (("ada", "person"), ("bob", "person"), ("eve", "external")):
        keys.new_key(name, kind, "correct horse")
    cfg = config(tmp_path, *HUMAN, *extra)
    with pytest.raises(NeedsHuman):
        go(cfg, FakeBox(better))
    return cfg, waiting(cfg)[0]


def test_an_external_reviewer_is_needed_besides_the_quorum_and_never_instead_of_it(tmp_path, go):
    cfg, plan = asked(tmp_path, go, "gates.approve.recipe={of: 1, reviewers: [ada]}")
    assert not approve(cfg, plan, "recipe", "escalate", key="eve") and not approve(
        cfg, plan, "recipe", key="eve"
    )
    with pytest.raises(NeedsHuman, match="0 of 1"):
        gate_of(cfg).authority(plan, "recipe")
    assert not approve(cfg, plan, "recipe", key="ada")
    with pytest.raises(NeedsHuman, match="escalated"):  # who escalated is not who answers it
        gate_of(cfg).authority(plan, "recipe")


def test_an_escalation_by_one_is_answered_by_the_quorum_and_an_external_reviewer(tmp_path, go):
    cfg, plan = asked(tmp_path, go, "gates.approve.recipe={of: 1, reviewers: [ada]}")
    assert not approve(cfg, plan, "recipe", "escalate", key="bob") and not approve(
        cfg, plan, "recipe", key="ada"
    )
    with pytest.raises(NeedsHuman, match="escalated"):
        gate_of(cfg).authority(plan, "recipe")
    assert not approve(cfg, plan, "recipe", key="eve")
    assert len(gate_of(cfg).authority(plan, "recipe")) == 2


DRESSED = [
    lambda e: e + b" ",
    lambda e: e.replace(b'{"payload"', b'{ "payload"'),
    lambda e: e.replace(b'"keyid":"', b'"keyid":"0'),
]


@pytest.mark.parametrize("mangle", DRESSED)
def test_one_decision_is_one_decision_however_its_bytes_are_dressed(tmp_path, go, mangle):
    cfg, plan = asked(tmp_path, go)
    sent = []
    assert not approve(cfg, plan, "recipe", mangle=lambda e: sent.append(e) or e)
    before = len(gate_of(cfg).memory.approvals)
    assert gate_of(cfg).admit(sent[0], "approval") == "" and gate_of(cfg).admit(
        mangle(sent[0]), "approval"
    )
    assert len(gate_of(cfg).memory.approvals) == before
    body = json.loads(base64.b64decode(json.loads(sent[0])["payload"]))
    assert "handed in before" in gate_of(cfg).admit(
        keys.sign(body | {"reason": "x"}, keys.open_key("ada", "correct horse"), "approval"),
        "approval",
    )


def test_cooling_off_runs_by_the_ledger_s_clock_and_no_decision_lives_for_ever(
    tmp_path, go, monkeypatch
):
    cfg, plan = asked(tmp_path, go, "gates.approve.recipe={of: 1, wait_seconds: 600}")
    now = int(gate_of(cfg).now())
    assert "lives longer" in approve(
        cfg, plan, "recipe", changes={"expires": now + 24 * 366 * 3600}
    )
    assert not approve(cfg, plan, "recipe", changes={"issued": now - 7200, "expires": now + 7200})
    with pytest.raises(NeedsHuman, match="cooling-off"):
        gate_of(cfg).authority(plan, "recipe")
    assert gate_of(cfg).pending() == []  # people have nothing more to do
    monkeypatch.setattr(gates.Gate, "now", lambda _: now + 660.0)
    assert gate_of(cfg).authority(plan, "recipe")


class Killed(BaseException):
    """Stands for a process that ends at once."""


def test_an_attended_study_survives_a_kill_of_each_job_and_pays_for_both_attempts(tmp_path, go):
    cfg = config(tmp_path, *SCRIPT, "study.generations=1", "study.proposals=1", "budget.jobs=900")
    killed = set()

    def die_once(execution):
        job = execution.files["job.json"]
        if job not in killed:
            killed.add(job)
            raise Killed

    while True:
        try:
            result = go(cfg, FakeBox(better, die_once))
            break
        except Killed:
            pass
    assert result["finished"] and len(killed) * 2 == len(bodies(cfg, "start"))
    lost = [job["result"] for job in bodies(cfg, "job") if job["result"]["status"] == "box"]
    assert len(lost) == len(killed) > 10 and {r["charged_by"] for r in lost} == {"reservation"}
    accounts = gate_of(cfg).ledger.read(budget.balances)
    jobs = [cells["jobs"] for name, cells in accounts.items() if name.startswith("grant:")]
    assert max(cell["spent"] for cell in jobs) > 4 and not any(
        cell["spent"] > cell["limit"] for cell in jobs
    )
    verify(tmp_path / "runs" / "t")


@pytest.mark.parametrize("jobs", [3, 8])
def test_a_used_up_mandate_hands_over_to_the_next_of_its_class_even_within_a_plan(
    tmp_path, go, jobs
):
    cfg, folder = config(tmp_path, "study.generations=1"), tmp_path / "runs" / "t"
    mandate(cfg, caps=replace(cfg.gates.unattended, jobs=jobs))
    (place,) = (keys.home() / "mandates").iterdir()
    place.rename(place.with_name("t-a.json"))  # it is admitted first
    mandate(cfg)
    assert go(cfg, FakeBox(better))["finished"]
    first, second = [e.body["digest"] for e in entries(cfg) if e.kind == "mandate"]
    rests = [e.body["authority"] for e in entries(cfg) if e.kind == "decision"]
    assert rests[0] == first and rests[-1] == second and rests == sorted(rests, key=rests.index)
    assert not bodies(cfg, "incident")
    paid = [e.body["grant"]["authority"] for e in entries(cfg) if e.kind == "start"]
    assert paid.count(first) == jobs and set(paid) == {first, second}
    verify(folder)


def test_a_run_whose_first_mandate_was_revoked_goes_on_under_the_second_and_verifies(
    tmp_path, go, monkeypatch
):
    cfg, folder = config(tmp_path, "study.generations=1"), tmp_path / "runs" / "t"
    public = keys.payload_unchecked(mandate(cfg))["public"]
    (place,) = (keys.home() / "mandates").iterdir()
    place.rename(place.with_name("t-a.json"))  # it is admitted first
    mandate(cfg)
    trained = []
    monkeypatch.setattr(keys, "revoked", lambda: {public} if trained else set())
    go(cfg, FakeBox(lambda order: trained.append(order) or better(order)))
    first, second = [e.body["digest"] for e in entries(cfg) if e.kind == "mandate"]
    rests = {e.body["authority"] for e in entries(cfg) if e.kind == "decision"}
    assert rests == {first, second}
    verify(folder)
    monkeypatch.setattr(decisions, "_passed_over", lambda *_: set())
    with pytest.raises(VerificationFailed, match="another decision"):
        verify(folder)


def test_another_campaign_may_record_a_plan_while_a_promotion_is_decided():
    """Campaigns run side by side, and the gate looks for a plan's baseline among all plans."""
    plans = {}

    class Growing(SimpleNamespace):
        @property
        def arm(self):
            plans[len(plans)] = self  # as another thread would, in the middle of the search
            return "other"

    plans[0] = Growing(repeat=0, purpose="baseline")
    wanted = SimpleNamespace(arm="self", repeat=0, change_class="recipe", bundle="b")
    assert not computable(True, wanted, plans) and len(plans) == 2


def test_code_of_an_ancestor_makes_a_gain_computable_and_another_campaign_s_code_does_not():
    class Known(SimpleNamespace):
        arm, repeat, change_class, purpose = "self", 0, "recipe", "candidate"

    plans = {
        "other": Known(arm="other", purpose="baseline", bundle="c"),
        "base": Known(purpose="baseline", bundle="b"),
    }
    assert computable(True, Known(bundle="c"), plans)
    assert not computable(True, Known(bundle="b"), plans)
    assert not computable(False, Known(bundle="c"), plans)


def test_a_grant_without_a_decision_starts_nothing(tmp_path, go):
    cfg = config(tmp_path)
    with pytest.raises(NeedsHuman):
        go(cfg, FakeBox(better))
    memory = gate_of(cfg).memory
    (name, *_) = memory.plans
    grant = grants.next_grant(memory, name, "train", 0)
    with pytest.raises(VerificationFailed, match="rests on no decision; nothing ran"):
        launch.check_launch(memory, grant, 0.0, ())


def test_an_incident_of_another_detector_counts_for_no_flood(tmp_path, go):
    """A flood is reported once an hour: another incident on a plan must not stand in for it."""
    gate = gate_of(asked(tmp_path, go)[0])
    name = next(iter(gate.memory.plans))
    for detector in ("tripwire", "gate"):
        with gate.ledger.transaction() as txn:
            incident.report(txn, "a look", detector=detector, plan=name)
        known = gate.refresh().memory.flood_times
        assert ("request flood" in known) is (detector == "gate")


def test_after_an_amendment_of_the_objective_no_plan_of_the_old_one_starts(tmp_path, go):
    """The digest of the objective in force is worked out once, and anew with each amendment."""
    cfg = config(tmp_path)
    mandate(cfg)
    go(cfg, FakeBox(better))
    memory = gate_of(cfg).memory
    assert memory.rules.objective == digest(cfg.objective)
    name = next(name for name, plan in memory.plans.items() if plan.purpose == "candidate")
    grant = grants.next_grant(memory, name, "train", 0)
    changed = replace(cfg, objective=replace(cfg.objective, minimum_effect=0.3))
    fact = SimpleNamespace(config=changed, reviewers=(), decided="", ahead_seconds=0)
    fold._fold_amended(memory, None, fact)
    assert memory.rules.objective == digest(changed.objective) != digest(cfg.objective)
    with pytest.raises(VerificationFailed, match="made for another objective"):
        launch.check_launch(memory, grant, 0.0, ())
