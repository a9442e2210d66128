"""What made the gain? The last champions without each of their changes, in section `happened`."""

from typing import Any

from configs.errors import BadInput
from loop.instruments.ablation import list_ablation, measure_ablation
from loop.report.evidence import Index
from loop.report.shape import Table, table
from loop.report.study import MeasuredStudy, finite


def describe_ablation(study: MeasuredStudy, index: Index, name: str, unit: str) -> Table:
    """Return the table of an ended study; empty while it runs, or where its table is gone."""
    if not study.closed:
        return table("ablation", [], "", name, unit=unit)
    try:
        read = finite(measure_ablation(study.runs))
    except BadInput:
        return table("ablation", [], "", name, unit=unit)
    rows, ledger = [], []
    for row in list_ablation(read):
        loss = _ends(row.loss)
        words = row.loss["word"] or row.share["word"]
        counts = (row.values, row.having, row.champions)
        rows.append((row.arm, row.change, *counts, *loss, *_ends(row.share), read["known"], words))
        ledger.append(index.arm(row.arm, "verdicts"))
    return table("ablation", rows, ledger, name, unit=unit)


def _ends(figure: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(figure[key] for key in ("value", "low", "high"))
