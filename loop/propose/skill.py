"""Measure how well weights propose: their proposals, each trained and scored on held-out data.

Q(theta(r, h)) of docs/instruments.md: weights are trained anew on a history, read it and propose,
once for each parent. All cells of configs.arms.CELLS have the same parents. No proposal on a drawn
parent repeats a recipe that any arm of the repeat tried. Their plans pass the gate and are paid for
like any other plan. None can become champion, and no history shows them.
"""

import hmac
import random
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Any, Literal

from configs.arms import CELLS, START
from configs.build import plain
from configs.errors import BadInput
from configs.recipe import Recipe, knobs
from configs.records import CONFIRM, Plan, Split
from configs.settings.config import Config
from configs.settings.task import TaskSetup
from loop.campaign import Campaign
from loop.facts.facts import Facts
from loop.propose.limit import count_neighbours, list_different
from loop.propose.question import Question, measure_answers
from loop.propose.view import draw
from sandbox.canonical import canonical

Use = Literal["select", "measure"]
"""What a look at proposing skill is for: it chooses a champion, or it is a result."""
SPLITS_OF: dict[Use, Split] = {"select": "feedback", "measure": CONFIRM}
"""Use -> split of its looks. The splits of a repeat have no item in common."""
PARENT_DRAWS = 2000
"""Draws of parents until enough of them are distinct and have room."""
ROOM = 4
"""A parent has room if so many untried neighbours are left for each proposal that is wanted."""
KNOBS = knobs()
"""Names of all knobs."""


def measure_skill(campaign: Campaign, cell: str) -> None:
    """Measure a cell: for each parent a propose plan, then a plan per proposal.

    Finished steps are kept.
    """
    study, arm = campaign.running.config.study, CELLS[cell]
    for ask, parent in enumerate(list_parents(campaign, "measure")):
        generation = study.skill_generation(list(CELLS).index(cell), ask)
        on = f"parent {ask + 1} of {study.asks()}" if study.skill_parents else "the baseline"
        hypothesis = f"measures skill, cell {cell}: {study.skill_proposals} proposals on {on}"
        question = Question(
            purpose="skill",
            generation=generation,
            number=0,
            first=0,
            asked=campaign.champions()[0 if arm.weights == "first" else -1],
            history=arm.history,
            parent=parent,
            hypothesis=hypothesis,
        )
        barred = partial(_list_barred, campaign, cell, ask)
        measure_answers(campaign, question, SPLITS_OF["measure"], barred)


def list_parents(campaign: Campaign, use: Use) -> list[Recipe]:
    """Return the parents of a repeat's asks: the same for all its arms and cells.

    They are drawn by the repeat's secret. Without a table the first is the baseline, and without
    `study.skill_parents` it is the only parent.
    """
    config = campaign.running.config
    first = [config.task.baseline]
    if not config.study.skill_parents:
        return first
    secret = campaign.running.items.of(campaign.repeat).secret
    tried = {plan.recipe for plan in list_tried(campaign.facts(), campaign.repeat)}
    room = has_room(config, campaign.arm, tried)
    drawn = draw_parents(config.task, secret, use, config.study.skill_parents, room)
    return drawn if config.task.folds else [*first, *drawn[1:]]


def has_room(
    config: Config,
    arm: str,
    tried: Iterable[Recipe],
    choices: Mapping[str, tuple[Any, ...]] | None = None,
) -> Callable[[Recipe], bool]:
    """Return a function that tells whether a parent has untried neighbours enough.

    `choices` are the values that proposals may take, of the task where none are given.
    """
    limit, known = config.study.change_limit(arm), set(tried)
    values = config.task.choices() if choices is None else choices

    def tell(parent: Recipe) -> bool:
        near = sum(1 <= len(list_different(parent, one)) <= (limit or len(KNOBS)) for one in known)
        left = count_neighbours(parent, values, limit) - near
        return left >= ROOM * config.study.skill_proposals

    return tell


def draw_parents(
    task: TaskSetup,
    secret: bytes,
    use: Use,
    count: int,
    has_room: Callable[[Recipe], bool] = lambda parent: True,
    occasion: str = "",
) -> list[Recipe]:
    """Return distinct recipes of the grid, drawn by a repeat's secret, for proposals to improve.

    The secret also halves the grid, so parents that select and parents that measure have no recipe
    in common. Each `occasion` has parents of its own. The baseline is never drawn. Parents without
    room for new proposals are taken only where no others are left. Raises BadInput for a grid with
    too few recipes.
    """
    name = f"parents of skill:{use}{occasion}"
    seed = hmac.digest(secret, name.encode(), "sha256")
    rng, parents, full = random.Random(seed), dict[Recipe, None](), dict[Recipe, None]()
    # Settings read back from a ledger name their knobs in another order.
    choices = dict(sorted(task.choices().items()))
    for _ in range(PARENT_DRAWS):
        recipe = draw(rng, task.baseline, choices)
        if recipe in parents or recipe in full or recipe == task.baseline:
            continue
        if _side(secret, recipe) == use:
            (parents if has_room(recipe) else full)[recipe] = None
        if len(parents) == count:
            break
    drawn = [*parents, *full][:count]
    if len(drawn) < count:
        raise BadInput(
            f"study.skill_parents is {count}; it should be fewer, for the grid of task {task.name}"
            f" has too few recipes to draw {count} parents that {use}"
        )
    return drawn


def _side(secret: bytes, recipe: Recipe) -> Use:
    """Return for which use a recipe may be a parent."""
    name = b"parent of skill:" + canonical(plain(recipe))
    return "measure" if hmac.digest(secret, name, "sha256")[0] & 1 else "select"


def list_tried(facts: Facts, repeat: int) -> Iterator[Plan]:
    """Yield the plans of a repeat that were tried: of the start, baselines, and all candidates."""
    for (arm, other), names in list(facts.proposed.items()):
        if other == repeat or (arm == START and facts.format == 1):
            for plan in (facts.plans[name] for name in list(names)):
                if plan.purpose in ("start", "baseline", "candidate"):
                    yield plan


def _list_barred(campaign: Campaign, cell: str, last: int, number: int) -> Iterator[Plan]:
    """Yield the plans that no proposal of a cell may repeat at a place (ask, number) of it.

    They are those that were tried, and the cell's own proposals so far. A study without
    `study.skill_parents` bars nothing, as before there was such a setting.
    """
    study, facts = campaign.running.config.study, campaign.facts()
    if not study.skill_parents:
        return
    yield from list_tried(facts, campaign.repeat)
    for ask in range(study.asks()):
        generation = study.skill_generation(list(CELLS).index(cell), ask)
        for index in range(study.skill_proposals):
            if (ask, index) >= (last, number):
                return
            recorded = facts.at.get((*campaign.key, generation, index))
            if isinstance(recorded, str):
                yield facts.plans[recorded]
