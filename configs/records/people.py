"""Words and records between the study and its people: keys, orders, notices."""

from dataclasses import dataclass
from typing import Literal

OrderName = Literal["stop", "pause", "slow", "resume", "drill", "drill-end"]
"drill-end: the study goes on unless people hold it"
NoticeName = Literal["order", "incident", "compute", "request", "expiry"]
"""expiry: a request without a decision in time"""


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
