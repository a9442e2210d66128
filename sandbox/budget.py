"""Hard, cumulative budgets: reserve the worst case, settle the measured use, in the ledger's own transactions.

Balances are derived rows; `replay` recomputes them from entries. `spent + reserved + asked <= limit` is one SQL
statement per account, so parallel workers cannot pass a limit together. A reservation that is never settled
stands as spent.
"""

from collections.abc import Iterable
from dataclasses import replace

import sqlalchemy as sa

from configs.build import parse, plain
from configs.errors import BudgetExhausted
from configs.records import ACCOUNTS, RESOURCES, SPLITS, Amount, Entry
from configs.study import Budget, Caps
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
Balances = dict[str, dict[str, dict[str, int]]]


def open_study(txn: Transaction, budget: Budget, arms: Iterable[str] = ()) -> None:
    """Open the root account and its sub-accounts, by stage, arm and held-out split; children only sub-reserve."""
    for name, limit in study_limits(budget, arms).items():
        open_account(txn, name, limit)


def study_limits(budget: Budget, arms: Iterable[str] = ()) -> dict[str, Amount]:
    """Return the limit of every account of a study: root, stages, arms, held-out splits."""
    total = budget.amount()
    shares = {name: budget.shares.get(name, 1.0) for name in ACCOUNTS} | {arm_account(arm): budget.shares.get("arm", 1.0) for arm in arms}
    looks = {look_account(split): Amount(looks=getattr(budget.looks, split)) for split in SPLITS}
    return {"root": total, **{name: replace(total, cpu_us=int(total.cpu_us * share)) for name, share in shares.items()}, **looks}


def look_account(split: str) -> str:
    """Return the account that pays for looks at a held-out split."""
    return f"look {split}"


def look(ledger: Ledger, split: str, plan: str) -> None:
    """Charge and record one look of a plan at a held-out split, once; raise BudgetExhausted where all are spent: it then does not happen."""
    payers, one = ("root", look_account(split)), Amount(looks=1)
    with ledger.transaction() as txn:
        if any(e.kind == "look" and (e.body["split"], e.body["plan"]) == (split, plan) for e in txn.entries()):
            return
        reserve(txn, f"look:{split}:{plan}", payers, one)
        settle(txn, f"look:{split}:{plan}", payers, one, one)
        txn.append("look", {"split": split, "plan": plan})


def arm_account(arm: str) -> str:
    """Return the account of an arm: it pays for whatever its proposals cost, hostile successors in evaluation too."""
    return f"arm {arm}"


def open_mandate(txn: Transaction, name: str, caps: Caps, total: Amount) -> None:
    """Open the account of a mandate; what it does not cap is capped by the study."""
    open_account(txn, name, mandate_limit(caps, total))


def mandate_limit(caps: Caps, total: Amount) -> Amount:
    """Return the limit of a mandate's account."""
    return Amount(**{**plain(total), "jobs": caps.jobs, "cpu_us": caps.cpu_seconds * 1_000_000})


def open_account(txn: Transaction, name: str, limit: Amount) -> None:
    """Open one account and record it."""
    txn.append("account", {"name": name, "limit": plain(limit)})
    rows = [{"name": name, "resource": r, "limit": getattr(limit, r), "reserved": 0, "spent": 0} for r in RESOURCES]
    txn.connection.execute(BALANCES.insert(), rows)


def amend(txn: Transaction, budget: Budget, arms: Iterable[str] = ()) -> None:
    """Set new limits for the accounts of the study; what was spent and reserved stays."""
    for name, limit in study_limits(budget, arms).items():
        txn.append("limit", {"name": name, "limit": plain(limit)})
        for r in RESOURCES:
            row = (BALANCES.c.name == name) & (BALANCES.c.resource == r)
            txn.connection.execute(BALANCES.update().where(row).values(limit=getattr(limit, r)))


def reserve(txn: Transaction, key: str, accounts: Iterable[str], amount: Amount) -> None:
    """Reserve the worst case on every account, or raise BudgetExhausted with nothing reserved."""
    names = tuple(accounts)
    for name in names:
        for resource in RESOURCES:
            asked = getattr(amount, resource)
            row = (BALANCES.c.name == name) & (BALANCES.c.resource == resource)
            free = BALANCES.c.limit - BALANCES.c.spent - BALANCES.c.reserved
            done = txn.connection.execute(
                BALANCES.update().where(row & (free >= asked)).values(reserved=BALANCES.c.reserved + asked)
            )
            if done.rowcount != 1:
                left = txn.connection.execute(sa.select(free).where(row)).scalar() or 0
                raise BudgetExhausted(f"account {name} has {left} {resource} left; the job needs {asked} reserved")
    txn.append("reserve", {"key": key, "accounts": list(names), "amount": plain(amount)})


def settle(txn: Transaction, key: str, accounts: Iterable[str], reserved: Amount, spent: Amount) -> None:
    """Replace a reservation by what was used; use above the reservation is charged all the same."""
    names = tuple(accounts)
    for name in names:
        for resource in RESOURCES:
            held, used = getattr(reserved, resource), getattr(spent, resource)
            if held or used:
                row = (BALANCES.c.name == name) & (BALANCES.c.resource == resource)
                values = {"reserved": BALANCES.c.reserved - held, "spent": BALANCES.c.spent + used}
                txn.connection.execute(BALANCES.update().where(row).values(**values))
    txn.append("settle", {"key": key, "accounts": list(names), "released": plain(reserved), "spent": plain(spent)})


def balances(connection: sa.Connection) -> Balances:
    """Return name -> resource -> {limit, reserved, spent}."""
    result: Balances = {}
    for row in connection.execute(sa.select(BALANCES)):
        found = {"limit": row.limit, "reserved": row.reserved, "spent": row.spent}
        result.setdefault(row.name, {})[row.resource] = found
    return result


def replay(entries: Iterable[Entry]) -> Balances:
    """Recompute all balances from entries alone."""
    result: Balances = {}
    for entry in entries:
        body = entry.body
        if entry.kind == "account":
            limit = parse(Amount, body["limit"])
            result[body["name"]] = {r: {"limit": getattr(limit, r), "reserved": 0, "spent": 0} for r in body["limit"]}
        elif entry.kind == "limit":
            for r in body["limit"]:
                result[body["name"]][r]["limit"] = body["limit"][r]
        elif entry.kind in ("reserve", "settle"):
            for name in body["accounts"]:
                for r, cell in result[name].items():
                    if entry.kind == "reserve":
                        cell["reserved"] += body["amount"][r]
                    else:
                        cell["reserved"] -= body["released"][r]
                        cell["spent"] += body["spent"][r]
    return result
