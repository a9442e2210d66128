"""An agent of people's own: it runs for a generation in a box, and finds the notes that it left."""

import json

import pytest
from conftest import ROOT, on, real_box
from fakes import FakeBox, outcome
from studies import SMALL, better, config, entries, gate_of, mandate

from configs.errors import VerificationFailed
from loop.command.run import run_with_hydra
from loop.people.lines import list_lines
from loop.people.view import view_subject
from loop.propose import ask
from loop.verify.run import verify
from sandbox.box import tcp
from sandbox.store import Store

KEEPER = ROOT / "docs" / "examples" / "keeper_agent.py"
AGENT = ["study.arms=[agent]", "proposer=agent", f"proposer.file={KEEPER}"]
FAST = ["task=fast", "task.planned_cpu_us=100000", "task.train_items=500"]
WIDE = json.dumps({"hypothesis": "wider", "knobs": {"width": 96}}).encode()


def runs(*left):
    """A script of the fake box: the agent leaves these files, a generation after the other."""
    rest = list(left)

    def script(execution):
        return outcome(**rest.pop(0)) if execution.role == "agent" else None

    return script


def facts_of_kind(cfg, kind):
    return [e.body for e in entries(cfg) if e.kind == kind]


def shown(box):
    """The files of each generation's agent."""
    return [execution.files for execution in box.ran if execution.role == "agent"]


@pytest.mark.parametrize("kind", [on("namespace"), on("docker")])
def test_an_agent_in_a_box_reads_its_history_and_its_notes(tmp_path, go, kind):
    cfg = config(tmp_path, *AGENT, *FAST)
    mandate(cfg)
    box = real_box(kind)
    assert go(cfg, box)["finished"]
    run = tmp_path / "runs" / "t"
    store, plans = Store(run / "store"), [b["plan"] for b in facts_of_kind(cfg, "plan")]
    asked = [store.get_bundle(p["bundle"]) for p in plans if p["purpose"] == "propose"]
    assert "notes" not in asked[0] and len(json.loads(asked[1]["notes"])) == 2
    proposed = [tuple(p["changed"].items()) for p in plans if p["purpose"] == "candidate"]
    assert len(proposed) == len(set(proposed)) == 4  # its notes say what it has proposed
    assert verify(run)["jobs"] > 0


def test_notes_pass_from_one_generation_to_the_next_and_a_failed_one_keeps_them(tmp_path, go):
    cfg = config(tmp_path, *AGENT, "study.generations=4", "study.proposals=1")
    mandate(cfg)
    box = FakeBox(
        better,
        runs(
            {"files": {"proposals.jsonl": WIDE, "notes": b"one"}},
            {"status": "program"},
            {"files": {"proposals.jsonl": WIDE}},
            {"files": {"proposals.jsonl": WIDE, "notes": b"two"}},
        ),
    )
    assert go(cfg, box)["finished"]
    assert [files.get("notes") for files in shown(box)] == [None, b"one", b"one", b"one"]
    assert all(files["program"] == KEEPER.read_bytes() for files in shown(box))
    verify(tmp_path / "runs" / "t")


def test_the_notes_are_shown_at_the_gate_as_part_of_what_is_signed(tmp_path, go):
    cfg = config(tmp_path, *AGENT)
    mandate(cfg)
    left = {"files": {"proposals.jsonl": WIDE, "notes": b"try deeper nets"}}
    go(cfg, FakeBox(better, runs(left, left)))
    plans = [b for b in facts_of_kind(cfg, "plan") if b["plan"]["purpose"] == "propose"]
    gate = gate_of(cfg)
    view = view_subject(gate, gate.memory.subjects[plans[1]["digest"]])
    texts = [text for label, text in list_lines(view) if label == "changes"]
    assert any("+try deeper nets" in text for text in texts)


@pytest.mark.parametrize("wrong", [b"other notes", b""])
def test_verify_refuses_notes_that_no_agent_of_the_campaign_left(tmp_path, go, monkeypatch, wrong):
    cfg = config(tmp_path, *AGENT)
    mandate(cfg)
    real = ask._bundle_program

    def bundle(campaign, best):
        files = campaign.running.store.get_bundle(real(campaign, best))
        if "notes" in files:
            files = {**files, "notes": wrong} if wrong else {**files}
            if not wrong:
                del files["notes"]
        return campaign.store_bundle(files)

    monkeypatch.setattr(ask, "_bundle_program", bundle)
    left = {"files": {"proposals.jsonl": WIDE, "notes": b"mine"}}
    with pytest.raises(VerificationFailed, match="its notes are not those"):
        go(cfg, FakeBox(better, runs(left, left)))


def test_a_command_is_given_no_notes_and_may_hand_out_none(tmp_path, go):
    cfg = config(tmp_path, "study.arms=[command]", "proposer=command", f"proposer.file={KEEPER}")
    mandate(cfg)
    box = FakeBox(
        better, lambda e: outcome(files={"proposals.jsonl": WIDE}) if e.role == "propose" else None
    )
    go(cfg, box)
    asked = [e for e in box.ran if e.role == "propose"]
    assert asked and all("notes" not in e.files and "notes" not in e.outputs for e in asked)


def test_another_program_than_the_pinned_agent_is_not_run(tmp_path, go, monkeypatch):
    cfg = config(tmp_path, *AGENT)
    mandate(cfg)

    def bundle_another(campaign, best):
        files = campaign.running.store.get_bundle(best.plan.bundle)
        return campaign.store_bundle({**files, "program": b"print('another')"})

    monkeypatch.setattr(ask, "_bundle_program", bundle_another)
    box = FakeBox(better)
    go(cfg, box)
    assert not shown(box)
    assert any("does not name" in body["reason"] for body in facts_of_kind(cfg, "decision"))


@pytest.mark.parametrize(("version", "told"), [(3, 1), (4, 0)])
def test_a_kernel_without_rules_for_ports_is_told_in_a_line_and_in_the_report(
    tmp_path, go, capsys, monkeypatch, version, told
):
    monkeypatch.setattr(tcp, "landlock_version", lambda: version)
    asks = ["study.arms=[agent]", "proposer=agent-llm", "budget.tokens=500000"]
    settings = [*SMALL, f"runs={tmp_path}/runs", *asks, f"proposer.file={KEEPER}"]
    mandate(config(tmp_path, *asks, f"proposer.file={KEEPER}"))
    leaves = runs(*[{"files": {"proposals.jsonl": WIDE}}] * 9)
    go(settings, FakeBox(better, leaves), run_with_hydra)
    line = (
        "no TCP port leads to the door model, only its Unix socket: rules for ports need Landlock"
    )
    printed = "".join(capsys.readouterr()).splitlines()
    assert sum(line in text for text in printed) == told
    report = (tmp_path / "runs" / "t" / "report.html").read_text()
    assert (line in report) == bool(told)
