"""What a node states about a job that it ran, and about itself; signed by the node's key."""

from dataclasses import dataclass
from typing import Literal

from configs.build import need
from configs.job import Status
from configs.records.grant import JobResult
from configs.records.plan import Amount


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """A node's statement on a single job: what it measured, and the digests of what it returns."""

    node: str
    "public half of the node's key"
    nonce: str
    "nonce of the grant; empty: the node refused the order and ran nothing"
    job: str
    "digest of the job; empty where it refused"
    box: str
    "kind of its box"
    status: Status
    "who ended the job"
    detail: str
    "a clause"
    cpu_us: int
    "charged CPU-microseconds, start-up included"
    startup_cpu_us: int
    "the part charged before any byte of the bundle was run"
    wall_us: int
    "wall microseconds"
    peak_bytes: int
    "largest memory seen by the node's kernel; 0 where no counter is readable"
    charged_by: Literal["cgroup", "bound"]
    "kernel counter, or provable upper bound"
    outputs: dict[str, str]
    "file name -> digest"
    sizes: dict[str, int]
    "file name -> bytes"
    log: str
    "digest of the kept log"
    log_bytes: int
    "bytes of the kept log"
    log_total: int
    "bytes printed in all"

    def __post_init__(self) -> None:
        need(len(self.detail) <= 1000, "detail", self.detail[:80], "at most 1000 characters")
        for name in ("cpu_us", "startup_cpu_us", "wall_us", "peak_bytes", "log_total"):
            value = getattr(self, name)
            need(0 <= value < 2**53, name, value, "a whole number from 0 to 2^53 - 1")
        for size in (*self.sizes.values(), self.log_bytes):
            need(0 <= size < 2**31, "size", size, "a whole number from 0 to 2^31 - 1")
        need(self.outputs.keys() == self.sizes.keys(), "sizes", len(self.sizes), "one per output")

    def result(self, name: str) -> JobResult:
        """Return the record of the job's end; `name` is the digest of this signed receipt."""
        size = sum(self.sizes.values()) + self.log_total
        charged = Amount(cpu_us=self.cpu_us, wall_us=self.wall_us, jobs=1, output_bytes=size)
        return JobResult(
            status=self.status,
            detail=self.detail,
            charged=charged,
            startup_cpu_us=self.startup_cpu_us,
            charged_by=self.charged_by,
            peak_bytes=self.peak_bytes,
            outputs=self.outputs,
            log=self.log,
            box=self.box,
            receipt=name,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeStatement:
    """What a node states about itself when it joins a study."""

    node: str
    "public half of the key that signs its receipts; new at each start"
    name: str
    "its host's name, for people"
    box: str
    "kind of its box"
    tier: str
    "tier of its box"
    proved: str
    "day on which `heirloop doctor` proved that tier there; empty: never"
    python: str
    "version of its Python"
    packages: str
    "digest of the names and versions of the packages in its box, or the image's digest"
    jobs: int
    "how many jobs it runs at a time"

    def __post_init__(self) -> None:
        need(1 <= self.jobs <= 4096, "jobs", self.jobs, "a whole number from 1 to 4096")
        for name in ("node", "name", "box", "tier", "proved", "python", "packages"):
            value = getattr(self, name)
            need(len(value) <= 100, name, value[:80], "at most 100 characters")
