"""Requests: questions waiting for people, and the caps against a flood of them.

A request is put once. It ends with a decision, or it expires and is then denied.
"""

from collections.abc import Mapping
from dataclasses import replace

from configs.entries import RequestEntry
from sandbox import incident
from sandbox.decision import HOUR, Request
from sandbox.gate import decide, quorum
from sandbox.gate.memory import Memory, Moment, Question, recent
from sandbox.ledger import Transaction


def is_open(memory: Memory, subject: str, change_class: str) -> bool:
    """Tell whether a question was put and has no decision since."""
    request = memory.requests.get((subject, change_class))
    return request is not None and not request.decided


def write_request(
    txn: Transaction, memory: Memory, moment: Moment, subject: str, change_class: str
) -> str:
    """Record a request, or its refusal by a cap; return the cap's text, or an empty string."""
    arm, now = memory.subjects[subject].arm, int(moment.now)
    excess = find_excess(memory, moment, arm)
    if excess:
        txn.append(decide.write_no(subject, change_class, excess))
        _report_flood(txn, memory, moment, subject, excess)
        return excess
    expires = now + memory.rules.config.gates.expire_hours * HOUR
    request = RequestEntry(
        plan=subject, change_class=change_class, arm=arm, at=now, expires=expires
    )
    txn.append(request)
    return ""


def _report_flood(
    txn: Transaction, memory: Memory, moment: Moment, subject: str, excess: str
) -> None:
    """Open an incident an hour for refused requests."""
    if memory.flood_times.get("request flood", 0) > moment.now - HOUR:
        return
    incident.report(
        txn,
        f"request flood: {excess}",
        detector="gate",
        plan=subject,
        containment="refused by the cap",
        harm_potential="tired reviewers approve what they do not read",
    )


def find_excess(memory: Memory, moment: Moment, arm: str) -> str:
    """Return the cap exceeded by another request of an arm, or an empty string.

    Requests of people have no arm and no cap.
    """
    if not arm:
        return ""
    gates = memory.rules.config.gates
    if recent(memory.request_times, moment.now - HOUR) >= gates.requests_per_hour:
        return f"more than {gates.requests_per_hour} requests an hour (gates.requests_per_hour)"
    undecided, limit = memory.undecided.get(arm, {}), gates.pending_per_arm
    if len(undecided) >= limit and len(list_pending(memory, moment, undecided)) >= limit:
        return f"more than {limit} requests of arm {arm} waiting (gates.pending_per_arm)"
    return ""


def list_pending(
    memory: Memory, moment: Moment, requests: Mapping[Question, Request]
) -> list[Request]:
    """Return the requests waiting for people, oldest first."""
    return [request for request in requests.values() if _is_pending(memory, moment, request)]


def _is_pending(memory: Memory, moment: Moment, request: Request) -> bool:
    return (
        not request.decided
        and moment.now < request.expires
        and memory.subjects[request.subject].version == memory.rules.version
        and not is_settled(memory, moment, request)
    )


def list_expired(memory: Memory, moment: Moment) -> list[Request]:
    """Return the requests without a decision in time, oldest first."""
    return [
        request
        for request in memory.requests.values()
        if moment.now >= request.expires
        and not any(request.at <= time < request.expires for time in request.decided)
        and not is_settled(memory, replace(moment, now=request.expires - 1), request)
    ]


def is_settled(memory: Memory, moment: Moment, request: Request) -> bool:
    """Tell whether people gave all answers to a request.

    The loop may not have read them yet, or waits for the end of the cooling-off.
    """
    question = (request.subject, request.change_class)
    if not memory.answers.get(question):
        return False
    decision = quorum.ask_quorum(memory, moment, *question)
    return decision.outcome != "waiting" or decision.cooling_off
