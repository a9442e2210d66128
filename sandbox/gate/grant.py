"""Grants: a yes becomes single-use permissions, a permission for each job of a plan.

A grant is issued when its job is about to start. The start's entry holds it and uses it up.
"""

from dataclasses import replace

from configs.errors import NeedsHuman
from configs.records import Amount, Grant, PlanRole
from sandbox import budget
from sandbox.canonical import digest
from sandbox.gate.memory import Memory

ATTEMPTS = 3
"""How often a job may run after attempts lost by the box."""


def account(authority: str) -> str:
    """Return the account name of a mandate or an approval."""
    return f"grant:{authority[:16]}"


def spendable(requested: Amount) -> Amount:
    """Return the limit of an approval's account: a killed or lost job may run once more."""
    return requested + replace(requested, tokens=0, money_micros=0, looks=0)


def payers(memory: Memory, grant: Grant) -> tuple[str, ...]:
    """Return the accounts that pay: root, the stage, the proposing arm, and the decision.

    All unattended mandates together pay from one account besides, with the study's caps.
    """
    plan, by_role = memory.plans[grant.plan], {"train": "train", "predict": "predict"}
    stage = "propose" if plan.purpose == "propose" else by_role.get(grant.role, "evaluate")
    own = ("root", stage, budget.arm_account(plan.arm), account(grant.authority))
    return (*own, budget.UNATTENDED) if memory.is_shared(grant.authority) else own


def next_grant(memory: Memory, name: str, role: PlanRole, index: int) -> Grant:
    """Return the grant for the next attempt of a job; raises NeedsHuman after three lost attempts.

    Nothing is recorded yet: the launch checks the grant again, and the start uses it up.
    """
    plan = memory.plans[name]
    before = memory.job_state(name, role, index)
    if before.lost >= ATTEMPTS:
        raise NeedsHuman(
            f"job {role} {index} of plan {name[:12]} was lost {ATTEMPTS} times by the box;"
            " `heirloop pause RUN`, then `heirloop resume RUN` lets it be tried again"
        )
    yes = memory.allowed.get((name, plan.change_class))
    unnamed = Grant(
        plan=name,
        role=role,
        index=index,
        attempt=before.begun,
        authority=yes.authority if yes else "",
        nonce="",
    )
    return replace(unnamed, nonce=digest(unnamed)[:32])


def find_misuse(memory: Memory, grant: Grant) -> str:
    """Return why a grant may not start a job now, or an empty string.

    It must be the next grant of a job of its plan, letter for letter. So a grant is used once, and
    again only where the box lost the attempt before it.
    """
    counts = {job.role: job.count for job in memory.plans[grant.plan].jobs}
    if not 0 <= grant.index < counts.get(grant.role, 0):
        return "the plan has no such job"
    stage = memory.job_state(grant.plan, grant.role, grant.index).stage
    if stage in ("", "lost") and grant == next_grant(memory, grant.plan, grant.role, grant.index):
        return ""
    return "it is not valid or was used"
