"""The command line: its table of verbs is right, and a plain verb imports no heavy library."""

import subprocess
import sys

import click
import pytest
from click.testing import CliRunner

from loop.command.main import cli
from loop.command.verbs import VERBS

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
