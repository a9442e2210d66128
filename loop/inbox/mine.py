"""Whom does a request wait for? A reader whose answer could count, and who has not answered yet."""

from loop.inbox.sign_in import Session
from sandbox.decision import Request
from sandbox.gate import Gate
from sandbox.gate.quorum import names

EXTERNAL = "external"


def waits_for(gate: Gate, request: Request, session: Session) -> bool:
    """Tell whether a request waits for this reader.

    The study must pin the key, and the quorum of the class must name it; an escalated request waits
    for external reviewers too. A reader's own request waits for others.
    """
    memory = gate.memory
    pinned = any(half.public == session.public for half in memory.rules.reviewers)
    subject = memory.subjects[request.subject]
    if not session.decides or not pinned or session.name in (subject.arm, subject.by):
        return False
    given = memory.answers.get((request.subject, request.change_class), {}).values()
    if any(answer.reviewer == session.name for answer in given):
        return False
    escalated = any(answer.answer == "escalate" for answer in given)
    policy = memory.rules.config.reviewer.policy
    quorum = gate.wanted(request.change_class)
    named = names(quorum, session.name, session.kind, policy)
    return named or (escalated and session.kind == EXTERNAL)
