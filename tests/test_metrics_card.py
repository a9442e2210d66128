"""The card of docs/metrics.md has a row for every figure, and no row without a figure."""

import re
import tarfile
from fnmatch import fnmatchcase

import pytest
from conftest import ROOT

from loop.instruments.measure import flatten, measure
from loop.report.oversight import measures
from loop.report.study import read_runs

CARD = (ROOT / "docs" / "metrics.md").read_text()
WITH, WITHOUT = (
    CARD.split(f"## {head}\n")[1] for head in ("Figures with a counterpart", "No counterpart")
)


def read_column(text, column):
    """Return the names in a column of the tables of a text."""
    rows = [line.split("|") for line in text.splitlines() if line.startswith("|")]
    return [name for row in rows for name in re.findall(r"`([^`]+)`", row[column])]


NAMES = read_column(WITH.split("\n## ")[0], 2) + read_column(WITHOUT, 1)
"""Figures of the card, `*` for any ending."""
ARCHIVES = ("closed", "planted")
"""Recorded runs: arm self with a stand-in for people, and arms of programs."""


@pytest.fixture(scope="module")
def figures(tmp_path_factory):
    """Return the names of all figures and of the oversight measures of recorded runs."""
    names = set()
    for archive in ARCHIVES:
        folder = tmp_path_factory.mktemp(archive)
        with tarfile.open(ROOT / "tests" / "ledgers" / f"{archive}.tar.xz") as packed:
            packed.extractall(folder, filter="data")
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("HEIRLOOP_HOME", str(folder / "home"))
            for run in sorted((folder / "runs").iterdir()):
                names |= {strip(name) for name, _ in flatten(measure([run]))}
                (study,) = read_runs([run])
                names |= {name for name, _ in measures(study.summaries[0]["oversight"])}
    return names


def strip(name):
    """Return a figure's name without its arm and without the group between arms."""
    return re.sub(r"^(arms, [^,]+|between), ", "", name)


def covers(pattern, name):
    return fnmatchcase(name, pattern.replace("[", "[[]"))


def test_every_figure_stands_on_the_card(figures):
    assert len(figures) > 80
    assert not {name for name in figures if not any(covers(row, name) for row in NAMES)}


def test_every_row_of_the_card_is_a_figure(figures):
    """A name that no recorded run has must at least be written in the code that names figures."""
    code = "".join(
        path.read_text()
        for folder in ("loop/instruments", "evals")
        for path in sorted((ROOT / folder).rglob("*.py"))
    )
    dead = [row for row in NAMES if not any(covers(row, name) for name in figures)]
    assert not [row for row in dead if row.partition(",")[0].rstrip("*") not in code]
    assert len(dead) <= len(NAMES) / 4, dead


def test_no_figure_stands_on_the_card_twice():
    assert len(set(NAMES)) == len(NAMES)
