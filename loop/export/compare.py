"""Do the tables of an export follow from its entries? Only the columns in its files are compared.

A version may add a column with empty cells. An export of an earlier version lacks it, and an
export of a later version names an unknown column. Neither unmakes the export: the
shared columns are compared cell by cell, and the notes name the others.
"""

import csv
import io
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from configs.errors import VerificationFailed
from loop.export.columns import columns
from loop.export.dictionary import PACKAGE, TYPES, read_package
from loop.export.manifest import Manifest
from loop.export.tables import TABLES
from loop.export.write import Cells, csv_bytes
from sandbox.foreign import read_file

NEAR = 1e-6
"""Relative difference that a figure of the instruments may have where it is computed again.

Another machine's arithmetic differs in the last bits.
"""
Strings = list[list[str]]
"""Rows of a CSV file, without its head."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CsvTable:
    """A table of an export, as its file has it."""

    name: str
    "name of the table"
    data: bytes
    "the whole file"
    head: list[str]
    "columns that the file names"
    rows: Strings
    "cells"

    @property
    def shared(self) -> list[str]:
        """The columns of both sides, in the file's order."""
        return [name for name in self.head if name in columns(TABLES[self.name])]

    @property
    def unknown(self) -> list[str]:
        """The columns of the file alone."""
        return [name for name in self.head if name not in columns(TABLES[self.name])]

    @property
    def absent(self) -> list[str]:
        """The columns of this version alone."""
        return [name for name in columns(TABLES[self.name]) if name not in self.head]

    def select(self, names: Sequence[str]) -> Strings:
        """Return the rows with these columns alone."""
        if list(names) == self.head:
            return self.rows
        order = [self.head.index(name) for name in names]
        return [[row[i] for i in order] for row in self.rows]


def compare_tables(folder: Path, manifest: Manifest, tables: Mapping[str, Cells]) -> dict[str, Any]:
    """Compare every table of a folder with the tables from the entries; return the notes.

    Tables with other definitions are left out of `tables`. Raises VerificationFailed with the name
    of the file.
    """
    files = {name: read_table(folder, name) for name in TABLES}
    ignored = {
        f"{file.name}, {name}" for file in files.values() for name in (*file.unknown, *file.absent)
    }
    # The redactions count cells of their own table, and so the rows that are ignored.
    ignored |= {f"redactions, {name}" for name in files["redactions"].head if ignored}
    words = _check_dictionary(folder, manifest, files, tables["dictionary"])
    for name, rows in tables.items():
        if name == "redactions" and ignored:
            _compare_redactions(files[name], rows, ignored)
        elif name != "dictionary":
            _compare(files[name], rows)
    return dict(_notes(files, words))


def read_table(folder: Path, name: str) -> CsvTable:
    """Return a table of an export; raises VerificationFailed for a malformed file."""
    data = read_file(folder / f"{name}.csv")
    head, *rows = _parse(data) or [[]]
    whole = len(set(head)) == len(head) and all(len(row) == len(head) for row in rows)
    # Written again it must be the same bytes, so that no other spelling of a cell passes.
    if not whole or csv_bytes(head, rows) != data:
        raise VerificationFailed(f"{name}.csv is not what the entries give: it is no such table")
    for column in columns(TABLES[name]).values():
        if column.name not in head and not column.may_be_empty:
            raise VerificationFailed(
                f"{name}.csv is not what the entries give: the column {column.name} is missing"
            )
    return CsvTable(name=name, data=data, head=head, rows=rows)


def _parse(data: bytes) -> Strings:
    try:
        return list(csv.reader(io.StringIO(data.decode(errors="replace"), newline="")))
    except csv.Error:
        return []


def project(name: str, rows: Cells, names: Sequence[str]) -> Cells:
    """Return rows of this version with these columns alone."""
    head = list(columns(TABLES[name]))
    if list(names) == head:
        return rows
    order = [head.index(column) for column in names]
    return [[row[i] for i in order] for row in rows]


def _compare(file: CsvTable, rows: Cells) -> None:
    again = _parse(csv_bytes(file.shared, project(file.name, rows, file.shared)))[1:]
    _hold(file.name, again, file.select(file.shared))


def _hold(name: str, again: Strings, written: Strings) -> None:
    """Raise VerificationFailed where rows differ; a figure may differ in its last bits."""
    if again == written:
        return
    near = name == "instruments" and len(again) == len(written)
    if not (near and all(map(_alike, again, written))):
        row = _first_difference(again, written)
        raise VerificationFailed(f"{name}.csv is not what the entries give: row {row} differs")


def _first_difference(again: Strings, written: Strings) -> int:
    """Return the number of the first different row; the head is row 0."""
    for number, (a, b) in enumerate(zip(again, written, strict=False), 1):
        if a != b:
            return number
    return min(len(again), len(written)) + 1


def _alike(again: Sequence[str], written: Sequence[str]) -> bool:
    return len(again) == len(written) and all(map(is_near, again, written))


def is_near(a: str, b: str) -> bool:
    """Tell whether two cells are the same, or the same number but for its last bits."""
    try:
        return a == b or math.isclose(float(a), float(b), rel_tol=NEAR, abs_tol=1e-12)
    except ValueError:
        return False


def _compare_redactions(file: CsvTable, rows: Cells, ignored: set[str]) -> None:
    """Compare the redactions but for columns of a single side."""
    again = _parse(csv_bytes(file.shared, project(file.name, rows, file.shared)))[1:]
    where = file.shared.index("where")
    _hold(
        file.name,
        [row for row in again if row[where] not in ignored],
        [row for row in file.select(file.shared) if row[where] not in ignored],
    )


def _check_dictionary(
    folder: Path, manifest: Manifest, files: Mapping[str, CsvTable], rows: Cells
) -> int:
    """Hold dictionary.csv against the columns of the files; return how many meanings differ.

    A reworded meaning rests on the manifest's signature.
    """
    names = ["table", "column", "kind", "unit", "may_be_empty", "meaning"]
    written = files["dictionary"].select(names)
    for name, file in files.items():
        if [row[1] for row in written if row[0] == name] != file.head:
            raise VerificationFailed(
                f"{name}.csv has other columns than dictionary.csv names for it"
            )
    today = {tuple(row[:2]): row for row in _parse(csv_bytes(names, rows))[1:]}
    differ = 0
    for number, row in enumerate(written, 1):
        again = today.get((row[0], row[1]), row)
        if row[0] not in TABLES or again[:-1] != row[:-1]:
            raise VerificationFailed(
                f"dictionary.csv is not what the entries give: row {number} differs"
            )
        differ += again != row
    if PACKAGE in manifest.files:
        _check_package(read_file(folder / PACKAGE), written)
    elif differ and not manifest.signed:
        raise VerificationFailed("dictionary.csv is not signed, and words a meaning otherwise")
    return 0 if manifest.signed else differ


def _check_package(data: bytes, dictionary: Strings) -> None:
    """Raise VerificationFailed where datapackage.json and dictionary.csv say two things."""
    try:
        described = read_package(data)
    except ValueError:
        raise VerificationFailed(f"{PACKAGE} is no data package") from None
    fields = {
        (table, column): (TYPES[kind], empty == "true", meaning)
        for table, column, kind, _, empty, meaning in dictionary
    }
    if described != fields:
        raise VerificationFailed(f"{PACKAGE} and dictionary.csv do not agree")


def _notes(files: Mapping[str, CsvTable], words: int) -> Iterator[tuple[str, str]]:
    """Yield the notes: columns of a single side, and meanings without a signature."""
    unknown = [f"{file.name}.{name}" for file in files.values() for name in file.unknown]
    absent = [f"{file.name}.{name}" for file in files.values() for name in file.absent]
    if unknown:
        yield "not checked", f"columns of a later version: {', '.join(unknown)}"
    if absent:
        yield "columns of a later version left out", ", ".join(absent)
    if words:
        yield "meanings", f"not checked: {words} are worded otherwise today, and nobody signed them"


def compare_instruments(folder: Path, manifest: Manifest, edition: int, rows: Cells) -> str:
    """Describe the proof of an earlier edition's instruments, and count the different rows.

    Rows are of the same figure by group and name; a figure of a later edition is no difference.
    """
    file = read_table(folder, "instruments")
    again = _parse(csv_bytes(file.shared, project("instruments", rows, file.shared)))[1:]
    written = file.select(file.shared)
    places = [file.shared.index(key) for key in ("group", "instrument") if key in file.shared]
    found = {tuple(row[place] for place in places): row for row in again}
    same = sum(_alike(found.get(tuple(r[at] for at in places), ()), r) for r in written)
    differ = len(written) - same
    state = "signed" if manifest.signed else "not checked, for not every study signed them,"
    return (
        f"{state} as edition {manifest.instruments} has them; in edition {edition}"
        f" {differ} of {len(written)} rows differ"
    )


def read_back(folder: Path, manifest: Manifest) -> str:
    """Compare Parquet files with the CSV files beside them; return how many, or why not."""
    files = manifest.parquet
    if not files:
        return "none in the export"
    try:
        from pyarrow import ArrowException, parquet
    except ImportError:
        return "not read: pyarrow is not installed; held against the manifest alone"
    for name in TABLES:
        try:
            same = _same_parquet(folder, name, parquet.read_table(folder / f"{name}.parquet"))
        except (ArrowException, OSError, ValueError):
            same = False
        if not same:
            raise VerificationFailed(f"{name}.parquet is not what the entries give")
    return f"{len(files)} of {len(files)}"


def _same_parquet(folder: Path, name: str, table: Any) -> bool:
    """Tell whether a Parquet table holds the cells of its CSV file, in the types of the columns."""
    values = [column.to_pylist() for column in table.columns]
    kinds = {column.name: column.kind for column in columns(TABLES[name]).values()}
    for column, cells in zip(table.column_names, values, strict=True):
        kind = kinds.get(column, object)
        if not all(value is None or isinstance(value, kind) for value in cells):
            return False
    # Written as CSV it must be the very file, which the entries were held against.
    rows = list(zip(*values, strict=True))
    return csv_bytes(table.column_names, rows) == read_file(folder / f"{name}.csv")
