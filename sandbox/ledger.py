"""The ledger: an append-only, hash-chained, signed record in SQLite (WAL, synchronous FULL).

Each row holds the exact canonical bytes that were hashed, so nothing stands outside the hash. Balances, grants
and other derived rows change in the same transaction as the entries that explain them. Signed checkpoints go
to a second file, and a third outside the run, so that a cut tail is found. It refuses to open what does not verify.
"""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from sys import intern
from typing import Any

import sqlalchemy as sa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from sqlalchemy.exc import DatabaseError

from configs.errors import Stopped, VerificationFailed
from configs.records import Entry
from sandbox.canonical import canonical, digest

GENESIS = "0" * 64
FULL = "the disk that holds the run is full or failing; free some space, and the same command goes on where it was"
META = sa.MetaData()
ENTRIES = sa.Table(
    "entries",
    META,
    sa.Column("sequence", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("hash", sa.String(64), nullable=False),
    sa.Column("bytes", sa.LargeBinary, nullable=False),
)


class Transaction:
    """Entries and derived rows that are written together or not at all."""

    def __init__(self, connection: sa.Connection, ledger: "Ledger") -> None:
        self.connection, self._ledger, self._own = connection, ledger, list[Entry]()
        last = connection.execute(sa.select(ENTRIES).order_by(ENTRIES.c.sequence.desc()).limit(1)).first()
        self._sequence: int = last.sequence if last else 0
        self._before = self._sequence
        self._head: str = last.hash if last else GENESIS
        self._time = datetime.fromisoformat(json.loads(last.bytes)["time"]) if last else datetime.min.replace(tzinfo=UTC)

    def entries(self) -> list[Entry]:
        """Return all entries up to now, this transaction's own included; nobody else can add one meanwhile."""
        return self._ledger.entries_by(self.connection, self._before) + self._own

    def since(self, sequence: int) -> list[Entry]:
        """Return the entries after `sequence`, without this transaction's own; costs what they cost."""
        return self._ledger.since(sequence, self.connection, self._before)

    def now(self) -> datetime:
        """Return the wall clock, never before the last entry: a clock that is set back changes no order and reopens nothing."""
        return max(datetime.now(UTC), self._time)

    def append(self, kind: str, body: dict[str, Any]) -> Entry:
        """Append one entry; `body` must be canonical JSON material."""
        fields = {
            "sequence": self._sequence + 1,
            "previous": self._head,
            "kind": kind,
            "time": self.now().isoformat(timespec="milliseconds"),
            "monotonic_us": time.monotonic_ns() // 1000,
            "body": body,
        }
        data = canonical(fields)
        self._sequence, self._head = self._sequence + 1, digest(data)
        self.connection.execute(ENTRIES.insert().values(sequence=self._sequence, hash=self._head, bytes=data))
        self._own.append(entry := Entry(**json.loads(data), hash=self._head))
        return entry


class Ledger:
    """One study's record. Opening checks the whole chain."""

    def __init__(self, url: str, *, create: bool, timeout: float = 60) -> None:
        self._engine = sa.create_engine(url, connect_args={"timeout": timeout} if url.startswith("sqlite") else {})
        if url.startswith("sqlite"):
            sa.event.listen(self._engine, "connect", _sqlite_pragmas)
            sa.event.listen(self._engine, "begin", _sqlite_begin)
        self._cache: list[Entry] = []
        self._lock = threading.Lock()
        try:
            if create:
                META.create_all(self._engine)
            self.entries()
        except DatabaseError as error:
            raise VerificationFailed(f"the ledger cannot be read ({error.orig}); restore it from a copy of the run") from None

    @classmethod
    def file(cls, path: Path, *, create: bool = False, timeout: float = 60) -> "Ledger":
        """Open the ledger of a run; a missing one is refused unless it may be created. A writer waits `timeout` seconds for its turn."""
        if not create and not path.is_file():
            raise VerificationFailed(f"there is no ledger at {path}; name a run folder that holds ledger.sqlite")
        return cls(f"sqlite:///{path}", create=create, timeout=timeout)

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """Yield a write transaction that excludes every other writer; raise Stopped, with nothing written, on a full disk."""
        try:
            with self._engine.connect().execution_options(writes=True) as connection, connection.begin():
                yield Transaction(connection, self)
        except DatabaseError as error:
            if "full" in str(error.orig) or "disk I/O" in str(error.orig):
                raise Stopped(FULL) from None
            if "locked" in str(error.orig):
                raise Stopped("another process holds the run's ledger and does not let go; `heirloop stop RUN` ends it") from None
            raise

    def append(self, kind: str, body: dict[str, Any]) -> Entry:
        """Append one entry in a transaction of its own."""
        with self.transaction() as txn:
            return txn.append(kind, body)

    def entries(self) -> list[Entry]:
        """Return all entries, reading and checking only what is new since the last call."""
        with self._engine.connect() as connection:
            return self.entries_by(connection)

    def entries_by(self, connection: sa.Connection, upto: int = 2**53) -> list[Entry]:
        """Return the entries to sequence `upto`, which are committed, reading with this connection."""
        with self._lock:
            self._read_new(connection, upto)
            return list(self._cache)

    def _read_new(self, connection: sa.Connection, upto: int) -> None:
        new = (ENTRIES.c.sequence > len(self._cache)) & (ENTRIES.c.sequence <= upto)
        for row in connection.execute(sa.select(ENTRIES).where(new).order_by(ENTRIES.c.sequence)):
            previous, expected = (self._cache[-1].hash if self._cache else GENESIS), len(self._cache) + 1
            self._cache.append(_checked(row.sequence, row.hash, row.bytes, previous, expected))

    def since(self, sequence: int, connection: sa.Connection | None = None, upto: int = 2**53) -> list[Entry]:
        """Return the committed entries after `sequence`; costs what they cost, however long the ledger is."""
        if connection is None:
            with self._engine.connect() as own:
                return self.since(sequence, own)
        with self._lock:
            self._read_new(connection, upto)
            return self._cache[sequence:]

    def last(self) -> datetime:
        """Return the time of the last entry that was read."""
        return datetime.fromisoformat(self._cache[-1].time)

    def read(self, query: Callable[[sa.Connection], Any]) -> Any:
        """Run a read on one connection."""
        with self._engine.connect() as connection:
            return query(connection)

    def close(self) -> None:
        """Release the file."""
        self._engine.dispose()


def checkpoint(ledger: Ledger, key: Ed25519PrivateKey, places: tuple[Path, ...]) -> None:
    """Append a signed head (sequence, head hash, count) to each place."""
    entries = ledger.entries()
    head = {"sequence": entries[-1].sequence, "head": entries[-1].hash, "count": len(entries), "study": entries[0].hash}
    line = canonical({**head, "signature": key.sign(b"heirloop-checkpoint:" + canonical(head)).hex()})
    for place in places:
        place.parent.mkdir(parents=True, exist_ok=True)
        with place.open("ab") as file:
            file.write(line + b"\n")


def check_checkpoints(entries: list[Entry], public: str, place: Path) -> list[int]:
    """Check every signed head of a file against the entries; return their sequences.

    Raises VerificationFailed for a bad signature, another history, or entries that are missing at the end.
    """
    key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(public))
    lines, found = place.read_bytes().splitlines() if place.is_file() else [], list[int]()
    for number, line in enumerate(lines, 1):
        try:
            head = json.loads(line)
            signature = bytes.fromhex(head.pop("signature"))
            _signed(key, signature, head)
        except Exception:
            raise VerificationFailed(f"checkpoint {number} of {place.name} is not signed by this study") from None
        at = head["sequence"]
        if at > len(entries):
            raise VerificationFailed(f"entries {len(entries) + 1} to {at} are missing: checkpoint {number} signed {at} entries")
        if entries[at - 1].hash != head["head"] or entries[0].hash != head["study"]:
            raise VerificationFailed(f"entry {at} is not the one that checkpoint {number} signed")
        if (head["count"], sorted(head)) != (at, ["count", "head", "sequence", "study"]) or at < (found or [1])[-1]:
            raise VerificationFailed(f"checkpoint {number} of {place.name} counts {head['count']} entries to entry {at}, after {found[-1:]}")
        found.append(at)
    return found


def _signed(key: Ed25519PublicKey, signature: bytes, head: dict[str, Any]) -> None:
    """Raise unless a signature is one of this head and was given for a head, not for anything else."""
    key.verify(signature, b"heirloop-checkpoint:" + canonical(head))


def _checked(sequence: int, name: str, data: bytes, previous: str, expected: int) -> Entry:
    if digest(data) != name:
        raise VerificationFailed(f"entry {sequence} has wrong bytes: they do not match its hash")
    fields = json.loads(data.decode(), object_pairs_hook=_shared)
    if sequence != expected or fields["sequence"] != expected or fields["previous"] != previous:
        raise VerificationFailed(f"entry {expected} is missing or out of order: the chain breaks there")
    return Entry(**fields, hash=name)


def _shared(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object whose names are the same strings in all entries: a third of what a long ledger would hold in memory."""
    return {intern(name): value for name, value in pairs}


def _sqlite_begin(connection: sa.Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE" if connection.get_execution_options().get("writes") else "BEGIN")


def _sqlite_pragmas(connection: Any, _record: object) -> None:
    connection.isolation_level = None
    for pragma in ("journal_mode=WAL", "synchronous=FULL"):
        connection.execute(f"PRAGMA {pragma}")
