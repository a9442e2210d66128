"""The change limit of a study: how many knobs and source regions a proposal may change.

Example: under a limit of 2, width and depth may change together, and nothing else. The gate
counts in the same way (sandbox/gate/flaw.py).
"""

import random
from collections.abc import Mapping
from typing import Any

from configs.build import need
from configs.errors import BadInput
from configs.recipe import Recipe, knob_values
from configs.records import Proposal
from configs.settings.task import TaskSetup
from sandbox.decision import list_changes, list_regions
from sandbox.store import Store

NEIGHBOUR_DRAWS = 1000
"""Draws of a neighbour until its knobs fit together."""


def need_few_changes(
    store: Store, limit: int, base: tuple[str, Recipe], other: tuple[str, Recipe]
) -> None:
    """Raise BadInput if two (bundle, recipe) differ in more than the limit allows; 0 allows any."""
    _need_few(limit, len(list_changes(store, base, other)) if limit else 0)


def need_no_knobs(task: TaskSetup, proposal: Proposal) -> None:
    """Raise BadInput for knobs in a study of a training program of people's own."""
    knobs = sorted(proposal.knobs) if task.folder else []
    need(not knobs, "knobs", knobs, "none: a training program of one's own has no recipe")


def need_near(limit: int, base: tuple[Recipe, str], other: tuple[Recipe, str]) -> None:
    """Raise BadInput if two (recipe, program) differ in more than the limit; 0 allows any."""
    _need_few(limit, count_changes(base, other) if limit else 0)


def _need_few(limit: int, changes: int) -> None:
    need(changes <= limit, "changes", changes, f"at most {limit} knobs and regions")


def count_changes(base: tuple[Recipe, str], other: tuple[Recipe, str]) -> int:
    """Count the changed knobs and changed source regions between two (recipe, program)."""
    knobs = list_different(base[0], other[0])
    return len(knobs) + len(list_regions(base[1].encode(), other[1].encode()))


def list_different(base: Recipe, other: Recipe) -> list[str]:
    """Return the names of the knobs in which two recipes differ."""
    before, after = knob_values(base), knob_values(other)
    return [name for name in before if before[name] != after[name]]


def describe_limit(limit: int) -> str:
    """Return the change limit as a sentence; without a limit an empty string."""
    if not limit:
        return ""
    changes = "a single change" if limit == 1 else f"at most {limit} changes"
    return (
        f"A proposal makes {changes} in all: each changed knob counts, and so does each run of"
        " neighbouring source lines"
    )


def draw_neighbour(
    rng: random.Random, base: Recipe, grid: Mapping[str, tuple[Any, ...]], limit: int
) -> Recipe:
    """Draw uniformly from the recipes of the grid with 1 to `limit` changed knobs.

    Each neighbour has a rank, and one uniform rank names it. A recipe whose knobs do not fit
    together is drawn anew, so the legal neighbours stay equally likely.
    """
    before = knob_values(base)
    choices = {name: [v for v in values if v != before[name]] for name, values in grid.items()}
    totals = _count_neighbours([len(values) for values in choices.values()], limit)
    for _ in range(NEIGHBOUR_DRAWS if sum(totals[0][1:]) else 0):
        changed = _at_rank(choices, totals, rng.randrange(sum(totals[0][1:])))
        try:
            return Recipe(**{**before, **changed})
        except BadInput:
            continue  # the heads do not divide the width
    raise BadInput(f"no recipe of the grid lies within {limit} changes of the champion")


def count_neighbours(base: Recipe, grid: Mapping[str, tuple[Any, ...]], limit: int) -> int:
    """Count the recipes of the grid with 1 to `limit` changed knobs, 0 for any number of them.

    Knobs that do not fit together are counted too.
    """
    before = knob_values(base)
    counts = [sum(v != before[name] for v in values) for name, values in grid.items()]
    return sum(_count_neighbours(counts, limit or len(counts))[0][1:])


def _count_neighbours(counts: list[int], limit: int) -> list[list[int]]:
    """Return, for the knobs from each place on, how many ways there are to change k of them.

    These are the elementary symmetric sums of the counts: row i, column k, with k from 0 to limit.
    """
    rows = [[1] + [0] * limit]
    for count in reversed(counts):
        after = rows[0]
        ways = [after[k] + count * after[k - 1] for k in range(1, limit + 1)]
        rows.insert(0, [1, *ways])
    return rows


def _at_rank(
    choices: Mapping[str, list[Any]], totals: list[list[int]], rank: int
) -> dict[str, Any]:
    """Return the changed knobs of the neighbour with a rank, from 0."""
    left = 1
    while rank >= totals[0][left]:
        rank -= totals[0][left]
        left += 1
    changed = dict[str, Any]()
    for place, (name, values) in enumerate(choices.items(), 1):
        unchanged = totals[place][left]
        if rank < unchanged:
            continue
        value, rank = divmod(rank - unchanged, totals[place][left - 1])
        changed[name], left = values[value], left - 1
        if not left:
            break
    return changed
