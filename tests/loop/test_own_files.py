"""Studies with people's own files: a task, and a gate that can only add a no."""

import ast
import json
import shlex
import subprocess
import sys

import numpy as np
import pytest
from click.testing import CliRunner
from conftest import ROOT
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from fakes import FakeBox, outcome, predictions
from safetensors.numpy import load
from studies import approve, better, bodies, config, entries, gate_of, mandate, page_of, put_mandate

from configs.build import parse, plain, strict_json
from configs.errors import BadInput, Denied, NeedsHuman, VerificationFailed
from configs.job import Order
from configs.tokens import layout
from loop import settings
from loop.command import main
from loop.people import amend
from loop.people.lines import list_lines
from loop.people.requests import open_gate
from loop.people.view import view_subject
from loop.verify.run import verify
from sandbox import gate as gates
from sandbox import keys, own
from sandbox.unsigned import new_mandate

EXAMPLES = ROOT / "docs" / "examples"
SORT, SIZE, NEIGHBOUR = (
    EXAMPLES / name for name in ("sort_task.py", "size_gate.py", "neighbour_proposer.py")
)


def sorter(execution):
    """Predictions of sorted digits for the example task, right half of the time with the baseline,
    else mostly.
    """
    order = parse(Order, strict_json(execution.files["job.json"]))
    if order.role != "predict":
        return None
    asked = load(execution.files["questions.safetensors"])["questions"]
    tokens, rng = np.sort(asked[:, :-1], axis=1), np.random.default_rng(order.seed)
    tokens[rng.random(len(tokens)) > better(order), 0] = 0
    return outcome(
        files={
            "predictions.safetensors": predictions(
                tokens, layout(order.task, order.recipe).vocabulary
            )
        }
    )


def own_gate(tmp_path, body):
    path = tmp_path / "gate.py"
    path.write_text(f"def gate(plan, change_class):\n    {body}\n")
    return path


def test_a_study_of_the_example_task_runs_to_its_end_and_verifies(tmp_path, go):
    cfg = config(tmp_path, "task=custom", f"task.file={SORT}", "study.generations=4")
    mandate(cfg)
    result = go(cfg, FakeBox(better, sorter))
    assert result["finished"] and result["arms"][0]["accepted"] >= 1
    assert verify(tmp_path / "runs" / "t")["scores"] > 0
    page = page_of(tmp_path / "runs" / "t")
    assert cfg.task.file_digest in page and "itertools.product" in page


def test_a_task_file_that_changed_or_gives_other_items_stops_the_study(tmp_path, go):
    path = tmp_path / "task.py"
    path.write_text(SORT.read_text())
    cfg = config(tmp_path, "task=custom", f"task.file={path}")
    mandate(cfg)
    go(cfg, FakeBox(better, sorter))
    path.write_text(SORT.read_text().replace("VALUES = 8", "VALUES = 9"))
    with pytest.raises(VerificationFailed, match=r"task\.file .* changed since the study began"):
        go(config(tmp_path, "task=custom", f"task.file={path}"), FakeBox(better, sorter))
    path.unlink()
    assert verify(tmp_path / "runs" / "t")["scores"] > 0  # the kept copy is what counts
    with pytest.raises(BadInput, match="cannot be read"):
        config(tmp_path, "task=custom", f"task.file={path}")


def test_a_task_that_draws_its_items_anew_is_refused(tmp_path):
    path = tmp_path / "task.py"
    path.write_text(
        "import random\nQUESTION, ANSWER, VALUES = 3, 1, 9\n"
        "def items(): return [[random.randrange(9) for _ in range(4)] for _ in range(500)]\n"
    )
    first = config(tmp_path, "task=custom", f"task.file={path}").task
    with pytest.raises(VerificationFailed, match="other items"):
        config(tmp_path, "task=custom", f"task.file={path}", f"++task.items={first.items}")


def test_custom_without_a_file_and_a_file_without_custom_are_refused(tmp_path):
    with pytest.raises(BadInput, match="file"):
        config(tmp_path, "task=custom")
    with pytest.raises(BadInput, match="file"):
        config(tmp_path, f"+task.file={SORT}")


def test_a_file_that_is_pinned_beforehand_must_be_the_pinned_one(tmp_path):
    with pytest.raises(VerificationFailed, match="is pinned"):
        config(tmp_path, f"gates.file={SIZE}", f"gates.file_digest={'0' * 64}")


def test_the_example_gate_adds_its_no_and_the_study_goes_on(tmp_path, go):
    cfg = config(tmp_path, f"gates.file={SIZE}", "study.arms=[random]", "study.proposals=4")
    mandate(cfg)
    box = FakeBox(better)
    assert go(cfg, box)["finished"]
    widths = {parse(Order, strict_json(e.files["job.json"])).recipe.width for e in box.ran}
    assert max(widths) <= 64
    said = [e.body for e in entries(cfg) if e.kind == "decision" and not e.body["allow"]]
    wide = [
        e.body["digest"]
        for e in entries(cfg)
        if e.kind == "plan" and e.body["plan"]["recipe"]["width"] > 64
    ]
    assert (
        wide
        and {b["plan"] for b in said} == set(wide)
        and all("the study's own gate: a net of width 96" in b["reason"] for b in said)
    )
    verify(tmp_path / "runs" / "t")
    for verb in (("plans", "t"), ("show", wide[0], "--run", "t")):
        words = [str(tmp_path / "runs" / "t") if word == "t" else word for word in verb]
        text = CliRunner().invoke(main.cli, [*words, "--json"]).output
        assert "the study's own gate: a net of width 96" in text, verb
    shown = dict(list_lines(view_subject(gate_of(cfg), gate_of(cfg).memory.subjects[wide[0]])))
    assert "a net of width 96" in shown["denied"]
    assert "own gate: a net of width 96" in page_of(tmp_path / "runs" / "t").replace("&#39;", "'")


def test_without_the_gate_the_same_study_trains_wide_nets(tmp_path, go):
    cfg = config(tmp_path, "study.arms=[random]", "study.proposals=4")
    mandate(cfg)
    box = FakeBox(better)
    go(cfg, box)
    assert max(parse(Order, strict_json(e.files["job.json"])).recipe.width for e in box.ran) > 64


def test_a_gate_that_says_no_to_everything_or_breaks_lets_nothing_start(tmp_path, go):
    cfg = config(tmp_path, f"gates.file={own_gate(tmp_path, 'return plan[0]')}")
    mandate(cfg)
    box = FakeBox(better)
    with pytest.raises(Denied, match="gave no answer: KeyError"):
        go(cfg, box)
    assert box.ran == []


def test_a_gate_sees_the_class_of_the_decision(tmp_path, go):
    only = """return "" if change_class == "recipe" else "class " + str(change_class)"""
    cfg = config(tmp_path, f"gates.file={own_gate(tmp_path, only)}")
    mandate(cfg)
    assert go(cfg, FakeBox(better))["finished"]
    reasons = {d["reason"].rpartition(": ")[2] for d in bodies(cfg) if not d["allow"]}
    assert reasons <= {"class promote"} and any(d["allow"] for d in bodies(cfg))


def test_a_gate_can_never_add_a_yes(tmp_path, go):
    cfg = config(
        tmp_path, f"gates.file={own_gate(tmp_path, 'return str()')}", "autonomy.rules.recipe=deny"
    )
    with pytest.raises(NeedsHuman, match="denied by the rules"):
        go(cfg, FakeBox(better))


def test_a_yes_that_the_own_gate_refuses_does_not_verify(tmp_path, go, monkeypatch):
    """The ablation: a loop whose gate does not ask it lets wide nets train, and the record shows
    it.
    """
    cfg = config(tmp_path, f"gates.file={SIZE}", "study.arms=[random]", "study.proposals=4")
    mandate(cfg)
    words = "the study's own gate: a net of width 96"
    with monkeypatch.context() as patch, pytest.raises(VerificationFailed, match=words):
        patch.setattr(gates.Gate, "own_refusal", lambda *_: "")
        go(cfg, FakeBox(better))
    with pytest.raises(VerificationFailed, match=words):
        verify(tmp_path / "runs" / "t")


def test_code_that_a_run_brings_along_is_never_run_by_who_verifies_it(tmp_path, go, monkeypatch):
    cfg = config(tmp_path, f"gates.file={SIZE}", "task=custom", f"task.file={SORT}")
    mandate(cfg)
    go(cfg, FakeBox(better, sorter))
    for path in (keys.home() / "own").iterdir():
        path.unlink()
    monkeypatch.setattr(own, "_call", lambda *_: pytest.fail("it ran"))
    assert verify(tmp_path / "runs" / "t")["scores"] == 0


def test_people_see_the_code_of_the_study_s_own_files(tmp_path, go):
    cfg = config(tmp_path, f"gates.file={SIZE}", "autonomy=assisted", "study.arms=[random]")
    with pytest.raises(NeedsHuman, match="waits for a decision"):
        go(cfg, FakeBox(better))
    gate = open_gate(tmp_path / "runs" / "t")
    name = next(iter(gate.memory.subjects))
    shown = "\n".join(
        text for _, text in list_lines(view_subject(gate, gate.memory.subjects[name]))
    )
    assert cfg.gates.file_digest in shown and "MOST_WIDTH = 64" in shown
    assert "MOST_WIDTH" in page_of(tmp_path / "runs" / "t")


def test_an_amendment_that_names_another_gate_pins_and_shows_it(tmp_path, go):
    cfg = config(tmp_path, "autonomy=assisted")
    with pytest.raises(NeedsHuman, match="waits for a decision"):
        go(cfg, FakeBox(better))
    folder = tmp_path / "runs" / "t"
    name = amend.amend(folder, [f"gates.file={SIZE}"], "user a", "smaller nets")
    gate = open_gate(folder)
    found = view_subject(gate, gate.memory.subjects[name])
    assert [row[0] for row in found.own_raw] == ["gates.file"] and "MOST_WIDTH" in found.own_raw[0][
        3
    ]


def test_people_can_take_out_a_gate_that_says_no_to_everything(tmp_path, go):
    keys.new_key("ada", "person", "correct horse")
    cfg = config(tmp_path, f"gates.file={own_gate(tmp_path, 'return plan[0]')}")
    mandate(cfg)
    with pytest.raises(Denied):
        go(cfg, FakeBox(better))
    folder = tmp_path / "runs" / "t"
    name = amend.amend(folder, ["gates.file="], "user somebody", "it is broken")
    assert not approve(cfg, name, "amend")
    amend.apply_amendment(folder, name)
    assert open_gate(folder).memory.rules.config.files() == {}
    key = Ed25519PrivateKey.generate()
    now = open_gate(folder).memory.rules.config
    put_mandate(
        now,
        keys.sign(
            plain(
                new_mandate(
                    now, now.gates.unattended, "unattended", "unattended", keys.public_hex(key), 2
                )
            ),
            key,
            "mandate",
        ),
    )
    assert go(cfg, FakeBox(better))["finished"]
    verify(folder)


def commands(path):
    """The commands that an example's docstring tells, word by word."""
    lines = ast.get_docstring(ast.parse(path.read_text())).splitlines()
    return [shlex.split(line)[1:] for line in lines if line.strip().startswith("heirloop ")]


@pytest.mark.parametrize("path", [SORT, SIZE, NEIGHBOUR], ids=lambda p: p.name)
def test_every_example_is_one_small_file_whose_commands_do_what_they_say(
    tmp_path, go, monkeypatch, path
):
    """Word by word, from the checkout, in a box that computes nothing;
    tests/sandbox/test_program.py runs the proposer in real ones.
    """
    assert len(path.read_text().splitlines()) <= own.MOST_LINES
    monkeypatch.chdir(ROOT)
    told = commands(path)
    assert told

    def script(execution):
        if execution.role == "propose":
            done = subprocess.run(
                [sys.executable, str(path)],
                input=execution.files["history.json"] + b"\n",
                capture_output=True,
                check=True,
            )
            return outcome(files={"proposals.jsonl": done.stdout})
        return sorter(execution) if path == SORT else None

    for number, words in enumerate(told):
        runs = f"runs={tmp_path}/runs{number}"
        if words[0] == "task":
            done = go(
                None,
                FakeBox(better, script),
                lambda _, w=words, r=runs: CliRunner().invoke(main.cli, [*w, r]),
            )
            assert done.exception is None and "exclusion" in done.output
            continue
        assert words[0] == "run"
        cfg = settings.compose_settings([*words[1:], runs])
        mandate(cfg)
        result = go(cfg, FakeBox(better, script))
        assert result["finished"] and not [e for e in entries(cfg) if e.kind == "invalid"]
        verify(tmp_path / f"runs{number}" / cfg.study.name)


def test_task_check_prints_rows_and_fails_what_fails(tmp_path, go, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, passed in (("task.seed_deviation=0.05", True), ("task.seed_deviation=0.0001", False)):
        args = ["task", "check", str(SORT), name, "--unattended", "--json"]
        done = go(None, FakeBox(better, sorter), lambda _, a=args: CliRunner().invoke(main.cli, a))
        found = json.loads(done.output)
        assert [row["check"] for row in found["rows"]] == [
            "exclusion",
            "inputs",
            "repeats",
            "chance",
            "leakage",
            "noise",
            "headroom",
        ]
        assert (
            all(row["passed"] for row in found["rows"]) == passed
            and (done.exception is None) == passed
        )
        assert verify(tmp_path / found["run"])["scores"] == 8 + 12 + 4
