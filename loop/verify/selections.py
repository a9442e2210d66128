"""Selections on proposing skill, computed again from the facts before each.

Its figures must be those of the recorded scores, its contenders those that the judge let contend,
and its choice the best by them. With the study secret its parents and its placebo are checked too.
"""

from collections.abc import Sequence

from configs.arms import variant
from configs.entries import ChampionEntry, Entry, SelectionEntry
from configs.errors import VerificationFailed
from configs.recipe import Recipe
from configs.settings.config import Config
from loop.facts.facts import Facts
from loop.facts.places import SELECTING
from loop.propose.selection import count, find_best, list_parents, place, read_skill, rule
from loop.study.items import repeat_secret
from loop.verify.state import need
from sandbox.decision import policy


def check_selections(entries: Sequence[Entry], secret: bytes | None) -> int:
    """Check every selection of a ledger, and every champion that needs one.

    Return their number. Raises VerificationFailed with the entry. Without the study secret the
    parents of the questions are not checked, and of a placebo only that it moved the skills.
    """
    if not any(entry.kind == SelectionEntry.kind for entry in entries) and not _has_arms(entries):
        return 0
    facts, seen, checked = Facts(), list[Entry](), 0
    for entry in entries:
        try:
            if entry.kind == SelectionEntry.kind:
                _check(policy(seen).config, facts, entry.fact, secret)  # type: ignore[arg-type]
                checked += 1
            elif entry.kind == ChampionEntry.kind:
                _check_champion(policy(seen).config, facts, entry.fact)  # type: ignore[arg-type]
        except VerificationFailed as error:
            raise VerificationFailed(f"entry {entry.sequence} ({entry.kind}): {error}") from None
        facts.fold(entry)
        if entry.kind in ("study", "amended"):
            seen.append(entry)
    return checked


def _has_arms(entries: Sequence[Entry]) -> bool:
    return any(variant(arm).selects for arm in policy(list(entries)).config.arms())


def _check_champion(config: Config, facts: Facts, fact: ChampionEntry) -> None:
    if config.selects(fact.arm, fact.generation):
        chosen = facts.selecting.chosen.get((fact.arm, fact.repeat, fact.generation))
        need(
            chosen and chosen.chosen == fact.plan, "no selection on proposing skill chose the plan"
        )


def _check(config: Config, facts: Facts, fact: SelectionEntry, secret: bytes | None) -> None:
    key, generation = (fact.arm, fact.repeat), fact.generation
    need(config.selects(fact.arm, generation), "its arm does not select in that generation")
    need(
        (*key, generation) not in facts.selecting.chosen, "the generation had its selection before"
    )
    names = [one.plan for one in fact.contenders]
    need(names[:1] == facts.champions[key][-1:], "its first contender is not the champion")
    need(set(names[1:]) == _list_able(facts, fact), "its contenders are not those not inferior")
    for number, one in enumerate(fact.contenders):
        skill = read_skill(config, facts, key, generation, number)
        need(one.skill == skill, f"contender {number + 1} has not the skill of its scores: {skill}")
        _check_questions(config, facts, fact, number)
    measured = [one.skill for one in fact.contenders]
    counted = [one.counted for one in fact.contenders]
    if secret is not None:
        own = repeat_secret(secret, fact.repeat)
        right = count(fact.arm, own, generation, measured)
        need(counted == right, "the counted skills are not those that the secret gives")
        parents = list_parents(config, facts, own, key, generation)
        _check_parents(config, facts, fact, parents)
    moved = variant(fact.arm).selects == "placebo"
    need(counted == measured or moved, "the counted skills are not the measured ones")
    need(sorted(map(str, counted)) == sorted(map(str, measured)), "it counts other skills")
    need(names[find_best(counted)] == fact.chosen, "another contender has the highest skill")


def _list_able(facts: Facts, fact: SelectionEntry) -> set[str]:
    """Return the candidates of the generation that the judge accepted."""
    own = facts.proposed[fact.arm, fact.repeat]
    return {
        name
        for name in own
        if facts.plans[name].purpose == "candidate"
        and facts.plans[name].generation == fact.generation
        and name in facts.verdicts
        and facts.verdicts[name].answer == "accept"
        and name not in facts.champions[fact.arm, fact.repeat]
    }


def _check_questions(config: Config, facts: Facts, fact: SelectionEntry, number: int) -> None:
    """Check that a contender's own recipe trained the weights that were asked."""
    for ask in range(rule(config).asks):
        index = SELECTING + number * rule(config).asks + ask
        name = facts.selecting.asks.get((fact.arm, fact.repeat, fact.generation, index), "")
        right = name in facts.plans and facts.plans[name].parent == fact.contenders[number].plan
        need(right, f"question {ask + 1} of contender {number + 1} was put to other weights")


def _check_parents(
    config: Config, facts: Facts, fact: SelectionEntry, parents: Sequence[Recipe]
) -> None:
    """Check that each proposal improves the parent that the secret drew for its question."""
    for number in range(len(fact.contenders)):
        for ask, parent in enumerate(parents):
            first = place(config, number, ask)
            for index in range(first, first + config.study.skill_proposals):
                at = (fact.arm, fact.repeat, fact.generation, index)
                name = facts.selecting.at.get(at)
                right = not isinstance(name, str) or facts.plans[name].reference_recipe == parent
                need(right, f"question {ask + 1} has another parent than the secret draws")
