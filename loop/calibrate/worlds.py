"""`heirloop validate`: the instruments on worlds of known truth, and rates of wrong words.

A world of your own is a Python file with a WORLD (evals/planted.py), named by its path. It runs as
your own code, so name only trusted files.
"""

import runpy
from collections.abc import Callable, Sequence
from pathlib import Path

from configs.errors import BadInput
from evals.planted import WORLDS, World
from evals.proof import Called, Row, prove_world

ENOUGH = 200
"""Studies with which a row may fail."""


def validate(
    names: Sequence[str], studies: int, say: Callable[[str], None] = lambda _: None
) -> tuple[list[Row], list[Called]]:
    """Return every row and every word of the named worlds; without names, of all built-in ones.

    Raises BadInput for an unknown world.
    """
    rows, called = list[Row](), list[Called]()
    for world in [find_world(name) for name in names] or WORLDS.values():
        say(world.name)
        world_rows, world_called = prove_world(world, studies)
        rows += world_rows
        called += world_called
    return rows, called


def find_world(name: str) -> World:
    """Return a built-in world, or the WORLD of a Python file."""
    if name in WORLDS:
        return WORLDS[name]
    path = Path(name)
    if path.suffix != ".py" or not path.is_file():
        raise BadInput(
            f"--world is {name!r}; it should be one of {', '.join(WORLDS)}, or the path of a Python"
            " file that defines WORLD"
        )
    world = runpy.run_path(str(path)).get("WORLD")
    if not isinstance(world, World):
        raise BadInput(f"WORLD of {path} is {world!r}; it should be a World of evals/planted.py")
    return world


def list_failures(rows: Sequence[Row], called: Sequence[Called]) -> list[str]:
    """Return the rows and words without support, given enough studies."""
    missed = [
        f"{row.instrument} covers {row.coverage:.3f} of {row.n} on {row.world}"
        for row in rows
        if row.n >= ENOUGH and not row.holds()
    ]
    wrong = [
        f"{word.word} is said wrongly in {word.called} of {word.n} studies of {word.world}"
        for word in called
        if word.n >= ENOUGH and not word.holds()
    ]
    return missed + wrong
