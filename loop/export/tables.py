"""Which tables does an export have? Observations (`rows.py`), figures, and tables about tables.

Units stand in the columns' names.
"""

from dataclasses import dataclass
from typing import Any

from loop.export.replicates import ReplicateRow
from loop.export.rows import (
    DecisionRow,
    IncidentRow,
    JobRow,
    LookRow,
    PlanRow,
    StudyRow,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class InstrumentRow:
    """A figure of the instruments (docs/instruments.md), over the runs of a study."""

    group: int
    "runs with the same task and objective, from 1"
    studies_json: str
    "study roots of the group: its repeats"
    instrument: str
    "its name"
    unit: str | None
    "unit of value, low and high"
    value: float | None
    "estimate, in `unit`; empty where none can be given"
    low: float | None
    "lower end of the 95 % interval, in `unit`"
    high: float | None
    "upper end, in `unit`"
    n_count: int | None
    "observations that it rests on"
    reads: str | None
    "what it may be read as: cannot tell, not measured, ...; or a value that is a word"
    sees: float | None
    "beside `cannot tell`: the smallest effect, in `unit`, seen with probability 0.8"


@dataclass(frozen=True, slots=True, kw_only=True)
class RedactionRow:
    """A kind of thing left out, or shown in another form."""

    study: str | None
    "study root; empty: the whole export"
    where: str
    "file, or table and column"
    what: str
    "what is not there"
    left_out_count: int
    "how often"
    why: str
    "reason"


@dataclass(frozen=True, slots=True, kw_only=True)
class DictionaryRow:
    """A line of the data dictionary."""

    table: str
    "file name without its ending"
    column: str
    "column"
    kind: str
    "str, int, float or bool"
    unit: str | None
    "unit of its values"
    may_be_empty: bool
    "whether a cell may be empty"
    meaning: str
    "what it says"


TABLES: dict[str, type[Any]] = {
    "studies": StudyRow,
    "plans": PlanRow,
    "replicates": ReplicateRow,
    "decisions": DecisionRow,
    "jobs": JobRow,
    "looks": LookRow,
    "incidents": IncidentRow,
    "instruments": InstrumentRow,
    "redactions": RedactionRow,
    "dictionary": DictionaryRow,
}
"""File name without its ending -> its row."""
