"""`heirloop check FILE`: a person's own file on a small example, and its mistake in a sentence."""

import json
import subprocess
import sys

import pytest
from click.testing import CliRunner
from conftest import ROOT
from fakes import FakeBox, outcome
from studies import better

from configs.errors import BadInput, HeirloopError
from loop.calibrate import own as checks
from loop.command import main

EXAMPLES = ROOT / "docs" / "examples"


def run_program(execution):
    """Run the program as the box would, without a box."""
    done = subprocess.run(
        [sys.executable, "-I", "-c", execution.files["program"].decode()],
        input=execution.files["history.json"] + b"\n",
        capture_output=True,
    )
    if done.returncode:
        return outcome(status="program", detail=done.stderr.decode().splitlines()[-1])
    return outcome(files={"proposals.jsonl": done.stdout})


@pytest.fixture(autouse=True)
def _box(monkeypatch):
    monkeypatch.setattr(checks, "make_box", lambda _: FakeBox(better, run_program))


@pytest.mark.parametrize(
    ("name", "kind"),
    [("sort_task", "task"), ("size_gate", "gate"), ("neighbour_proposer", "proposer")],
)
def test_each_example_passes_its_check(name, kind):
    done = CliRunner().invoke(main.cli, ["check", str(EXAMPLES / f"{name}.py"), "--json"])
    assert done.exception is None, done.exception
    rows = {row["what"]: row["value"] for row in json.loads(done.output)}
    assert rows.pop("kind") == kind and len(rows) >= 3


ITEMS = "QUESTION, ANSWER, VALUES = 1, 1, 9\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("def items(:\n", "no Python"),
        (ITEMS + "def items(): return [[1, 2, 3]]\n", r"QUESTION \+ ANSWER"),
        (ITEMS + "def items(): yield [1, 2]\n", "held_out"),
        (ITEMS + "def items(): return 1 / 0\n", "ZeroDivisionError"),
        (
            "import random\n" + ITEMS + "def items(): return [[random.randrange(9), i % 9]"
            " for i in range(2000)]\n",
            "other rows",
        ),
        ("def gate(plan): return ''\n", "TypeError"),
        ("def gate(plan, change_class): return True\n", "no text"),
        ("def gate(plan, change_class): return plan['nothing']\n", "KeyError"),
        ("import os\ndef gate(plan, change_class): return os.urandom(4).hex()\n", "otherwise"),
        ("print(5 / 0)\n", "ZeroDivisionError"),
        ("print('{}')\n", "at least 3"),
        ("print('{}\\n' * 3)\n", "proposal 1 of FILE cannot be used"),
        (
            "import json\nwide = {'depth': 3, 'width': 96, 'dropout': 0.1}\n"
            "print((json.dumps({'hypothesis': '', 'knobs': wide}) + '\\n') * 3)\n",
            "changes of proposal 1 of FILE is 3; it should be at most 2",
        ),
        ("x = 1\n" * 60, "at most 50 lines"),
    ],
)
def test_a_mistake_is_told_in_a_sentence(tmp_path, text, said):
    (tmp_path / "own.py").write_text(text)
    with pytest.raises(HeirloopError, match=said):
        checks.check_own(str(tmp_path / "own.py"))


def test_another_kind_can_be_named_and_an_unknown_kind_is_refused():
    with pytest.raises(BadInput, match="no function items"):
        checks.check_own(str(EXAMPLES / "size_gate.py"), "task")
    with pytest.raises(BadInput, match="--as"):
        checks.check_own(str(EXAMPLES / "size_gate.py"), "plan")
