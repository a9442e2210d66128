"""Changed records: each leaf of an entry, a ledger under change, and a history that the holder of
its key rewrote.
"""

import shutil
import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest

from configs.entries import by_entry, unflatten
from configs.errors import VerificationFailed
from loop.verify.run import verify
from sandbox import keys
from sandbox.canonical import canonical, digest
from sandbox.heads import checkpoint, places
from sandbox.keys import signer
from sandbox.ledger import Ledger


def leaves(tree, path=()):
    """Yield the path of every leaf of plain JSON."""
    items = (
        tree.items()
        if isinstance(tree, dict)
        else enumerate(tree)
        if isinstance(tree, list)
        else ()
    )
    for key, value in items:
        yield from (
            leaves(value, (*path, key))
            if isinstance(value, dict | list) and value
            else [(*path, key)]
        )


def mutated(tree, path):
    """Return plain JSON with one leaf changed to another value of its type."""
    key, *rest = path
    copy = dict(tree) if isinstance(tree, dict) else list(tree)
    copy[key] = mutated(tree[key], rest) if rest else other(tree[key])
    return copy


def other(value):
    if isinstance(value, bool) or value is None:
        return 7
    return (
        value + 1
        if isinstance(value, int | float)
        else value + "x"
        if isinstance(value, str)
        else {"x": 1}
    )


def fails(folder, words="entr"):
    """Verify a run; it must fail and name an entry."""
    with pytest.raises(VerificationFailed, match=words):
        verify(folder)


class Edited:
    """The ledger's file under change; it is put back."""

    def __init__(self, folder):
        self.folder, self.path = folder, folder / "ledger.sqlite"

    def __enter__(self):
        with sqlite3.connect(self.path) as connection:
            connection.execute("pragma wal_checkpoint(truncate)")
        shutil.copy(self.path, self.folder / "kept")
        return sqlite3.connect(self.path, isolation_level=None)

    def __exit__(self, *_):
        for one in self.folder.glob("ledger.sqlite*"):
            one.unlink()
        (self.folder / "kept").rename(self.path)


def second(folder, kind):
    """Write the last entry of a kind once more, as the gate would; return its number."""
    ledger = Ledger.at(folder)
    body = next(
        e.body
        for e in reversed(ledger.entries())
        if e.kind == kind and "promote" not in e.body.get("class", "")
    )
    number = ledger.append(kind, body).sequence
    ledger.close()
    return number


def rewritten(folder, entries, number, body):
    """Return a copy of a run whose fact at place `number` has another body.

    Every later hash and every signed head is made to fit by the key's holder.
    """
    with Edited(folder) as connection:
        previous = "0" * 64
        for facts in by_entry(entries):
            entry = facts[0]
            facts = [replace(f, body=body) if f.place == number else f for f in facts]
            fields = {**unflatten(facts), "previous": previous}
            data, previous = canonical(fields), digest(canonical(fields))
            connection.execute(
                "update entries set bytes = ?, hash = ? where sequence = ?",
                (data, previous, entry.sequence),
            )
        connection.execute("pragma wal_checkpoint(truncate)")
        copy = Path(str(folder) + f"-{digest(body)[:8]}")
        copy.mkdir(exist_ok=True)
        shutil.copy(folder / "ledger.sqlite", copy / "ledger.sqlite")
        if not (copy / "store").exists():
            (copy / "store").symlink_to(folder / "store")
    ledger = Ledger.at(copy)
    where = places(copy, ledger.entries()[0].hash)
    where[1].unlink(missing_ok=True)
    checkpoint(ledger, signer(keys.load_secret(entries[0].body["secret"])), where)
    ledger.close()
    return copy
