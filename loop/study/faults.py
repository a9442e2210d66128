"""The faults of a study: drawn from its secret, and made to happen around a simulated box.

Example: try 0 of the training of a plan is preempted in one draw, whoever runs it, whenever and
beside however many others: the draw hangs on repeat, generation, index, role and try alone. It is
the same in all arms, as the seeds of trainings are. `FaultyBox` lets it happen. Nothing here waits
by the clock: a wait is charged as wall time.
"""

import hmac
import math
import random
import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace

from configs.arms import variant
from configs.entries import FaultEntry
from configs.job import Limits, Outcome
from configs.records import Grant, Plan
from configs.settings.config import Config
from configs.settings.faults import LOSING, OF_JOBS, FaultName
from loop.study.running import Running
from sandbox import quota
from sandbox.box.base import Box, Execution
from sandbox.budget import arm_account
from sandbox.run import Sandbox

LOST_BY = {"preempted": "preempted: a fault of the study", "lost": "lost: a fault of the study"}
"""Losing fault -> detail of the result of a job that it ended."""
TRIES = 3
"""Tries of a job; see sandbox.gate.grant.ATTEMPTS."""
HOUR, MILLION = 3600, 1_000_000
_ONE_AT_A_TIME = threading.Lock()


def befalls(config: Config, arm: str) -> bool:
    """Tell whether a study's faults befall an arm."""
    lacks = config.faults.withdrawn.since(arm) > 0
    return (config.faults.has_mishaps() or lacks) and not variant(arm).spared


def draw_for_job(
    config: Config, secret: bytes, digest: str, plan: Plan, role: str, index: int, attempt: int
) -> list[FaultEntry]:
    """Return the faults of a try of a job, in the order of OF_JOBS; `secret` is the repeat's.

    Of two faults that lose it, the first counts.
    """
    if not befalls(config, plan.arm):
        return []
    sizes = dict[FaultName, int]()
    for fault in OF_JOBS:
        tries = config.faults.lost.tries if fault == "lost" else 1
        for number in range(attempt, max(-1, attempt - tries), -1):
            rng = _draw(secret, f"{fault}:{_place(plan)}:{role}:{index}:{number}")
            if rng.random() < getattr(config.faults, fault).rate:
                sizes.setdefault(fault, _size(config, fault, rng))
    spared = config.faults.spare_third and attempt % TRIES == TRIES - 1
    losing = [fault for fault in LOSING if fault in sizes]
    for fault in losing[0 if spared else 1 :]:
        del sizes[fault]
    return [
        FaultEntry(
            fault=fault,
            arm=plan.arm,
            repeat=plan.repeat,
            generation=plan.generation,
            size=size,
            plan=digest,
            what=role,
            index=index,
            attempt=attempt,
        )
        for fault, size in sizes.items()
    ]


def _size(config: Config, fault: FaultName, rng: random.Random) -> int:
    faults = config.faults
    if fault == "queued":
        return _exponential(rng, faults.queued.seconds * MILLION)
    if fault == "preempted":
        return int(rng.random() * faults.preempted.done * MILLION)
    if fault == "slow":
        return round((faults.slow.factor - 1) * MILLION)
    return 1


def find_withdrawal(config: Config, arm: str, repeat: int, generation: int) -> FaultEntry | None:
    """Return the withdrawal of a campaign's support before a generation, if it is due then."""
    if config.faults.withdrawn.since(arm) != generation:
        return None
    what = variant(arm).lacks
    return FaultEntry(
        fault="withdrawn", arm=arm, repeat=repeat, generation=generation, size=1, what=what
    )


def draw_cut(
    config: Config, secret: bytes, arm: str, repeat: int, generation: int
) -> FaultEntry | None:
    """Return the quota cut before a generation of a campaign, if there is one.

    A quota that is withdrawn is cut as a whole.
    """
    rng, quota_cuts = _draw(secret, f"quota:{generation}"), config.faults.quota
    due = config.faults.withdrawn.since(arm) == generation and variant(arm).lacks == "quota"
    if not befalls(config, arm) or not (due or rng.random() < quota_cuts.rate):
        return None
    trainings = math.ceil(count_whole(config, arm) * (1 if due else quota_cuts.share))
    return FaultEntry(
        fault="quota",
        arm=arm,
        repeat=repeat,
        generation=generation,
        size=trainings * config.compute(arm),
    )


def count_whole(config: Config, arm: str) -> int:
    """Return the planned compute of a campaign in trainings; without a plan, its worst case."""
    study = config.study
    return study.allowance(arm) or 1 + study.generations * study.worst(arm)


def draw_absence(
    config: Config, secret: bytes, digest: str, plan: Plan, change_class: str
) -> FaultEntry | None:
    """Return how late the simulated reviewer answers a question about a candidate, if late.

    What people ordered with the study, such as its baseline, is answered at once. A reviewer who is
    withdrawn answers nothing before the gate's timer ends.
    """
    asked = plan.purpose == "candidate" and config.reviewer.policy != "people"
    rng = _draw(secret, f"away:{_place(plan)}:{change_class}")
    gone = config.faults.withdrawn.takes(plan.arm, "reviewer", plan.generation)
    if not asked or not befalls(config, plan.arm):
        return None
    if not (gone or rng.random() < config.faults.away.rate):
        return None
    hours = config.gates.expire_hours
    size = hours * HOUR if gone else _exponential(rng, config.faults.away.hours * HOUR)
    return FaultEntry(
        fault="away",
        arm=plan.arm,
        repeat=plan.repeat,
        generation=plan.generation,
        size=size,
        plan=digest,
        what=change_class,
    )


def is_too_late(config: Config, absence: FaultEntry) -> bool:
    """Tell whether the gate's timer ends before an answer comes."""
    return absence.size >= config.gates.expire_hours * HOUR


def tell_silence(config: Config) -> str:
    """Return the reason of a no by the gate's timer."""
    return f"the reviewer was away: nobody decided within {config.gates.expire_hours} hours"


def prepare_job(running: Running, grant: Grant) -> Sandbox:
    """Record the faults of a job's next try, once; return the sandbox in which they happen."""
    plan = running.facts().plans[grant.plan]
    if not befalls(running.config, plan.arm):
        return running.sandbox
    secret, slot = running.items.of(plan.repeat).secret, (grant.role, grant.index, grant.attempt)
    faults = draw_for_job(running.config, secret, grant.plan, plan, *slot)
    record(running, faults)
    return replace(running.sandbox, box=FaultyBox(running.sandbox.box, faults))


def find_allowance(running: Running, arm: str, repeat: int, generation: int) -> int | None:
    """Return the planned compute of a campaign in trainings, less its quota cuts up to a
    generation; None where generations alone bound it.
    """
    config = running.config
    if not befalls(config, arm):
        return config.study.allowance(arm) or None
    secret = running.items.of(repeat).secret
    cuts = (draw_cut(config, secret, arm, repeat, g) for g in range(1, generation + 1))
    cut = sum(one.size for one in cuts if one) // config.compute(arm)
    if not cut:
        return config.study.allowance(arm) or None
    return max(0, count_whole(config, arm) - cut)


def befall(running: Running, arm: str, repeat: int, generation: int) -> None:
    """Withdraw a campaign's support and cut its quota before a generation, once, where due."""
    if befalls(running.config, arm):
        place, secret = (arm, repeat, generation), running.items.of(repeat).secret
        due = find_withdrawal(running.config, *place), draw_cut(running.config, secret, *place)
        record(running, [one for one in due if one])


def find_absence(running: Running, digest: str, change_class: str) -> FaultEntry | None:
    """Record how late the simulated reviewer answers a question, once; None: it is there."""
    plan = running.facts().plans.get(digest)
    if plan is None or not befalls(running.config, plan.arm):
        return None
    secret = running.items.of(plan.repeat).secret
    absence = draw_absence(running.config, secret, digest, plan, change_class)
    record(running, [absence] if absence else [])
    return absence


def record(running: Running, faults: Sequence[FaultEntry]) -> None:
    """Record faults that are not recorded yet; a quota cut lowers the arm's account with it."""
    if not faults:
        return
    with _ONE_AT_A_TIME:  # two campaigns may meet the same absence
        new = [fault for fault in faults if fault not in running.facts().faults]
        if not new:
            return
        with running.ledger.transaction() as txn:
            for fault in new:
                txn.append(fault)
                if fault.fault == "quota":
                    quota.cut(txn, arm_account(fault.arm), fault.size)


def _place(plan: Plan) -> str:
    return f"{plan.purpose}:{plan.version}:{plan.generation}:{plan.index}"


def _draw(secret: bytes, what: str) -> random.Random:
    """Return a generator fixed by a repeat's secret and a place."""
    return random.Random(hmac.new(secret, f"fault:{what}".encode(), "sha256").hexdigest())


def _exponential(rng: random.Random, mean: float) -> int:
    return max(1, int(-math.log(1 - rng.random()) * mean))


class FaultyBox:
    """A simulated box around which the faults of one try happen."""

    def __init__(self, box: Box, faults: Sequence[FaultEntry]) -> None:
        self.kind, self.tier = box.kind, box.tier
        self._box, self._faults = box, faults

    def run(self, execution: Execution) -> Outcome:
        """Execute in the box, and let the faults happen to the outcome."""
        outcome = self._box.run(execution)
        if outcome.status == "box":
            return outcome  # the box itself failed, or people stopped it
        return let_happen(self._faults, outcome, execution.limits)

    def stop(self) -> None:
        """Stop the box."""
        self._box.stop()

    def close(self) -> None:
        """Release the box."""
        self._box.close()


def let_happen(faults: Sequence[FaultEntry], outcome: Outcome, limits: Limits) -> Outcome:
    """Return the outcome of a job with its faults: what is lost is the box's failure."""
    sizes = {fault.fault: fault.size for fault in faults}
    outcome = replace(
        outcome,
        cpu_us=expect_part(faults, outcome.cpu_us),
        startup_cpu_us=expect_part(faults, outcome.startup_cpu_us),
        wall_us=expect_part(faults, outcome.wall_us),
    )
    for fault in LOSING:
        if fault in sizes:
            outcome = replace(outcome, status="box", detail=LOST_BY[fault], files={})
    wall_us = sum(_wall_parts(sizes, outcome.wall_us))
    return replace(outcome, wall_us=min(wall_us, max(outcome.wall_us, limits.wall_us)))


def _wall_parts(sizes: dict[FaultName, int], wall_us: int) -> Iterator[int]:
    """Yield a job's own wall time, and what a slow node and the queue add to it."""
    yield wall_us
    yield wall_us * sizes.get("slow", 0) // MILLION
    yield sizes.get("queued", 0)


def expect_part(faults: Sequence[FaultEntry], whole_us: int) -> int:
    """Return what a job is charged of the time that it takes as a whole."""
    done = next((fault.size for fault in faults if fault.fault == "preempted"), MILLION)
    return whole_us * done // MILLION


def expect_wall(faults: Sequence[FaultEntry], cpu_us: int, limits: Limits) -> int:
    """Return the wall time that a simulated job is charged: its own is its CPU time."""
    sizes = {fault.fault: fault.size for fault in faults}
    return min(sum(_wall_parts(sizes, cpu_us)), max(cpu_us, limits.wall_us))
