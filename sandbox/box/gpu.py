"""One CUDA device for jobs that reserved its time, and that time, measured from outside.

A job with GPU-microseconds gets the files of the machine's first device; no other job gets any.
GPU-time is the time with a context on the device. The driver accounts for it by process
(`nvidia-smi --query-accounted-apps`), and the trusted side reads it after the job's end, for the
pids that it saw in the job's control group. It is at most the job's wall time, which is charged
wherever the account cannot be read, or tells nothing of the job. The limit is held by wall time
for the same reason. Never run on a real device by us: tests use a program that stands in for
nvidia-smi, and character devices that stand in for the files.
"""

import os
import shutil
import subprocess
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from configs.errors import NoBox
from configs.records import Amount, JobResult
from sandbox.box.cgroup import Group
from sandbox.box.container import FIRST_NAMESPACE

NODES = ("nvidia0", "nvidiactl", "nvidia-uvm")
"""Device files that CUDA opens: the first device, the driver, and its unified memory."""
PROGRAM = "nvidia-smi"
SECONDS = 10
"""Longest wait for the driver's program."""
PAUSE_SECONDS = 0.05
"""Between two looks at a job's pids; a context takes longer to make."""
SETTLING_SECONDS, READINGS = 0.2, 10
"""Between two equal readings, since the driver writes a process's account at its end; at most."""


def find_device(dev: Path = Path("/dev")) -> Mapping[str, str]:
    """Return place in the box -> file here, of the device; raise NoBox where there is none."""
    for name in NODES:
        if not (dev / name).is_char_device():
            raise NoBox(
                f"box.device is cuda, and there is no {dev / name} on this machine; set"
                " box.device=cpu, or use a machine with a CUDA device and its driver"
            )
    return {f"/dev/{name}": str(dev / name) for name in NODES}


def describe_device() -> str:
    """Return what this machine has for box.device=cuda, in a sentence."""
    try:
        find_device()
    except NoBox as error:
        return f"no CUDA device: {error}"
    if read_accounts() is None:
        return (
            "a CUDA device is here, and its driver's accounts are not readable (`nvidia-smi -am 1`"
            " as root turns them on): a job is charged its wall time as GPU-time"
        )
    return "a CUDA device is here, and its driver accounts for GPU-time by process"


def read_accounts() -> Counter[tuple[int, int]] | None:
    """Return the (pid, milliseconds) of every ended process with a context, None if unreadable.

    Pids of another pid namespace than the machine's first are not the driver's.
    """
    mode = _ask("--query-gpu=accounting.mode")
    rows = _ask("--query-accounted-apps=pid,time")
    if os.readlink("/proc/self/ns/pid").strip("pid:[]") != FIRST_NAMESPACE:
        return None
    if rows is None or not mode or set(mode) != {"Enabled"}:
        return None
    try:
        found = Counter((int(pid), int(took)) for pid, took in (row.split(",") for row in rows))
    except ValueError:
        return None
    return found if all(took >= 0 for _, took in found) else None


def _ask(query: str) -> list[str] | None:
    """Return the lines of an answer of the driver's program, None without one."""
    program = shutil.which(PROGRAM)
    if program is None:
        return None
    try:
        done = subprocess.run(
            [program, query, "--format=csv,noheader,nounits"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=SECONDS,
            env={"PATH": os.defpath, "LC_ALL": "C"},
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.decode(errors="replace").split("\n")[:-1]


class Meter:
    """GPU-time of one job: its limit, the device's files, and what it used."""

    def __init__(self, limit_us: int, devices: Mapping[str, str]) -> None:
        self.limit_us, self.devices = limit_us, devices
        self._before: Counter[tuple[int, int]] | None = None
        self._pids, self._looked, self._begun = set[str](), 0.0, False
        self._used: tuple[int, str] | None = None

    def open(self) -> None:
        """Note the driver's accounts before the job begins."""
        self._begun, self._before = True, read_accounts()

    def follow(self, group: Group | None, wall_us: int) -> str:
        """Note the job's pids; return `gpu` once its limit is passed, or an empty string."""
        if group and time.monotonic() - self._looked > PAUSE_SECONDS:
            self._pids.update(group.list_pids())
            self._looked = time.monotonic()
        return "gpu" if wall_us > self.limit_us else ""

    def close(self, wall_us: int) -> None:
        """Read what the ended job used; it ran for so many microseconds."""
        used = self._read_used()
        self._used = (min(used, wall_us), "accounts") if used else (wall_us, "bound")

    def charge(self, result: JobResult) -> JobResult:
        """Return a job's result with its GPU-time; a lost reading costs the whole limit."""
        lost = (self.limit_us, "reservation") if self._begun else (0, "")
        used, by = self._used or lost
        charged = result.charged + Amount(gpu_us=used)
        return replace(result, charged=charged, gpu_charged_by=by)  # type: ignore[arg-type]

    def _read_used(self) -> int:
        """Return the microseconds that the driver accounts to the job; 0 if it tells nothing."""
        if self._before is None or not self._pids:
            return 0
        after = read_accounts()
        for _ in range(READINGS):
            time.sleep(SETTLING_SECONDS)
            again, after = after, read_accounts()
            if again == after:
                break
        new = (after or Counter[tuple[int, int]]()) - self._before
        return sum(1000 * took * n for (pid, took), n in new.items() if str(pid) in self._pids)


def make_meter(limit_us: int) -> Meter | None:
    """Return the meter of a job with GPU-time, None for any other; NoBox without a device."""
    return Meter(limit_us, find_device()) if limit_us else None
