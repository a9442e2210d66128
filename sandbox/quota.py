"""Lower the CPU-time of an account: a quota cut of a simulated cluster. It never raises one."""

from dataclasses import replace

from configs.entries import LimitEntry
from configs.records import Amount
from sandbox.budget import BALANCES, balances
from sandbox.ledger import Transaction


def cut(txn: Transaction, name: str, cpu_us: int) -> None:
    """Lower an account's limit by so much CPU-time, at most to 0, and record it.

    What was spent stays spent: an account below its spending pays nothing more.
    """
    cells = balances(txn.connection)[name]
    held = Amount(**{resource: cell["limit"] for resource, cell in cells.items()})
    lowered = lower(held, cpu_us)
    txn.append(LimitEntry(name=name, limit=lowered))
    row = (BALANCES.c.name == name) & (BALANCES.c.resource == "cpu_us")
    txn.connection.execute(BALANCES.update().where(row).values(limit=lowered.cpu_us))


def lower(limit: Amount, cpu_us: int) -> Amount:
    """Return a limit less so much CPU-time; a negative amount takes nothing."""
    return replace(limit, cpu_us=max(0, limit.cpu_us - max(0, cpu_us)))
