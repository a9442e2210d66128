"""The ledger: an append-only, hash-chained, signed record in SQLite (WAL, synchronous FULL).

Each row holds the exact canonical bytes under the hash, so nothing stands outside the hash.
Balances, grants and other derived rows change in the same transaction as their entries. Signed
checkpoints go to a second file, and a third outside the run, to reveal a cut tail. A ledger that
does not verify is not opened.
"""

import threading
import time
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from operator import attrgetter
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from configs.entries import Entry, Fact, flatten, unflatten
from configs.errors import VerificationFailed
from sandbox.canonical import canonical, digest, read_back
from sandbox.chain import GENESIS, chained
from sandbox.database import Database
from sandbox.foreign import need_database, plain_errors

EARLIEST = datetime.min.replace(tzinfo=UTC)
EPOCH = "1970-01-01T00:00:00.000+00:00"
"""Time of an entry that hangs on no clock."""
META = sa.MetaData()
ENTRIES = sa.Table(
    "entries",
    META,
    sa.Column("sequence", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("hash", sa.String(64), nullable=False),
    sa.Column("bytes", sa.LargeBinary, nullable=False),
)
READ = sa.text(
    "SELECT sequence, hash, bytes FROM entries WHERE sequence BETWEEN :first AND :last ORDER BY"
    " sequence"
)
ADD = "INSERT INTO entries (sequence, hash, bytes) VALUES (:sequence, :hash, :bytes)"
FILE = "ledger.sqlite"
"""Name of a run's ledger in the run's folder."""
KEPT = 1024
"""Entries that a ledger holds in memory while a study runs on.

Older entries are read again, and checked again, on demand.
"""


class Transaction:
    """Facts and derived rows, written together or not at all. Its facts are a single entry."""

    def __init__(self, connection: sa.Connection, ledger: "Ledger") -> None:
        self.connection, self._ledger = connection, ledger
        self._last = ledger.head(connection)
        self.sequence = self._last.sequence + 1 if self._last else 1
        "number of the entry that this transaction writes"
        self.own: list[Entry] = []
        "its facts up to now; their hash comes with the end"
        before = datetime.fromisoformat(self._last.time) if self._last else EARLIEST
        # As far ahead as people acknowledged, and never before the last entry: a clock set back
        # changes no order and reopens nothing.
        self._time = max(datetime.now(UTC) + ledger.ahead, before).isoformat(
            timespec="milliseconds"
        )
        self._monotonic_us, self._raw = time.monotonic_ns() // 1000, set[int]()

    def entries(self) -> list[Entry]:
        """Return all facts up to now, this transaction's own included.

        Nobody else can add an entry meanwhile.
        """
        return self._ledger.entries_by(self.connection, self.sequence - 1) + self.own

    def since(self, sequence: int) -> list[Entry]:
        """Return the facts after an entry, without this transaction's own; only they cost time."""
        return self._ledger.since(sequence, self.connection, self.sequence - 1)

    def execute(self, statement: str, values: Mapping[str, Any]) -> int:
        """Run a statement that changes rows; return how many it changed."""
        return self._ledger.database.execute(self.connection, statement, values)

    def now(self) -> datetime:
        """Return the time of this transaction and of its entry."""
        return datetime.fromisoformat(self._time)

    def append(
        self, fact: Fact | str, body: dict[str, Any] | None = None, timeless: bool = False
    ) -> Entry:
        """Add a fact. A kind and a body, in place of a record, are not held against the kinds.

        A `timeless` fact takes its whole entry off the clock: the root of a simulated study.
        """
        if timeless:
            self._time, self._monotonic_us = EPOCH, 0
        if isinstance(fact, str):
            self._raw.add(len(self.own))
        kind = fact if isinstance(fact, str) else fact.kind
        entry = Entry(
            sequence=self.sequence,
            previous=self._last.hash if self._last else GENESIS,
            kind=kind,
            time=self._time,
            monotonic_us=self._monotonic_us,
            body=read_back((body or {}) if isinstance(fact, str) else fact),
            hash="",
            number=len(self.own),
        )
        self.own.append(entry)
        return entry

    def extend(self, facts: Iterable[Fact]) -> None:
        """Add facts."""
        for fact in facts:
            self.append(fact)

    def flush(self) -> None:
        """Write the facts as an entry; the transaction's end calls it.

        Raises BadEntry, with nothing written, for a record that could not be read back.
        """
        if not self.own:
            return
        fields = unflatten(self.own)
        data = canonical(fields)
        self.own = flatten(fields, name := digest(data))
        for entry in self.own:
            if entry.number not in self._raw:
                entry.fact
        self.execute(ADD, {"sequence": self.sequence, "hash": name, "bytes": data})


class Ledger:
    """A study's record. Opening checks the whole chain."""

    def __init__(self, database: Database, *, create: bool = False) -> None:
        self.database = database
        self._recent: list[Entry] = []
        self._last: Entry | None = None
        self._root = ""
        self.ahead = timedelta()
        self._lock = threading.Lock()
        self.before: Callable[[], object] = lambda: None
        self.after: Callable[[], object] = lambda: None
        with plain_errors():
            if create:
                META.create_all(self.database.engine)
        self.entries()

    @classmethod
    def file(
        cls, path: Path, *, create: bool = False, timeout: float = 60, durable: bool = True
    ) -> "Ledger":
        """Open the ledger of a run; a missing ledger is refused unless it may be created.

        A writer waits `timeout` seconds for its turn. Without `durable`, entries outlive the
        process, killed at any instant, but not a loss of power: for studies that spend nothing.
        """
        if not create:
            need_database(path, {name: table.c.keys() for name, table in META.tables.items()})
        return cls(Database(f"sqlite:///{path}", timeout, durable), create=create)

    @classmethod
    def at(cls, folder: Path) -> "Ledger":
        """Open the ledger in a run's folder."""
        return cls.file(folder / FILE)

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """Yield a write transaction that excludes every other writer.

        Raises Stopped, with nothing written, on a full disk. `before` may refuse to write; `after`
        follows what was written.
        """
        self.before()
        with plain_errors(), self.database.write() as connection:
            with connection.begin():
                yield (txn := Transaction(connection, self))
                txn.flush()
            with self._lock:  # what it wrote is committed: nobody else has to read it
                last = self._last.sequence if self._last else 0
                if txn.own and txn.own[0].sequence == last + 1:
                    self._add(txn.own)
        if txn.own:
            self.after()

    def append(self, fact: Fact | str, body: dict[str, Any] | None = None) -> Entry:
        """Append a fact in a transaction of its own."""
        with self.transaction() as txn:
            txn.append(fact, body)
        return txn.own[0]

    def entries(self) -> list[Entry]:
        """Return all entries; read and check only the entries since the last call."""
        with plain_errors(), self.database.engine.connect() as connection:
            return self.entries_by(connection)

    def entries_by(self, connection: sa.Connection, upto: int = 2**53) -> list[Entry]:
        """Return the committed entries to sequence `upto`, read with this connection."""
        return self.since(0, connection, upto)

    def head(self, connection: sa.Connection | None = None) -> Entry | None:
        """Return the last committed entry; only new entries cost time."""
        self.since(2**53, connection)
        return self._last

    def since(
        self, sequence: int, connection: sa.Connection | None = None, upto: int = 2**53
    ) -> list[Entry]:
        """Return the committed entries after `sequence`; only they cost time."""
        with self._lock:
            # Within a transaction nobody else adds an entry, so that nobody is asked again.
            last = self._last.sequence if self._last else 0
            in_memory = self._recent and sequence + 1 >= self._recent[0].sequence
            if in_memory and (last == upto or not self.database.has_news(last)):
                return self._after(sequence)
            if connection is not None:
                return self._read_after(sequence, connection, upto)
            with plain_errors(), self.database.engine.connect() as own:
                return self._read_after(sequence, own, upto)

    def _read_after(self, sequence: int, connection: sa.Connection, upto: int) -> list[Entry]:
        first = self._last.sequence + 1 if self._last else 1
        self._add(chained(connection.execute(READ, {"first": first, "last": upto}), self._last))
        self._reach(sequence, connection)
        return self._after(sequence)

    def _after(self, sequence: int) -> list[Entry]:
        entries = self._recent[bisect_right(self._recent, sequence, key=attrgetter("sequence")) :]
        if sequence and len(self._recent) > 2 * KEPT:
            self._recent = self._recent[-KEPT - self._recent[-KEPT].number :]
        return entries

    def _reach(self, sequence: int, connection: sa.Connection) -> None:
        """Bring back the entries after `sequence`, no longer in memory.

        They must lead to the entries in memory.
        """
        first = self._recent[0].sequence if self._recent else 0
        if sequence + 1 < first:
            back = chained(connection.execute(READ, {"first": 1, "last": first - 1}), None)
            if not back or back[-1].hash != self._recent[0].previous:
                raise VerificationFailed(
                    f"entry {first - 1} is not the one that was read before: the chain breaks there"
                )
            self._recent = back + self._recent

    def _add(self, entries: list[Entry]) -> None:
        self._root = self._root or (entries[0].hash if entries else "")
        self._recent += entries
        self._last = entries[-1] if entries else self._last

    def last(self) -> datetime:
        """Return the time of the last entry read."""
        assert self._last
        return datetime.fromisoformat(self._last.time)

    def root(self) -> str:
        """Return the hash of the first entry, the study root."""
        return self._root

    def read(self, query: Callable[[sa.Connection], Any]) -> Any:
        """Run a read on a connection."""
        with plain_errors(), self.database.engine.connect() as connection:
            return query(connection)

    def close(self) -> None:
        """Release the file."""
        self.database.close()
