"""Grants: a yes becomes single-use permissions, a permission for each job of a plan.

A grant is an entry and a row with its nonce. The row is used up in the transaction for reserving
the job's budget.
"""

import secrets
from dataclasses import replace

import sqlalchemy as sa

from configs.entries import GrantEntry
from configs.errors import NeedsHuman, VerificationFailed
from configs.records import CHANGE_CLASSES, Grant, Plan
from sandbox.canonical import digest
from sandbox.gate.memory import Memory
from sandbox.ledger import META, Transaction
from sandbox.store import Store

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


def find_flaw(memory: Memory, store: Store, name: str) -> str:
    """Return why no grant may be given for a recorded plan, or an empty string.

    Its parent must be a champion, its program pinned, and it changes only files of its class.
    """
    plan = memory.plans[name]
    parent = memory.plans.get(plan.parent)
    if plan.parent and (plan.parent not in memory.champions or parent is None):
        return (
            f"plan {name[:12]} starts from {plan.parent[:12]}, which is no champion of this study"
        )
    if plan.purpose == "propose" and not _is_pinned(memory, store, plan):
        return f"plan {name[:12]} brings along a program that the study does not name"
    covers = CHANGE_CLASSES[plan.change_class].covers
    if parent is None or covers is None or plan.bundle == parent.bundle:
        return ""
    beyond = changed_files(store, parent, plan) - covers
    if not beyond:
        return ""
    return (
        f"plan {name[:12]} changes {', '.join(sorted(beyond))}, which its class"
        f" {plan.change_class} does not cover"
    )


def _is_pinned(memory: Memory, store: Store, plan: Plan) -> bool:
    """Tell whether the study root pins the program in a plan's bundle, if any."""
    program, proposer = store.get_bundle(plan.bundle).get("program"), memory.rules.config.proposer
    if program is None:
        return True
    return digest(program) in (proposer.program_digest, proposer.file_digest)


def changed_files(store: Store, parent: Plan, plan: Plan) -> set[str]:
    """Return the names of the differing files of two plans' bundles."""
    before, after = store.get_bundle(parent.bundle), store.get_bundle(plan.bundle)
    return {file for file in before.keys() | after.keys() if before.get(file) != after.get(file)}


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
