"""Proposals handed in by people."""

from pathlib import Path

from configs.build import need, parse, strict_json
from configs.entries import HandedEntry
from configs.errors import BadInput
from configs.records import Proposal
from configs.settings.config import Config
from loop.facts.reader import FactsReader
from loop.people.requests import open_gate
from loop.plan import apply_proposal, source
from loop.propose.limit import need_few_changes, need_no_knobs
from loop.propose.table import proposer
from loop.study.program import bundle_of_program
from sandbox.gate.flaw import find_basis_flaw
from sandbox.heads import open_ledger


def hand_in_proposal(folder: Path, text: str, arm: str, repeat: int, who: str, by: str) -> str:
    """Hand in a proposal for an arm of human proposers; return its digest.

    `by` is the author's name; the author does not count towards the quorum on it. Raises BadInput
    for another arm, for a proposal unfit for the champion or beyond the change limit, and for an
    excess of proposals.
    """
    gate, facts = open_gate(folder), FactsReader(open_ledger(folder)).facts()
    config = gate.memory.rules.config
    _check_place(config, arm, repeat)
    handed_in, used = len(facts.handed[arm, repeat]), len(facts.taken[arm, repeat])
    limit = config.study.generations * config.study.proposals
    right = f"one of the {limit} that the campaign can use"
    need(handed_in - used < limit, "FILE", f"number {handed_in + 1}", right)
    text = text.strip()
    champions = facts.champions.get((arm, repeat), [])
    best = facts.plans[champions[-1]] if champions else None
    recipe = best.recipe if best else config.task.baseline
    files = gate.store.get_bundle(best.bundle) if best else _pristine(config)
    made = parse(Proposal, strict_json(text))
    need_no_knobs(config.task, made)
    change = apply_proposal(recipe, files, made, classes=config.task.may_change)
    if flaw := find_basis_flaw(gate.memory, arm, repeat, made.basis):
        raise BadInput(f"the proposal {flaw}")
    if limit := config.study.change_limit(arm):
        basis = gate.memory.plans.get(made.basis)
        before = (basis.bundle, basis.recipe) if basis else (gate.store.put_bundle(files), recipe)
        after = gate.store.put_bundle(change.files), change.recipe
        need_few_changes(gate.store, limit, before, after)
    name = gate.store.put(text.encode())
    gate.ledger.append(HandedEntry(arm=arm, repeat=repeat, digest=name, who=who, by=by))
    return name


def _pristine(config: Config) -> dict[str, bytes]:
    """Return the bundle of a baseline."""
    return bundle_of_program(config.task) if config.task.folder else source()


def _check_place(config: Config, arm: str, repeat: int) -> None:
    """Refuse an arm without human proposers, or a repeat outside the study."""
    arms = [name for name in config.arms() if proposer(name).where == "people"]
    choices = ", ".join(arms) or "this study has none"
    need(arm in arms, "--arm", arm, f"an arm in which people propose ({choices})")
    repeats = config.study.repeats
    need(0 <= repeat < repeats, "--repeat", repeat, f"below study.repeats, {repeats}")
