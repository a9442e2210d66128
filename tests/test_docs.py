"""Documents that make claims: every field, figure and test that they name is there."""

import ast
import importlib.util
import re
import shutil
import subprocess
from dataclasses import fields
from functools import cache
from pathlib import Path

import pytest
from conftest import ROOT

from configs.entries import KINDS
from configs.errors import BadInput
from configs.records import Incident
from loop.people.send import BACKOFF_SECONDS, PER_HOUR
from loop.settings import compose_settings
from sandbox.incident import DUE_HOURS

INCIDENTS = (ROOT / "docs" / "incidents.md").read_text()
GATES = (ROOT / "docs" / "gates.md").read_text()
AISVS = [
    *(f"9.1.{i}" for i in range(1, 4)),
    *(f"9.2.{i}" for i in range(1, 11)),
    "9.4.4",
    *(f"9.6.{i}" for i in range(1, 4)),
]
"""Items of OWASP AISVS 1.0, chapter C9, that docs/gates.md answers."""


def rows(text, head):
    """Return the rows of the table below a heading, as lists of cells."""
    part = text.split(f"\n## {head}\n")[1].split("\n## ")[0]
    lines = [line for line in part.splitlines() if line.startswith("|")]
    return [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in lines
        if not set(line) <= set("|- ")
    ]


def named_in(path: Path) -> set[str]:
    return {
        node.name
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    }


def load_bench(name):
    """Import a bench file by its path: tests/studies.py has the same name as one of them."""
    spec = importlib.util.spec_from_file_location(f"bench_{name}", ROOT / f"tests/bench/{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_no_two_documents_share_the_name_of_a_study():
    """The second document's command would meet the first's study, of other settings."""
    places = {}
    for path in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))):
        for name in set(re.findall(r"study\.name=([\w.-]+)", path.read_text())):
            places.setdefault(name, []).append(path.name)
    assert not {name: files for name, files in places.items() if len(files) > 1}


def test_every_field_of_an_incident_has_a_row_and_every_row_names_a_field():
    found = [row[0].strip("`") for row in rows(INCIDENTS, "Field by field")[1:]]
    assert found == [f.name for f in fields(Incident)]
    assert all(len(row) == 4 and row[3] for row in rows(INCIDENTS, "Field by field"))


def test_the_hours_in_the_document_are_those_of_the_code():
    found = {
        row[0].strip("`"): None if row[1] == "none" else int(row[1])
        for row in rows(INCIDENTS, "When notice is due")[1:]
    }
    assert found == DUE_HOURS


def test_every_item_of_the_checklist_has_a_row_with_a_test_or_says_that_it_is_not_met():
    table = rows(GATES, "OWASP AISVS, chapter C9")[1:]
    assert [row[0] for row in table] == AISVS
    for row in table:
        assert "::test_" in row[3] or row[2].startswith("Not met"), row[0]


@pytest.mark.parametrize(
    "path", [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))], ids=lambda path: path.name
)
def test_every_test_that_a_document_names_exists(path):
    for file, name in re.findall(r"`?(tests/[\w/]+\.py)::(\w+)", path.read_text()):
        assert name in named_in(ROOT / file), f"{path.name} names {file}::{name}"
    assert set(re.findall(r"\btest_[a-z0-9_]{6,}\b", path.read_text())) <= known_tests()


@cache
def known_tests():
    """Return the names of all tests, and of their files."""
    files = [*(ROOT / "tests").rglob("test_*.py")]
    return {file.stem for file in files}.union(*map(named_in, files))


def test_the_figures_of_calls_are_those_of_the_code():
    words = r"(\d+) attempts within about (\d+) minutes, at most (\d+) an hour for"
    attempts, about, an_hour = map(int, re.search(words, GATES).groups())
    assert (attempts, an_hour) == (len(BACKOFF_SECONDS), PER_HOUR) and abs(
        about - sum(BACKOFF_SECONDS) / 60
    ) < 5


def test_the_ledger_s_document_names_every_kind_of_entry():
    text = (ROOT / "docs" / "ledger.md").read_text()
    assert set(text.split("Kinds: `")[1].split("`")[0].split()) == set(KINDS)


def test_every_claim_is_what_the_archive_of_its_study_holds(monkeypatch, tmp_path, capsys):
    studies = load_bench("studies")
    monkeypatch.setattr(studies, "instruments", cache(studies.instruments))
    studies.claims()  # leaves with the claims that do not hold
    text = (ROOT / "docs" / "studies" / "claims.md").read_text()
    told = [line for line in text.splitlines() if studies.CLAIM.match(line)]
    assert len(told) > 10 and len(told) == sum(
        bool(re.search(r"`( \d+)?: `", line)) for line in text.splitlines()
    )
    (tmp_path / "claims.md").write_text(
        text.replace(studies.CLAIM.match(told[0])["value"], "0.1 (0 to 1)")
    )
    monkeypatch.setattr(studies, "STUDIES", tmp_path)
    with pytest.raises(SystemExit, match="claims do not hold"):
        studies.claims()
    assert "the archive has" in capsys.readouterr().out


def test_the_three_words_are_defined_alike_in_two_sentences_each():
    texts = [
        (ROOT / name).read_text() for name in ("README.md", "docs/concepts.md", "docs/tutorial.md")
    ]
    for word in ("lossy self-improvement", "closure", "amplification"):
        found = {re.search(rf"^\| {word} \| (.*) \|$", text, re.MULTILINE)[1] for text in texts}
        assert len(found) == 1 and len(re.findall(r"\. (?=[A-Z`])", found.pop())) == 1


SHOWN = r"""
heirloop() { printf '%s\0' "$@"; printf '\n'; }
make() { :; }
xargs() { until [ "$1" = heirloop ]; do shift; done; "$@"; }
"""
"""What a documented command is when a shell expands it for us: its words, and nothing runs."""
PLACEHOLDERS = r"'(FILE|DIR|NAME|[\w/.-]+\.(csv|parquet|txt))'|digits_conv|language_model"
"""What stands for a reader's own file or word, or for a file that the lines before it make."""


@pytest.mark.parametrize(
    "path", [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))], ids=lambda path: path.name
)
def test_every_documented_command_that_runs_a_study_has_settings_that_exist(
    path, monkeypatch, tmp_path
):
    monkeypatch.chdir(ROOT)
    shell = [str(shutil.which("bash")), "--noprofile", "--norc", "-c"]
    nowhere = {"PATH": "/nowhere", "i": "1", "seed": "1"}  # no program but ours
    for block in re.findall(r"^```\w*\n(.*?)^```", path.read_text(), re.M | re.S):
        if not re.search(r"^ *heirloop (run|mandate grant) ", block, re.M):
            continue
        told = subprocess.run(
            [*shell, SHOWN + block], cwd=tmp_path, env=nowhere, capture_output=True
        )
        lines = [line.split("\0") for line in told.stdout.decode().split("\0\n")]
        tried = [words for words in lines if words[0] == "run" or words[:2] == ["mandate", "grant"]]
        assert tried, told.stderr
        for words in tried:
            if "-m" not in words and "..." not in words:  # a sweep, and the rest of a command
                flaw = find_flaw(tuple(word for word in words if "=" in word and word[0] != "-"))
                assert not flaw or re.search(PLACEHOLDERS, flaw), (words, flaw)


@cache
def find_flaw(overrides):
    """Return why these are no settings, or nothing; a mandate and its run have the same."""
    try:
        compose_settings(list(overrides))
    except BadInput as error:
        return str(error)
    return ""
