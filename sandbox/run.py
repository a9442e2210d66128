"""The only way to compute: `run(sandbox, job, grant)`.

It checks the grant against the recorded plan and the bytes, and reserves the worst case. It
executes in a box, settles the measured use and records. There is no unsandboxed retry.
"""

from dataclasses import dataclass, replace

from configs.entries import AnswerEntry, CallEntry, Entry, JobEntry, StartEntry
from configs.errors import VerificationFailed
from configs.records import KILLED, Amount, Grant, Job, JobResult, ModelReply, Plan, stage
from configs.records.plan import module_of, worst_of
from configs.settings.config import Config
from sandbox import budget, incident
from sandbox.box.base import Box, Execution, Permission
from sandbox.box.gpu import make_meter
from sandbox.canonical import canonical, digest
from sandbox.gate import Gate
from sandbox.ledger import Ledger, Transaction
from sandbox.result import add_receipt, make_result
from sandbox.store import Store

OUTPUTS = {
    "train": {"weights.safetensors": 16_000_000, "claims.json": 10_000},
    "predict": {"predictions.safetensors": 16_000_000},
    "propose": {"proposals.jsonl": 1_000_000},
    "agent": {"proposals.jsonl": 1_000_000, "notes": 200_000},
    "serve": {},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Sandbox:
    """The needs of a launch: a place for facts, a place for bytes, and a box for jobs."""

    ledger: Ledger
    "the study's record"
    store: Store
    "bundles and outputs"
    box: Box
    "the isolated place"
    gate: Gate
    "the basis of every launch"


def worst_case(job: Job) -> Amount:
    """Return a job's reservation: its hard limits."""
    return worst_of(job.limits, job.gpu_us)


def run(sandbox: Sandbox, job: Job, grant: Grant, cpu: int | None = None) -> JobResult:
    """Execute a granted job and return its result.

    Raises VerificationFailed (grant, plan or bytes do not match), BudgetExhausted (nothing was
    reserved), NeedsHuman (the grant's basis ended), Halted (a person or a tripwire holds the
    study).
    """
    key, meter = digest(job), make_meter(job.gpu_us)
    with incident.refusals(sandbox.ledger, "launch", "compute that nobody granted", job.plan):
        plan = _check(sandbox, job, grant)
        reserved, payers = worst_case(job), sandbox.gate.payers(grant)
        module = module_of(plan, job.role)
        files = sandbox.store.get_bundle(job.bundle)
        files |= {
            "job.json": canonical(job.order),
            **{i.name: sandbox.store.get(i.digest) for i in job.inputs},
        }
        with sandbox.ledger.transaction() as txn:
            sandbox.gate.launch(txn, grant)
            budget.reserve(txn, payers, reserved)
            start = StartEntry(grant=grant, job=job, digest=key, accounts=payers, reserved=reserved)
            txn.append(start)
    outcome = sandbox.box.run(
        Execution(
            role=module,
            files=files,
            limits=job.limits,
            outputs=OUTPUTS[module],
            cpu=cpu,
            key=grant.nonce[:12],
            study=plan.study,
            gpu=meter,
            permission=Permission(plan=plan, job=job, grant=grant),
        )
    )
    failed = outcome.status in ("program", "box")
    if failed and (halt := sandbox.gate.refresh().memory.halt) in ("stop", "drill"):
        outcome = replace(outcome, status="box", detail=f"{KILLED} by a {halt}", files={})
    outputs = {name: sandbox.store.put(data) for name, data in sorted(outcome.files.items())}
    result = make_result(outcome, outputs, sandbox.store.put(outcome.log), sandbox.box.kind)
    result = (
        meter.charge(result) if meter else add_receipt(sandbox.store, result, outcome, reserved)
    )
    with sandbox.ledger.transaction() as txn:
        entry = end_job(txn, start, result)
        if result.status == "limit" or (
            result.status == "program" and result.detail.split()[0] in OUTPUTS[module]
        ):
            incident.report(
                txn,
                f"{result.status}: {result.detail}",
                detector="door",
                plan=job.plan,
                artifacts=(job.bundle,),
                chain=(entry.sequence,),
                containment="the job was killed and gave nothing out",
            )
    return result


def end_job(txn: Transaction, start: StartEntry, result: JobResult) -> Entry:
    """Settle a job and record its end."""
    reserved, job = need_reserved(start), start.job
    budget.settle(txn, start.accounts, reserved, result.charged)
    return txn.append(
        JobEntry(
            nonce=start.grant.nonce,
            plan=job.plan,
            role=job.role,
            index=job.index,
            digest=start.digest,
            result=result,
            accounts=start.accounts,
            released=reserved,
        )
    )


def end_call(txn: Transaction, asked: CallEntry, answer: ModelReply) -> Entry:
    """Settle a question and record its answer."""
    reserved = need_reserved(asked)
    budget.settle(txn, asked.accounts, reserved, answer.charged)
    return txn.append(
        AnswerEntry(
            nonce=asked.grant.nonce,
            plan=asked.call.plan,
            index=asked.call.index,
            digest=asked.digest,
            answer=answer,
            accounts=asked.accounts,
            released=reserved,
        )
    )


def need_reserved(begun: StartEntry | CallEntry) -> Amount:
    """Return the reservation of a start or a call; raises VerificationFailed in format 1."""
    if begun.reserved is None:
        raise VerificationFailed("a job of a ledger of format 1 cannot be ended; it is read alone")
    return begun.reserved


def _check(sandbox: Sandbox, job: Job, grant: Grant) -> Plan:
    plan = granted_plan(sandbox.gate, grant)
    stand_in = job.order.task.stand_in()
    if stand_in != (sandbox.box.kind if sandbox.box.kind in ("planted", "table") else ""):
        raise VerificationFailed(
            f"a {sandbox.box.kind} box and task {job.order.task.name} do not go together;"
            " nothing ran"
        )
    if not allowed(plan, job, grant, sandbox.gate.memory.rules.config):
        raise VerificationFailed(
            f"the job is not the one that the grant for plan {grant.plan[:12]} allows; nothing ran"
        )
    return plan


def granted_plan(rules: Gate, grant: Grant) -> Plan:
    """Return the recorded plan of a grant; raises VerificationFailed.

    The gate checked its bytes against its digest at reading.
    """
    plan = rules.refresh().memory.plans.get(grant.plan)
    if plan is None:
        raise VerificationFailed(f"plan {grant.plan[:12]} is not in the ledger; nothing ran")
    if flaw := rules.find_flaw(grant.plan):
        raise VerificationFailed(f"{flaw}; nothing ran")
    return plan


def allowed(plan: Plan, job: Job, grant: Grant, config: Config) -> bool:
    """Tell whether a grant of this plan allows a job, with the study's task and hard limits."""
    role = stage(job.role)
    fixed = (job.limits, job.gpu_us, job.order.task) == (
        getattr(config.budget, role),
        config.budget.gpu_us(role),
        config.task.format(),
    )
    return fixed and fits(plan, job, grant)


def fits(plan: Plan, job: Job, grant: Grant) -> bool:
    """Tell whether a job is the one that a grant of this plan names, whatever its study says."""
    exact: tuple[object, ...] = (plan.bundle, plan.recipe, plan.steps)
    if job.role.startswith("champion"):
        exact = (plan.reference, plan.reference_recipe, plan.reference_steps)
    same = (job.plan, job.role, job.index) == (grant.plan, grant.role, grant.index)
    whole = job.order.seed is not None and job.order.role == stage(job.role)
    return whole and same and (job.bundle, job.order.recipe, job.order.steps) == exact
