"""Measure how well weights propose: their proposals, each trained and scored on held-out data.

Q(theta(r, h)) of docs/instruments.md: weights are trained anew on a history, read it and propose.
All cells of configs.arms.CELLS start from a fixed common parent, the baseline, with fresh seeds.
Their plans pass the gate and are paid for like any other. No such plan can become champion.
"""

import hmac
import random
from typing import Literal

from configs.arms import CELLS
from configs.build import parse, plain, strict_json
from configs.errors import BadInput
from configs.history import History
from configs.recipe import Recipe
from configs.records import CONFIRM, JobCount, Proposal
from configs.settings.task import TaskSetup
from loop.campaign import Campaign, passes_gate
from loop.facts.facts import Invalid
from loop.measure.jobs import Replicate
from loop.measure.replicate import measure, write_proposals
from loop.plan import Draft, Planned, apply_proposal
from loop.propose.ask import pick_line
from loop.propose.history import list_trials, select_trials, store_history, write_notebook
from loop.propose.limit import need_few_changes
from loop.propose.view import draw
from sandbox.canonical import canonical

Use = Literal["select", "measure"]
"""What a look at proposing skill is for: it chooses a champion, or it is a result."""
PARENT_DRAWS = 10_000
"""Draws of parents until enough are distinct."""
JOBS = (JobCount(role="champion-train", count=1), JobCount(role="propose", count=1))
"""Jobs of a measure's propose plan: the weights that propose are its reference's."""


def measure_skill(campaign: Campaign, generation: int, cell: str) -> None:
    """Measure a cell under a generation number: a propose plan, then a plan per proposal.

    Finished steps are kept.
    """
    asking = _record_propose_plan(campaign, generation, cell)
    if not passes_gate(campaign, asking):
        return
    lines = write_proposals(campaign.running, asking, campaign.cpu)
    for index in range(campaign.running.config.study.skill_proposals):
        planned = _record_proposal(campaign, generation, index, asking, lines)
        if planned and passes_gate(campaign, planned):
            campaign.look(CONFIRM, planned)
            for champion in (False, True):
                pair = Replicate(planned=planned, index=0, champion=champion)
                measure(campaign.running, pair, CONFIRM, campaign.cpu)


def _record_propose_plan(campaign: Campaign, generation: int, cell: str) -> Planned:
    """Record the propose plan of a cell, once.

    It trains the cell's weights by the cell's recipe; they read the cell's history and write.
    """
    recorded = campaign.facts().asks.get((*campaign.key, generation))
    if recorded:
        return campaign.planned(recorded)
    count = campaign.running.config.study.skill_proposals
    base, arm = campaign.champions()[0], CELLS[cell]
    best = campaign.champions()[0 if arm.weights == "first" else -1]
    trials = select_trials(campaign, list_trials(campaign), arm.history)
    hypothesis = f"measures skill, cell {cell}: {count} proposals on the baseline"
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
    history = History(
        champion=base.plan.recipe,
        champion_source=base.plan.bundle,
        champion_score=None,
        trials=tuple(trials.values()),
        count=count,
        grid=campaign.running.config.task.choices(),
        most_changes=campaign.limit(),
    )
    return campaign.record(draft, store_history(campaign, history))


def _record_proposal(
    campaign: Campaign, generation: int, index: int, asking: Planned, lines: list[str] | str
) -> Planned | None:
    """Record the plan for measuring a proposal against the baseline.

    An unusable proposal is recorded as invalid, and has no plan.
    """
    recorded = campaign.facts().at.get((*campaign.key, generation, index))
    if recorded is not None:
        return None if isinstance(recorded, Invalid) else campaign.planned(recorded)
    base, text = campaign.champions()[0], ""
    try:
        text = pick_line(lines, index)
        proposal = parse(Proposal, strict_json(text))
        files = campaign.running.store.get_bundle(base.plan.bundle)
        change = apply_proposal(base.plan.recipe, files, proposal)
        bundle = campaign.store_bundle(change.files)
        before, after = (base.plan.bundle, base.plan.recipe), (bundle, change.recipe)
        need_few_changes(campaign.running.store, campaign.limit(), before, after)
    except BadInput as error:
        campaign.record_invalid(generation, index, error, text)
        return None
    draft = Draft(
        generation=generation,
        index=index,
        purpose="skill",
        parent=base.digest,
        parent_recipe=base.plan.recipe,
        change_class=change.change_class,
        recipe=change.recipe,
        bundle=bundle,
        reference=(base.plan.bundle, base.plan.recipe),
        proposal=proposal,
        notebook=base.plan.notebook,
        asked=asking.digest,
        text=campaign.store_text(text),
    )
    return campaign.record(draft)


def draw_parents(task: TaskSetup, secret: bytes, use: Use, count: int) -> list[Recipe]:
    """Return distinct recipes of the grid, drawn by a repeat's secret, for proposals to improve.

    The secret also halves the grid, so parents that select and parents that measure have no recipe
    in common. Raises BadInput for a grid with too few recipes.
    """
    seed = hmac.digest(secret, f"parents of skill:{use}".encode(), "sha256")
    rng, parents = random.Random(seed), dict[Recipe, None]()
    for _ in range(PARENT_DRAWS):
        recipe = draw(rng, task.baseline, task.choices())
        if _side(secret, recipe) == use:
            parents[recipe] = None
        if len(parents) == count:
            return list(parents)
    raise BadInput(
        f"study.skill_parents is {count}; it should be fewer, for task {task.name} has too few"
        f" recipes to draw {count} parents that {use}"
    )


def _side(secret: bytes, recipe: Recipe) -> Use:
    """Return for which use a recipe may be a parent."""
    name = b"parent of skill:" + canonical(plain(recipe))
    return "measure" if hmac.digest(secret, name, "sha256")[0] & 1 else "select"
