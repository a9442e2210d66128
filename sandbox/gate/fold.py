"""Fold of the ledger: how each kind of entry changes the gate's memory.

The gate of a running study folds every new entry; `heirloop verify` folds a recorded ledger with
the same functions. Signatures of mandates and approvals are checked on every fold. So an entry of
the ledger is believed no more than a file.
"""

from bisect import insort
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import lru_cache
from types import MappingProxyType
from typing import Any, Literal

from configs.build import parse
from configs.entries import (
    AmendedEntry,
    AmendmentEntry,
    AnswerEntry,
    ApprovalEntry,
    CallEntry,
    ChampionEntry,
    ControlEntry,
    DecisionEntry,
    Entry,
    HandedEntry,
    IncidentEntry,
    JobEntry,
    MandateEntry,
    PlanEntry,
    ProbeEntry,
    RecallEntry,
    RequestEntry,
    ScoreEntry,
    StartEntry,
)
from configs.errors import VerificationFailed
from configs.records import Approval, Mandate, Plan
from sandbox import keys
from sandbox.canonical import digest
from sandbox.decision import HOUR, Request, Subject, unix
from sandbox.gate.memory import JobState, Memory, recent
from sandbox.gate.refusals import incident_code

HUMAN = ("person", "external")
"""Kinds of human reviewers."""
LEADS_ON = ("baseline", "candidate", "final", "larger")
"""Purposes of plans that may be promoted or deployed."""


def fold(memory: Memory, entry: Entry) -> None:
    """Add the next entry; raises VerificationFailed where its signature or digest is wrong."""
    memory.sequence = entry.sequence
    step = FOLDS.get(entry.kind)
    if step is None:
        return
    if not matches(entry):
        raise VerificationFailed(
            f"entry {entry.sequence}: the {entry.kind} does not match its digest; nothing is"
            " decided on it"
        )
    step(memory, entry, entry.fact)


def matches(entry: Entry) -> bool:
    """Tell whether a recorded plan, probe or amendment has the digest named in its entry."""
    part = {"plan": "plan", "probe": "plan", "amendment": "amendment"}.get(entry.kind)
    # The digest is of the bytes as they were written, not of the record read from them.
    return part is None or bool(digest(entry.body[part]) == entry.body["digest"])


def _fold_amended(memory: Memory, entry: Entry, fact: AmendedEntry) -> None:
    memory.rules = replace(
        memory.rules,
        version=memory.rules.version + 1,
        config=fact.config,
        reviewers=fact.reviewers,
        decided=fact.decided,
        objective=digest(fact.config.objective),
        ahead=fact.ahead_seconds,
    )


def _fold_plan(memory: Memory, entry: Entry, fact: PlanEntry) -> None:
    name, plan = fact.digest, fact.plan
    memory.plans[name] = plan
    campaign = memory.campaigns.setdefault((plan.arm, plan.repeat), [])
    memory.numbers[name] = len(campaign)
    campaign.append(name)
    if not memory.recalled.isdisjoint((plan.parent, plan.basis)):
        memory.recalled.add(name)
    memory.subjects[name] = _plan_subject(memory, name, plan)


def _fold_probe(memory: Memory, entry: Entry, fact: ProbeEntry) -> None:
    memory.probes[fact.digest] = fact.plan
    memory.subjects[fact.digest] = _plan_subject(memory, fact.digest, fact.plan)


def _plan_subject(memory: Memory, name: str, plan: Plan) -> Subject:
    more = ("promote", "deploy") if plan.purpose in LEADS_ON else ()
    more = ("release", "rollback") if plan.purpose == "service" else more
    return Subject(
        digest=name,
        classes=(plan.change_class, *more),
        objective=plan.objective,
        requested=plan.requested,
        parent=plan.parent,
        generation=plan.generation,
        arm=plan.arm,
        version=plan.version,
        by=memory.proposers.get((plan.arm, plan.repeat, plan.proposal), ""),
    )


def _fold_handed(memory: Memory, entry: Entry, fact: HandedEntry) -> None:
    memory.proposers[fact.arm, fact.repeat, fact.digest] = fact.by


def _fold_amendment(memory: Memory, entry: Entry, fact: AmendmentEntry) -> None:
    memory.subjects[fact.digest] = Subject(
        digest=fact.digest,
        classes=("amend",),
        objective=fact.objective,
        parent=memory.rules.decided,
        generation=fact.version,
        version=memory.rules.version,
        by=fact.amendment.who.removeprefix("user "),
        ahead=fact.amendment.ahead_seconds,
    )


def _fold_mandate(memory: Memory, entry: Entry, fact: MandateEntry) -> None:
    payload = keys.verify(fact.envelope.encode(), fact.mandate.public, "mandate")
    memory.mandates[fact.digest] = parse(Mandate, payload)


def _fold_approval(memory: Memory, entry: Entry, fact: ApprovalEntry) -> None:
    payload = keys.verify(fact.envelope.encode(), fact.approval.public, "approval")
    approval = parse(Approval, payload)
    question = (approval.plan, approval.change_class)
    memory.approvals[fact.digest] = approval
    memory.admitted_at[fact.digest] = unix(entry)
    memory.answers.setdefault(question, {})[fact.digest] = approval


def _fold_request(memory: Memory, entry: Entry, fact: RequestEntry) -> None:
    question = (fact.plan, fact.change_class)
    request = Request(
        subject=fact.plan,
        change_class=fact.change_class,
        arm=fact.arm,
        at=fact.at,
        expires=fact.expires,
        sequence=entry.sequence,
    )
    memory.requests[question] = request
    memory.undecided.setdefault(fact.arm, {})[question] = request
    memory.request_times.append(fact.at)


def _fold_decision(memory: Memory, entry: Entry, fact: DecisionEntry) -> None:
    question = (fact.plan, fact.change_class)
    if request := memory.requests.get(question):
        decided = (*request.decided, unix(entry))
        memory.requests[question] = replace(request, decided=decided)
        memory.undecided[request.arm].pop(question, None)
    if not fact.allow:
        memory.refused[question] = fact.reason
        return
    memory.allowed[question] = fact
    memory.used.update(fact.by)
    if fact.how == "mandate":
        memory.passes.setdefault(fact.authority, deque()).append(unix(entry))
    elif fact.reviewer_kind in HUMAN:
        _approve(memory, fact.plan)


def _approve(memory: Memory, name: str) -> None:
    """Note a person's approval of a subject, and the place of a plan in its campaign."""
    plan = memory.plans.get(name)
    if plan and name not in memory.human:
        places = memory.approved.setdefault((plan.arm, plan.repeat), [])
        insort(places, memory.numbers[name])
    memory.human.add(name)


def _fold_recall(memory: Memory, entry: Entry, fact: RecallEntry) -> None:
    memory.recalled.update(fact.plans)


def _fold_score(memory: Memory, entry: Entry, fact: ScoreEntry) -> None:
    plan, is_screening = memory.plans.get(fact.plan), (fact.role, fact.index) == ("predict", 0)
    if plan and plan.purpose in ("baseline", "candidate") and is_screening and fact.scores:
        memory.scored.add(fact.plan)


def _fold_champion(memory: Memory, entry: Entry, fact: ChampionEntry) -> None:
    memory.champions.add(fact.plan)


def _fold_incident(memory: Memory, entry: Entry, fact: IncidentEntry) -> None:
    memory.incident_artifacts.update(fact.incident.artifacts)
    code = incident_code(fact.incident)
    if code == "refused decision":
        memory.refusal_times.append(unix(entry))
    elif code:
        memory.flood_times[code] = unix(entry)


def _fold_control(memory: Memory, entry: Entry, fact: ControlEntry) -> None:
    order = fact.what
    if order == "slow":
        memory.per_hour = fact.per_hour
        memory.halted = memory.halted or entry.hash
    elif order == "resume":
        if memory.may_resume():
            memory.halt, memory.halted, memory.per_hour = "", "", 0
            for plan, states in memory.jobs.items():  # what the box lost may be tried again
                anew = ((slot, replace(state, lost=0)) for slot, state in states.items())
                memory.jobs[plan] = _shared(tuple(anew))
    elif order == "drill":
        if memory.drillable():
            memory.halt, memory.halted = "drill", entry.hash
    elif order == "drill-end":
        if memory.halt == "drill":
            memory.halt, memory.halted = "", ""
    elif memory.halt != "stop" or order == "stop":
        # A stop is never softened to a pause, and a newer stop needs a newer yes.
        memory.halt, memory.halted = order, entry.hash
    if order in ("stop", "pause", "slow"):
        memory.subjects[entry.hash] = Subject(
            digest=entry.hash,
            classes=("resume",),
            objective=memory.rules.objective,
            version=memory.rules.version,
        )


def _fold_start(memory: Memory, entry: Entry, fact: StartEntry | CallEntry) -> None:
    grant, now = fact.grant, unix(entry)
    recent(memory.starts, now - HOUR)
    memory.starts.append(now)
    before = memory.job_state(grant.plan, grant.role, grant.index)
    after = replace(before, begun=before.begun + 1, stage="running")
    _set_state(memory, grant.plan, grant.role, grant.index, after)


def _fold_job(memory: Memory, entry: Entry, fact: JobEntry) -> None:
    """End an attempt: a job lost by the box may be begun again."""
    is_lost = fact.result.status == "box"
    before = memory.job_state(fact.plan, fact.role, fact.index)
    lost = before.lost + (is_lost and not fact.result.killed)
    after = replace(before, lost=lost, stage="lost" if is_lost else "done")
    _set_state(memory, fact.plan, fact.role, fact.index, after)


def _fold_answer(memory: Memory, entry: Entry, fact: AnswerEntry) -> None:
    """End a question: without a usable answer it may be asked again."""
    before = memory.job_state(fact.plan, "ask", fact.index)
    stage: Literal["lost", "done"] = "done" if fact.answer.status == "ok" else "lost"
    _set_state(memory, fact.plan, "ask", fact.index, replace(before, stage=stage))


def _set_state(memory: Memory, plan: str, role: str, index: int, state: JobState) -> None:
    states = {**memory.jobs.get(plan, {}), f"{role} {index}": state}
    memory.jobs[plan] = _shared(tuple(states.items()))


@lru_cache(maxsize=1024)
def _shared(states: tuple[tuple[str, JobState], ...]) -> Mapping[str, JobState]:
    """Return the same mapping for the same states: plans at their end look alike."""
    return MappingProxyType(dict(states))


FOLDS: dict[str, Callable[[Memory, Entry, Any], None]] = {
    "start": _fold_start,
    "call": _fold_start,
    "job": _fold_job,
    "answer": _fold_answer,
    "amended": _fold_amended,
    "plan": _fold_plan,
    "probe": _fold_probe,
    "handed": _fold_handed,
    "amendment": _fold_amendment,
    "mandate": _fold_mandate,
    "approval": _fold_approval,
    "request": _fold_request,
    "decision": _fold_decision,
    "recall": _fold_recall,
    "score": _fold_score,
    "champion": _fold_champion,
    "incident": _fold_incident,
    "control": _fold_control,
}
"""How each kind of entry changes a memory; the other kinds change nothing."""
