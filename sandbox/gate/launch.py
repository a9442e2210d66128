"""Launch: the checks between a grant and the start of its job, in this order.

1. Nobody holds the study, and a slowed study has room in this hour.
2. Neither the plan nor its parent was recalled.
3. The plan is of the objective and of the policy version in force.
4. The grant rests on the newest yes for this plan.
5. Every mandate or approval of this yes still lives: not expired, not revoked.
6. No reviewer denied the plan since.
7. It is the next grant of a job of the plan, and no earlier attempt used it up.
"""

from collections.abc import Collection

from configs.errors import Denied, Lapsed, Stopped, VerificationFailed
from configs.records import Grant
from sandbox.gate.grant import find_misuse
from sandbox.gate.memory import Memory


class Halted(Stopped):
    """A person, a tripwire or a drill holds the study; `how` is stop, pause, drill or slow."""

    def __init__(self, text: str, how: str) -> None:
        super().__init__(text)
        self.how = how


def check_launch(memory: Memory, grant: Grant, now: float, revoked: Collection[str]) -> None:
    """Raise unless a job of this grant may start at `now`.

    Raises Halted (held or slowed), Denied (recalled, or denied since), Lapsed (an approval
    expired or was revoked), VerificationFailed (another version or objective, or no yes).
    """
    plan, name, rules = memory.plans[grant.plan], f"plan {grant.plan[:12]}", memory.rules
    question = (grant.plan, plan.change_class)
    if memory.halt:
        raise Halted(f"the study is halted ({memory.halt})", memory.halt)
    if not memory.has_room(now):
        raise Halted(f"the study is slowed to {memory.per_hour} jobs an hour", "slow")
    if grant.plan in memory.recalled or plan.parent in memory.recalled:
        raise Denied(f"{name} is quarantined: it or an ancestor was recalled; nothing ran")
    if plan.objective != rules.objective:
        raise VerificationFailed(f"{name} was made for another objective; nothing ran")
    if plan.version != rules.version:
        versions = f"version {plan.version}, the study of {rules.version}"
        raise VerificationFailed(f"{name} is of {versions}; nothing ran")
    yes = memory.allowed.get(question)
    if yes is None or yes.authority != grant.authority:
        raise VerificationFailed(f"the grant for {name} rests on no decision; nothing ran")
    for signature in yes.by:
        signed = memory.mandates.get(signature) or memory.approvals[signature]
        if not memory.lives(signed, now, revoked):
            raise Lapsed(f"what {name} was granted on has expired or was revoked")
    for answer in memory.answers.get(question, {}).values():
        if answer.answer == "deny":
            denied = f"was denied by {answer.reviewer} after it was granted"
            raise Denied(f"{name} {denied}; nothing ran")
    if rules.format > 1 and (misuse := find_misuse(memory, grant)):
        text = f"the grant for {grant.role} {grant.index} of {name}: {misuse}; nothing ran"
        raise VerificationFailed(text)
