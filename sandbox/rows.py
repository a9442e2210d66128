"""Derived rows of a ledger, held to its entries: the entries are the authority.

Example: somebody sets `accounts.spent` to 0. The next opening for a write puts the figures of the
entries back, and an incident of the run says so.
"""

from collections.abc import Iterable

import sqlalchemy as sa

from configs.entries import CallEntry, Entry, StartEntry, facts_of
from sandbox import budget, incident
from sandbox.ledger import Ledger, Transaction


def rebuild(ledger: Ledger) -> None:
    """Write the rows anew from the entries where they differ, and record an incident.

    These are the accounts, and the grants of jobs that began: such a grant is used.
    """
    if ledger.read(lambda c: differing(ledger, c) or reset_grants(ledger.entries(), c)):
        with ledger.transaction() as txn:
            _rebuild(ledger, txn)


def differing(ledger: Ledger, connection: sa.Connection) -> list[str]:
    """Return the names of the accounts with other rows than the entries give."""
    rows = budget.balances(connection)
    last = connection.execute(sa.text("SELECT max(sequence) FROM entries")).scalar() or 0
    entries = ledger.entries_by(connection, last)
    computed = budget.replay(entry for entry in entries if entry.sequence <= last)
    return sorted(name for name in {**rows, **computed} if rows.get(name) != computed.get(name))


def reset_grants(entries: Iterable[Entry], connection: sa.Connection) -> list[str]:
    """Return the nonces of used grants that the rows call unused."""
    begun = {start.grant.nonce for start in facts_of(entries, StartEntry)}
    begun |= {call.grant.nonce for call in facts_of(entries, CallEntry)}
    unused = connection.execute(sa.text("SELECT nonce FROM nonces WHERE NOT consumed"))
    return sorted(begun & {row.nonce for row in unused})


def _rebuild(ledger: Ledger, txn: Transaction) -> None:
    names, nonces = differing(ledger, txn.connection), reset_grants(txn.entries(), txn.connection)
    if not names and not nonces:
        return
    if nonces:
        used = sa.text("UPDATE nonces SET consumed = :yes WHERE nonce = :nonce")
        txn.connection.execute(used, [{"yes": True, "nonce": nonce} for nonce in nonces])
    rows = [
        {"name": name, "resource": resource, **cell}
        for name, cells in budget.replay(txn.entries()).items()
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
        root_cause="the rows were not those of the entries: "
        + ", ".join([*names, *(f"grant {nonce[:12]}" for nonce in nonces)])[:1900],
        containment="the rows were written anew from the entries before anything else",
        harm_potential="compute beyond the budget",
    )
