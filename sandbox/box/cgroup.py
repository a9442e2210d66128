"""One control group per job: aggregate CPU, memory and processes, read and killed from outside.

Works on cgroup v1 (several trees) and v2 (one tree, delegated); where neither is writable, `create`
returns None and the caller charges the bound instead. A group is removed last, after everything in
it is gone.
"""

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

from configs.job import Limits

V1 = ("cpuacct", "cpu", "memory", "pids")


class Group:
    """The control group of one job."""

    def __init__(self, folders: dict[str, Path], version: int) -> None:
        self._folders, self._version = folders, version

    @property
    def procs(self) -> list[str]:
        """Files that a process writes its pid into to join."""
        return [str(folder / "cgroup.procs") for folder in sorted(set(self._folders.values()))]

    def add(self, pid: int) -> None:
        """Move a process into the group."""
        for path in self.procs:
            Path(path).write_text(str(pid))

    def cpu_us(self) -> int:
        """Return the CPU-microseconds of all processes, gone ones included."""
        if self._version == 1:
            return int((self._folders["cpuacct"] / "cpuacct.usage").read_text()) // 1000
        return _counter(self._folders["all"] / "cpu.stat", "usage_usec")

    def peak_bytes(self) -> int:
        """Return the largest memory seen."""
        name = "memory.max_usage_in_bytes" if self._version == 1 else "memory.peak"
        with contextlib.suppress(OSError):
            return int(
                (self._folders.get("memory") or self._folders["all"]).joinpath(name).read_text()
            )
        return 0

    def breach(self) -> str:
        """Return `memory` after an OOM kill, `processes` after a denied fork, else an empty
        string.
        """
        memory = (
            ("memory", "memory.oom_control") if self._version == 1 else ("all", "memory.events")
        )
        if self._total(*memory, "oom_kill"):
            return "memory"
        return (
            "processes"
            if self._total("pids" if self._version == 1 else "all", "pids.events", "max")
            else ""
        )

    def _total(self, tree: str, file: str, key: str) -> int:
        """Add a counter up over the group and the groups below it (v1 counts an event where it
        happened alone).
        """
        found = _counter(self._folders[tree] / file, key)
        for folder, _, _ in os.walk(self._folders[tree]):
            if folder != str(self._folders[tree]):
                with contextlib.suppress(
                    OSError
                ):  # a container's own group goes with the container
                    found += _counter(Path(folder, file), key)
        return found

    def allow_memory(self, more: int) -> None:
        """Set the memory limit to what is used now and `more` bytes."""
        folder = self._folders.get("memory") or self._folders["all"]
        now, limits = (
            ("memory.usage_in_bytes", ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes"))
            if self._version == 1
            else ("memory.current", ("memory.max",))
        )
        most = int((folder / now).read_text()) + more
        for name in limits:
            if (folder / name).exists():
                (folder / name).write_text(str(most))

    def held(self) -> bool:
        """Tell whether anything runs in the group or below."""
        with contextlib.suppress(OSError):
            return any(
                Path(folder, "cgroup.procs").read_text().strip()
                for folder, _, _ in os.walk(Path(self.procs[0]).parent)
            )
        return False

    def kill(self) -> bool:
        """Kill everything in the group and below, on every core; return whether it is empty within
        two seconds.
        """
        quota, none = (
            ("cpu.cfs_quota_us", "-1") if self._version == 1 else ("cpu.max", "max 100000")
        )
        with contextlib.suppress(OSError):  # the dead give their memory back under the quota too
            (self._folders.get("cpu") or self._folders["all"]).joinpath(quota).write_text(none)
        deadline = time.monotonic() + 2
        while time.monotonic() < deadline:
            try:
                folders = [folder for folder, _, _ in os.walk(Path(self.procs[0]).parent)]
                pids = [
                    pid
                    for folder in folders
                    for pid in Path(folder, "cgroup.procs").read_text().split()
                ]
            except FileNotFoundError:
                if not Path(self.procs[0]).exists():
                    return True
                continue
            except OSError:
                continue
            if not pids:
                return True
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(pid), signal.SIGKILL)
            time.sleep(0.001)
        return False

    def remove(self) -> None:
        """Remove the group's folders, trying again while the kernel still holds a dying process."""
        for folder in set(self._folders.values()):
            for _ in range(200):
                for below, _, _ in os.walk(folder, topdown=False):
                    with contextlib.suppress(OSError):
                        os.rmdir(below)
                if not folder.exists():
                    break
                time.sleep(0.005)


def create(name: str, limits: Limits, root: Path = Path("/sys/fs/cgroup")) -> Group | None:
    """Make a group with the limits set, or return None where no control group is writable."""
    try:
        return (
            _create_v2(name, limits, root)
            if (root / "cgroup.controllers").exists()
            else _create_v1(name, limits, root)
        )
    except OSError:
        return None


def available(root: Path = Path("/sys/fs/cgroup")) -> bool:
    """Tell whether a group can be made here."""
    group = create(f"{os.getpid()}-probe-{threading.get_ident()}", Limits(), root)
    if group:
        group.remove()
    return group is not None


def sweep(root: Path = Path("/sys/fs/cgroup")) -> int:
    """Kill and remove the groups of runs whose process is gone (names begin with its pid); return
    how many there were.
    """
    found = _groups(root, lambda owner: not Path(f"/proc/{owner}").exists())
    for group in found:
        group.kill()
        group.remove()
    return len(found)


def kill_of(pid: int, root: Path = Path("/sys/fs/cgroup")) -> int:
    """Kill what runs in the groups of a process that still lives (or hangs); return how many groups
    held something.
    """
    found = [group for group in _groups(root, lambda owner: owner == pid) if group.held()]
    for group in found:
        group.kill()
    return len(found)


def _groups(root: Path, wanted: Callable[[int], bool]) -> list[Group]:
    found: dict[str, dict[str, Path]] = {}
    version = 2 if (root / "cgroup.controllers").exists() else 1
    with contextlib.suppress(OSError):
        for tree in V1 if version == 1 else ("all",):
            base = root / tree / "heirloop" if version == 1 else _base_v2(root)
            for folder in base.iterdir() if base.is_dir() else ():
                owner = folder.name.partition("-")[0]
                if folder.is_dir() and owner.isdigit() and wanted(int(owner)):
                    found.setdefault(folder.name, {})[tree] = folder
    return [Group(folders, version) for folders in found.values()]


def _create_v1(name: str, limits: Limits, root: Path) -> Group:
    folders = {c: root / c / "heirloop" / name for c in V1}
    for folder in folders.values():
        folder.mkdir(parents=True)
    (folders["memory"] / "memory.limit_in_bytes").write_text(str(limits.memory_bytes))
    swap = folders["memory"] / "memory.memsw.limit_in_bytes"
    if swap.exists():
        swap.write_text(str(limits.memory_bytes))
    (folders["pids"] / "pids.max").write_text(str(limits.processes))
    (folders["cpu"] / "cpu.cfs_quota_us").write_text("100000")
    return Group(folders, 1)


def _create_v2(
    name: str, limits: Limits, root: Path, told: Path = Path("/proc/self/cgroup")
) -> Group:
    base = _base_v2(root, told)
    folder = base / name
    base.mkdir(exist_ok=True)
    for place in (base.parent, base):
        (place / "cgroup.subtree_control").write_text("+cpu +memory +pids")
    folder.mkdir()
    (folder / "memory.max").write_text(str(limits.memory_bytes))
    with contextlib.suppress(OSError):
        (folder / "memory.swap.max").write_text("0")
    (folder / "pids.max").write_text(str(limits.processes))
    (folder / "cpu.max").write_text("100000 100000")
    return Group({"all": folder}, 2)


def _base_v2(root: Path, told: Path = Path("/proc/self/cgroup")) -> Path:
    """Return the folder of our groups: beside the leaf that this process sits in."""
    own = told.read_text().strip().rpartition("::")[2].lstrip("/")
    return (root / own).parent / "heirloop" if own else root / "heirloop"


def _counter(path: Path, name: str) -> int:
    for line in path.read_text().splitlines():
        key, _, value = line.partition(" ")
        if key == name:
            return int(value)
    return 0
