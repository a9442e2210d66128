"""The decisions that people sign: a mandate for classes of plans, an approval of a single
subject.
"""

from dataclasses import dataclass
from typing import Literal

from configs.build import need
from configs.records.classes import CHANGE_CLASSES
from configs.records.plan import Amount

ReviewerAnswer = Literal["approve", "deny", "escalate"]
"escalate: nothing is done until an external reviewer says yes besides"


@dataclass(frozen=True, slots=True, kw_only=True)
class Caps:
    """The scope of a mandate."""

    classes: tuple[str, ...]
    "change classes, exact names"
    jobs: int
    "executions"
    cpu_seconds: int
    "CPU-seconds"
    hours: int
    "life from the signature on"
    drift: int = 40
    """changed knobs + changed source lines against the last plan approved by a person (or the
    baseline); beyond it a plan needs approval
    """
    per_hour: int = 1000
    "plans and promotions in an hour; beyond them they need approval"

    def __post_init__(self) -> None:
        known = [name for name, one in CHANGE_CLASSES.items() if one.mandate]
        for name in self.classes:
            need(name in known, "classes", name, f"one of {', '.join(known)}")
        for name in ("jobs", "cpu_seconds", "hours", "drift", "per_hour"):
            need(
                0 < getattr(self, name) <= 10**9,
                name,
                getattr(self, name),
                "a whole number above 0",
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Mandate:
    """A standing approval for classes of plans of a study, with caps and an expiry."""

    study: str
    "name of the study"
    version: int
    "its version of the study root; an amendment ends it"
    config: str
    """digest of the decided settings: study, task, objective, budget, gates, autonomy, reviewer,
    proposer
    """
    caps: Caps
    "classes, jobs, CPU-seconds, hours, drift, plans per hour"
    issued: int
    "unix seconds"
    expires: int
    "unix seconds"
    kind: str
    """person, simulated, external, or unattended (given without a person at a terminal, never
    counted as human)
    """
    reviewer: str
    "name of the signer"
    public: str
    "public key of the signer, hex"
    nonce: str
    "random"


@dataclass(frozen=True, slots=True, kw_only=True)
class Approval:
    """A decision of a reviewer on an exact subject: everything shown, signed."""

    study: str
    "digest of the study root"
    version: int
    "version of the study root"
    plan: str
    "digest of the subject (a plan, an amendment, a stop): another byte is another subject"
    change_class: str
    "class of the decision: the plan's own, promote, deploy, amend, or resume"
    objective: str
    "digest of the plan's objective"
    requested: Amount
    "worst case of all its jobs; its account pays killed and lost jobs once more (edition 3)"
    parent: str
    "champion at the plan's start"
    generation: int
    "its depth"
    policy: str
    "digest of the settings decided by people"
    answer: ReviewerAnswer
    "the decision; escalate: nothing is done until an external reviewer says yes besides"
    reason: str
    "why, in the reviewer's words"
    seen: int
    "unix seconds of the reviewer's first view"
    looked_ms: int
    "milliseconds in view"
    issued: int
    "unix seconds"
    expires: int
    "unix seconds"
    kind: str
    "person, simulated or external"
    reviewer: str
    "name of the signer"
    public: str
    "public key of the signer, hex"
    nonce: str
    "random"
