"""Drift in behaviour: constraints and slices of each champion against its baseline."""

from configs.metrics import METRICS
from evals.drift import by_generation
from loop.report.evidence import Index
from loop.report.shape import Table, table
from loop.report.study import MeasuredStudy

BETTER = {"up": "higher", "down": "lower"}


def list_drift(study: MeasuredStudy, index: Index, name: str) -> Table:
    """Return the drift per arm, quantity and generation; empty while the study runs."""
    rows, ledger = [], []
    for arm, drifts in study.records.drifts.items() if study.closed else ():
        for quantity, generation, figure, looked in by_generation(drifts):
            cells = (figure.value, figure.low, figure.high, figure.n)
            rests = "closing look" if looked else "accepted plans"
            better = BETTER[METRICS[quantity.partition(" on ")[0]].better]
            rows.append((arm, quantity, generation, *cells, rests, better, figure.word))
            ledger.append(index.arm(arm, "verdicts"))
    return table("drift", rows, ledger, name)
