"""Mandates: the standing approvals of plans, and the end of their cover.

A mandate lets its classes pass, up to its caps. They are plans an hour, and drift from the last
plan approved by a person. It never promotes a gain computable by code.
"""

from bisect import bisect_left
from collections import deque
from collections.abc import Collection, Mapping

from configs.records import Mandate, Plan
from sandbox.budget import UNATTENDED, Balances, rest
from sandbox.decision import HOUR, list_changes
from sandbox.gate.grant import account
from sandbox.gate.memory import Memory, Moment, recent
from sandbox.store import Store


def ask_mandates(
    memory: Memory, moment: Moment, subject: str, change_class: str
) -> tuple[str, str]:
    """Return the mandate covering a subject, or an empty string and the reason."""
    computed = memory.rules.config.task.computed()
    if change_class == "promote" and computable(computed, memory.plans[subject], memory.plans):
        return "", (
            "is computable (code could compute the answers of this task), which no mandate promotes"
        )
    uncovered, live = "", live_mandates(memory, moment.now, moment.revoked)
    for name in sorted(live, key=lambda name: name in moment.used_up):
        if change_class not in live[name].caps.classes:
            continue
        uncovered = find_excess(memory, moment, name, subject, change_class)
        if not uncovered:
            return name, ""
    return "", uncovered or "waits for a mandate"


def find_used_up(memory: Memory, held: Balances) -> set[str]:
    """Return the mandates without room for another training: the next of their class is asked."""
    least = memory.rules.config.budget.train.cpu_us

    def is_poor(payer: str) -> bool:
        return rest(held, payer, "jobs") < 1 or rest(held, payer, "cpu_us") < least

    return {
        name
        for name in memory.mandates
        if is_poor(account(name)) or (memory.is_shared(name) and is_poor(UNATTENDED))
    }


def live_mandates(memory: Memory, now: float, revoked: Collection[str]) -> dict[str, Mandate]:
    """Return the standing mandates at a time, by digest."""
    return {
        name: mandate
        for name, mandate in memory.mandates.items()
        if memory.lives(mandate, now, revoked)
    }


def find_excess(memory: Memory, moment: Moment, name: str, subject: str, change_class: str) -> str:
    """Return a plan's exceeded cap under a live mandate: plans an hour or drift; empty: neither.

    The study's caps for unattended mandates hold for all of them together.
    """
    caps, since = memory.mandates[name].caps, moment.now - HOUR
    if recent(memory.passes.get(name, deque()), since) >= caps.per_hour:
        return f"is beyond the mandate's {caps.per_hour} plans an hour (its per_hour)"
    limits = memory.rules.config.gates.unattended
    if limits and memory.is_shared(name):
        passes = [times for other, times in memory.passes.items() if memory.is_shared(other)]
        if sum(recent(times, since) for times in passes) >= limits.per_hour:
            return (
                f"is beyond the study's {limits.per_hour} plans an hour (gates.unattended.per_hour)"
            )
    if change_class == "promote":
        return ""
    changes = drift(memory, moment.store, subject)
    if changes <= caps.drift:
        return ""
    return (
        f"has drifted {changes} changes from what a person approved, the mandate covers"
        f" {caps.drift} (its drift)"
    )


def drift(memory: Memory, store: Store, name: str) -> int:
    """Count the changes of a plan against its campaign's last plan approved by a person.

    Without such a plan the baseline counts.
    """
    plan = memory.plans.get(name) or memory.probes[name]
    if plan.purpose == "start":
        return 0  # a draw from the grid that people gave; it never becomes a champion
    base = memory.plans[approved_before(memory, name)]
    pinned = memory.rules.config.proposer.pins()
    first, last = (base.bundle, base.recipe), (plan.bundle, plan.recipe)
    return sum(list_changes(store, first, last, pinned))


def approved_before(memory: Memory, name: str) -> str:
    """Return a campaign's last person-approved plan before a plan, else the baseline.

    A probe gets the answer of the plan in its place. Asking changes nothing.
    """
    plan = memory.plans.get(name) or memory.probes[name]
    campaign = memory.campaigns[plan.arm, plan.repeat]
    if name not in memory.plans:
        name = _plan_in_place(memory, campaign, plan)
    places = memory.approved.get((plan.arm, plan.repeat), [])
    before = bisect_left(places, memory.numbers[name])
    return campaign[places[before - 1]] if before else campaign[0]


def _plan_in_place(memory: Memory, campaign: list[str], probe: Plan) -> str:
    """Return the newest plan of a campaign with a probe's generation and index."""
    for name in reversed(campaign):
        plan = memory.plans[name]
        if (plan.generation, plan.index) == (probe.generation, probe.index):
            return name
    raise AssertionError("a probe stands in the place of a plan")


def computable(computed: bool, plan: Plan, plans: Mapping[str, Plan]) -> bool:
    """Tell whether a plan's code could compute the answers of a `computed` task.

    This is so after any code by a model, in this plan or in an ancestor.
    """
    if not computed:
        return False
    if plan.change_class in ("patch", "structural"):
        return True
    for other in list(plans.values()):  # another campaign may add one meanwhile
        same_campaign = (other.arm, other.repeat) == (plan.arm, plan.repeat)
        if same_campaign and other.purpose == "baseline":
            return plan.bundle != other.bundle
    return False
