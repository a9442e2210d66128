"""The database of programs from which `evolve` draws parents: islands, each with a grid.

It is AlphaEvolve's database at toy scale (Novikov et al. 2025), rebuilt from the history at each
call. Islands have migration, and each is a MAP-Elites grid (Mouret and Clune 2015) over size of the
change and size of the net. A program stands on the island whose turn it was, and migration alone
brings it to others; only the first program is on all of them from the start. So the islands differ,
and the champion is no parent everywhere. Nothing is executed here.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from configs.history import Trial
from configs.recipe import Recipe
from configs.records import Cell, Origin
from loop.propose.evolve.patch import apart, grams
from loop.propose.view import ProposerView

Island = dict[Cell, "Parent"]


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
        """Return its rank within a cell: the champion first, then by score."""
        return self.champion, self.rank()

    def rank(self) -> float:
        """Return its rank as a parent: its score; programs without a released score are last."""
        return -math.inf if self.score is None else self.score

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


def cell(source: str, recipe: Recipe, first: str) -> Cell:
    """Return the place of a program and its recipe in the grid.

    Its parts are log2 of the token threes in which the program differs from the first, and log2 of
    width^2 x depth.
    """
    return round(math.log2(1 + apart(_grams(source), _grams(first)))), round(
        math.log2(recipe.width**2 * recipe.depth)
    )


def database(view: ProposerView) -> list[Island]:
    """Return the islands: per cell the best program; a champion loses its cell to none.

    Failed and waiting trials and trials without text are left out. So are, under a change limit,
    trials that no proposal may name as its basis. Without `archive` the champion stands alone.
    """
    history, settings, best = view.history, view.settings.evolve, _champion(view)
    islands: list[Island] = [{} for _ in range(settings.islands)]
    first = find_first(view)
    placed = False
    for number, trial in enumerate(history.trials if settings.archive else ()):
        if number and number % settings.migration == 0:
            _migrate(islands, first, settings.grid)
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
        if best and (one.digest, one.recipe) == (best.digest, best.recipe):
            one, placed = best, True
        for island in [islands[number % len(islands)]] if any(islands) else islands:
            _keep(island, one, first, settings.grid)
    if best and not placed:
        for island in islands:
            _keep(island, best, first, settings.grid)
    return islands


def find_first(view: ProposerView) -> str:
    """Return the program of the first trial with a text: distances in the grid are from it."""
    return next(
        (view.sources[t.source] for t in view.history.trials if t.source in view.sources), ""
    )


def _champion(view: ProposerView) -> Parent | None:
    """Return the champion as a parent, None without its text."""
    history = view.history
    if history.champion_source not in view.sources:
        return None
    return Parent(
        digest=history.champion_source,
        source=view.sources[history.champion_source],
        recipe=history.champion,
        score=history.champion_score,
        champion=True,
    )


def _keep(island: Island, one: Parent, first: str, grid: bool) -> None:
    """Put a program into its cell if it is the best there; without a grid each has its own cell."""
    at = cell(one.source, one.recipe, first) if grid else (len(island), 0)
    if at not in island or one.worth() > island[at].worth():
        island[at] = one


def _migrate(islands: list[Island], first: str, grid: bool) -> None:
    """Copy the best program of each island to the next."""
    best = [max(island.values(), key=Parent.rank) if island else None for island in islands]
    for number, one in enumerate(best):
        target = islands[(number + 1) % len(islands)]
        if one is not None and one not in target.values():
            _keep(target, one, first, grid)


def turn(trials: int, islands: int) -> int:
    """Return the island whose turn it is after so many trials; the child will stand on it."""
    return trials % islands


def select(
    view: ProposerView, islands: Sequence[Island]
) -> tuple[Parent, tuple[Parent, ...]] | None:
    """Draw a parent and inspirations for the next proposal from the island in turn.

    Returns None without a known program.
    """
    settings, rng = view.settings.evolve, view.rng
    island = islands[turn(len(view.history.trials), len(islands))]
    ranked = sorted(island.values(), key=Parent.rank, reverse=True)
    if not ranked:
        return None
    steep = 1.0 if rng.random() < settings.explore else 0.5
    parent = rng.choices(ranked, [steep**rank for rank in range(len(ranked))])[0]
    others = [one for one in ranked if one is not parent]
    return parent, tuple(rng.sample(others, min(settings.inspirations, len(others))))


def find_origin(trials: int, islands: int, child: tuple[str, Recipe], first: str) -> Origin:
    """Return where a child (program, recipe) stands, proposed after so many trials."""
    return Origin(island=turn(trials, islands), cell=cell(*child, first))


def novel(
    text: str, recipe: Recipe, trials: Sequence[Trial], sources: Mapping[str, str], bound: int
) -> bool:
    """Tell whether a program differs by at least `bound` token threes from every trial of its
    recipe.

    Failed and waiting trials count.
    """
    same = {sources[t.source] for t in trials if t.recipe == recipe and t.source in sources}
    return all(apart(_grams(text), _grams(other)) >= bound for other in same)
