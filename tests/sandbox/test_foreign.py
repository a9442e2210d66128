"""A file that somebody else made: it can neither block, fill the memory nor compute."""

import os
import sqlite3
import time
import tracemalloc

import pytest

from configs.errors import VerificationFailed
from sandbox import foreign
from sandbox.foreign import read_file
from sandbox.ledger import Ledger
from sandbox.store import Store


def test_only_regular_files_are_read(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "file").write_bytes(b"x")
    (tmp_path / "link").symlink_to("file")
    for name in ("pipe", ".", "link", "none", "/dev/zero", "a\0b"):
        with pytest.raises(OSError):
            read_file(tmp_path / name)
    assert read_file(tmp_path / "file") == read_file(tmp_path / "link", follow=True) == b"x"


def test_the_size_comes_first(tmp_path):
    with (tmp_path / "sparse").open("wb") as file:
        file.truncate(3 * 2**30)
    tracemalloc.start()
    with pytest.raises(OSError, match="3221225472 bytes"):
        read_file(tmp_path / "sparse")
    assert tracemalloc.get_traced_memory()[1] < 2**20
    tracemalloc.stop()
    store = Store(tmp_path / "store")
    place = store._path(name := store.put(b"x"))
    os.truncate(place, 3 * 2**30)
    with pytest.raises(VerificationFailed, match="cannot be read"):
        store.get(name)
    place.unlink()
    os.mkfifo(place)
    with pytest.raises(VerificationFailed, match="no regular file"):
        store.get(name)


@pytest.fixture
def book(tmp_path):
    path = tmp_path / "l.sqlite"
    ledger = Ledger.file(path, create=True)
    ledger.append("study", {})
    ledger.close()
    return path


ENDLESS = (
    "CREATE VIEW entries AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT"
    " i AS sequence, 'x' AS hash, 'y' AS bytes FROM n WHERE i < 0"
)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (f"ALTER TABLE entries RENAME TO other; {ENDLESS}", "the view 'entries'"),
        ("CREATE TRIGGER t AFTER INSERT ON entries BEGIN SELECT 1; END", "the trigger 't'"),
        ("CREATE VIRTUAL TABLE v USING fts5(x)", "virtual table 'v'"),
        ("CREATE INDEX i ON entries (abs(sequence))", "the index 'i'"),
        ("DROP TABLE accounts", "no table accounts"),
        ("DROP TABLE entries", "no table entries"),
        ("ALTER TABLE entries RENAME COLUMN bytes TO data", "other columns"),
        ("ALTER TABLE entries ADD COLUMN more INT AS (1) VIRTUAL", "other columns"),
    ],
)
def test_a_ledger_is_plain_tables_with_the_expected_columns(book, change, said):
    with sqlite3.connect(book) as connection:
        connection.executescript(change)
    with pytest.raises(VerificationFailed, match=said):
        Ledger.file(book)


@pytest.mark.parametrize("end", ["", "-wal", "-journal"])
def test_a_pipe_or_link_in_the_place_of_a_database_is_refused(book, end):
    place = book.with_name(book.name + end)
    place.unlink(missing_ok=True)
    os.mkfifo(place)
    with pytest.raises(VerificationFailed):
        Ledger.file(book)
    place.unlink()
    place.symlink_to("/dev/zero")
    with pytest.raises(VerificationFailed):
        Ledger.file(book)


def test_a_row_of_any_length_is_not_read(book, monkeypatch):
    monkeypatch.setattr(foreign, "ROW_BYTES", 10_000)
    with sqlite3.connect(book) as connection:
        connection.execute("UPDATE entries SET bytes = zeroblob(1000000)")
    with pytest.raises(VerificationFailed, match="too big"):
        Ledger.file(book)


def test_work_without_an_end_is_ended(monkeypatch):
    monkeypatch.setattr(foreign, "MOST_STEPS", 20)
    started = time.monotonic()
    with sqlite3.connect(":memory:") as connection:
        foreign.guard(connection)
        connection.execute(ENDLESS)
        with pytest.raises(sqlite3.OperationalError, match="interrupted"):
            connection.execute("SELECT count(*) FROM entries").fetchone()
    assert time.monotonic() - started < 10
