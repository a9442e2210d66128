"""A training program of a person's own: its folder, its data, its changes, and who decides."""

import json
import os
import shutil
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from click.testing import CliRunner
from conftest import ROOT
from fakes import FakeBox, outcome, written
from programs import FOLDER, NUMBERS, TASK, TRAIN, answer_jobs, composer, npy, rows, write_folder
from safetensors.numpy import load
from studies import accept, bodies, champions, gate_of, mandate, read_facts, real_judge

from configs.errors import BadInput, NeedsHuman, VerificationFailed
from loop.calibrate.program import check_program
from loop.command import main
from loop.measure import confirm
from loop.propose import by_hand
from loop.propose.table import PROPOSERS
from loop.settings import compose_settings
from loop.study import own_files
from loop.verify.run import verify
from sandbox.gate import flaw


@pytest.fixture
def compose(tmp_path, monkeypatch):
    """Compose a study of a folder; its data script is answered by a box that computes nothing."""
    return composer(tmp_path, monkeypatch)


def show(plan, folder):
    """Return what `heirloop show` tells of a plan."""
    done = CliRunner().invoke(main.cli, ["show", plan[:12], "--run", str(folder), "--json"])
    assert done.exit_code == 0, done.output
    return {row["field"]: json.loads(row["value"]) for row in json.loads(done.output)}


def better(text):
    return 0.95 if "0.5)" not in text else 0.4


def test_a_loop_changes_the_program_and_promotes_it_where_weights_are_numbers(
    compose, go, tmp_path
):
    cfg = compose(**{"task.yaml": NUMBERS})
    mandate(cfg)
    result = go(cfg, FakeBox(better, answer_jobs(better, numbers=True)))
    assert result["finished"] and result["arms"][0]["accepted"] >= 1
    assert not result["arms"][0]["computable"]
    folder = tmp_path / "runs" / "t"
    assert verify(folder)["scores"] > 0
    distances = [row["distance"] for row in show(champions(cfg)[-1], folder)["nearest"]]
    assert distances and all(0.1 < distance < 3 for distance in distances)


def test_files_are_code_so_a_person_promotes_and_no_copy_can_be_told(compose, go, tmp_path):
    cfg = compose()
    mandate(cfg)
    with pytest.raises(NeedsHuman, match=r"\(promote\) is computable"):
        go(cfg, FakeBox(better, answer_jobs(better)))
    facts = read_facts(tmp_path / "runs" / "t")
    plan = next(name for name, plan in facts.plans.items() if plan.purpose == "candidate")
    shown = show(plan, tmp_path / "runs" / "t")
    assert {row["distance"] for row in shown["nearest"]} == {"not possible"}
    assert shown["computable"]


def test_no_job_gets_the_data_script_or_an_answer_of_a_held_out_question(compose, go, tmp_path):
    cfg = compose(**{"task.yaml": NUMBERS})
    mandate(cfg)
    box = FakeBox(better, answer_jobs(better, numbers=True))
    go(cfg, box)
    asked, held = rows()[0], {"train": [], "predict": []}
    for execution in box.ran:
        files = execution.files
        assert not {"task/data.py", "task/shift.txt", "task/notes.txt"} & set(files)
        assert "task/predict.py" in files and "models/train.py" in files
        if execution.role == "predict":
            questions = load(files["questions.safetensors"])["questions"]
            assert questions.shape[1] == asked.shape[1] + 1  # and the separator
            held["predict"] += [row[:6].tobytes() for row in questions]
        else:
            held["train"] += [row[:6].tobytes() for row in load(files["data.safetensors"])["items"]]
    assert held["predict"] and not set(held["predict"]) & set(held["train"])
    # the answers lie in the user's own folder alone, and in the training files
    store = b"".join(path.read_bytes() for path in (tmp_path / "runs").rglob("store/*/*"))
    assert FOLDER["data.py"].encode() not in store


def proposing(monkeypatch, *proposals):
    """Let arm evolve make these proposals in turn."""
    texts = iter(proposals * 9)
    way = written(lambda view: json.dumps({"hypothesis": "h", "knobs": {}, **next(texts)}))
    monkeypatch.setitem(PROPOSERS, "evolve", replace(way, edits=True))


def edit(file, search="0.5)", put="1.5)"):
    return {"edits": [{"file": f"models/{file}.py", "search": search, "replace": put}]}


def test_what_may_not_change_is_refused_as_a_proposal_and_at_the_gate(
    compose, go, tmp_path, monkeypatch
):
    proposing(monkeypatch, edit("net"), {"knobs": {"width": 32}}, edit("propose"), edit("train"))
    cfg = compose(**{"task.yaml": NUMBERS})
    mandate(cfg)
    go(cfg, FakeBox(better, answer_jobs(better, numbers=True)))
    refused = [body["reason"] for body in bodies(cfg, "invalid")]
    assert len(refused) == 3
    assert "a file that may change" in refused[0] and "has no recipe" in refused[1]
    gate = gate_of(cfg)
    plan = next(one for one in gate.memory.plans.values() if one.purpose == "candidate")
    files = gate.store.get_bundle(plan.bundle)
    assert flaw._find_change(gate.memory, gate.store, plan) == ""
    for name in ("task/predict.py", "models/__init__.py", "models/program.json"):
        other = replace(plan, bundle=gate.store.put_bundle({**files, name: b"{}"}))
        assert name in flaw._find_change(gate.memory, gate.store, other)


def test_a_second_file_may_change_under_a_class_of_its_own(compose, go, monkeypatch):
    about = NUMBERS.replace("{train.py: patch}", "{train.py: patch, model.py: structural}")
    proposing(monkeypatch, edit("net", "SIZE = 1", "SIZE = 2"))
    cfg = compose("study.generations=1", **{"task.yaml": about, "model.py": "SIZE = 1\n"})
    mandate(cfg)
    assert cfg.task.computed()  # its code may run in a predict job
    with pytest.raises(NeedsHuman, match="structural"):
        go(cfg, FakeBox(better, answer_jobs(better, numbers=True)))


def test_the_data_script_runs_once_and_gives_the_same_rows_for_ever(compose, tmp_path):
    first = compose()
    assert len(compose.box.ran) == 1
    assert compose("study.seed=2").task.items == first.task.items
    assert len(compose.box.ran) == 1
    asked, answers = rows()
    other = outcome(files={"questions.npy": npy(asked), "answers.npy": npy(answers[::-1])})
    compose.box.script = lambda execution: other
    for kept in (tmp_path / "home" / "own").glob("rows-of-*"):
        kept.unlink()
    with pytest.raises(VerificationFailed, match="gives other rows"):
        compose(f"+task.items={first.task.items}")


def test_a_changed_folder_ends_the_next_run_and_the_kept_copy_is_what_counts(compose, go, tmp_path):
    cfg = compose("study.generations=1", **{"task.yaml": NUMBERS})
    mandate(cfg)
    box = FakeBox(better, answer_jobs(better, numbers=True))
    go(cfg, box)
    changed = compose(
        "study.generations=1",
        **{"task.yaml": NUMBERS, "predict.py": FOLDER["predict.py"] + "# more\n"},
    )
    with pytest.raises(VerificationFailed, match=r"task\.folder .* changed since the study began"):
        go(changed, box)
    for path in (tmp_path / "folder").iterdir():
        path.unlink()
    assert verify(tmp_path / "runs" / "t")["scores"] > 0


@pytest.mark.parametrize(
    "result, reason",
    [
        (outcome("program", "exit 1"), "data.py of task.folder ended with program: exit 1"),
        (outcome("limit", "cpu"), "ended with limit: cpu"),
        (outcome(files={}), "questions.npy cannot be read"),
        (outcome(files={"questions.npy": npy(rows()[0]), "answers.npy": b"garbage"}), "answers"),
        (
            outcome(files={"questions.npy": npy(rows()[0]), "answers.npy": npy(rows()[1][1:])}),
            "should be as many",
        ),
    ],
)
def test_a_data_script_that_fails_is_told_in_a_sentence(compose, result, reason):
    compose.box.script = lambda execution: result
    with pytest.raises(BadInput, match=reason):
        compose()


@pytest.mark.parametrize(
    "text, reason",
    [
        ("", "metric"),
        ("[1, 2]", "settings, one a line"),
        ("\x00\x01", "no YAML"),
        ("a: [" * 3000, "no YAML"),
        ("a: &b [1]\nmetric: *b", "anchor"),
        (TASK + "metric: nll\n", "no YAML"),
        (TASK + "more: 1\n", "more"),
        (TASK.replace("exact_match", "bits"), "metric"),
        (TASK.replace("[data.py, shift.txt]", "[]"), "data"),
        (TASK.replace("shift.txt]", "train.py]"), "files that no job gets"),
        (TASK.replace("shift.txt]", "../shift.txt]"), "plain name"),
        (TASK.replace("{train.py: patch}", "{}"), "may_change"),
        (TASK.replace("train.py: patch", "predict.py: patch"), "without predict.py"),
        (TASK.replace("train.py: patch", "train.py: promote"), "may_change"),
        (TASK.replace("0.3", ".nan"), "planned_cpu_seconds"),
        (TASK.replace("60", "${oc.env:HOME}"), "held_out"),
        (TASK + "limits: {propose: {cpu_us: 1}}\n", "limits"),
        (TASK + "limits: {train: {cpus: 1}}\n", "cpus"),
        (TASK + "files: [absent.py]\n", "absent.py cannot be read"),
    ],
)
def test_a_bad_task_yaml_is_refused_in_a_sentence(compose, text, reason):
    with pytest.raises(BadInput, match=reason):
        compose(**{"task.yaml": text})


def test_a_folder_is_refused_for_a_missing_linked_or_endless_file(compose, tmp_path):
    for name in ("task.yaml", "train.py", "data.py"):
        folder = write_folder(tmp_path / name, **{name: None})
        with pytest.raises(BadInput, match=f"its {name} cannot be read"):
            compose(f"task.folder={folder}")
    os.symlink("/etc/passwd", tmp_path / "train.py" / "train.py")
    with pytest.raises(BadInput, match="it is a link"):
        compose(f"task.folder={tmp_path / 'train.py'}")
    os.mkfifo(tmp_path / "data.py" / "data.py")
    with pytest.raises(BadInput, match="no regular file"):
        compose(f"task.folder={tmp_path / 'data.py'}")
    with open(tmp_path / "folder" / "train.py", "wb") as file:
        file.truncate(2**30)
    with pytest.raises(BadInput, match="at most 32000000 are read"):
        compose(f"task.folder={tmp_path / 'folder'}", **{"train.py": None})
    with pytest.raises(BadInput, match=r"task\.folder is ''"):
        compose_settings(["task=program"])


@pytest.mark.parametrize(
    "override, reason",
    [
        ("proposer=random", "one of evolve"),
        ("objective=nll", "objective=exact_match"),
        ("study.start_trials=8", "0 with task program"),
        ("task.notebook=true", "notebook"),
    ],
)
def test_what_needs_a_recipe_is_refused(compose, override, reason):
    with pytest.raises(BadInput, match=reason):
        compose(override)


def test_limits_of_the_folder_take_the_place_of_the_budgets(compose):
    cfg = compose(**{"task.yaml": TASK + "limits: {train: {cpu_us: 9000000}}\n"})
    assert cfg.budget.train.cpu_us == 9_000_000 and cfg.budget.predict.cpu_us == 15_000_000
    assert cfg.task.format().name == "custom" and cfg.task.metric() == "exact_match"


def test_an_accepted_gain_of_a_task_in_nats_is_verified(compose, go, tmp_path, monkeypatch):
    """The metric of the folder judges: nll, which falls."""
    monkeypatch.setattr(confirm, "judge", lambda *a, **k: accept(real_judge(*a, **k)))
    cfg = compose("objective=nll", **{"task.yaml": NUMBERS.replace("exact_match", "nll")})
    mandate(cfg)
    assert cfg.task.metric() == "nll"
    result = go(cfg, FakeBox(better, answer_jobs(better, numbers=True)))
    assert result["arms"][0]["accepted"] >= 1 and verify(tmp_path / "runs" / "t")["scores"] > 0


def check(go, folder, script):
    """Check a folder as `heirloop task check` does, on a box that computes nothing."""
    box = FakeBox(lambda order: 0.0, script)
    act = partial(check_program, str(folder), trainings=4, recipes=3, unattended=True)
    return go(None, box, lambda _: act(overrides=[f"runs={folder.parent / 'runs'}"]))


def test_the_check_of_a_folder_measures_noise_and_single_changes(compose, go, tmp_path):
    compose(**{"task.yaml": NUMBERS})
    changed = answer_jobs(lambda text: 0.4 if text == TRAIN else 0.95, numbers=True)
    result = check(go, tmp_path / "folder", changed)
    found = {row["check"]: row for row in result["rows"]}
    assert {"exclusion", "inputs", "repeats", "chance", "leakage"} <= found.keys()
    assert not found["leakage"]["passed"]  # the answer is told by one column, and the check says so
    assert 0 < found["noise"]["value"] < 0.2 and "4 trainings" in found["noise"]["text"]
    assert found["headroom"]["passed"] and "single change" in found["headroom"]["text"]
    assert verify(Path(result["run"]))["scores"] == 4 + 3 + 4
    plain = TRAIN.replace("# region: update\n", "").replace("# endregion\n", "")
    compose(**{"task.yaml": NUMBERS, "train.py": plain})
    rows_of = check(go, tmp_path / "folder", answer_jobs(better, numbers=True))["rows"]
    assert "not measured" in rows_of[-1]["text"]


@pytest.mark.parametrize("role, hint", [("train", ""), ("predict", "out/, and nothing else of it")])
def test_the_check_says_why_a_first_training_or_prediction_fails(compose, go, tmp_path, role, hint):
    compose(**{"task.yaml": NUMBERS})
    works = answer_jobs(better, numbers=True)

    def script(execution):
        if execution.role != role or "job.json" not in execution.files:
            return works(execution)
        words = b"Traceback\nFileNotFoundError: /tmp/cache.npy\n"
        return replace(outcome("program", "exit 1"), log=words)

    with pytest.raises(BadInput, match=f"{role}.py gives no score.*cache.npy.*{hint}"):
        check(go, tmp_path / "folder", script)


def environment(place):
    """Make a virtual environment with a package that holds answers."""
    site = place / "lib" / sorted((ROOT / ".box" / "lib").glob("python3*"))[0].name
    (site / "site-packages" / "sklearn").mkdir(parents=True)
    (place / "pyvenv.cfg").write_text("home = /usr/bin\n")
    return site / "site-packages"


def test_an_environment_is_pinned_and_may_hold_no_answers(compose, tmp_path):
    site = environment(tmp_path / "env")
    named = f"box.environment={tmp_path / 'env'}"
    with pytest.raises(BadInput, match="holds sklearn, which holds answers"):
        compose("box=namespace", named, **{"task.yaml": TASK + "answers_in: [sklearn]\n"})
    cfg = compose("box=namespace", named)
    (site / "more.py").write_text("")
    other = compose("box=namespace", named)
    assert cfg.box.environment_digest != other.box.environment_digest
    with pytest.raises(VerificationFailed, match=r"box\.environment changed since"):
        own_files.need_unchanged(cfg, other)
    own_files.need_unchanged(cfg, cfg)
    pinned = f"+box.environment_digest={cfg.box.environment_digest}"
    with pytest.raises(VerificationFailed, match="is pinned"):
        compose("box=namespace", named, pinned)
    shutil.move(tmp_path / "env", tmp_path / "gone")
    assert compose("box=namespace", named, pinned).box == cfg.box  # the kept copy is used
    shutil.move(tmp_path / "gone", tmp_path / "env")
    with pytest.raises(BadInput, match="the digest of an image with box=docker"):
        compose("box=docker", named)
    with pytest.raises(BadInput, match="empty without task program"):
        compose_settings(["task=text", "box=namespace", named])


def test_our_own_environments_keys_and_runs_are_refused(compose, tmp_path):
    for folder in (ROOT / ".venv", ROOT / ".box", sys.prefix, ROOT, "/"):
        with pytest.raises(BadInput, match="apart from"):
            compose("box=namespace", f"box.environment={folder}")
    for folder in (tmp_path / "home" / "env", tmp_path / "runs" / "env", tmp_path):
        environment(folder)
        with pytest.raises(BadInput, match="apart from"):
            compose("box=namespace", f"box.environment={folder}")


def test_an_agent_proposes_edits_of_the_program_and_tries_them_at_its_door(compose, go, tmp_path):
    """A change of another file, or of a knob, is refused at the door and as a proposal."""
    changes = [{"hypothesis": "h", "knobs": {}, **edit("train")}]
    changes += [{**changes[0], **edit("net")}, {**changes[0], "knobs": {"width": 32}}]
    told = []

    def agent(execution):
        if execution.role != "agent":
            return None
        assert {"models/agent.py", "models/train.py", "program"} <= set(execution.files)
        door = execution.doors._doors["trial"]._handle
        told.extend(door(change) for change in changes)
        lines = "\n".join(map(json.dumps, changes))
        return outcome(files={"proposals.jsonl": lines.encode(), "notes": b"tried"})

    jobs = answer_jobs(better, numbers=True)
    file = ROOT / "docs" / "examples" / "keeper_agent.py"
    own = ["study.generations=1", "study.proposals=3", "proposer.trials=2"]
    cfg = compose("proposer=agent", f"proposer.file={file}", *own, **{"task.yaml": NUMBERS})
    mandate(cfg)
    result = go(cfg, FakeBox(better, lambda execution: agent(execution) or jobs(execution)))
    assert result["finished"] and result["arms"][0]["accepted"] == 1
    assert [reply.status for reply in told] == [200, 400, 400]
    assert json.loads(told[0].body)["outcome"] == "better"
    plans = [body["plan"] for body in bodies(cfg, "plan")]
    classes = {plan["change_class"] for plan in plans if plan["purpose"] in ("trial", "candidate")}
    assert classes == {"patch"} and len(bodies(cfg, "invalid")) == 2
    assert verify(tmp_path / "runs" / "t")["scores"] > 0


def test_people_hand_in_edits_of_the_program_and_no_knobs(compose, go, tmp_path):
    cfg = compose("proposer=human", "study.generations=1", **{"task.yaml": NUMBERS})
    mandate(cfg)
    with pytest.raises(NeedsHuman):
        go(cfg, FakeBox(better, answer_jobs(better, numbers=True)))

    def hand_in(change):
        text = json.dumps({"hypothesis": "h", "knobs": {}, **change})
        return by_hand.hand_in_proposal(tmp_path / "runs" / "t", text, "human", 0, "ada", "ada")

    with pytest.raises(BadInput, match="has no recipe"):
        hand_in({"knobs": {"width": 32}})
    with pytest.raises(BadInput, match="a file that may change"):
        hand_in(edit("net"))
    hand_in(edit("train"))
    hand_in(edit("train", "0.5)", "2.5)"))
    result = go(cfg, FakeBox(better, answer_jobs(better, numbers=True)))
    assert result["finished"] and result["arms"][0]["accepted"] == 1
