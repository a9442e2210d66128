import json
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from configs.errors import BadInput, VerificationFailed
from evals.claims import WORDS
from evals.planted import WORLDS
from evals.proof import Called, Row
from loop.calibrate.worlds import find_world, list_failures
from loop.command import main

OWN = """
from dataclasses import replace
from evals.law import Law
from evals.planted import world
WORLD = replace(world(Law(name="mine", step=0.4)), words=frozenset({words}))
"""


def call(*args):
    return CliRunner().invoke(main.cli, ["validate", *args], catch_exceptions=False)


def test_the_verb_tells_truth_mean_coverage_and_who_was_called_what():
    found = json.loads(
        call("--world", "lossy", "--world", "cron", "--studies", "12", "--json").output
    )
    assert {row["world"] for row in found["instruments"]} == {"lossy", "cron"}
    head = ["world", "instrument", "truth", "mean", "bias", "coverage", "low", "high", "n"]
    assert list(found["instruments"][0]) == head and found["known failures"] == []
    lossy = next(row for row in found["words"] if (row["world"], row["word"]) == ("lossy", "lossy"))
    assert lossy == {"world": "lossy", "word": "lossy", "true": True, "called": 12, "n": 12}


def test_a_world_of_one_s_own_is_a_file(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(OWN.format(words="()"))
    output = call("--world", str(path), "--studies", "5").output
    assert "mine" in output and "kappa" in output
    path.write_text("WORLD = 3\n")
    with pytest.raises(BadInput, match=r"WORLD of .* is 3; it should be a World"):
        find_world(str(path))


def test_an_unknown_world_lists_the_known_ones():
    with pytest.raises(BadInput, match="it should be one of null, linear, compounding"):
        find_world("nowhere")
    with pytest.raises(BadInput, match="between 1 and 100000"):
        call("--world", "cron", "--studies", "0")


def test_a_world_whose_truth_is_stated_wrongly_fails(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(
        OWN.format(words="()") + 'WORLD = replace(WORLD, truth={**WORLD.truth, "kappa": 0.2})\n'
    )
    with pytest.raises(VerificationFailed, match=r"kappa covers 0\.000 of 200 on mine"):
        call("--world", str(path))


def test_what_rests_on_few_studies_is_shown_and_not_judged():
    row = Row(world="w", instrument="i", truth=0.0, mean=1.0, coverage=0.0, n=199)
    said = Called(world="w", word="lossy", true=False, called=9, n=100)
    assert list_failures([row], [said]) == []
    found = list_failures([replace(row, n=200)], [replace(said, called=11, n=200)])
    assert found == [
        "i covers 0.000 of 200 on w",
        "lossy is said wrongly in 11 of 200 studies of w",
    ]


def test_the_world_in_the_document_runs_as_it_stands(tmp_path):
    text = (Path(__file__).resolve().parents[2] / "docs" / "instruments.md").read_text()
    (tmp_path / "mine.py").write_text(text.split("```python\n")[1].split("```")[0])
    assert find_world(str(tmp_path / "mine.py")).words & set(WORDS) == {"amplifying", "self-closed"}


def test_every_planted_world_has_its_row_in_the_document():
    text = (Path(__file__).resolve().parents[2] / "docs" / "instruments.md").read_text()
    table = text.split("| world | law |")[1].split("\n\n")[0].splitlines()[2:]
    named = " ".join(row.split("|")[1] for row in table)
    assert {name for name in WORLDS if f"`{name}`" not in named} == set()
