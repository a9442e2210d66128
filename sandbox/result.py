"""The record of an execution: its outcome, its charge, and the receipt of a node that ran it."""

from dataclasses import replace

from configs.job import Outcome
from configs.records import Amount, JobResult
from sandbox.box.base import NodeOutcome
from sandbox.store import Store


def make_result(outcome: Outcome, outputs: dict[str, str], log: str, box: str) -> JobResult:
    """Return an outcome with the digests of its bytes, and its charge."""
    size = sum(map(len, outcome.files.values())) + outcome.log_total
    charged = Amount(cpu_us=outcome.cpu_us, wall_us=outcome.wall_us, jobs=1, output_bytes=size)
    return JobResult(
        status=outcome.status,
        detail=outcome.detail,
        charged=charged,
        startup_cpu_us=outcome.startup_cpu_us,
        charged_by=outcome.charged_by,
        peak_bytes=outcome.peak_bytes,
        outputs=outputs,
        log=log,
        box=box,
    )


def add_receipt(store: Store, result: JobResult, outcome: Outcome, reserved: Amount) -> JobResult:
    """Return the result of a job with its node's receipt, or charged in full with its lost node.

    A job of this machine has neither.
    """
    if not isinstance(outcome, NodeOutcome):
        return result
    if outcome.lost:
        return replace(result, charged=reserved, charged_by="reservation")
    return replace(result, receipt=store.put(outcome.receipt))
