"""Execute a recorded job again for a person: it decides nothing and changes no result."""

from typing import cast

from configs.entries import Entry, ReplayEntry, StartEntry
from configs.errors import VerificationFailed
from configs.records import JobResult
from sandbox import budget
from sandbox.box.base import Execution
from sandbox.canonical import canonical, digest
from sandbox.run import OUTPUTS, Sandbox, make_result, worst_case


def replay(sandbox: Sandbox, start: Entry) -> JobResult:
    """Execute a recorded job again for a person, from its recorded bytes; it decides nothing.

    It is reserved from root and evaluate, so replays cannot pass the budget. Raises
    BudgetExhausted, VerificationFailed.
    """
    fact = cast(StartEntry, start.fact)
    job, payers = fact.job, ("root", "evaluate")
    if digest(job) != fact.digest:
        raise VerificationFailed(
            f"entry {start.sequence}: the job does not match its digest; nothing ran"
        )
    files = sandbox.store.get_bundle(job.bundle)
    files |= {
        "job.json": canonical(job.order),
        **{i.name: sandbox.store.get(i.digest) for i in job.inputs},
    }
    reserved = worst_case(job)
    with sandbox.ledger.transaction() as txn:
        key = f"replay:{start.sequence}:{txn.sequence}"
        budget.reserve_as(txn, key, payers, reserved)
    outcome = sandbox.box.run(
        Execution(
            role=job.order.role,
            files=files,
            limits=job.limits,
            outputs=OUTPUTS[job.order.role],
            key="replay",
        )
    )
    outputs = {name: digest(data) for name, data in sorted(outcome.files.items())}
    result = make_result(outcome, outputs, digest(outcome.log), sandbox.box.kind)
    with sandbox.ledger.transaction() as txn:
        budget.settle_as(txn, key, payers, reserved, result.charged)
        txn.append(ReplayEntry(of=start.sequence, digest=fact.digest, result=result))
    return result
