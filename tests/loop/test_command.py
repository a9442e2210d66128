"""The command line: its table of verbs is right, and a plain verb imports no heavy library."""

import importlib.metadata
import json
import shlex
import subprocess
import sys

import click
import pytest
from click.testing import CliRunner

from configs.arms import ARMS
from configs.recipe import knobs
from loop.command.examples import EXAMPLES
from loop.command.main import cli
from loop.command.verbs import VERBS
from loop.plan import ROOT
from loop.propose.table import PROPOSERS

HEAVY = ("hydra", "omegaconf", "matplotlib", "scipy", "sklearn", "optuna", "docker", "fastapi")
PLAIN = ("status", "plans", "pending", "approve", "stop", "keys", "incident", "resume", "deploy")


@pytest.mark.parametrize("verb", VERBS)
def test_each_verb_has_its_own_name_and_line_of_help(verb):
    command = cli.get_command(click.Context(cli), verb)
    assert command.name == verb
    assert " ".join(command.help.split("\n\n")[0].split()) == VERBS[verb][1]


def test_the_list_of_verbs_is_that_of_click():
    lines = CliRunner().invoke(cli, ["--help"]).output.split("Commands:\n")[1].splitlines()
    assert [line.split()[0] for line in lines if line] == sorted(VERBS)


def test_an_unknown_verb_is_bad_input():
    run = CliRunner().invoke(cli, ["paint"])
    assert run.exit_code == 2 and "No such command 'paint'" in run.output


def test_help_and_plain_verbs_import_no_heavy_library():
    code = f"""
import sys, click
from loop.command.main import cli
cli(["--help"], standalone_mode=False)
assert "sqlalchemy" not in sys.modules
for verb in {PLAIN}:
    cli.get_command(click.Context(cli), verb)
assert not set({HEAVY}) & set(sys.modules), set({HEAVY}) & set(sys.modules)
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr


def commands(group=cli, path=()):
    """Yield every verb with its path: `keys new`, for example."""
    for name in group.list_commands(click.Context(group)):
        command = group.get_command(click.Context(group), name)
        yield (*path, name), command
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))


def test_every_help_ends_with_an_example_that_its_verb_understands():
    paths = [path for path, _ in commands()]
    assert {" ".join(path) for path in paths} == set(EXAMPLES)
    for path in paths:
        lines = CliRunner().invoke(cli, [*path, "--help"]).output.splitlines()
        assert lines[-2:] == ["  Example:", f"    {EXAMPLES[' '.join(path)]}"]


@pytest.mark.parametrize("example", sorted(set(EXAMPLES.values())))
def test_every_example_of_the_help_can_be_typed(example):
    command, words = cli, shlex.split(example)[1:]
    while isinstance(command, click.Group):
        command = command.get_command(click.Context(command), words.pop(0))
    assert command.make_context("heirloop", words).command is command


def test_the_version_is_that_of_the_package():
    run = CliRunner().invoke(cli, ["--version"])
    assert run.output == f"heirloop {importlib.metadata.version('heirloop')}\n"


NAMES = {
    "knobs": knobs(),
    "arms": {name for name in (*ARMS, *PROPOSERS) if name != "notebook"},
    "tasks": {path.stem for path in (ROOT / "configs/task").glob("*.yaml")},
    "studies": {path.stem for path in (ROOT / "configs/study").glob("*.yaml")},
    "boxes": {path.stem for path in (ROOT / "configs/box").glob("*.yaml")},
}


@pytest.mark.parametrize("kind", NAMES)
def test_a_verb_lists_every_name_that_settings_can_hold(kind, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # where no table lies
    run = CliRunner().invoke(cli, ["list", kind, "--json"])
    rows = json.loads(run.output)
    assert {next(iter(row.values())) for row in rows} == set(NAMES[kind])
