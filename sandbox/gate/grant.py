"""Grants: a yes becomes single-use permissions, a permission for each job of a plan.

A grant is an entry and a row with its nonce. The row is used up in the transaction for reserving
the job's budget.
"""

import secrets
from dataclasses import replace

import sqlalchemy as sa

from configs.entries import GrantEntry
from configs.errors import NeedsHuman, VerificationFailed
from configs.records import Grant, Plan
from sandbox import budget
from sandbox.gate.memory import Memory
from sandbox.ledger import META, Transaction

GRANTS = sa.Table(
    "nonces",
    META,
    sa.Column("nonce", sa.String(64), primary_key=True),
    sa.Column("slot", sa.String(140), unique=True, nullable=False),
    sa.Column("consumed", sa.Boolean, nullable=False, default=False),
)
ISSUE = sa.text("INSERT INTO nonces (nonce, slot, consumed) VALUES (:nonce, :slot, :no)")
TAKEN = sa.text("SELECT slot FROM nonces WHERE slot >= :first AND slot < :last")
CONSUME = sa.text(
    "UPDATE nonces SET consumed = :yes WHERE nonce = :nonce AND slot = :slot AND consumed = :no"
)
ATTEMPTS = 3
"""How often a job may run after attempts lost by the box."""


def slot(grant: Grant) -> str:
    """Return the place of a grant as text: plan, role, index and attempt."""
    return f"{grant.plan}:{grant.role}:{grant.index}:{grant.attempt}"


def account(authority: str) -> str:
    """Return the account name of a mandate or an approval."""
    return f"grant:{authority[:16]}"


def payers(memory: Memory, grant: Grant) -> tuple[str, ...]:
    """Return the accounts that pay: root, the stage, the proposing arm, and the decision.

    All unattended mandates together pay from one account besides, with the study's caps.
    """
    plan, by_role = memory.plans[grant.plan], {"train": "train", "predict": "predict"}
    stage = "propose" if plan.purpose == "propose" else by_role.get(grant.role, "evaluate")
    own = ("root", stage, budget.arm_account(plan.arm), account(grant.authority))
    return (*own, budget.UNATTENDED) if memory.is_shared(grant.authority) else own


def new_grants(plan: Plan, name: str, authority: str) -> list[Grant]:
    """Return a grant for each job of a plan, not issued yet."""
    return [
        Grant(
            plan=name,
            role=job.role,
            index=index,
            attempt=0,
            authority=authority,
            nonce=secrets.token_hex(16),
        )
        for job in plan.jobs
        for index in range(job.count)
    ]


def issue_missing(txn: Transaction, grants: list[Grant], name: str) -> None:
    """Issue the grants of a plan for all places without a grant."""
    rows = txn.connection.execute(TAKEN, {"first": f"{name}:", "last": f"{name};"})
    slots = {row.slot for row in rows}
    for grant in grants:
        if slot(grant) not in slots:
            issue(txn, grant)


def issue(txn: Transaction, grant: Grant) -> None:
    """Record a grant, and its row for use at launch."""
    txn.append(GrantEntry(grant=grant))
    txn.connection.execute(ISSUE, {"nonce": grant.nonce, "slot": slot(grant), "no": False})


def next_attempt(lost: Grant, counted: bool) -> Grant:
    """Return the grant for another attempt; raises NeedsHuman after three counted attempts."""
    if counted and lost.attempt + 1 >= ATTEMPTS:
        raise NeedsHuman(
            f"job {lost.role} {lost.index} of plan {lost.plan[:12]} was lost {ATTEMPTS} times by"
            " the box"
        )
    return replace(lost, attempt=lost.attempt + 1, nonce=secrets.token_hex(16))


def consume(txn: Transaction, grant: Grant) -> None:
    """Use a grant up; raises VerificationFailed if it was never issued, was altered or is used."""
    values = {"nonce": grant.nonce, "slot": slot(grant), "yes": True, "no": False}
    if txn.connection.execute(CONSUME, values).rowcount != 1:
        raise VerificationFailed(
            f"the grant for {grant.role} {grant.index} of plan {grant.plan[:12]} is not valid or"
            " was used"
        )


def end_grants(txn: Transaction) -> int:
    """End every unused grant and return their number. Their plans need a new yes."""
    return txn.connection.execute(GRANTS.delete().where(GRANTS.c.consumed.is_(False))).rowcount
