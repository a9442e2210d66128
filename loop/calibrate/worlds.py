"""`heirloop validate`: the instruments on worlds of known truth, and rates of wrong words.

The worlds are planted laws (evals/planted.py), or those of a table of recorded trainings
(loop/calibrate/table_worlds.py).

A world of your own is a Python file with a WORLD (evals/planted.py), named by its path. It runs as
your own code, so name only trusted files.
"""

import runpy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fnmatch import filter as filter_names
from fnmatch import fnmatch
from pathlib import Path

from configs.errors import BadInput
from evals.planted import WORLDS, World
from evals.proof import Called, Row, prove_world
from loop.calibrate import table_worlds
from loop.calibrate.table_worlds import KNOWN, Sizes, prove_table

ENOUGH = 200
"""Studies with which a row may fail."""
PLANTED_STUDIES, TABLE_STUDIES, CAMPAIGNS = 200, 400, 2000
"""Studies of each planted world, and of all of a table; campaigns of each arm for a truth."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What to validate."""

    names: Sequence[str] = ()
    "planted worlds, files of own worlds, or `table`; none: every planted world"
    table: str = ""
    "file of the table behind the worlds `table`"
    studies: int | None = None
    "studies of each planted world, and of all worlds of a table; None: 200 and 400"
    campaigns: int = CAMPAIGNS
    "campaigns of each arm for the truth of each world of a table"
    worlds: int = table_worlds.WORLDS
    "worlds of a table"
    processes: int = 1
    "processes that share the worlds of a table"


def validate(
    asked: Asked, say: Callable[[str], None] = lambda _: None
) -> tuple[list[Row], list[Called]]:
    """Return every row and every word of the worlds.

    Raises BadInput for an unknown world, and for a table that is missing or not asked for.
    """
    rows, called = list[Row](), list[Called]()
    on_table = table_worlds.NAME in asked.names
    if on_table != bool(asked.table):
        raise BadInput(
            f"--table is {asked.table!r}; it should be the file of a table with --world"
            f" {table_worlds.NAME}, and is for that world alone"
        )
    studies = PLANTED_STUDIES if asked.studies is None else asked.studies
    planted = [find_world(name) for name in asked.names if name != table_worlds.NAME]
    for world in planted if asked.names else WORLDS.values():
        say(world.name)
        world_rows, world_called = prove_world(world, studies)
        rows += world_rows
        called += world_called
    if on_table:
        studies = TABLE_STUDIES if asked.studies is None else asked.studies
        sizes = Sizes(studies=studies, campaigns=asked.campaigns, worlds=asked.worlds)
        table_rows, table_called = prove_table(asked.table, sizes, asked.processes, say)
        rows += table_rows
        called += table_called
    return rows, called


def find_world(name: str) -> World:
    """Return a built-in world, or the WORLD of a Python file."""
    if name in WORLDS:
        return WORLDS[name]
    path = Path(name)
    if path.suffix != ".py" or not path.is_file():
        raise BadInput(
            f"--world is {name!r}; it should be one of {', '.join(WORLDS)}, {table_worlds.NAME}, or"
            " the path of a Python file that defines WORLD"
        )
    world = runpy.run_path(str(path)).get("WORLD")
    if not isinstance(world, World):
        raise BadInput(f"WORLD of {path} is {world!r}; it should be a World of evals/planted.py")
    return world


def list_failures(rows: Sequence[Row], called: Sequence[Called]) -> list[str]:
    """Return the rows and words without support, given enough studies, but for the known ones."""
    return [text for one, text in _list_all(rows, called) if not _explain(one)]


def list_known(rows: Sequence[Row], called: Sequence[Called]) -> list[str]:
    """Return the rows and words that are known to fail on tables, each with the reason.

    An entry that holds on this table, given enough studies, is among them: it may be removed.
    """
    failing = [(one, text) for one, text in _list_all(rows, called) if _explain(one)]
    known = [f"{text}: {_explain(one)}" for one, text in failing]
    failed = [_name(one) for one, _ in failing]
    everything: list[Row | Called] = [*rows, *called]
    tried = [_name(one) for one in everything if _is_on_table(one) and one.n >= ENOUGH]
    for pattern in KNOWN:
        if filter_names(tried, pattern) and not filter_names(failed, pattern):
            known.append(f"{pattern} holds here, and is listed as a known failure")
    return known


def _list_all(rows: Sequence[Row], called: Sequence[Called]) -> list[tuple[Row | Called, str]]:
    missed = [
        (row, f"{row.instrument} covers {row.coverage:.3f} of {row.n} on {row.world}")
        for row in rows
        if row.n >= ENOUGH and not row.holds()
    ]
    wrong = [
        (word, f"{word.word} is said wrongly in {word.called} of {word.n} studies of {word.world}")
        for word in called
        if word.n >= ENOUGH and not word.holds()
    ]
    return [*missed, *wrong]


def _name(one: Row | Called) -> str:
    return one.instrument if isinstance(one, Row) else one.word


def _is_on_table(one: Row | Called) -> bool:
    """Tell whether known failures may excuse a row or a word: on tables alone."""
    return one.world in (table_worlds.NAME, table_worlds.EXCHANGE)


def _explain(one: Row | Called) -> str:
    """Return the known reason for a failure; an empty string for a failure that is news."""
    reasons = (reason for pattern, reason in KNOWN.items() if fnmatch(_name(one), pattern))
    return next(reasons, "") if _is_on_table(one) else ""
