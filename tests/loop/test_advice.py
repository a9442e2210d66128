"""Advice: every command that the program prints in backquotes works when it is typed."""

import ast
import os
import re
import shlex
import signal
import time
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from conftest import ROOT
from fakes import FakeBox
from studies import HUMAN, better, config, mandate, read_facts

from configs.errors import BadInput, BudgetExhausted, HeirloopError, NeedsHuman, Stopped
from loop import settings, terminal
from loop.command.main import cli
from loop.study import open as study_open
from sandbox import control, keys
from sandbox.ledger import Ledger

SHAPE = re.compile(r"`(heirloop [^`]+)`")


def list_commands(text):
    """Return the commands that a text prints as advice."""
    return [" ".join(command.split()) for command in SHAPE.findall(str(text))]


def act(command, **words):
    """Type a command, with words for its placeholders; return its output."""
    args = [words.get(word, word) for word in shlex.split(command)[1:]]
    study_open.release_locks()
    run = CliRunner().invoke(cli, args, standalone_mode=False)
    if run.exception:
        raise run.exception
    return run.output


@pytest.fixture
def person(monkeypatch):
    """A person at a terminal, who types what a signature asks for."""
    monkeypatch.setattr(terminal, "at_terminal", lambda: True)
    monkeypatch.setattr(terminal, "ask_passphrase", lambda twice=False: "correct horse")
    monkeypatch.setattr(terminal, "confirm_digest", lambda *_: None)


def follow(go, cfg, box, most=60):
    """Run a study and type all that it advises, first advice first, until it ends."""
    typed = []
    for _ in range(most):
        try:
            go(cfg, box)
            return typed
        except HeirloopError as error:
            # The others, after "or", would do as well.
            commands = list_commands(error)[:1]
            assert commands, error
        while commands:
            typed.append(commands.pop(0))
            try:
                out = act(typed[-1], NAME="ada", WHY="because")
                commands += list_commands(out)
            except HeirloopError as error:
                commands = [*list_commands(error)[:1], typed[-1]]
                assert len(typed) < most, error
    raise AssertionError(typed)


@pytest.mark.parametrize(
    ("overrides", "verbs"),
    [
        ((), ["mandate"]),
        (("gates=attended",), ["mandate"]),
        ((*HUMAN, "study.generations=1"), None),
        (("autonomy=bounded",), None),
    ],
)
def test_a_study_that_waits_ends_when_its_advice_is_typed(tmp_path, go, person, overrides, verbs):
    keys.new_key("ada", "person", "correct horse")
    cfg = config(tmp_path, *overrides)
    typed = follow(go, cfg, FakeBox(better))
    assert read_facts(Path(cfg.runs) / "t").closed
    assert verbs is None or [command.split()[1] for command in typed] == verbs


def test_a_used_up_account_is_raised_by_the_advised_amendment(tmp_path, go, person):
    keys.new_key("ada", "person", "correct horse")
    cfg = config(tmp_path, "budget.jobs=40", "gates.unattended.jobs=40", "study.final_replicates=0")
    mandate(cfg)
    with pytest.raises(BudgetExhausted, match=r"amend \S+ budget.jobs=80 gates.unattended.jobs=80"):
        go(cfg, FakeBox(better))
    verbs = [command.split()[1] for command in follow(go, cfg, FakeBox(better))]
    assert verbs[:3] == ["amend", "approve", "amend"] and "mandate" in verbs
    assert read_facts(Path(cfg.runs) / "t").closed


def test_a_study_that_pins_no_key_says_so(tmp_path, go, person):
    cfg = config(tmp_path, *HUMAN)
    with pytest.raises(NeedsHuman, match="no key is pinned here") as failure:
        go(cfg, FakeBox(better))
    (command,) = list_commands(failure.value)
    act(command, NAME="ada")
    second = config(tmp_path, *HUMAN, "study.name=second", "study.generations=1")
    typed = follow(go, second, FakeBox(better))
    assert {command.split()[1] for command in typed} == {"approve"}


@pytest.mark.parametrize("how", ["stop", "pause", "SIGTERM"])
def test_after_a_stop_the_advice_is_resume(tmp_path, go, person, how):
    keys.new_key("ada", "person", "correct horse")
    cfg = config(tmp_path)
    mandate(cfg)
    folder = Path(cfg.runs) / "t"

    box = FakeBox(better)

    def order(_):
        if len(box.ran) == 3 and how == "SIGTERM":
            os.kill(os.getpid(), signal.SIGTERM)
        elif len(box.ran) == 3:
            control.order(Ledger.at(folder), how, "user ada", "")

    box.script = order
    with pytest.raises(Stopped) as failure:
        go(cfg, box)
    assert list_commands(failure.value) == [f"heirloop resume {folder}"]
    with pytest.raises(Stopped) as again:
        go(cfg, FakeBox(better))
    assert list_commands(again.value) == [f"heirloop resume {folder}"]
    typed = follow(go, cfg, FakeBox(better))
    assert [command.split()[1] for command in typed[:2]] == ["resume", "approve"]
    assert read_facts(folder).closed


@pytest.mark.parametrize("answer", ["mandate", "approval"])
def test_a_lapsed_mandate_is_followed_by_another_yes(tmp_path, go, person, answer):
    """A mandate that ends while a plan has jobs left would else hold the study for ever."""
    keys.new_key("ada", "person", "correct horse")
    cfg, box = config(tmp_path), FakeBox(better)
    mandate(cfg, hours_ago=24 - 3 / 3600)

    def wait(_):
        if len(box.ran) == 6:
            time.sleep(3)

    box.script = wait
    with pytest.raises(NeedsHuman, match="has expired or was revoked") as failure:
        go(cfg, box)
    act(list_commands(failure.value)[answer == "approval"], WHY="it goes on")
    typed = follow(go, cfg, FakeBox(better))
    assert [command.split()[1] for command in typed] == ["mandate"] * (answer == "approval")
    assert read_facts(Path(cfg.runs) / "t").closed


@pytest.mark.parametrize("order", ["stop", "pause", "slow"])
def test_an_order_names_the_command_that_ends_it(tmp_path, go, person, order):
    keys.new_key("ada", "person", "correct horse")
    cfg, rate = config(tmp_path, *HUMAN), " 5" if order == "slow" else ""
    with pytest.raises(NeedsHuman):
        go(cfg, FakeBox(better))
    said = list_commands(act(f"heirloop {order} {cfg.runs}/t{rate}"))
    assert said == [f"heirloop resume {cfg.runs}/t"]
    with pytest.raises(NeedsHuman) as failure:
        act(said[0])
    act(list_commands(failure.value)[0], WHY="enough")
    assert "resumed" in act(said[0])


def test_a_stop_of_a_study_that_ended_advises_nothing(tmp_path, go):
    cfg = config(tmp_path)
    mandate(cfg)
    go(cfg, FakeBox(better))
    assert list_commands(act(f"heirloop stop {cfg.runs}/t")) == []


def test_a_deployment_is_let_through_by_the_advised_approval(tmp_path, go, person):
    keys.new_key("ada", "person", "correct horse")
    cfg = config(tmp_path)
    mandate(cfg)
    go(cfg, FakeBox(better))
    with pytest.raises(NeedsHuman) as failure:
        act(f"heirloop deploy {cfg.runs}/t")
    (command,) = list_commands(failure.value)
    act(command, WHY="it is good")
    assert "deployed" in act(f"heirloop deploy {cfg.runs}/t")


def list_printed():
    """Yield every command that a text of the program advises, with X for what is filled in."""
    paths = [path for room in ("loop", "sandbox") for path in (ROOT / room).rglob("*.py")]
    for path in paths:
        nodes = list(ast.walk(ast.parse(path.read_text())))
        joined = [node for node in nodes if isinstance(node, ast.JoinedStr)]
        parts = {id(part) for node in joined for part in ast.walk(node)} - set(map(id, joined))
        documents = {id(node.value) for node in nodes if isinstance(node, ast.Expr)}
        for node in nodes:
            if isinstance(node, ast.JoinedStr | ast.Constant) and id(node) not in parts | documents:
                for command in list_commands(fill(node)):
                    yield f"{path.relative_to(ROOT)}:{node.lineno}", command


def fill(node):
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else ""
    return "".join(part.value if isinstance(part, ast.Constant) else "X" for part in node.values)


@pytest.mark.parametrize(("place", "command"), sorted(set(list_printed())))
def test_every_command_in_a_text_of_the_program_is_whole(place, command):
    verb, words = cli, shlex.split(command)[1:]
    while isinstance(verb, click.Group):
        verb = verb.get_command(click.Context(verb), words.pop(0))
    assert verb, place
    verb.make_context("heirloop", words)


@pytest.mark.parametrize(
    ("override", "meant"),
    [
        ("study.generation=2", "study.generations=2"),
        ("+study.generation=2", "study.generations=2"),
        ("studi=quickstart", "study=quickstart"),
        ("study=quikstart", "study=quickstart"),
        ("budget.look.feedback=9", "budget.looks.feedback=9"),
        ("+proposer.fil=x.py", "+proposer.file=x.py"),
    ],
)
def test_a_typo_in_an_override_is_told_with_what_was_meant(override, meant):
    with pytest.raises(BadInput, match=re.escape(f"did you mean {meant}?")):
        settings.compose_settings([override])


@pytest.mark.parametrize("value", ["/tmp/a=b", "/tmp/a,b", "/tmp/(a)", "/tmp/it's=b"])
def test_a_path_that_hydra_cannot_read_is_told_in_the_quotes_that_it_can(value):
    with pytest.raises(BadInput) as failure:
        settings.compose_settings([f"runs={value}"])
    (typed,) = shlex.split(re.search(r'for the shell: (".*")$', str(failure.value)).group(1))
    assert settings.compose_settings([typed]).runs == value


def test_too_few_pairs_are_told_with_as_many_as_are_enough():
    with pytest.raises(BadInput, match="is the least that can") as failure:
        settings.compose_settings(["study.confirm_replicates=2"])
    (enough,) = re.findall(r"study\.confirm_replicates=\d+", str(failure.value))
    settings.compose_settings([enough])
