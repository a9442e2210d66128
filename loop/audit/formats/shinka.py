"""A database of ShinkaEvolve: SQLite, read under an authoriser, with a deadline."""

import json
import sqlite3
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from loop.audit.formats.base import (
    MOST_TRIALS,
    Found,
    RefusedError,
    choose_metric,
    digest,
    guess_direction,
    make_trial,
    need_some,
    number,
)

USUAL = "combined_score"
COLUMNS = (
    *("id", "parent_id", "generation", "timestamp", "combined_score", "correct", "code"),
    *("public_metrics", "metadata"),
)
ASK = f"SELECT {', '.join(COLUMNS)} FROM programs LIMIT {2 * MOST_TRIALS}"
VALUE_BYTES, STEPS, SECONDS = 8_000_000, 100_000, 5.0
"""Longest value; steps of SQLite between two looks at the clock; most CPU-seconds."""
COPIES = ("_is_island_copy", "_spawned_island")
"""Marks of a program that was copied to another island and not evaluated again."""


def read_database(path: Path, score: str) -> Found:
    """Read the copied database with its log of writes."""
    try:
        rows = _ask(path)
    except sqlite3.Error as error:
        raise RefusedError(f"cannot be read as a database of ShinkaEvolve ({error})") from None
    rows = [row for row in rows if isinstance(row["id"], str)]
    real = [row for row in rows if not any(_object(row["metadata"]).get(m) for m in COPIES)]
    real.sort(key=lambda row: (number(row["generation"]) or 0, number(row["timestamp"]) or 0))
    names = dict.fromkeys([USUAL, *(n for row in real for n in _object(row["public_metrics"]))])
    metric = choose_metric(score, names, USUAL)
    trials = [_trial(row, metric) for row in real]
    need_some(trials)
    copies = len(rows) - len(real)
    notes = [f"{copies} copies on other islands are left out"] if copies else []
    direction = "up" if metric == USUAL else guess_direction(metric)
    return Found("shinka", metric, direction, trials, notes=notes)


def _ask(path: Path) -> list[dict[str, Any]]:
    """Return the rows of the table `programs`; nothing but this is allowed to be read."""
    # With exclusive locking SQLite keeps its index of the log in memory and writes no file.
    book = sqlite3.connect(f"file:{path}?mode=rw", uri=True, isolation_level=None)
    for kind, most in (
        (sqlite3.SQLITE_LIMIT_LENGTH, VALUE_BYTES),
        (sqlite3.SQLITE_LIMIT_ATTACHED, 0),
        (sqlite3.SQLITE_LIMIT_VDBE_OP, 10_000),
    ):
        book.setlimit(kind, most)
    for pragma in ("trusted_schema=OFF", "cell_size_check=ON", "locking_mode=EXCLUSIVE"):
        book.execute(f"PRAGMA {pragma}")
    book.text_factory = lambda data: data.decode("utf-8", "replace")
    book.set_authorizer(_authorise)
    book.set_progress_handler(lambda: time.process_time() > SECONDS, STEPS)
    found: Iterable[tuple[Any, ...]] = book.execute(ASK)
    return [dict(zip(COLUMNS, row, strict=True)) for row in found]


def _authorise(act: int, first: str | None, _: str | None, __: str | None, by: str | None) -> int:
    """Allow a plain read of the table of programs; a view or a trigger (`by`) may not read."""
    reads = act == sqlite3.SQLITE_READ and first == "programs" and by is None
    return sqlite3.SQLITE_OK if reads or act == sqlite3.SQLITE_SELECT else sqlite3.SQLITE_DENY


def _object(text: Any) -> dict[str, Any]:
    try:
        value = json.loads(text) if isinstance(text, str) else {}
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _trial(row: dict[str, Any], metric: str) -> dict[str, Any]:
    metrics, code, parent = _object(row["public_metrics"]), row["code"], row["parent_id"]
    value = row["combined_score"] if metric == USUAL else metrics.get(metric)
    correct = row["correct"] in (1, True)
    return make_trial(
        row["id"],
        number(value) if correct else None,
        None if correct else False,
        parent=parent if isinstance(parent, str) else "",
        content=digest(code) if isinstance(code, str) else "",
        failure="" if correct else "not correct",
        text=str(_object(row["metadata"]).get("patch_name") or ""),
    )
