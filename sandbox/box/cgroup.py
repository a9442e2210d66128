"""One control group per job: CPU, memory and processes of all its processes, read from outside.

Works on cgroup v1 (several trees) and v2 (a single delegated tree). If neither is writable,
`create` returns None, and the caller charges the bound instead. A group is removed last, after the
end of all its processes.
"""

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from configs.job import Limits

V1 = ("cpuacct", "cpu", "memory", "pids")


Mark = tuple[int, int]
"""What changes when a folder gets or loses a folder."""


class Group:
    """The control group of one job.

    The files of its counters stay open until `remove`, since they are read every few milliseconds.
    """

    def __init__(self, folders: dict[str, Path], version: int) -> None:
        self._folders, self._version = folders, version
        self._open = dict[str, int]()
        "path of a counter's file -> its descriptor"
        self._below = dict[str, dict[str, Mark]]()
        "folder of the group in a tree -> the folders from there on, as last seen"

    @property
    def procs(self) -> list[str]:
        """Files of the group; a process joins by writing its pid into each."""
        return [str(folder / "cgroup.procs") for folder in sorted(set(self._folders.values()))]

    def add(self, pid: int) -> None:
        """Move a process into the group."""
        for path in self.procs:
            Path(path).write_text(str(pid))

    def cpu_us(self) -> int:
        """Return the CPU-microseconds of all processes, the dead included."""
        if self._version == 1:
            return int(self._read(f"{self._folders['cpuacct']}/cpuacct.usage")) // 1000
        return _counter(self._read(f"{self._folders['all']}/cpu.stat"), b"usage_usec")

    def peak_bytes(self) -> int:
        """Return the largest memory use so far, in bytes."""
        name = "memory.max_usage_in_bytes" if self._version == 1 else "memory.peak"
        with contextlib.suppress(OSError):
            return int((self._folder("memory") / name).read_text())
        return 0

    def throttled_us(self) -> int:
        """Return how long the group's own quota held it back, in microseconds."""
        with contextlib.suppress(OSError):
            stat = self._read(f"{self._folder('cpu')}/cpu.stat")
            if self._version == 1:
                return _counter(stat, b"throttled_time") // 1000
            return _counter(stat, b"throttled_usec")
        return 0

    def breach(self) -> str:
        """Return `memory` after an OOM kill, `processes` after a denied fork, else an empty
        string.
        """
        events = "memory.oom_control" if self._version == 1 else "memory.events"
        if self._total("memory", events, b"oom_kill"):
            return "memory"
        return "processes" if self._total("pids", "pids.events", b"max") else ""

    def _folder(self, tree: str) -> Path:
        """Return the group's folder in a tree of v1; v2 has a single tree."""
        return self._folders.get(tree) or self._folders["all"]

    def _total(self, tree: str, file: str, key: bytes) -> int:
        """Add a counter up over the group and the groups below it.

        v1 counts an event only in the group where it happens.
        """
        top, *below = self._walk(str(self._folder(tree)))
        total = _counter(self._read(f"{top}/{file}"), key)
        for folder in below:
            # A container's own group goes with the container.
            with contextlib.suppress(OSError):
                total += _counter(self._read(f"{folder}/{file}"), key)
        return total

    def _walk(self, top: str) -> Iterable[str]:
        """Return a folder of the group and all below it; only a new or lost folder costs a walk."""
        seen = self._below.get(top)
        with contextlib.suppress(OSError):
            if seen and all(_mark(folder) == mark for folder, mark in seen.items()):
                return seen
        seen = {top: _mark(top)}
        for folder, _, _ in os.walk(top):
            with contextlib.suppress(OSError):
                seen[folder] = _mark(folder)
        self._below[top] = seen
        return seen

    def _read(self, path: str) -> bytes:
        """Return a counter's text now."""
        file = self._open.get(path)
        if file is None:
            file = self._open[path] = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        return os.pread(file, 4096, 0)

    def allow_memory(self, more: int) -> None:
        """Set the memory limit to the present use and `more` bytes."""
        folder = self._folder("memory")
        usage, limits = "memory.current", ["memory.max"]
        if self._version == 1:
            usage = "memory.usage_in_bytes"
            limits = ["memory.limit_in_bytes", "memory.memsw.limit_in_bytes"]
        limit = int((folder / usage).read_text()) + more
        for name in limits:
            if (folder / name).exists():
                (folder / name).write_text(str(limit))

    def is_occupied(self) -> bool:
        """Tell whether any process runs in the group or below."""
        for folder, _, _ in os.walk(Path(self.procs[0]).parent):
            with contextlib.suppress(OSError):
                if Path(folder, "cgroup.procs").read_text().strip():
                    return True
        return False

    def is_foreign(self) -> bool:
        """Tell whether a process of another pid namespace runs in the group or below."""
        return "0" in self.list_pids()

    def list_pids(self) -> list[str]:
        """Return the pids in the group and below; none where it just went."""
        with contextlib.suppress(OSError):
            return self._pids()
        return []

    def _pids(self) -> list[str]:
        """Return the pids in the group and below."""
        pids = list[str]()
        for folder in self._walk(os.path.dirname(self.procs[0])):
            with open(f"{folder}/cgroup.procs") as file:
                pids += file.read().split()
        return pids

    def kill(self) -> bool:
        """Kill every process in the group and below; return whether it is empty within two
        seconds.
        """
        quota, none = "cpu.max", "max 100000"
        if self._version == 1:
            quota, none = "cpu.cfs_quota_us", "-1"
        # The dying give their memory back under the quota too, so it is lifted. Another process may
        # have swept a part of a dead run's group by now.
        with contextlib.suppress(OSError, KeyError):
            (self._folder("cpu") / quota).write_text(none)
        deadline = time.monotonic() + 2
        while time.monotonic() < deadline:
            try:
                pids = self._pids()
            except FileNotFoundError:
                if not Path(self.procs[0]).exists():
                    return True
                continue
            except OSError:
                continue
            if not pids:
                return True
            for pid in pids:
                if pid == "0":
                    continue  # a process of another pid namespace; 0 would mean our own group
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(pid), signal.SIGKILL)
            time.sleep(0.001)
        return False

    def remove(self) -> None:
        """Remove the group's folders, trying again while the kernel still holds a dying process."""
        while self._open:
            os.close(self._open.popitem()[1])
        for folder in set(self._folders.values()):
            for _ in range(200):
                for below, _, _ in os.walk(folder, topdown=False):
                    with contextlib.suppress(OSError):
                        os.rmdir(below)
                if not folder.exists():
                    break
                time.sleep(0.005)


def create(name: str, limits: Limits, root: Path = Path("/sys/fs/cgroup")) -> Group | None:
    """Make a group with these limits, or return None if no control group is writable."""
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
    """Kill and remove the groups of dead runs; return their number.

    The name of a group begins with the pid of its run. Groups with processes that this pid
    namespace does not see belong to another one, and stay.
    """
    dead = _groups(root, lambda owner: not Path(f"/proc/{owner}").exists())
    groups = [group for group in dead if not group.is_foreign()]
    for group in groups:
        group.kill()
        group.remove()
    return len(groups)


def kill_of(pid: int, root: Path = Path("/sys/fs/cgroup")) -> int:
    """Kill all processes in the groups of a living run; return the number of groups."""
    groups = _groups(root, lambda owner: owner == pid)
    occupied = [group for group in groups if group.is_occupied()]
    for group in occupied:
        group.kill()
    return len(occupied)


def _groups(root: Path, wanted: Callable[[int], bool]) -> list[Group]:
    """Return the groups of the owners that `wanted` accepts."""
    by_name: dict[str, dict[str, Path]] = {}
    version = 2 if (root / "cgroup.controllers").exists() else 1
    with contextlib.suppress(OSError):
        for tree in V1 if version == 1 else ("all",):
            base = root / tree / "heirloop" if version == 1 else _base_v2(root)
            for folder in base.iterdir() if base.is_dir() else ():
                owner = folder.name.partition("-")[0]
                if folder.is_dir() and owner.isdigit() and wanted(int(owner)):
                    by_name.setdefault(folder.name, {})[tree] = folder
    return [Group(folders, version) for folders in by_name.values()]


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
    name: str, limits: Limits, root: Path, membership: Path = Path("/proc/self/cgroup")
) -> Group:
    base = _base_v2(root, membership)
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


def _base_v2(root: Path, membership: Path = Path("/proc/self/cgroup")) -> Path:
    """Return the folder of our groups, a neighbour of this process's own group."""
    own = membership.read_text().strip().rpartition("::")[2].lstrip("/")
    return (root / own).parent / "heirloop" if own else root / "heirloop"


def _counter(text: bytes, key: bytes) -> int:
    """Return a value of a text of keys and values; 0 without the key."""
    words = text.split()
    return int(words[words.index(key) + 1]) if key in words else 0


def _mark(folder: str) -> Mark:
    status = os.stat(folder)
    return status.st_nlink, status.st_mtime_ns
