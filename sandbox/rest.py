"""Rest of the accounts: what a signed head tells of it, and how a forked study begins with it."""

from collections.abc import Iterable, Mapping

from configs.records import RESOURCES, Amount, Caps
from configs.settings.budget import Budget
from sandbox.budget import Balances, charge, study_limits
from sandbox.ledger import Transaction


def charge_fork(
    txn: Transaction,
    budget: Budget,
    arms: Iterable[str],
    left: Mapping[str, Mapping[str, int]],
    caps: Caps | None = None,
) -> None:
    """Charge every account of a forked study with all but the rest that its old head tells."""
    for name, limit in study_limits(budget, arms, caps).items():
        amount = used(limit, left.get(name, {}))
        charge(txn, f"fork:{name}", (name,), amount)


def used(limit: Amount, rest: Mapping[str, int]) -> Amount:
    """Return the used part of a limit; a resource without a known rest is used up."""
    parts = {r: getattr(limit, r) for r in RESOURCES}
    return Amount(**{r: whole - max(0, min(whole, rest.get(r, 0))) for r, whole in parts.items()})


def left(balances: Balances) -> dict[str, dict[str, int]]:
    """Return the rest of each account of the study: resource -> amount, without the zeros.

    Accounts of mandates and approvals are left out, since they count for a single ledger.
    """
    return {
        name: {
            r: rest
            for r, cell in cells.items()
            if (rest := cell["limit"] - cell["spent"] - cell["reserved"]) > 0
        }
        for name, cells in balances.items()
        if not name.startswith("grant:")
    }
