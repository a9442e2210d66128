"""What people do from outside: deploy, roll back, recall, amend, resume with a quorum, tripwires,
the compute statement.
"""

import contextlib
import json
from dataclasses import fields, replace

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from fakes import FakeBox
from studies import (
    Cut,
    accept,
    approve,
    better,
    bodies,
    champions,
    config,
    gate_of,
    mandate,
    page_of,
    real_judge,
)

from configs.build import plain
from configs.errors import BadInput, BudgetExhausted, Denied, NeedsHuman, Stopped
from loop.facts.oversight import oversight
from loop.measure import confirm
from loop.people import acts, amend
from loop.report.incident import PARTS, export_incident
from loop.report.oversight import canaries, measures
from loop.study.running import Running
from loop.verify.run import verify
from sandbox import control, gate, incident, keys
from sandbox.canonical import digest
from sandbox.unsigned import new_mandate


@pytest.fixture
def done(tmp_path, go, monkeypatch, copied):
    """A finished study in which every generation accepts, and two people's keys; its configuration
    and folder.
    """
    monkeypatch.setattr(confirm, "judge", lambda *a, **k: accept(real_judge(*a, **k)))

    def make(folder):
        keys.new_key("ada", "person", "correct horse")
        keys.new_key("bob", "person", "correct horse")
        cfg = config(folder, "study.generations=3")
        mandate(cfg)
        go(cfg, FakeBox(better))

    copied(make)
    return config(tmp_path, "study.generations=3"), tmp_path / "runs" / "t"


def test_a_champion_is_deployed_by_a_decision_of_its_own_and_rolled_back_by_another(done):
    cfg, folder = done
    with pytest.raises(NeedsHuman, match="--as deploy"):
        acts.deploy(folder)
    assert not (folder / "deployed").exists()
    with pytest.raises(BadInput, match="no earlier deployment"):
        acts.rollback(folder)
    (asked,) = gate_of(cfg).pending()
    first, second = asked.subject, next(n for n in champions(cfg) if n != asked.subject)
    assert not approve(cfg, first, "deploy")
    found = acts.deploy(folder)
    card = json.loads((folder / "deployed" / "card.json").read_bytes())
    assert card["plan"] == first and found.kind == "person"
    assert digest((folder / "deployed" / "weights.safetensors").read_bytes()) == card["weights"]
    with pytest.raises(NeedsHuman):  # used up
        acts.deploy(folder)
    assert not approve(cfg, second, "deploy")
    acts.deploy(folder, second)
    with pytest.raises(NeedsHuman):
        acts.rollback(folder)
    assert not approve(cfg, first, "deploy")
    assert acts.rollback(folder).plan == first and len(bodies(cfg, "deploy")) == 3
    verify(folder)


def test_a_kill_leaves_no_decision_without_its_deployment_and_a_repeat_places_the_files(
    done, monkeypatch
):
    cfg, folder = done
    name = champions(cfg)[-1]
    assert not approve(cfg, name, "deploy")
    for place in ("_write_card", "_replace_files"):
        with monkeypatch.context() as patch, pytest.raises(Cut):
            patch.setattr(acts, place, cut)
            acts.deploy(folder, name)
        used = [d for d in bodies(cfg) if d["class"] == "deploy"]
        assert len(used) == len(bodies(cfg, "deploy")) == (place == "_replace_files")
    assert not (folder / "deployed" / "card.json").exists()
    assert acts.deploy(folder, name).kind == "person" and len(bodies(cfg, "deploy")) == 1
    assert json.loads((folder / "deployed" / "card.json").read_bytes())["plan"] == name
    with pytest.raises(NeedsHuman):  # used up
        acts.deploy(folder, name)
    verify(folder)


def cut(*_):
    raise Cut


@pytest.mark.parametrize("name, offered", [("t-other", True), ("t-short-0123456789abcdef", False)])
def test_a_mandate_of_a_study_with_a_longer_name_is_not_offered(tmp_path, go, name, offered):
    cfg = config(tmp_path, "study.generations=1")
    mandate(cfg)
    (keys.home() / "mandates" / f"{name}.json").write_bytes(b"{}")
    assert go(cfg, FakeBox(better))["finished"]
    assert len(bodies(cfg, "incident")) == offered


def test_no_mandate_covers_deployment(done):
    cfg, folder = done
    with pytest.raises(BadInput, match="classes"):
        replace(cfg.gates.unattended, classes=("deploy",))
    with pytest.raises(BadInput, match="no champion"):
        acts.deploy(folder, "0" * 64)


@pytest.mark.parametrize("enforced", [True, False])
def test_a_recalled_successor_and_its_descendants_are_neither_parent_nor_champion(
    done, go, monkeypatch, enforced
):
    """U10, with its ablation."""
    cfg, folder = done
    second = champions(cfg)[1]
    with pytest.raises(BadInput, match="not the baseline"):
        acts.recall(folder, champions(cfg)[0], "ada", "x")
    found = acts.recall(folder, second, "ada", "it cheats")
    facts = gate_of(cfg)
    assert set(champions(cfg)[1:]) <= set(found) and facts.memory.recalled == set(found)
    last = champions(cfg)[-1]
    if not enforced:
        real = gate.fold.fold
        monkeypatch.setattr(
            gate.fold,
            "fold",
            lambda memory, entry: None if entry.kind == "recall" else real(memory, entry),
        )
        assert gate_of(cfg).authority(last, "promote")
        return
    with pytest.raises(BadInput, match="no champion"):
        acts.deploy(folder, last)
    with pytest.raises(Denied, match="quarantined"):
        facts.authority(last, "promote")
    assert [i["title"] for i in bodies(cfg, "incident")] == ["recalled by a person: it cheats"]
    verify(folder)


def test_an_amendment_needs_its_own_decision_opens_a_version_and_ends_old_grants_and_mandates(
    tmp_path, go
):
    keys.new_key("ada", "person", "correct horse")
    cfg = config(tmp_path, "gates.unattended.jobs=9")
    folder = tmp_path / "runs" / "t"
    mandate(cfg)
    with pytest.raises(BudgetExhausted):
        go(cfg, FakeBox(better))
    for bad in ("study.generations=9", "budget.jobs", "task.digits=2"):
        with pytest.raises(BadInput, match="under objective"):
            amend.amend(folder, [bad], "ada", "")
    with pytest.raises(BadInput, match="changes nothing"):
        amend.amend(folder, [f"budget.jobs={cfg.budget.jobs}"], "ada", "")
    name = amend.amend(
        folder, ["gates.unattended.jobs=200", "budget.jobs=300"], "user bob", "more room"
    )
    with pytest.raises(NeedsHuman, match="--as amend"):
        amend.apply_amendment(folder, name)
    assert not approve(cfg, name, "amend")
    assert amend.apply_amendment(folder, name) == 2
    old = gate_of(cfg)
    assert old.memory.rules.version == 2 and old.memory.rules.config.budget.jobs == 300
    with pytest.raises(NeedsHuman, match="mandate"):  # the old one died
        go(cfg, FakeBox(better))
    made = json.loads(json.dumps(bodies(cfg, "mandate")[0]["mandate"]))
    assert old.admit(
        keys.sign(
            {**made, "config": old.memory.rules.decided},
            keys.open_key("ada", "correct horse"),
            "mandate",
        ),
        "mandate",
    )
    (keys.home() / "mandates" / "t-x.json").unlink()
    key = Ed25519PrivateKey.generate()
    most = old.memory.rules.config.gates.unattended
    fresh = new_mandate(
        old.memory.rules.config, most, "unattended", "unattended", keys.public_hex(key), version=2
    )
    (keys.home() / "mandates" / "t-y.json").write_bytes(keys.sign(plain(fresh), key, "mandate"))
    result = go(cfg, FakeBox(better))
    assert result["finished"] and result["accounts"]["root"]["jobs"]["limit"] == 300
    verify(folder)


def test_resume_needs_the_reviewers_that_the_study_names(done):
    cfg, folder = done
    with pytest.raises(BadInput, match="nothing to resume"):
        acts.resume(folder, "ada")
    control.order(gate_of(cfg).ledger, "pause", "ada", "lunch")
    with pytest.raises(NeedsHuman, match="--as resume"):
        acts.resume(folder, "ada")
    halted = gate_of(cfg).memory.halted
    assert not approve(cfg, halted, "resume")
    assert len(acts.resume(folder, "ada")) == 1 and gate_of(cfg).memory.halt == ""
    control.order(gate_of(cfg).ledger, "stop", "ada", "again")
    with pytest.raises(NeedsHuman):  # yesterday's yes is for yesterday's stop
        acts.resume(folder, "ada")


def test_a_drill_lifts_nothing_that_people_hold_and_an_older_yes_does_not_lift_a_newer_stop(
    done, monkeypatch
):
    cfg, folder = done
    control.order(gate_of(cfg).ledger, "pause", "tripwire", "odd")
    monkeypatch.setattr(control, "holder", lambda _: 1)
    with pytest.raises(Stopped, match="held or slowed"):
        control.drill(folder, "ada")
    assert gate_of(cfg).memory.halt == "pause"
    book = gate_of(cfg).ledger
    control.order(book, "drill", "mallory", "")
    control.order(book, "drill-end", "mallory", "")
    assert gate_of(cfg).memory.halt == "pause"  # also where it stands in the record
    control.order(book, "stop", "ada", "one")
    assert not approve(cfg, gate_of(cfg).memory.halted, "resume")
    control.order(book, "stop", "bob", "two")
    with pytest.raises(NeedsHuman, match="--as resume"):
        acts.resume(folder, "ada")
    assert gate_of(cfg).memory.halt == "stop"


WIRES = {
    "spent_share=0.01": "of the CPU-seconds are spent",
    "incidents=1": "1 incidents",
    "accepted_per_hour=1": "1 successors accepted",
    "score_jump=0.1": "rose by",
}


@pytest.mark.parametrize("wire", [*WIRES, ""])
def test_a_tripwire_pauses_by_itself_and_opens_an_incident(tmp_path, go, monkeypatch, wire):
    monkeypatch.setattr(confirm, "judge", lambda *a, **k: accept(real_judge(*a, **k)))
    cfg = config(
        tmp_path,
        "study.generations=6",
        "study.proposals=3",
        *([f"gates.tripwires.{wire}"] if wire else []),
    )
    mandate(cfg)
    if wire == "incidents=1":
        (keys.home() / "mandates" / "t-bad.json").write_bytes(b"{}")
    if not wire:
        assert go(cfg, FakeBox(better))["finished"]
        return
    with pytest.raises(Stopped, match="halted"):
        go(cfg, FakeBox(better))
    paused = [c for c in bodies(cfg, "control") if c["who"] == "tripwire"]
    assert len(paused) == 1 and WIRES[wire] in paused[0]["why"]
    assert bodies(cfg, "incident")[-1]["detector"] == "tripwire"
    ran = len(bodies(cfg, "start"))
    with pytest.raises(Stopped):
        go(cfg, FakeBox(better))
    assert len(bodies(cfg, "start")) == ran
    acts.resume(tmp_path / "runs" / "t", "ada")
    with contextlib.suppress(Stopped):
        go(cfg, FakeBox(better))
    assert len(bodies(cfg, "start")) > ran  # it does not trip again on what people have seen


@pytest.mark.parametrize("metric", ["nll", "exact_match"])
def test_a_jump_is_of_the_objective_s_metric_in_its_direction(tmp_path, go, metric):
    """Exact match rises by at most 0.85 here, and nats per token fall by more than 0.9."""
    direction = {"nll": "down", "exact_match": "up"}[metric]
    cfg = config(
        tmp_path,
        "study.generations=3",
        "study.proposals=3",
        f"objective.metric={metric}",
        f"objective.direction={direction}",
        "objective.deviation=0.3",
        "gates.tripwires.score_jump=0.9",
    )
    mandate(cfg)
    if metric == "exact_match":
        assert go(cfg, FakeBox(better))["finished"]
        return
    with pytest.raises(Stopped, match="halted"):
        go(cfg, FakeBox(better))
    assert "rose by" in bodies(cfg, "control")[-1]["why"]


def test_a_slowed_study_starts_no_more_than_it_may(tmp_path, go):
    cfg = config(tmp_path)
    mandate(cfg)
    book = []

    def order(execution):
        if not book:
            book.append(1)
            control.order(gate_of(cfg).ledger, "slow", "ada", "", per_hour=4)
        return None

    with pytest.MonkeyPatch.context() as patch, pytest.raises(Stopped, match="slowed to 4"):
        patch.setattr(Running, "wait", lambda _, held: (_ for _ in ()).throw(held))
        go(cfg, FakeBox(better, order))
    assert len(bodies(cfg, "start")) == 4


def test_the_summary_says_what_oversight_cost_and_caught(tmp_path, go):
    fatigue = [
        "reviewer=fatigue",
        "reviewer.hit_rate=1",
        "reviewer.decay=0",
        "reviewer.false_alarm_rate=0",
        "gates.canaries=1",
    ]
    cfg = config(tmp_path, "autonomy=assisted", "gates=attended", *fatigue)
    found = go(cfg, FakeBox(better))["oversight"]
    assert (
        found["signed"] == found["simulated"] > 0
        and found["human"] == 0
        and found["human_minutes"] == 0
    )
    assert (
        found["by_class"]["recipe"]["approval"] > 0
        and found["share_by_mandate"] == found["share_unattended"] == 0
    )
    seen = found["canaries"]
    assert (
        seen["hits"] == seen["passes"] > 0
        and seen["misses"] == seen["false_alarms"] == 0
        and seen["d_prime"][0] > 1
    )
    assert seen["declared"] == 1 and found["drills_ms"] == []
    assert (
        found["by_class"]["recipe"]["simulated"] == found["by_class"]["recipe"]["approval"]
        and found["by_class"]["recipe"]["person"] == 0
    )
    assert len(found["decisions"]) == found["signed"] and set(found["decisions"][0]) == {
        "plan",
        "class",
        "answer",
        "reviewer",
        "kind",
        "asked",
        "seen",
        "decided",
        "looked_ms",
    }
    page = page_of(tmp_path / "runs" / "t")
    for words in (
        "<h3>Oversight</h3>",
        "human minutes",
        "queue delay",
        "unattended mandate",
        "misses",
        "false blocks",
        "criterion (95 %)",
        "drills",
    ):
        assert words in page, words
    assert (
        f"{seen['d_prime'][0]:.2f} ({seen['d_prime'][1]:.2f} to {seen['d_prime'][2]:.2f})" in page
        and "miss share" not in page
    )


def test_the_report_says_how_long_people_took_and_never_shows_misses_without_false_blocks(
    done, tmp_path
):
    cfg, folder = done
    with pytest.raises(NeedsHuman):
        acts.deploy(folder)
    assert not approve(cfg, champions(cfg)[-1], "deploy", changes={"looked_ms": 90_000})
    book = gate_of(cfg).ledger
    told = dict(measures(oversight(book.entries())))
    assert told["human minutes"] == "1.5" and "no person decided" not in told.values()
    assert (
        "declared no canaries" in told["canaries"]
        and canaries(oversight(book.entries())["canaries"]) == []
    )
    keys.home().joinpath("secrets").rename(tmp_path / "away")
    assert (
        "only where the study secret is at hand"
        in dict(measures(oversight(book.entries())))["canaries"]
    )


def test_an_incident_is_exported_as_json_and_as_a_page_that_escapes_everything(done, tmp_path):
    cfg, folder = done
    acts.recall(folder, champions(cfg)[1], "ada", "<script>alert(1)</script>\x1b[2J")
    assert "no harm occurred" in export_incident(folder, "I-1")[1]
    incident.amend(
        gate_of(cfg).ledger,
        "I-1",
        {"root_cause": "<b>a</b>\u202e bug\nin two lines", "harm_actual": "death"},
        "<i>bob",
    )
    data, page = export_incident(folder, "I-1")
    told = json.loads(data)
    assert [v["root_cause"] for v in told["versions"]] == [
        "",
        "<b>a</b>\u202e bug\nin two lines",
    ] and told["chain"][0]["kind"] == "recall"
    for raw in ("<script>", "<b>a", "<i>bob", "\x1b", "\u202e"):
        assert raw not in page
    assert (
        "&lt;script&gt;" in page
        and "⟨U+001B⟩" in page
        and "&lt;b&gt;a&lt;/b&gt;⟨U+202E⟩ bug\nin two lines" in page
    )
    assert (
        f"due by <b>{told['versions'][1]['notification_due_at']}" in page
        and "version 2<br>&lt;i&gt;bob" in page
    )
    shown = [f.name for f in fields(incident.Incident)]
    assert sorted(f for part in PARTS.values() for f in part) == sorted(
        set(shown) - {"id"}
    )  # no field is left out
    with pytest.raises(BadInput, match="I-9"):
        export_incident(folder, "I-9")
