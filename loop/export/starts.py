"""Closed starts of an export, held against the open entries round them.

A start is closed for its seed, so its hash says nothing of the rest. That rest follows from other
entries: grant and order from the plan, inputs from where they were recorded, accounts and digest
from the job's end. An export of format 1 is not held to it.
"""

from dataclasses import dataclass, field, replace
from typing import Any

from configs.entries import (
    AmendedEntry,
    DataEntry,
    Entry,
    Fact,
    HistoryEntry,
    JobEntry,
    NotebookEntry,
    PlanEntry,
    QuestionsEntry,
    StartEntry,
    StudyEntry,
)
from configs.errors import VerificationFailed
from configs.records import Plan
from configs.settings.config import Config
from loop.export.redact import MEASURABLE, Carried
from loop.verify.inputs import NOTED, ORDER, Recorded, find_flaw
from sandbox.canonical import digest
from sandbox.run import allowed, worst_case

READ = {*NOTED, "study", "amended", "plan", "start"}
"""Kinds of entries that are read here."""


@dataclass(slots=True, kw_only=True)
class Around:
    """What the entries before a start say."""

    config: Config
    recorded: Recorded = field(default_factory=Recorded)
    plans: dict[str, Plan] = field(default_factory=dict)
    begun: dict[str, StartEntry] = field(default_factory=dict)
    "starts without an end yet, by the grant's nonce"
    places: set[tuple[str, int]] = field(default_factory=set)
    "(digest, entry) of recorded bytes"


def check_starts(carried: Carried) -> None:
    """Raise VerificationFailed for a start that does not follow from the entries round it."""
    if carried.root.format == 1:
        return
    around = Around(config=carried.root.config)
    for entry in carried.entries:
        if entry.kind in READ and carried.closed.get(entry.place, "seed") in MEASURABLE:
            _check(around, entry, entry.fact)


def _check(around: Around, entry: Entry, fact: Fact) -> None:
    flaw = ""
    match fact:
        case StudyEntry() | AmendedEntry():
            around.config = fact.config
        case PlanEntry():
            around.plans[fact.digest] = fact.plan
        case StartEntry():
            flaw = _find_flaw(around, fact)
            around.begun[fact.grant.nonce] = fact
        case JobEntry():
            begun = around.begun.pop(fact.nonce, None)
            same = begun and _ends(begun) == _ends(fact)
            flaw = "" if same else "it does not end the job that began under its grant"
    if entry.kind in NOTED:
        around.recorded.note(fact)
    around.places |= {(blob, entry.sequence) for blob in _blobs(fact)}
    if flaw:
        raise VerificationFailed(f"entry {entry.sequence} ({entry.kind}): {flaw}")


def _find_flaw(around: Around, start: StartEntry) -> str:
    """Return what of a start follows from no other entry, or an empty string."""
    grant, job = start.grant, start.job
    plan = around.plans.get(grant.plan)
    if plan is None or grant.nonce != digest(replace(grant, nonce=""))[:32]:
        return "its grant is not that of a plan before it"
    seeded = replace(job, order=replace(job.order, seed=0))
    if not allowed(plan, seeded, grant, around.config) or start.reserved != worst_case(job):
        return "its job is not the one that its grant allows"
    # The order of a training holds its seed, so no open entry has its digest.
    open_inputs = (given for given in job.inputs if given.name != ORDER)
    if any((given.digest, given.sequence) not in around.places for given in open_inputs):
        return "an input was not recorded at its entry"
    campaign = ((name, one) for name, one in around.plans.items() if one.purpose == "baseline")
    own = (name for name, one in campaign if (one.arm, one.repeat) == (plan.arm, plan.repeat))
    return find_flaw(around.recorded, plan, job, next(own, ""))


def _ends(fact: StartEntry | JobEntry) -> tuple[Any, ...]:
    """Return what a start and its job's end say alike."""
    if isinstance(fact, StartEntry):
        job = fact.job
        return job.plan, job.role, job.index, fact.digest, fact.accounts, fact.reserved
    return fact.plan, fact.role, fact.index, fact.digest, fact.accounts, fact.released


def _blobs(fact: Fact) -> list[str]:
    """Return the digests of stored bytes that may be a job's input."""
    match fact:
        case JobEntry(result=result):
            return list(result.outputs.values())
        case DataEntry() | QuestionsEntry() | NotebookEntry() | HistoryEntry():
            return [fact.digest]
    return []
