"""Forks under verification: the head in the root is signed, and what it had spent stays spent."""

from collections.abc import Sequence
from typing import cast

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from configs.entries import Entry, SettleEntry, StudyEntry, facts_of
from configs.errors import VerificationFailed
from sandbox import budget, rest
from sandbox.heads import check_signature


def check_fork(entries: Sequence[Entry]) -> None:
    """Raise VerificationFailed where a forked study holds more than the named head left."""
    root = cast(StudyEntry, entries[0].fact)
    if root.forked is None:
        return
    record = root.forked
    head = {
        "sequence": record.sequence,
        "count": record.sequence,
        "head": record.head,
        "study": record.study,
        **({} if record.left is None else {"left": record.left}),
    }
    try:
        key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(record.public))
        check_signature(key, bytes.fromhex(record.signature), head)
    except (InvalidSignature, ValueError):
        raise VerificationFailed("the head that the study goes on from is not signed") from None
    charged = {fact.key: fact.spent for fact in facts_of(entries, SettleEntry)}
    config, caps = root.config, root.config.gates.unattended
    for name, limit in budget.study_limits(config.budget, config.payers(), caps).items():
        used = rest.used(limit, (record.left or {}).get(name, {}))
        if charged.get(f"fork:{name}") != used:
            raise VerificationFailed(
                f"the account {name} does not begin with the rest of the forked study"
            )
