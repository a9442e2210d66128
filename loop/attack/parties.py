"""Two throw-away studies that owe each other a pause, and the clock that an attack sets.

A window of ten minutes takes no time; the jobs are real.
"""

import contextlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path

from configs.errors import BadInput
from loop.accord import acts, evidence, terms
from loop.accord.case import gather
from loop.accord.evidence import Evidence
from loop.accord.terms import Signed, What
from loop.attack.outcome import GOT_THROUGH
from loop.attack.suite import IDLE, Suite
from sandbox import ledger
from sandbox.heads import open_ledger

SINCE, UNTIL, HEADS, CLOCK = 60, 660, 150, 5
"""Seconds from the agreement: the window, how often a head is due, and how far clocks may differ.
"""
MEETINGS = (55, 150, 290, 430, 570, 665, 670)
"""When the parties exchange evidence; the last two are after the window."""


class SetClock(datetime):
    """A clock that shows the moment to which it was set."""

    moment = datetime.now(UTC)

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> "SetClock":
        """Return the moment."""
        return cls.fromisoformat(cls.moment.isoformat())


class Parties:
    """Two studies, an attended one and an attacked one, that owe each other a pause."""

    def __init__(self, suite: Suite) -> None:
        self.ours = suite.open_attended().folder
        self.other = suite.open_other()
        self.theirs = self.other.running.folder
        self.start = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=30)
        self.shown = dict[Path, Evidence]()

    def at(self, seconds: float) -> None:
        """Set the clock to a moment after the agreement."""
        SetClock.moment = self.start + timedelta(seconds=seconds)

    def propose(self, since: int = SINCE, until: int = UNTIL) -> Signed:
        """Let our side propose a pause of both."""
        theirs = evidence.read(acts.introduce(self.theirs))
        roots = (acts.show(self.ours).study, theirs.study)
        owed: list[tuple[str, What, int]] = [(root, "pause", 0) for root in roots]
        window = (self.start + timedelta(seconds=since), self.start + timedelta(seconds=until))
        return acts.propose(self.ours, theirs, owed, window, HEADS, CLOCK, "")

    def agree(self, since: int = SINCE, until: int = UNTIL) -> Signed:
        """Let both sides sign a pause."""
        self.at(0)
        signed = acts.sign(self.theirs, self.propose(since, until).envelope)
        return acts.sign(self.ours, signed.envelope)

    def meet(self, signed: Signed, seconds: float, theirs: float | None = None) -> None:
        """Let each side hear what the other showed last, and show its own anew, twice.

        `theirs` is what the other side's clock shows at that moment.
        """
        for folder, clock in ((self.ours, seconds), (self.theirs, theirs)) * 2:
            self.at(seconds if clock is None else clock)
            beside = self.theirs if folder == self.ours else self.ours
            heard = [self.shown[beside]] if beside in self.shown else []
            with contextlib.suppress(BadInput):
                acts.beat(folder, signed, heard)
            self.shown[folder] = evidence.read(acts.give_evidence(folder, signed))

    def compute(self) -> None:
        """Run a job of the other side."""
        self.other.run(self.other.prepare({"models/train.py": IDLE}))

    def judge(self, signed: Signed, *further: Evidence) -> str:
        """Return what our side finds, as an incident of its run; silence got through."""
        case = gather(signed, [*self.shown.values(), *further])
        findings = acts.judge(self.ours, case)
        told = [f"{one.rule} by {self._name(one.study)}: {one.text}" for one in findings]
        return "; ".join(told) or f"{GOT_THROUGH}: the files show silence"

    def _name(self, study: str) -> str:
        with contextlib.closing(open_ledger(self.ours)) as ours:
            return "us" if study == ours.root() else "them"


@contextlib.contextmanager
def set_clock() -> Iterator[None]:
    """Let ledgers, acts and terms read the clock that an attack sets."""
    places = [vars(ledger), vars(acts), vars(terms)]
    SetClock.moment = datetime.now(UTC)
    try:
        for place in places:
            place["datetime"] = SetClock
        yield
    finally:
        for place in places:
            place["datetime"] = datetime
