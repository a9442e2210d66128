"""Stop, pause, slow, resume and drill: orders to a study from outside its loop.

They hold even while the loop hangs or is dead. An order is a ledger entry. Every launch reads it in
the transaction that reserves, so nothing new starts after it. The kill goes past the loop to the
homes of its jobs: control groups, bubblewrap processes, containers.
"""

import os
import signal
import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from configs.build import need
from configs.entries import (
    ControlEntry,
    DrillEntry,
    EndEntry,
    Entry,
    JobEntry,
    StartEntry,
    facts_of,
)
from configs.errors import HeirloopError, Stopped, VerificationFailed
from configs.records import RESUME, OrderName
from sandbox import incident, postgres, stop_file
from sandbox.address import read_address
from sandbox.box import cgroup
from sandbox.box.container import owner
from sandbox.box.kill import KILLERS
from sandbox.foreign import guard, need_regular_files
from sandbox.gate import Gate
from sandbox.heads import open_ledger
from sandbox.ledger import FILE, Ledger
from sandbox.lock import holder as holder
from sandbox.reconcile import reconcile
from sandbox.remote_store import open_store

TURN_SECONDS = 1.0
"""How long a stop waits for its turn to write before it kills first and writes then."""
LAST_SECONDS = 30.0
"""How long it waits for its turn when everything is killed."""
HOLD_SECONDS = 10.0
"""How long a pause waits for its turn before it becomes a stop."""
RECORDED, STOPPED, ENDED = (
    "recorded",
    "the study was stopped already; nothing was written",
    "the study had ended; nothing changed",
)
"""Answers of a stop."""
GRACE_SECONDS = 5.0
"""How long a stopped loop may take to close its ledger before it is killed too."""


def order(ledger: Ledger, what: OrderName, who: str, why: str, per_hour: int = 0) -> Entry:
    """Record an order; from then on every forbidden launch fails."""
    check_rate(what, per_hour)
    return ledger.append(ControlEntry(what=what, who=who[:100], why=why[:2000], per_hour=per_hour))


def check_rate(what: OrderName, per_hour: int) -> None:
    """Raise BadInput for an impossible rate of a slow."""
    need(what != "slow" or 0 < per_hour <= 10**6, "per_hour", per_hour, "jobs per hour, at least 1")


def stop(folder: Path, who: str, why: str) -> dict[str, Any]:
    """Stop a study: no reservation any more, every job killed, the loop ended, lost readings
    charged.

    Works while the loop hangs (even holding the ledger), on the remains of a dead loop, and on a
    ledger that does not verify: then everything is killed, RUN/STOP holds the order, and
    VerificationFailed or Stopped says so. Returns seconds until no job was left, the number of
    killed jobs, whether the loop had to be killed, and whether the order was new.
    """
    started, pid, forced, killed = time.monotonic(), holder(folder), False, 0
    study = read_root(folder)
    # the order first, so that what is killed is recorded as killed by it, and nothing starts in
    # between; but a long or broken ledger, a slow disk or a hanging loop must not hold up the kill
    writing = _Writing(lambda: _write_stop(folder, pid, who, why))
    if not writing.wait(TURN_SECONDS):
        killed = kill_jobs(pid, study)
        writing.wait(4 * TURN_SECONDS)
    if not writing.result:
        forced = bool(pid) and _end(pid)
    killed += kill_jobs(pid, study)
    seconds = time.monotonic() - started
    if not writing.result and not writing.wait(LAST_SECONDS if not writing.error else 0):
        raise _put_outside(folder, study, f"{who}: {why}", killed, forced, writing.error)
    deadline = time.monotonic() + GRACE_SECONDS
    while pid and not forced and holder(folder) == pid:
        killed += kill_jobs(pid, study)
        if time.monotonic() > deadline:
            forced = _end(pid)
        time.sleep(0.05)
    ended = writing.result == ENDED
    return {
        "seconds": round(seconds, 3),
        "killed": killed,
        "loop_killed": forced,
        "charged_in_full": 0 if ended else reconcile(open_ledger(folder)),
        "order": writing.result,
    }


def hold(folder: Path, what: OrderName, who: str, why: str, per_hour: int = 0) -> None:
    """Pause or slow a study; stop it where its ledger takes no order, and raise what `stop` raises.

    A study whose record fails must not go on at all.
    """
    check_rate(what, per_hour)

    def write() -> str:
        order(Gate(open_ledger(folder), open_store(folder)).refresh().ledger, *words)
        return RECORDED

    words = (what, who, why, per_hour)
    writing = _Writing(write)
    if not writing.wait(HOLD_SECONDS):
        result = stop(folder, who, f"{what}, and the ledger took no order: {why}")
        raise Stopped(
            f"{folder} is stopped, since its ledger did not take the {what} in {HOLD_SECONDS:.0f} s"
            f" ({result['killed']} jobs killed)"
        )


class _Writing:
    """An order on its way into a ledger, in a thread of its own: a hanging write holds up nothing.

    `result` is the answer, `error` the reason for none; both are empty while it goes on.
    """

    def __init__(self, write: Callable[[], str]) -> None:
        self._write, self.result = write, ""
        self.error: Exception | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self.result = self._write()
        except Exception as error:
            self.error = error

    def wait(self, seconds: float) -> bool:
        """Wait for the end of the write; return whether the order is in the ledger."""
        self._thread.join(seconds)
        return bool(self.result)


def _write_stop(folder: Path, pid: int, who: str, why: str) -> str:
    """Record a stop, unless the study ended or is stopped by an order that nobody answered."""
    gate = Gate(open_ledger(folder), open_store(folder)).refresh()
    entries = gate.ledger.entries()
    if (
        not pid
        and not count_open(entries)
        and any(entry.kind == EndEntry.kind for entry in entries)
    ):
        return ENDED
    # a newer stop needs a newer yes, so an answered stop is written anew
    if gate.memory.halt == "stop" and not gate.memory.answers.get((gate.memory.halted, RESUME)):
        return STOPPED
    order(gate.ledger, "stop", who, why)
    return RECORDED


def _put_outside(
    folder: Path, study: str, why: str, killed: int, forced: bool, error: Exception | None
) -> HeirloopError:
    """Leave the order where the ledger takes none; return the error that says so."""
    stop_file.put(folder, why)
    reason = str(error or "another process holds it")
    place = incident.report_outside(study, folder, f"a stop that was not recorded: {reason}")
    ended = ", the loop ended" if forced else ""
    kind = VerificationFailed if error and not isinstance(error, Stopped) else Stopped
    return kind(
        f"{folder} is stopped ({killed} jobs killed{ended}), and the order stands in"
        f" {folder / 'STOP'} and {place}, since the ledger took no entry: {reason}"
    )


def read_root(folder: Path) -> str:
    """Return the root of a run without a check, for the names of its jobs; empty: unknown."""
    with suppress(Exception):
        if server := read_address(folder):
            return postgres.read_root(server)
        need_regular_files(folder / FILE)
        address = f"{(folder / FILE).resolve().as_uri()}?mode=ro"
        with closing(sqlite3.connect(address, uri=True, timeout=0.2)) as connection:
            guard(connection, 1)  # in the place of the table may stand a view without an end
            query = "SELECT hash FROM entries WHERE sequence = 1"
            return str(connection.execute(query).fetchone()[0])
    return ""


def drill(folder: Path, who: str) -> dict[str, Any]:
    """Stop a running study for practice, measure the time until no job is left, record it, and let
    the study go on.
    """
    pid = holder(folder)
    if not pid:
        raise Stopped(f"{folder} is not running; a drill stops a running study")
    ledger = open_ledger(folder)
    if not Gate(ledger, open_store(folder)).refresh().memory.drillable():
        raise Stopped(
            f"{folder} is held or slowed by people; a drill stops a study that runs freely"
        )
    study = ledger.entries()[0].hash
    jobs, started = count_open(ledger.entries()), time.monotonic()
    order(ledger, "drill", who, "a drill")
    killed, deadline = 0, started + 30
    while True:
        killed += kill_jobs(pid, study)
        if not count_open(ledger.entries()) or time.monotonic() > deadline:
            break
        time.sleep(0.005)
    left, seconds = count_open(ledger.entries()), time.monotonic() - started
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


def count_open(entries: list[Entry]) -> int:
    """Return how many jobs started and have not ended."""
    done = {job.nonce for job in facts_of(entries, JobEntry)}
    return sum(start.grant.nonce not in done for start in facts_of(entries, StartEntry))


def _end(pid: int) -> bool:
    with suppress(OSError):
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
