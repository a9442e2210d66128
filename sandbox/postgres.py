"""A ledger on a PostgreSQL server: the tables, entries and statements of a ledger in a file.

A study has a schema of its own, so many share a database. A transaction that writes locks both
tables and excludes every other writer; a reading is a snapshot. The loop's connection for writing
holds the study's advisory lock: a loop that lost its connection writes nothing more, and another
machine cannot run the study meanwhile. Every error of the server is one sentence.
"""

import re
import threading
import time
import weakref
from collections.abc import Mapping
from contextlib import closing, suppress
from functools import cache
from typing import Any

import sqlalchemy as sa

from configs.errors import BadInput, HeirloopError, Stopped, VerificationFailed
from sandbox.address import Address
from sandbox.database import Database
from sandbox.foreign import ROW_BYTES
from sandbox.ledger import META
from sandbox.postgres_errors import tell_of, told, where

CONNECT = {
    "application_name": "heirloop",
    "client_encoding": "utf8",
    "connect_timeout": 10,
    # The password never leaves in plain: a server that asks for it gets no answer.
    "require_auth": "scram-sha-256,none",
    # A server that is cut off is given up after about a minute.
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 60_000,
}
"""Settings of libpq for every connection."""
SNAPSHOT = "BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY"
LAST = "SELECT max(sequence) FROM entries"
OID = "SELECT 'entries'::regclass::oid::bigint"
CLAIM = f"SELECT pg_try_advisory_lock(({OID}) + (1::bigint << 40))"
"""Take the lock of the study's loop, which lasts as long as the connection."""
CLAIM_SECONDS = 3.0
"""How long a loop waits for the lock: the server may not have noticed yet that a killed loop is
gone.
"""
IDLE_SECONDS = 120
"""After so long without a word inside a writing transaction, the server undoes it."""
TABLES = """
SELECT c.relname, a.attname, format_type(a.atttypid, a.atttypmod),
  c.relkind = 'r' AND c.relpersistence = 'p' AND NOT c.relhasrules AND NOT c.relrowsecurity
  AND NOT c.relhassubclass AND a.attgenerated = ''
  AND NOT EXISTS (SELECT FROM pg_trigger t WHERE t.tgrelid = c.oid)
  AND NOT EXISTS (SELECT FROM pg_constraint k WHERE k.conrelid = c.oid AND k.contype = 'c')
  AND NOT EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid AND NOT i.indisprimary)
FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
WHERE c.relnamespace = to_regnamespace(%(schema)s) AND c.relname IN ('entries', 'accounts')
"""
"""Columns of the two tables with their types, and whether the table is plain."""
COLUMNS = {
    "entries": {"sequence": "bigint", "hash": "character varying(64)", "bytes": "bytea"},
    "accounts": {
        "name": "character varying(100)",
        "resource": "character varying(20)",
        "limit": "bigint",
        "reserved": "bigint",
        "spent": "bigint",
    },
}
LONG = "SELECT sequence FROM entries WHERE octet_length(bytes) > %(most)s LIMIT 1"


class Server(Database):
    """A study's tables on a server. The `loop` alone may run the study."""

    def __init__(
        self, address: Address, *, timeout: float = 60, durable: bool = True, loop: bool = False
    ) -> None:
        self.address, self.turn, self._loop = address, timeout, loop
        self._asking = threading.Lock()
        self._drivers = list[Any]()
        super().__init__(address.url, timeout, durable)
        # Connections that nobody closed are closed with this object.
        weakref.finalize(self, _close_all, self._drivers)

    def _make_engine(self, url: str, timeout: float, durable: bool) -> sa.Engine:
        write = (
            f"BEGIN; SET LOCAL lock_timeout = {max(1, int(timeout * 1000))};"
            f" SET LOCAL idle_in_transaction_session_timeout = '{IDLE_SECONDS}s';"
            " LOCK TABLE entries, accounts IN EXCLUSIVE MODE"
        )
        first = (
            f"SET search_path TO {_quote(self.address.schema)}, pg_temp;"
            f" SET statement_timeout = '{int(timeout) + 60}s';"
            " SET tcp_keepalives_idle = 30; SET tcp_keepalives_interval = 10;"
            f" SET synchronous_commit = {'on' if durable else 'off'}"
        )
        engine = make_engine(url)
        drivers = self._drivers

        def open_driver(driver: Any, _record: object) -> None:
            drivers.append(driver)
            driver.autocommit = True
            driver.execute(first)

        def begin(connection: sa.Connection) -> None:
            writes = connection.get_execution_options().get("writes")
            with told(url, connection):
                _driver(connection).execute(write if writes else SNAPSHOT)

        sa.event.listen(engine, "connect", open_driver)
        sa.event.listen(engine, "begin", begin)
        sa.event.listen(engine, "handle_error", tell_of(url))
        return engine

    def execute(self, connection: sa.Connection, statement: str, values: Mapping[str, Any]) -> int:
        """Run a statement that changes rows; return how many it changed."""
        return connection.exec_driver_sql(_words(statement), dict(values)).rowcount

    def has_news(self, last: int) -> bool:
        """Tell whether there may be committed entries after the last entry in memory."""
        with suppress(HeirloopError):  # the reading that follows says what is wrong
            return bool(self._ask(LAST) != last)
        return True

    def identity(self) -> object:
        """Return what is another where another table takes the place of this one.

        Raises VerificationFailed where there is none, and Stopped without the server.
        """
        return self._ask(OID)

    def _ask(self, query: str) -> Any:
        """Return the answer to a query of one value, outside every transaction."""
        with self._asking, told(self.address.url, None):
            try:
                if self._watch is None:
                    fairy = self.engine.raw_connection()
                    self._watch = fairy.driver_connection
                    fairy.detach()
                return self._watch.execute(query).fetchone()[0]
            except BaseException:
                watch, self._watch = self._watch, None
                if watch:
                    watch.close()
                raise

    def _connect(self) -> sa.Connection:
        connection = super()._connect()
        if self._loop:
            try:
                self._claim(connection)
            except BaseException:
                connection.invalidate()
                connection.close()
                raise
        return connection

    def _claim(self, connection: sa.Connection) -> None:
        """Take the lock of the study's loop; raise Stopped if another loop has it."""
        end = time.monotonic() + CLAIM_SECONDS
        with told(self.address.url, connection):
            while not _driver(connection).execute(CLAIM).fetchone()[0]:
                if time.monotonic() > end:
                    raise Stopped(
                        f"the study of {self.address.schema} on {where(self.address.url)} is being"
                        " run by another process, here or on another machine; wait for it or stop"
                        " it"
                    )
                time.sleep(0.05)

    def drop_writer(self) -> None:
        """Close the connection for writing, and with it let go of the lock of the study's loop."""
        writer, self._writer = self._writer, None
        if writer:
            writer.invalidate()
            writer.close()

    def claim(self) -> None:
        """Take the lock of the study's loop now, on the connection that will write."""
        with self.write():
            pass

    def need_tables(self) -> None:
        """Raise VerificationFailed unless the schema holds the two plain tables and no long row."""
        with self.engine.connect() as connection:
            rows = connection.exec_driver_sql(TABLES, {"schema": _quote(self.address.schema)}).all()
            found: dict[str, dict[str, str]] = {name: {} for name in COLUMNS}
            for table, column, kind, plain in rows:
                found[table][column] = kind if plain else "computed"
            for name, columns in COLUMNS.items():
                self._need_columns(name, columns, found[name])
            long = connection.exec_driver_sql(LONG, {"most": ROW_BYTES}).scalar()
        if long is not None:
            raise VerificationFailed(f"entry {long} of the ledger is longer than any entry")

    def _need_columns(self, name: str, right: dict[str, str], found: dict[str, str]) -> None:
        place = f"schema {self.address.schema} on {where(self.address.url)}"
        if not found:
            raise VerificationFailed(
                f"there is no ledger in {place}: it has no table {name}; restore it from a backup"
                " of the database"
            )
        if "computed" in found.values() or found != right:
            raise VerificationFailed(
                f"the table {name} in {place} is not the plain table of a ledger, with columns"
                f" {', '.join(right)}; restore it from a backup of the database"
            )


def open_server(address: Address, timeout: float, durable: bool, loop: bool) -> Server:
    """Open a ledger's database, its tables checked, and its lock held for a `loop`."""
    server = Server(address, timeout=timeout, durable=durable, loop=loop)
    server.need_tables()
    if durable and server._ask("SHOW fsync") != "on":
        raise BadInput(
            f"the server {where(address.url)} runs with fsync off, and a loss of power would lose"
            " entries; set fsync=on there"
        )
    if loop:
        server.claim()
    return server


def create(address: Address) -> None:
    """Make a new study's schema and tables, all or nothing.

    Raises BadInput where the schema holds a study already.
    """
    engine = make_engine(address.url)
    sa.event.listen(engine, "handle_error", tell_of(address.url))
    schema = _quote(address.schema)
    try:
        with engine.begin() as connection:
            connection.exec_driver_sql(f"CREATE SCHEMA IF NOT EXISTS {schema}")
            connection.exec_driver_sql(f"SET LOCAL search_path TO {schema}")
            META.create_all(connection)
            if connection.exec_driver_sql(LAST).scalar():
                raise BadInput(
                    f"the database {where(address.url)} holds a study in schema"
                    f" {address.schema} already, and its run's folder is not here; put the folder"
                    " back, or choose another study.name"
                )
    finally:
        engine.dispose()


def read_root(address: Address) -> str:
    """Return the hash of the first entry, in a second and without a check; empty: unknown."""
    server = Server(address, timeout=1)
    with closing(server):
        return str(server._ask("SELECT hash FROM entries WHERE sequence = 1"))


def make_engine(url: str) -> sa.Engine:
    """Return an engine for a URL; raises BadInput without the driver."""
    try:
        return sa.create_engine(
            sa.make_url(url).set(drivername="postgresql+psycopg"),
            connect_args=CONNECT,
            use_native_hstore=False,
            pool_reset_on_return=None,  # every transaction is ended where it began
        )
    except ImportError:
        raise BadInput(
            "a ledger on PostgreSQL needs psycopg; install it with `pip install 'psycopg[binary]'`"
        ) from None


def _driver(connection: sa.Connection) -> Any:
    return connection.connection.dbapi_connection


@cache
def _words(statement: str) -> str:
    """Return a statement of SQLite's driver in psycopg's words: :name is %(name)s."""
    return re.sub(r":(\w+)", r"%(\1)s", statement)


def _quote(name: str) -> str:
    """Return a name as an identifier of SQL; a schema's name has no quote in it."""
    return f'"{name}"'


def _close_all(drivers: list[Any]) -> None:
    for driver in drivers:
        driver.close()
