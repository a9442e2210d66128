"""How does the page show the rows of a table? Estimate, low and high share a cell.

`csv_text` writes the same table for a spreadsheet.
"""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from loop.report.shape import Table
from loop.text import ROUNDING_ERROR

ROWS = 300
"""Rows of a table on the page; report.json holds all."""
WITHOUT_VERDICT = ("screened", "failed", "waiting")
"""Verdict column of plans that nobody judged; a long table of plans leaves them out."""
SIGNS = ("=", "+", "-", "@")
"""What begins a formula in a spreadsheet."""
LedgerRow = tuple[tuple[Any, ...], str]
"""A row, and the name of the entries that it rests on."""


class Number(str):
    """A figure as text."""

    __slots__ = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """A cell of the page."""

    text: str
    "shown text"
    number: bool = False
    "whether it stands to the right"
    ledger: str = ""
    "entries that a number rests on; empty: none"


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """The rows of a table as the page shows them."""

    heads: tuple[Cell, ...]
    "names of the columns"
    rows: tuple[tuple[Cell, ...], ...]
    "cells"
    sentences: tuple[str, ...]
    "notes below the rows"


def lay_out(table: Table) -> Grid:
    """Return the rows of a table as the page shows them."""
    with_number, sentences = split_bare(table)
    chosen = choose_rows(table, with_number)
    joined = table.columns.index("low") - 1 if "low" in table.columns else None
    rows = tuple(_cells(table, row, ledger, joined) for row, ledger in chosen)
    if len(chosen) < len(with_number):
        more = f"{len(chosen)} of {len(with_number)} rows; the others are in report.json."
        sentences = [more, *sentences]
    return Grid(heads=_heads(table, joined, rows), rows=rows, sentences=tuple(sentences))


def _heads(table: Table, joined: int | None, rows: Sequence[tuple[Cell, ...]]) -> tuple[Cell, ...]:
    names = list(table.columns)
    if joined is not None:
        name = "figure" if names[joined] == "value" else names[joined]
        names[joined : joined + 3] = [f"{name} (interval)"]
    return tuple(
        Cell(text=name, number=any(row[place].number for row in rows))
        for place, name in enumerate(names)
    )


def split_bare(table: Table) -> tuple[list[LedgerRow], list[str]]:
    """Return the rows with a number, and sentences for the rows without."""
    rows = list(zip(table.rows, table.ledger, strict=True))
    if table.columns[-1] != "reads" or "value" not in table.columns:
        return rows, []
    place = table.columns.index("value")
    with_number = [row for row in rows if not _is_bare(row[0], place)]
    bare: dict[tuple[str, str], list[str]] = {}
    for row, _ in rows:
        if _is_bare(row, place):
            bare.setdefault((row[-1], row[place - 1]), []).append(row[0])
    arms = len({row[0] for row in table.rows})
    words: dict[str, list[str]] = {}
    for (word, part), names in bare.items():
        words.setdefault(word, []).append(part + _of_arms(names, arms, place))
    return with_number, [f"{word}: {'; '.join(parts)}" for word, parts in words.items()]


def _is_bare(row: Sequence[Any], place: int) -> bool:
    return row[place] is None and row[place + 1] is None


def _of_arms(names: Sequence[str], arms: int, place: int) -> str:
    if place < 2:
        return ""
    return " (all)" if len(names) == arms else f" ({', '.join(names)})"


def choose_rows(table: Table, rows: Sequence[LedgerRow]) -> Sequence[LedgerRow]:
    """Return at most ROWS rows; of plans first the judged plans."""
    if len(rows) > ROWS and table.name == "plans":
        rows = [row for row in rows if row[0][6] not in WITHOUT_VERDICT]
    return rows[:ROWS]


def _cells(table: Table, row: tuple[Any, ...], ledger: str, joined: int | None) -> tuple[Cell, ...]:
    values: Sequence[Any] = row if joined is None else _join_interval(row, joined)
    if table.name == "oversight":
        values = (row[0], Number(row[1]))
    return tuple(_cell(value, ledger) for value in values)


def _join_interval(row: Sequence[Any], place: int) -> tuple[Any, ...]:
    value, low, high = row[place : place + 3]
    if "constant" in row[place + 3 :]:
        ends = ""
    elif low is not None and high is not None:
        ends = f" ({number(low)} to {number(high)})"
    else:
        ends = f" (at least {number(low)})" if low is not None else ""
    estimate = "" if value is None else number(value)
    figure = Number(f"{estimate}{ends}") if estimate or ends else None
    return (*row[:place], figure, *row[place + 3 :])


def _cell(value: Any, ledger: str) -> Cell:
    if value is None or value == "":
        return Cell(text="")
    if isinstance(value, bool) or not isinstance(value, int | float | Number):
        return Cell(text=str(value))
    text = str(value) if isinstance(value, str) else number(value)
    return Cell(text=text, number=True, ledger=ledger)


def number(value: float) -> str:
    """Return a number as the page writes it: whole numbers whole, others with four digits.

    The rounding error of a sum that cancels, such as -2.8e-17, is 0.
    """
    if abs(value) < ROUNDING_ERROR:
        return "0"
    if isinstance(value, int) or (value == int(value) and abs(value) < 1e15):
        return f"{int(value)}"
    return f"{value:.4g}" if abs(value) < 10_000 else f"{value:.0f}"


def csv_text(table: Table, limit: int) -> str:
    """Return the first rows of a table as CSV, each with its ledger entries.

    A text like a formula begins with a quote.
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([*table.columns, "ledger"])
    for row, ledger in zip(table.rows[:limit], table.ledger, strict=False):
        writer.writerow([_quote(value) for value in (*row, ledger)])
    return out.getvalue()


def _quote(value: Any) -> Any:
    if isinstance(value, str) and value.startswith(SIGNS):
        return "'" + value
    return value
