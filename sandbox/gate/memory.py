"""Memory of the gate: the facts of a single study up to an entry of its ledger.

A memory holds no ledger, no clock and no store: `fold.py` alone changes it, entry by entry. The
rules of the other files read it. Its methods answer questions about the facts alone.
"""

from collections import deque
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Literal

from configs.entries import DecisionEntry
from configs.records import Approval, Mandate, Plan
from sandbox.decision import HOUR, Policy, Request, Subject
from sandbox.store import Store

Question = tuple[str, str]
"""A subject's digest and the class of decision on it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobState:
    """Attempts of a single job or question."""

    begun: int = 0
    "attempts"
    lost: int = 0
    "attempts lost by the box since people resumed, without those that they killed"
    stage: Literal["", "running", "lost", "done"] = ""
    "the last attempt: none, under way, to be repeated, or used up"


UNBEGUN = JobState()


@dataclass(slots=True, kw_only=True)
class Memory:
    """Facts of a single study up to an entry of its ledger. Only `fold` changes them."""

    rules: Policy
    "policy in force"
    sequence: int = 0
    "last folded entry"
    plans: dict[str, Plan] = field(default_factory=dict)
    "recorded plans, by digest"
    probes: dict[str, Plan] = field(default_factory=dict)
    "canaries and their twins: a probe can be decided on, and it never runs"
    subjects: dict[str, Subject] = field(default_factory=dict)
    "every subject of decisions, by digest"
    mandates: dict[str, Mandate] = field(default_factory=dict)
    "admitted mandates, by digest of the envelope"
    approvals: dict[str, Approval] = field(default_factory=dict)
    "admitted decisions of reviewers, by digest of the envelope"
    answers: dict[Question, dict[str, Approval]] = field(default_factory=dict)
    "the same approvals by question, in the order of arrival"
    admitted_at: dict[str, float] = field(default_factory=dict)
    "unix seconds of an approval's admission, by the ledger's clock"
    used: set[str] = field(default_factory=set)
    "mandates and approvals behind a yes"
    requests: dict[Question, Request] = field(default_factory=dict)
    "newest request of each question"
    undecided: dict[str, dict[Question, Request]] = field(default_factory=dict)
    "requests without a later decision, by the asking arm"
    request_times: deque[float] = field(default_factory=deque)
    "unix seconds of requests"
    allowed: dict[Question, DecisionEntry] = field(default_factory=dict)
    "newest yes on a question"
    refused: dict[Question, str] = field(default_factory=dict)
    "reason of the newest no on a question"
    passes: dict[str, deque[float]] = field(default_factory=dict)
    "unix seconds of each passing of a plan under a mandate, by the mandate's digest"
    human: set[str] = field(default_factory=set)
    "subjects approved by a person"
    scored: set[str] = field(default_factory=set)
    "candidates and baselines with a screening score"
    champions: set[str] = field(default_factory=set)
    "former and present champions"
    recalled: set[str] = field(default_factory=set)
    "recalled plans and their descendants, by parent or by basis"
    campaigns: dict[tuple[str, int], list[str]] = field(default_factory=dict)
    "plans of a campaign (arm, repeat), in the order of recording"
    numbers: dict[str, int] = field(default_factory=dict)
    "place of a plan in its campaign's list"
    approved: dict[tuple[str, int], list[int]] = field(default_factory=dict)
    "places of a campaign's plans approved by a person, sorted"
    proposers: dict[tuple[str, int, str], str] = field(default_factory=dict)
    "person who handed in a proposal, by (arm, repeat, proposal)"
    incident_artifacts: set[str] = field(default_factory=set)
    "artifacts of incidents; a refused envelope is recorded once"
    refusal_times: deque[float] = field(default_factory=deque)
    "unix seconds of recorded refusals of envelopes"
    flood_times: dict[str, float] = field(default_factory=dict)
    "unix seconds of the newest flood, by its code"
    halt: str = ""
    "how the study is held: stop, pause or drill; empty: it is not"
    halted: str = ""
    "ledger hash of the order now holding or slowing it"
    per_hour: int = 0
    "jobs an hour of a slowed study; 0: it is not slowed"
    starts: deque[float] = field(default_factory=deque)
    "unix seconds of the starts of jobs and calls, of the last hour at least"
    jobs: dict[str, Mapping[str, JobState]] = field(default_factory=dict)
    "attempts of the begun jobs of each plan, by role and index"

    def drillable(self) -> bool:
        """Tell whether nobody holds the study. A drill's end lifts no order of the reviewers."""
        return not self.halt and not self.per_hour

    def named(self) -> bool:
        """Tell whether the study root pins anybody but simulated reviewers."""
        return any(reviewer.kind != "simulated" for reviewer in self.rules.reviewers)

    def may_resume(self) -> bool:
        """Tell whether a resume holds: the reviewers said yes to it after this very halt.

        A study without reviewers is resumed without a yes.
        """
        return not self.named() or (self.halted, "resume") in self.allowed

    def pinned(self, signed: Mandate | Approval) -> str:
        """Return the person with the signer's pinned key; empty: no such key.

        A key is a single reviewer: its copy under another name counts for nothing.
        """
        for reviewer in self.rules.reviewers:
            if reviewer.public != signed.public:
                continue
            if (reviewer.name, reviewer.kind) == (signed.reviewer, signed.kind):
                return reviewer.person
            if self.rules.format > 1:
                return ""
        return ""

    def is_shared(self, authority: str) -> bool:
        """Tell whether a decision is an unattended mandate, whose caps are those of the study."""
        mandate = self.mandates.get(authority)
        return bool(mandate and mandate.kind == "unattended" and self.rules.format > 1)

    def lives(self, signed: Mandate | Approval, now: float, revoked: Collection[str]) -> bool:
        """Tell whether a signed decision stands: in time, key good, for the policy in force."""
        config = signed.config if isinstance(signed, Mandate) else signed.policy
        in_force = (config, signed.version) == (self.rules.decided, self.rules.version)
        is_early = self.people_clock(signed, now) < signed.expires
        return is_early and signed.public not in revoked and in_force

    def people_clock(self, signed: Mandate | Approval, now: float) -> float:
        """Return the time by which a decision was signed, at a time of the ledger's clock.

        A decision on an amendment of the clock already follows it. Nothing expired comes back:
        an amendment ends all earlier decisions.
        """
        subject = None if isinstance(signed, Mandate) else self.subjects.get(signed.plan)
        is_amendment = subject is not None and subject.classes == ("amend",)
        return now - (subject.ahead if subject and is_amendment else self.rules.ahead)

    def has_room(self, now: float) -> bool:
        """Tell whether a slowed study may start another job in this hour."""
        return not self.per_hour or recent(self.starts, now - HOUR) < self.per_hour

    def job_state(self, plan: str, role: str, index: int) -> JobState:
        """Return the attempts of a job up to now."""
        return self.jobs.get(plan, {}).get(f"{role} {index}", UNBEGUN)


def recent(times: deque[float], since: float) -> int:
    """Count the times after `since`. Older times come first and are dropped for good."""
    while times and times[0] <= since:
        times.popleft()
    return len(times)


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """Facts for a decision besides the ledger."""

    now: float
    "unix seconds: the clock of a running study, or the entry's time when a ledger is verified"
    revoked: Collection[str]
    "revoked public keys"
    store: Store
    "stored bytes, for the drift between two bundles"
    wall: float = 0
    "unix seconds of this machine's clock; 0: not asked, as when a ledger is verified"
    used_up: Collection[str] = ()
    "mandates without room for another training"
    own_refusal: Callable[[str, str], str]
    "reason why the study's own gate says no to (subject, class); empty: it says nothing"


@dataclass(frozen=True, slots=True)
class Decision:
    """Answer of the rules to a single question."""

    outcome: Literal["allowed", "refused", "waiting"]
    "waiting: people must decide first"
    reason: str = ""
    "refused or waiting: why, for people"
    by: tuple[str, ...] = ()
    "allowed: digests of the mandate or of the quorum's approvals"
    cooling_off: bool = False
    "waiting for nothing but the end of the cooling-off"
