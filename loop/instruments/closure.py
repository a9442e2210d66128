"""Who decided and who waited in a run: decisions, human effort, wall time."""

import math
from collections.abc import Iterable, Iterator, Sequence

from configs.entries import (
    ControlEntry,
    DecisionEntry,
    HandedEntry,
    MandateEntry,
    RecallEntry,
    SessionEntry,
    StartEntry,
    VerdictEntry,
    facts_of,
    lines_of,
)
from configs.records import Plan
from evals.closure import Actor, Event, Stage
from evals.oversight import SignedDecision
from evals.pace import Effort
from loop.instruments.run import Run
from loop.propose.table import proposer
from sandbox.decision import unix

WRITERS: dict[str, Actor] = {
    "trusted": "fixed program",
    "record": "fixed program",
    "outside": "outside model",
    "people": "person",
    "script": "person",
}
"""Place of a proposer -> author of its proposals. A box is left out, since programs and weights run
there.
"""
DECIDERS: dict[tuple[str, str], Actor] = {
    ("mandate", "unattended"): "unattended rule",
    ("mandate", "person"): "standing rule",
    ("mandate", "external"): "standing rule",
    ("approval", "person"): "person",
    ("approval", "external"): "person",
}
"""(how, kind) of a decision -> its actor; every other pair is a simulated reviewer."""
PEOPLE = ("person", "external")
"""Kinds of reviewers that are people."""
SIMULATED = ("simulated",)
RULES = ("tripwire", "warning sign")
"""Rules set by people that give orders; every other order is a person's."""
SET: tuple[Stage, ...] = ("set objective", "set budget")
"""Stages released by people for the whole study, with its root."""
ACTS: dict[str, Stage] = {"promote": "promote", "deploy": "deploy", "amend": "amend"}
"""Class of a decision -> its stage; every other class approves a plan."""


def writer(arm: str) -> Actor:
    """Return the author of an arm's proposals."""
    row = proposer(arm)
    return WRITERS.get(row.where) or ("fixed program" if row.program else "lineage")


def read_events(run: Run, arm: str) -> Iterator[Event]:
    """Yield the decisions on an arm's plans, each with the worst case of CPU released by it.

    Decisions on the whole study come with the root limit.
    """
    for stage in SET:
        yield _study_event(run, stage, "person")
    started = set[str]()
    for entry in run.entries:
        # Other kinds are many, and are not decoded.
        if entry.kind not in (DecisionEntry.kind, VerdictEntry.kind):
            continue
        fact = entry.fact
        if isinstance(fact, DecisionEntry):
            yield from _decision_events(run, arm, fact, started)
        elif isinstance(fact, VerdictEntry):
            plan = run.facts.plans[fact.plan]
            if _counts(run, plan, arm):
                yield _event(run, plan, "accept", "fixed program")


def _decision_events(
    run: Run, arm: str, decision: DecisionEntry, started: set[str]
) -> Iterator[Event]:
    """Yield the events of a decision; `started` holds the plans started by earlier decisions."""
    if not decision.allow:
        return
    if decision.change_class == "amend":
        yield _study_event(run, "amend", _decider(decision))
    plan = run.facts.plans.get(decision.plan)
    if plan is None or not _counts(run, plan, arm):
        return
    starts = decision.change_class == plan.change_class
    first = starts and decision.plan not in started
    charged_us = run.charged_us.get(decision.plan, 0) if first else 0
    if starts:
        started.add(decision.plan)
    stage = ACTS.get(decision.change_class, "approve")
    yield _event(run, plan, stage, _decider(decision), charged_us)
    if starts and plan.purpose == "candidate":
        yield _event(run, plan, "propose", writer(plan.arm))
        yield _event(run, plan, "train", "fixed program")
        yield _event(run, plan, "evaluate", "fixed program")


def _study_event(run: Run, stage: Stage, actor: Actor) -> Event:
    root_us = run.config.budget.amount().cpu_us
    return Event(stage=stage, actor=actor, cpu_us=root_us, repeat=run.base)


def _counts(run: Run, plan: Plan, arm: str) -> bool:
    proposes = plan.purpose in ("candidate", "propose")
    return plan.arm == arm and proposes and plan.generation <= run.config.study.generations


def _event(run: Run, plan: Plan, stage: Stage, actor: Actor, charged_us: int = 0) -> Event:
    return Event(
        stage=stage,
        actor=actor,
        cpu_us=plan.requested.cpu_us,
        repeat=run.base + plan.repeat,
        charged_us=charged_us,
    )


def _decider(decision: DecisionEntry) -> Actor:
    return DECIDERS.get((decision.how, decision.reviewer_kind), "simulated reviewer")


def count_acts(run: Run) -> int:
    """Count human acts other than plan decisions: proposals handed in, orders, recalls."""
    handed = sum(writer(fact.arm) == "person" for fact in facts_of(run.entries, HandedEntry))
    ordered = sum(
        order.what != "drill-end" and order.who not in RULES
        for order in facts_of(run.entries, ControlEntry)
    )
    return handed + ordered + sum(entry.kind == RecallEntry.kind for entry in run.entries)


def count_mandates(run: Run) -> int:
    """Count the mandates that people signed."""
    return sum(fact.mandate.kind == "person" for fact in facts_of(run.entries, MandateEntry))


def setup_minutes(run: Run) -> float | None:
    """Return the minutes of setting up, which end with the first job; 0 before that.

    They begin with the study root or the first signed mandate, whichever came first. None for a
    root without a clock: a simulated study has none, so that it repeats everywhere. Ledgers of
    format 1 keep the figure of their exports.
    """
    if run.facts.format > 1 and unix(run.entries[0]) == 0:
        return None
    first = next((entry for entry in run.entries if entry.kind == StartEntry.kind), None)
    if first is None:
        return 0.0
    signed = [fact.mandate.issued for fact in facts_of(run.entries, MandateEntry)]
    return max(0.0, unix(first) - min([unix(run.entries[0]), *signed])) / 60


def of_kinds(
    decisions: Iterable[SignedDecision], kinds: tuple[str, ...] = PEOPLE
) -> list[SignedDecision]:
    """Return the decisions of reviewers of some kinds, people by default."""
    return [decision for decision in decisions if decision.kind in kinds]


def group_by_repeat(
    run: Run, arm: str, decisions: Iterable[SignedDecision]
) -> list[list[SignedDecision]]:
    """Return the decisions on plans of an arm: one list per repeat, in ascending order."""
    by_repeat: dict[int, list[SignedDecision]] = {
        repeat: [] for other, repeat in run.campaigns if other == arm
    }
    for decision in decisions:
        plan = run.facts.plans.get(decision.plan)
        if plan and plan.arm == arm and plan.repeat in by_repeat:
            by_repeat[plan.repeat].append(decision)
    return list(by_repeat.values())


def sum_effort(groups: Sequence[Sequence[SignedDecision]]) -> Effort:
    """Return the effort of reviewers, one value per group of decisions."""
    return Effort(
        decisions=tuple(map(len, groups)),
        minutes=tuple(sum(d.looked_ms for d in group) / 60_000 for group in groups),
        queue_seconds=tuple(
            math.fsum(max(0.0, d.decided - d.requested) for d in group) for group in groups
        ),
    )


def wall_seconds(run: Run, decisions: Iterable[SignedDecision]) -> tuple[float, float, float]:
    """Return wall seconds of waiting for people, of jobs, and of the whole study.

    A study takes its sessions, and the waits between them.
    """
    sessions = [
        (unix(entry) - session.wall_seconds, unix(entry))
        for entry, session in lines_of(run.entries, SessionEntry)
    ]
    waits = [(float(d.requested), float(d.decided)) for d in of_kinds(decisions)]
    wall_us = sum(result.charged.wall_us for result, _ in run.facts.results.values())
    computed = wall_us / 1e6 / run.config.box.parallel
    total = _covered([*sessions, *waits]) if sessions else 0.0
    return _covered(waits), min(computed, total), total


def _covered(spans: Iterable[tuple[float, float]]) -> float:
    """Return the seconds covered by intervals (begin, end); an overlap counts once."""
    total, until = 0.0, -math.inf
    for begin, end in sorted(spans):
        total += max(0.0, end - max(begin, until))
        until = max(until, end)
    return total
