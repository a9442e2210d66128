"""Admission: signed bytes become a mandate or an approval, or are refused.

An envelope is refused for a bad signature or an unpinned key. It is refused too for facts unlike
the study's present facts, and for a time already over.

A refusal is an incident and changes nothing.
"""

from collections.abc import Mapping
from typing import TypeVar

from configs.build import parse, strict_json
from configs.entries import ApprovalEntry, MandateEntry
from configs.errors import BadInput, VerificationFailed
from configs.records import Approval, Caps, Mandate
from sandbox import budget, keys
from sandbox.canonical import canonical
from sandbox.decision import HOUR
from sandbox.gate.grant import account, spendable
from sandbox.gate.memory import Memory, Moment
from sandbox.gate.wording import name_clocks, name_end
from sandbox.ledger import Transaction

S = TypeVar("S", Mandate, Approval)
LONGEST_HOURS = 24 * 365
"""Longest life of a decision on a single subject."""
MOST_BYTES = 1_000_000
"""Size of the largest accepted envelope."""
EARLY_SECONDS = 300
"""How far a signer's clock may run ahead."""


def check_mandate(memory: Memory, moment: Moment, envelope: bytes) -> Mandate:
    """Return a mandate fit for the study now; raises VerificationFailed."""
    mandate = _open(envelope, Mandate, "mandate", memory.mandates)
    if mandate.kind == "unattended":
        if not _is_inside(mandate.caps, memory.rules.config.gates.unattended):
            raise VerificationFailed(
                "the unattended mandate passes the study's fixed caps; none beyond them is taken"
            )
    elif not memory.pinned(mandate):
        raise VerificationFailed(
            f"the mandate is signed by {mandate.reviewer!r}, whose key the study root does not pin"
        )
    rules = memory.rules
    in_force = (rules.config.study.name, rules.decided, rules.version)
    if (mandate.study, mandate.config, mandate.version) != in_force:
        raise VerificationFailed("the mandate was given for other settings; grant it for these")
    _check_in_time(memory, moment, mandate, "the mandate has expired; grant a new one")
    if mandate.expires > mandate.issued + mandate.caps.hours * HOUR:
        raise VerificationFailed("the mandate lives longer than its caps say; grant a new one")
    return mandate


def _is_inside(caps: Caps, limits: Caps | None) -> bool:
    """Tell whether a mandate's caps lie within the people's caps for unattended mandates."""
    if limits is None or not set(caps.classes) <= set(limits.classes):
        return False
    sizes = ("jobs", "cpu_seconds", "hours", "drift", "per_hour")
    return all(getattr(caps, name) <= getattr(limits, name) for name in sizes)


def check_approval(memory: Memory, moment: Moment, envelope: bytes) -> Approval:
    """Return a reviewer's decision fit for the study now; raises VerificationFailed."""
    approval = _open(envelope, Approval, "approval", memory.approvals)
    signer = f"the approval is signed by {approval.reviewer!r}, whose key"
    if not memory.pinned(approval):
        raise VerificationFailed(f"{signer} the study root does not pin")
    if approval.public in moment.revoked:
        raise VerificationFailed(f"{signer} was revoked")
    check_same_facts(memory, approval)
    request = memory.requests.get((approval.plan, approval.change_class))
    if request and moment.now >= request.expires:
        raise VerificationFailed(
            "the request is denied, and a late yes does not change it: it was not decided on in"
            f" time{name_end(memory, moment, request, approval)}"
        )
    _check_in_time(memory, moment, approval, "the approval has expired; give a new one")
    if approval.expires > approval.issued + LONGEST_HOURS * HOUR:
        raise VerificationFailed(
            f"the approval lives longer than {LONGEST_HOURS} hours; give a shorter one"
        )
    return approval


def _open(envelope: bytes, record: type[S], kind: str, admitted: Mapping[str, S]) -> S:
    """Return a signed decision, its signature checked.

    Raises VerificationFailed where the same decision comes in other bytes: its single use must not
    begin anew.
    """
    try:
        claimed = parse(record, keys.payload_unchecked(envelope))
    except BadInput as error:
        raise VerificationFailed(f"the {kind} is malformed: {error}") from None
    signed = parse(record, keys.verify(envelope, claimed.public, kind))
    if canonical(strict_json(envelope, MOST_BYTES)) != envelope:
        raise VerificationFailed("the envelope is not canonical JSON")
    signature = (signed.public, signed.nonce)
    if any((other.public, other.nonce) == signature for other in admitted.values()):
        raise VerificationFailed("this decision was handed in before, in other bytes")
    return signed


def _check_in_time(
    memory: Memory, moment: Moment, signed: Mandate | Approval, expired: str
) -> None:
    now = memory.people_clock(signed, moment.now)
    if not signed.issued - EARLY_SECONDS <= now < signed.expires:
        raise VerificationFailed(f"{expired}{name_clocks(memory, moment)}")


def check_same_facts(memory: Memory, approval: Approval) -> None:
    """Raise VerificationFailed unless an approval shows its subject and study as they stand now."""
    rules, subject = memory.rules, memory.subjects.get(approval.plan)
    if approval.study != rules.root or subject is None:
        raise VerificationFailed("the approval is for a plan that this study does not have")
    same_plan = (
        approval.objective == subject.objective
        and approval.requested == subject.requested
        and approval.parent == subject.parent
        and approval.generation == subject.generation
    )
    same_policy = (approval.policy, approval.version) == (rules.decided, rules.version)
    if not same_plan or not same_policy:
        raise VerificationFailed("the approval shows other facts than the plan has")
    if approval.change_class not in subject.classes:
        raise VerificationFailed(
            f"the approval is for class {approval.change_class!r}; the plan is of class"
            f" {subject.classes[0]!r}"
        )


def write_admitted(
    txn: Transaction, memory: Memory, name: str, envelope: bytes, signed: Mandate | Approval
) -> None:
    """Record an admitted decision and open its account for payments."""
    text = envelope.decode()
    if isinstance(signed, Mandate):
        txn.append(MandateEntry(digest=name, envelope=text, mandate=signed))
        limit = budget.mandate_limit(signed.caps, memory.rules.config.budget.amount())
        budget.open_account(txn, account(name), limit)
        return
    txn.append(ApprovalEntry(digest=name, envelope=text, approval=signed))
    if signed.change_class == memory.subjects[signed.plan].classes[0]:
        budget.open_account(txn, account(name), spendable(signed.requested))
