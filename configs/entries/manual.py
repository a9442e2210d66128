"""The manual of the ledger: every kind of entry, key by key, from the strings under the fields.

`python -m configs.entries` prints it; docs/ledger.md ends with it.
"""

import ast
import dataclasses
import inspect
import types
import typing
from collections.abc import Iterator
from textwrap import dedent
from typing import Any

from configs.entries.kinds import KINDS
from configs.reader import WHOLE, wire_keys

HEADING = "## Kinds of entries"
SCALARS = {str: "text", int: "whole number", float: "number", bool: "true or false"}
SETTINGS = "configs.settings"
"""Package of the records that are explained in their own files, not here."""


def write_manual() -> str:
    """Return the manual as Markdown: the kinds, then the records that stand in their bodies."""
    parts = [HEADING, f"Kinds: `{' '.join(KINDS)}`."]
    for kind, record in KINDS.items():
        parts += [f"### {kind}", *_section(record)]
    parts.append("## Records in the bodies")
    for record in inner_records():
        parts += [f"### {record.__name__} record", *_section(record)]
    return "\n\n".join(parts) + "\n"


def field_texts(record: type) -> dict[str, str]:
    """Return field -> the string under it, on one line."""
    body = ast.parse(dedent(inspect.getsource(record))).body[0]
    assert isinstance(body, ast.ClassDef)
    texts: dict[str, str] = {}
    for statement, below in zip(body.body, body.body[1:], strict=False):
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            text = _string(below)
            if text:
                texts[statement.target.id] = text
    return texts


def inner_records() -> list[type]:
    """Return the records that stand in the bodies of entries, in the order of their first use."""
    waiting, known = [*KINDS.values()], dict[type, None]()
    while waiting:
        for part in _parts(waiting.pop(0)):
            if part not in known and not part.__module__.startswith(SETTINGS):
                known[part] = None
                waiting.append(part)
    return list(known)


def _string(statement: ast.stmt) -> str:
    if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
        return " ".join(str(statement.value.value).split())
    return ""


def _section(record: type) -> Iterator[str]:
    """Yield the sentence of a record and the table of its fields."""
    yield " ".join((record.__doc__ or "").split())
    hints, texts = typing.get_type_hints(record), field_texts(record)
    rows = []
    for name, key in wire_keys(record):
        heading = "the whole body" if key == WHOLE else f"`{key}`"
        cells = (heading, _words(hints[name]), texts[name])
        rows.append(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |")
    yield "\n".join(["| key | type | meaning |", "|---|---|---|", *rows])


def _parts(record: type) -> Iterator[type]:
    """Yield the records in the fields of a record."""
    hints = typing.get_type_hints(record)
    for field in dataclasses.fields(record):
        yield from _records(hints[field.name])


def _records(hint: Any) -> Iterator[type]:
    if dataclasses.is_dataclass(hint):
        yield typing.cast(type, hint)
    for part in typing.get_args(hint):
        yield from _records(part)


def _words(hint: Any) -> str:
    """Return a type in words, such as `list of text`."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if dataclasses.is_dataclass(hint):
        return _link(typing.cast(type, hint))
    if origin is typing.Literal:
        return ", ".join(f"`{value}`" if value != "" else "empty" for value in args)
    if origin in (typing.Union, types.UnionType):
        return f"{_words(next(a for a in args if a is not type(None)))} or null"
    if origin is tuple:
        return f"list of {_words(args[0])}"
    if origin is dict:
        return f"mapping of {_words(args[1])}"
    return SCALARS.get(hint, "any value")


def _link(record: type) -> str:
    if record.__module__.startswith(SETTINGS):
        return f"`{record.__name__}` ({record.__module__.replace('.', '/')}.py)"
    return f"[{record.__name__}](#{record.__name__.lower()}-record)"
