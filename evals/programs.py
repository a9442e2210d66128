"""An archive of programs that modify themselves: which one has the next child, which one is best?

Example: program 3 was made from program 1, its own proposals gained 2 times of 8, and those of its
children 9 times of 16. Its clade gained 11 times of 24. The rule `clade` draws a share for each
clade from Beta(1 + 11, 1 + 13) and takes the largest draw, as the Huxley-Goedel Machine does
(Wang et al. 2025, arXiv:2510.21614): what a program's descendants achieve says more about it as an
ancestor than what it achieves itself. Pure functions over records.
"""

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

from configs.arms import EVOLVING
from evals.arms import UNIT
from evals.intervals import Figure, mean

Rule = Literal["clade", "score", "random"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """A program of an archive, and how its proposals did on the parents that select."""

    number: int
    "its number; 0 is the first"
    parent: int
    "number of the program that it was made from; -1 for the first"
    skill: float | None
    "mean gain of its proposals, larger is better; None: it was never asked, or has no score"
    asked: int
    "proposals wanted of it"
    usable: int
    "those that became a plan"
    gained: int
    "those that scored above their parent"


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """The best program of an archive beside the first, on parents that no selection saw."""

    repeat: int
    "repeat; equal numbers share parents and seeds"
    gain: float
    """skill of the best program less that of the first, in the objective's unit per proposal; 0
    where the first is the best, NaN where it could not be measured
    """
    promised: float
    "the same difference as the selections saw it"
    programs: int
    "programs of the archive that were asked"
    usable: float
    "share of the proposals of all children that became a plan"


def count_clades(programs: Sequence[Program]) -> dict[int, tuple[int, int]]:
    """Return number -> (proposals that gained, proposals wanted) of a program and its descendants.

    A program comes after its parent.
    """
    counts = {one.number: (one.gained, one.asked) for one in programs}
    for one in sorted(programs, key=lambda one: -one.number):
        if one.parent in counts:
            gained, asked = counts[one.parent]
            counts[one.parent] = gained + counts[one.number][0], asked + counts[one.number][1]
    return counts


def choose_parent(rule: Rule, programs: Sequence[Program], rng: random.Random) -> int:
    """Return the number of the program that has the next child.

    A program without a usable proposal has none, unless no program has one. Of equals the earliest
    is taken.
    """
    able = [one for one in programs if one.usable] or [programs[0]]
    if rule == "random":
        return rng.choice(able).number
    if rule == "score":
        return find_best(able)
    clades = count_clades(programs)
    draws = [_draw_share(*clades[one.number], rng) for one in able]
    return able[draws.index(max(draws))].number


def _draw_share(gained: int, asked: int, rng: random.Random) -> float:
    return rng.betavariate(1 + gained, 1 + asked - gained)


def find_best(programs: Sequence[Program]) -> int:
    """Return the number of the program of highest skill, the earliest of equals; all lack it: the
    first of them.
    """
    skills = [-math.inf if one.skill is None else one.skill for one in programs]
    return programs[skills.index(max(skills))].number


def compare_programs(
    compared: Mapping[str, Sequence[Compared]],
) -> dict[str, dict[str, Figure]]:
    """Return arm, or difference of two arms -> figures.

    `gain` is that of the best program over the first where no selection looked, `promised` as the
    selections saw it, `shortfall` the part of the promise that was not kept, `usable` the share of
    children's proposals that became a plan. A difference is paired over the repeats of both arms.
    """
    unit, figures = f"{UNIT} per proposal", dict[str, dict[str, Figure]]()
    for arm, rows in compared.items():
        figures[arm] = {
            "gain": mean([row.gain for row in rows], unit),
            "promised": mean([row.promised for row in rows], unit),
            "shortfall": mean([row.promised - row.gain for row in rows], unit),
            "usable": mean([row.usable for row in rows], "share", neutral=None),
        }
    for one, other in combinations([arm for arm in EVOLVING if arm in compared], 2):
        own = {row.repeat: row.gain for row in compared[one]}
        others = {row.repeat: row.gain for row in compared[other]}
        apart = [own[repeat] - others[repeat] for repeat in own if repeat in others]
        figures[f"{one} minus {other}"] = {"gain": mean(apart, unit)}
    return figures
