"""The next program of an archive: whose child is it, and what is its text?

A program is a file, or the folder of an agent; a child changes the text of its files. Begin with
`make_child`. The archive (archive.py) puts the child to the gate; `heirloop verify` makes it once
more.
"""

import hmac
import random
from collections.abc import Mapping, Sequence

from configs.arms import variant
from configs.build import need
from configs.errors import BadInput
from configs.records import JobCount, Proposal, is_own
from configs.settings.config import Config
from evals.programs import Program, choose_parent
from loop.campaign import Campaign, passes_gate
from loop.facts.facts import Facts
from loop.facts.places import Campaign as Key
from loop.plan import Draft, Planned
from loop.propose.outside.ask import answered
from loop.propose.outside.read import Unusable
from loop.propose.programs.edits import mutate_program
from loop.propose.programs.model import read_child, write_question
from sandbox.store import Store

Genome = dict[str, str]
"""File of a program's bundle -> its text: `program` alone, or the files of agent/."""


def make_child(campaign: Campaign, number: int, parent: int) -> tuple[Genome, tuple[str, ...]]:
    """Return a new program, and what was changed of its parent.

    Raises BadInput where the operators or the model give none.
    """
    running, facts, key = campaign.running, campaign.facts(), campaign.key
    secret = running.items.of(campaign.repeat).secret
    if variant(campaign.arm).maker == "operators":
        return edit_for(running.config, facts, running.store, key, secret, number, parent)
    asking = _pass_question(campaign, number, parent)
    endpoint = running.config.proposer.llm
    assert endpoint is not None
    genomes = _genomes_of(facts, running.store, key, number)
    genome, known = genomes[asking.plan.parent], list_programs(facts, key)
    seed = _draws(secret, "question", number).getrandbits(31)
    answer = answered(
        running, asking.digest, 0, write_question(endpoint, genome, known, parent, seed)
    )
    try:
        return read_child(answer, genome, list(genomes.values()))
    except BadInput as error:
        raise Unusable(str(error), answer) from None


def edit_for(
    config: Config, facts: Facts, store: Store, key: Key, secret: bytes, number: int, parent: int
) -> tuple[Genome, tuple[str, ...]]:
    """Return a new program, and what operators changed of its parent.

    Raises BadInput where they find nothing to change.
    """
    settings, own = config.study.programs, facts.selecting.programs[key]
    assert settings is not None
    genomes = _genomes_of(facts, store, key, number)
    rng, known = _draws(secret, "edits", number), list(genomes.values())
    return mutate_genome(genomes[own[parent].plan], rng, most=settings.edits, known=known)


def mutate_genome(
    genome: Genome, rng: random.Random, *, most: int, known: Sequence[Genome]
) -> tuple[Genome, tuple[str, ...]]:
    """Return a program with one Python file changed by operators, and what they did.

    Raises BadInput where they find nothing new in any of its files.
    """
    names = sorted(name for name in genome if name.endswith(".py") or len(genome) == 1)
    for name in rng.sample(names, len(names)) if len(names) > 1 else names:
        others = {**genome, name: ""}
        texts = {one[name] for one in known if {**one, name: ""} == others}
        try:
            text, edits = mutate_program(genome[name], rng, most=most, known=texts)
        except BadInput:
            if len(names) == 1:
                raise
            continue
        told = edits if len(genome) == 1 else tuple(f"{name}: {edit}" for edit in edits)
        return {**genome, name: text}, told
    raise BadInput("no file of the program has anything new that an operator could change")


def read_for(
    facts: Facts, store: Store, key: Key, number: int, parent: int
) -> tuple[Genome, tuple[str, ...]]:
    """Return what the recorded answer makes of a parent, as `edit_for` does by operators.

    Raises BadInput without an answer that makes a program.
    """
    genomes, own = _genomes_of(facts, store, key, number), facts.selecting.programs[key]
    reply = facts.answers.get((facts.asks.get((*key, number), ""), 0))
    need(reply is not None and bool(reply.text), "the answer", "missing", "recorded")
    assert reply is not None
    answer = store.get(reply.text).decode()
    return read_child(answer, genomes[own[parent].plan], list(genomes.values()))


def _pass_question(campaign: Campaign, number: int, parent: int) -> Planned:
    """Return the propose plan of the question for a child, recorded once, after its gate."""
    base = campaign.planned(plan_of(campaign, parent))
    name = campaign.facts().asks.get((*campaign.key, number))
    if name:
        asking = campaign.planned(name)
    else:
        draft = Draft(
            generation=number,
            index=0,
            purpose="propose",
            parent=base.digest,
            change_class="propose",
            recipe=base.plan.recipe,
            bundle=base.plan.bundle,
            proposal=Proposal(
                hypothesis=f"asks the outside model for a child of program {parent}", knobs={}
            ),
            jobs=(JobCount(role="ask", count=1),),
        )
        asking = campaign.record(draft)
    if not passes_gate(campaign, asking):
        raise BadInput("asking the model for a child was refused")
    return asking


def choose_for(arm: str, secret: bytes, known: list[Program]) -> int:
    """Return the parent of the next program by an arm's rule and a repeat's secret."""
    rule = variant(arm).programs
    assert rule
    return choose_parent(rule, known, _draws(secret, "parent", len(known)))


def list_programs(facts: Facts, key: Key) -> list[Program]:
    """Return the programs of a campaign, in order."""
    return [
        Program(
            number=one.generation,
            parent=one.parent,
            skill=one.skill,
            asked=one.asked,
            usable=one.usable,
            gained=one.gained or 0,
        )
        for one in facts.selecting.programs.get(key, ())
    ]


def plan_of(campaign: Campaign, number: int) -> str:
    return campaign.facts().selecting.programs[campaign.key][number].plan


def read_genome(files: Mapping[str, bytes]) -> Genome:
    """Return the program in a bundle; raise BadInput where it is no text."""
    try:
        return {name: data.decode() for name, data in files.items() if is_own(name)}
    except UnicodeDecodeError:
        raise BadInput("the program is no text") from None


def _genomes_of(facts: Facts, store: Store, key: Key, number: int) -> dict[str, Genome]:
    """Return plan -> program, of those before a number."""
    return {
        one.plan: read_genome(store.get_bundle(facts.plans[one.plan].bundle))
        for one in facts.selecting.programs[key][:number]
        if one.plan
    }


def _draws(secret: bytes, what: str, number: int) -> random.Random:
    name = f"programs:{what}:{number}".encode()
    return random.Random(hmac.digest(secret, name, "sha256"))
