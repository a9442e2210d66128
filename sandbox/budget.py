"""Hard, cumulative budgets: reserve the worst case, then settle the measured use.

Both happen in the ledger's own transactions. Balances are derived rows; `replay` recomputes them
from entries. `spent + reserved + asked <= limit` is a single SQL statement for all paying accounts,
so parallel workers cannot pass a limit together. A reservation without settlement stands as spent.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import sqlalchemy as sa

from configs.build import plain
from configs.entries import (
    AccountEntry,
    Fact,
    LimitEntry,
    LookEntry,
    ReserveEntry,
    SettleEntry,
    facts_of,
)
from configs.errors import BudgetExhausted, VerificationFailed
from configs.records import ACCOUNTS, RESOURCES, Amount, Caps, Split
from configs.settings.budget import Budget
from sandbox.ledger import META, Ledger, Transaction

BALANCES = sa.Table(
    "accounts",
    META,
    sa.Column("name", sa.String(100), primary_key=True),
    sa.Column("resource", sa.String(20), primary_key=True),
    sa.Column("limit", sa.BigInteger, nullable=False),
    sa.Column("reserved", sa.BigInteger, nullable=False, default=0),
    sa.Column("spent", sa.BigInteger, nullable=False, default=0),
)
ROWS = 'SELECT name, resource, "limit", reserved, spent FROM accounts'
UNATTENDED = "unattended"
"""Account of all unattended mandates together, with the study's caps for them."""
ONE_LOOK = Amount(looks=1)
Balances = dict[str, dict[str, dict[str, int]]]
"""Account -> resource -> {limit, reserved, spent}."""


def open_study(
    txn: Transaction, budget: Budget, arms: Iterable[str] = (), caps: Caps | None = None
) -> None:
    """Open the root account and its sub-accounts, by stage, arm and held-out split; children only
    sub-reserve.
    """
    for name, limit in study_limits(budget, arms, caps).items():
        open_account(txn, name, limit)


def study_limits(
    budget: Budget, arms: Iterable[str] = (), caps: Caps | None = None
) -> dict[str, Amount]:
    """Return the limit of every account of a study: root, stages, arms, held-out splits.

    `caps` are the study's caps for its unattended mandates.
    """
    total = budget.amount()
    shares = {name: budget.shares.get(name, 1.0) for name in ACCOUNTS} | {
        arm_account(arm): budget.shares.get("arm", 1.0) for arm in arms
    }
    looks = {
        look_account(split): Amount(looks=count) for split, count in budget.looks.limits().items()
    }
    return {
        "root": total,
        **{
            name: replace(total, cpu_us=int(total.cpu_us * share)) for name, share in shares.items()
        },
        **looks,
        UNATTENDED: mandate_limit(caps, total) if caps else Amount(),
    }


def look_account(split: str) -> str:
    """Return the account of looks at a held-out split."""
    return f"look {split}"


def look(
    ledger: Ledger, split: Split, plan: str, after: int = 0, beside: Iterable[Fact] = ()
) -> None:
    """Charge and record a look of a plan at a held-out split, once, with further facts beside it.

    Raises BudgetExhausted without looks left, and the look does not happen. The caller knows that
    the look has no entry up to `after`. So a look costs the same however long the ledger is.
    """
    payers = ("root", look_account(split))
    with ledger.transaction() as txn:
        if (plan, split) in ((n.plan, n.split) for n in facts_of(txn.since(after), LookEntry)):
            return
        reserve(txn, payers, ONE_LOOK)
        settle(txn, payers, ONE_LOOK, ONE_LOOK)
        txn.extend([LookEntry(plan=plan, split=split, accounts=payers), *beside])


def arm_account(arm: str) -> str:
    """Return the account of an arm.

    It pays for all costs of the arm's proposals, hostile successors in evaluation too.
    """
    return f"arm {arm}"


def mandate_limit(caps: Caps, total: Amount) -> Amount:
    """Return the limit of a mandate's account.

    The study caps every resource that the mandate leaves open.
    """
    return Amount(**{**plain(total), "jobs": caps.jobs, "cpu_us": caps.cpu_seconds * 1_000_000})


def open_account(txn: Transaction, name: str, limit: Amount) -> None:
    """Open an account and record it."""
    txn.append(AccountEntry(name=name, limit=limit))
    rows = [
        {"name": name, "resource": r, "limit": most, "reserved": 0, "spent": 0}
        for r, most in plain(limit).items()
    ]
    txn.connection.execute(BALANCES.insert(), rows)


def amend(
    txn: Transaction, budget: Budget, arms: Iterable[str] = (), caps: Caps | None = None
) -> None:
    """Set new limits for the accounts of the study; past spending and reservations stay."""
    for name, limit in study_limits(budget, arms, caps).items():
        txn.append(LimitEntry(name=name, limit=limit))
        for r in RESOURCES:
            row = (BALANCES.c.name == name) & (BALANCES.c.resource == r)
            txn.connection.execute(BALANCES.update().where(row).values(limit=getattr(limit, r)))


def reserve(txn: Transaction, accounts: Iterable[str], amount: Amount) -> None:
    """Reserve the worst case on every account, or raise BudgetExhausted with nothing reserved.

    The caller records it in the same transaction: see `reservation`.
    """
    names = tuple(dict.fromkeys(accounts))
    resources = _some(amount)
    rows = len(names) * len(resources)
    statement = _statement(RESERVE, len(names), resources)
    values = {**_bound(names, resources, a=amount), "rows": rows}
    if txn.execute(statement, values) != rows:
        raise _refusal(txn, names, amount)


def settle(txn: Transaction, accounts: Iterable[str], reserved: Amount, spent: Amount) -> None:
    """Replace a reservation by the measured use; use above it is charged all the same.

    The caller records it in the same transaction: see `settlement`. Raises VerificationFailed, with
    nothing changed, for more than an account has reserved.
    """
    names = tuple(dict.fromkeys(accounts))
    moved = _some(reserved + spent)
    statement = _statement(SETTLE, len(names), moved)
    changed = txn.execute(statement, _bound(names, moved, a=reserved, b=spent))
    if changed != len(names) * len(moved):
        raise VerificationFailed(
            f"more is settled than {', '.join(names)} have reserved; it was settled before, or the"
            " rows were changed"
        )


FREE = 'name IN ({names}) AND resource IN ({moved}) AND "limit" - spent - reserved >= {a}'
RESERVE = (
    f"UPDATE accounts SET reserved = reserved + {{a}} WHERE {FREE} AND (SELECT count(*) FROM"
    f" accounts WHERE {FREE}) = :rows"
)
SETTLE = (
    "UPDATE accounts SET reserved = reserved - {a}, spent = spent + {b} WHERE name IN ({names})"
    " AND resource IN ({moved}) AND reserved >= {a}"
)


def _some(amount: Amount) -> tuple[str, ...]:
    return tuple(r for r in RESOURCES if getattr(amount, r)) or RESOURCES[:1]


@cache
def _statement(text: str, names: int, resources: tuple[str, ...]) -> str:
    """Return a statement for so many accounts.

    In it `a` and `b` stand for the two amounts of a row's resource.
    """
    cell = "WHEN '{r}' THEN CAST(:{x}_{r} AS BIGINT)"
    cells = {x: " ".join(cell.format(x=x, r=r) for r in resources) for x in "ab"}
    of_row = {x: f"(CASE resource {cases} END)" for x, cases in cells.items()}
    moved = ", ".join(f"'{r}'" for r in resources)
    return text.format(names=", ".join(f":n{i}" for i in range(names)), moved=moved, **of_row)


def _bound(names: Sequence[str], resources: Sequence[str], **amounts: Amount) -> dict[str, Any]:
    return {
        **{f"n{i}": name for i, name in enumerate(names)},
        **{
            f"{letter}_{r}": getattr(amount, r)
            for letter, amount in amounts.items()
            for r in resources
        },
    }


def _refusal(txn: Transaction, names: Sequence[str], amount: Amount) -> BudgetExhausted:
    """Return the error that names the first account with too little, and all that lack the same."""
    held = balances(txn.connection)
    for name in names:
        for resource in RESOURCES:
            needed, room = getattr(amount, resource), rest(held, name, resource)
            if room < needed or name not in held:
                error = BudgetExhausted(
                    f"account {name} has {room} {resource} left; the job needs {needed} reserved"
                )
                error.resource = resource
                error.short = tuple(n for n in names if rest(held, n, resource) < needed)
                return error
    return BudgetExhausted(f"accounts {', '.join(names)} have too little left")


def rest(held: Balances, name: str, resource: str) -> int:
    """Return the rest of a resource in an account; 0 in an unknown account."""
    cell = held.get(name, {}).get(resource)
    return cell["limit"] - cell["spent"] - cell["reserved"] if cell else 0


def balances(connection: sa.Connection) -> Balances:
    """Return name -> resource -> {limit, reserved, spent}."""
    result: Balances = {}
    for name, resource, limit, reserved, spent in connection.exec_driver_sql(ROWS):
        cell = {"limit": limit, "reserved": reserved, "spent": spent}
        result.setdefault(name, {})[resource] = cell
    return result


def charge(txn: Transaction, key: str, accounts: tuple[str, ...], spent: Amount) -> None:
    """Charge an amount that is known already, or raise BudgetExhausted with nothing charged."""
    reserve_as(txn, key, accounts, spent)
    settle_as(txn, key, accounts, spent, spent)


def reserve_as(txn: Transaction, key: str, accounts: tuple[str, ...], amount: Amount) -> None:
    """Reserve and record it under a key: for work that has no start of its own in the ledger."""
    reserve(txn, accounts, amount)
    txn.append(ReserveEntry(key=key, accounts=accounts, amount=amount))


def settle_as(
    txn: Transaction, key: str, accounts: tuple[str, ...], reserved: Amount, spent: Amount
) -> None:
    """Settle a reservation under its key, and record it."""
    settle(txn, accounts, reserved, spent)
    txn.append(SettleEntry(key=key, accounts=accounts, released=reserved, spent=spent))
