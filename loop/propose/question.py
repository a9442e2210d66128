"""A question to weights or a program: they read a history and propose improvements of a parent.

Weights are trained anew for it; a proposer program (programs/) is asked as it is.

Each proposal is trained beside the parent and scored on a held-out split. The plans pass the gate
and are paid for like any other. None can become champion, and no history shows them. skill.py asks
so at the end of a campaign, selection.py to choose a champion.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

from configs.arms import Reading
from configs.build import need, parse, strict_json
from configs.errors import BadInput
from configs.history import History
from configs.recipe import Recipe
from configs.records import JobCount, Plan, Proposal, Purpose, Split
from loop.campaign import Campaign, passes_gate
from loop.facts.places import Invalid
from loop.measure.jobs import Replicate
from loop.measure.replicate import measure, write_proposals
from loop.measure.side_by_side import side_by_side
from loop.plan import Draft, Planned, apply_proposal, propose_jobs
from loop.propose.agent.doors import doors_of
from loop.propose.ask import pick_line
from loop.propose.history import list_trials, select_trials, store_history, write_notebook
from loop.propose.limit import list_different, need_few_changes

JOBS = (JobCount(role="champion-train", count=1), JobCount(role="propose", count=1))
"""Jobs of the propose plan: the weights that propose are its reference's."""
Barred = Callable[[int], Iterable[Plan]]
"""Return the plans that a proposal of a question, by its number, may not repeat."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A question to weights about a parent."""

    purpose: Literal["skill", "select"]
    "purpose of the plans of the proposals"
    generation: int
    "generation of all its plans"
    number: int
    "index of its propose plan"
    first: int
    "index of the plan of its first proposal; the others follow"
    asked: Planned
    "the plan whose recipe trains the weights"
    history: Reading
    "how the campaign's trials are shown to them"
    parent: Recipe
    "the recipe to improve"
    hypothesis: str
    "what its propose plan says"
    grid: Mapping[str, tuple[Any, ...]] | None = None
    "the values that its proposals may take; None: those of the task"
    knows: Callable[[Recipe], bool] = lambda recipe: True
    "which trials it shows, by their recipe"


def measure_answers(campaign: Campaign, question: Question, split: Split, barred: Barred) -> None:
    """Ask, and measure each proposal beside its parent on a split. Finished steps are kept."""
    asking = _record_propose_plan(campaign, question, barred)
    if not passes_gate(campaign, asking):
        return
    doors = doors_of(campaign, asking, partial(_draft_answer, campaign, question))
    lines = write_proposals(campaign.running, asking, campaign.cpu, doors)
    replicates = _list_replicates(campaign, question, asking, lines, split, barred)
    side_by_side(campaign, measure, replicates, split)


def _list_replicates(
    campaign: Campaign,
    question: Question,
    asking: Planned,
    lines: list[str] | str,
    split: Split,
    barred: Barred,
) -> Iterator[Replicate]:
    """Yield each proposal and its parent, once its plan has passed its gate and has its look."""
    for index in range(campaign.running.config.study.skill_proposals):
        planned = _record_proposal(campaign, question, index, asking, lines, barred)
        if planned and passes_gate(campaign, planned):
            campaign.look(split, planned)
            for champion in (False, True):
                yield Replicate(planned=planned, index=0, champion=champion)


def _find_asking(campaign: Campaign, question: Question) -> str | None:
    """Return the digest of a recorded propose plan."""
    facts, place = campaign.facts(), (*campaign.key, question.generation)
    if question.purpose == "select":
        return facts.selecting.asks.get((*place, question.number))
    return facts.asks.get(place)


def _find_proposal(campaign: Campaign, question: Question, index: int) -> str | Invalid | None:
    """Return what is recorded of the proposal at an index."""
    facts = campaign.facts()
    table = facts.selecting.at if question.purpose == "select" else facts.at
    return table.get((*campaign.key, question.generation, index))


def _record_propose_plan(campaign: Campaign, question: Question, barred: Barred) -> Planned:
    """Record the propose plan of a question, once.

    It trains the asked plan's recipe; these weights read the history and write. A program that is
    asked needs no weights.
    """
    if name := _find_asking(campaign, question):
        return campaign.planned(name)
    study, best = campaign.running.config.study, question.asked
    trials = select_trials(campaign, list_trials(campaign), question.history)
    plans = campaign.facts().plans  # what an agent tried for a question stays with it
    weights = best.plan.purpose != "program"
    draft = Draft(
        generation=question.generation,
        index=question.number,
        purpose="propose",
        parent=best.digest,
        change_class="propose",
        recipe=best.plan.recipe,
        bundle=best.plan.bundle,
        reference=(best.plan.bundle, best.plan.recipe) if weights else None,
        proposal=Proposal(hypothesis=question.hypothesis, knobs={}),
        notebook=write_notebook(campaign, question.history) if weights else "",
        jobs=JOBS if weights else propose_jobs(campaign.running.config, campaign.arm),
    )
    history = History(
        champion=question.parent,
        champion_source=campaign.champions()[0].plan.bundle,
        champion_score=None,
        trials=tuple(
            trial
            for name, trial in trials.items()
            if question.knows(trial.recipe) and plans[name].purpose != "trial"
        ),
        barred=tuple(dict.fromkeys(plan.recipe for plan in barred(0))),
        count=study.skill_proposals,
        grid=_grid(campaign, question),
        most_changes=campaign.limit(),
    )
    return campaign.record(draft, store_history(campaign, history))


def _grid(campaign: Campaign, question: Question) -> dict[str, tuple[Any, ...]]:
    """Return the values that the proposals of a question may take."""
    return dict(question.grid or campaign.running.config.task.choices())


def _need_in_grid(campaign: Campaign, question: Question, recipe: Recipe) -> None:
    """Refuse a proposal outside the part of the grid that its question is about."""
    for name, values in (question.grid or {}).items():
        value = getattr(recipe, name)
        need(value in values, f"knobs.{name}", value, f"one of {list(values)}")
    grid = _grid(campaign, question)
    for name in list_different(question.parent, recipe) if question.grid else ():
        need(name in grid, f"knobs.{name}", getattr(recipe, name), "left as it is here")


def _record_proposal(
    campaign: Campaign,
    question: Question,
    number: int,
    asking: Planned,
    lines: list[str] | str,
    barred: Barred,
) -> Planned | None:
    """Record the plan for measuring a proposal against its parent.

    An unusable proposal is recorded as invalid, and has no plan. So is one that is barred.
    """
    index = question.first + number
    known = _find_proposal(campaign, question, index)
    if known is not None:
        return None if isinstance(known, Invalid) else campaign.planned(known)
    place, text = (question.generation, index), ""
    try:
        text = pick_line(lines, number)
        proposal = parse(Proposal, strict_json(text))
        draft = _draft_answer(
            campaign, question, place, question.purpose, proposal, text=text, asked=asking.digest
        )
        after = (draft.bundle, draft.recipe)
        is_new = after not in ((plan.bundle, plan.recipe) for plan in barred(number))
        whom = "every arm of its repeat" if question.purpose == "skill" else "its campaign"
        need(is_new, "the proposal", "a recipe that was tried", f"new to {whom}")
    except BadInput as error:
        campaign.record_invalid(*place, error, text)
        return None
    return campaign.record(draft)


def _draft_answer(
    campaign: Campaign,
    question: Question,
    place: tuple[int, int],
    purpose: Purpose,
    proposal: Proposal,
    *,
    text: str,
    asked: str,
) -> Draft:
    """Return the draft of a change of the question's parent; raise BadInput for none that fits.

    An agent that is asked may try such changes at its door, as it may propose them.
    """
    base = campaign.champions()[0]
    files = campaign.running.store.get_bundle(base.plan.bundle)
    change = apply_proposal(question.parent, files, proposal)
    bundle = campaign.store_bundle(change.files)
    before, after = (base.plan.bundle, question.parent), (bundle, change.recipe)
    _need_in_grid(campaign, question, change.recipe)
    need_few_changes(campaign.running.store, campaign.limit(), before, after)
    return Draft(
        generation=place[0],
        index=place[1],
        purpose=purpose,
        parent=base.digest,
        parent_recipe=question.parent,
        change_class=change.change_class,
        recipe=change.recipe,
        bundle=bundle,
        reference=before,
        proposal=proposal,
        notebook=base.plan.notebook,
        asked=asked,
        text=campaign.store_text(text),
    )
