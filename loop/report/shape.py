"""The records of report.json: sections of sentences and tables, and the ledger entries below them.

The page is drawn from these records alone, so report.json holds all of it
(docs/report.md).
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from loop.report.kinds import TABLES
from loop.text import ROUNDING_ERROR

VERSION = 1
SECTIONS: dict[str, str] = {
    "asked": "What was asked",
    "allowed": "What was allowed",
    "happened": "What happened",
    "believed": "What can be believed",
    "unbelieved": "What cannot be believed",
    "methods": "Methods",
}
"""Section -> its heading."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A question of the first screen."""

    title: str
    "the question"
    section: str
    "section with the whole answer"


QUESTIONS: dict[str, Question] = {
    "improved": Question(title="Did it improve?", section="believed"),
    "kept": Question(title="Was the gain kept?", section="happened"),
    "decided": Question(title="Who decided?", section="allowed"),
    "held": Question(title="Did budgets and gates hold?", section="happened"),
    "not": Question(title="What may not be concluded?", section="unbelieved"),
}
"""Question -> its words; docs/report.md says what answers it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A sentence or paragraph."""

    text: str
    "the sentence"
    ledger: str = ""
    "name in `evidence` of the entries that it rests on; empty: it tells no number"
    warn: bool = False
    "whether it warns"


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Rows of a kind."""

    name: str
    "a name of the table list"
    study: str = ""
    "the study that it is of, where the page tells of several"
    unit: str = ""
    "unit of the columns that are in the objective's unit; empty: there are none"
    columns: tuple[str, ...]
    "names of the columns, with units"
    rows: tuple[tuple[Any, ...], ...]
    "text, numbers or null; null where there is no value, never 0"
    ledger: tuple[str, ...]
    "per row the name in `evidence` of the entries that it rests on"


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A section of the page."""

    name: str
    "asked, allowed, happened, believed, unbelieved or methods"
    lines: tuple[Line, ...]
    "sentences, above the tables"
    tables: tuple[Table, ...]
    "tables and figures"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The answer to a question of the first screen."""

    question: str
    "improved, kept, decided, held or not (what may not be concluded)"
    lines: tuple[Line, ...]
    "sentences, the most important first; of several studies the first of each and warnings"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cited:
    """Ledger entries below a number or a sentence."""

    what: str
    "kind of entries, in words"
    spans: tuple[tuple[int, int, int], ...]
    "(number of the run from 0, first sequence, last sequence)"
    entries: int
    "number of entries; a span that encloses other entries holds more"
    listed: tuple[tuple[int, int, str, str], ...]
    "(run, sequence, kind, start of its hash) of each, where they are few"


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """report.json, whole."""

    version: int = VERSION
    "version of this shape"
    title: str
    "heading"
    studies: tuple[str, ...]
    "names of the studies; runs that differ in seed and name alone are repeats of one study"
    answers: tuple[Answer, ...]
    "the first screen: five questions and their answers"
    sections: tuple[Section, ...]
    "in the page's order"
    evidence: dict[str, Cited]
    "name -> ledger entries"
    instruments: dict[str, Any]
    "study -> output of `heirloop instruments --json` (docs/instruments.md)"


Part = tuple[list[Line], list[Table]]
"""Sentences and tables of one section, of one study."""


def table(
    name: str,
    rows: Iterable[Sequence[Any]],
    ledger: str | Iterable[str],
    study: str = "",
    columns: Sequence[str] = (),
    unit: str = "",
) -> Table:
    """Return a table of the list; NaN and infinity become null, rounding errors 0.

    `ledger`: a name for all rows, or a name per row.
    """
    cells = tuple(tuple(_finite(value) for value in row) for row in rows)
    names = (ledger,) * len(cells) if isinstance(ledger, str) else tuple(ledger)
    heads = tuple(columns) or TABLES[name].columns
    assert len(names) == len(cells) and all(len(row) == len(heads) for row in cells), name
    return Table(name=name, study=study, unit=unit, columns=heads, rows=cells, ledger=names)


def _finite(value: Any) -> Any:
    if not isinstance(value, float):
        return value
    if abs(value) < ROUNDING_ERROR:
        return 0.0
    return value if math.isfinite(value) else None
