"""What the inbox shows: the runs of a folder, what waits in them, one subject whole, and how a run
stands now. Read from ledgers alone.
"""

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from configs.build import plain
from configs.entries import Entry
from configs.errors import BadInput, HeirloopError
from configs.settings.config import Config
from loop.facts.reader import FactsReader
from loop.facts.summary import make_summary
from loop.inbox.door import Session
from loop.people.requests import open_gate
from loop.people.shown import SubjectView
from loop.people.view import view_subject
from loop.propose.table import proposer
from loop.report.make import figure
from sandbox import control, incident
from sandbox.budget import balances
from sandbox.decision import Request, new_approval, unix
from sandbox.gate import Gate

PAGE = 50
"""Pending requests on one page."""
FIGURE_SECONDS = 2.0
"""A figure is drawn at most that often."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of the list."""

    run: str
    "name of the run"
    request: Request
    "what is asked"
    generation: int
    "depth of the plan"
    changed: dict[str, Any]
    "knobs that it changes"
    hypothesis: str
    "the proposer's claim"
    predicted_gain: float | None
    "the proposer's claim"
    seconds_left: int
    "until it is denied by itself"


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A job that runs now."""

    plan: str
    "digest"
    arm: str
    "who proposed it"
    role: str
    "what it does"
    seconds: int
    "since it began"


class Run:
    """One run as the inbox sees it; its gate and archive follow the ledger."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name, self.folder = name, folder
        self.gate = open_gate(folder)
        self.archive = FactsReader(self.gate.ledger)
        self._figures: dict[str, tuple[float, int, str]] = {}

    @property
    def config(self) -> Config:
        """The configuration in force."""
        return self.gate.rules.config

    @property
    def by_hand(self) -> list[str]:
        """The arms in which people propose."""
        return [arm for arm in self.config.arms() if proposer(arm).where == "people"]

    def fresh(self) -> Gate:
        """Return the gate, brought up to the ledger's head."""
        return self.gate.refresh()

    def rows(self) -> list[Request]:
        """Return what waits here, oldest first."""
        return self.gate.pending()

    def row(self, one: Request) -> Row:
        """Return a request as a line."""
        plan = self.gate.plans.get(one.subject) or self.gate.probes.get(one.subject)
        return Row(
            run=self.name,
            request=one,
            generation=plan.generation if plan else 0,
            changed=plan.changed if plan else {},
            hypothesis=plan.hypothesis if plan else "",
            predicted_gain=plan.predicted_gain if plan else None,
            seconds_left=max(0, int(one.expires - self.gate.now())),
        )

    def facts(self, name: str, change_class: str) -> SubjectView:
        """Return one subject whole; raises BadInput for one that is unknown or too large to be
        read.
        """
        gate = self.fresh()
        if name not in gate.subjects:
            raise BadInput(f"{name[:12]!r} is nothing that this run asks about")
        return view_subject(gate, gate.subjects[name], change_class)

    def draft(self, name: str, change_class: str, session: Session) -> dict[str, Any]:
        """Return the decision that the browser fills in and signs; only answer, reason, times and
        nonce are its own.
        """
        gate, half = (
            self.fresh(),
            {"name": session.name, "kind": session.kind, "public": session.public},
        )
        if name not in gate.subjects:
            raise BadInput(f"{name[:12]!r} is nothing that this run asks about")
        subject, hours = gate.subjects[name], self.config.gates.expire_hours
        whole: dict[str, Any] = plain(
            new_approval(
                gate.rules, subject, change_class or subject.classes[0], "deny", "", hours, half
            )
        )
        return whole

    def pins(self, session: Session) -> bool:
        """Tell whether the study root pins the key that somebody signed in with."""
        return any(one["public"] == session.public for one in self.gate.rules.reviewers)

    def state(self) -> str:
        """Return in a word or two how the run stands."""
        gate = self.fresh()
        if gate.halt:
            return {"stop": "stopped", "pause": "paused", "drill": "in a drill"}[gate.halt]
        slowed = f", slowed to {gate.per_hour} jobs an hour" if gate.per_hour else ""
        if control.holder(self.folder):
            return f"running{slowed}"
        return "finished" if self.archive.facts().closed else f"not running{slowed}"

    def live(self) -> dict[str, Any]:
        """Return how the run stands now: scores per arm and generation, budget, jobs, incidents,
        what waits.
        """
        gate = self.fresh()
        entries = gate.ledger.entries()
        told = make_summary(gate.ledger, self.archive.facts())
        orders = [{"time": e.time, **e.body} for e in entries if e.kind == "control"][-10:]
        return {
            "state": self.state(),
            "running": bool(control.holder(self.folder)),
            "halt": gate.halt,
            "halted": gate.halted,
            "slowed": gate.per_hour,
            "jobs": self._jobs(entries),
            "accounts": gate.ledger.read(balances),
            "summary": told,
            "incidents": list(reversed(incident.latest(entries).values())),
            "pending": len(self.rows()),
            "orders": list(reversed(orders)),
            "sequence": entries[-1].sequence,
            "at": entries[-1].time,
        }

    def _jobs(self, entries: list[Entry]) -> list[Job]:
        done, now = {e.body["nonce"] for e in entries if e.kind == "job"}, time.time()
        open_now = [
            (e, e.body["grant"]["plan"])
            for e in entries
            if e.kind == "start" and e.body["grant"]["nonce"] not in done
        ]
        return [
            Job(
                plan=name,
                arm=self.gate.plans[name].arm,
                role=e.body["job"]["role"],
                seconds=max(0, int(now - unix(e))),
            )
            for e, name in open_now
        ]

    def head(self) -> int:
        """Return the sequence of the last entry."""
        return self.gate.ledger.entries()[-1].sequence

    def figure(self, name: str) -> str:
        """Return a figure as SVG, drawn anew when the ledger grew, and not too often."""
        drawn, head = self._figures.get(name, (0.0, 0, "")), self.head()
        if drawn[1] != head and time.monotonic() - drawn[0] > FIGURE_SECONDS:
            with _DRAWING:  # the plotting library is not made for threads
                told = make_summary(self.gate.ledger, self.archive.facts())
                made = figure(
                    self.gate.ledger,
                    self.archive.facts(),
                    told,
                    "scores" if name == "scores" else "burn",
                )
            drawn = self._figures[name] = (time.monotonic(), head, made)
        return drawn[2]


_DRAWING = threading.Lock()


class Runs:
    """The runs of a folder, or the one run that the folder is; each is opened once and followed."""

    def __init__(self, folder: Path) -> None:
        self._single = (folder / "ledger.sqlite").is_file()
        self.folder = folder.resolve()
        self._open: dict[str, Run] = {}
        self._lock = threading.Lock()
        if not folder.is_dir():
            raise BadInput(
                f"FOLDER is {str(folder)!r}; it should be a run, or a folder that holds runs"
            )

    def names(self) -> list[str]:
        """Return the names of all runs."""
        if self._single:
            return [self.folder.name]
        return sorted(path.parent.name for path in self.folder.glob("*/ledger.sqlite"))

    def open(self, name: str) -> Run:
        """Return a run; raises BadInput for a name that is none, VerificationFailed for a ledger
        that does not verify.
        """
        if name not in self.names():
            raise BadInput(
                f"there is no run {name[:64]!r} here; there are {', '.join(self.names()) or 'none'}"
            )
        with self._lock:
            if name not in self._open:
                self._open[name] = Run(name, self.folder if self._single else self.folder / name)
            return self._open[name]

    def each(self) -> Iterator[tuple[str, Run | None, str]]:
        """Yield (name, run, why it cannot be read) of every run."""
        for name in self.names():
            try:
                yield name, self.open(name), ""
            except HeirloopError as error:
                yield name, None, str(error)

    def pending(self, page: int) -> tuple[list[Row], int]:
        """Return one page of what waits in all runs, the soonest to expire first, and how many wait
        in all.
        """
        found = sorted(
            (
                (one.expires, run.name, one, run)
                for _, run, _ in self.each()
                if run
                for one in run.rows()
            ),
            key=lambda r: r[:2],
        )
        return [run.row(one) for _, _, one, run in found[page * PAGE : (page + 1) * PAGE]], len(
            found
        )
