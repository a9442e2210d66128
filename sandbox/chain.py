"""The hash chain: stored bytes become facts, each entry checked against its hash and place."""

import json
from collections.abc import Iterable
from datetime import datetime
from sys import intern
from typing import Any

from configs.entries import Entry, flatten
from configs.errors import VerificationFailed
from sandbox.canonical import digest

FIELDS = {
    "sequence": int,
    "previous": str,
    "kind": str,
    "time": str,
    "monotonic_us": int,
    "body": dict,
}
"""Fields of an entry's stored bytes."""
GENESIS = "0" * 64
"""Hash before the first entry."""


def chained(rows: Iterable[Any], last: Entry | None) -> list[Entry]:
    """Return the facts of rows (sequence, hash, bytes) that go on from `last`.

    Raises VerificationFailed, which names the entry, for wrong bytes and for a gap.
    """
    facts: list[Entry] = []
    for row in rows:
        previous, expected = (last.hash, last.sequence + 1) if last else (GENESIS, 1)
        facts += checked(row.sequence, row.hash, row.bytes, previous, expected)
        last = facts[-1]
    return facts


def checked(sequence: int, name: str, data: bytes, previous: str, expected: int) -> list[Entry]:
    """Return the facts of stored bytes, if they have this hash and place."""
    if digest(data) != name:
        raise VerificationFailed(f"entry {sequence} has wrong bytes: they do not match its hash")
    fields = _read_fields(sequence, data)
    if sequence != expected or fields["sequence"] != expected or fields["previous"] != previous:
        raise VerificationFailed(
            f"entry {expected} is missing or out of order: the chain breaks there"
        )
    return flatten(fields, name)


def _read_fields(sequence: int, data: bytes) -> dict[str, Any]:
    try:
        fields: dict[str, Any] = json.loads(data.decode(), object_pairs_hook=_share_names)
        kinds = {field: type(fields[field]) for field in FIELDS}
        moment = datetime.fromisoformat(fields["time"])
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        kinds, moment = {}, datetime.min
    if kinds != FIELDS or len(fields) != len(FIELDS) or moment.tzinfo is None:
        raise VerificationFailed(f"entry {sequence} is no entry of a ledger")
    return fields


def _share_names(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object with shared strings as names: a third of a long ledger's memory."""
    return {intern(name): value for name, value in pairs}
