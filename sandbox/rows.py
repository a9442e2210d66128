"""Derived rows of a ledger, held to its entries: the entries are the authority.

Example: somebody sets `accounts.spent` to 0. The next opening for a write puts the figures of the
entries back, and an incident of the run says so.
"""

import sqlalchemy as sa

from sandbox import budget, charges, incident
from sandbox.ledger import Ledger, Transaction


def rebuild(ledger: Ledger) -> None:
    """Write the accounts anew from the entries where they differ, and record an incident."""
    if ledger.read(lambda c: differing(ledger, c)):
        with ledger.transaction() as txn:
            _rebuild(ledger, txn)


def differing(ledger: Ledger, connection: sa.Connection) -> list[str]:
    """Return the names of the accounts with other rows than the entries give."""
    rows = budget.balances(connection)
    last = connection.execute(sa.text("SELECT max(sequence) FROM entries")).scalar() or 0
    entries = ledger.entries_by(connection, last)
    computed = charges.replay(entry for entry in entries if entry.sequence <= last)
    return sorted(name for name in {**rows, **computed} if rows.get(name) != computed.get(name))


def _rebuild(ledger: Ledger, txn: Transaction) -> None:
    names = differing(ledger, txn.connection)
    if not names:
        return
    rows = [
        {"name": name, "resource": resource, **cell}
        for name, cells in charges.replay(txn.entries()).items()
        for resource, cell in cells.items()
    ]
    txn.connection.execute(budget.BALANCES.delete())
    txn.connection.execute(budget.BALANCES.insert(), rows)
    incident.report(
        txn,
        "derived rows were changed outside Heirloop",
        kind="incident",
        severity="high",
        detector="door",
        root_cause=f"the rows were not those of the entries: {', '.join(names)}"[:1900],
        containment="the rows were written anew from the entries before anything else",
        harm_potential="compute beyond the budget",
    )
