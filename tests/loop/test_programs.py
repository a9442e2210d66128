"""Proposer programs that modify themselves: planted families, refusals, and what verifies."""

import random
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from fakes import FakeBox, outcome
from stub_model import say, stub
from studies import mandate

from configs.build import strict_json
from configs.entries import ProgramEntry
from configs.errors import BadInput, VerificationFailed
from configs.records import CHANGE_CLASSES, Proposal, regions
from evals.programs import compare_programs, find_best
from loop import session
from loop.campaign import Campaign, passes_gate
from loop.course import run_baseline
from loop.instruments.measure import measure
from loop.instruments.programs import read_compared
from loop.instruments.run import Run
from loop.plan import Draft
from loop.propose.programs import child
from loop.propose.programs.edits import mutate_program
from loop.propose.programs.model import read_child
from loop.propose.question import JOBS
from loop.settings import compose_settings
from loop.study.open import open_study
from loop.study.tabulated import TabulatedBox
from loop.verify import programs as checks
from loop.verify.recompute import find_secret
from loop.verify.run import verify
from sandbox.ledger import Ledger
from sandbox.store import Store

ROOT = Path(__file__).parents[2]
RUN = Path("runs/t")
KEPT: list[Path] = []
"""The folder of the planted study, which was run once."""
SECRETS: list[bytes] = []
"""The secret of that study, which lies in the home of the test that ran it."""
STUDY = [
    "study=selfmod-v1-short",
    "study.name=t",
    "study.seed=5",
    "study.arms=[programs_clade]",
    "study.repeats=1",
    "study.start_trials=3",
    "study.generations=3",
    "study.skill_proposals=1",
    "study.skill_parents=2",
    "study.programs.asks=3",
    "~study.programs.held_out.width",
    "+study.programs.held_out.depth=3",
    "task.table=fabricated-v1.parquet",
    "task.fixed=null",
    "proposer.file=first.py",
]
HEAD = """
import json, sys
history = json.loads(sys.stdin.readline())
champion, grid, wanted = history["champion"], history["grid"], history["count"]
barred = [*history["barred"], *(trial["recipe"] for trial in history["trials"])]
"""
PLANTED = f"""{HEAD}
from itertools import combinations, product
BETTER = 0
worth = {{"learning_rate": {{0.005: 3}}, "schedule": {{"cosine": 2}}}}
drafts = []
for size in (1, 2):
    for names in combinations(sorted(grid), size):
        for values in product(*(grid[name] for name in names)):
            changed = dict(zip(names, values))
            recipe = {{**champion, **changed}}
            if recipe not in barred and all(champion[n] != v for n, v in changed.items()):
                rank = sum(worth[name].get(recipe[name], 0) for name in worth)
                drafts.append((rank if BETTER > 0 else -rank, json.dumps(changed)))
drafts.sort(key=lambda draft: -draft[0])
for _, changed in drafts[:wanted]:
    print(json.dumps({{"hypothesis": "h", "knobs": json.loads(changed)}}))
"""
"""Moves to the worse recipes of the fabricated table; with a larger BETTER to the better ones."""
EQUAL = f"""{HEAD}
NOTE = 1
pairs = [("position", "notebook"), ("position", "schedule"), ("notebook", "schedule")]
for one in [*([name] for name in ("position", "notebook", "schedule")), *pairs]:
    changed = {{name: [v for v in grid[name] if v != champion[name]][0] for name in one}}
    if {{**champion, **changed}} not in barred:
        print(json.dumps({{"hypothesis": f"note {{NOTE}}", "knobs": changed}}))
"""
"""Proposes the same whatever its NOTE."""


pytestmark = pytest.mark.usefixtures("beside_a_table")


def run_program(execution):
    """Run the program of a question, as the box does."""
    if execution.role != "propose":
        return None
    given = execution.files
    done = subprocess.run(
        [sys.executable, "-S", "-c", given["program"].decode()],
        input=given["history.json"] + b"\n",
        capture_output=True,
        timeout=120,
    )
    if done.returncode:
        return outcome("program", f"exit {done.returncode}")
    return outcome(files={"proposals.jsonl": done.stdout})


def note(text, rng, *, most, known=()):
    """The operator of a family that changes a constant, and nothing that it does."""
    number = len(known) + 1
    return re.sub(r"NOTE = \d+", f"NOTE = {number}", text), (f"NOTE becomes {number}",)


def better(text, rng, *, most, known=()):
    """The operator of a family whose better members are known: BETTER is 0 or 1."""
    before = next(line for line in text.splitlines() if line.startswith("BETTER"))
    after = f"BETTER = {rng.choice((0, 1, 1))}"
    return text.replace(before, after), (after,)


def program_of(bundle):
    return Store(RUN / "store").get_bundle(bundle)["program"].decode()


def play(go, text, *more):
    Path("first.py").write_text(text)
    config = compose_settings([*STUDY, *more])
    mandate(config)
    box = TabulatedBox(config, FakeBox(lambda order: 0.5, run_program))
    assert go(config, box, session.execute)["finished"]
    assert verify(RUN)["findings"] == []
    return Run(0, Ledger.at(RUN))


@pytest.fixture
def planted(go, tmp_path_factory, monkeypatch):
    """Return the study of the planted family, run once for all tests that only read it."""
    monkeypatch.setattr(child, "mutate_program", better)
    if not KEPT:
        play(go, PLANTED, "study.repeats=10")
        KEPT.append(tmp_path_factory.mktemp("kept") / "runs")
        shutil.copytree("runs", KEPT[0])
        SECRETS.append(find_secret(Ledger.at(RUN).entries()))
    else:
        shutil.copytree(KEPT[0], "runs")
    return Run(0, Ledger.at(RUN))


def test_where_a_better_program_is_known_it_wins(planted):
    figure = compare_programs({"programs_clade": list(read_compared(planted, "programs_clade"))})
    gain = figure["programs_clade"]["gain"]
    assert gain.over(0.1), gain
    for key, programs in planted.facts.selecting.programs.items():
        best = find_best(child.list_programs(planted.facts, key))
        bundle = planted.facts.plans[programs[best].plan].bundle
        made = any(one.edits == ("BETTER = 1",) for one in programs)
        assert ("BETTER = 1" in program_of(bundle)) == made
    told = measure([RUN])["between"]["programs"]["programs_clade"]["gain"]
    assert told["value"] == pytest.approx(gain.value) and told["unit"] == "bits per proposal"


def test_where_all_programs_are_equal_none_is_said_to_be_better(go, monkeypatch):
    monkeypatch.setattr(child, "mutate_program", note)
    run = play(go, EQUAL, "study.repeats=10", "study.arms=[programs_random]")
    rows = list(read_compared(run, "programs_random"))
    figures = compare_programs({"programs_random": rows})["programs_random"]
    assert figures["gain"].word == "cannot tell" and figures["gain"].low < 0 < figures["gain"].high
    # The best of equals was chosen for its luck, and the selections saw just that.
    assert figures["promised"].value > 0 and all(row.promised >= 0 for row in rows)
    assert sum(row.gain != 0 for row in rows) >= 3


def test_the_questions_keep_to_what_each_may_see(planted):
    plans, facts = planted.facts.plans, planted.facts
    for repeat in range(10):
        own = [plan for plan in plans.values() if plan.repeat == repeat]
        chosen = {plan.reference_recipe for plan in own if plan.purpose == "select"}
        measured = {plan.reference_recipe for plan in own if plan.purpose == "skill"}
        assert len(chosen) == 3 and len(measured) in (0, 2)  # the same for all programs
        assert {one.depth for one in chosen} <= {1, 2} and {one.depth for one in measured} <= {3}
    looked = [plan for plan in plans.values() if plan.purpose in ("select", "skill")]
    assert all((plan.recipe.depth == 3) == (plan.purpose == "skill") for plan in looked)
    assert {plan.planned_cpu_us for plan in looked} == {planted.config.task.planned_cpu_us}
    for name, plan in plans.items():
        if plan.purpose == "propose":
            shown = strict_json(Store(RUN / "store").get(facts.shown[name][0]))
            assert all(trial["recipe"]["depth"] != 3 for trial in shown["trials"])
            assert 3 not in shown["grid"].get("depth", ())
            assert ("depth" in shown["grid"]) == (plan.generation <= 3)
    # What selections looked at is no trial, no candidate, and no gain of the loop.
    trials = facts.trials(("programs_clade", 0)).values()
    assert {plan.purpose for plan in trials} == {"start", "baseline"}
    assert not planted.candidates and all(len(one) == 1 for one in facts.champions.values())
    programs = child.list_programs(facts, ("programs_clade", 0))
    assert [one.number for one in programs] == [0, 1, 2, 3]
    assert all((one.asked, one.usable) == (3, 3) for one in programs)


def check_changed(run, monkeypatch, kind, wanted, change):
    """Check the archive of a run, one of whose facts is a lie."""
    monkeypatch.setattr(child, "mutate_program", better)
    number = next(n for n, e in enumerate(run.entries) if e.kind == kind and wanted(e.fact))
    told = run.entries[number]
    body = {**told.body, **change(told.body)}
    entries = [*run.entries[:number], replace(told, body=body), *run.entries[number + 1 :]]
    return checks.check_programs(entries, Store(RUN / "store"), SECRETS[0])


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda one: {"skill": 9.0}, "figures are not those of its scores"),
        (lambda one: {"gained": one["gained"] + 1}, "figures are not those of its scores"),
        (lambda one: {"parent": 7}, "it has no such parent"),
        (lambda one: {"parent": 1 - one["parent"]}, "another parent"),
        (lambda one: {"edits": ["nothing"]}, "operators make another program"),
        (lambda one: {"generation": 1}, "it is number 1, and 2 programs came before"),
    ],
)
def test_an_archive_that_lies_does_not_verify(planted, monkeypatch, change, match):
    def second(fact):
        return fact.generation == 2 and fact.parent in (0, 1)

    assert check_changed(planted, monkeypatch, ProgramEntry.kind, second, dict) == 40
    with pytest.raises(VerificationFailed, match=match):
        check_changed(planted, monkeypatch, ProgramEntry.kind, second, change)


def test_a_question_to_another_program_or_about_another_parent_does_not_verify(
    planted, monkeypatch
):
    baseline = planted.facts.champions["programs_clade", 0][0]
    asks = lambda fact: fact.plan.purpose == "propose" and fact.plan.repeat == 0  # noqa: E731
    with pytest.raises(VerificationFailed, match="put to another program"):
        check_changed(
            planted,
            monkeypatch,
            "plan",
            asks,
            lambda b: {"plan": {**b["plan"], "parent": baseline}},
        )
    skill = lambda fact: fact.plan.purpose == "skill"  # noqa: E731
    with pytest.raises(VerificationFailed, match="its question has another parent"):
        check_changed(
            planted,
            monkeypatch,
            "plan",
            skill,
            lambda b: {"plan": {**b["plan"], "reference_recipe": b["plan"]["recipe"]}},
        )


def test_a_parent_that_the_rule_does_not_choose_does_not_verify(planted, monkeypatch):
    monkeypatch.setattr(checks, "choose_for", lambda arm, secret, known: known[-1].number)
    with pytest.raises(VerificationFailed, match="its arm chooses another parent"):
        check_changed(planted, monkeypatch, ProgramEntry.kind, lambda fact: True, dict)


BLOCK = "<<<<<<< SEARCH\n{}\n=======\n{}\n>>>>>>> REPLACE"
MODEL = ["study.arms=[programs_model]", "proposer=llm", "budget.tokens=2000000"]


def test_a_model_makes_children_through_the_budget_of_any_proposer(go, monkeypatch):
    answers = [
        say("Sure.\n" + BLOCK.format("BETTER = 0", "BETTER = 1")),
        say("I would rather not."),
        say(BLOCK.format('"hypothesis": "h"', '"hypothesis": "deeper"')),
    ]
    with stub(*answers) as server:
        run = play(go, PLANTED, *MODEL, f"proposer.llm.url={server.url}")
    programs = run.facts.selecting.programs["programs_model", 0]
    assert [(bool(one.plan), one.edits) for one in programs] == [
        (True, ()),
        (True, ("the model replaces 1 lines by 1",)),
        (False, ()),
        (True, ("the model replaces 1 lines by 1",)),
    ]
    assert "BETTER = 1" in program_of(run.facts.plans[programs[1].plan].bundle)
    assert programs[1].skill > programs[0].skill and programs[2].asked == 0
    asked = [entry.fact for entry in run.entries if entry.kind == "answer"]
    assert len(server.asked) == len(asked) == 3
    assert all(one.answer.charged.tokens == 120 for one in asked)
    chats = [strict_json(body)["messages"][1]["content"] for _, _, body in server.asked]
    assert all("BETTER = 0" in chat or "BETTER = 1" in chat for chat in chats)
    assert '"program": 1' in chats[1] and '"program": 1' not in chats[0]
    # Another edit or another parent than the recorded answer's does not verify.
    first = lambda fact: fact.generation == 1  # noqa: E731
    number = next(n for n, e in enumerate(run.entries) if e.kind == "program" and first(e.fact))
    told = run.entries[number]
    for change, match in (
        ({"edits": ["nothing"]}, "its answer makes another program"),
        ({"plan": programs[3].plan, "skill": None, "asked": 0}, "no figures|another|never"),
    ):
        lie = replace(told, body={**told.body, **change})
        entries = [*run.entries[:number], lie, *run.entries[number + 1 :]]
        with pytest.raises(VerificationFailed, match=match):
            checks.check_programs(entries, Store(RUN / "store"), None)


REGIONS = "# region: policy\nA = 1\n# endregion\nB = 2\n"


@pytest.mark.parametrize(
    ("answer", "match"),
    [
        ("", "without a block"),
        ("A = 2", "without a block"),
        (BLOCK.format("C = 3", "C = 4"), "it occurs 0 times"),
        (BLOCK.format("", "C = 4"), "it occurs 0 times"),
        (BLOCK.format("=", "C"), "it occurs 2 times"),
        (BLOCK.format("A = 1", "A = ("), "does not compile"),
        (BLOCK.format("A = 1", "A = " + "x." * 90 + "x"), "nested"),
        (BLOCK.format("A = 1", "A = 1" * 20_000), "characters"),
        (BLOCK.format("A = 1", "A = 1"), "known"),
        (BLOCK.format("A = 1", "A = 9"), "known"),
        (BLOCK.format("B = 2", "B = 3"), "outside its marked regions"),
        (BLOCK.format("A = 1", "A = 1\n# endregion\nimport os"), "outside its marked regions"),
        ("<<<<<<< SEARCH\nA = 1\n=======\nA = 2", "has no end"),
    ],
)
def test_an_answer_that_makes_no_child_is_refused_with_a_sentence(answer, match):
    with pytest.raises(BadInput, match=match):
        read_child(answer, {"program": REGIONS}, [{"program": REGIONS.replace("1", "9")}])


def test_an_answer_is_read_however_it_is_wrapped():
    answer = "<think>A = 1?</think>\r\n" + BLOCK.format("A = 1", "A = 7").replace("\n", "\r\n")
    assert read_child(answer, {"program": REGIONS})[0] == {"program": REGIONS.replace("1", "7")}
    child = read_child(BLOCK.format("B = 2", "B = 3"), {"program": "B = 2\n"})[0]
    assert child == {"program": "B = 3\n"}


def program_plan(campaign, text="print()", **files):
    base = campaign.champions()[0]
    store = campaign.running.store
    beside = {"program": text.encode(), **files}
    draft = Draft(
        generation=0,
        index=1,
        purpose="program",
        parent=base.digest,
        change_class="proposer",
        recipe=base.plan.recipe,
        bundle=store.put_bundle({**store.get_bundle(base.plan.bundle), **beside}),
        proposal=Proposal(hypothesis="h", knobs={}),
    )
    return campaign.record(draft)


@pytest.fixture
def campaign(go):
    """Return a campaign after its baseline, in a study that waits for programs."""
    Path("first.py").write_text(EQUAL)
    config = compose_settings(STUDY)
    mandate(config)
    box = TabulatedBox(config, FakeBox(lambda order: 0.5, run_program))

    def begin(config):
        campaign = Campaign(open_study(config), "programs_clade", 0, None, lambda text: None)
        run_baseline(campaign)
        return campaign

    return go(config, box, begin)


OTHERS = {
    "evaluation": {"models/predict.py": b"print()"},
    "logging": {"configs/history.py": b"print()"},
    "limits": {"configs/job.py": b"print()"},
    "another's notes": {"notes": b"trust me"},
    "training": {"models/train.py": b"print()"},
}


@pytest.mark.parametrize("what", OTHERS)
def test_a_program_that_touches_more_than_itself_is_refused(campaign, monkeypatch, what):
    (file,) = OTHERS[what]
    planned = program_plan(campaign, **OTHERS[what])
    assert not passes_gate(campaign, planned)
    reason = campaign.running.gate.refresh().memory.refused[planned.digest, "proposer"]
    assert f"changes {file}, which its class proposer does not cover" in reason
    # Without the defence the same change gets through.
    wide = {name: replace(one, covers=frozenset({"program", file})) for name, one in classes()}
    monkeypatch.setattr(regions, "CHANGE_CLASSES", wide)
    again = program_plan(campaign, text="print(1)", **OTHERS[what])
    assert passes_gate(campaign, again)


def classes():
    return CHANGE_CLASSES.items()


def test_a_question_is_put_to_a_program_that_passed_its_gate_alone(campaign, monkeypatch):
    planned = program_plan(campaign)
    assert "which is no champion of this study" in flaw_of(campaign, ask_plan(campaign, planned))
    assert passes_gate(campaign, planned)
    assert flaw_of(campaign, ask_plan(campaign, planned, index=2)) == ""
    changed = ask_plan(campaign, planned, index=3, program=b"print(2)")
    assert "a program that the study does not name" in flaw_of(campaign, changed)


def flaw_of(campaign, planned):
    return campaign.running.gate.refresh().find_flaw(planned.digest)


def ask_plan(campaign, planned, index=1, program=b""):
    """Record a propose plan that asks a program, or another program in its place."""
    store, bundle = campaign.running.store, planned.plan.bundle
    if program:
        bundle = store.put_bundle({**store.get_bundle(bundle), "program": program})
    draft = Draft(
        generation=1,
        index=index,
        purpose="propose",
        parent=planned.digest,
        change_class="propose",
        recipe=planned.plan.recipe,
        bundle=bundle,
        proposal=Proposal(hypothesis="h", knobs={}),
        jobs=JOBS[1:],
    )
    return campaign.record(draft)


def test_operators_change_a_program_and_leave_it_a_program():
    text = (ROOT / "docs/examples/first_proposer.py").read_text()
    rng, known, words = random.Random(3), {text}, set()
    for _ in range(12):
        child, edits = mutate_program(text, rng, most=3, known=known)
        compile(child, "child", "exec")
        assert child not in known and 1 <= len(edits) <= 3
        known.add(child)
        words |= {edit.split()[-2] + edit.split()[-1] for edit in edits}
    assert len(words) > 5
    with pytest.raises(BadInput, match="does not compile"):
        mutate_program("def (", rng, most=1)
    with pytest.raises(BadInput, match="nothing new that an operator could change"):
        mutate_program("x = y", rng, most=1)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ("study.programs=null", "study.programs is None"),
        ("study.skill_proposals=0", "study.skill_proposals is 0"),
        ("study.skill_parents=0", "study.skill_parents is 0"),
        ("study.programs.held_out.depth=1", "study.programs.held_out.depth is 1"),
        ("study.programs.held_out.depth=9", "study.programs.held_out.depth is 9"),
        ("study.programs.asks=5", "at most an eighth of its 32 recipes"),
        ("study.arms=[random]", "null without"),
        ("proposer.file=''", "needs a setting"),
        ("study.arms=[programs_model]", "proposer.llm is None"),
    ],
)
def test_settings_that_cannot_be_are_refused_with_a_sentence(change, match):
    Path("first.py").write_text(EQUAL)
    with pytest.raises(BadInput, match=match):
        compose_settings([*STUDY, change])


@pytest.mark.parametrize(("name", "claims"), [("selfmod-v1", 5), ("selfmod-v1-short", 0)])
def test_the_named_study_registers_its_claims(monkeypatch, name, claims):
    monkeypatch.chdir(ROOT)
    study = compose_settings([f"study={name}"]).study
    assert len(study.claims) == claims and (study.repeats >= 30) == bool(claims)
