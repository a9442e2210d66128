"""Measure how well weights propose: their proposals, each trained and scored on held-out data.

Q(theta(r, h)) of docs/instruments.md: weights are trained anew on a history, read it and propose,
once for each parent. All cells of configs.arms.CELLS have the same parents. No proposal on a drawn
parent repeats a recipe that any arm of the repeat tried. Their plans pass the gate and are paid for
like any other plan. None can become champion, and no history shows them.
"""

import hmac
import random
from collections.abc import Callable, Iterator
from typing import Literal

from configs.arms import CELLS, START
from configs.build import need, parse, plain, strict_json
from configs.errors import BadInput
from configs.history import History
from configs.recipe import Recipe, knobs
from configs.records import CONFIRM, JobCount, Plan, Proposal, Split
from configs.settings.task import TaskSetup
from loop.campaign import Campaign, passes_gate
from loop.facts.facts import Facts, Invalid
from loop.measure.jobs import Replicate
from loop.measure.replicate import measure, write_proposals
from loop.plan import Draft, Planned, apply_proposal
from loop.propose.ask import pick_line
from loop.propose.history import list_trials, select_trials, store_history, write_notebook
from loop.propose.limit import count_neighbours, list_different, need_few_changes
from loop.propose.view import draw
from sandbox.canonical import canonical

JOBS = (JobCount(role="champion-train", count=1), JobCount(role="propose", count=1))
"""Jobs of a measure's propose plan: the weights that propose are its reference's."""
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
    study = campaign.running.config.study
    for ask, parent in enumerate(list_parents(campaign, "measure")):
        generation = study.skill_generation(list(CELLS).index(cell), ask)
        asking = _record_propose_plan(campaign, generation, cell, ask, parent)
        if not passes_gate(campaign, asking):
            continue
        lines = write_proposals(campaign.running, asking, campaign.cpu)
        for index in range(study.skill_proposals):
            planned = _record_proposal(campaign, cell, ask, index, asking, lines, parent)
            if planned and passes_gate(campaign, planned):
                split = SPLITS_OF["measure"]
                campaign.look(split, planned)
                for champion in (False, True):
                    pair = Replicate(planned=planned, index=0, champion=champion)
                    measure(campaign.running, pair, split, campaign.cpu)


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
    limit, least = campaign.limit(), ROOM * config.study.skill_proposals

    def has_room(parent: Recipe) -> bool:
        near = sum(1 <= len(list_different(parent, one)) <= (limit or len(KNOBS)) for one in tried)
        return count_neighbours(parent, config.task.choices(), limit) - near >= least

    drawn = draw_parents(config.task, secret, use, config.study.skill_parents, has_room)
    return drawn if config.task.folds else [*first, *drawn[1:]]


def draw_parents(
    task: TaskSetup,
    secret: bytes,
    use: Use,
    count: int,
    has_room: Callable[[Recipe], bool] = lambda parent: True,
) -> list[Recipe]:
    """Return distinct recipes of the grid, drawn by a repeat's secret, for proposals to improve.

    The secret also halves the grid, so parents that select and parents that measure have no recipe
    in common. The baseline is never drawn. Parents without room for new proposals are taken only
    where no others are left. Raises BadInput for a grid with too few recipes.
    """
    seed = hmac.digest(secret, f"parents of skill:{use}".encode(), "sha256")
    rng, parents, full = random.Random(seed), dict[Recipe, None](), dict[Recipe, None]()
    for _ in range(PARENT_DRAWS):
        recipe = draw(rng, task.baseline, task.choices())
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


def _list_barred(campaign: Campaign, cell: str, until: tuple[int, int]) -> Iterator[Plan]:
    """Yield the plans that no proposal of a cell may repeat at a place (ask, index) of it.

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
            if (ask, index) >= until:
                return
            recorded = facts.at.get((*campaign.key, generation, index))
            if isinstance(recorded, str):
                yield facts.plans[recorded]


def _record_propose_plan(
    campaign: Campaign, generation: int, cell: str, ask: int, parent: Recipe
) -> Planned:
    """Record the propose plan of an ask, once.

    It trains the cell's weights by the cell's recipe; they read the cell's history and write.
    """
    recorded = campaign.facts().asks.get((*campaign.key, generation))
    if recorded:
        return campaign.planned(recorded)
    study = campaign.running.config.study
    base, arm = campaign.champions()[0], CELLS[cell]
    best = campaign.champions()[0 if arm.weights == "first" else -1]
    trials = select_trials(campaign, list_trials(campaign), arm.history)
    on = f"parent {ask + 1} of {study.asks()}" if study.skill_parents else "the baseline"
    hypothesis = f"measures skill, cell {cell}: {study.skill_proposals} proposals on {on}"
    draft = Draft(
        generation=generation,
        index=0,
        purpose="propose",
        parent=best.digest,
        change_class="propose",
        recipe=best.plan.recipe,
        bundle=best.plan.bundle,
        reference=(best.plan.bundle, best.plan.recipe),
        proposal=Proposal(hypothesis=hypothesis, knobs={}),
        notebook=write_notebook(campaign, arm.history),
        jobs=JOBS,
    )
    barred = _list_barred(campaign, cell, (ask, 0))
    history = History(
        champion=parent,
        champion_source=base.plan.bundle,
        champion_score=None,
        trials=tuple(trials.values()),
        barred=tuple(dict.fromkeys(plan.recipe for plan in barred)),
        count=study.skill_proposals,
        grid=campaign.running.config.task.choices(),
        most_changes=campaign.limit(),
    )
    return campaign.record(draft, store_history(campaign, history))


def _record_proposal(
    campaign: Campaign,
    cell: str,
    ask: int,
    index: int,
    asking: Planned,
    lines: list[str] | str,
    parent: Recipe,
) -> Planned | None:
    """Record the plan for measuring a proposal against its parent.

    An unusable proposal is recorded as invalid, and has no plan. So is one that was tried.
    """
    generation = asking.plan.generation
    recorded = campaign.facts().at.get((*campaign.key, generation, index))
    if recorded is not None:
        return None if isinstance(recorded, Invalid) else campaign.planned(recorded)
    base, text = campaign.champions()[0], ""
    try:
        text = pick_line(lines, index)
        proposal = parse(Proposal, strict_json(text))
        files = campaign.running.store.get_bundle(base.plan.bundle)
        change = apply_proposal(parent, files, proposal)
        bundle = campaign.store_bundle(change.files)
        before, after = (base.plan.bundle, parent), (bundle, change.recipe)
        need_few_changes(campaign.running.store, campaign.limit(), before, after)
        barred = _list_barred(campaign, cell, (ask, index))
        is_new = after not in ((plan.bundle, plan.recipe) for plan in barred)
        need(is_new, "the proposal", "a recipe that was tried", "new to every arm of its repeat")
    except BadInput as error:
        campaign.record_invalid(generation, index, error, text)
        return None
    draft = Draft(
        generation=generation,
        index=index,
        purpose="skill",
        parent=base.digest,
        parent_recipe=parent,
        change_class=change.change_class,
        recipe=change.recipe,
        bundle=bundle,
        reference=(base.plan.bundle, parent),
        proposal=proposal,
        notebook=base.plan.notebook,
        asked=asking.digest,
        text=campaign.store_text(text),
    )
    return campaign.record(draft)
