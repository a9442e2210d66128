"""Proposer `evolve-llm`: a model improves a program of the database.

The model sees the parent in the champion's place. Its answer is taken in as a change of the parent,
and written again as a change of the champion, on which a gate decides.
"""

from dataclasses import replace

from configs.build import parse, strict_json
from configs.errors import BadInput
from configs.history import History
from configs.recipe import Recipe
from configs.records import Proposal
from loop.plan import apply_proposal
from loop.propose.evolve.database import Parent, database, novel, select
from loop.propose.evolve.patch import FILE, check, edits
from loop.propose.view import ProposerView, proposal


def shown(view: ProposerView) -> tuple[History, str, tuple[Parent, ...]]:
    """Draw a program for a model to improve.

    Returned are the history with a parent in the champion's place, the parent's program, and
    inspirations. Raises BadInput without the champion's program.
    """
    history = view.history
    drawn = select(view, database(view))
    if drawn is None or history.champion_source not in view.sources:
        raise BadInput(
            "no program of the history is known; evolve-llm needs the champion's models/train.py"
        )
    parent, others = drawn
    return (
        replace(
            history,
            champion=parent.recipe,
            champion_source=parent.digest,
            champion_score=parent.score,
        ),
        parent.source,
        others,
    )


def rebased(view: ProposerView, history: History, source: str, text: str) -> str:
    """Return a proposal on a parent (recipe and program of `shown`) as a proposal on the
    champion.

    Raises BadInput unless it passes the cascade.
    """
    before = view.sources[view.history.champion_source]
    recipe, child = applied(history.champion, source, text)
    check(before, child)
    if not novel(child, recipe, view.history.trials, view.sources, view.settings.evolve.novelty):
        raise BadInput(
            "the program is no news: a trial of this recipe had it, but for layout, comments or the"
            " third digit of a number"
        )
    basis = _find_plan(view.history, history.champion, history.champion_source)
    return moved(view.history.champion, before, recipe, child, text, basis)


def _find_plan(history: History, recipe: Recipe, source: str) -> str:
    """Return the plan of a shown program; empty for the champion's, and without a limit."""
    if (recipe, source) == (history.champion, history.champion_source):
        return ""
    same = (t.plan for t in history.trials if (t.recipe, t.source) == (recipe, source) and t.plan)
    return next(same, "")


def applied(recipe: Recipe, source: str, text: str) -> tuple[Recipe, str]:
    """Return the recipe and the program of a parent after a proposal.

    Raises BadInput if it cannot be applied.
    """
    change = apply_proposal(recipe, {FILE: source.encode()}, parse(Proposal, strict_json(text)))
    return change.recipe, change.files[FILE].decode()


def moved(
    champion: Recipe, before: str, recipe: Recipe, child: str, text: str, basis: str = ""
) -> str:
    """Return the proposal from the champion's recipe and program to a child.

    It takes the words of the proposal `text`; the change limit counts against the plan `basis`.
    """
    written = parse(Proposal, strict_json(text))
    changed = edits(before, child)
    return proposal(champion, recipe, written.hypothesis, written.predicted_gain, changed, basis)
