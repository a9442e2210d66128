"""Where did the seconds go? Stages of each training, and of each candidate, from entries' times.

A worker takes a replicate through reserve, start, train, collect, predict and score. Before its
screening a candidate is proposed, waits for its turn, and waits for people. Times of entries are in
milliseconds of the wall clock. The same entries give the same seconds, in a run and in its export.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, cast

from configs.entries import (
    ChampionEntry,
    DecisionEntry,
    Entry,
    InvalidEntry,
    JobEntry,
    LookEntry,
    PlanEntry,
    RequestEntry,
    ScoreEntry,
    StartEntry,
)
from configs.records import JobResult, Plan

WORK = ("reserve", "start", "train", "collect", "predict", "score")
"""Stages of a replicate, in order: the time of a worker."""
STAGES = ("propose", "turn", "gate", *WORK)
"""Stages of a candidate, in order."""
Span = tuple[str, float, float]
"""Stage, begin and end, in seconds since the first entry."""
Slot = tuple[str, str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Timed:
    """A replicate's time on a worker."""

    plan: str
    "plan digest"
    screens: bool
    "whether it is the screening of its plan"
    spans: tuple[Span, ...]
    "its stages, one after the other"


@dataclass(slots=True)
class _Clock:
    """Times so far, in seconds since the first entry."""

    plans: dict[str, tuple[Plan, float, float]] = field(default_factory=dict)
    "plan -> the plan, the entry before it in its campaign, and its own"
    last: dict[tuple[str, int], float] = field(default_factory=dict)
    "campaign -> its latest entry"
    asked: dict[str, float] = field(default_factory=dict)
    decided: dict[str, float] = field(default_factory=dict)
    looked: dict[str, float] = field(default_factory=dict)
    started: dict[Slot, list[float]] = field(default_factory=dict)
    "job -> the starts of its attempts"
    ended: dict[Slot, tuple[float, JobResult]] = field(default_factory=dict)
    timed: list[Timed] = field(default_factory=list)
    candidates: dict[str, dict[str, float]] = field(default_factory=dict)


def read_work(entries: Iterable[Entry]) -> list[Timed]:
    """Return the time of every replicate with a score, in the order of the scores."""
    return _read(entries).timed


def read_candidates(entries: Iterable[Entry]) -> dict[str, dict[str, float]]:
    """Return screened candidate -> seconds of each of STAGES, and those that are `unaccounted`.

    They add up to the time from the entry before the proposal to the score. Unaccounted are lost
    attempts at a job, and the time between two sessions.
    """
    return _read(entries).candidates


def _read(entries: Iterable[Entry]) -> _Clock:
    clock, first = _Clock(), 0.0
    for number, entry in enumerate(entries):
        now = datetime.fromisoformat(entry.time).timestamp()
        first = first if number else now
        _fold(clock, entry, now - first)
    return clock


def _fold(clock: _Clock, entry: Entry, now: float) -> None:
    # An export closes some entries: of these only what stays in their bodies is read.
    body = entry.body
    if not body:  # of a canary, which an export of a running study does not give away
        return
    match entry.kind:
        case PlanEntry.kind:
            plan = cast(PlanEntry, entry.fact).plan
            before = clock.last.get((plan.arm, plan.repeat), now)
            clock.plans[body["digest"]] = plan, before, now
            clock.last[plan.arm, plan.repeat] = now
        case InvalidEntry.kind | ChampionEntry.kind:
            clock.last[body["arm"], body["repeat"]] = now
        case RequestEntry.kind:
            clock.asked.setdefault(body["plan"], now)
        case DecisionEntry.kind if body["allow"]:
            clock.decided.setdefault(body["plan"], now)
        case LookEntry.kind:
            clock.looked.setdefault(body["plan"], now)
        case StartEntry.kind:
            job = body["job"]
            slot = job["plan"], job["role"], job["index"]
            clock.started.setdefault(slot, []).append(now)
        case JobEntry.kind:
            result = cast(JobEntry, entry.fact).result
            clock.ended[body["plan"], body["role"], body["index"]] = now, result
            _touch(clock, body["plan"], now)
        case ScoreEntry.kind:
            _time(clock, body, now)
            _touch(clock, body["plan"], now)


def _touch(clock: _Clock, name: str, now: float) -> None:
    if name in clock.plans:
        plan = clock.plans[name][0]
        clock.last[plan.arm, plan.repeat] = now


def _time(clock: _Clock, body: Any, now: float) -> None:
    """Add a replicate at its score."""
    name, role, index = body["plan"], body["role"], body["index"]
    predicting = (name, role, index)
    training = (name, role.replace("predict", "train"), index)
    if training not in clock.ended or name not in clock.plans:
        return
    purpose = clock.plans[name][0].purpose
    screens = (role, index) == ("predict", 0) and purpose in ("start", "baseline", "candidate")
    spans = _list_training(clock, training, clock.looked.get(name) if screens else None)
    if predicting in clock.ended:
        starts, ended = clock.started[predicting], clock.ended[predicting][0]
        spans += [("reserve", spans[-1][2], starts[0]), ("predict", starts[-1], ended)]
    # Scores of a confirming pair are recorded together, after its last job.
    spans += [("score", spans[-1][2], now)] if screens else []
    shown = tuple(span for span in spans if span[2] > span[1])
    clock.timed.append(Timed(plan=name, screens=screens, spans=shown))
    if screens and purpose == "candidate":
        clock.candidates[name] = _add_up(clock, name, shown, now)


def _list_training(clock: _Clock, training: Slot, begun: float | None) -> list[Span]:
    """Return the spans of a training; it reserves from `begun` on."""
    starts, (ended, result) = clock.started[training], clock.ended[training]
    started = starts[-1]
    trained = min(ended, started + result.charged.wall_us / 1e6)
    ready = min(trained, started + result.startup_cpu_us / 1e6)
    return [
        ("reserve", starts[0] if begun is None else begun, starts[0]),
        ("start", started, ready),
        ("train", ready, trained),
        ("collect", trained, ended),
    ]


def _add_up(clock: _Clock, name: str, spans: Iterable[Span], now: float) -> dict[str, float]:
    """Return the seconds of a candidate's stages."""
    _, before, made = clock.plans[name]
    decided = clock.decided.get(name, made)
    asked = min(clock.asked.get(name, decided), decided)
    seconds = dict.fromkeys(STAGES, 0.0)
    seconds["propose"] = made - before
    seconds["gate"] = decided - max(asked, made)
    seconds["turn"] = max(asked, made) - made + clock.looked.get(name, decided) - decided
    for stage, begin, end in spans:
        seconds[stage] += end - begin
    whole = now - before
    return {**seconds, "unaccounted": whole - sum(seconds.values())}
