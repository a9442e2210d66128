"""Measured beside true, in section `believed`: for studies on a table alone."""

from configs.errors import BadInput
from loop.instruments.truth import list_truth, measure_truth
from loop.report.evidence import Index
from loop.report.shape import Line, Part, table
from loop.report.study import MeasuredStudy


def describe_truth(study: MeasuredStudy, index: Index, name: str) -> Part:
    """Return a sentence and a table on the truth of an ended study on a table.

    Where the table is not there any more, a sentence says so.
    """
    if not study.config.task.table or not study.closed:
        return [], []
    root = index.of("study")
    try:
        truth = measure_truth(study.runs)
    except BadInput as error:
        return [Line(text=f"The truth of this table is not shown: {error}.", ledger=root)], []
    text = (
        f"On table {truth['table']}, the baseline has {truth['baseline']:.3f} bits and the best"
        f" recipe of the grid {truth['best']:.3f}. Every figure here holds on this table."
    )
    return [Line(text=text, ledger=root)], [table("truth", list_truth(truth), root, name)]
