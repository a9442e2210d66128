"""The folder of an agent as genome: its children, its doors, what is refused, and what verifies."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from conftest import ROOT, on, real_box
from fakes import FakeBox, outcome
from stub_model import say, stub
from studies import config, mandate

from configs.build import strict_json
from configs.errors import BadInput, VerificationFailed
from configs.records import CHANGE_CLASSES, JobCount, Proposal, regions
from evals.programs import find_best
from loop import session
from loop.campaign import Campaign, passes_gate
from loop.course import run_baseline
from loop.instruments.run import Run
from loop.people.view import read_own_files
from loop.plan import Draft
from loop.propose.programs import child
from loop.propose.programs.model import read_child
from loop.settings import compose_settings
from loop.study.agent_folder import MOST_BYTES, MOST_FILES, keep_agent
from loop.study.open import open_study
from loop.study.tabulated import TabulatedBox
from loop.verify import programs as checks
from loop.verify.recompute import find_secret
from loop.verify.run import verify
from sandbox import own
from sandbox.ledger import Ledger
from sandbox.store import Store

RUN = Path("runs/t")
STUDY = [
    "study=selfmod-agents",
    "study.name=t",
    "study.seed=5",
    "study.arms=[agents_clade]",
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
    "proposer.folder=folder",
    "proposer.trials=1",
]
MAIN = """
import json
from itertools import combinations, product
from pathlib import Path
import policy
history = json.loads(Path("history.json").read_text())
champion, grid, wanted = history["champion"], history["grid"], history["count"]
barred = [*history["barred"], *(trial["recipe"] for trial in history["trials"])]
worth = {"learning_rate": {0.005: 3}, "schedule": {"cosine": 2}}
drafts = []
for size in (1, 2):
    for names in combinations(sorted(grid), size):
        for values in product(*(grid[name] for name in names)):
            changed = dict(zip(names, values))
            recipe = {**champion, **changed}
            if recipe not in barred and all(champion[n] != v for n, v in changed.items()):
                rank = sum(worth[name].get(recipe[name], 0) for name in worth)
                drafts.append((rank if policy.BETTER > 0 else -rank, json.dumps(changed)))
drafts.sort(key=lambda draft: -draft[0])
lines = [json.dumps({"hypothesis": "h", "knobs": json.loads(c)}) for _, c in drafts[:wanted]]
Path("proposals.jsonl").write_text("\\n".join(lines))
"""
"""Moves to the worse recipes of the fabricated table; with a larger BETTER to the better ones."""
FOLDER = {"__main__.py": MAIN, "policy.py": "BETTER = 0\n", "prompt.txt": "Think of rates.\n"}

pytestmark = pytest.mark.usefixtures("beside_a_table")


def write_folder(**changed):
    Path("folder").mkdir()
    for name, text in {**FOLDER, **changed}.items():
        Path("folder", name).write_text(text)


def better(text, rng, *, most, known=()):
    """The operator of a family whose better members are known: BETTER is 0 or 1."""
    if "BETTER" not in text or "import" in text:
        raise BadInput("nothing to change here")
    return f"BETTER = {rng.choice((0, 1, 1))}\n", ("BETTER",)


class Agents:
    """A script of the fake box: it runs each agent as the box does, and asks at its door."""

    def __init__(self, requests=2):
        self.requests, self.ran, self.told = requests, [], []

    def __call__(self, execution):
        if execution.role != "agent":
            return None
        self.ran.append(execution)
        lines = run_folder(execution.files)
        handle = execution.doors._doors["trial"]._handle if execution.doors else None
        for line in lines[:1] * self.requests if handle else ():
            reply = handle(json.loads(line))
            self.told.append((reply.status, json.loads(reply.body)))
        files = {"proposals.jsonl": "\n".join(lines).encode(), "notes": b"of this question"}
        return outcome(files=files)


def run_folder(files):
    """Run an agent's folder as Python runs a folder; return the lines of its proposals."""
    with TemporaryDirectory() as folder:
        work = Path(folder)
        (work / "agent").mkdir()
        for name, data in files.items():
            if name.startswith("agent/") or name == "history.json":
                (work / name).write_bytes(data)
        subprocess.run([sys.executable, "-S", "-B", "agent"], cwd=work, check=True, timeout=120)
        return (work / "proposals.jsonl").read_text().splitlines()


def play(go, agents, *more):
    cfg = compose_settings([*STUDY, *more])
    mandate(cfg)
    box = TabulatedBox(cfg, FakeBox(lambda order: 0.5, agents))
    assert go(cfg, box, session.execute)["finished"]
    assert verify(RUN)["findings"] == []
    return Run(0, Ledger.at(RUN))


def genome_of(run, name):
    return child.read_genome(Store(RUN / "store").get_bundle(run.facts.plans[name].bundle))


def test_a_folder_evolves_file_by_file_and_the_better_one_is_found(go, monkeypatch):
    monkeypatch.setattr(child, "mutate_program", better)
    write_folder()
    agents = Agents()
    run = play(go, agents, "study.repeats=3")
    plans, facts = run.facts.plans, run.facts
    for key, programs in facts.selecting.programs.items():
        assert [one.generation for one in programs] == [0, 1, 2, 3]
        first = genome_of(run, programs[0].plan)
        assert first == {f"agent/{name}": text for name, text in FOLDER.items()}
        for one in programs[1:]:
            own = genome_of(run, one.plan)
            assert {**own, "agent/policy.py": ""} == {**first, "agent/policy.py": ""}
            assert one.edits == ("agent/policy.py: BETTER",) and one.asked == one.usable == 3
            assert plans[one.plan].change_class == "proposer"
        best = genome_of(run, programs[find_best(child.list_programs(facts, key))].plan)
        made = any("BETTER = 1" in genome_of(run, one.plan)["agent/policy.py"] for one in programs)
        assert ("BETTER = 1" in best["agent/policy.py"]) == made
    # The chosen folder ran as the agent: alone, with its own files, and without notes.
    for execution in agents.ran:
        assert "agent/policy.py" in execution.files and "notes" not in execution.files
        assert "program" not in execution.files and "notes" in execution.outputs
    check_trials(run, agents)
    # A trial that improves another recipe than its question's does not verify.
    secret = find_secret(run.entries)
    assert checks.check_programs(run.entries, Store(RUN / "store"), secret) == 12
    lie = change_plan(run, "trial", lambda plan: {"reference_recipe": plan["recipe"]})
    with pytest.raises(VerificationFailed, match="its question has another parent"):
        checks.check_programs(lie, Store(RUN / "store"), secret)


def check_trials(run, agents):
    """Check that trials at the door are planned, decided, charged, capped, and stay with it."""
    plans, facts = run.facts.plans, run.facts
    trials = {name: plan for name, plan in plans.items() if plan.purpose == "trial"}
    asked = {name for name, plan in plans.items() if plan.purpose == "propose"}
    assert {plan.asked for plan in trials.values()} == asked and len(trials) == len(asked)
    assert set(trials) <= facts.granted
    # The second request of each question is beyond its cap of one.
    assert [status for status, _ in agents.told] == [200, 403] * len(asked)
    for name, plan in trials.items():
        questions = [p for p in plans.values() if p.asked == plan.asked and p.purpose != "trial"]
        assert {p.reference_recipe for p in questions} == {plan.reference_recipe}
        held_out = plan.recipe.depth == 3
        assert held_out == (questions[0].purpose == "skill") and ("feedback", name) in facts.looked
        starts = [e.fact for e in run.entries if e.kind == "start" and e.fact.job.plan == name]
        assert len(starts) == 2 and all("arm agents_clade" in one.accounts for one in starts)
    for name in asked:  # what was tried for one question is told to no other
        shown = strict_json(Store(RUN / "store").get(facts.shown[name][0]))
        before = [p for p in plans.values() if p.purpose in ("start", "baseline")]
        known = [p for p in before if p.repeat == plans[name].repeat and p.recipe.depth != 3]
        assert len(shown["trials"]) == len(known)


def change_plan(run, purpose, change):
    number = next(
        n for n, e in enumerate(run.entries) if e.kind == "plan" and e.fact.plan.purpose == purpose
    )
    told = run.entries[number]
    plan = {**told.body["plan"], **change(told.body["plan"])}
    lie = replace(told, body={**told.body, "plan": plan})
    return [*run.entries[:number], lie, *run.entries[number + 1 :]]


BLOCK = "<<<<<<< SEARCH\n{}\n=======\n{}\n>>>>>>> REPLACE"


def test_a_model_changes_any_file_of_the_folder_and_is_charged_beside_its_agents(go):
    write_folder()
    answers = [
        say(BLOCK.format("BETTER = 0", "BETTER = 1")),
        say(BLOCK.format("BETTER", "WORSE")),
        say(BLOCK.format("Think of rates.", "Think of rates and schedules.")),
    ]
    with stub(*answers) as server:
        run = play(go, Agents(), *model_of(server.url))
    programs = run.facts.selecting.programs["agents_model", 0]
    assert [(bool(one.plan), one.edits) for one in programs] == [
        (True, ()),
        (True, ("the model replaces 1 lines by 1, its file agent/policy.py",)),
        (False, ()),
        (True, ("the model replaces 1 lines by 1, its file agent/prompt.txt",)),
    ]
    assert "schedules" in genome_of(run, programs[3].plan)["agent/prompt.txt"]
    asked = [entry.fact for entry in run.entries if entry.kind == "answer"]
    assert len(server.asked) == len(asked) == 3
    assert all(one.answer.charged.tokens == 120 for one in asked)
    chat = strict_json(server.asked[0][2])["messages"]
    assert "its file agent/prompt.txt" in chat[1]["content"] and "a folder" in chat[0]["content"]


def model_of(url):
    return [
        "study.arms=[agents_model]",
        "budget.tokens=2000000",
        "proposer=agent-llm",
        "proposer.calls=0",
        f"proposer.llm.url={url}",
        "proposer.llm.model=stub",
    ]


GENOME = {"agent/__main__.py": "import policy\n", "agent/policy.py": "A = 1\n", "agent/p.md": "A\n"}


@pytest.mark.parametrize(
    ("answer", "match"),
    [
        (BLOCK.format("A", "B"), "occurs 2 times"),
        (BLOCK.format("A = 1", "A = ("), "agent/policy.py does not compile"),
        (BLOCK.format("A = 1", "A = 1\n" * 20_000), "agent/policy.py would have"),
        (BLOCK.format("import policy", "import policy\n"), "known"),
        (BLOCK.format("A = 1", "A = 1"), "known"),
    ],
)
def test_an_answer_that_makes_no_child_of_a_folder_is_refused(answer, match):
    known = [{**GENOME, "agent/__main__.py": "import policy\n\n"}]
    with pytest.raises(BadInput, match=match):
        read_child(answer, GENOME, known)


@pytest.fixture
def campaign(go):
    """Return a campaign after its baseline, in a study that waits for programs."""
    write_folder()
    cfg = compose_settings(STUDY)
    mandate(cfg)
    box = TabulatedBox(cfg, FakeBox(lambda order: 0.5, Agents()))

    def begin(config):
        made = Campaign(open_study(config), "agents_clade", 0, None, lambda text: None)
        run_baseline(made)
        return made

    return go(cfg, box, begin)


def plan_child(campaign, files, purpose="program", parent=None, index=1):
    """Record a plan that brings these files beside those of its parent."""
    base, store = parent or campaign.champions()[0], campaign.running.store
    asks = purpose == "propose"
    draft = Draft(
        generation=int(asks),
        index=index,
        purpose=purpose,
        parent=base.digest,
        change_class="propose" if asks else "proposer",
        recipe=base.plan.recipe,
        bundle=store.put_bundle({**store.get_bundle(base.plan.bundle), **files}),
        proposal=Proposal(hypothesis="h", knobs={}),
        jobs=(JobCount(role="propose", count=1),) if asks else (),
    )
    return campaign.record(draft)


CHILD = {"agent/__main__.py": b"import policy\n", "agent/policy.py": b"BETTER = 2\n"}
HOSTILE = {
    "evaluation": "models/predict.py",
    "training": "models/train.py",
    "logging": "configs/history.py",
    "limits": "configs/job.py",
    "how it is run": "models/agent.py",
    "another's notes": "notes",
}


@pytest.mark.parametrize("what", HOSTILE)
def test_a_child_that_touches_more_than_its_folder_is_refused(campaign, monkeypatch, what):
    file = HOSTILE[what]
    planned = plan_child(campaign, {**CHILD, file: b"print()"})
    assert not passes_gate(campaign, planned)
    reason = campaign.running.gate.refresh().memory.refused[planned.digest, "proposer"]
    assert f"changes {file}, which its class proposer does not cover" in reason
    # Without the check of its scope the same child gets through.
    monkeypatch.setattr("sandbox.gate.flaw.list_beyond", lambda *given: [])
    assert passes_gate(campaign, plan_child(campaign, {**CHILD, file: b"print(1)"}))


def test_the_scope_is_the_folder_and_ends_with_it(campaign, monkeypatch):
    planned = plan_child(campaign, CHILD)
    assert passes_gate(campaign, planned)
    narrow = {
        name: replace(one, covers=(one.covers or frozenset()) - {"agent/"})
        for name, one in CHANGE_CLASSES.items()
    }
    monkeypatch.setattr(regions, "CHANGE_CLASSES", narrow)
    other = plan_child(campaign, {**CHILD, "agent/policy.py": b"BETTER = 3\n"})
    assert not passes_gate(campaign, other)


@pytest.mark.parametrize(
    "name",
    [
        "agent/tool.so",
        "agent/run.sh",
        "agent/../models/train.py",
        "agent/inner/policy.py",
        "agent/.profile",
        "agent/link",
        "agent/",
        "Agent/policy.py",
    ],
)
def test_a_child_of_another_kind_of_file_is_no_bundle(campaign, name):
    with pytest.raises(VerificationFailed, match="which no bundle may hold"):
        passes_gate(campaign, plan_child(campaign, {**CHILD, name: b"\x7fELF"}))


def test_a_question_is_put_to_a_folder_that_passed_its_gate_alone(campaign):
    planned = plan_child(campaign, CHILD)
    find_flaw = lambda one: campaign.running.gate.refresh().find_flaw(one.digest)  # noqa: E731
    assert "no champion" in find_flaw(plan_child(campaign, {}, "propose", planned))
    assert passes_gate(campaign, planned)
    assert find_flaw(plan_child(campaign, {}, "propose", planned, 2)) == ""
    for index, files in enumerate(
        [{"agent/policy.py": b"BETTER = 9\n"}, {"agent/more.py": b""}, {"program": b"print()"}], 3
    ):
        asking = plan_child(campaign, files, "propose", planned, index)
        assert "a program that the study does not name" in find_flaw(asking)


def link_out(folder):
    Path(folder, "policy.py").unlink()
    Path(folder, "policy.py").symlink_to("/etc/hostname")


def fill(name, data):
    return lambda folder: Path(folder, name).write_bytes(data)


@pytest.mark.parametrize(
    ("spoil", "match"),
    [
        (lambda folder: Path(folder, "__main__.py").unlink(), "a __main__.py in it"),
        (link_out, "it is a link"),
        (lambda folder: os.mkfifo(Path(folder, "pipe.py")), "no regular file"),
        (lambda folder: Path(folder, "inner.py").mkdir(), "cannot be read"),
        (lambda folder: Path(folder, "inner").mkdir(), "a name in proposer.folder"),
        (fill("tool.so", b"\x7fELF"), "a name in proposer.folder"),
        (fill("Big.py", b""), "a name in proposer.folder"),
        (fill("latin.txt", b"\xe9"), "no UTF-8"),
        (fill("zeros.json", b"\0" * MOST_BYTES), "at most"),
        (lambda folder: [fill(f"a{n}.py", b"")(folder) for n in range(MOST_FILES)], "at most 50"),
    ],
)
def test_a_folder_of_another_form_is_refused_with_a_sentence(spoil, match):
    write_folder()
    spoil("folder")
    with pytest.raises(BadInput, match=match):
        keep_agent("folder")
    for other in ("nowhere", "folder/prompt.txt", "a\0b"):
        with pytest.raises(BadInput, match="it cannot be read"):
            keep_agent(other)


def test_what_python_writes_beside_a_folder_changes_nothing():
    write_folder()
    before = keep_agent("folder")
    Path("folder/__pycache__").mkdir()
    assert keep_agent("folder") == before and own.known(before)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (["objective.feedback=ladder"], "objective.feedback is 'ladder'"),
        (["study.arms=[programs_clade]"], "arm programs_clade runs a file"),
        (["proposer.program=folder/policy.py"], "one of them"),
        (["proposer.folder=''"], "needs a setting"),
        (["study.arms=[agents_model]"], "proposer.llm is None"),
        (["study.programs=null"], "study.programs is None"),
        (["budget.looks.feedback=30"], "budget.looks.feedback is 30"),
    ],
)
def test_settings_that_cannot_be_are_refused_with_a_sentence(change, match):
    write_folder()
    with pytest.raises(BadInput, match=match):
        compose_settings([*STUDY, *change])


def test_a_folder_also_runs_as_an_agent_of_a_plain_study(tmp_path, go):
    write_folder()
    cfg = config(tmp_path, "study.arms=[agent]", "proposer=agent", "proposer.folder=folder")
    mandate(cfg)
    wide = json.dumps({"hypothesis": "wider", "knobs": {"width": 96}}).encode()
    leaves = outcome(files={"proposals.jsonl": wide})
    box = FakeBox(lambda order: 0.1, lambda e: leaves if e.role == "agent" else None)
    assert go(cfg, box)["finished"]
    ran = [execution.files for execution in box.ran if execution.role == "agent"]
    assert ran and all(files["agent/policy.py"] == b"BETTER = 0\n" for files in ran)
    assert all("program" not in files for files in ran)
    shown = read_own_files(Store(tmp_path / "runs" / "t" / "store"), cfg)  # as people read it
    assert {path: text for _, path, _, text in shown} == {
        f"folder/{name}": text for name, text in FOLDER.items()
    }
    assert verify(tmp_path / "runs" / "t")["jobs"] > 0


@pytest.mark.parametrize("kind", [on("namespace"), on("docker")])
def test_an_agent_of_two_files_tries_and_proposes_in_a_box(go, kind):
    example = ROOT / "docs" / "examples" / "folder_agent"
    small = ["study.generations=1", "study.programs.asks=1", "study.skill_parents=1"]
    cfg = compose_settings([*STUDY, *small, f"proposer.folder={example}"])
    mandate(cfg)
    assert go(cfg, TabulatedBox(cfg, real_box(kind)), session.execute)["finished"]
    run = Run(0, Ledger.at(RUN))
    first = run.facts.selecting.programs["agents_clade", 0][0]
    assert first.usable == first.asked == 1
    asked = [plan for plan in run.facts.plans.values() if plan.purpose == "propose"]
    tried = [plan for plan in run.facts.plans.values() if plan.purpose == "trial"]
    assert tried and len(tried) <= len(asked)
    assert verify(RUN)["findings"] == []
