"""The registered claims on the page: shown and equivalent can be believed, the others cannot."""

from collections.abc import Iterator, Mapping
from typing import Any

from evals.loss import UNIT
from loop.report.evidence import Index
from loop.report.measures import Row, unit
from loop.report.shape import Line, Table, table
from loop.report.study import MeasuredStudy

HOLD = ("shown", "equivalent")
"""Decisions that support a claim."""


def claim_tables(study: MeasuredStudy, index: Index, name: str) -> tuple[Table, Table]:
    """Return the claims that hold, and the others."""
    rows = study.figures.get("claims", ())
    root = index.of("study") if rows else ""
    hold, fail = (
        [_cells(study, row) for row in rows if (row["reads"] in HOLD) == holds]
        for holds in (True, False)
    )
    return table("claims", hold, root, name), table("claims", fail, root, name)


def claim_lines(study: MeasuredStudy, index: Index) -> Iterator[Line]:
    """Yield one sentence: how many of the registered claims hold."""
    rows = study.figures.get("claims", ())
    if rows:
        held = sum(row["reads"] in HOLD for row in rows)
        text = (
            f"{held} of {len(rows)} registered claims hold, each over the family of all"
            f" {len(rows)} (Holm, level 0.05)."
        )
        yield Line(text=text, ledger=index.of("study"))


def _cells(study: MeasuredStudy, row: Mapping[str, Any]) -> Row:
    ends = ("low_90", "high_90") if row["asks"] == "equivalent" else ("low", "high")
    own_unit = str(row["unit"]).replace(UNIT, unit(study))
    numbers = (row["value"], *(row[end] for end in ends), row["n"], own_unit)
    tests = (row["p"], row["p_family"], row["power"])
    return (row["name"], row["says"], *numbers, *tests, row["reads"])
