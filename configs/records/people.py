"""Words and records between the study and its people: keys, orders, notices."""

from dataclasses import dataclass
from typing import Literal

from configs.build import need

OrderName = Literal["stop", "pause", "slow", "resume", "drill", "drill-end"]
"drill-end: the study goes on unless people hold it"
NoticeName = Literal["order", "incident", "compute", "request", "expiry"]
"""expiry: a request without a decision in time"""
ReviewFailure = Literal[
    "",
    "no answer",
    "answered twice",
    "out of range",
    "too long",
    "malformed",
    "huge",
    "unreachable",
    "slow",
    "busy",
    "refused",
    "redirect",
    "breach",
]
"""Why a review of a claim does not count. too long: the question passes `prompt_bytes`, and nobody
was asked; those after it are statuses of a call.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class PublicHalf:
    """The public half of a key that a study root pins."""

    name: str
    "name of the key"
    kind: str
    "person, simulated or external"
    person: str
    "the key's holder; two keys of a person count once"
    public: str
    "raw public key, hex"


@dataclass(frozen=True, slots=True, kw_only=True)
class Acknowledgement:
    """A receiver's signature on the arrival of a notice. It decides nothing."""

    study: str
    "digest of the study root"
    about: str
    "hash of the ledger entry in the notice"
    notice: str
    "digest of the notice"
    receiver: str
    "name of the signer's key"
    kind: str
    "person, simulated or external"
    public: str
    "public key of the signer, hex"
    at: int
    "unix seconds, by the receiver's clock"


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimReview:
    """A person's signed word on a claim of a write-up, before its check is told. It decides
    nothing.
    """

    study: str
    "digest of the study root"
    claim: str
    "digest of plan and number of the claim, which tells a reader neither"
    shown: str
    "digest of the bytes that the person was shown"
    percent: int
    "the probability that the claim replicates, in per cent"
    reason: str
    "why, in the person's words"
    seen: int
    "unix seconds of the person's first view"
    looked_ms: int
    "milliseconds in view"
    at: int
    "unix seconds of the signature"
    kind: str
    "person, simulated or external"
    reviewer: str
    "name of the signer's key"
    public: str
    "public key of the signer, hex"
    nonce: str
    "random"

    def __post_init__(self) -> None:
        need(0 <= self.percent <= 100, "percent", self.percent, "a whole number from 0 to 100")
        need(0 < len(self.reason.strip()) <= 2000, "reason", self.reason, "1 to 2000 characters")
