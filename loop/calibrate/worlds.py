"""`heirloop validate`: the instruments on worlds whose truth is known, and how often each word is
said wrongly.

A world of your own is a Python file that defines WORLD (evals/planted.py), named by its path: it is
run as your own code, so name only yours.
"""

import runpy
from collections.abc import Callable, Sequence
from pathlib import Path

from configs.errors import BadInput
from evals.planted import WORLDS, World
from evals.proof import Called, Row
from evals.proof import validate as on_world

ENOUGH = 200
"""Studies from which on a row that does not hold is a failure."""


def validate(
    names: Sequence[str], studies: int, say: Callable[[str], None] = lambda _: None
) -> tuple[list[Row], list[Called]]:
    """Return every row of every named world (none named: all built in); raises BadInput for an
    unknown one.
    """
    rows, called = list[Row](), list[Called]()
    for one in [find(name) for name in names] or WORLDS.values():
        say(one.name)
        found, said = on_world(one, studies)
        rows += found
        called += said
    return rows, called


def find(name: str) -> World:
    """Return a built-in world, or the WORLD of a file whose path ends in .py."""
    if name in WORLDS:
        return WORLDS[name]
    path = Path(name)
    if path.suffix != ".py" or not path.is_file():
        raise BadInput(
            f"--world is {name!r}; it should be one of {', '.join(WORLDS)}, or the path of a Python"
            " file that defines WORLD"
        )
    found = runpy.run_path(str(path)).get("WORLD")
    if not isinstance(found, World):
        raise BadInput(f"WORLD of {path} is {found!r}; it should be a World of evals/planted.py")
    return found


def failures(rows: Sequence[Row], called: Sequence[Called]) -> list[str]:
    """Return what does not hold, where enough studies were drawn to say so."""
    missed = [
        f"{r.instrument} covers {r.coverage:.3f} of {r.n} on {r.world}"
        for r in rows
        if r.n >= ENOUGH and not r.holds()
    ]
    wrong = [
        f"{c.word} is said wrongly in {c.called} of {c.n} studies of {c.world}"
        for c in called
        if c.n >= ENOUGH and not c.holds()
    ]
    return missed + wrong
