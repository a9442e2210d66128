"""A replicate as jobs: its recipe, seed and order, and the loop for running a job once.

The jobs go through `sandbox.run.run`, the only way to compute.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

from configs.arms import variant
from configs.entries import DoorEntry
from configs.errors import Interrupted, Lapsed
from configs.job import Order
from configs.recipe import Recipe
from configs.records import Grant, Input, Job, JobResult, Plan, PlanRole, stage
from evals.data import replicate_seed
from loop.plan import Planned
from loop.study.faults import prepare_job
from loop.study.running import Running
from sandbox.door.doors import COUNTED, DooredBox, Doors
from sandbox.gate import Halted
from sandbox.run import run

APART = 10_000
"""Distance between the seed numbers of the two sides of a pair that shares no seed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Replicate:
    """A training of a plan, or of the champion measured beside it."""

    planned: Planned
    "the plan"
    index: int
    "number of the replicate within its role"
    champion: bool = False
    "whether the champion trains, and not the plan's own recipe"

    @property
    def train_role(self) -> PlanRole:
        """Role of the training job."""
        return "champion-train" if self.champion else "train"

    @property
    def predict_role(self) -> PlanRole:
        """Role of the predict job."""
        return "champion-predict" if self.champion else "predict"

    @property
    def recipe(self) -> Recipe:
        """Recipe to train."""
        plan = self.planned.plan
        recipe = plan.reference_recipe if self.champion else plan.recipe
        assert recipe is not None
        return recipe

    @property
    def seed_number(self) -> int:
        """Number of the seed: a pair shares it, and a screening seed never confirms."""
        return seed_number(self.planned.plan, self.index, self.champion)


def seed_number(plan: Plan, index: int, champion: bool) -> int:
    """Return the number of a training's seed in its plan; an arm that reseeds shares none."""
    shift = champion and plan.purpose == "candidate"
    return index + shift + (APART if champion and variant(plan.arm).reseeds else 0)


def seed_of(running: Running, replicate: Replicate) -> int:
    """Return the seed of a replicate's training, the same for both sides of a pair, in all arms."""
    plan = replicate.planned.plan
    place = f"{plan.purpose}:{plan.version}:{plan.generation}:{plan.index}"
    secret = running.items.of(plan.repeat).secret
    return replicate_seed(secret, place, replicate.seed_number)


def make_order(running: Running, replicate: Replicate, role: PlanRole) -> Order:
    """Return the order for the code in the box."""
    plan = replicate.planned.plan
    return Order(
        role=stage(role),
        task=running.config.task.format(),
        recipe=replicate.recipe,
        seed=seed_of(running, replicate),
        steps=plan.reference_steps if replicate.champion else plan.steps,
    )


def make_job(
    running: Running, replicate: Replicate, role: PlanRole, inputs: tuple[Input, ...]
) -> Job:
    """Return a job of a replicate, bound to its plan, bundle, seed and inputs."""
    plan = replicate.planned.plan
    order = make_order(running, replicate, role)
    return Job(
        plan=replicate.planned.digest,
        role=role,
        index=replicate.index,
        bundle=plan.reference if role.startswith("champion") else plan.bundle,
        order=order,
        inputs=inputs,
        limits=getattr(running.config.budget, order.role),
        gpu_us=running.config.budget.gpu_us(order.role),
    )


def run_job(
    running: Running, job: Job, cpu: int | None, make_doors: Callable[[], Doors] | None = None
) -> tuple[JobResult, int]:
    """Run a job once, however often this is called; return its result and ledger sequence.

    A job lost by the box is granted anew, at most three times. Each attempt of an agent has doors
    of its own.
    """
    slot = (job.plan, job.role, job.index)
    while True:
        recorded = running.facts().results.get(slot)
        if recorded and recorded[0].status != "box":
            return recorded
        if running.stopped:
            raise Interrupted("the study was stopped")
        running.watch()
        running.hand_over(job.plan)
        try:
            grant = running.gate.next_grant(*slot)
            if make_doors:
                _run_with_doors(running, job, grant, cpu, make_doors())
            else:
                run(prepare_job(running, grant), job, grant, cpu)
        except Halted as halted:
            running.wait(halted)
        except Lapsed as lapsed:
            running.renew(job.plan, lapsed)


def _run_with_doors(
    running: Running, job: Job, grant: Grant, cpu: int | None, doors: Doors
) -> None:
    """Run a job beside its doors, and record what happened at each."""
    sandbox = replace(running.sandbox, box=DooredBox(running.sandbox.box, doors))
    try:
        run(sandbox, job, grant, cpu)
    finally:
        try:
            doors.finish()
        finally:
            transcripts = doors.transcripts()
            for name, counts in doors.counts().items():
                seen = {kind: counts[kind] for kind in COUNTED}
                if any(seen.values()):
                    running.ledger.append(
                        DoorEntry(
                            plan=job.plan,
                            attempt=grant.attempt,
                            index=job.index,
                            door=name,
                            transcript=running.store.put(transcripts[name]),
                            **seen,
                        )
                    )


def charge_without_startup(result: JobResult) -> int:
    """Return the CPU-microseconds charged for a job's own work."""
    return result.charged.cpu_us - result.startup_cpu_us


def tell_failure(result: JobResult, output: str) -> str:
    """Return why a job gave no such output, or nothing."""
    if result.status != "ok":
        return f"{result.status}: {result.detail}"
    return "" if output in result.outputs else f"program: it wrote no {output}"
