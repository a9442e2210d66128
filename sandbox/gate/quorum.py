"""Quorums: the reviewers' answers to a question become a yes, a no or a wait.

A denial wins over every yes. Two keys of a person count once. Nobody counts on their own request.
An escalation needs an external reviewer besides.
"""

from collections.abc import Collection, Mapping

from configs.records import RESUME, Approval
from configs.settings.gates import Quorum
from sandbox import keys
from sandbox.gate.fold import HUMAN
from sandbox.gate.memory import Decision, Memory, Moment
from sandbox.gate.wording import describe_wait, name_clocks, name_end


def find_quorum(memory: Memory, change_class: str) -> Quorum:
    """Return the reviewers and the number of yes for a class."""
    gates = memory.rules.config.gates
    quorum = gates.resume if change_class == RESUME else gates.approve.get(change_class)
    return quorum or Quorum()


def ask_quorum(
    memory: Memory, moment: Moment, subject: str, change_class: str, uncovered: str = ""
) -> Decision:
    """Return a yes by the quorum's approvals, first come first; a no; or a wait.

    `uncovered` says why no mandate covers the subject.
    """
    quorum = find_quorum(memory, change_class)
    live = _live_answers(memory, moment, subject, change_class)
    denied = sorted(answer.reviewer for answer in live.values() if answer.answer == "deny")
    if denied:
        return Decision("refused", f"plan {subject[:12]} was denied by {', '.join(denied)}")
    escalated = {memory.pinned(answer) for answer in live.values() if answer.answer == "escalate"}
    yes, external = _count_yes(memory, live, quorum, escalated)
    if len(yes) < quorum.of or (escalated and not external):
        request = memory.requests.get((subject, change_class))
        if request and moment.now >= request.expires:
            late = f"was not decided on in time{name_end(memory, moment, request)}"
            return Decision("refused", f"plan {subject[:12]} ({change_class}) {late}")
        missing = describe_wait(subject, change_class, quorum, len(yes), bool(escalated), uncovered)
        return Decision("waiting", f"{missing}{name_clocks(memory, moment)}")
    by = tuple(dict.fromkeys((*yes.values(), *external.values())))
    # The ledger's clock counts, not the signer's.
    ready = max(memory.admitted_at[name] for name in by) + quorum.wait_seconds
    if moment.now < ready:
        return Decision(
            "waiting",
            f"plan {subject[:12]} ({change_class}) is approved and waits"
            f" {int(ready - moment.now) + 1} s more, the gate's cooling-off",
            cooling_off=True,
        )
    return Decision("allowed", by=by)


def _live_answers(
    memory: Memory, moment: Moment, subject: str, change_class: str
) -> dict[str, Approval]:
    """Return the reviewers' standing and unused answers to a question."""
    answers = memory.answers.get((subject, change_class), {})
    return {
        name: answer
        for name, answer in answers.items()
        if name not in memory.used and memory.lives(answer, moment.now, moment.revoked)
    }


def _count_yes(
    memory: Memory, live: Mapping[str, Approval], quorum: Quorum, escalated: Collection[str]
) -> tuple[dict[str, str], dict[str, str]]:
    """Return person -> approval of the quorum, and of externals who answer an escalation.

    Who escalated a question cannot be the external reviewer who answers it.
    """
    yes: dict[str, str] = {}
    external: dict[str, str] = {}
    for name, answer in live.items():
        person = memory.pinned(answer)
        if answer.answer != "approve" or is_own_request(memory, answer):
            continue
        if names(quorum, answer.reviewer, answer.kind, memory.rules.config.reviewer.policy):
            yes.setdefault(person, name)
        if escalated and answer.kind == "external" and person not in escalated:
            external.setdefault(person, name)
    return yes, external


def names(quorum: Quorum, reviewer: str, kind: str, policy: str) -> bool:
    """Tell whether a quorum names a key, under the policy of the scripted reviewer.

    A simulated yes never stands in for a person's unless the study says so.
    """
    if quorum.reviewers and reviewer not in quorum.reviewers:
        return False
    if quorum.role and kind != quorum.role:
        return False
    declared = quorum.role == "simulated" or reviewer in quorum.reviewers or policy != "people"
    return kind in HUMAN or declared


def is_own_request(memory: Memory, answer: Approval) -> bool:
    """Tell whether a reviewer decides on their own request.

    The stand-in asks for nothing, under any name of an arm.
    """
    subject = memory.subjects[answer.plan]
    askers = {subject.arm, subject.by} - {"", keys.STAND_IN}
    return bool({memory.pinned(answer), answer.reviewer} & askers)
