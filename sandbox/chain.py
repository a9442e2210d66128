"""The hash chain: stored bytes become entries, each checked against its hash and its
predecessor.
"""

import json
from collections.abc import Iterable
from sys import intern
from typing import Any

from configs.entries import Entry
from configs.errors import VerificationFailed
from sandbox.canonical import digest

GENESIS = "0" * 64
"""Hash before the first entry."""


def chained(rows: Iterable[Any], last: Entry | None) -> list[Entry]:
    """Return rows (sequence, hash, bytes) as entries that go on from `last`.

    Raises VerificationFailed, which names the entry, for wrong bytes and for a gap.
    """
    entries: list[Entry] = []
    for row in rows:
        previous, expected = (last.hash, last.sequence + 1) if last else (GENESIS, 1)
        last = checked(row.sequence, row.hash, row.bytes, previous, expected)
        entries.append(last)
    return entries


def checked(sequence: int, name: str, data: bytes, previous: str, expected: int) -> Entry:
    """Return stored bytes as an entry, if they have this hash and place."""
    if digest(data) != name:
        raise VerificationFailed(f"entry {sequence} has wrong bytes: they do not match its hash")
    fields = json.loads(data.decode(), object_pairs_hook=_share_names)
    if sequence != expected or fields["sequence"] != expected or fields["previous"] != previous:
        raise VerificationFailed(
            f"entry {expected} is missing or out of order: the chain breaks there"
        )
    return Entry(**fields, hash=name)


def _share_names(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object with shared strings as names: a third of a long ledger's memory."""
    return {intern(name): value for name, value in pairs}
