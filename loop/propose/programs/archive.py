"""An archive of proposer programs: each is made from another, asked, and kept with its skill.

Arms `programs_...`. Program 0 is the one that people gave. Generation g makes program g: the rule
of the arm chooses its parent, operators or the outside model change the text (child.py), and the
gate decides on the plan, of class `proposer`. Every program is asked to improve the same parents,
and each proposal is trained beside its parent and looked at on feedback, as in selections on
proposing skill. At the end the program of highest skill is compared with the first, by as many
proposals, on parents and a part of the grid that no selection saw. Nothing of it enters a history
or becomes champion.
"""

import math
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from configs.arms import PROGRAM_CELLS, variant
from configs.entries import ProgramEntry
from configs.errors import BadInput
from configs.recipe import Recipe
from configs.records import Plan, Proposal
from configs.settings.config import Config
from configs.settings.programs import Programs
from configs.settings.task import TaskSetup
from evals.programs import find_best
from loop.campaign import Campaign, passes_gate, request_decision
from loop.facts.facts import Facts
from loop.facts.places import SELECTING, Invalid
from loop.facts.places import Campaign as Key
from loop.plan import Draft, Planned
from loop.propose.programs.child import (
    choose_for,
    list_programs,
    make_child,
    plan_of,
    read_genome,
)
from loop.propose.question import Question, measure_answers
from loop.propose.selection import list_gains
from loop.propose.skill import SPLITS_OF, Use, draw_parents, has_room, list_tried
from loop.study.agent_folder import program_files


def grow_archive(campaign: Campaign) -> None:
    """Make, ask and record each program of a campaign. Recorded programs stay as they are.

    Where the first is no text, nothing can be made from it.
    """
    for number in range(campaign.running.config.study.generations + 1):
        known = list_programs(campaign.facts(), campaign.key)
        if number < len(known):
            continue
        if known and not plan_of(campaign, 0):
            return
        secret = campaign.running.items.of(campaign.repeat).secret
        parent = choose_for(campaign.arm, secret, known) if known else -1
        entry = _measure(campaign, number, parent)
        campaign.running.ledger.append(entry)
        skill = "none" if entry.skill is None else f"{entry.skill:.3g}"
        campaign.say(f"{campaign.arm}, program {number}: from {entry.parent}, skill {skill}")
        campaign.running.checkpoint()


def _measure(campaign: Campaign, number: int, parent: int) -> ProgramEntry:
    """Make a program, put it to its gate, ask it, and return its entry."""
    planned, edits = _record_program(campaign, number, parent)
    asked = usable = gained = 0
    skill = None
    if planned:
        request_decision(campaign, planned)
        if passes_gate(campaign, planned):
            _ask(campaign, number, planned)
            config, facts = campaign.running.config, campaign.facts()
            skill, asked, usable, gained = read_program(config, facts, campaign.key, number)
    return ProgramEntry(
        arm=campaign.arm,
        repeat=campaign.repeat,
        generation=number,
        plan=planned.digest if planned else "",
        parent=parent,
        edits=edits,
        skill=skill,
        asked=asked,
        usable=usable,
        gained=gained,
    )


def _record_program(
    campaign: Campaign, number: int, parent: int
) -> tuple[Planned | None, tuple[str, ...]]:
    """Record the plan of a program, once; return it, and what was changed.

    None for a program that no operator can change.
    """
    running = campaign.running
    index = 0 if number else 1  # the baseline has the first place of generation 0
    recorded = campaign.facts().at.get((*campaign.key, number, index))
    if isinstance(recorded, Invalid):
        return None, ()
    try:
        if number:
            base = campaign.planned(plan_of(campaign, parent))
            genome, edits = make_child(campaign, number, parent)
        else:
            base, edits = campaign.champions()[0], ()
            genome = read_genome(program_files(running.config.proposer, running.store))
    except BadInput as error:
        campaign.record_invalid(number, index, error, getattr(error, "text", ""))
        return None, ()
    if recorded is not None:
        return campaign.planned(recorded), edits
    what = (
        f"from program {parent}: {'; '.join(edits)}" if number else "the program that people gave"
    )
    draft = Draft(
        generation=number,
        index=index,
        purpose="program",
        parent=base.digest,
        change_class="proposer",
        recipe=base.plan.recipe,
        bundle=campaign.store_bundle(
            {
                **running.store.get_bundle(base.plan.bundle),
                **{name: text.encode() for name, text in genome.items()},
            }
        ),
        proposal=Proposal(hypothesis=f"proposer program {number}, {what}"[:2000], knobs={}),
    )
    return campaign.record(draft), edits


def programs_of(campaign: Campaign) -> Programs:
    """Return the settings of the archive, which a study with such an arm has."""
    settings = campaign.running.config.study.programs
    assert settings is not None
    return settings


def _ask(campaign: Campaign, number: int, planned: Planned) -> None:
    """Put every question of the archive to a program."""
    config = campaign.running.config
    each, settings = config.study.skill_proposals, programs_of(campaign)
    task = settings.seen(config.task)
    for ask, parent in enumerate(_parents(campaign, "select")):
        question = Question(
            purpose="select",
            generation=number,
            number=SELECTING + ask,
            first=SELECTING + ask * each,
            asked=planned,
            history=variant(campaign.arm).history,
            parent=parent,
            hypothesis=f"asks program {number}, question {ask + 1} of {settings.asks}",
            grid=_open_knobs(task),
            knows=_is_seen(settings),
        )
        measure_answers(campaign, question, SPLITS_OF["select"], _barred(campaign, question))


def compare_with_first(campaign: Campaign) -> None:
    """Ask the best program and the first where no selection looked; nothing if they are the same.

    Finished steps are kept.
    """
    config, settings = campaign.running.config, programs_of(campaign)
    best = find_best(list_programs(campaign.facts(), campaign.key))
    task = settings.unseen(config.task)
    parents = _parents(campaign, "measure")
    for cell, program in enumerate((best, 0) if best else ()):
        for ask, parent in enumerate(parents):
            question = Question(
                purpose="skill",
                generation=config.study.skill_generation(cell, ask),
                number=0,
                first=0,
                asked=campaign.planned(plan_of(campaign, program)),
                history=variant(campaign.arm).history,
                parent=parent,
                hypothesis=(
                    f"compares the programs, {PROGRAM_CELLS[cell]}: question {ask + 1} of"
                    f" {len(parents)}"
                ),
                grid=_open_knobs(task),
                knows=_is_seen(settings),
            )
            measure_answers(campaign, question, SPLITS_OF["measure"], _barred(campaign, question))


def _parents(campaign: Campaign, use: Use) -> list[Recipe]:
    config, secret = campaign.running.config, campaign.running.items.of(campaign.repeat).secret
    return list_parents(config, campaign.facts(), campaign.key, secret, use)


def list_parents(config: Config, facts: Facts, key: Key, secret: bytes, use: Use) -> list[Recipe]:
    """Return the parents that programs are asked to improve: the same for all arms of a repeat.

    Those that measure are no selection's, and stand at the held-out values.
    """
    settings = config.study.programs
    assert settings is not None
    task = (settings.seen if use == "select" else settings.unseen)(config.task)
    count = settings.asks if use == "select" else config.study.skill_parents
    tried = [plan.recipe for plan in list_tried(facts, key[1])]
    room = has_room(config, key[0], tried, task.choices())
    return draw_parents(task, secret, use, count, room, ":programs")


def _open_knobs(task: TaskSetup) -> dict[str, tuple[Any, ...]]:
    """Return the knobs that have more than one value, with their values."""
    return {name: values for name, values in task.choices().items() if len(values) > 1}


def _is_seen(settings: Programs) -> Callable[[Recipe], bool]:
    """Return a function that tells whether selections may know a recipe."""
    held_out = settings.held_out.items()
    return lambda recipe: all(getattr(recipe, name) != value for name, value in held_out)


def _barred(campaign: Campaign, question: Question) -> Callable[[int], Iterator[Plan]]:
    return partial(_list_barred, campaign, question)


def _list_barred(campaign: Campaign, question: Question, number: int) -> Iterator[Plan]:
    """Yield what a proposal may not repeat: trials of the repeat, and the question's earlier ones.

    What other programs proposed is no part of it, so all programs have the same chances.
    """
    facts = campaign.facts()
    yield from list_tried(facts, campaign.repeat)
    at = facts.selecting.at if question.purpose == "select" else facts.at
    for index in range(question.first, question.first + number):
        recorded = at.get((*campaign.key, question.generation, index))
        if isinstance(recorded, str):
            yield facts.plans[recorded]


def read_program(
    config: Config, facts: Facts, key: Key, number: int
) -> tuple[float | None, int, int, int]:
    """Return (skill, proposals wanted, usable, gained) of a program by its recorded scores.

    An unusable proposal counts with the objective's floor less its parent's score, and so does one
    whose training failed. What reviewers refused is left out.
    """
    settings, each = config.study.programs, config.study.skill_proposals
    assert settings is not None
    gains, usable, asked = list[float](), 0, 0
    for ask in range(settings.asks):
        asking = facts.selecting.asks.get((*key, number, SELECTING + ask), "")
        if asking not in facts.granted:
            continue
        first = SELECTING + ask * each
        answers = [
            facts.selecting.at.get((*key, number, index)) for index in range(first, first + each)
        ]
        asked += each
        usable += sum(not isinstance(one, Invalid) and one is not None for one in answers)
        gains += list_gains(config, facts, key, answers)
    known = [gain for gain in gains if math.isfinite(gain)]
    skill = math.fsum(known) / len(known) if known else None
    return skill, asked, usable, sum(gain > 0 for gain in known)
