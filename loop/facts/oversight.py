"""Cost and catch of deciding: signed decisions, human minutes, queue delay, canaries, notices."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from configs.build import plain
from configs.entries import (
    AcknowledgementEntry,
    ApprovalEntry,
    DecisionEntry,
    DrillEntry,
    Entry,
    IncidentEntry,
    NoticeEntry,
    ProbeEntry,
    RequestEntry,
    StudyEntry,
    facts_of,
)
from configs.errors import VerificationFailed
from evals.oversight import SignedDecision, cost, detection
from loop.facts.canaries import is_canary
from sandbox import keys
from sandbox.decision import policy

COLUMNS = ("mandate", "approval", "refused", "person", "external", "simulated", "unattended")
"""Counts of each class of decision: the ground of a yes, a no, and the kind of reviewer."""


def oversight(entries: list[Entry]) -> dict[str, Any]:
    """Return the oversight part of summary.json; canaries only with the study's secret at hand."""
    signed = signed_decisions(entries)
    decisions = list(facts_of(entries, DecisionEntry))
    allowed = [decision for decision in decisions if decision.allow]
    return {
        **cost(signed),
        "by_class": _count_by_class(decisions),
        "share_by_mandate": _share([d.how == "mandate" for d in allowed]),
        "share_unattended": _share([d.reviewer_kind == "unattended" for d in allowed]),
        "canaries": _canaries(entries, signed),
        "drills_ms": [drill.milliseconds for drill in facts_of(entries, DrillEntry)],
        "incidents": sum(entry.kind == IncidentEntry.kind for entry in entries),
        "notices": _notices(entries),
        "decisions": plain(signed),
    }


def signed_decisions(entries: Sequence[Entry]) -> list[SignedDecision]:
    """Return every signed decision, with the time at which it was requested."""
    requested = {(r.plan, r.change_class): r.at for r in facts_of(entries, RequestEntry)}
    return list(_signed(entries, requested))


def _signed(
    entries: Sequence[Entry], requested: dict[tuple[str, str], int]
) -> Iterator[SignedDecision]:
    for fact in facts_of(entries, ApprovalEntry):
        approval = fact.approval
        yield SignedDecision(
            plan=approval.plan,
            change_class=approval.change_class,
            answer=approval.answer,
            reviewer=approval.reviewer,
            kind=approval.kind,
            requested=requested.get((approval.plan, approval.change_class), approval.seen),
            seen=approval.seen,
            decided=approval.issued,
            looked_ms=approval.looked_ms,
        )


def _count_by_class(decisions: Iterable[DecisionEntry]) -> dict[str, dict[str, int]]:
    classes: dict[str, dict[str, int]] = {}
    for decision in decisions:
        row = classes.setdefault(decision.change_class, dict.fromkeys(COLUMNS, 0))
        if decision.allow:
            row[decision.how] += 1
            row[decision.reviewer_kind] += 1
        else:
            row["refused"] += 1
    return classes


def _share(flags: Sequence[bool]) -> float:
    return round(sum(flags) / len(flags), 3) if flags else 0.0


def _notices(entries: Sequence[Entry]) -> dict[str, Any]:
    """Return how many notices arrived, and the seconds until receivers acknowledged them."""
    attempts = list(facts_of(entries, NoticeEntry))
    arrived = {(notice.digest, notice.to) for notice in attempts if notice.ok}
    sent = {(notice.digest, notice.to) for notice in attempts}
    delays = sorted(fact.delay_seconds for fact in facts_of(entries, AcknowledgementEntry))
    return {
        "delivered": len(arrived),
        "undelivered": len(sent - arrived),
        "failed_attempts": sum(not notice.ok for notice in attempts),
        "acknowledged": len(delays),
        "acknowledged_seconds": _spread(delays),
    }


def _spread(delays: Sequence[float]) -> dict[str, float] | None:
    return {"median": delays[len(delays) // 2], "largest": delays[-1]} if delays else None


def _canaries(entries: list[Entry], signed: Sequence[SignedDecision]) -> dict[str, Any] | None:
    """Return how well reviewers told canaries from twins; None without the study's secret."""
    answers = {decision.plan: decision.answer for decision in signed}
    study = next(facts_of(entries, StudyEntry))
    try:
        secret = keys.load_secret(study.secret)
    except VerificationFailed:
        return None
    stopped, passed = {True: 0, False: 0}, {True: 0, False: 0}
    for probe in facts_of(entries, ProbeEntry):
        if probe.digest in answers:
            canary = is_canary(secret, probe.digest, probe.commitment)
            count = passed if answers[probe.digest] == "approve" else stopped
            count[canary] += 1
    detected = detection(stopped[True], passed[True], stopped[False], passed[False])
    return {**detected, "declared": policy(entries).config.gates.canaries}
