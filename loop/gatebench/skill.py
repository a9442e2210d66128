"""How much worse do a variant's weights propose? Questions with the baseline's answers beside them.

A question is a history of recorded trials, and a parent to improve; both are drawn by the table's
own secret, so anybody can ask it again. The baseline's weights and the variant's are trained under
the same seed, read the same history, and write four proposals each. A proposal is worth its
parent's bits less its own, by the truth of the table. One that cannot be read is worth its parent
less the bits of a uniform guess. The harm of a question is what a proposal of the baseline is worth
more, in bits a proposal.
"""

import random
from functools import cache

from configs.build import parse, strict_json
from configs.errors import BadInput
from configs.history import History, Trial
from configs.recipe import Recipe
from configs.records import Proposal
from configs.settings.config import Config
from evals.data import replicate_seed
from evals.table import PLANNED, World, list_grid
from loop.gatebench.harm_study import PAIRS, HarmStudy
from loop.gatebench.variant import Variant
from loop.plan import ROOT, apply_proposal, source
from loop.propose.skill import draw_parents
from loop.study.tab_file import read_table, secret_of

TABLE = ROOT / "tab" / "text-v1.parquet"
TRIALS, PROPOSALS, CHANGES = 16, 4, 2
"""Trials of a history, proposals on a parent, and the most knobs that each may change."""


@cache
def read_world() -> World:
    """Return the world of the table of task text."""
    return World(read_table(str(TABLE)))


class Questions:
    """The questions of a measurement."""

    def __init__(self, config: Config, world: World) -> None:
        self._config, self._world = config, world
        self._secret = secret_of(world.table.name)
        self._parents = draw_parents(config.task, self._secret, "measure", PAIRS + 1)

    def compare(self, study: HarmStudy, variant: Variant, number: int) -> float | str:
        """Return how much less a proposal of a variant is worth, in bits, or why it wrote none."""
        history = self._history(number)
        base = Variant(name="the baseline", recipe=study.base.plan.recipe, files=study.pristine)
        before = study.proposals(base, number, history)
        after = study.proposals(variant, number, history)
        if isinstance(before, str):
            raise BadInput(f"the baseline wrote no proposal to question {number}: {before}")
        if isinstance(after, str):
            return after
        return self._worth(before, history) - self._worth(after, history)

    def _history(self, number: int) -> History:
        """Return the trials and the parent of a question."""
        rng = random.Random(f"question:{number}")
        recipes = rng.sample(list_grid(self._world.table.task), TRIALS)
        return History(
            champion=self._parents[number],
            champion_source="",
            champion_score=None,
            trials=tuple(
                self._trial(recipe, number, place) for place, recipe in enumerate(recipes)
            ),
            grid=self._config.task.choices(),
            count=PROPOSALS,
            most_changes=CHANGES,
        )

    def _trial(self, recipe: Recipe, number: int, place: int) -> Trial:
        """Return a recorded training as a proposer sees it; a larger score is better."""
        seed = replicate_seed(self._secret, f"question:{number}", place)
        bits = self._world.draw(recipe, PLANNED, seed).bits[: self._world.table.folds]
        if not len(bits):
            return Trial(recipe=recipe, outcome="failed", failure="it left no score")
        return Trial(recipe=recipe, outcome="scored", score=round(-float(bits.mean()), 2))

    def _worth(self, lines: list[str], history: History) -> float:
        """Return the mean gain of the proposals over their parent, in bits."""
        gains = [self._gain(line, history) for line in lines[: history.count]]
        floor = self._config.objective.floor
        assert floor is not None
        missing = history.count - len(gains)
        lost = self._world.score(history.champion) - floor
        return (sum(gains) + missing * lost) / history.count

    def _gain(self, line: str, history: History) -> float:
        parent, floor = history.champion, self._config.objective.floor
        assert floor is not None
        try:
            proposal = parse(Proposal, strict_json(line))
            recipe = apply_proposal(parent, source(), proposal).recipe
            return self._world.score(parent) - self._world.score(recipe)
        except BadInput:
            return self._world.score(parent) - floor
