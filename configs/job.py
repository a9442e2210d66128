"""Input and output of a box: limits, the job's own file, outcomes."""

from dataclasses import dataclass
from typing import Literal

from configs.build import need
from configs.recipe import Recipe
from configs.tokens import Task

Role = Literal["train", "predict", "propose"]
Status = Literal["ok", "program", "limit", "box"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Hard limits of a job, enforced from outside the box."""

    cpu_us: int = 30_000_000
    """CPU-microseconds, all processes of the job together; the job is killed when its cgroup passes
    it
    """
    wall_us: int = 60_000_000
    "wall microseconds by the host's monotonic clock"
    memory_bytes: int = 1_500_000_000
    "resident memory of the job, tmpfs included"
    processes: int = 64
    "processes and threads"
    disk_bytes: int = 64_000_000
    "size of each tmpfs that the job can write"
    files: int = 4096
    "files and folders in each tmpfs that the job can write"
    output_bytes: int = 16_000_000
    "bytes of all collected files together, and of everything printed; more ends the job"
    log_bytes: int = 65_536
    "bytes of printed text to keep; the rest is read and dropped"

    def __post_init__(self) -> None:
        for name in (
            "cpu_us",
            "wall_us",
            "memory_bytes",
            "processes",
            "disk_bytes",
            "files",
            "output_bytes",
            "log_bytes",
        ):
            value = getattr(self, name)
            if not 0 < value < 2**53:
                need(False, name, value, "a whole number above 0")


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """`job.json`: everything that code inside a box knows."""

    role: Role
    "train: data -> weights; predict: weights + inputs -> predictions"
    task: Task
    "the token format"
    recipe: Recipe
    "sizes and training knobs"
    seed: int | None
    """seed of weight init, batch order and dropout, below 2**63; None: closed by an export, and no
    job starts from it
    """
    steps: int
    "training steps; computed on the trusted side"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The outcome of an execution, as the box reports it.

    `status` says who failed: the program, its limit, or the box.
    """

    status: Status
    """ok: the program ended with 0; program: it failed; limit: it was stopped; box: the box itself
    failed
    """
    detail: str
    """a clause: exit code, or the name of the limit (cpu, wall, memory, processes, output), or the
    box's error
    """
    cpu_us: int
    "charged CPU-microseconds, start-up included"
    startup_cpu_us: int
    "the part charged before any byte of the bundle was run (interpreter, imports)"
    wall_us: int
    "wall microseconds from the start order to the last process gone"
    peak_bytes: int
    "largest memory seen by the kernel; 0 where no counter is readable"
    charged_by: Literal["cgroup", "bound", "plan", "table"]
    """cgroup: read from the kernel; bound: pinned CPUs x wall, the provable upper bound; plan:
    simulated, nothing was computed; table: as a recorded training was charged
    """
    files: dict[str, bytes]
    "collected outputs by allow-listed name; untrusted bytes"
    log: bytes
    "the first `log_bytes` of printed text; untrusted bytes"
    log_total: int
    "bytes printed in all"
