"""Rules: a question about a subject becomes a decision.

Example: `decide(memory, moment, plan, "recipe")` gives a yes, a no or a wait. A yes rests on a
mandate, a no has its reason, and a wait names the command for ending it. Unknown class, no rule, no
mandate, silence and expiry all mean no. Nothing here writes an entry or raises.
"""

from typing import Literal

from configs.build import plain
from configs.entries import DecisionEntry
from configs.records import RESUME
from sandbox import own
from sandbox.gate import mandate, quorum
from sandbox.gate.memory import Decision, Memory, Moment

ReviewerKind = Literal["person", "external", "simulated", "unattended"]


def decide(memory: Memory, moment: Moment, subject: str, change_class: str) -> Decision:
    """Return whether a subject passes now: by a mandate, or by the approvals of a quorum."""
    stage, short = memory.rules.config.autonomy, subject[:12]
    rule = find_rule(memory, change_class)
    if (subject, change_class) in memory.refused:
        return Decision("refused", memory.refused[subject, change_class])
    if subject in memory.recalled:
        return Decision("refused", f"plan {short} is quarantined: it or an ancestor was recalled")
    if rule == "deny":
        denied = f"class {change_class} is denied by the rules of autonomy stage {stage.stage}"
        return Decision("waiting", denied)
    if not _is_current(memory, subject, change_class):
        stale = f"{short} ({change_class}) is not of this study as it stands now"
        return Decision("refused", stale)
    objection = moment.own_refusal(subject, change_class)
    if objection:
        return Decision(
            "refused",
            f"plan {short} ({change_class}) was refused by the study's own gate: {objection}",
        )
    if rule == "approve":
        return quorum.ask_quorum(memory, moment, subject, change_class)
    name, uncovered = mandate.ask_mandates(memory, moment, subject, change_class)
    if name:
        return Decision("allowed", by=(name,))
    return quorum.ask_quorum(memory, moment, subject, change_class, uncovered)


def find_rule(memory: Memory, change_class: str) -> str:
    """Return the rule of a class: mandate, approve or deny. An unknown class is denied."""
    if change_class == RESUME:
        return "approve"
    return memory.rules.config.autonomy.rules.get(change_class, "deny")


def _is_current(memory: Memory, subject: str, change_class: str) -> bool:
    """Tell whether a subject is recorded under the policy in force, for this class."""
    known = memory.subjects.get(subject)
    return bool(known and change_class in known.classes and known.version == memory.rules.version)


def ask_own_gate(memory: Memory, subject: str, change_class: str) -> str:
    """Return why the study's own gate (gates.file) says no to a plan, or an empty string.

    It can add a no and never a yes; no answer is a no. Amendments, orders and canaries are not
    shown to it, so people can always take it out again.
    """
    pin, plan = memory.rules.config.gates.file_digest, memory.plans.get(subject)
    if not pin or plan is None:
        return ""
    return own.refusal(pin, plain(plan), change_class)


def write_yes(
    memory: Memory, subject: str, change_class: str, by: tuple[str, ...]
) -> DecisionEntry:
    """Return the entry of a yes resting on these mandates or approvals."""
    kinds = {(memory.mandates.get(name) or memory.approvals[name]).kind for name in by}
    # The least human kind counts: a simulated yes makes the whole decision simulated.
    order: tuple[ReviewerKind, ...] = ("unattended", "simulated", "external", "person")
    return DecisionEntry(
        plan=subject,
        change_class=change_class,
        allow=True,
        authority=by[0],
        reviewer_kind=next(kind for kind in order if kind in kinds),
        how="mandate" if by[0] in memory.mandates else "approval",
        by=by,
        reason="",
    )


def write_no(subject: str, change_class: str, reason: str) -> DecisionEntry:
    """Return the entry of a no."""
    return DecisionEntry(
        plan=subject,
        change_class=change_class,
        allow=False,
        authority="",
        reviewer_kind="",
        how="",
        reason=reason,
    )
