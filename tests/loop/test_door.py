"""The door of a study: plans that bring what nobody pinned, caps of many mandates, copied keys,
jumping clocks and quorums that nobody can meet.
"""

import json
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from fakes import FakeBox
from studies import (
    HUMAN,
    approve,
    better,
    bodies,
    champions,
    config,
    entries,
    gate_of,
    mandate,
    waiting,
)

from configs.build import parse, plain
from configs.errors import BadInput, Denied, HeirloopError, NeedsHuman, VerificationFailed
from configs.records import Amount, Input, Job
from loop import campaign as campaigns
from loop import session
from loop.people import amend
from loop.plan import source
from loop.study import open as study_open
from loop.verify import inputs
from loop.verify.run import verify
from sandbox import gate as gates
from sandbox import keys, ledger
from sandbox.canonical import digest


def edited(config):
    """Return the checkout's source, its train.py edited since."""
    files = source()
    files["models/train.py"] += b"\n# edited\n"
    return files


@pytest.fixture
def ended(tmp_path, go):
    """A finished study of one generation; its settings."""
    cfg = config(tmp_path, "study.generations=1", "study.final_replicates=0")
    mandate(cfg)
    go(cfg, FakeBox(better))
    return cfg


def plans_of(cfg):
    """Return the plans of a study by purpose; the last of a purpose."""
    return {plan.purpose: plan for plan in gate_of(cfg).memory.plans.values()}


def record(cfg, plan):
    """Record a plan as a hostile loop would; return its digest."""
    gate_of(cfg).ledger.append("plan", {"digest": digest(plan), "plan": plain(plan)})
    return digest(plan)


def test_a_baseline_whose_files_the_root_does_not_pin_runs_nothing(tmp_path, go, monkeypatch):
    cfg, box = config(tmp_path), FakeBox(better)
    with pytest.raises(NeedsHuman):
        go(cfg, box)
    mandate(cfg)
    monkeypatch.setattr(campaigns.Campaign, "recorded", lambda *_: None)
    monkeypatch.setattr(campaigns, "bundle_of", edited)
    with pytest.raises(Denied, match=r"brings other files than the study root pins: models/train"):
        go(cfg, box)
    assert box.ran == []
    # With the files of the root back, the study goes on.
    monkeypatch.undo()
    monkeypatch.setenv("HEIRLOOP_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(study_open, "make_box", lambda _: box)
    session.execute(cfg)
    assert box.ran and len(champions(cfg)) >= 1


def test_a_baseline_that_was_recorded_goes_on_with_the_bytes_of_the_root(tmp_path, go, monkeypatch):
    cfg, box = config(tmp_path, "study.generations=1", "study.final_replicates=0"), FakeBox(better)
    with pytest.raises(NeedsHuman):
        go(cfg, box)
    mandate(cfg)
    monkeypatch.setattr(campaigns, "bundle_of", edited)
    go(cfg, box)
    assert not any(b"# edited" in run.files["models/train.py"] for run in box.ran)
    assert len([p for p in gate_of(cfg).memory.plans.values() if p.purpose == "baseline"]) == 1


FLAWS = {
    "second baseline": ("baseline", {"index": 1, "hypothesis": "again"}, "a second baseline"),
    "other class": (
        "candidate",
        {"purpose": "final", "change_class": "propose"},
        "of class propose, and its purpose final",
    ),
    "no parent": ("candidate", {"parent": ""}, "has no parent"),
    "other reference": ("candidate", {"reference": "EDITED"}, "measured beside"),
    "other recipe beside": ("candidate", {"reference_recipe": {"depth": 3}}, "measured beside"),
    "skill beside other files": (
        "candidate",
        {"purpose": "skill", "reference": "EDITED"},
        "measured beside",
    ),
    "no reference": ("candidate", {"reference": "", "reference_recipe": None}, "measured beside"),
    "other files": ("candidate", {"bundle": "EDITED"}, "changes models/train.py"),
    "other campaign": ("candidate", {"repeat": 1}, "champion of another campaign"),
    "more steps": ("candidate", {"steps": 10**6}, "plans other steps"),
    "more compute": ("candidate", {"planned_cpu_us": 10**8}, "plans other steps"),
    "more beside": ("candidate", {"reference_steps": 1}, "plans other steps"),
    "other recipe": ("candidate", {"purpose": "final"}, "changes the recipe of the champion"),
    "other jobs": ("candidate", {"jobs": ()}, "its jobs is not"),
    "cheaper": ("candidate", {"requested": Amount(jobs=1)}, "its requested is not"),
    "other knobs told": ("candidate", {"changed": {}}, "its changed is not"),
    "notebook": ("candidate", {"recipe": {"notebook": 0.1}}, "the study has none"),
}
"""Name -> purpose of the plan that is changed, the changes, and the words of the refusal."""


@pytest.mark.parametrize("name", FLAWS)
def test_a_flawed_plan_gets_no_grant_and_does_not_verify(tmp_path, ended, name, monkeypatch):
    purpose, changes, words = FLAWS[name]
    gate, plan = gate_of(ended), plans_of(ended)[purpose]
    bundle = gate.store.put_bundle(edited(None))
    changes = {key: bundle if value == "EDITED" else value for key, value in changes.items()}
    for recipe in ("recipe", "reference_recipe"):
        if changes.get(recipe):
            changes[recipe] = replace(getattr(plan, recipe), **changes[recipe])
    wrong = record(ended, replace(plan, **changes))
    if "is not" not in words:
        with pytest.raises(Denied, match=words):
            gate_of(ended).grant(wrong)
    # A loop without the check grants it; whoever verifies the record finds it.
    with monkeypatch.context() as patch:
        patch.setattr(gates.flaw, "find_flaw", lambda *_: "")
        gate_of(ended).grant(wrong)
    with pytest.raises(VerificationFailed, match=words):
        verify(tmp_path / "runs" / "t")


BASES = {
    "unknown": "no plan of this study",
    "other campaign": "a plan of another campaign",
    "not screened": "no screening score",
}
"""Kind of basis -> words of the refusal of a plan that counts its changes against it."""


@pytest.mark.parametrize("name", BASES)
def test_a_basis_is_a_screened_plan_of_the_same_campaign(tmp_path, ended, name, monkeypatch):
    plan = plans_of(ended)["candidate"]
    bases = {
        "unknown": "f" * 64,
        "other campaign": record(ended, replace(plan, repeat=1)),
        "not screened": record(ended, replace(plan, hypothesis="never trained")),
    }
    screened = {digest(p) for p in gate_of(ended).memory.plans.values() if p.purpose == "baseline"}
    right = record(ended, replace(plan, basis=screened.pop()))
    assert not gate_of(ended).find_flaw(right)
    wrong = record(ended, replace(plan, basis=bases[name]))
    with pytest.raises(Denied, match=BASES[name]):
        gate_of(ended).grant(wrong)
    with monkeypatch.context() as patch:
        patch.setattr(gates.flaw, "find_basis_flaw", lambda *_: "")
        gate_of(ended).grant(wrong)
    with pytest.raises(VerificationFailed, match=BASES[name]):
        verify(tmp_path / "runs" / "t")


def test_three_unattended_mandates_have_the_caps_of_one(tmp_path, go):
    cfg = config(tmp_path, "gates.unattended.per_hour=3", "study.proposals=4")
    for _ in range(3):
        mandate(cfg)
        with pytest.raises(NeedsHuman, match="3 plans an hour"):
            go(cfg, FakeBox(better))
    assert len(bodies(cfg, "mandate")) == 3
    assert len([d for d in bodies(cfg) if d["allow"]]) == 3


@pytest.mark.parametrize("enforced", [True, False])
def test_unattended_mandates_spend_together_what_the_study_allows(
    tmp_path, go, monkeypatch, enforced
):
    """With its ablation: without the shared account each mandate has the whole sum."""
    if not enforced:
        monkeypatch.setattr(gates.memory.Memory, "is_shared", lambda *_: False)
    cfg, ran = config(tmp_path, "gates.unattended.jobs=9"), 0
    for _ in range(3):
        mandate(cfg, caps=replace(cfg.gates.unattended, per_hour=1))
        box = FakeBox(better)
        with pytest.raises(HeirloopError, match="1 plans an hour" if ran < 4 else "jobs left|hour"):
            go(cfg, box)
        ran += len(box.ran)
    assert ran == 9 if enforced else ran > 9


def copied_key(name="bob", kind="person"):
    """Let ada's key lie in the folder under another name besides."""
    folder = keys.home() / "keys"
    half = json.loads((folder / "ada.pub.json").read_bytes())
    (folder / f"{name}.key").write_bytes((folder / "ada.key").read_bytes())
    half |= {"name": name, "kind": kind, "person": name}
    (folder / f"{name}.pub.json").write_text(json.dumps(half))


@pytest.mark.parametrize("kind", ["person", "external"])
def test_a_copied_key_is_pinned_by_no_root_and_no_amendment(tmp_path, go, kind):
    keys.new_key("ada", "person", "correct horse")
    cfg = config(tmp_path, *HUMAN)
    with pytest.raises(NeedsHuman):
        go(cfg, FakeBox(better))
    copied_key(kind=kind)
    with pytest.raises(BadInput, match=r"key bob is .* the key ada"):
        amend.amend(tmp_path / "runs" / "t", [], "user carol", "", repin=True)
    with pytest.raises(BadInput, match=r"key bob is .* the key ada"):
        go(config(tmp_path, *HUMAN, "study.name=u"), FakeBox(better))


def test_a_copied_key_counts_once_though_a_root_pins_it(tmp_path, go, monkeypatch):
    keys.new_key("ada", "person", "correct horse")
    copied_key()
    monkeypatch.setattr("loop.study.root.need_reviewers", lambda *_: None)
    cfg = config(tmp_path, *HUMAN, "gates.approve.recipe={of: 2}", "study.proposals=1")
    with pytest.raises(NeedsHuman):
        go(cfg, FakeBox(better))
    (plan,) = waiting(cfg)
    assert not approve(cfg, plan, "recipe", key="ada")
    assert "does not pin" in approve(cfg, plan, "recipe", key="bob")
    with pytest.raises(NeedsHuman, match="1 of 2"):
        go(cfg, FakeBox(better))
    with pytest.raises(VerificationFailed, match="pins a key twice"):
        verify(tmp_path / "runs" / "t")


@pytest.mark.parametrize(
    ("quorum", "right"),
    [("{of: 2}", "ada"), ("{of: 1, reviewers: [zed]}", "nobody"), ("{role: external}", "nobody")],
)
@pytest.mark.parametrize("setting", ["resume", "approve.promote", "approve.unseal"])
def test_a_quorum_that_nobody_can_meet_is_refused_by_name(tmp_path, go, setting, quorum, right):
    keys.new_key("ada", "person", "correct horse")
    keys.new_key("ada2", "person", "correct horse", "ada")
    impossible = f"gates.{setting}={quorum}"
    with pytest.raises(BadInput, match=rf"gates\.{setting} is .*; {right} may vote"):
        go(config(tmp_path, *HUMAN, "study.name=u", impossible), FakeBox(better))
    with pytest.raises(NeedsHuman):
        go(config(tmp_path, *HUMAN), FakeBox(better))
    with pytest.raises(BadInput, match=rf"gates\.{setting} is .*; {right} may vote"):
        amend.amend(tmp_path / "runs" / "t", [impossible], "user carol", "")


def test_a_clock_that_jumped_is_named_and_lived_through_by_an_amendment(tmp_path, go, monkeypatch):
    keys.new_key("ada", "person", "correct horse")
    cfg, folder, box = config(tmp_path, *HUMAN), tmp_path / "runs" / "t", FakeBox(better)
    with pytest.raises(NeedsHuman):
        go(cfg, box)
    (old,) = waiting(cfg)

    class Ahead(datetime):
        @classmethod
        def now(cls, zone):
            return datetime.now(zone) + timedelta(days=400)

    with monkeypatch.context() as patch:
        patch.setattr(ledger, "datetime", Ahead)
        gate_of(cfg).ledger.append("note", {})
    refusal = approve(cfg, old, "recipe")
    assert "9600.0 h ahead of this machine's" in refusal and "--clock" in refusal
    with pytest.raises(Denied, match="h ahead of this machine's"):
        go(cfg, box)
    with pytest.raises(BadInput, match="changes nothing"):
        amend.amend(folder, [], "user carol", "")
    name = amend.amend(folder, [], "user carol", "the clock jumped", clock=True)
    assert not approve(cfg, name, "amend")
    assert amend.apply_amendment(folder, name) == 2
    assert "expired" in approve(cfg, old, "recipe") or "time" in approve(cfg, old, "recipe")
    with pytest.raises(NeedsHuman):
        go(cfg, box)
    (fresh,) = waiting(cfg)
    assert fresh != old and not approve(cfg, fresh, "recipe")
    with pytest.raises(NeedsHuman):
        go(cfg, box)
    assert champions(cfg) == [fresh] and box.ran
    times = [e.time for e in entries(cfg)]
    assert times == sorted(times)
    verify(folder)


@pytest.mark.parametrize(
    ("role", "name", "words"),
    [
        ("predict", "weights.safetensors", "its weights.safetensors is not what was recorded"),
        ("train", "data.safetensors", "its data.safetensors is not what was recorded"),
        ("predict", "questions.safetensors", "its questions.safetensors is not what was recorded"),
    ],
)
def test_a_job_with_bytes_of_another_plan_does_not_verify(tmp_path, ended, role, name, words):
    rows = entries(ended)
    starts = [e.body["job"] for e in rows if e.kind == "start" and e.body["job"]["role"] == role]
    job, other = starts[0], starts[-1]
    (given,) = [one for one in other["inputs"] if one["name"] == name]
    recorded = inputs.Recorded()
    for entry in rows:
        if entry.kind in inputs.NOTED:
            recorded.note(entry.fact)
    plans = gate_of(ended).memory.plans
    whole = parse(Job, job)
    assert not inputs.find_flaw(recorded, plans[whole.plan], whole, "")
    changed = tuple(parse(Input, given) if i.name == name else i for i in whole.inputs)
    flaw = inputs.find_flaw(recorded, plans[whole.plan], replace(whole, inputs=changed), "")
    assert words in flaw
    recorded.looks.clear()
    looked = inputs.find_flaw(recorded, plans[whole.plan], whole, "")
    assert (role == "predict") == ("without a look" in looked)
