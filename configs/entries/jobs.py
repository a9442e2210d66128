"""Entries of jobs, outside calls and looks: what they may spend, how they began and ended."""

from dataclasses import dataclass
from typing import ClassVar

from configs.reader import later
from configs.records import (
    Amount,
    Call,
    Grant,
    Job,
    JobResult,
    ModelReply,
    NodeStatement,
    PlanRole,
    Split,
)
from configs.settings.faults import FaultName


@dataclass(frozen=True, slots=True, kw_only=True)
class GrantEntry:
    """A single-use permission for one job of an approved plan was issued. Format 1 alone."""

    kind: ClassVar[str] = "grant"
    grant: Grant
    "the grant"


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeEntry:
    """A node joined the study with a box of its own. It signs a receipt of each of its jobs."""

    kind: ClassVar[str] = "node"
    node: NodeStatement
    "what it states about itself"


@dataclass(frozen=True, slots=True, kw_only=True)
class DataEntry:
    """The training file of a replicate was drawn."""

    kind: ClassVar[str] = "data"
    plan: str
    "digest of the plan"
    index: int
    "number in the draw of its seed"
    digest: str
    "digest of the file in the store"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReserveEntry:
    """A worst case was reserved on all paying accounts.

    Format 2: of a replay or a proposal of the trusted side alone; starts, calls and looks say
    theirs themselves.
    """

    kind: ClassVar[str] = "reserve"
    key: str
    "nonce of the grant; `look:SPLIT:PLAN` for a look; `replay:ENTRY:COUNT` for a replay"
    accounts: tuple[str, ...]
    "paying accounts, each with the whole amount"
    amount: Amount
    "the worst case"


@dataclass(frozen=True, slots=True, kw_only=True)
class SettleEntry:
    """A reservation was replaced by the measured use."""

    kind: ClassVar[str] = "settle"
    key: str
    "key of the reservation"
    accounts: tuple[str, ...]
    "paying accounts"
    released: Amount
    "the reservation"
    spent: Amount
    "the charge, possibly above the reservation"


@dataclass(frozen=True, slots=True, kw_only=True)
class StartEntry:
    """A job was started; its grant is used up."""

    kind: ClassVar[str] = "start"
    grant: Grant
    "the grant"
    job: Job
    "the job; an export closes the seed of its order"
    digest: str
    "digest of the job"
    accounts: tuple[str, ...] = later(())
    "paying accounts, each with the whole reservation; absent in format 1"
    reserved: Amount | None = later(None)
    "the worst case, reserved with this entry; absent in format 1"


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultEntry:
    """A fault of production was drawn (group `faults`), and takes effect after this entry.

    One of a job stands before the job's start; a quota cut and the withdrawal of a support before
    their generation.
    """

    kind: ClassVar[str] = "fault"
    fault: FaultName
    "the fault"
    arm: str
    "arm that it befalls"
    repeat: int
    "campaign of the arm, from 0"
    generation: int
    "generation of the plan, or the generation before which a quota is cut or a support withdrawn"
    size: int
    """queued: microseconds of waiting; preempted: millionths of the job that are done; slow:
    millionths of wall time more; lost: 1; quota: CPU-microseconds cut; away: seconds to the answer;
    withdrawn: 1
    """
    plan: str = later("")
    "digest of the plan; absent for a quota cut and a withdrawal"
    what: str = later("")
    "role of the job, class of the decision, or support withdrawn; absent for a quota cut"
    index: int = later(0)
    "number of the job within its role; absent: 0"
    attempt: int = later(0)
    "try of the job; absent: 0, the first"


@dataclass(frozen=True, slots=True, kw_only=True)
class JobEntry:
    """A job ended."""

    kind: ClassVar[str] = "job"
    nonce: str
    "nonce of its grant"
    plan: str
    "digest of the plan"
    role: PlanRole
    "role of the job"
    index: int
    "number of the job within its role"
    digest: str
    "digest of the job"
    result: JobResult
    "the outcome"
    accounts: tuple[str, ...] = later(())
    "paying accounts: each gets the reservation back and pays the charge; absent in format 1"
    released: Amount | None = later(None)
    "the reservation, which ends with this entry; absent in format 1"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayEntry:
    """A recorded job was executed once more for a person; it decides nothing."""

    kind: ClassVar[str] = "replay"
    of: int
    "ledger entry of the start"
    digest: str
    "digest of the job"
    result: JobResult
    "the outcome this time"


@dataclass(frozen=True, slots=True, kw_only=True)
class CallEntry:
    """A question was sent to an outside model; its grant is used up."""

    kind: ClassVar[str] = "call"
    grant: Grant
    "the grant"
    call: Call
    "the question"
    digest: str
    "digest of the question"
    accounts: tuple[str, ...] = later(())
    "paying accounts, each with the whole reservation; absent in format 1"
    reserved: Amount | None = later(None)
    "the worst case, reserved with this entry; absent in format 1"


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerEntry:
    """A call of an outside model ended."""

    kind: ClassVar[str] = "answer"
    nonce: str
    "nonce of its grant"
    plan: str
    "digest of the propose plan"
    index: int
    "number of the question within the plan, from 0"
    digest: str
    "digest of the question"
    answer: ModelReply
    "the reply"
    accounts: tuple[str, ...] = later(())
    "paying accounts: each gets the reservation back and pays the charge; absent in format 1"
    released: Amount | None = later(None)
    "the reservation, which ends with this entry; absent in format 1"


@dataclass(frozen=True, slots=True, kw_only=True)
class DoorEntry:
    """A job with a door ended: how many requests came there, and what became of them."""

    kind: ClassVar[str] = "door"
    plan: str
    "digest of the plan of the job"
    attempt: int
    "attempt of the job, from 0"
    door: str
    "name of the door"
    asked: int
    "requests that reached its handler"
    outside: int
    "connections of processes outside the job"
    full: int
    "connections told 429: too many at once, or too fast"
    cut: int
    "connections that were too slow or broke off"
    malformed: int
    "requests that are none of this door's"
    late: int
    "requests that still waited when the job's time was over"
    transcript: str
    "digest in the store of the handler's answers, in order (sandbox/door/replayed.py)"
    index: int = later(0)
    "number of the job within its role; absent: 0, an agent's"


@dataclass(frozen=True, slots=True, kw_only=True)
class LookEntry:
    """A plan was looked at on a held-out split, once; it is charged before the score."""

    kind: ClassVar[str] = "look"
    plan: str
    "digest of the plan"
    split: Split
    "the split"
    accounts: tuple[str, ...] = later(())
    "paying accounts; each pays one look with this entry; absent in format 1"
