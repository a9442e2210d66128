"""Proposer `evolve`: programs evolve, not only knobs.

It is AlphaEvolve's loop at toy scale (Novikov et al. 2025), without any model. A database of past
programs is rebuilt from the history at each call. It has islands with migration, each a MAP-Elites
grid (Mouret and Clune 2015) over size of the change and size of the net. A parent and inspirations
are drawn from an island. Operators (mutate.py), or in `evolve-llm` a model, change the parent's
models/train.py. A child too near to a trial is drawn again.

The cascade: a text must compile and keep to the marked regions; then the loop screens it on
feedback, then confirms it. Nothing is executed here. Without a readable program `evolve` takes a
step in the recipe instead.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from configs.build import parse, strict_json
from configs.errors import BadInput
from configs.history import History, Trial
from configs.recipe import Recipe, knob_values
from configs.records import Proposal
from loop.plan import apply_proposal
from loop.propose.evolve.mutate import mutate
from loop.propose.evolve.patch import FILE, apart, check, edits, grams
from loop.propose.limit import count_changes, need_near
from loop.propose.rivals import propose_local
from loop.propose.view import ProposerView, draw, proposal

ATTEMPTS = 20
"""Most children drawn in search of a new program; after them a step in the recipe is proposed."""


Cell = tuple[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Parent:
    """A program of the database."""

    digest: str
    "digest of the bundle"
    source: str
    "text of its models/train.py"
    recipe: Recipe
    "the recipe of its training"
    score: float | None
    "rounded feedback score as released, larger is better; None: released only as not better"
    champion: bool = False
    "whether it is the champion, confirmed on other data than its score"
    plan: str = ""
    "under a change limit: digest of its plan, the basis of its children; empty: the champion's"

    def worth(self) -> tuple[bool, float]:
        """Return its rank: the champion first, then by score, programs without a score last."""
        return self.champion, -math.inf if self.score is None else self.score

    def describe_outcome(self) -> str:
        """Return its released outcome, in words."""
        return (
            "the champion"
            if self.champion
            else f"score {'not told' if self.score is None else f'{self.score:g}'}"
        )


@lru_cache(maxsize=1024)
def _grams(text: str) -> Counter[tuple[str, ...]]:
    return grams(text)


def cell(one: Parent, first: str) -> Cell:
    """Return the place in the grid.

    Its parts are log2 of the token threes in which a program differs from the first, and log2 of
    width^2 x depth.
    """
    return round(math.log2(1 + apart(_grams(one.source), _grams(first)))), round(
        math.log2(one.recipe.width**2 * one.recipe.depth)
    )


def database(view: ProposerView) -> list[dict[Cell, Parent]]:
    """Return the islands: per cell the best program, the champion everywhere.

    Failed and waiting trials and trials without text are left out. So are, under a change limit,
    trials that no proposal may name as its basis.
    """
    history, settings = view.history, view.settings.evolve
    grids: list[dict[Cell, Parent]] = [{} for _ in range(settings.islands)]
    first = next((view.sources[t.source] for t in history.trials if t.source in view.sources), "")
    for number, trial in enumerate(history.trials):
        if number and number % settings.migration == 0:
            _migrate(grids, first)
        if trial.outcome in ("failed", "waiting") or trial.source not in view.sources:
            continue
        if history.most_changes and not trial.plan:
            continue
        one = Parent(
            digest=trial.source,
            source=view.sources[trial.source],
            recipe=trial.recipe,
            score=trial.score,
            plan=trial.plan,
        )
        for island in grids if trial.verdict == "accept" else [grids[number % len(grids)]]:
            _keep(island, one, first)
    if history.champion_source in view.sources:
        best = Parent(
            digest=history.champion_source,
            source=view.sources[history.champion_source],
            recipe=history.champion,
            score=history.champion_score,
            champion=True,
        )
        for island in grids:
            _keep(island, best, first)
    return grids


def _keep(island: dict[Cell, Parent], one: Parent, first: str) -> None:
    at = cell(one, first)
    if at not in island or one.worth() > island[at].worth():
        island[at] = one


def _migrate(islands: list[dict[Cell, Parent]], first: str) -> None:
    best = [max(island.values(), key=Parent.worth) if island else None for island in islands]
    for number, one in enumerate(best):
        if one is not None:
            _keep(islands[(number + 1) % len(islands)], one, first)


def select(
    view: ProposerView, islands: Sequence[dict[Cell, Parent]]
) -> tuple[Parent, tuple[Parent, ...]] | None:
    """Draw a parent and inspirations for the next proposal from the island in turn.

    Returns None without a known program.
    """
    settings, rng = view.settings.evolve, view.rng
    ranked = sorted(
        islands[len(view.history.trials) % len(islands)].values(), key=Parent.worth, reverse=True
    )
    if not ranked:
        return None
    steep = 1.0 if rng.random() < settings.explore else 0.5
    parent = rng.choices(ranked, [steep**rank for rank in range(len(ranked))])[0]
    others = [one for one in ranked if one is not parent]
    return parent, tuple(rng.sample(others, min(settings.inspirations, len(others))))


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


def novel(
    text: str, recipe: Recipe, trials: Sequence[Trial], sources: Mapping[str, str], bound: int
) -> bool:
    """Tell whether a program differs by at least `bound` token threes from every trial of its
    recipe.

    Failed and waiting trials count.
    """
    same = {sources[t.source] for t in trials if t.recipe == recipe and t.source in sources}
    return all(apart(_grams(text), _grams(other)) >= bound for other in same)


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
