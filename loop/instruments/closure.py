"""Who decided and who waited in a run: decisions, human effort, wall time."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from configs.entries import Entry
from configs.records import Plan
from evals.closure import Actor, Event, Stage
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
"""Where a proposer runs -> who writes its proposals; a box is left out, since programs and weights
run there.
"""
DECIDERS: dict[tuple[str, str], Actor] = {
    ("mandate", "unattended"): "unattended rule",
    ("mandate", "person"): "standing rule",
    ("mandate", "external"): "standing rule",
    ("approval", "person"): "person",
    ("approval", "external"): "person",
}
"""(how, kind) of a decision -> who decided; every other pair is a simulated reviewer."""
PEOPLE = ("person", "external")
"""Kinds of reviewers that are people."""
SIMULATED = ("simulated",)
RULES = ("tripwire", "warning sign")
"""Rules that people set before, and that give orders; every other order is a person's."""
SET: tuple[Stage, ...] = ("set objective", "set budget")
"""Stages that people release for the whole study with its root."""
ACTS: dict[str, Stage] = {"promote": "promote", "deploy": "deploy", "amend": "amend"}
"""Class of a decision -> its stage; every other class approves a plan."""


def writer(arm: str) -> Actor:
    """Return who writes an arm's proposals."""
    row = proposer(arm)
    return WRITERS.get(row.where) or ("fixed program" if row.program else "lineage")


def read_events(run: Run, arm: str) -> Iterator[Event]:
    """Yield the decisions on an arm's plans, each with the worst case of CPU that it released.

    Decisions on the whole study come with the root limit.
    """
    total_us = run.config.budget.amount().cpu_us
    for stage in SET:
        yield Event(stage=stage, actor="person", cpu_us=total_us, repeat=run.base)
    started = set[str]()
    for entry in run.entries:
        if entry.kind not in ("decision", "verdict"):
            continue
        body = entry.body
        if entry.kind == "decision" and body["class"] == "amend" and body["allow"]:
            yield Event(stage="amend", actor=_decider(body), cpu_us=total_us, repeat=run.base)
        plan = run.facts.plans.get(str(body.get("plan")))
        if plan is None or not _counts(run, plan, arm):
            continue
        if entry.kind == "verdict":
            yield _event(run, plan, "accept", "fixed program")
        elif body["allow"]:
            yield from _allowed(run, entry, plan, started)


def _counts(run: Run, plan: Plan, arm: str) -> bool:
    proposes = plan.purpose in ("candidate", "propose")
    return plan.arm == arm and proposes and plan.generation <= run.config.study.generations


def _allowed(run: Run, entry: Entry, plan: Plan, started: set[str]) -> Iterator[Event]:
    """Yield the events that an allowed decision on a plan released; `started`: plans so far."""
    body = entry.body
    digest, change_class = body["plan"], body["class"]
    starts = change_class == plan.change_class
    charged_us = run.charged_us.get(digest, 0) if starts and digest not in started else 0
    if starts:
        started.add(digest)
    stage = ACTS.get(change_class, "approve")
    yield _event(run, plan, stage, _decider(body), charged_us)
    if starts and plan.purpose == "candidate":
        yield _event(run, plan, "propose", writer(plan.arm))
        yield _event(run, plan, "train", "fixed program")
        yield _event(run, plan, "evaluate", "fixed program")


def _event(run: Run, plan: Plan, stage: Stage, actor: Actor, charged_us: int = 0) -> Event:
    return Event(
        stage=stage,
        actor=actor,
        cpu_us=plan.requested.cpu_us,
        repeat=run.base + plan.repeat,
        charged_us=charged_us,
    )


def _decider(body: Mapping[str, Any]) -> Actor:
    return DECIDERS.get((body["how"], body["kind"]), "simulated reviewer")


def count_acts(run: Run) -> int:
    """Count human acts other than plan decisions: proposals handed in, orders, recalls."""
    return sum(_is_act(entry) for entry in run.entries)


def _is_act(entry: Entry) -> bool:
    if entry.kind == "handed":
        return writer(entry.body["arm"]) == "person"
    if entry.kind == "control":
        return entry.body["what"] != "drill-end" and entry.body["who"] not in RULES
    return entry.kind == "recall"


def count_mandates(run: Run) -> int:
    """Count the mandates that people signed."""
    mandates = [e.body["mandate"] for e in run.entries if e.kind == "mandate"]
    return sum(mandate["kind"] == "person" for mandate in mandates)


def setup_minutes(run: Run) -> float:
    """Return the minutes of setting up, which end with the first job; 0 before that.

    They begin with the study root or the first signed mandate, whichever came first.
    """
    first = next((e for e in run.entries if e.kind == "start"), None)
    if first is None:
        return 0.0
    signed = [e.body["mandate"]["issued"] for e in run.entries if e.kind == "mandate"]
    begun: float = min([unix(run.entries[0]), *signed])
    return max(0.0, unix(first) - begun) / 60


def live_decisions(
    oversight: Mapping[str, Any], kinds: tuple[str, ...] = PEOPLE
) -> list[dict[str, Any]]:
    """Return the signed decisions of reviewers of some kinds, people by default."""
    return [d for d in oversight["decisions"] if d["kind"] in kinds]


def decisions_on(
    run: Run, arm: str, decisions: Sequence[Mapping[str, Any]]
) -> list[list[Mapping[str, Any]]]:
    """Return the decisions on plans of an arm: one list per repeat, in ascending order."""
    by_repeat: dict[int, list[Mapping[str, Any]]] = {
        repeat: [] for other, repeat in run.campaigns if other == arm
    }
    for decision in decisions:
        plan = run.facts.plans.get(decision["plan"])
        if plan and plan.arm == arm and plan.repeat in by_repeat:
            by_repeat[plan.repeat].append(decision)
    return list(by_repeat.values())


def sum_effort(groups: Sequence[Sequence[Mapping[str, Any]]]) -> Effort:
    """Return human effort with one value per group of decisions."""
    return Effort(
        decisions=tuple(map(len, groups)),
        minutes=tuple(sum(d["looked_ms"] for d in group) / 60_000 for group in groups),
        queue_seconds=tuple(
            math.fsum(max(0.0, d["decided"] - d["asked"]) for d in group) for group in groups
        ),
    )


def wall_seconds(run: Run, oversight: Mapping[str, Any]) -> tuple[float, float, float]:
    """Return wall seconds that requests waited for people, that jobs ran, and that the study took.

    A study takes its sessions, and the waits between them.
    """
    sessions = [
        (unix(e) - e.body["wall_seconds"], unix(e)) for e in run.entries if e.kind == "session"
    ]
    live = live_decisions(oversight)
    waits = [(float(d["asked"]), float(d["decided"])) for d in live]
    wall_us = sum(result.charged.wall_us for result, _ in run.facts.results.values())
    computed = wall_us / 1e6 / run.config.box.parallel
    total = _covered([*sessions, *waits]) if sessions else 0.0
    return _covered(waits), min(computed, total), total


def _covered(spans: Iterable[tuple[float, float]]) -> float:
    """Return the seconds that intervals (begin, end) cover; an overlap counts once."""
    total, until = 0.0, -math.inf
    for begin, end in sorted(spans):
        total += max(0.0, end - max(begin, until))
        until = max(until, end)
    return total
