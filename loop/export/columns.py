"""What is a column? A field of a row, or a field of a record inside the row.

For example, a row has the field `judged: Verdict | None`, with the metadata
`spread(rule="rule", level_p="level")`. It gives the columns `rule` and `level_p`; type, emptiness
and meaning come from the fields of `Verdict`.
"""

import ast
import inspect
import re
import types
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from itertools import pairwise
from textwrap import dedent
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from configs.build import plain
from loop.text import visible
from sandbox.canonical import canonical

CLIP = 300
"""Characters of free text that a cell shows; the entries hold it whole, as JSON."""
DIGITS = 6
"""Significant digits that a shortened fraction keeps."""
LONG = re.compile(r"(?<![\w.])\d+\.\d{6,}(?:e-?\d+)?(?![\w.])")
"""A long fraction in JSON."""
FORMULA = ("=", "+", "-", "@", "\t", "\r", "'")
"""What a spreadsheet may read as a formula, and the mark that keeps it from that."""
SPREAD = "spread"
"""Key of a field's metadata."""
COLUMNS: dict[type[Any], dict[str, "Column"]] = {}
"""Row -> its columns, once they were read from the source."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A column of a table."""

    name: str
    "its name"
    kind: type
    "str, int, float or bool"
    may_be_empty: bool
    "whether a cell may be empty"
    meaning: str
    "one clause"
    path: tuple[str, ...]
    "fields that lead from the row to the value"


def spread(**columns: str | tuple[str, str]) -> dict[str, Any]:
    """Return the metadata of a field with a record, for several columns.

    Each column names the record's field, such as `charged.cpu_us`; with a `?` behind it, a cell may
    be empty although the field is not null. A second text replaces the field's meaning.
    """
    return {SPREAD: columns}


def columns(row: type[Any]) -> dict[str, Column]:
    """Return name -> column, in the order of the table."""
    if row not in COLUMNS:
        COLUMNS[row] = {column.name: column for column in _columns(row)}
    return COLUMNS[row]


def _columns(row: type[Any]) -> Iterator[Column]:
    hints, texts = get_type_hints(row), field_texts(row)
    for part in fields(row):
        spec = part.metadata.get(SPREAD, {part.name: ("", texts.get(part.name, ""))})
        for name, source in spec.items():
            path, meaning = (source, "") if isinstance(source, str) else source
            inner, optional = path.removesuffix("?"), path.endswith("?")
            steps = tuple(inner.split(".")) if inner else ()
            hint, empty, text = _follow(hints[part.name], steps)
            yield Column(
                name=name,
                kind=str if name.endswith("_json") else _kind(hint),
                may_be_empty=empty or optional,
                meaning=meaning or text,
                path=(part.name, *steps),
            )


def _follow(hint: Any, steps: Sequence[str]) -> tuple[Any, bool, str]:
    """Return type, emptiness and meaning of the field at the end of a path."""
    text, empty = "", _is_optional(hint)
    for step in steps:
        records = _members(hint)
        having = [record for record in records if step in get_type_hints(record)]
        assert having, f"no record has the field {step}"
        # A field that only some of the records have is empty for the others.
        empty = empty or len(having) < len(records)
        hint, text = get_type_hints(having[0])[step], field_texts(having[0]).get(step, "")
        empty = empty or _is_optional(hint)
    return hint, empty, text


def _members(hint: Any) -> list[Any]:
    """Return the types of a union without null."""
    if get_origin(hint) in (Union, types.UnionType):
        return [member for member in get_args(hint) if member is not type(None)]
    return [hint]


def _is_optional(hint: Any) -> bool:
    return type(None) in get_args(hint)


def _kind(hint: Any) -> type:
    member = _members(hint)[0]
    kind = type(get_args(member)[0]) if get_origin(member) is Literal else member
    assert kind in (str, int, float, bool), hint
    return kind


def field_texts(record: type[Any]) -> dict[str, str]:
    """Return field -> the string under it in the source, its lines joined."""
    texts: dict[str, str] = {}
    for base in reversed(record.__mro__[:-1]):
        body = ast.parse(dedent(inspect.getsource(base))).body[0]
        assert isinstance(body, ast.ClassDef)
        for statement, below in pairwise(body.body):
            if isinstance(statement, ast.AnnAssign) and isinstance(below, ast.Expr):
                assert isinstance(statement.target, ast.Name)
                texts[statement.target.id] = " ".join(ast.literal_eval(below.value).split())
    return texts


def read_row(row: Any) -> dict[str, Any]:
    """Return column -> value, as the row has it."""
    return {name: _read(row, column) for name, column in columns(type(row)).items()}


def _read(row: Any, column: Column) -> Any:
    value = row
    for step in column.path:
        value = getattr(value, step, None)
    if value is not None and column.name.endswith("_json") and not isinstance(value, str):
        return canonical(plain(value)).decode()
    return value


def cells(row: Any) -> list[Any]:
    """Return a row as cells.

    Text is made visible, free text is clipped, and a formula gets a quote in front.
    """
    kinds = columns(type(row))
    return [_cell(value, kinds[name]) for name, value in read_row(row).items()]


def _cell(value: Any, column: Column) -> Any:
    if isinstance(value, str):
        return shown(value, column.name)
    return float(value) if column.kind is float and value is not None else value


def shorten(cell: Any) -> Any:
    """Return a cell with its fractions rounded to DIGITS, those in JSON too; text stays."""
    if isinstance(cell, float):
        return _short(cell)
    if isinstance(cell, str) and cell.startswith(("{", "[")):
        return LONG.sub(lambda found: str(_short(float(found[0]))), cell)
    return cell


def _short(value: float) -> float:
    return float(f"{value:.{DIGITS}g}")


def shown(text: str, column: str) -> str | None:
    """Return a text as a cell shows it; an empty text is an empty cell."""
    if not text:
        return None
    head = text[:CLIP] if column.endswith("_text") else text
    cell = visible(head)
    if len(head) < len(text):
        cell += f"… ({len(text)} characters)"
    return "'" + cell if cell.startswith(FORMULA) else cell
