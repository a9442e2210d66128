"""Stop, pause, slow, resume and drill: orders to a study from outside its loop.

They hold even while the loop hangs or is dead. An order is a ledger entry. Every launch reads it in
the transaction that reserves, so nothing new starts after it. The kill goes past the loop to the
homes of its jobs: control groups, bubblewrap processes, containers.
"""

import contextlib
import fcntl
import os
import signal
import threading
import time
from collections import deque
from pathlib import Path
from typing import Any

from configs.build import need
from configs.entries import (
    ChampionEntry,
    ControlEntry,
    DrillEntry,
    Entry,
    IncidentEntry,
    JobEntry,
    ScoreEntry,
    StartEntry,
    facts_of,
)
from configs.errors import Stopped
from configs.records import OrderName, Scores
from sandbox import incident
from sandbox.box import cgroup
from sandbox.box.container import owner
from sandbox.box.kill import KILLERS
from sandbox.decision import HOUR, unix
from sandbox.gate import Gate
from sandbox.ledger import FILE, Ledger
from sandbox.run import reconcile
from sandbox.store import Store

TRIPWIRE = "tripwire"
"""The name under which a tripwire orders and reports."""
_COUNTED = (ControlEntry.kind, IncidentEntry.kind, ChampionEntry.kind, ScoreEntry.kind)
"""Kinds of entries that tripwires count."""
TURN_SECONDS = 0.5
"""How long a stop waits for its turn to write before it kills first and writes then."""
GRACE_SECONDS = 5.0
"""How long a stopped loop may take to close its ledger before it is killed too."""


def order(ledger: Ledger, what: OrderName, who: str, why: str, per_hour: int = 0) -> Entry:
    """Record an order; from then on every forbidden launch fails."""
    need(what != "slow" or 0 < per_hour <= 10**6, "per_hour", per_hour, "jobs per hour, at least 1")
    return ledger.append(ControlEntry(what=what, who=who[:100], why=why[:2000], per_hour=per_hour))


def stop(folder: Path, who: str, why: str) -> dict[str, Any]:
    """Stop a study: no reservation any more, every job killed, the loop ended, lost readings
    charged.

    Works while the loop hangs (even holding the ledger) and on the remains of a dead loop. Returns
    seconds until no job was left, the number of killed jobs, and whether the loop had to be killed.
    """
    started, pid, forced, killed = time.monotonic(), holder(folder), False, 0
    path = folder / FILE
    study = Ledger.file(path).entries()[0].hash
    # the order first, so that what is killed is recorded as killed by it, and nothing starts in
    # between
    try:
        order(Ledger.file(path, timeout=TURN_SECONDS), "stop", who, why)
    except Stopped:  # a slow disk, or a loop that hangs inside a transaction
        killed = kill_jobs(pid, study)
        try:
            order(Ledger.file(path, timeout=4 * TURN_SECONDS), "stop", who, why)
        except Stopped:
            forced = _end(pid)
            order(Ledger.file(path), "stop", who, why)
    killed += kill_jobs(pid, study)
    seconds = time.monotonic() - started
    deadline = time.monotonic() + GRACE_SECONDS
    while pid and not forced and holder(folder) == pid:
        killed += kill_jobs(pid, study)
        if time.monotonic() > deadline:
            forced = _end(pid)
        time.sleep(0.05)
    lost = reconcile(Ledger.at(folder))
    return {
        "seconds": round(seconds, 3),
        "killed": killed,
        "loop_killed": forced,
        "charged_in_full": lost,
    }


def drill(folder: Path, who: str) -> dict[str, Any]:
    """Stop a running study for practice, measure the time until no job is left, record it, and let
    the study go on.
    """
    pid = holder(folder)
    if not pid:
        raise Stopped(f"{folder} is not running; a drill stops a running study")
    ledger = Ledger.at(folder)
    if not Gate(ledger, Store(folder / "store")).refresh().memory.drillable():
        raise Stopped(
            f"{folder} is held or slowed by people; a drill stops a study that runs freely"
        )
    study = ledger.entries()[0].hash
    jobs, started = _open(ledger.entries()), time.monotonic()
    order(ledger, "drill", who, "a drill")
    killed, deadline = 0, started + 30
    while True:
        killed += kill_jobs(pid, study)
        if not _open(ledger.entries()) or time.monotonic() > deadline:
            break
        time.sleep(0.005)
    left, seconds = _open(ledger.entries()), time.monotonic() - started
    ledger.append(DrillEntry(who=who, jobs=jobs, left=left, milliseconds=int(seconds * 1000)))
    order(ledger, "drill-end", who, "the drill is over")
    return {"jobs": jobs, "left": left, "seconds": round(seconds, 3), "killed": killed}


def kill_jobs(pid: int, study: str) -> int:
    """Kill everything that runs jobs of a study.

    These are the boxes of the loop process `pid` (0: no process), and containers with the study's
    label.
    """
    count = cgroup.kill_of(pid) if pid else 0
    return count + sum(kill(pid, study) for kill in KILLERS.values())


def holder(folder: Path) -> int:
    """Return the pid of the process that runs a study and holds its lock; 0: no process."""
    with contextlib.suppress(OSError, ValueError), (folder / "lock").open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return int(file.read().partition("-")[0])
    return 0


class TripwireCounts:
    """The counts of a study's tripwires, following its ledger.

    Counts begin anew when people resume. Safe to use from several threads.
    """

    def __init__(self, gate: Gate) -> None:
        self._gate, self._seen, self._lock = gate, 0, threading.Lock()
        self._told = set[str]()
        self._anew()

    def _anew(self) -> None:
        self._incidents = 0
        self._accepted = deque[float]()
        self._best = dict[tuple[str, int], float]()
        self._jumps = list[tuple[float, str]]()

    def _fold(self, entry: Entry) -> None:
        if entry.kind not in _COUNTED:
            return
        match entry.fact:
            case ControlEntry() as order:
                if order.what == "resume":
                    self._anew()
                if order.who == TRIPWIRE:
                    self._told.add(order.why)
            case IncidentEntry(incident=incident):
                self._incidents += incident.detector != TRIPWIRE
            case ChampionEntry(generation=generation) if generation > 0:
                self._accepted.append(unix(entry))
            case ScoreEntry(scores=Scores(split="feedback") as scores, plan=plan):
                self._follow(plan, self._read(scores))

    def _read(self, scores: Scores) -> float:
        """Return the objective's metric, turned so that larger is better.

        A metric that is made of several (weighted, robustness) is followed by its exact match.
        """
        objective = self._gate.memory.rules.config.objective
        value = getattr(scores, objective.metric, None)
        if value is None:
            return scores.exact_match
        return float(value) if objective.direction == "up" else -float(value)

    def _follow(self, name: str, value: float) -> None:
        """Keep the best feedback score of a campaign, and each rise of a plan above it."""
        plan = self._gate.memory.plans.get(name)
        if plan is None:
            return
        campaign = (plan.arm, plan.repeat)
        best = self._best.get(campaign)
        if best is not None and value > best:
            text = f"the feedback score of plan {name[:12]} rose by {value - best:.2f}"
            self._jumps.append((value - best, text))
        self._best[campaign] = value if best is None else max(value, best)

    def touched(self, spent_share: float) -> str:
        """Return the touched tripwire of the study, or nothing; costs the ledger's new entries
        only.
        """
        wires, last = (
            self._gate.refresh().memory.rules.config.gates.tripwires,
            self._gate.ledger.last().timestamp(),
        )
        with self._lock:
            for entry in self._gate.ledger.since(self._seen):
                self._fold(entry)
                self._seen = entry.sequence
            while self._accepted and self._accepted[0] <= last - HOUR:
                self._accepted.popleft()
            incidents, accepted, most = self._incidents, len(self._accepted), wires.score_jump
            names = [
                (
                    f"{wires.spent_share:.0%} of the CPU-seconds are spent"
                    if wires.spent_share and spent_share >= wires.spent_share
                    else ""
                ),
                (
                    f"{incidents} incidents"
                    if wires.incidents and incidents >= wires.incidents
                    else ""
                ),
                (
                    f"{accepted} successors accepted within an hour"
                    if wires.accepted_per_hour and accepted >= wires.accepted_per_hour
                    else ""
                ),
                next((text for rise, text in self._jumps if rise > most), "") if most else "",
            ]
            return next(
                (one for one in names if one and not (one == names[0] and one in self._told)), ""
            )

    def trip(self, spent_share: float) -> str:
        """Pause the study and open an incident if a tripwire is touched; return the tripwire."""
        gate, why = self._gate, self.touched(spent_share)
        if why and not gate.refresh().memory.halt:
            pause(gate, TRIPWIRE, f"tripwire: {why}", why)
        return why


def pause(gate: Gate, who: str, title: str, why: str) -> None:
    """Pause the study on the part of a rule set by people, and open an incident of it."""
    with gate.ledger.transaction() as txn:
        first = txn.append(ControlEntry(what="pause", who=who, why=why, per_hour=0))
        incident.report(
            txn,
            title,
            kind="hazard",
            severity="medium",
            detector=who,
            chain=(first.sequence,),
            containment="the study is paused until people resume it",
        )


def _open(entries: list[Entry]) -> int:
    done = {job.nonce for job in facts_of(entries, JobEntry)}
    return sum(start.grant.nonce not in done for start in facts_of(entries, StartEntry))


def _end(pid: int) -> bool:
    with contextlib.suppress(OSError):
        os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + 5
    while not _dead(pid) and time.monotonic() < deadline:
        time.sleep(0.01)
    return True


def _dead(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] in "ZX"
    except OSError:
        return not owner(pid)
