"""Sentences for people: the two clocks, and the missing part of a decision. Nothing is decided."""

from datetime import UTC, datetime

from configs.records import Approval
from configs.settings.gates import Quorum
from sandbox.decision import Request
from sandbox.gate.memory import Memory, Moment

JUMP_SECONDS = 300
"""How far the ledger's clock may run ahead of this machine's before people are told."""


def name_clocks(memory: Memory, moment: Moment) -> str:
    """Return a clause on the two clocks where the ledger's runs ahead; else an empty string."""
    ahead = moment.now - memory.rules.ahead - moment.wall
    if not moment.wall or ahead <= JUMP_SECONDS:
        return ""
    ledger, wall = map(_time_of, (moment.now - memory.rules.ahead, moment.wall))
    return (
        f"; the ledger's clock says {ledger}, {ahead / 3600:.1f} h ahead of this machine's {wall}:"
        " a clock jumped, and `heirloop amend RUN --clock` lets people go on from it"
    )


def name_end(
    memory: Memory, moment: Moment, request: Request, approval: Approval | None = None
) -> str:
    """Return a clause on a request's end, on the time of a late approval, and on the clocks."""
    signed = f", and this was signed at {_time_of(approval.issued)}" if approval else ""
    end = _time_of(request.expires - memory.rules.ahead)
    return f" (it ended at {end}{signed}){name_clocks(memory, moment)}"


def _time_of(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="minutes")


def describe_wait(
    subject: str, change_class: str, quorum: Quorum, yes: int, escalated: bool, uncovered: str
) -> str:
    """Return the missing part of a subject's decision."""
    reviewers = " or ".join(quorum.reviewers) or f"{quorum.role or 'pinned'} reviewers"
    missing = f"{yes} of {quorum.of} decisions of {reviewers}"
    missing += ", escalated to an external reviewer" if escalated else ""
    why = uncovered or "waits for a decision"
    return f"plan {subject[:12]} ({change_class}) {why}, has {missing}"
