"""The shape of a table kind: its heading, its columns and how to read it."""

from dataclasses import dataclass

INTERVAL = ("value", "low", "high", "n", "unit", "reads")
"""Columns of a measured figure.

They are the estimate, the ends of its 95 % interval, repeats or events, the unit, and the word that
forbids to read the figure alone.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class TableKind:
    """A table of the report."""

    title: str
    "heading"
    columns: tuple[str, ...]
    "names of the columns, with units; `differs` has one more per study"
    note: str = ""
    "how to read it; shown below it"
    figure: bool = False
    "whether it is drawn; the rows are then the figure's data and are shown as CSV"
