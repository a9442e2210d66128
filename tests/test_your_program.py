"""The worked examples of docs/your-program.md, run literally in real boxes."""

import re
import shutil
import subprocess
import sys

import pytest
from conftest import ROOT, need_box

from loop.facts.reader import FactsReader
from sandbox.box.namespace import NamespaceBox
from sandbox.ledger import Ledger

TEXT = (ROOT / "docs" / "your-program.md").read_text()
SHELL = f"""
set -e
export PYTHONPATH={ROOT}
heirloop() {{ {sys.executable} -c 'from loop.command.main import main; main()' "$@"; }}
"""


def walk(tmp_path, name):
    """Run the block of commands of a study in a copy of the docs; return its facts, and prints."""
    need_box(lambda: NamespaceBox(ROOT / ".box", warm=False)).close()
    blocks = re.findall(r"```\n(.*?)```", TEXT, re.DOTALL)
    commands = next(block for block in blocks if f"study.name={name}" in block)
    (tmp_path / "docs").mkdir()
    for path in ROOT.glob("docs/*.md"):
        shutil.copy(path, tmp_path / "docs")
    shutil.copytree(ROOT / "docs" / "examples", tmp_path / "docs" / "examples")
    (tmp_path / ".venv").symlink_to(sys.prefix)
    done = subprocess.run(
        ["bash", "-c", SHELL + commands], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return FactsReader(Ledger.at(tmp_path / "runs" / name)).facts(), done.stdout


def scores_of(facts, metric):
    """Return the scores of every replicate that has one."""
    return [getattr(scores, metric) for scores in facts.scores.values() if scores]


@pytest.mark.prove
@pytest.mark.timeout(900)
def test_a_convolutional_net_learns_digits_and_the_loop_changes_its_program(tmp_path):
    facts, printed = walk(tmp_path, "digits-conv")
    assert max(scores_of(facts, "exact_match")) > 0.8
    candidates = [plan for plan in facts.plans.values() if plan.purpose == "candidate"]
    assert candidates and all(plan.change_class == "patch" for plan in candidates)
    assert re.search(r"noise .* 0\.\d+", printed) and "headroom" in printed


@pytest.mark.prove
@pytest.mark.timeout(900)
def test_an_unmodified_trainer_of_one_file_is_studied(tmp_path):
    facts, _ = walk(tmp_path, "language-model")
    assert min(scores_of(facts, "nll")) < 3.6  # 97 characters, evenly, are 4.6 nats
    changes = [p.hypothesis for p in facts.plans.values() if p.purpose == "candidate"]
    assert changes and all(" becomes " in words for words in changes)


def test_the_trainer_of_one_file_knows_nothing_of_heirloop():
    text = (ROOT / "docs" / "examples" / "language_model" / "train.py").read_text()
    assert "heirloop" not in text.lower() and "questions" not in text and "region" not in text
