"""Entries of people: decisions, requests, orders, notices and what people hand in."""

from dataclasses import dataclass, field
from typing import ClassVar, Literal

from configs.records import (
    Acknowledgement,
    Approval,
    ClaimReview,
    Mandate,
    NoticeName,
    OrderName,
    Plan,
    ReviewFailure,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class MandateEntry:
    """A mandate was admitted: a standing approval for classes of plans."""

    kind: ClassVar[str] = "mandate"
    digest: str
    "digest of the envelope; decisions name the mandate by it"
    envelope: str
    "the signed DSSE envelope, as it came in"
    mandate: Mandate
    "the signed content"


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalEntry:
    """A signed decision of a reviewer on a subject was admitted."""

    kind: ClassVar[str] = "approval"
    digest: str
    "digest of the envelope; decisions name the approval by it"
    envelope: str
    "the signed DSSE envelope, as it came in"
    approval: Approval
    "the signed content"


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestEntry:
    """A question was put to people: may this subject pass?"""

    kind: ClassVar[str] = "request"
    plan: str
    "digest of the subject: a plan, a probe, an amendment or an order"
    change_class: str = field(metadata={"wire": "class"})
    "class of the decision"
    arm: str
    "the asking arm; empty: a person"
    at: int
    "unix seconds of the question"
    expires: int
    "unix seconds; then it is denied"


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionEntry:
    """The gate decided on a subject by the rules, mandates and approvals in force."""

    kind: ClassVar[str] = "decision"
    plan: str
    "digest of the subject"
    change_class: str = field(metadata={"wire": "class"})
    "class of decision"
    allow: bool
    "whether the subject may pass"
    authority: str
    "digest of the first mandate or approval at its basis; empty: a no"
    reviewer_kind: Literal["", "person", "external", "simulated", "unattended"] = field(
        metadata={"wire": "kind"}
    )
    "who decided; a single simulated approval makes it simulated; empty: a no"
    how: Literal["", "mandate", "approval"]
    "its basis; empty: a no"
    by: tuple[str, ...] = ()
    "digests of every mandate or approval at its basis"
    reason: str
    "why it is a no; empty: a yes"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeEntry:
    """A canary, or its harmless twin, was put among the requests; it can never run."""

    kind: ClassVar[str] = "probe"
    digest: str
    "digest of the shown plan"
    plan: Plan
    "the shown plan"
    commitment: str
    "keyed hash: holders of the study secret learn from it which of the pair it is"


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlEntry:
    """An order to the study; every launch reads it in the transaction that reserves."""

    kind: ClassVar[str] = "control"
    what: OrderName
    "the order"
    who: str
    "person, tripwire or rule behind it, at most 100 characters"
    why: str
    "reason, at most 2000 characters"
    per_hour: int
    "slow: most jobs an hour; else 0"


@dataclass(frozen=True, slots=True, kw_only=True)
class DrillEntry:
    """A drill ended: a stop for practice was measured."""

    kind: ClassVar[str] = "drill"
    who: str
    "person who called it"
    jobs: int
    "jobs running at its begin"
    left: int
    "jobs still running at its end"
    milliseconds: int
    "time from the order to the last job gone"


@dataclass(frozen=True, slots=True, kw_only=True)
class RecallEntry:
    """A person quarantined a successor and all its descendants."""

    kind: ClassVar[str] = "recall"
    plan: str
    "digest of the successor"
    plans: tuple[str, ...]
    "digests of all plans in quarantine by it, the successor first"
    who: str
    "person"
    why: str
    "reason, in the person's words"


@dataclass(frozen=True, slots=True, kw_only=True)
class DeployEntry:
    """A champion's weights left the study."""

    kind: ClassVar[str] = "deploy"
    plan: str
    "digest of the champion"
    weights: str
    "digest of the weights"
    card: str
    "digest of the card beside them"
    by: tuple[str, ...]
    "digests of the approvals at its basis"


@dataclass(frozen=True, slots=True, kw_only=True)
class HandedEntry:
    """A person handed in a proposal."""

    kind: ClassVar[str] = "handed"
    arm: str
    "arm of people's proposals"
    repeat: int
    "campaign of the arm, from 0"
    digest: str
    "digest of the proposal's text in the store"
    who: str
    "user who handed it in"
    by: str
    "name of the person, who does not count towards the quorum on it"


@dataclass(frozen=True, slots=True, kw_only=True)
class NoticeEntry:
    """The delivery of a notice to a person was tried."""

    kind: ClassVar[str] = "notice"
    digest: str
    "digest of the notice"
    about: str
    "hash of the ledger entry in the notice"
    what: NoticeName
    "kind of notice"
    to: str
    "name of the receiver's key"
    scheme: str
    "kind of service, such as mailto"
    address: str
    "keyed hash of the address"
    attempt: int
    "number of the try, from 1"
    ok: bool
    "whether the service took it"
    error: str
    "class of the failure; empty: no failure"
    at: int
    "unix seconds"


@dataclass(frozen=True, slots=True, kw_only=True)
class AcknowledgementEntry:
    """A receiver signed the arrival of a notice. It decides nothing."""

    kind: ClassVar[str] = "acknowledgement"
    digest: str
    "digest of the envelope"
    envelope: str
    "the signed DSSE envelope, as it came in"
    acknowledgement: Acknowledgement
    "the signed content"
    delay_seconds: float
    "seconds from the first delivery to this entry"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviewedEntry:
    """A claim of a write-up was reviewed, before any check was told. No gate reads it."""

    kind: ClassVar[str] = "reviewed"
    plan: str
    "digest of the plan that the write-up is of"
    number: int
    "number of the claim in the write-up, from 0"
    shown: str
    "digest of the bytes in the store that the reviewer was shown"
    by: Literal["model", "person", "external", "simulated"]
    "kind of reviewer"
    said: float | None
    "the probability that the claim replicates; null: no answer that counts"
    failure: ReviewFailure
    "why there is none; empty: there is one"
    asked: str
    "digest of the propose plan of the question to a model; empty: a person"
    index: int
    "number of that question within the plan"
    envelope: str
    "the signed DSSE envelope of a person, as it came in; empty: a model"
    review: ClaimReview | None
    "its signed content; null: a model"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviewsEndEntry:
    """People ended their review of write-ups: checks are told, and no review is taken any more."""

    kind: ClassVar[str] = "reviews-end"
    who: str
    "who ended it"
    reviewed: int
    "claims with a review of a person"
    of: int
    "claims that people were asked to review"
