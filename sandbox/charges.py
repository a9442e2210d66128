"""What entries say of accounts: reservations, settlements, and all balances by them alone.

A start or a call says its reservation, a job or an answer its settlement, a look both. A ledger of
format 1 says them in entries of their own, kinds reserve and settle.
"""

from collections.abc import Iterable, Iterator

from configs.build import plain
from configs.entries import (
    AccountEntry,
    AnswerEntry,
    CallEntry,
    Entry,
    Fact,
    JobEntry,
    LimitEntry,
    LookEntry,
    ReserveEntry,
    SettleEntry,
    StartEntry,
)
from configs.errors import VerificationFailed
from configs.records import RESOURCES, Amount
from sandbox.budget import ONE_LOOK, Balances


def reservation(fact: Fact) -> ReserveEntry | None:
    """Return the reservation that a fact says: one of its own, or that of a start or call."""
    match fact:
        case ReserveEntry():
            return fact
        case StartEntry(reserved=Amount() as amount) | CallEntry(reserved=Amount() as amount):
            key, accounts = fact.grant.nonce, fact.accounts
            return ReserveEntry(key=key, accounts=accounts, amount=amount)
        case LookEntry(accounts=(_, *_)):
            return ReserveEntry(key=_look_key(fact), accounts=fact.accounts, amount=ONE_LOOK)
    return None


def settlement(fact: Fact) -> SettleEntry | None:
    """Return the settlement that a fact says: one of its own, or that of a job, answer or look."""
    match fact:
        case SettleEntry():
            return fact
        case JobEntry(released=Amount() as released):
            spent = fact.result.charged
        case AnswerEntry(released=Amount() as released):
            spent = fact.answer.charged
        case LookEntry(accounts=(_, *_)):
            released = spent = ONE_LOOK
        case _:
            return None
    key = _look_key(fact) if isinstance(fact, LookEntry) else fact.nonce
    return SettleEntry(key=key, accounts=fact.accounts, released=released, spent=spent)


def _look_key(look: LookEntry) -> str:
    return f"look:{look.split}:{look.plan}"


RESERVING = frozenset(kind.kind for kind in (ReserveEntry, StartEntry, CallEntry, LookEntry))
SETTLING = frozenset(kind.kind for kind in (SettleEntry, JobEntry, AnswerEntry, LookEntry))
"""Kinds of entries with a reservation, and with a settlement."""


def settlements(entries: Iterable[Entry]) -> Iterator[tuple[Entry, SettleEntry]]:
    """Yield each entry with a settlement, and the settlement; the others are not decoded."""
    for entry in entries:
        if entry.kind in SETTLING and (settled := settlement(entry.fact)):
            yield entry, settled


def replay(entries: Iterable[Entry]) -> Balances:
    """Recompute all balances from entries alone."""
    result: Balances = {}
    for entry in entries:
        move(result, entry)
    return result


def move(balances: Balances, entry: Entry) -> None:
    """Change balances by the next entry; most kinds change nothing and are not decoded.

    Raises VerificationFailed for an account that was never opened.
    """
    try:
        if entry.kind in (AccountEntry.kind, LimitEntry.kind):
            _set_limit(balances, entry.fact)
        if entry.kind in RESERVING and (reserved := reservation(entry.fact)):
            _add(balances, reserved.accounts, "reserved", reserved.amount, 1)
        if entry.kind in SETTLING and (settled := settlement(entry.fact)):
            _add(balances, settled.accounts, "reserved", settled.released, -1)
            _add(balances, settled.accounts, "spent", settled.spent, 1)
    except KeyError as error:
        name = f"entry {entry.sequence} ({entry.kind})"
        raise VerificationFailed(f"{name}: account {error} was never opened") from None


def _set_limit(balances: Balances, fact: Fact) -> None:
    match fact:
        case AccountEntry(name=name, limit=limit):
            balances[name] = {
                r: {"limit": most, "reserved": 0, "spent": 0} for r, most in plain(limit).items()
            }
        case LimitEntry(name=name, limit=limit):
            for r, cell in balances[name].items():
                cell["limit"] = getattr(limit, r)


def _add(balances: Balances, accounts: Iterable[str], column: str, amount: Amount, by: int) -> None:
    """Add an amount, or take it away (`by` -1), in a column of these accounts."""
    for r in RESOURCES:
        if value := getattr(amount, r):
            for name in accounts:
                balances[name][r][column] += by * value
