"""A grant, its job, and the recorded result."""

from dataclasses import dataclass
from typing import Literal

from configs.job import Limits, Order
from configs.reader import later
from configs.records.plan import Amount, PlanRole

KILLED = "killed"
"""First word in the detail of a job that people killed; no field says it in this format."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """Single-use permission for a job of an approved plan."""

    plan: str
    "plan digest"
    role: PlanRole
    "role of the job"
    index: int
    "number of the job within its role"
    attempt: int
    "0, or higher where an earlier attempt was lost by the box"
    authority: str
    "digest of the mandate or approval behind the gate's yes"
    nonce: str
    "digest of the fields above, cut to 32 digits; random in ledgers of format 1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Input:
    """A file for a job beside its bundle."""

    name: str
    "file name inside the box"
    digest: str
    "sha256 of its bytes in the store"
    sequence: int
    "ledger entry of its recording"


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """An execution: bound to plan, role, index, seed, bundle and every input."""

    plan: str
    "plan digest"
    role: PlanRole
    "role of the job"
    index: int
    "number within the role"
    bundle: str
    "digest of the source manifest"
    order: Order
    "the job file for the code inside"
    inputs: tuple[Input, ...]
    "data, weights or questions"
    limits: Limits
    "hard limits; their worst case is reserved"
    gpu_us: int = later(0)
    "hard limit of its time on a CUDA device; 0: it gets no device"


@dataclass(frozen=True, slots=True, kw_only=True)
class JobResult:
    """The record of an execution."""

    status: Literal["ok", "program", "limit", "box"]
    "who ended it"
    detail: str
    "a clause"
    charged: Amount
    "the charge"
    startup_cpu_us: int
    "part of the CPU charged before any byte of the bundle ran"
    charged_by: Literal["cgroup", "bound", "reservation", "plan", "table"]
    """kernel counter, provable upper bound, the whole reservation, the plan of a simulated job, or
    the charge that a table recorded
    """
    peak_bytes: int
    "largest memory the kernel saw; 0 if unread"
    outputs: dict[str, str]
    "file name -> digest in the store"
    log: str
    "digest of the kept log"
    box: str
    "kind of box"
    gpu_charged_by: Literal["", "accounts", "bound", "reservation"] = later("")
    """the driver's accounts by process, the job's wall time, or the whole limit; empty: no device
    """
    receipt: str = later("")
    """digest in the store of the statement on this job that its node signed; empty: it ran on the
    loop's machine, or its node was lost
    """

    @property
    def killed(self) -> bool:
        """Tell whether people killed it; then it is granted anew and not counted as lost."""
        return self.status == "box" and self.detail.startswith(KILLED)
