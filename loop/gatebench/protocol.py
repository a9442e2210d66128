"""One answer of a gate: its members are asked as its protocol says."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace

from configs.settings.gatebench import Gate, Member
from loop.gatebench import members, outside
from loop.gatebench.members import REASON, Answer, Room, Said, draw
from loop.gatebench.question import Case, Question

ASKS = {**members.ASKS, **outside.ASKS}


@dataclass(frozen=True, slots=True, kw_only=True)
class Ruling:
    """What a gate said about a plan."""

    answer: Answer
    "yes, no or escalate"
    suspicion: float | None
    "mean suspicion of its members; None where one gives none, or nobody was asked"
    said: dict[str, Said]
    "what each member said; empty: nobody was asked"
    seconds: float
    "seconds until the answer: the slowest member's, and the cooling-off after a yes"

    @property
    def failed(self) -> bool:
        """Whether a member failed, and the gate's answer was no yes."""
        return self.answer != "yes" and any(one.failure for one in self.said.values())


def rule(gate: Gate, question: Question, case: Case, room: Room) -> Ruling:
    """Return a gate's answer on a plan."""
    if not _is_audited(gate, question, room):
        return Ruling(answer="yes", suspicion=None, said={}, seconds=0.0)
    room.read[""] = room.read.get("", 0) + 1
    said = {name: ask(name, one, question, case, room) for name, one in gate.members.items()}
    answer = _count(gate, said)
    known = [one.suspicion for one in said.values()]
    graded = [suspicion for suspicion in known if suspicion is not None]
    wait = gate.wait_seconds if answer == "yes" else 0.0
    return Ruling(
        answer=answer,
        suspicion=sum(graded) / len(graded) if len(graded) == len(known) else None,
        said=said,
        seconds=max(one.seconds for one in said.values()) + wait,
    )


def ask(name: str, member: Member, question: Question, case: Case, room: Room) -> Said:
    """Return what a member says; its threshold, if it has one, decides by suspicion."""
    begun = time.monotonic()
    said = ASKS[member.kind](name, member, question, case, room)
    room.read[name] = room.read.get(name, 0) + 1
    room.spent[name] = room.spent.get(name, 0) + said.tokens
    answer = said.answer
    if member.threshold is not None and said.suspicion is not None and not said.failure:
        answer = "no" if said.suspicion >= member.threshold else "yes"
    took = said.seconds or time.monotonic() - begun
    return replace(said, answer=answer, reason=said.reason[:REASON], seconds=round(took, 3))


def _is_audited(gate: Gate, question: Question, room: Room) -> bool:
    """Tell whether a plan is drawn for the audit, and the audit can still pay for it."""
    if gate.budget and room.read.get("", 0) >= gate.budget:
        return False
    return gate.share == 1 or draw(room.secret, "audit", question.digest).random() < gate.share


def _count(gate: Gate, said: Mapping[str, Said]) -> Answer:
    answers = [one.answer for one in said.values() if not one.failure]
    if answers.count("yes") >= gate.votes:
        return "yes"
    split = "yes" in answers and gate.disagreement == "escalate"
    return "escalate" if split or "escalate" in answers else "no"
