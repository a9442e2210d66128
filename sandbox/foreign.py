"""Read a file that somebody else may have made: a run's copy, an export, a named file.

Only regular files are read. Their size comes first, so a sparse or growing file costs no memory. A
database holds plain tables and nothing that computes: no view, trigger or generated column.
"""

import errno
import os
import sqlite3
import stat
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy.exc import DatabaseError

from configs.errors import FULL, Stopped, VerificationFailed

MOST_BYTES = 1 << 30
"""Longest file that is read into memory."""
LINES_BYTES = 100_000_000
"""Longest file of signed heads, and longest document of a run."""
ROW_BYTES = 64_000_000
"""Longest value of a database."""
STEPS, MOST_STEPS = 1_000_000, 4_000
"""Steps of SQLite between two looks at its work, and most looks a transaction: about a minute. A
page that names itself again and again has no end.
"""
HELD = "another process holds the run's ledger and does not let go; `heirloop stop RUN` ends it"
"""Sentence for a writer whose turn does not come."""


def read_file(path: Path | str, most: int = MOST_BYTES, *, follow: bool = False) -> bytes:
    """Return the bytes of a regular file of at most `most` bytes.

    Raises OSError with the reason in `strerror`, for a pipe, a device, a folder and a file that is
    too long. A link is refused, unless `follow`: for a path that this user named.
    """
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | (0 if follow else os.O_NOFOLLOW)
    try:
        number = os.open(path, flags)
    except ValueError as error:  # a zero byte in the name
        raise OSError(errno.EINVAL, str(error), str(path)) from None
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise OSError(errno.ELOOP, "it is a link and no file", str(path)) from None
        raise
    with open(number, "rb") as file:
        return _read_regular(file, str(path), most)


def _read_regular(file: Any, path: str, most: int) -> bytes:
    status = os.fstat(file.fileno())
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "it is no regular file", path)
    if status.st_size > most:
        reason = f"it has {status.st_size} bytes, and at most {most} are read"
        raise OSError(errno.EFBIG, reason, path)
    data: bytes = file.read(most + 1)
    if len(data) > most:
        raise OSError(errno.EFBIG, f"it grew beyond {most} bytes", path)
    return data


def need_database(path: Path, tables: Mapping[str, Iterable[str]]) -> None:
    """Raise VerificationFailed for a database that is not these plain tables, with these columns.

    A further plain table is let be. Raises it too for a link, a pipe or the like beside it.
    """
    if not path.is_file():
        raise VerificationFailed(
            f"there is no ledger at {path}; name a run folder that holds {path.name}"
        )
    need_regular_files(path)
    try:
        with closing(sqlite3.connect(path)) as book:
            guard(book)
            _need_tables(book, {name: list(columns) for name, columns in tables.items()})
    except sqlite3.Error as error:
        raise unreadable(error) from None


def has_tables(path: Path) -> bool:
    """Tell whether a database holds any table. One that was killed while it was made has none.

    Raises VerificationFailed for a file that is no database.
    """
    need_regular_files(path)
    try:
        with closing(sqlite3.connect(path)) as book:
            guard(book)
            return bool(book.execute("SELECT count(*) FROM sqlite_master").fetchone()[0])
    except sqlite3.Error as error:
        raise unreadable(error) from None


def need_regular_files(path: Path) -> None:
    """Raise VerificationFailed where a database, or a file beside it, is a pipe, link or the like.

    Opening a pipe would wait for ever.
    """
    for name in files_of(path.name):
        _need_regular(path.with_name(name))


def files_of(name: str) -> list[str]:
    """Return the names of a database and of the files that may lie beside it."""
    return [name, *(f"{name}-{end}" for end in ("wal", "shm", "journal"))]


def guard(book: Any, most: int = 0) -> None:
    """Bound a connection of sqlite3: the length of a value, and the work until the next call."""
    looks = 0

    def look() -> bool:
        nonlocal looks
        looks += 1
        return looks > (most or MOST_STEPS)

    book.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, ROW_BYTES)
    book.set_progress_handler(look, STEPS)


def _need_regular(path: Path) -> None:
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISREG(mode):
        raise VerificationFailed(
            f"{path} is no regular file; restore it from a copy of the run, as a file and no link"
        )


def _need_tables(book: sqlite3.Connection, tables: Mapping[str, list[str]]) -> None:
    rows = book.execute("SELECT type, name, sql FROM sqlite_master").fetchall()
    for kind, name, text in rows:
        computes = str(text).lstrip().upper().startswith("CREATE VIRTUAL")
        plain = kind == "table" or (kind == "index" and text is None)
        if not plain or computes:
            raise VerificationFailed(
                f"the ledger holds the {'virtual table' if computes else kind} {name!r:.80}, and"
                " it should hold plain tables alone; restore it from a copy of the run"
            )
    for name, columns in tables.items():
        _need_columns(book, name, columns)


def _need_columns(book: sqlite3.Connection, name: str, columns: list[str]) -> None:
    rows = book.execute("SELECT name, hidden FROM pragma_table_xinfo(?)", (name,)).fetchall()
    if not rows:
        raise VerificationFailed(
            f"the ledger has no table {name}; restore it from a copy of the run"
        )
    # Hidden: 2 and 3 are columns that SQLite computes.
    if any(hidden for _, hidden in rows) or not set(columns) <= {row[0] for row in rows}:
        raise VerificationFailed(
            f"the table {name} of the ledger has other columns than {', '.join(columns)}; restore"
            " it from a copy of the run"
        )


@contextmanager
def plain_errors() -> Iterator[None]:
    """Turn an error of the database into a sentence: Stopped, or VerificationFailed."""
    try:
        yield
    except (DatabaseError, sqlite3.DatabaseError) as error:
        reason = str(getattr(error, "orig", error))
        if "full" in reason or "disk I/O" in reason:
            raise Stopped(FULL) from None
        if "locked" in reason:
            raise Stopped(HELD) from None
        raise unreadable(reason) from None


def unreadable(reason: object) -> VerificationFailed:
    """Return the error for a ledger that cannot be read."""
    return VerificationFailed(
        f"the ledger cannot be read ({reason}); restore it from a copy of the run"
    )
