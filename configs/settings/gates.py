"""Who decides on a plan, and when does a study pause? The settings of gates and reviewers."""

from dataclasses import dataclass, field
from typing import Literal, TypeVar

from configs.build import need
from configs.records import CLASSES, LATER, Caps

T = TypeVar("T")
Rule = Literal["mandate", "approve", "deny"]


def _per_class(where: str, given: dict[str, T], other: T) -> dict[str, T]:
    """Return a value for every change class, `other` for a class without a value.

    A class of LATER has one only where it is given. Raises BadInput for an unknown class.
    """
    for name in given:
        known = ", ".join(sorted(CLASSES))
        need(name in CLASSES, f"{where}.{name}", given[name], f"of a known class: {known}")
    wanted = [name for name in CLASSES if name in given or name not in LATER]
    return {name: given.get(name, other) for name in wanted}


@dataclass(frozen=True, slots=True, kw_only=True)
class Quorum:
    """Who must say yes to a plan of a class whose rule is `approve`. Silence is never a yes."""

    of: int = 1
    "distinct people; two keys of the same person count once"
    reviewers: tuple[str, ...] = ()
    "names of the keys with a vote; empty: every pinned key"
    role: Literal["", "person", "external", "simulated"] = ""
    """the kind of reviewer with a vote; empty: any. A simulated reviewer counts if `reviewers`
    names it or the study has a scripted reviewer
    """
    wait_seconds: int = 0
    "cooling-off: time from the last yes needed until the plan may run"

    def __post_init__(self) -> None:
        need(1 <= self.of <= 100, "of", self.of, "between 1 and 100")
        need(
            0 <= self.wait_seconds <= 10**7, "wait_seconds", self.wait_seconds, "between 0 and 10^7"
        )
        need(
            len(set(self.reviewers)) == len(self.reviewers),
            "reviewers",
            self.reviewers,
            "a list without repetition",
        )
        need(
            not self.reviewers or self.of <= len(self.reviewers),
            "of",
            self.of,
            "at most the number of reviewers",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Tripwires:
    """The events that pause a study by themselves and open an incident. null: not watched."""

    spent_share: float | None = None
    "share of the study's CPU-seconds"
    incidents: int | None = None
    "incidents since the study began or was last resumed"
    accepted_per_hour: int | None = None
    "promotions within an hour"
    score_jump: float | None = None
    "rise of a candidate's feedback score over the best before it in its campaign"

    def __post_init__(self) -> None:
        for name in ("spent_share", "score_jump"):
            value = getattr(self, name)
            need(value is None or 0 < value <= 1, name, value, "above 0, at most 1, or null")
        for name in ("incidents", "accepted_per_hour"):
            value = getattr(self, name)
            need(
                value is None or 0 < value <= 10**6, name, value, "a whole number above 0, or null"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Gates:
    """The decisions that a gate accepts, and how long it waits for them."""

    unattended: Caps | None = None
    "caps of a mandate without a person at a terminal; null: no such mandate"
    approve: dict[str, Quorum | None] = field(default_factory=dict)
    "who must say yes, per change class; null: any single pinned reviewer"
    resume: Quorum | None = None
    "who must say yes before a stopped or paused study goes on; null: any single pinned reviewer"
    expire_hours: int = 24
    "time to decide on a request; after it the request is denied"
    requests_per_hour: int = 60
    "requests to people in an hour; any beyond are denied"
    pending_per_arm: int = 20
    "requests of an arm that may wait at a time; any beyond are denied"
    patience_seconds: int = 0
    """how long a run waits for people before it ends with exit code 3 (or 5 when paused); waiting
    spends nothing
    """
    canaries: float = 0.0
    """share of the requests followed by a canary and its benign twin, which can never run
    (docs/gates.md)
    """
    counterparty: str = ""
    "a pinned reviewer outside, called about every incident too; empty: nobody"
    tripwires: Tripwires = field(default_factory=Tripwires)
    "the events that pause the study by themselves"
    file: str = ""
    """a Python file of at most 50 lines; its `gate` may add a no to any decision on a plan
    (docs/own-files.md); empty: no file
    """
    file_digest: str = ""
    "sha256 of that file; filled in at composition, then pinned by the study"

    def __post_init__(self) -> None:
        object.__setattr__(self, "approve", _per_class("approve", self.approve, None))
        need(
            1 <= self.expire_hours <= 24 * 365,
            "expire_hours",
            self.expire_hours,
            "between 1 and 8760",
        )
        for name in ("requests_per_hour", "pending_per_arm"):
            need(1 <= getattr(self, name) <= 10**6, name, getattr(self, name), "between 1 and 10^6")
        need(
            0 <= self.patience_seconds <= 10**8,
            "patience_seconds",
            self.patience_seconds,
            "between 0 and 10^8",
        )
        need(0 <= self.canaries <= 1, "canaries", self.canaries, "between 0 and 1")
        need(
            bool(self.file) == bool(self.file_digest),
            "file_digest",
            self.file_digest,
            "the digest of `file`, and empty without one",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Autonomy:
    """The stage of autonomy: who decides on which class."""

    stage: Literal["assisted", "bounded", "autonomous"]
    "name of the stage"
    humans: str
    "the control left to humans, in a sentence"
    rules: dict[str, Rule]
    """per change class. mandate: a standing approval is enough; approve: this very plan needs a
    decision; deny: never. A class without a rule is denied
    """

    def __post_init__(self) -> None:
        object.__setattr__(self, "rules", _per_class("rules", self.rules, "deny"))
        unseal = self.rules["unseal"]
        right = "approve or deny: every opening is signed for itself"
        need(unseal != "mandate", "rules.unseal", unseal, right)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reviewer:
    """A scripted stand-in for people: studies and gate tests run unattended.

    Its decisions are always signed as `simulated`.
    """

    policy: Literal["people", "approve-all", "deny-all", "by-file", "fatigue"]
    """people: nobody; by-file: the answers of `file`; fatigue: a reviewer that tires, by the
    figures below
    """
    file: str = ""
    """by-file: JSON object from change class (or the start of a plan's digest) to approve, deny or
    escalate; anything else is denied
    """
    hit_rate: float = 0.9
    "fatigue: probability of denying a canary, at the first decision"
    false_alarm_rate: float = 0.05
    """fatigue: probability of denying any other proposal or promotion. Baseline and measures were
    ordered by people, and get a yes
    """
    decay: float = 0.01
    "fatigue: the hit rate falls as exp(-decay x decisions so far)"
    delay_seconds: float = 30.0
    "fatigue: median of the log-normal time looked at a request; recorded, not waited"
    delay_spread: float = 1.0
    "fatigue: its standard deviation, in log units"

    def __post_init__(self) -> None:
        need(
            (self.policy == "by-file") == bool(self.file),
            "file",
            self.file,
            "a path with policy by-file, else empty",
        )
        for name in ("hit_rate", "false_alarm_rate"):
            need(0 <= getattr(self, name) <= 1, name, getattr(self, name), "between 0 and 1")
        for name in ("decay", "delay_seconds", "delay_spread"):
            need(0 <= getattr(self, name) <= 10**6, name, getattr(self, name), "between 0 and 10^6")
