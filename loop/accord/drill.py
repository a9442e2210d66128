"""A drill: two running studies pause together for practice, and every step is measured.

The accord is a real one, of some seconds; the orders are those of `heirloop drill`, so both studies
go on by themselves afterwards.
"""

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from configs.build import need
from configs.entries import DrillEntry
from configs.errors import Stopped
from loop.accord import acts, check, evidence
from loop.accord.case import gather
from loop.accord.terms import Signed, What
from sandbox import control
from sandbox.gate import Gate
from sandbox.heads import open_ledger
from sandbox.remote_store import open_store

LEAD_SECONDS = 8
"""From the proposal to the window: time to sign it twice, and for both sides to be quiet."""
MOST_SECONDS = 30
"""Longest window: a loop waits a minute for the end of a drill."""
QUIET_SECONDS, CLOCK_SECONDS = 30, 2


def drill(one: Path, other: Path, seconds: int) -> dict[str, Any]:
    """Let two running studies of this user keep a pause of some seconds; return what it took.

    Raises Stopped where one does not run, or is held or slowed by people.
    """
    need(1 <= seconds <= MOST_SECONDS, "--seconds", seconds, f"1 to {MOST_SECONDS}")
    runs = (one, other)
    for folder in runs:
        _need_drillable(folder)
    begun = time.monotonic()
    signed = _agree(one, other, seconds)
    agreed = time.monotonic() - begun
    with ExitStack() as stack:
        jobs = [stack.enter_context(_held(folder)) for folder in runs]
        with ThreadPoolExecutor(2) as pool:
            quiet = list(pool.map(_silence, runs))
        first, last = signed.accord.terms[0].window
        shown = _exchange(runs, signed, ())
        _wait(first + (last - first) / 2)
        shown = _exchange(runs, signed, shown)
        _wait(last)
        over = time.monotonic()
        shown = _exchange(runs, signed, _exchange(runs, signed, shown))
        case = gather(signed, shown)
        findings = check.find_breaches(case)
        checked = time.monotonic() - over
        for folder, count, took in zip(runs, jobs, quiet, strict=True):
            _record(folder, count, took)
    rows = check.describe(case, findings)
    return {
        "seconds to agree": round(agreed, 3),
        **{f"seconds to silence, {f}": round(t, 3) for f, t in zip(runs, quiet, strict=True)},
        "seconds of the window": seconds,
        "starts in it": sum(row["starts"] for row in rows),
        "seconds from its end to a checked answer": round(checked, 3),
        "bytes of evidence": sum(len(acts.give_evidence(folder, signed)) for folder in runs),
        "files show": ", ".join(f"{row['study']}: {row['files show']}" for row in rows),
        "breaches": len(findings),
    }


def _need_drillable(folder: Path) -> None:
    if not control.holder(folder):
        raise Stopped(f"{folder} is not running; a drill stops running studies")
    gate = Gate(open_ledger(folder), open_store(folder)).refresh()
    if not gate.memory.drillable():
        raise Stopped(f"{folder} is held or slowed by people; a drill stops a study that runs")


def _agree(one: Path, other: Path, seconds: int) -> Signed:
    since = datetime.now(UTC) + timedelta(seconds=LEAD_SECONDS)
    theirs = evidence.read(acts.introduce(other))
    parties = (acts.show(one), acts.as_party(theirs))
    owed: list[tuple[str, What, int]] = [(party.study, "pause", 0) for party in parties]
    signed = acts.propose(
        one,
        theirs,
        owed,
        (since, since + timedelta(seconds=seconds)),
        seconds + QUIET_SECONDS,
        CLOCK_SECONDS,
        "a drill",
    )
    return acts.sign(one, acts.sign(other, signed.envelope).envelope)


@contextmanager
def _held(folder: Path) -> Iterator[int]:
    """Hold a study by the order of a drill; yield how many jobs ran."""
    ledger = open_ledger(folder)
    control.order(ledger, "drill", acts.WHO, "a drill of an accord")
    jobs = control.count_open(ledger.entries())
    try:
        yield jobs
    finally:
        control.order(ledger, "drill-end", acts.WHO, "the drill is over")


def _silence(folder: Path) -> float:
    """Kill the jobs of a held study; return the seconds until none was left."""
    started, ledger, pid = time.monotonic(), open_ledger(folder), control.holder(folder)
    while True:
        control.kill_jobs(pid, ledger.root())
        took = time.monotonic() - started
        if not control.count_open(ledger.entries()) or took > QUIET_SECONDS:
            return took
        time.sleep(0.005)


def _exchange(
    runs: Sequence[Path], signed: Signed, shown: Sequence[evidence.Evidence]
) -> list[evidence.Evidence]:
    """Let each side hear what the other showed last, and show its own anew."""
    given = []
    for folder in runs:
        root = open_ledger(folder).root()
        acts.beat(folder, signed, [one for one in shown if one.study != root])
        given.append(evidence.read(acts.give_evidence(folder, signed)))
    return given


def _wait(moment: datetime) -> None:
    """Wait until a moment has passed."""
    while datetime.now(UTC) <= moment:
        time.sleep(0.02)


def _record(folder: Path, jobs: int, seconds: float) -> None:
    ledger = open_ledger(folder)
    left = control.count_open(ledger.entries())
    entry = DrillEntry(who=acts.WHO, jobs=jobs, left=left, milliseconds=int(seconds * 1000))
    ledger.append(entry)
