"""The tutorial's commands give the figures that it prints: simulated studies repeat everywhere."""

import json
import re
import subprocess
import sys

import pytest
from conftest import ROOT

TEXT = (ROOT / "docs" / "tutorial.md").read_text()
HEIRLOOP = f"""
export PYTHONPATH={ROOT}
heirloop() {{ {sys.executable} -c 'from loop.command.main import main; main()' "$@"; }}
go() {{ heirloop mandate grant --unattended "$@" && heirloop run "$@"; }}
"""
INTERVAL = r"([+-]?[\d.]+)\s\(([+-]?[\d.]+) to ([+-]?[\d.]+)\)"


def commands(name):
    """Return the commands of the code block that runs a study of this name."""
    blocks = re.findall(r"```\n(.*?)```", TEXT, re.DOTALL)
    return next(block for block in blocks if f"study.name={name}" in block)


def walk(tmp_path, *names):
    """Run the tutorial's commands; return the instruments of the last study."""
    for name in names:
        script = f"set -e\n{HEIRLOOP}\n{commands(name)}"
        subprocess.run(["bash", "-c", script], cwd=tmp_path, check=True, capture_output=True)
    script = f"{HEIRLOOP}\nheirloop instruments runs/{names[-1]} --json"
    done = subprocess.run(
        ["bash", "-c", script], cwd=tmp_path, check=True, capture_output=True, text=True
    )
    return json.loads(done.stdout)


def need_interval(figure, after):
    """Assert that the page prints a figure, with its interval, after these words."""
    printed = re.search(INTERVAL, TEXT.split(after, 1)[1]).groups()
    digits = [len(text.partition(".")[2]) for text in printed]
    values = (figure["value"], figure["low"], figure["high"])
    shown = [round(value, size) for value, size in zip(values, digits, strict=True)]
    assert shown == list(map(float, printed)), after


def need_counts(funnel, words, *names):
    """Assert that the page prints these counts of a funnel in these words."""
    printed = list(map(int, re.search(words, TEXT).groups()))
    plans = {row["fate"]: row["plans"] for row in funnel}
    assert printed == [plans[name] for name in names], words


def test_every_block_of_the_tutorial_that_runs_a_study_names_it():
    for name in ("greedy", "careful", "hacking", "lossy", "compounding", "mine"):
        assert "go study=" in commands(name)


@pytest.mark.prove
def test_the_figures_of_greed_and_of_the_sequential_test_are_those_of_the_page(tmp_path):
    arm = walk(tmp_path, "greedy")["arms"]["random"]
    need_counts(arm["funnel"], r"(\d+) of 96 proposals were accepted", "accepted")
    need_interval(arm["gain"], "`arms, random, gain`")
    need_interval(arm["promise"]["winner's curse"], "`promise, winner's curse`")
    arm = walk(tmp_path, "careful")["arms"]["random"]
    words = r'(\d+) of 96 were accepted; (\d+) ended as "no effect", (\d+) as "inconclusive"'
    need_counts(arm["funnel"], words, "accepted", "no effect", "inconclusive")
    assert (tmp_path / "build" / "rules" / "report.html").is_file()


@pytest.mark.prove
def test_the_figures_of_the_hacked_world_are_those_of_the_page(tmp_path):
    kept = walk(tmp_path, "hacking")["arms"]["planted"]["retention"]
    need_interval(kept["feedback to gate"], "`retention, feedback to confirm`")
    need_interval(kept["gate to closing"], "From confirm to the closing look")


def open_sealed(tmp_path, world, name):
    """Run the tutorial's commands on the lossy world in another; return its instruments."""
    text = commands("lossy").replace("world=lossy", f"world={world}")
    text = text.replace("study.name=lossy", f"study.name={name}").replace(
        "runs/lossy", f"runs/{name}"
    )
    script = f"set -e\n{HEIRLOOP}\n{text.strip()} --json > {name}.json"
    subprocess.run(["bash", "-c", script], cwd=tmp_path, check=True, capture_output=True)
    return json.loads((tmp_path / f"{name}.json").read_text())


@pytest.mark.prove
@pytest.mark.timeout(1800)
def test_the_word_lossy_is_said_of_the_lossy_world_and_not_of_the_other(tmp_path):
    lossy, kept = (
        open_sealed(tmp_path, *names) for names in (("lossy", "lossy"), ("linear", "linear"))
    )
    own = lossy["arms"]["self"]
    need_interval(own["retention"]["closing to sealed"], "`retention, closing to sealed` says")
    need_interval(own["excess loss"]["sealed"], "`excess loss, sealed`")
    need_interval(kept["arms"]["self"]["retention"]["closing to sealed"], "study.name=linear`:")
    need_interval(kept["arms"]["self"]["excess loss"]["sealed"], "the excess is")
    assert lossy["words"]["lossy"] and not kept["words"]["lossy"]


@pytest.mark.prove
@pytest.mark.timeout(1800)
def test_the_figures_of_the_compounding_world_are_those_of_the_page(tmp_path):
    measured = walk(tmp_path, "compounding")
    between = measured["between"]
    need_interval(between["own effect"], "| own effect |")
    need_interval(between["kappa own"], "| kappa own |")
    need_interval(between["self minus refit"], "| self minus `refit` |")
    need_interval(between["self effect"], "| self effect |")
    assert measured["words"]["amplifying"] and measured["words"]["self-closed"]
