"""Archives of proposer programs, computed again from the facts before each entry.

A program's figures must be those of the recorded scores. Its plan must start from the parent in its
entry, and its questions must be put to itself. With the study secret, the rule of the arm must have
chosen that parent, operators must have made that text of it, and every proposal must improve a
parent that the secret drew.
"""

from collections.abc import Sequence

from configs.arms import variant
from configs.entries import Entry, PlanEntry, ProgramEntry
from configs.errors import BadInput, VerificationFailed
from configs.recipe import Recipe
from configs.records import Plan
from configs.settings.config import Config
from evals.programs import find_best
from loop.facts.facts import Facts
from loop.facts.places import SELECTING
from loop.propose.programs.archive import list_parents, read_program
from loop.propose.programs.child import (
    choose_for,
    edit_for,
    list_programs,
    read_for,
    read_genome,
)
from loop.propose.skill import Use
from loop.study.items import repeat_secret
from loop.verify.state import need
from sandbox.decision import policy
from sandbox.store import Store

ANSWERS = ("select", "skill")
"""Purposes of the plans that answer a question."""
Drawn = dict[tuple[str, int, Use], list[Recipe]]
"""(arm, repeat, use) -> the parents that the secret draws."""


def check_programs(entries: Sequence[Entry], store: Store, secret: bytes | None) -> int:
    """Check every program of a ledger, and every question that compares programs.

    Return their number. Raises VerificationFailed with the entry. Without the study secret the
    chosen parents, the edits and the questions' recipes are not checked.
    """
    config = policy(list(entries)).config
    if not any(variant(arm).programs for arm in config.arms()):
        return 0
    facts, seen, drawn, checked = Facts(), list[Entry](), Drawn(), 0
    for entry in entries:
        try:
            if isinstance(fact := entry.fact, ProgramEntry):
                _check(config, facts, fact, store, secret)
                checked += 1
            elif isinstance(fact, PlanEntry):
                _check_plan(config, facts, fact.plan, secret, drawn)
        except (VerificationFailed, BadInput) as error:
            raise VerificationFailed(f"entry {entry.sequence} ({entry.kind}): {error}") from None
        facts.fold(entry)
        if entry.kind in ("study", "amended"):
            seen.append(entry)
            config = policy(seen).config
    return checked


def _check(
    config: Config, facts: Facts, fact: ProgramEntry, store: Store, secret: bytes | None
) -> None:
    key, number = (fact.arm, fact.repeat), fact.generation
    need(bool(variant(fact.arm).programs), "its arm keeps no archive")
    known = list_programs(facts, key)
    need(number == len(known), f"it is number {number}, and {len(known)} programs came before")
    need((fact.parent in range(number)) if number else fact.parent == -1, "it has no such parent")
    if fact.plan in facts.granted:
        figures = (fact.skill, fact.asked, fact.usable, fact.gained)
        scored = read_program(config, facts, key, number)
        need(figures == scored, f"its figures are not those of its scores: {scored}")
    else:
        need((fact.skill, fact.asked) == (None, 0), "it has figures, and its gate never passed it")
    if fact.plan:
        plan, own = facts.plans.get(fact.plan), facts.selecting.programs.get(key, [])
        above = own[fact.parent].plan if number else facts.champions[key][0]
        need(
            plan and (plan.purpose, plan.parent) == ("program", above),
            "its plan has another parent",
        )
    if fact.plan and number and variant(fact.arm).maker == "model":
        asked = facts.plans.get(facts.asks.get((*key, number), ""))
        need(asked and asked.parent == above, "the model was asked about another program")
        right = read_for(facts, store, key, number, fact.parent)
        made = read_genome(store.get_bundle(facts.plans[fact.plan].bundle))
        need((made, fact.edits) == right, "its answer makes another program")
    if secret is None or not number:
        return
    secret = repeat_secret(secret, fact.repeat)
    need(choose_for(fact.arm, secret, known) == fact.parent, "its arm chooses another parent")
    if fact.plan and variant(fact.arm).maker == "operators":
        right = edit_for(config, facts, store, key, secret, number, fact.parent)
        made = read_genome(store.get_bundle(facts.plans[fact.plan].bundle))
        need((made, fact.edits) == right, "operators make another program")


def _check_plan(
    config: Config, facts: Facts, plan: Plan, secret: bytes | None, drawn: Drawn
) -> None:
    """Check to whom a question is put, and which recipe a proposal in answer improves."""
    if not variant(plan.arm).programs or plan.purpose not in ("propose", "trial", *ANSWERS):
        return
    key, study = (plan.arm, plan.repeat), config.study
    right: object
    at = plan.index
    if plan.purpose == "trial":  # it tries an answer to the question that its agent was asked
        need(plan.asked in facts.plans, "no agent asked for it")
        at = facts.plans[plan.asked].index
    selects, ends = at >= SELECTING, plan.generation - study.skill_generation(0)
    if plan.purpose == "propose":
        if not selects and plan.generation <= study.generations:
            # asked for a child: its entry says of which program
            need(variant(plan.arm).maker == "model", "nobody is asked for a child here")
            made = [one.plan for one in facts.selecting.programs.get(key, [])]
            right = plan.parent if plan.parent in made else None
        elif selects:
            right = facts.at.get((*key, plan.generation, 0 if plan.generation else 1))
        else:
            own = facts.selecting.programs.get(key, [])
            best = find_best(list_programs(facts, key))
            right = own[(best, 0)[ends // study.asks()]].plan
        need(right == plan.parent, "the question is put to another program")
    elif secret is not None:
        use: Use = "select" if selects else "measure"
        if (*key, use) not in drawn:
            own_secret = repeat_secret(secret, plan.repeat)
            drawn[*key, use] = list_parents(config, facts, key, own_secret, use)
        each = study.skill_proposals if plan.purpose in ANSWERS else 1
        ask = (at - SELECTING) // each if selects else ends % study.asks()
        parent = drawn[*key, use][ask]
        need(plan.reference_recipe == parent, "its question has another parent")
