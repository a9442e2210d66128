"""Proposer `evolve`: a child of a program of the database, as edits and knobs.

Operators (mutate.py) change the parent's models/train.py, and now and then knobs of its recipe. A
child too near to a trial is drawn again. Without a readable program `evolve` takes a step in the
recipe instead.
"""

from collections.abc import Sequence

from configs.errors import BadInput
from configs.recipe import Recipe, knob_values
from loop.propose.evolve.database import Parent, database, novel, select
from loop.propose.evolve.mutate import mutate
from loop.propose.evolve.patch import check, edits
from loop.propose.limit import count_changes, need_near
from loop.propose.rivals import propose_local
from loop.propose.view import ProposerView, draw, proposal

ATTEMPTS = 20
"""Most children drawn in search of a new program; after them a step in the recipe is proposed."""


def propose_evolve(view: ProposerView) -> str:
    """Return a proposal, as edits and knobs, from the champion's program and recipe to a new
    child.
    """
    history, islands = view.history, database(view)
    before = view.sources.get(history.champion_source)
    for _ in range(ATTEMPTS):
        drawn = select(view, islands)
        if drawn is None or before is None:
            break
        child = _child(view, *drawn)
        if child is None or not novel(
            child[0], child[1], history.trials, view.sources, view.settings.evolve.novelty
        ):
            continue
        text, recipe, changes = child
        try:
            base = drawn[0].recipe, drawn[0].source
            need_near(history.most_changes, base, (recipe, text))
            check(before, text)
        except BadInput:
            continue
        about = f"{'; '.join(changes)} (parent: {drawn[0].describe_outcome()})"
        changed, basis = edits(before, text), drawn[0].plan
        return proposal(history.champion, recipe, about[:2000], edits=changed, basis=basis)
    return propose_local(view)


def _child(
    view: ProposerView, parent: Parent, inspirations: Sequence[Parent]
) -> tuple[str, Recipe, tuple[str, ...]] | None:
    """Return (program, recipe, description of the change).

    A parent with a text that nothing can change gives a step in its recipe, None if the step fails
    too.
    """
    settings, rng, recipe = view.settings.evolve, view.rng, parent.recipe
    others = tuple(one.source for one in inspirations)
    changes: tuple[str, ...]
    try:
        most = min(settings.edits, view.history.most_changes or settings.edits)
        text, changes = mutate(parent.source, rng, others=others, most=most)
    except BadInput:
        text, changes = parent.source, ()
    most = _count_open(view, parent, text)
    if (rng.random() < settings.knobs and most) or not changes:
        recipe, words = _step(view, recipe, most)
        changes += words
    return (text, recipe, changes) if changes else None


def _count_open(view: ProposerView, parent: Parent, text: str) -> int:
    """Return the most knobs that may change beside a program: the change limit has a rest."""
    limit, most = view.history.most_changes, view.settings.mutations
    if not limit:
        return most
    used = count_changes((parent.recipe, parent.source), (parent.recipe, text))
    return max(0, min(most, limit - used))


def _step(view: ProposerView, recipe: Recipe, most: int) -> tuple[Recipe, tuple[str, ...]]:
    """Change 1 to `most` knobs to other values of the grid, as `local` does.

    Without a possible change the recipe stays as it is.
    """
    grid, before = view.history.grid, knob_values(recipe)
    open_knobs = sorted(
        name for name, values in grid.items() if any(v != before[name] for v in values)
    )
    names = view.rng.sample(open_knobs, min(len(open_knobs), view.rng.randint(1, most)))
    changed = draw(
        view.rng,
        recipe,
        {name: tuple(v for v in grid[name] if v != before[name]) for name in names},
    )
    after = knob_values(changed)
    return changed, tuple(
        f"{name} becomes {after[name]}" for name in after if after[name] != before[name]
    )
