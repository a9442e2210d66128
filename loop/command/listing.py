"""`heirloop list`: the names that settings can hold, each with its meaning."""

import re
from collections.abc import Callable, Iterator, Mapping
from itertools import takewhile
from pathlib import Path
from typing import Any

import click

from configs.arms import ARMS, variant
from configs.entries.manual import field_texts
from configs.errors import BadInput
from configs.recipe import GRID, Recipe, knobs
from configs.settings.config import Config
from loop.plan import ROOT
from loop.propose.table import PROPOSERS, proposer
from loop.settings import compose_settings
from loop.terminal import AS_JSON, print_table, write_truth

Grid = Mapping[str, tuple[Any, ...]]
Rows = tuple[list[str], list[list[Any]]]
"""Head of a table, and its rows."""
BOXES = {
    "auto": ("the namespace box where it works, else Docker", "either of them"),
    "namespace": ("namespaces of this Linux, without an image", "Linux, bubblewrap"),
    "docker": ("a container of the image heirloop-box", "a Docker engine, `heirloop image build`"),
    "planted": ("no box: a law stands in for trainings", "task=planted"),
    "table": ("no box: recorded trainings answer (docs/table.md)", "task=table task.table=FILE"),
}
"""Box -> (where jobs run, its needs)."""
WITHOUT_TABLE = (
    *("task=text", "task.notebook=true", "++task.fixed=null"),
    *("++study.claims=[]", "++study.writeups=null"),
)
"""Settings with which a study on a table composes where no table lies."""
HELD_OUT = "~study.programs.held_out"
"""Takes back the values that a study keeps for its end; they name columns of its table."""


def _list_knobs() -> Rows:
    texts, baseline = field_texts(Recipe), Recipe()
    tasks = [(name, compose_settings([f"task={name}"]).task) for name in _built_in_tasks()]
    own = {name: task.grid for name, task in tasks if task.grid}
    rows = [
        [name, getattr(baseline, name), _list_values(name, own), texts[name]] for name in knobs()
    ]
    return ["knob", "default", "proposers draw from", "meaning and range"], rows


def _list_values(knob: str, own: Mapping[str, Grid]) -> str:
    """Return the common values of a knob, then those of each task with a grid of its own."""
    grids = {"": GRID, **{f"{task}: ": grid for task, grid in own.items()}}
    texts = {start: ", ".join(map(str, grid.get(knob, ()))) for start, grid in grids.items()}
    return "; ".join(start + (text or "none") for start, text in texts.items())


def _list_arms() -> Rows:
    names = [*ARMS, *(name for name in PROPOSERS if name != "notebook")]
    rows = []
    for name in dict.fromkeys(names):
        way, arm = proposer(name), variant(name)
        needs = " or ".join(f"proposer.{setting}" for setting in way.needs)
        history = f"{arm.history}, {arm.notes}" if arm.notes else arm.history
        rows.append([name, arm.proposer, arm.weights, history, way.where, way.sees, needs])
    return ["arm", "proposer", "weights", "history", "where", "sees", "needs"], rows


def _list_tasks() -> Rows:
    rows = list[list[Any]]()
    for name, text in _describe("task"):
        if name not in _built_in_tasks():
            rows.append([name, "-", "-", "-", text])
            continue
        task = compose_settings([f"task={name}"]).task
        seconds = task.planned_cpu_us / 1e6
        rows.append([name, seconds, task.seed_deviation, write_truth(task.notebook), text])
    return ["task", "CPU-seconds a training", "seed deviation", "notebook", "meaning"], rows


def _list_studies() -> Rows:
    rows = []
    for name, text in _describe("study"):
        config = _compose_study(name)
        study, arms = config.study, ", ".join(config.arms())
        rows.append([name, arms, study.repeats, study.generations, study.proposals, text])
    return ["study", "arms", "repeats", "generations", "proposals", "meaning"], rows


def _compose_study(name: str, *more: str) -> Config:
    """Return a study's settings from any folder: without its table, with files of the checkout."""
    try:
        return compose_settings([f"study={name}", *more])
    except BadInput as error:
        text = str(error)
        if named := re.match(r"([\w.]+) is '([^/'][^']*)'; it cannot be read", text):
            return _compose_study(name, *more, f"{named[1]}={ROOT / named[2]}")
        if text.startswith("task.table") and not more:
            return _compose_study(name, *WITHOUT_TABLE)
        if text.startswith("fixed is") and HELD_OUT not in more:
            return _compose_study(name, *more, HELD_OUT)
        raise


def _list_boxes() -> Rows:
    rows = [[name, *texts] for name, texts in BOXES.items()]
    return ["box", "where jobs run", "needs"], rows


UNNAMED = ("custom", "planted", "program", "table")
"""Tasks that need more than their name."""


def _built_in_tasks() -> list[str]:
    return [name for name, _ in _describe("task") if name not in UNNAMED]


def _describe(group: str) -> Iterator[tuple[str, str]]:
    """Yield the name of each file of a group of settings, and its comment at the top."""
    for path in sorted((ROOT / "configs" / group).glob("*.yaml")):
        yield path.stem, _read_comment(path)


def _read_comment(path: Path) -> str:
    lines = takewhile(lambda line: line.startswith("#"), path.read_text().splitlines())
    return " ".join(line.lstrip("# ") for line in lines if "@package" not in line)


LISTS: dict[str, Callable[[], Rows]] = {
    "knobs": _list_knobs,
    "arms": _list_arms,
    "tasks": _list_tasks,
    "studies": _list_studies,
    "boxes": _list_boxes,
}


@click.command("list")
@click.argument("kind", metavar="|".join(LISTS), type=click.Choice(list(LISTS)))
@AS_JSON
def list_names(kind: str, as_json: bool) -> None:
    """List the knobs, arms, tasks, studies or boxes that settings can name."""
    head, rows = LISTS[kind]()
    print_table(rows, head, as_json)
