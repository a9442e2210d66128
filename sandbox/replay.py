"""Execute a recorded job again for a person: it decides nothing and changes no result."""

from typing import cast

from configs.entries import Entry, ReplayEntry, StartEntry
from configs.errors import VerificationFailed
from configs.records import JobResult, module_of
from sandbox import budget
from sandbox.box.base import Execution
from sandbox.box.gpu import make_meter
from sandbox.canonical import canonical, digest
from sandbox.door.doors import DooredBox, Doors
from sandbox.result import make_result
from sandbox.run import OUTPUTS, Sandbox, worst_case


def replay(sandbox: Sandbox, start: Entry, doors: Doors | None = None) -> JobResult:
    """Execute a recorded job again for a person, from its recorded bytes; it decides nothing.

    `doors` answer an agent from the record. It is reserved from root and evaluate, so replays
    cannot pass the budget. Raises BudgetExhausted, VerificationFailed.
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
    reserved, meter = worst_case(job), make_meter(job.gpu_us)
    module = module_of(sandbox.gate.refresh().memory.plans[job.plan], job.role)
    box = DooredBox(sandbox.box, doors) if doors else sandbox.box
    with sandbox.ledger.transaction() as txn:
        key = f"replay:{start.sequence}:{txn.sequence}"
        budget.reserve_as(txn, key, payers, reserved)
    outcome = box.run(
        Execution(
            role=module,
            files=files,
            limits=job.limits,
            outputs=OUTPUTS[module],
            key="replay",
            gpu=meter,
        )
    )
    outputs = {name: digest(data) for name, data in sorted(outcome.files.items())}
    result = make_result(outcome, outputs, digest(outcome.log), sandbox.box.kind)
    result = meter.charge(result) if meter else result
    with sandbox.ledger.transaction() as txn:
        budget.settle_as(txn, key, payers, reserved, result.charged)
        txn.append(ReplayEntry(of=start.sequence, digest=fact.digest, result=result))
    return result
