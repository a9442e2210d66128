"""Proposals and scores of a run, computed again from stored bytes."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import cache, partial
from typing import Any, cast

from configs.build import plain, strict_json
from configs.entries import Entry, StudyEntry
from configs.errors import BadInput, VerificationFailed
from configs.records import AGENT, Plan, Scores, module_of
from evals.program import count_weights
from evals.score import score
from loop.facts.facts import Facts
from loop.propose.evolve.model import applied, moved
from loop.propose.outside.read import read
from loop.propose.table import proposer
from loop.study.items import draw_items
from loop.study.own_files import load_items
from loop.study.root import read_config
from sandbox import keys, own
from sandbox.ledger import Ledger
from sandbox.store import Store


def check_proposals(store: Store, facts: Facts) -> None:
    """Read every stored answer of an outside model once more, without the model.

    Raises VerificationFailed where it does not give the proposal of its plan.
    """
    for name, plan in facts.plans.items():
        if plan.purpose != "candidate":
            continue
        reply = facts.answers.get((plan.asked, plan.index))
        if reply is None or module_of(plan, "propose") == AGENT:  # an agent writes for itself
            continue
        text = store.get(reply.text).decode() if reply.text else ""
        read_again = _read_evolved if proposer(plan.arm).evolves else _read_plain
        if store.get(plan.proposal) not in read_again(store, facts, plan, text):
            raise VerificationFailed(
                f"the proposal of plan {name[:12]} is not what the stored answer says"
            )


def _read_plain(store: Store, facts: Facts, plan: Plan, text: str) -> list[bytes]:
    """Return the proposal in an answer, on its parent's program."""
    source = read_training(store, facts.plans[plan.parent])
    return [read(text, source).encode() if text else b""]


def read_training(store: Store, plan: Plan) -> str:
    """Return the text of a plan's models/train.py."""
    return store.get(strict_json(store.get(plan.bundle))["models/train.py"]).decode()


def _read_evolved(store: Store, facts: Facts, plan: Plan, text: str) -> Iterator[bytes]:
    """Yield the proposals in an answer, on earlier programs of the campaign.

    A program counts only if the answer turns it into the plan's program and recipe.
    """
    program, best = read_training(store, plan), facts.plans[plan.parent]
    before = read_training(store, best)
    place = (plan.generation, plan.index)
    for name, parent in facts.trials((plan.arm, plan.repeat)).items():
        if parent.purpose == "candidate" and (parent.generation, parent.index) >= place:
            continue
        with suppress(BadInput):
            source = read_training(store, parent)
            proposal = read(text, source)
            if applied(parent.recipe, source, proposal) == (plan.recipe, program):
                basis = name if plan.basis else ""
                yield moved(best.recipe, before, plan.recipe, program, proposal, basis).encode()


def find_secret(entries: Sequence[Entry]) -> bytes | None:
    """Return the study secret where this user holds it."""
    try:
        return keys.load_secret(cast(StudyEntry, entries[0].fact).secret)
    except VerificationFailed:
        return None


def check_scores(store: Store, facts: Facts, ledger: Ledger) -> int:
    """Compute every score again and return their number; raises VerificationFailed.

    Without the study secret, or an own task's file, no score can be computed: 0.
    """
    config = read_config(ledger)
    root, secret = cast(StudyEntry, ledger.entries()[0].fact), find_secret(ledger.entries())
    if secret is None:
        return 0
    needed = config.task.items if config.task.folder else config.task.file_digest
    if needed and not own.known(needed):
        return 0
    load_items(config.task)
    task, count = config.task.format(), 0
    of_repeat = cache(partial(draw_items, task, secret, format=root.format))
    for (name, role, index), recorded in facts.scores.items():
        if not isinstance(recorded, Scores):
            continue
        result, plan = facts.results[name, role, index][0], facts.plans[name]
        recipe = plan.reference_recipe if role.startswith("champion") else plan.recipe
        assert recipe is not None
        items = of_repeat(plan.repeat)
        again = score(
            store.get(result.outputs["predictions.safetensors"]),
            items.splits[recorded.split],
            task,
            recipe,
            recorded.split,
            recorded.planned_cpu_us,
            recorded.measured_cpu_us,
            recorded.inference_cpu_us,
            items.slices[recorded.split],
        )
        if config.task.weights and not isinstance(again, str):
            slot = (name, role.replace("predict", "train"), index)
            trained = facts.results[cast(Any, slot)][0].outputs["weights.safetensors"]
            again = replace(again, parameters=count_weights(store.get(trained)))
        if isinstance(again, str) or plain(again) != plain(recorded):
            raise VerificationFailed(
                f"the score of plan {name[:12]}, {role} {index}, is not what its predictions give"
            )
        count += 1
    return count
