"""Connections to a ledger's database: for reading, for writing, and for a look at what is new.

SQLite runs in WAL mode, synchronous FULL where a loss of power must lose nothing. A ledger on a
server has sandbox/postgres.py in its place.
"""

import os
import sqlite3
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

import sqlalchemy as sa

from sandbox.foreign import guard


class Database:
    """A database, with a connection that stays open for writing."""

    turn = 0.0
    "seconds that a thread waits for the connection for writing, before it takes another"

    def __init__(self, url: str, timeout: float, durable: bool) -> None:
        self.engine = self._make_engine(url, timeout, durable)
        self._watch: Any = None
        self._writer: sa.Connection | None = None
        self._writing = threading.Lock()

    def _make_engine(self, url: str, timeout: float, durable: bool) -> sa.Engine:
        engine = sa.create_engine(url, connect_args={"timeout": timeout})
        sa.event.listen(engine, "connect", _set_pragmas if durable else _set_swift)
        sa.event.listen(engine, "begin", _begin)
        return engine

    def execute(self, connection: sa.Connection, statement: str, values: Mapping[str, Any]) -> int:
        """Run a statement that changes rows, in the driver's own words; return how many it changed.

        The few statements of every job go past SQLAlchemy, at a third of the cost.
        """
        driver: Any = connection.connection.dbapi_connection
        return int(driver.execute(statement, values).rowcount)

    def has_news(self, last: int) -> bool:
        """Tell whether there may be committed entries after the last entry in memory."""
        with suppress(sqlite3.Error):  # the reading that follows says what is wrong
            file = str(self.engine.url.database)
            self._watch = self._watch or sqlite3.connect(file, check_same_thread=False)
            row = self._watch.execute("SELECT max(sequence) FROM entries").fetchone()
            return bool(row[0] != last)
        return True

    def identity(self) -> object:
        """Return what is another where another database takes the place of this one."""
        status = os.stat(str(self.engine.url.database))
        return status.st_dev, status.st_ino

    @contextmanager
    def write(self) -> Iterator[sa.Connection]:
        """Yield the connection for writing, or another where a thread has it already."""
        if not self._writing.acquire(timeout=self.turn):
            with self._connect() as connection:
                yield connection
            return
        try:
            self._writer = self._writer or self._connect()
            yield self._writer
        except BaseException:
            self.drop_writer()
            raise
        finally:
            self._writing.release()

    def _connect(self) -> sa.Connection:
        return self.engine.connect().execution_options(writes=True)

    def drop_writer(self) -> None:
        """Close the connection for writing; the next write opens another."""
        writer, self._writer = self._writer, None
        if writer:
            writer.close()

    def close(self) -> None:
        """Release the file."""
        self.drop_writer()
        self.engine.dispose()
        if self._watch:
            self._watch.close()


def _begin(connection: sa.Connection) -> None:
    driver: Any = connection.connection.dbapi_connection
    guard(driver)
    driver.execute(
        "BEGIN IMMEDIATE" if connection.get_execution_options().get("writes") else "BEGIN"
    )


def _set_pragmas(connection: Any, _record: object) -> None:
    connection.isolation_level = None
    for pragma in ("journal_mode=WAL", "synchronous=FULL"):
        connection.execute(f"PRAGMA {pragma}")


def _set_swift(connection: Any, record: object) -> None:
    _set_pragmas(connection, record)
    connection.execute("PRAGMA synchronous=OFF")
