"""Entries of a factory line: what a service answered, who reviewed it, what went live or back."""

from dataclasses import dataclass
from typing import ClassVar

from configs.settings.factory import Fate, What


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedEntry:
    """A serve job ended: what its scripted clients and its real clients got."""

    kind: ClassVar[str] = "served"
    plan: str
    "digest of the service's plan"
    index: int
    "number of the serve job within the plan"
    period: int
    "the period, from 0; period 0 begins with the service that people gave"
    what: What
    "what the job is for"
    log: str
    "digest of what it posted at its door, visit by visit"
    clients: int
    "scripted clients"
    unmet: tuple[str, ...]
    "those whose expectations it did not meet, by name, in order"
    requests: int
    "requests of real clients"
    right: int
    "those that it answered rightly"
    harmed: int
    "those that a service with the same features and no defect would have answered rightly"
    ended: str
    "how the job failed; empty: it did not"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviewEntry:
    """A simulated reviewer read a change of the service before its deployment."""

    kind: ClassVar[str] = "review"
    plan: str
    "digest of the plan"
    allow: bool
    "whether it may go on"
    minutes: float
    "minutes that a person would have needed; drawn, and nobody waited"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseEntry:
    """A service went live in its campaign, by the rule of its arm and a decision of the gate."""

    kind: ClassVar[str] = "release"
    arm: str
    "arm of the campaign"
    repeat: int
    "campaign of the arm, from 0"
    period: int
    "the period"
    plan: str
    "digest of the plan"
    by: tuple[str, ...]
    "digests of the mandate or the approvals at its basis"


@dataclass(frozen=True, slots=True, kw_only=True)
class RollbackEntry:
    """A live service was taken back, since its satisfaction fell; the one before is live again."""

    kind: ClassVar[str] = "rollback"
    arm: str
    "arm of the campaign"
    repeat: int
    "campaign of the arm, from 0"
    period: int
    "the period"
    plan: str
    "digest of the plan that was taken back"
    to: str
    "digest of the plan that is live again"
    by: tuple[str, ...]
    "digests of the mandate or the approvals at its basis"


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeEntry:
    """A period of a factory line ended: what became of its change, and whether it was planted.

    No layer of the line reads it: it is told when the period is over.
    """

    kind: ClassVar[str] = "change"
    arm: str
    "arm of the campaign"
    repeat: int
    "campaign of the arm, from 0"
    period: int
    "the period, from 1"
    plan: str
    "digest of its plan; empty: its edits did not fit"
    family: str
    "family of the pack"
    planted: bool
    "whether it carried the family's defect"
    fate: Fate
    "where it ended"
