"""Was a job starved of a core, or did it sleep? The kernel's own figures say it.

Example: a training passed its wall limit of 60 s with 8 s of CPU. If it waited 50 s in the
scheduler's queue, the machine failed. If it slept, the program failed. Each wait that the job makes
itself is taken off: behind its own processes, and under its own quota.
"""

from dataclasses import dataclass
from pathlib import Path

from configs.job import Limits
from sandbox.box.cgroup import Group

STARVED = "starved"
"""Begins the detail of a job that the machine starved."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """The use of a core by a job, in microseconds."""

    cpu_us: int
    "CPU of the whole job"
    waited_us: int
    "ready to run, while neither the job nor its quota was the reason to wait"

    def is_starved(self, limits: Limits) -> bool:
        """Tell whether the machine took the time that the limits leave besides computing.

        A job that computes without a pause either passes its CPU limit, or waits this long. A
        quarter is for waits before its first process and after its last.
        """
        spare_us = max(limits.wall_us - limits.cpu_us, limits.wall_us // 4)
        return self.cpu_us <= limits.cpu_us and 4 * self.waited_us >= 3 * spare_us

    def describe(self) -> str:
        """Return the clause for a starved job."""
        waited, used = self.waited_us / 1e6, self.cpu_us / 1e6
        return (
            f"{STARVED}: the machine kept it {waited:.1f} s waiting for a core, and gave"
            f" {used:.1f} s of CPU within its wall limit"
        )


class Meter:
    """The figures of a job from now on; a container has waited for its own start before."""

    def __init__(self, group: Group, proc: Path = Path("/proc")) -> None:
        self._group, self._proc = group, proc
        self._before = {pid: self._read(pid) for pid in group.list_pids()}
        self._throttled_us = group.throttled_us()

    def measure(self, cpu_us: int) -> Use:
        """Return the use of a living job; `cpu_us` is its CPU from the group's counter."""
        quota_us = self._group.throttled_us() - self._throttled_us
        waits = [self._wait_for_others(pid, cpu_us) for pid in self._group.list_pids()]
        return Use(cpu_us=cpu_us, waited_us=max(0, max(waits, default=0) - quota_us))

    def _wait_for_others(self, pid: str, cpu_us: int) -> int:
        """Return a process's wait for a core, less the CPU of all other processes of the job."""
        (ran, waited), (ran_before, waited_before) = self._read(pid), self._before.get(pid, (0, 0))
        others_us = max(0, cpu_us - (ran - ran_before))
        return waited - waited_before - others_us

    def _read(self, pid: str) -> tuple[int, int]:
        """Return a process's microseconds on a core and in the queue; without the file, zeros."""
        try:
            ran, waited, _ = map(int, (self._proc / pid / "schedstat").read_text().split())
            return ran // 1000, waited // 1000
        except (OSError, ValueError):
            return 0, 0
