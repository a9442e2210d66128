"""The ledger: an append-only, hash-chained, signed record in SQLite (WAL, synchronous FULL).

Each row holds the exact canonical bytes under the hash, so nothing stands outside the hash.
Balances, grants and other derived rows change in the same transaction as their entries. Signed
checkpoints go to a second file, and a third outside the run, to reveal a cut tail. A ledger that
does not verify is not opened.
"""

import json
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from configs.entries import Entry, Fact
from configs.errors import VerificationFailed
from sandbox.canonical import canonical, digest
from sandbox.chain import GENESIS, chained, plain_errors
from sandbox.foreign import guard, need_database

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
ADD = sa.text("INSERT INTO entries (sequence, hash, bytes) VALUES (:sequence, :hash, :bytes)")
FILE = "ledger.sqlite"
"""Name of a run's ledger in the run's folder."""
KEPT = 1024
"""Entries that a ledger holds in memory while a study runs on.

Older entries are read again, and checked again, on demand.
"""


class Transaction:
    """Entries and derived rows, written together or not at all."""

    def __init__(self, connection: sa.Connection, ledger: "Ledger") -> None:
        self.connection, self._ledger = connection, ledger
        self.own, self._rows = list[Entry](), list[dict[str, Any]]()
        last = ledger.head(connection)
        self._before = self._sequence = last.sequence if last else 0
        self._head: str = last.hash if last else GENESIS
        self._time = datetime.fromisoformat(last.time) if last else datetime.min.replace(tzinfo=UTC)

    def entries(self) -> list[Entry]:
        """Return all entries up to now, this transaction's own included.

        Nobody else can add an entry meanwhile.
        """
        return self._ledger.entries_by(self.connection, self._before) + self.own

    def since(self, sequence: int) -> list[Entry]:
        """Return the entries after `sequence` but this transaction's own; only they cost time."""
        return self._ledger.since(sequence, self.connection, self._before)

    def now(self) -> datetime:
        """Return the wall clock, as far ahead as people acknowledged, never before the last entry.

        So a clock set back changes no order and reopens nothing.
        """
        return max(datetime.now(UTC) + self._ledger.ahead, self._time)

    def append(
        self, fact: Fact | str, body: dict[str, Any] | None = None, timeless: bool = False
    ) -> Entry:
        """Append the entry of a fact.

        Raises BadEntry, with nothing written, for a record that could not be read back. A
        `timeless` entry hangs on no clock: the root of a simulated study. A kind and a body go to
        `append_raw`.
        """
        if isinstance(fact, str):
            return self.append_raw(fact, body or {}, timeless)
        entry = self.append_raw(fact.kind, fact, timeless)
        entry.fact
        return entry

    def append_raw(self, kind: str, body: object, timeless: bool = False) -> Entry:
        """Append an entry without a record: any kind, any body of canonical JSON material."""
        fields: dict[str, Any] = {
            "sequence": self._sequence + 1,
            "previous": self._head,
            "kind": kind,
            "time": self.now().isoformat(timespec="milliseconds"),
            "monotonic_us": time.monotonic_ns() // 1000,
            "body": body,
        }
        fields |= {"time": EPOCH, "monotonic_us": 0} if timeless else {}
        data = canonical(fields)
        self._sequence, self._head = self._sequence + 1, digest(data)
        self._rows.append({"sequence": self._sequence, "hash": self._head, "bytes": data})
        self.own.append(entry := Entry(**json.loads(data), hash=self._head))
        return entry

    def flush(self) -> None:
        """Write the appended entries; the transaction's end calls it."""
        if self._rows:
            self.connection.execute(ADD, self._rows)
            self._rows = []


class Ledger:
    """A study's record. Opening checks the whole chain."""

    def __init__(
        self, url: str, *, create: bool, timeout: float = 60, durable: bool = True
    ) -> None:
        self._engine = sa.create_engine(
            url, connect_args={"timeout": timeout} if url.startswith("sqlite") else {}
        )
        if url.startswith("sqlite"):
            sa.event.listen(self._engine, "connect", _sqlite_pragmas if durable else _sqlite_swift)
            sa.event.listen(self._engine, "begin", _sqlite_begin)
        self._recent: list[Entry] = []
        self._last: Entry | None = None
        self._root = ""
        self.ahead = timedelta()
        self._lock = threading.Lock()
        self._watch: sqlite3.Connection | None = None
        self.before: Callable[[], object] = lambda: None
        self.after: Callable[[], object] = lambda: None
        with plain_errors():
            if create:
                META.create_all(self._engine)
        self.entries()
        if url.startswith("sqlite"):
            self._watch = sqlite3.connect(str(self._engine.url.database), check_same_thread=False)

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
        return cls(f"sqlite:///{path}", create=create, timeout=timeout, durable=durable)

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
        engine = self._engine
        with plain_errors(), engine.connect().execution_options(writes=True) as connection:
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
        """Append an entry in a transaction of its own."""
        with self.transaction() as txn:
            return txn.append(fact, body)

    def append_raw(self, kind: str, body: object) -> Entry:
        """Append an entry without a record, in a transaction of its own."""
        with self.transaction() as txn:
            return txn.append_raw(kind, body)

    def entries(self) -> list[Entry]:
        """Return all entries; read and check only the entries since the last call."""
        with plain_errors(), self._engine.connect() as connection:
            return self.entries_by(connection)

    def entries_by(self, connection: sa.Connection, upto: int = 2**53) -> list[Entry]:
        """Return the committed entries to sequence `upto`, read with this connection."""
        with self._lock:
            self._read_new(connection, upto)
            self._reach(0, connection)
            return list(self._recent)

    def head(self, connection: sa.Connection | None = None) -> Entry | None:
        """Return the last committed entry; only new entries cost time."""
        self.since(2**53, connection)
        return self._last

    def since(
        self, sequence: int, connection: sa.Connection | None = None, upto: int = 2**53
    ) -> list[Entry]:
        """Return the committed entries after `sequence`; only they cost time."""
        with self._lock:
            if not self._news() and self._recent and sequence + 1 >= self._recent[0].sequence:
                return self._after(sequence)
            if connection is not None:
                return self._read_after(sequence, connection, upto)
            with plain_errors(), self._engine.connect() as own:
                return self._read_after(sequence, own, upto)

    def _news(self) -> bool:
        """Tell whether there may be committed entries outside memory."""
        if self._watch is None or self._last is None:
            return True
        with suppress(sqlite3.Error):  # the reading that follows says what is wrong
            return bool(
                self._watch.execute("SELECT max(sequence) FROM entries").fetchone()[0]
                != self._last.sequence
            )
        return True

    def _read_after(self, sequence: int, connection: sa.Connection, upto: int) -> list[Entry]:
        self._read_new(connection, upto)
        self._reach(sequence, connection)
        return self._after(sequence)

    def _after(self, sequence: int) -> list[Entry]:
        first = self._recent[0].sequence if self._recent else 0
        entries = self._recent[max(0, sequence + 1 - first) :]
        if len(self._recent) > 2 * KEPT:
            del self._recent[:-KEPT]
        return entries

    def _read_new(self, connection: sa.Connection, upto: int) -> None:
        first = self._last.sequence + 1 if self._last else 1
        self._add(chained(self._rows(connection, first, upto), self._last))

    def _reach(self, sequence: int, connection: sa.Connection) -> None:
        """Bring back the entries after `sequence`, no longer in memory.

        They must lead to the entries in memory.
        """
        first = self._recent[0].sequence if self._recent else 0
        if sequence + 1 < first:
            back = chained(self._rows(connection, 1, first - 1), None)
            if not back or back[-1].hash != self._recent[0].previous:
                raise VerificationFailed(
                    f"entry {first - 1} is not the one that was read before: the chain breaks there"
                )
            self._recent = back + self._recent

    def _add(self, entries: list[Entry]) -> None:
        self._root = self._root or (entries[0].hash if entries else "")
        self._recent += entries
        self._last = entries[-1] if entries else self._last

    def _rows(self, connection: sa.Connection, first: int, last: int) -> Iterable[Any]:
        return connection.execute(READ, {"first": first, "last": last})

    def last(self) -> datetime:
        """Return the time of the last entry read."""
        assert self._last
        return datetime.fromisoformat(self._last.time)

    def root(self) -> str:
        """Return the hash of the first entry, the study root."""
        return self._root

    def read(self, query: Callable[[sa.Connection], Any]) -> Any:
        """Run a read on a connection."""
        with plain_errors(), self._engine.connect() as connection:
            return query(connection)

    def close(self) -> None:
        """Release the file."""
        self._engine.dispose()
        if self._watch:
            self._watch.close()


def _sqlite_begin(connection: sa.Connection) -> None:
    guard(connection.connection.dbapi_connection)
    connection.exec_driver_sql(
        "BEGIN IMMEDIATE" if connection.get_execution_options().get("writes") else "BEGIN"
    )


def _sqlite_pragmas(connection: Any, _record: object) -> None:
    connection.isolation_level = None
    for pragma in ("journal_mode=WAL", "synchronous=FULL"):
        connection.execute(f"PRAGMA {pragma}")


def _sqlite_swift(connection: Any, record: object) -> None:
    _sqlite_pragmas(connection, record)
    connection.execute("PRAGMA synchronous=OFF")
