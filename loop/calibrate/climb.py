"""`heirloop task climb`: how many single changes lie between a task's baseline and its reference?

The trainings are a study like that of `task check`. Each round trains every single-knob change on
one seed, the better ones on more, and takes the best. Seeds that choose never tell.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from configs.build import need, parse, plain, strict_json
from configs.errors import BadInput
from configs.recipe import Recipe, grid, knobs
from configs.settings.config import Config
from configs.settings.task import TaskSetup
from evals.climb import REACHED, Climb, Gain, Step, share_of, told_gain
from evals.metrics import primary
from evals.table import Table, World
from loop.calibrate.trainings import budget_for, grant_plan, open_trainings, train
from loop.plan import Planned
from loop.settings import compose_settings
from loop.study.running import Running
from sandbox.canonical import digest

REFERENCES = Path(__file__).resolve().parents[2] / "evals" / "reference"
ROUNDS = ((12, 3), (4, None))
"""(recipes that stay, seeds that each is trained on by then); None: all seeds that choose."""
PAIRED = 8
"""Knobs whose best values are tried in pairs."""
IDLE = 2
"""Steps in a row that do not count, after which a climb has stalled."""
MOST_STEPS = 24
Change = tuple[str, Any]
Say = Callable[[str], None]


class Scored(Protocol):
    """What a climb asks of scores; larger is better."""

    def choose(self, recipes: Sequence[Recipe]) -> Recipe: ...
    def rank(self, recipes: Sequence[Recipe]) -> list[Recipe]: ...
    def gain(self, base: Recipe, other: Recipe) -> Gain: ...


@dataclass(slots=True)
class Bench:
    """The open study: recipes in, scores out, larger is better."""

    running: Running
    seeds: int
    "that choose; as many tell"
    progress: Say
    plans: dict[str, Planned] = field(default_factory=dict)
    recipes: dict[Recipe, str] = field(default_factory=dict)

    def choose(self, recipes: Sequence[Recipe]) -> Recipe:
        """Return the best of these recipes by the seeds that choose."""
        left = list(dict.fromkeys(recipes))
        self._train(left, range(1))
        for count, seeds in ROUNDS:
            done = 1 if count == ROUNDS[0][0] else ROUNDS[0][1] or 1
            left = sorted(left, key=lambda r: self._mean(r, range(done)), reverse=True)[:count]
            self._train(left, range(seeds or self.seeds))
        return max(left, key=lambda recipe: self._mean(recipe, range(self.seeds)))

    def rank(self, recipes: Sequence[Recipe]) -> list[Recipe]:
        """Return recipes that were trained, best first by all seeds that chose."""
        return sorted(recipes, key=lambda r: self._mean(r, range(self.seeds)), reverse=True)

    def gain(self, base: Recipe, other: Recipe) -> Gain:
        """Return the gain of one recipe over another by the seeds that tell."""
        indices = range(self.seeds, 2 * self.seeds)
        self._train([base, other], indices)
        return told_gain(self._scores(base, indices), self._scores(other, indices))

    def describe(self, recipe: Recipe) -> dict[str, float]:
        """Return {mean, deviation, trainings} of a recipe's scores on every seed so far."""
        scores = self._scores(recipe, range(2 * self.seeds))
        return {
            "mean": float(np.mean(scores)),
            "deviation": float(np.std(scores, ddof=1)),
            "trainings": len(scores),
        }

    def _train(self, recipes: Sequence[Recipe], indices: range) -> None:
        for recipe in recipes:
            if recipe not in self.recipes:
                number = self._number(recipe)
                kind = f"recipe {number}"
                self.recipes[recipe] = kind
                self.plans[kind] = grant_plan(self.running, number, kind, recipe, 2 * self.seeds)
        wanted = {self.recipes[recipe]: indices for recipe in recipes}
        train(self.running, self.plans, wanted, self.progress)

    def _number(self, recipe: Recipe) -> int:
        """Return the place of a recipe's plan: the recorded one, or the next."""
        facts, arm = self.running.facts(), self.running.config.arms()[0]
        places = {place[3]: name for place, name in facts.at.items() if place[:3] == (arm, 0, 0)}
        for number, name in places.items():
            if isinstance(name, str) and facts.plans[name].recipe == recipe:
                return number
        return max(places, default=-1) + 1

    def _scores(self, recipe: Recipe, indices: range) -> list[float]:
        facts, plan = self.running.facts(), self.plans[self.recipes[recipe]]
        found = [facts.scores.get((plan.digest, "predict", index)) for index in indices]
        return [primary(self.running.config.objective, scores) for scores in found if scores]

    def _mean(self, recipe: Recipe, indices: range) -> float:
        scores = self._scores(recipe, indices)
        return sum(scores) / len(scores) if scores else float("-inf")


@dataclass(frozen=True, slots=True)
class TableBench:
    """A table: every recipe of its grid is scored already."""

    chosen: World
    told: World
    "the same world for the table's truth; a world of other seeds for gains free of choice"

    def choose(self, recipes: Sequence[Recipe]) -> Recipe:
        """Return the best of these recipes."""
        return self.rank(recipes)[0]

    def rank(self, recipes: Sequence[Recipe]) -> list[Recipe]:
        """Return recipes, best first; one whose trainings all failed is last."""
        return sorted(recipes, key=lambda r: (math.isnan(bits := self.chosen.score(r)), bits))

    def gain(self, base: Recipe, other: Recipe) -> Gain:
        """Return the gain of one recipe over another; a truth has no error."""
        if self.chosen is self.told:
            value = self.told.score(base) - self.told.score(other)
            return Gain(value=value, low=value)
        return told_gain(*([-bits for bits in self.told.scores(r)] for r in (base, other)))


def climb_table(table: Table) -> tuple[Climb, Climb]:
    """Return the climbs of a table from its baseline to its best recipe: by the table's truth, and
    chosen on every other seed and told on the rest.
    """
    whole, rows = World(table), table.rows
    halves = [
        World(replace(table, rows=tuple(r for r in rows if r.number % 2 == side)))
        for side in (0, 1)
    ]
    climbs = []
    for chosen, told in ((whole, whole), halves):
        bench = TableBench(chosen, told)
        climbs.append(measure_climb(bench, table.task, chosen.best()[0], lambda _: None, True)[0])
    return climbs[0], climbs[1]


def climb_task(
    task: str,
    *,
    seeds: int = 8,
    overrides: Sequence[str] = (),
    unattended: bool = False,
    say: Say = lambda _: None,
    progress: Say = lambda _: None,
) -> dict[str, Any]:
    """Return {task, study, run, word, depth, climb, singles, baseline, reference} of a climb.

    The last two are {mean, deviation, trainings} of scores, larger is better.

    Raises NeedsHuman without a mandate, BadInput for a task without a grid or a reference.
    """
    need(4 <= seeds <= 100, "--seeds", seeds, "between 4 and 100")
    config = climb_settings(task, seeds, overrides)
    reference = read_reference(task, config)
    with open_trainings(config, {}, {}, unattended) as (running, _):
        bench = Bench(running, seeds, progress)
        climb, singles = measure_climb(bench, config.task, reference, say)
        ends = {"baseline": config.task.baseline, "reference": reference}
        scores = {name: bench.describe(recipe) for name, recipe in ends.items()}
    return {
        "task": config.task.name,
        "study": running.root,
        "run": str(running.folder),
        "word": climb.word(),
        "depth": plain(climb.depth()),
        "climb": plain(climb),
        "singles": singles,
        **scores,
    }


def climb_settings(task: str, seeds: int, overrides: Sequence[str]) -> Config:
    """Return the study of a climb, with a budget for its trainings."""
    chosen = [f"task={task}", *overrides]
    settings = compose_settings(chosen).task
    total = 400 * seeds
    cpu = total * (settings.planned_cpu_us // 400_000 + 6) + 60
    tag = digest([plain(settings), seeds, "climb"])[:8]
    return compose_settings(
        [
            *chosen,
            "study=single",
            f"study.name=climb-{task}-{tag}",
            "autonomy=autonomous",
            *budget_for(total, cpu_seconds=cpu),
            f"budget.looks.confirm={total}",
        ]
    )


def read_reference(task: str, config: Config) -> Recipe:
    """Return the task's reference recipe, which never enters a box."""
    path = REFERENCES / f"{task}.json"
    if not path.is_file():
        raise BadInput(f"task {task} has no reference in evals/reference; a climb needs one")
    recipe = parse(Recipe, strict_json(path.read_bytes()))
    return replace(recipe, notebook=config.task.baseline.notebook)


def neighbours(recipe: Recipe, choices: Mapping[str, tuple[Any, ...]]) -> Iterator[Recipe]:
    """Yield every recipe that differs in a single knob and is legal."""
    for knob, values in choices.items():
        for value in values:
            if value != getattr(recipe, knob):
                try:
                    yield replace(recipe, **{knob: value})
                except BadInput:
                    continue


def change_of(before: Recipe, after: Recipe) -> Change:
    """Return the knob that differs, and its new value."""
    (knob,) = (name for name in knobs() if getattr(before, name) != getattr(after, name))
    return knob, getattr(after, knob)


def measure_climb(
    bench: Scored, task: TaskSetup, reference: Recipe, say: Say, with_notebook: bool = False
) -> tuple[Climb, list[dict[str, Any]]]:
    """Climb from the baseline; return the climb, and the told gain of each knob's best change.

    Only a table has trainings with a share for the notebook.
    """
    base, choices = task.baseline, grid(with_notebook, task.grid)
    steps, idle, here = list[Step](), 0, base
    distance = bench.gain(base, reference)
    while idle < IDLE and len(steps) < MOST_STEPS:
        chosen = bench.choose([here, *neighbours(here, choices)])
        if chosen == here:
            break
        knob, value = change_of(here, chosen)
        gain, come = bench.gain(here, chosen), bench.gain(base, chosen)
        reached = share_of(come, distance)
        steps.append(Step(knob=knob, value=value, gain=gain, reached=reached))
        say(f"step {len(steps)}: {knob}={value}, {gain.value:+.3f}, {reached:.0%}")
        idle, here = 0 if gain.low > 0 else idle + 1, chosen
        if reached >= REACHED:
            break
    stalled = not steps or steps[-1].reached < REACHED
    best = _best_of_each_knob(bench, base, choices)
    gains = [(change_of(base, recipe), bench.gain(base, recipe)) for recipe in best]
    singles = [
        {"knob": knob, "value": value, "gain": plain(gain)}
        for (knob, value), gain in sorted(gains, key=lambda row: -row[1].value)
    ]
    pair = bench.choose(list(_pairs(base, best[:PAIRED])))
    climb = Climb(
        distance=distance,
        single=max(share_of(gain, distance) for _, gain in gains),
        pair=share_of(bench.gain(base, pair), distance),
        steps=tuple(steps),
        stalled=stalled,
    )
    return climb, singles


def _best_of_each_knob(
    bench: Scored, base: Recipe, choices: Mapping[str, tuple[Any, ...]]
) -> list[Recipe]:
    """Return each knob's best change of the baseline, best first."""
    best = dict[str, Recipe]()
    for recipe in bench.rank(list(neighbours(base, choices))):
        best.setdefault(change_of(base, recipe)[0], recipe)
    return list(best.values())


def _pairs(base: Recipe, singles: Sequence[Recipe]) -> Iterator[Recipe]:
    for one, other in combinations(singles, 2):
        changes = dict([change_of(base, one), change_of(base, other)])
        try:
            yield replace(base, **changes)
        except BadInput:
            continue
