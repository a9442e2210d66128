"""Fold of the ledger: how each kind of entry changes the gate's memory.

The gate of a running study folds every new entry; `heirloop verify` folds a recorded ledger with
the same functions. Signatures of mandates and approvals are checked on every fold, so an entry of
the ledger is believed no more than a file.
"""

from bisect import insort
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from configs.build import parse
from configs.entries import Entry
from configs.errors import VerificationFailed
from configs.records import Amount, Approval, Mandate, Plan
from configs.settings.config import Config
from sandbox import keys
from sandbox.canonical import digest
from sandbox.decision import Request, Subject, body_plan, unix
from sandbox.gate.memory import Memory

HUMAN = ("person", "external")
"""Kinds of reviewer whose approval is a person's."""
ENDS = ("start", "propose", "skill", "unseal")
"""Purposes of plans that nothing is promoted or deployed from."""


def fold(memory: Memory, entry: Entry) -> None:
    """Add the next entry; raises VerificationFailed where its signature or digest is wrong."""
    memory.sequence = entry.sequence
    if entry.kind in ("plan", "probe", "amendment") and not matches(entry.kind, entry.body):
        raise VerificationFailed(
            f"entry {entry.sequence}: the {entry.kind} does not match its digest; nothing is"
            " decided on it"
        )
    step = FOLDS.get(entry.kind)
    if step:
        step(memory, entry)


def matches(kind: str, body: Mapping[str, Any]) -> bool:
    """Tell whether a recorded plan, probe or amendment has the digest that its entry names."""
    return bool(digest(body["amendment" if kind == "amendment" else "plan"]) == body["digest"])


def incident_code(body: Mapping[str, Any]) -> str:
    """Return the code of an incident that the gate wrote, or an empty string.

    Entries of format 1 carry no code, and their titles are prose. Three facts tell them apart: the
    gate detected it, a plan is concerned (a request) or none is (an envelope), and the severity.
    """
    if body["detector"] != "gate":
        return ""
    if body["plan"]:
        return "request flood"
    return {"medium": "refused decision", "high": "decision flood"}.get(body["severity"], "")


def _fold_amended(memory: Memory, entry: Entry) -> None:
    memory.rules = replace(
        memory.rules,
        version=memory.rules.version + 1,
        config=parse(Config, entry.body["config"]),
        reviewers=tuple(entry.body["reviewers"]),
        decided=entry.body["decided"],
    )


def _fold_plan(memory: Memory, entry: Entry) -> None:
    name, plan = entry.body["digest"], body_plan(entry.body)
    memory.plans[name] = plan
    campaign = memory.campaigns.setdefault((plan.arm, plan.repeat), [])
    memory.numbers[name] = len(campaign)
    campaign.append(name)
    if plan.parent in memory.recalled:
        memory.recalled.add(name)
    memory.subjects[name] = _plan_subject(memory, name, plan)


def _fold_probe(memory: Memory, entry: Entry) -> None:
    name, plan = entry.body["digest"], body_plan(entry.body)
    memory.probes[name] = plan
    memory.subjects[name] = _plan_subject(memory, name, plan)


def _plan_subject(memory: Memory, name: str, plan: Plan) -> Subject:
    more = () if plan.purpose in ENDS else ("promote", "deploy")
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


def _fold_handed(memory: Memory, entry: Entry) -> None:
    body = entry.body
    memory.proposers[body["arm"], body["repeat"], body["digest"]] = str(body["by"])


def _fold_amendment(memory: Memory, entry: Entry) -> None:
    body = entry.body
    memory.subjects[body["digest"]] = Subject(
        digest=body["digest"],
        classes=("amend",),
        objective=body["objective"],
        requested=Amount(),
        parent=memory.rules.decided,
        generation=body["version"],
        version=memory.rules.version,
        by=str(body["amendment"]["who"]).removeprefix("user "),
    )


def _fold_mandate(memory: Memory, entry: Entry) -> None:
    body = entry.body
    payload = keys.verify(body["envelope"].encode(), body["mandate"]["public"], "mandate")
    memory.mandates[body["digest"]] = parse(Mandate, payload)


def _fold_approval(memory: Memory, entry: Entry) -> None:
    body, name = entry.body, entry.body["digest"]
    payload = keys.verify(body["envelope"].encode(), body["approval"]["public"], "approval")
    approval = parse(Approval, payload)
    memory.approvals[name] = approval
    memory.admitted_at[name] = unix(entry)
    memory.answers.setdefault((approval.plan, approval.change_class), {})[name] = approval


def _fold_request(memory: Memory, entry: Entry) -> None:
    body = entry.body
    question = (body["plan"], body["class"])
    request = Request(
        subject=body["plan"],
        change_class=body["class"],
        arm=body["arm"],
        at=body["at"],
        expires=body["expires"],
        sequence=entry.sequence,
    )
    memory.requests[question] = request
    memory.undecided.setdefault(request.arm, {})[question] = request
    memory.request_times.append(request.at)


def _fold_decision(memory: Memory, entry: Entry) -> None:
    body = entry.body
    question = (body["plan"], body["class"])
    memory.decisions.append((body, unix(entry)))
    memory.decided_at[question] = entry.sequence
    for waiting in memory.undecided.values():
        waiting.pop(question, None)
    if not body["allow"]:
        memory.refused[question] = body["reason"]
        return
    memory.allowed[question] = body
    memory.used.update(body["by"])
    if body["how"] == "mandate":
        memory.passes.setdefault(body["authority"], deque()).append(unix(entry))
    elif body["kind"] in HUMAN:
        _approve(memory, body["plan"])


def _approve(memory: Memory, name: str) -> None:
    """Note that a person approved a subject, and where a plan stands in its campaign."""
    plan = memory.plans.get(name)
    if plan and name not in memory.human:
        places = memory.approved.setdefault((plan.arm, plan.repeat), [])
        insort(places, memory.numbers[name])
    memory.human.add(name)


def _fold_recall(memory: Memory, entry: Entry) -> None:
    memory.recalled.update(entry.body["plans"])


def _fold_champion(memory: Memory, entry: Entry) -> None:
    memory.champions.add(entry.body["plan"])


def _fold_incident(memory: Memory, entry: Entry) -> None:
    memory.incident_artifacts.update(entry.body["artifacts"])
    code = incident_code(entry.body)
    if code == "refused decision":
        memory.refusal_times.append(unix(entry))
    elif code:
        memory.flood_times[code] = unix(entry)


def _fold_start(memory: Memory, entry: Entry) -> None:
    memory.starts.append(unix(entry))


def _fold_control(memory: Memory, entry: Entry) -> None:
    order = entry.body["what"]
    if order == "slow":
        memory.per_hour = entry.body["per_hour"]
        memory.halted = memory.halted or entry.hash
    elif order == "resume":
        if memory.may_resume():
            memory.halt, memory.halted, memory.per_hour = "", "", 0
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
        memory.subjects[entry.hash] = _order_subject(memory, entry.hash)


def _order_subject(memory: Memory, name: str) -> Subject:
    return Subject(
        digest=name,
        classes=("resume",),
        objective=digest(memory.rules.config.objective),
        requested=Amount(),
        parent="",
        generation=0,
        version=memory.rules.version,
    )


FOLDS: dict[str, Callable[[Memory, Entry], None]] = {
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
    "champion": _fold_champion,
    "incident": _fold_incident,
    "start": _fold_start,
    "call": _fold_start,
    "control": _fold_control,
}
"""How each kind of entry changes a memory; the other kinds change nothing."""
