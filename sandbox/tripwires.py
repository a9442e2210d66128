"""Tripwires: counts with limits set by people; beyond a limit the study pauses by itself."""

import threading
from collections import deque

from configs.entries import ChampionEntry, ControlEntry, Entry, Fact, IncidentEntry, ScoreEntry
from configs.records import Scores
from sandbox import incident
from sandbox.decision import HOUR, unix
from sandbox.gate import Gate

TRIPWIRE = "tripwire"
"""The name under which a tripwire orders and reports."""
_COUNTED = (ControlEntry.kind, IncidentEntry.kind, ChampionEntry.kind, ScoreEntry.kind)
"""Kinds of entries that tripwires count."""


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


def pause(gate: Gate, who: str, title: str, why: str, *reasons: Fact) -> None:
    """Pause the study on the part of a rule set by people, and open an incident of it.

    The facts behind it are recorded with it, so a kill leaves neither without the other.
    """
    with gate.ledger.transaction() as txn:
        for reason in reasons:
            txn.append(reason)
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
