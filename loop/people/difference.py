"""Differences, complete: between the sources of two plans, and between two trees of settings."""

import difflib
from dataclasses import dataclass
from typing import Any

from sandbox.canonical import canonical
from sandbox.store import Store

Change = tuple[str, str, str]
"""(name, before, after) of a setting; a missing value is an empty text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FileDiff:
    """The whole difference of a single file."""

    file_raw: str
    "its name in the bundle"
    lines_raw: tuple[str, ...]
    "unified diff, line by line, without line ends"
    added: int
    "added lines"
    removed: int
    "removed lines"


def compare_bundles(store: Store, before: str | None, after: str) -> tuple[FileDiff, ...]:
    """Return the difference of each file between two bundles; equal files are left out.

    `before` is None without an earlier bundle.
    """
    old = store.get_bundle(before) if before else {}
    new = store.get_bundle(after)
    names = sorted(old.keys() | new.keys())
    return tuple(
        compare_files(name, old.get(name), new.get(name))
        for name in names
        if old.get(name) != new.get(name)
    )


def compare_files(name: str, before: bytes | None, after: bytes | None) -> FileDiff:
    """Return the difference of a single file; None stands for a missing file."""
    lines = tuple(
        difflib.unified_diff(_lines(before), _lines(after), "before", "after", lineterm="")
    )
    if not lines:
        # An empty file came or went: difflib is silent about it.
        lines = ("--- before", "+++ after" if before is None else "+++ /dev/null")
    return FileDiff(
        file_raw=name,
        lines_raw=lines,
        added=sum(line[:1] == "+" for line in lines[2:]),
        removed=sum(line[:1] == "-" for line in lines[2:]),
    )


def _lines(data: bytes | None) -> list[str]:
    """Return the lines of a file; they end at line feeds alone.

    Bytes other than UTF-8 stay as lone surrogates, to be displayed as code points.
    """
    return [] if data is None else data.decode(errors="surrogateescape").split("\n")


def list_changes(before: Any, after: Any, where: str = "") -> tuple[Change, ...]:
    """Return each differing leaf of two trees, with both values as JSON."""
    if isinstance(before, dict) and isinstance(after, dict):
        changes: list[Change] = []
        for name in sorted(before.keys() | after.keys()):
            path = f"{where}.{name}" if where else name
            changes += list_changes(before.get(name, _MISSING), after.get(name, _MISSING), path)
        return tuple(changes)
    old, new = _as_json(before), _as_json(after)
    return () if old == new else ((where, old, new),)


_MISSING = object()


def _as_json(value: Any) -> str:
    return "" if value is _MISSING else canonical(value).decode()
