"""The runs in the inbox: pending requests, a subject whole, and a run as it stands now.

All of it is read from ledgers.
"""

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy.exc import DatabaseError

from configs.build import plain
from configs.entries import (
    ControlEntry,
    Entry,
    JobEntry,
    ReviewsEndEntry,
    StartEntry,
    facts_of,
    lines_of,
)
from configs.errors import BadInput, HeirloopError
from configs.settings.config import Config
from evals.writeups import Stated
from loop.facts.reader import FactsReader
from loop.facts.summary import make_summary
from loop.inbox.mine import waits_for
from loop.inbox.sign_in import Session
from loop.instruments.writeups import Place
from loop.people.requests import open_gate
from loop.people.shown import SubjectView
from loop.people.view import view_subject
from loop.propose.table import proposer
from loop.report.make import figure
from sandbox import control, incident
from sandbox.address import has_ledger, list_runs
from sandbox.budget import balances
from sandbox.decision import Request, Subject, unix
from sandbox.gate import Gate
from sandbox.unsigned import new_approval

PAGE = 50
"""Pending requests on a page."""
ORDERS = 10
"""Newest orders on a run's page."""
FIGURE_SECONDS = 2.0
"""A figure is drawn at most this often."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestRow:
    """A line of the list."""

    run: str
    "name of the run"
    request: Request
    "the request, with the digest of its subject"
    generation: int
    "depth of the plan"
    changed: dict[str, Any]
    "changed knobs"
    hypothesis: str
    "the proposer's claim"
    predicted_gain: float | None
    "the proposer's claim"
    seconds_left: int
    "until it is denied by itself"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningJob:
    """A running job."""

    plan: str
    "digest"
    arm: str
    "who proposed it"
    role: str
    "role of the job in its plan, for example training"
    seconds: int
    "since it began"


Drawn = dict[Place, tuple[Stated, bytes]]
"""A claim -> what it states, and the bytes that are shown of it."""


class ServedRun:
    """A run as the inbox sees it; its gate and its facts follow the ledger."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name, self.folder = name, folder
        self.gate = open_gate(folder)
        self._reader = FactsReader(self.gate.ledger)
        self._figures: dict[str, tuple[float, int, str]] = {}
        self.drawn: Drawn = {}
        "claims that people are asked about, once claims.py has drawn them"

    @property
    def config(self) -> Config:
        """The configuration in force."""
        return self.gate.memory.rules.config

    @property
    def by_hand(self) -> list[str]:
        """The arms for proposals by people."""
        return [arm for arm in self.config.arms() if proposer(arm).where == "people"]

    def refresh(self) -> Gate:
        """Return the gate, brought up to the ledger's head."""
        return self.gate.refresh()

    def pending(self) -> list[Request]:
        """Return the requests waiting here, oldest first."""
        return self.gate.pending()

    def row(self, request: Request) -> RequestRow:
        """Return a request as a line."""
        plan = self.gate.memory.plans.get(request.subject) or self.gate.memory.probes.get(
            request.subject
        )
        return RequestRow(
            run=self.name,
            request=request,
            generation=plan.generation if plan else 0,
            changed=plan.changed if plan else {},
            hypothesis=plan.hypothesis if plan else "",
            predicted_gain=plan.predicted_gain if plan else None,
            seconds_left=max(0, int(request.expires - self.gate.now())),
        )

    def _subject(self, name: str) -> Subject:
        """Return a subject, as the ledger stands now; raise BadInput for an unknown digest."""
        gate = self.refresh()
        if name not in gate.memory.subjects:
            raise BadInput(f"{name[:12]!r} is nothing that this run asks about")
        return gate.memory.subjects[name]

    def view(self, name: str, change_class: str) -> SubjectView:
        """Return a subject whole; raise BadInput for an unknown subject or an oversized text."""
        return view_subject(self.gate, self._subject(name), change_class)

    def draft(self, name: str, change_class: str, session: Session) -> dict[str, Any]:
        """Return the decision for the browser to fill in and sign.

        Only answer, reason, times and nonce are the browser's own.
        """
        subject = self._subject(name)
        half = {"name": session.name, "kind": session.kind, "public": session.public}
        hours = self.config.gates.expire_hours
        class_name = change_class or subject.classes[0]
        draft = new_approval(self.gate.memory.rules, subject, class_name, "deny", "", hours, half)
        fields: dict[str, Any] = plain(draft)
        return fields

    def pins(self, session: Session) -> bool:
        """Tell whether the study root pins the signed-in key."""
        return any(half.public == session.public for half in self.gate.memory.rules.reviewers)

    def asks_people(self) -> bool:
        """Tell whether people may review claims of write-ups here, so that no check is told."""
        writeups = self.config.study.writeups
        asks = writeups is not None and writeups.people > 0 and self._reader.facts().closed
        return asks and not any(facts_of(self.refresh().ledger.entries(), ReviewsEndEntry))

    def state(self) -> str:
        """Return in a word or two how the run stands."""
        gate = self.refresh()
        if gate.memory.halt:
            return {"stop": "stopped", "pause": "paused", "drill": "in a drill"}[gate.memory.halt]
        slowed = f", slowed to {gate.memory.per_hour} jobs an hour" if gate.memory.per_hour else ""
        if control.holder(self.folder):
            return f"running{slowed}"
        return "finished" if self._reader.facts().closed else f"not running{slowed}"

    def live(self) -> dict[str, Any]:
        """Return the run as it stands now: scores, budget, jobs, incidents, orders, requests."""
        gate = self.refresh()
        entries = gate.ledger.entries()
        orders = [
            {"time": entry.time, **plain(order)} for entry, order in lines_of(entries, ControlEntry)
        ]
        return {
            "state": self.state(),
            "running": bool(control.holder(self.folder)),
            "halt": gate.memory.halt,
            "halted": gate.memory.halted,
            "slowed": gate.memory.per_hour,
            "jobs": self._jobs(entries),
            "accounts": gate.ledger.read(balances),
            "summary": make_summary(gate.ledger, self._reader.facts()),
            "incidents": list(reversed(incident.latest(entries).values())),
            "pending": len(self.pending()),
            "orders": list(reversed(orders[-ORDERS:])),
            "sequence": entries[-1].sequence,
            "at": entries[-1].time,
        }

    def _jobs(self, entries: list[Entry]) -> list[RunningJob]:
        """Return the jobs still running."""
        ended = {job.nonce for job in facts_of(entries, JobEntry)}
        now = time.time()
        return [
            RunningJob(
                plan=start.grant.plan,
                arm=self.gate.memory.plans[start.grant.plan].arm,
                role=start.job.role,
                seconds=max(0, int(now - unix(entry))),
            )
            for entry, start in lines_of(entries, StartEntry)
            if start.grant.nonce not in ended
        ]

    def head(self) -> int:
        """Return the sequence of the last entry."""
        return self.gate.ledger.entries()[-1].sequence

    def figure(self, name: str) -> str:
        """Return a figure as SVG, drawn anew when the ledger grew, and not too often."""
        at, sequence, svg = self._figures.get(name, (0.0, 0, ""))
        head = self.head()
        if sequence == head or time.monotonic() - at <= FIGURE_SECONDS:
            return svg
        svg = self._draw(name)
        self._figures[name] = (time.monotonic(), head, svg)
        return svg

    def _draw(self, name: str) -> str:
        # The plotting library is not made for threads.
        with _DRAWING:
            ledger, facts = self.gate.ledger, self._reader.facts()
            kind = "scores" if name == "scores" else "burn"
            return figure(ledger, facts, make_summary(ledger, facts), kind)


_DRAWING = threading.Lock()
Waiting = tuple[ServedRun, Request]
"""A run, and a request that waits in it."""


class ServedRuns:
    """The runs of a folder, or the folder itself as a run; each is opened once and followed."""

    def __init__(self, folder: Path) -> None:
        self._single = has_ledger(folder)
        self.folder = folder.resolve()
        self._open: dict[str, ServedRun] = {}
        self._lock = threading.Lock()
        if not folder.is_dir():
            raise BadInput(
                f"FOLDER is {str(folder)!r}; it should be a run, or a folder that holds runs"
            )

    def names(self) -> list[str]:
        """Return the names of all runs."""
        if self._single:
            return [self.folder.name]
        return [run.name for run in list_runs(self.folder)]

    def open(self, name: str) -> ServedRun:
        """Return a run; raise BadInput for an unknown name.

        Raises VerificationFailed for a ledger with a broken chain.
        """
        if name not in self.names():
            raise BadInput(
                f"there is no run {name[:64]!r} here; there are {', '.join(self.names()) or 'none'}"
            )
        with self._lock:
            if name not in self._open:
                self._open[name] = ServedRun(
                    name, self.folder if self._single else self.folder / name
                )
            return self._open[name]

    def each(self) -> Iterator[tuple[str, ServedRun | None, str]]:
        """Yield (name, run, reason why it cannot be read) of every run.

        A damaged run harms no other.
        """
        for name in self.names():
            try:
                run = self.open(name)
                run.state(), run.pending()
            except (HeirloopError, OSError, DatabaseError) as error:
                yield name, None, str(error)
            else:
                yield name, run, ""

    def waiting(self, session: Session | None = None) -> list[Waiting]:
        """Return the waiting requests of all runs, the soonest to expire first.

        With a reader's session only the requests that wait for this reader.
        """
        waiting: list[Waiting] = []
        for run in [run for _, run, _ in self.each() if run]:
            for request in run.pending():
                if session is None or waits_for(run.gate, request, session):
                    waiting.append((run, request))
        return sorted(waiting, key=lambda row: (row[1].expires, row[0].name))

    def next_for(self, session: Session, change_class: str = "") -> str:
        """Return the address of the next request that waits for a reader; empty: there is none.

        With a class, the next of this class that the reader has not opened.
        """
        for run, request in self.waiting(session):
            place = (run.name, request.subject, request.change_class)
            if not change_class or (change_class == place[2] and place not in session.opened):
                return f"/runs/{run.name}/plan/{request.subject}?act={request.change_class}"
        return ""
