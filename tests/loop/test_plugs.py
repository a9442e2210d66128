"""Proposals from outside the loop's own programs: a program in a box, people, a recorded run; and
every proposer beside every other.
"""

import json

import pytest
from click.testing import CliRunner
from conftest import ROOT
from fakes import FakeBox, outcome, written
from studies import approve, better, config, entries, gate_of, mandate

from configs.arms import ARMS, KEEPING, REFERENCE, SELECTING, variant
from configs.build import strict_json
from configs.errors import BadInput, NeedsHuman, VerificationFailed
from loop.command import main
from loop.facts.places import SELECTING as SELECTED
from loop.people.lines import list_lines
from loop.people.view import view_subject
from loop.plan import source
from loop.propose import ask, by_hand
from loop.propose.table import PROPOSERS, proposer
from loop.verify.run import verify
from sandbox import gate as gates
from sandbox import keys
from sandbox.canonical import digest
from sandbox.decision import list_changes

NEIGHBOUR = ROOT / "docs" / "examples" / "neighbour_proposer.py"
COMMAND = ["study.arms=[command]", "proposer=command", f"proposer.file={NEIGHBOUR}"]
WIDE = {"hypothesis": "wider", "knobs": {"width": 96}}


def writes(*lines, status="ok"):
    """A script of the fake box: a propose job that gives out these lines."""

    def script(execution):
        if execution.role not in ("propose", "agent"):
            return None
        return outcome(
            status=status,
            files={"proposals.jsonl": "\n".join(lines).encode()} if status == "ok" else {},
        )

    return script


def text(**more):
    return json.dumps({**WIDE, **more})


def kinds(cfg, kind):
    return [e.body for e in entries(cfg) if e.kind == kind]


def candidates(cfg):
    return [b["plan"] for b in kinds(cfg, "plan") if b["plan"]["purpose"] == "candidate"]


# A program in a box.


def test_a_program_proposes_in_a_box_under_a_plan_of_its_own(tmp_path, go):
    cfg = config(tmp_path, *COMMAND)
    mandate(cfg)
    box = FakeBox(better, writes(text(), text(knobs={"depth": 3})))
    assert go(cfg, box)["finished"]
    asked = [e for e in box.ran if e.role == "propose"]
    assert len(asked) == 2 and all(e.files["program"] == NEIGHBOUR.read_bytes() for e in asked)
    assert {"job.json", "history.json", "program"} == set(asked[0].files) - set(
        source()
    )  # no weights, no data, no answers
    shown = strict_json(asked[1].files["history.json"])
    assert shown["count"] == 2 and b"\n" not in asked[1].files["history.json"]
    assert {t["outcome"] for t in shown["trials"]} <= {
        "first",
        "better",
        "not better",
    } and "gate" not in json.dumps(shown)
    plans = [b["plan"] for b in kinds(cfg, "plan") if b["plan"]["purpose"] == "propose"]
    assert [p["change_class"] for p in plans] == [
        "propose",
        "propose",
    ] and cfg.proposer.file_digest == digest(NEIGHBOUR.read_bytes())
    assert all(p["asked"] for p in candidates(cfg)) and verify(tmp_path / "runs" / "t")["jobs"] > 0


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        ([], "0 proposals were written"),
        ([text()], "1 proposals were written and number 2 was wanted"),
        (["not json", "{}"], "not strict JSON"),
        (
            ['{"hypothesis": "a", "hypothesis": "b", "knobs": {}}', text(knobs={"width": 7})],
            "stands twice",
        ),
        (
            [
                text(knobs={"learning_rate": "NaN"}),
                '{"hypothesis": "x", "knobs": {"learning_rate": NaN}}',
            ],
            "learning_rate",
        ),
        ([text(bogus=1), text(knobs={"magic": 1})], "unknown key bogus"),
        (["x" * 200_000, "\x00\ud800".encode("utf-8", "replace").decode()], "at most 65536"),
    ],
)
def test_bad_lines_are_recorded_invalid_proposals_and_the_study_ends(tmp_path, go, lines, reason):
    cfg = config(tmp_path, *COMMAND, "study.generations=1")
    mandate(cfg)
    assert go(cfg, FakeBox(better, writes(*lines)))["finished"]
    assert any(reason in b["reason"] for b in kinds(cfg, "invalid"))
    verify(tmp_path / "runs" / "t")


def test_a_program_that_fails_or_passes_its_limit_gives_invalid_proposals_and_is_charged(
    tmp_path, go
):
    for number, status in enumerate(("program", "limit")):
        cfg = config(tmp_path, *COMMAND, "study.generations=1", f"study.name=t{number}")
        mandate(cfg)
        result = go(cfg, FakeBox(better, writes(status=status)))
        assert (
            result["finished"]
            and all(b["reason"].startswith(status) for b in kinds(cfg, "invalid"))
            and len(kinds(cfg, "invalid")) == 2
        )
        assert result["accounts"]["propose"]["cpu_us"]["spent"] == 100_000


def test_another_program_than_the_pinned_one_is_not_run(tmp_path, go, monkeypatch):
    cfg = config(tmp_path, *COMMAND)
    mandate(cfg)

    def bundle_another(campaign, best):
        files = campaign.running.store.get_bundle(best.plan.bundle)
        return campaign.store_bundle({**files, "program": b"print('another')"})

    monkeypatch.setattr(ask, "_bundle_program", bundle_another)
    box = FakeBox(better, writes(text(), text()))
    go(cfg, box)
    reasons = [body["reason"] for body in kinds(cfg, "decision")]
    assert any("a program that the study does not name" in reason for reason in reasons)
    assert not [e for e in box.ran if e.role == "propose"]


@pytest.mark.parametrize("pinned", [True, False])
def test_a_mandate_s_drift_counts_what_the_loop_changed_and_not_the_program_that_the_study_pins(
    tmp_path, go, monkeypatch, pinned
):
    if not pinned:
        monkeypatch.setattr(
            gates.mandate,
            "list_changes",
            lambda store, one, other, _: list_changes(store, one, other),
        )
    cfg = config(tmp_path, *COMMAND, "gates.unattended.drift=4", "study.generations=3")
    mandate(cfg)
    if pinned:
        assert go(cfg, FakeBox(better, writes(text(), text(knobs={"depth": 3}))))["finished"]
        return
    with pytest.raises(NeedsHuman, match="has drifted 47 changes"):
        go(cfg, FakeBox(better, writes(text(), text(knobs={"depth": 3}))))


def test_a_program_that_changed_since_the_study_began_stops_it(tmp_path, go):
    path = tmp_path / "mine.sh"
    path.write_text("#!/bin/sh\necho '{}'\n")
    given = ["study.arms=[command]", "proposer=command", f"proposer.program={path}"]
    cfg = config(tmp_path, *given)
    mandate(cfg)
    go(cfg, FakeBox(better, writes(text(), text())))
    path.write_text("#!/bin/sh\necho '{ }'\n")
    with pytest.raises(
        VerificationFailed, match=r"proposer\.program .* changed since the study began"
    ):
        go(config(tmp_path, *given), FakeBox(better))


def test_people_see_the_program_before_it_is_asked(tmp_path, go):
    keys.new_key("ada", "person", "correct horse")
    cfg = config(tmp_path, *COMMAND, "autonomy=assisted", "gates=attended")
    with pytest.raises(NeedsHuman):
        go(cfg, FakeBox(better))
    assert not approve(cfg, gate_of(cfg).pending()[0].subject, "recipe")
    with pytest.raises(NeedsHuman, match="propose"):
        go(cfg, FakeBox(better))
    gate = gate_of(cfg)
    one = next(r for r in gate.pending() if r.change_class == "propose")
    told = list_lines(view_subject(gate, gate.memory.subjects[one.subject]))
    assert any(
        name == "changes" and value.startswith("program\n") and "+def neighbours(recipe):" in value
        for name, value in told
    )


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (
            ["study.arms=[command]", "proposer=command"],
            "arm command needs a setting; give proposer.program or proposer.file",
        ),
        (["study.arms=[replay]", "proposer=replay"], "proposer.replay"),
        (
            ["proposer=command", f"proposer.file={NEIGHBOUR}", f"proposer.program={NEIGHBOUR}"],
            "one of them",
        ),
        (["proposer=command", "proposer.program=/no/such"], "cannot be read"),
        (
            ["proposer=replay", "proposer.replay=/no/such", "proposer.replay_arm=local"],
            "no run|ledger",
        ),
    ],
)
def test_a_proposer_without_what_it_needs_is_refused_before_anything_runs(tmp_path, given, words):
    with pytest.raises((BadInput, VerificationFailed), match=words):
        config(tmp_path, *given)


# People.


def hand(tmp_path, cfg, body, *more):
    path = tmp_path / "proposal.json"
    path.write_text(body)
    return CliRunner().invoke(
        main.cli, ["propose", f"{cfg.runs}/{cfg.study.name}", str(path), *more]
    )


PEOPLE = ["study.arms=[human]", "proposer=human", "study.proposals=1"]


def test_the_loop_waits_for_people_and_goes_on_with_what_they_hand_in(tmp_path, go):
    cfg = config(tmp_path, *PEOPLE)
    mandate(cfg)
    for generation, body in ((1, text()), (2, text(knobs={"depth": 3}))):
        with pytest.raises(
            NeedsHuman,
            match=(
                f"waits for people's proposal 1 of 1 of generation {generation}; `heirloop propose"
            ),
        ):
            go(cfg, FakeBox(better))
        assert hand(tmp_path, cfg, body).exit_code == 0
    assert go(cfg, FakeBox(better))["finished"]
    assert [p["changed"] for p in candidates(cfg)] == [{"width": 96}, {"depth": 3}]
    said = kinds(cfg, "handed")
    assert [b["arm"] for b in said] == ["human", "human"] and all(
        b["who"].startswith("user ") and b["by"] for b in said
    )
    assert [p["proposal"] for p in candidates(cfg)] == [b["digest"] for b in said]
    verify(tmp_path / "runs" / "t")


def test_the_same_text_handed_in_twice_serves_twice(tmp_path, go):
    cfg = config(tmp_path, *PEOPLE)
    mandate(cfg)
    with pytest.raises(NeedsHuman):
        go(cfg, FakeBox(lambda order: 0.5))
    assert [hand(tmp_path, cfg, text()).exit_code for _ in range(2)] == [0, 0]
    assert isinstance(
        hand(tmp_path, cfg, text()).exception, BadInput
    )  # more than the campaign can use
    assert go(cfg, FakeBox(lambda order: 0.5))["finished"] and len(candidates(cfg)) == 2


@pytest.mark.parametrize(
    ("body", "more", "words"),
    [
        ("{", (), "strict JSON"),
        (text(knobs={}), (), "changes nothing"),
        (text(knobs={"magic": 1}), (), "magic"),
        (
            text(edits=[{"file": "models/train.py", "search": "no such text", "replace": ""}]),
            (),
            "occurs 0 times",
        ),
        (text(knobs={"depth": 3, "width": 96, "dropout": 0.1}), (), "at most 2 knobs and regions"),
        (text(basis="f" * 64), (), "which is no plan of this study"),
        (text(), ("--arm", "local"), "an arm in which people propose"),
        (text(), ("--repeat", "3"), "study.repeats"),
    ],
)
def test_what_cannot_become_a_plan_is_told_at_once_and_not_recorded(
    tmp_path, go, body, more, words
):
    cfg = config(tmp_path, *PEOPLE, "study.most_changes=2")
    mandate(cfg)
    with pytest.raises(NeedsHuman, match="A proposal makes at most 2 changes in all"):
        go(cfg, FakeBox(better))
    assert words in str(hand(tmp_path, cfg, body, *more).exception) and not kinds(cfg, "handed")


@pytest.mark.parametrize("asked", [True, False])
def test_who_hands_a_proposal_in_does_not_count_towards_its_quorum(
    tmp_path, go, asked, monkeypatch
):
    """With the ablation: where the gate forgets who handed it in, their own yes counts."""
    keys.new_key("ada", "person", "correct horse")
    keys.new_key("bob", "person", "correct horse")
    if not asked:
        monkeypatch.setattr(gates.quorum, "is_own_request", lambda *_: False)
    cfg = config(tmp_path, *PEOPLE, "autonomy=assisted", "gates=attended")
    with pytest.raises(NeedsHuman):
        go(cfg, FakeBox(better))
    approve(cfg, gate_of(cfg).pending()[0].subject, "recipe")
    with pytest.raises(NeedsHuman, match="waits for people's proposal"):
        go(cfg, FakeBox(better))
    by_hand.hand_in_proposal(
        tmp_path / "runs" / "t", text(), "human", 0, "ada (person, inbox)", "ada"
    )
    with pytest.raises(NeedsHuman):
        go(cfg, FakeBox(better))
    name = gate_of(cfg).pending()[0].subject
    assert gate_of(cfg).memory.subjects[name].by == "ada"
    approve(cfg, name, "recipe")
    with pytest.raises(NeedsHuman, match="has 0 of 1 decisions" if asked else "promote"):
        go(cfg, FakeBox(better))


# A recorded run.


def recorded(tmp_path, go, *more):
    cfg = config(tmp_path, "study.arms=[random]", "study.name=first", *more)
    mandate(cfg)
    go(cfg, FakeBox(better))
    return cfg


def again(tmp_path, *more):
    return [
        "study.arms=[replay]",
        "proposer=replay",
        f"proposer.replay={tmp_path}/runs/first",
        "proposer.replay_arm=random",
        *more,
    ]


def test_a_recorded_run_s_proposals_are_made_again(tmp_path, go):
    first = recorded(tmp_path, go)
    cfg = config(tmp_path, *again(tmp_path))
    mandate(cfg)
    assert go(cfg, FakeBox(better))["finished"]
    assert [p["proposal"] for p in candidates(cfg)] == [
        p["proposal"] for p in candidates(first)
    ] and len(candidates(cfg)) == 4
    verify(tmp_path / "runs" / "t")


def test_a_campaign_ends_with_one_recorded_line_when_the_record_is_used_up(tmp_path, go):
    recorded(tmp_path, go, "study.generations=1")
    cfg = config(tmp_path, *again(tmp_path, "study.generations=4"))
    mandate(cfg)
    assert go(cfg, FakeBox(better))["finished"]
    assert (
        len(candidates(cfg)) == 2
        and [b["arm"] for b in kinds(cfg, "used-up")] == ["replay"]
        and not kinds(cfg, "invalid")
    )
    assert (
        "recorded 2 proposals and none for repeat 0, generation 2"
        in kinds(cfg, "used-up")[0]["reason"]
    )
    assert (
        go(cfg, FakeBox(better))["finished"] and len(kinds(cfg, "used-up")) == 1
    )  # a resumed run adds nothing


def test_invalid_proposals_of_a_record_are_invalid_again(tmp_path, go, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setitem(
            PROPOSERS, "random", written(lambda view: "no json" if view.index else text())
        )
        recorded(tmp_path, go, "study.generations=1")
    cfg = config(tmp_path, *again(tmp_path, "study.generations=1"))
    mandate(cfg)
    assert go(cfg, FakeBox(better))["finished"]
    assert len(candidates(cfg)) == 1 and "strict JSON" in kinds(cfg, "invalid")[0]["reason"]


def test_a_record_that_grew_since_it_was_pinned_is_refused(tmp_path, go):
    first = recorded(tmp_path, go, "study.generations=1")
    cfg = config(tmp_path, *again(tmp_path))
    mandate(cfg)
    gate = gate_of(first)
    more = {
        "arm": "random",
        "repeat": 0,
        "generation": 2,
        "index": 0,
        "reason": "x",
        "proposal": gate.store.put(text().encode()),
    }
    gate.ledger.append("invalid", more)
    with pytest.raises(VerificationFailed, match="holds other proposals"):
        go(cfg, FakeBox(better))


# All of them.


def test_the_list_names_every_proposer_with_what_it_sees_and_costs():
    found = json.loads(CliRunner().invoke(main.cli, ["proposers", "--json"]).output)
    assert [row["proposer"] for row in found] == list(PROPOSERS) and all(
        row["sees"] and row["costs"] and row["where"] for row in found
    )
    assert {arm for row in found for arm in row["arm"].split(", ")} >= set(ARMS)
    shown = CliRunner().invoke(main.cli, ["proposers"]).output
    assert all(name in shown for name in PROPOSERS)


TOGETHER = [
    arm
    for arm in dict.fromkeys((*ARMS, *PROPOSERS))
    if proposer(arm).where != "outside" and arm not in ("notebook", "planted", "outside")
    if not variant(arm).programs and not variant(arm).spared and not variant(arm).stands
    if not variant(arm).line and not variant(arm).lacks
]
"""Every arm that needs no outside model (test_llm.py has that one), no planted world
(test_simulated.py), no archive of programs (test_programs.py), no faults (test_faults.py), no pause
(test_pause.py), no withdrawal (test_withdrawn.py) and no service (test_factory.py).
"""
ALONE = [[arm] if arm == "random" else [arm, "random"] for arm in TOGETHER]
STUDIES = [*ALONE, [arm for arm in TOGETHER if not arm.startswith("parallel_")]]
"""Each beside one other, and all in one study; several proposers at once need two proposals."""


@pytest.mark.parametrize("arms", STUDIES, ids="-".join)
def test_every_proposer_runs_beside_the_others(tmp_path, go, arms):
    more = [
        "study.generations=1",
        "study.proposals=1",
        f"study.arms=[{','.join(arms)}]",
        "study.confirm_replicates=8",
        "study.final_replicates=0",
        "budget.jobs=2000",
        "gates.unattended.jobs=2000",
        "reviewer=scripted",
    ]
    if "replay" in arms:
        recorded(tmp_path, go, "study.generations=1", "study.proposals=1")
        more += [f"+proposer.replay={tmp_path}/runs/first", "+proposer.replay_arm=random"]
    more += [f"+proposer.file={NEIGHBOUR}"] if {"command", *KEEPING} & set(arms) else []
    more += (
        ["task.notebook=true", "study.start_trials=16"]
        if any(variant(arm).proposer == "notebook" for arm in arms)
        else []
    )
    more += ["+proposer.script=[{depth: 3}]"] if "scripted" in arms else []
    more += ["study.references=[{depth: 3}]"] if REFERENCE in arms else []
    if set(SELECTING) & set(arms):
        more += ["study.skill_proposals=1", "study.skill_parents=1", "objective.minimum_effect=0.1"]
        more += ["objective.skill={every: 1, asks: 1}", "budget.looks.confirm=500"]
    if {name for name in arms if name.startswith("parallel_")}:
        more += ["study.proposals=2", "study.proposers=2"]
    cfg = config(tmp_path, *more)
    mandate(cfg)
    box = FakeBox(better, writes(text()))
    if "human" in arms:
        with pytest.raises(NeedsHuman):
            go(cfg, box)
        assert hand(tmp_path, cfg, text()).exit_code == 0
    assert go(cfg, box)["finished"]
    proposed = {p["arm"] for p in candidates(cfg)} | {b["arm"] for b in kinds(cfg, "invalid")}
    assert proposed == set(arms) - {REFERENCE}  # which measures a person's list
    # Looks at skill repeat the only recipe of this box, and stand after the trials.
    trials = [b for b in kinds(cfg, "invalid") if b["generation"] == 1 and b["index"] < SELECTED]
    assert {b["arm"] for b in trials} <= {
        "hostile",
        "more_proposals",
        "more_both",
    }  # the latter two ask for two and get one
    verify(tmp_path / "runs" / "t")
