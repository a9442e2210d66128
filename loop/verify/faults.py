"""Is every recorded fault the one that the secret draws, and is none left out?

Each try of a job, each generation and each question to a simulated reviewer is drawn again, and
the result of a job must be what its faults make of it.
"""

from collections.abc import Callable, Sequence
from typing import Any

from configs.arms import REFERENCE, START, variant
from configs.entries import (
    AmendedEntry,
    ApprovalEntry,
    CampaignEndEntry,
    DecisionEntry,
    EndEntry,
    Entry,
    FaultEntry,
    JobEntry,
    PlanEntry,
    RequestEntry,
    StartEntry,
)
from configs.errors import VerificationFailed
from configs.records import Plan
from configs.settings.config import Config
from loop.facts.ending import count_generations
from loop.facts.facts import Facts
from loop.study.faults import (
    LOST_BY,
    draw_absence,
    draw_cut,
    draw_for_job,
    expect_part,
    expect_wall,
    find_withdrawal,
    is_too_late,
    tell_silence,
)
from loop.study.items import repeat_secret
from loop.study.root import SCRIPTED, plain_secret
from loop.study.simulated import PREDICT_US, PROPOSE_US
from loop.verify.state import need
from sandbox.decision import policy

OF_CAMPAIGNS = ("quota", "withdrawn")
"""Faults before a generation of a campaign, not of a plan."""
Question = tuple[str, str]
"""(plan, class) of a question to the reviewer."""


def check_faults(entries: Sequence[Entry], facts: Facts, secret: bytes | None) -> None:
    """Raise VerificationFailed for a fault that was not drawn, or a drawn one without its record.

    The secret of a simulated study is plain, so it is worked out where it is not at hand.
    """
    config = policy(list(entries[:1])).config
    if not config.faults.any():
        need(not facts.faults, "a fault is recorded, and the study has none")
        return
    walk = _Walk(config, secret or plain_secret(config))
    for entry in entries:
        if check := _CHECKS.get(entry.kind):
            try:
                check(walk, entry.fact)
            except VerificationFailed as error:
                name = f"entry {entry.sequence} ({entry.kind})"
                raise VerificationFailed(f"{name}: {error}") from None
    walk.end(facts)


class _Walk:
    """A walk through the entries of a study with faults."""

    def __init__(self, config: Config, secret: bytes) -> None:
        self._config, self._secret = config, secret
        self._plans, self._recorded = dict[str, Plan](), set[FaultEntry]()
        self._starts = dict[str, tuple[StartEntry, list[FaultEntry]]]()
        self._asked, self._ended = list[Question](), list[tuple[str, int]]()
        self._closed = False
        train_us = config.task.planned_cpu_us
        self._charges = {"train": train_us, "predict": PREDICT_US, "propose": PROPOSE_US}

    def take_amended(self, fact: AmendedEntry) -> None:
        """Go on with the settings that people decided on."""
        self._config = fact.config

    def take_campaign_end(self, fact: CampaignEndEntry) -> None:
        """Note a campaign's end."""
        self._ended.append((fact.arm, fact.repeat))

    def take_end(self, fact: EndEntry) -> None:
        """Note the study's end."""
        self._closed = True

    def end(self, facts: Facts) -> None:
        """Check what only the end can tell: that no drawn cut or absence is without its record."""
        for arm, repeat in self._ended:
            if arm not in (START, REFERENCE) and not variant(arm).programs:
                for generation in range(1, self._reach(facts, arm, repeat) + 1):
                    self._need_befallen(arm, repeat, generation)
        for fault in self._recorded:
            of_campaign = fault.fault in OF_CAMPAIGNS
            reached = self._reach(facts, fault.arm, fault.repeat) if of_campaign else 0
            begun = not of_campaign or fault.generation <= reached
            what = "a quota was cut" if fault.fault == "quota" else f"{fault.what} was withdrawn"
            need(begun, f"{what} before generation {fault.generation}, which never came")
        for question in self._asked if self._closed else ():
            self._need(self._draw_absence(*question))

    def _reach(self, facts: Facts, arm: str, repeat: int) -> int:
        """Return the last generation before which a campaign's quota may have been cut."""
        most = self._config.study.rounds(arm)[0]
        return min(most, count_generations(facts, (arm, repeat), most) + 1)

    def take_fault(self, fact: FaultEntry) -> None:
        """Check that a fault is drawn, and recorded once."""
        drawn = list[FaultEntry | None]()
        if fact.fault in OF_CAMPAIGNS:
            known = fact.arm in self._config.arms() and fact.repeat < self._config.study.repeats
            need(known, "it names no campaign of the study")
            place = fact.arm, fact.repeat, fact.generation
            drawn = [self._draw_cut(*place), find_withdrawal(self._config, *place)]
        elif fact.plan not in self._plans:
            raise VerificationFailed("it names no recorded plan")
        elif fact.fault == "away":
            drawn = [self._draw_absence(fact.plan, fact.what)]
        else:
            drawn += self._draw_job(fact.plan, fact.what, fact.index, fact.attempt)
        need(fact in drawn, f"the secret draws no such fault ({fact.fault})")
        need(fact not in self._recorded, f"the fault ({fact.fault}) was recorded before")
        self._recorded.add(fact)

    def take_plan(self, fact: PlanEntry) -> None:
        """Check that what befell a campaign before a generation was recorded before its plans, and
        that it has none where its support had stopped it.
        """
        self._plans[fact.digest] = fact.plan
        if fact.plan.purpose == "candidate":
            place = fact.plan.arm, fact.plan.repeat, fact.plan.generation
            self._need_befallen(*place)
            withdrawn, generations = self._config.faults.withdrawn, self._config.study.generations
            stopped = withdrawn.stops(place[0], place[2], generations)
            need(not stopped, f"arm {place[0]} proposed after the withdrawal that stopped it")

    def take_start(self, fact: StartEntry) -> None:
        """Check that the faults of a job were recorded before its start."""
        grant = fact.grant
        drawn = self._draw_job(grant.plan, grant.role, grant.index, grant.attempt)
        for fault in drawn:
            self._need(fault)
        self._starts[grant.nonce] = fact, drawn

    def take_job(self, fact: JobEntry) -> None:
        """Check that a job's result is what its faults make of it."""
        start, drawn = self._starts.pop(fact.nonce)
        result = fact.result
        losing = [LOST_BY[fault.fault] for fault in drawn if fault.fault in LOST_BY]
        injected = result.detail in LOST_BY.values()
        need(not losing or result.status == "box", "a fault lost this job, and it has a result")
        drawn_so = [result.detail] == losing
        need(not injected or drawn_so, "its result is lost to a fault that was not drawn")
        charged = result.charged
        if result.charged_by not in ("plan", "table") or (result.status == "box" and not injected):
            return  # a real job has its own wall time
        if result.charged_by == "plan":
            own_us = self._charges[start.job.order.role]
            need(
                charged.cpu_us == expect_part(drawn, own_us),
                f"it is charged {charged.cpu_us} microseconds of CPU; its faults leave"
                f" {expect_part(drawn, own_us)}",
            )
        wall_us = expect_wall(drawn, charged.cpu_us, start.job.limits)
        need(
            charged.wall_us == wall_us,
            f"it is charged {charged.wall_us} microseconds of wall time; its faults make {wall_us}",
        )

    def take_request(self, fact: RequestEntry) -> None:
        """Note a question to the reviewer."""
        if fact.plan in self._plans:
            self._asked.append((fact.plan, fact.change_class))

    def take_approval(self, fact: ApprovalEntry) -> None:
        """Check that the simulated reviewer was there when it answered."""
        approval = fact.approval
        if approval.reviewer != SCRIPTED or approval.plan not in self._plans:
            return
        absence = self._draw_absence(approval.plan, approval.change_class)
        self._need(absence)
        late = absence is not None and is_too_late(self._config, absence)
        need(not late, "the simulated reviewer answered while it was away")

    def take_decision(self, fact: DecisionEntry) -> None:
        """Check a no of the gate's timer."""
        if fact.allow or fact.reason != tell_silence(self._config):
            return
        absence = self._draw_absence(fact.plan, fact.change_class)
        late = absence is not None and is_too_late(self._config, absence)
        need(late, "the gate's timer said no, and the reviewer was there in time")
        self._need(absence)

    def _draw_job(self, digest: str, role: str, index: int, attempt: int) -> list[FaultEntry]:
        plan = self._plans[digest]
        secret = repeat_secret(self._secret, plan.repeat)
        return draw_for_job(self._config, secret, digest, plan, role, index, attempt)

    def _need_befallen(self, arm: str, repeat: int, generation: int) -> None:
        self._need(self._draw_cut(arm, repeat, generation))
        self._need(find_withdrawal(self._config, arm, repeat, generation))

    def _draw_cut(self, arm: str, repeat: int, generation: int) -> FaultEntry | None:
        secret = repeat_secret(self._secret, repeat)
        return draw_cut(self._config, secret, arm, repeat, generation)

    def _draw_absence(self, digest: str, change_class: str) -> FaultEntry | None:
        plan = self._plans.get(digest)
        if plan is None:
            return None
        secret = repeat_secret(self._secret, plan.repeat)
        return draw_absence(self._config, secret, digest, plan, change_class)

    def _need(self, fault: FaultEntry | None) -> None:
        if fault is not None and fault not in self._recorded:
            raise VerificationFailed(
                f"the secret draws a fault ({fault.fault}) for arm {fault.arm}, repeat"
                f" {fault.repeat}, generation {fault.generation}, and no entry before it says so"
            )


_CHECKS: dict[str, Callable[[_Walk, Any], None]] = {
    AmendedEntry.kind: _Walk.take_amended,
    FaultEntry.kind: _Walk.take_fault,
    PlanEntry.kind: _Walk.take_plan,
    StartEntry.kind: _Walk.take_start,
    JobEntry.kind: _Walk.take_job,
    RequestEntry.kind: _Walk.take_request,
    ApprovalEntry.kind: _Walk.take_approval,
    DecisionEntry.kind: _Walk.take_decision,
    CampaignEndEntry.kind: _Walk.take_campaign_end,
    EndEntry.kind: _Walk.take_end,
}
"""Check of each kind of entry that has to do with faults."""
