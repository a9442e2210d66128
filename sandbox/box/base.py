"""The contract of a box, and the stream from its collector.

All bytes from a box are untrusted: they are read under caps and never imported. The stream follows
the end of the program. It is a 4-byte length, a JSON header {exit, refused, files: [[name, size],
...]}, and then the bytes of the files in order.
"""

import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from configs.build import strict_json
from configs.errors import BadInput
from configs.job import Limits, Outcome
from configs.records import KILLED, Grant, Job, Plan
from sandbox.box.cgroup import Group

SETTINGS = {
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1:glibc.malloc.mmap_threshold=33554432"
    ":glibc.malloc.trim_threshold=1073741824",
}
"""Environment of the process that becomes a job: one thread, and memory by huge pages that stays
with the job until it ends. A forked job would else fault in each page of 4 kB, over and over.
"""
HEADER_BYTES = 65_536
"""Largest JSON header of a stream."""
STOPPED = f"{KILLED} as its box was stopped"
"""Detail of a job that a stop ended, or kept from its begin: no try of it is lost."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Execution:
    """A job in the form for its box."""

    role: str
    "module of the bundle to run: models.<role>.main(IN, OUT)"
    files: Mapping[str, bytes]
    "the bundle and its inputs, by path under IN"
    limits: Limits
    "hard limits"
    outputs: Mapping[str, int]
    "allowed names under OUT, each with its largest size in bytes"
    cpu: int | None = None
    "core to pin to; None: any"
    key: str = "job"
    "short identifier, for control groups and labels"
    study: str = ""
    "digest of the study root, for labels"
    doors: "DoorsOfJob | None" = None
    "an agent's way to ask the trusted side; None for every other job"
    gpu: "GpuOfJob | None" = None
    "a device and the meter of its time; None: no device is passed"
    permission: "Permission | None" = None
    "why it may run, for a node that checks it again; None for what no study grants"


@dataclass(frozen=True, slots=True, kw_only=True)
class Permission:
    """What lets a job run: its grant, and the plan and job that the grant is for."""

    plan: Plan
    job: Job
    grant: Grant


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeOutcome(Outcome):
    """The outcome of an execution on another machine."""

    receipt: bytes = b""
    "statement on it, signed by the node's key; empty where the node is lost"
    lost: bool = False
    "the node is lost, and with it every measure of the job"


class DoorsOfJob(Protocol):
    """Listening sockets of one job (sandbox/door/doors.py)."""

    folder: Path
    "folder of the sockets, mounted into the job as /doors"
    forwarded: str
    "name of the door that a TCP port of the job leads to; empty: none (tcp.py)"
    model: str
    "name of the model behind a door, for its clients; empty: none"

    def open(self, pid: int) -> None:
        """Begin to let in processes of the job whose collector has this pid."""
        ...

    def close(self) -> None:
        """Let nobody in any more; called before the kill."""
        ...


class GpuOfJob(Protocol):
    """A CUDA device of one job, and the meter of its time (gpu.py)."""

    devices: Mapping[str, str]
    "place in the box -> device file here"

    def open(self) -> None:
        """Begin, before the job does."""
        ...

    def follow(self, group: Group | None, wall_us: int) -> str:
        """Note the job's processes; return the passed limit, or an empty string."""
        ...

    def close(self, wall_us: int) -> None:
        """Read what the ended job used."""
        ...


class Box(Protocol):
    """An isolated place to run jobs.

    `run` never raises for the acts of a program. If the box itself fails, the outcome has the
    status `box`.
    """

    kind: str
    "namespace, docker or fake"
    tier: str
    "A, B or C (docs/threat-model.md)"

    def run(self, execution: Execution) -> Outcome:
        """Execute once and return the outcome; safe to call from several threads."""
        ...

    def stop(self) -> None:
        """Kill every live job and refuse new ones."""
        ...

    def close(self) -> None:
        """Release everything."""
        ...


def report_failure(detail: str, startup_us: int = 0, used_us: int = 0) -> Outcome:
    """Return the outcome of a box after its own failure.

    It charges the CPU of the start, and the actual or possible CPU of the program.
    """
    return Outcome(
        status="box",
        detail=detail,
        cpu_us=startup_us + used_us,
        startup_cpu_us=startup_us,
        wall_us=0,
        peak_bytes=0,
        charged_by="bound",
        files={},
        log=b"",
        log_total=0,
    )


def lose(outcome: Outcome, detail: str) -> Outcome:
    """Return the outcome of a job that somebody outside ended: no act of its program."""
    return replace(outcome, status="box", detail=detail, files={})


def heed_stop(outcome: Outcome, stopped: bool) -> Outcome:
    """Return the outcome of a job in a box that may have been stopped meanwhile: then it did not
    fail, and has lost none of its tries.
    """
    ended = stopped and outcome.status in ("program", "box")
    return lose(outcome, STOPPED) if ended else outcome


def pack(request: Mapping[str, object], files: Mapping[str, bytes]) -> bytes:
    """Return the order for the process inside: a header with file sizes, then the files."""
    sizes = [[name, len(data)] for name, data in files.items()]
    header = json.dumps({**request, "files": sizes}).encode()
    return struct.pack(">I", len(header)) + header + b"".join(files.values())


def is_whole(stream: bytes | bytearray) -> bool:
    """Tell whether a collector's stream is there to its last byte.

    A whole stream ends the wait for a box; its own end may take a while.
    """
    if len(stream) < 4:
        return False
    start = 4 + struct.unpack(">I", stream[:4])[0]
    if len(stream) < start:
        return False
    try:
        sizes = [size for _, size in strict_json(bytes(stream[4:start]))["files"]]
        return bool(len(stream) >= start + sum(sizes))
    except (BadInput, KeyError, TypeError, ValueError):
        return False


class CutShort(BadInput):
    """A collector's stream that ends early: the collector was killed."""


def unpack(stream: bytes, allowed: Mapping[str, int]) -> tuple[str, dict[str, bytes]]:
    """Return (failure, files) of an untrusted stream; failure is empty after exit code 0.

    Raises CutShort for a stream that ends early, BadInput for a malformed one or beyond a cap.
    """
    size = struct.unpack(">I", stream[:4])[0] if len(stream) >= 4 else 0
    if size > HEADER_BYTES:
        raise BadInput("the collector's stream has no header")
    if len(stream) < 4 + size:
        raise CutShort("the collector's stream has no header")
    header, rest = strict_json(stream[4 : 4 + size]), stream[4 + size :]
    files: dict[str, bytes] = {}
    try:
        for name, length in header["files"]:
            if not _is_allowed(name, length, allowed) or name in files:
                raise BadInput("the collector's stream names a file that is not allowed")
            if len(rest) < length:
                raise CutShort("the collector's stream is cut short")
            files[name], rest = rest[:length], rest[length:]
        code, refused = int(header["exit"]), str(header["refused"])[:200]
    except (KeyError, TypeError, ValueError):
        raise BadInput("the collector's stream has a malformed header") from None
    if rest:
        raise BadInput("the collector's stream is longer than it says")
    return _name_failure(code, refused), files


def _is_allowed(name: str, length: object, allowed: Mapping[str, int]) -> bool:
    return name in allowed and type(length) is int and 0 <= length <= allowed[name]


def _name_failure(code: int, refused: str) -> str:
    """Return the failure of a program: its exit code, its signal, or a refused output."""
    if code > 0:
        return f"exit {code}"
    return f"signal {-code}" if code < 0 else refused
