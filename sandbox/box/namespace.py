"""The namespace box: bubblewrap, one control group per job, limits and the kill from outside.

A process inside a bubblewrap box imports torch and forks each job into namespaces of its own
(`zygote.py`). Warm, that process stays for the whole study, one for each role and core. Cold, it
serves a single job. The box needs user namespaces. Without a writable control group it charges
wall time on the pinned core, and its tier is C.
"""

import contextlib
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from configs.errors import NoBox
from configs.job import Limits, Outcome
from sandbox.box import cgroup
from sandbox.box.base import STOPPED, Execution, heed_stop, lose, report_failure
from sandbox.box.bubblewrap import command, list_system_folders
from sandbox.box.environment import open_copy
from sandbox.box.interpreter import Interpreter, ask, loader_settings
from sandbox.box.remedy import explain_start
from sandbox.box.watch import Pair, watch

HERE = Path(__file__).parent
START = Limits(cpu_us=60_000_000, wall_us=120_000_000, memory_bytes=2_000_000_000, processes=128)
"""Limits of the process that imports torch; its CPU is charged to its first job."""


class Zygote:
    """A started process inside a box."""

    def __init__(
        self,
        python: Interpreter,
        cpu: int | None,
        key: str,
        shipped: bytes,
        own: Execution | None = None,
    ) -> None:
        self.group = cgroup.create(f"{os.getpid()}-z-{key}", START)
        self.charged = False
        self.control, inner = socket.socketpair()
        started = time.monotonic()
        self.process = self._start(python, cpu, inner, own)
        self.control.settimeout(START.wall_us / 1e6)
        try:
            self.control.sendall(struct.pack(">I", len(shipped)) + shipped)
            ready = self.control.recv(1) == b"Z"
        except OSError:
            ready = False
        self.wall_us = int((time.monotonic() - started) * 1e6)
        if not ready:
            raise NoBox(explain_start(self._read_errors()))

    def startup_us(self) -> int:
        """Return the CPU of the start, once; without a control group, its wall time."""
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

    def _start(
        self, python: Interpreter, cpu: int | None, inner: socket.socket, own: Execution | None
    ) -> subprocess.Popen[bytes]:
        os.set_inheritable(inner.fileno(), True)
        procs = self.group.procs if self.group else []
        doors = own.doors.folder if own and own.doors else None
        devices = own.gpu.devices if own and own.gpu else {}
        order = command(python, inner.fileno(), cpu, procs, HERE / "zygote.py", doors, devices)
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", str(HERE / "launch.py"), json.dumps(order)],
            pass_fds=[inner.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            start_new_session=True,
            env=loader_settings(),
        )
        inner.close()
        return process

    def _read_errors(self) -> str:
        """Kill a process that does not start; return its messages."""
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()
        errors = self.process.stderr.read(2000) if self.process.stderr else b""
        self.close()
        return errors.decode(errors="replace")


class NamespaceBox:
    """Runs jobs in namespaces; see the module docstring. Raises NoBox if this machine cannot.

    With an `environment` of people's own (environment.py) every start is cold. A warm box compiles
    the files of `shipped` once: jobs whose bundle holds the same bytes need not.
    """

    kind = "namespace"

    def __init__(
        self,
        box_env: Path,
        *,
        warm: bool = True,
        environment: str = "",
        shipped: Mapping[str, bytes] | None = None,
    ) -> None:
        if sys.platform != "linux":
            raise NoBox("the namespace box needs Linux; choose box=docker")
        if not (box_env / "bin" / "python").exists():
            raise NoBox(f"there is no box environment at {box_env}; `make setup` makes it")
        self.tier = "B" if cgroup.available() else "C"
        cgroup.sweep()
        self._python, self._warm = ask(box_env, list_system_folders()), warm and not environment
        texts = {name: data.decode() for name, data in (shipped or {}).items() if self._warm}
        self._shipped = json.dumps(texts).encode()
        if environment:
            self._python = replace(self._python, site=str(open_copy(environment)), bare=True)
        self._free: dict[tuple[str, int | None], list[Zygote]] = {}
        self._live: set[tuple[int, cgroup.Group | None]] = set()
        self._lock, self._stopped = threading.Lock(), False
        # die-with-parent follows the thread that starts a process, so a single thread starts all.
        self._spawner = ThreadPoolExecutor(1, "box")

    def prove(self) -> None:
        """Start a process inside, and keep it for the first job if warm.

        Raises NoBox if user namespaces are closed.
        """
        zygote = self._spawn(None)
        if self._warm:
            self._free.setdefault(("train", None), []).append(zygote)
        else:
            zygote.close()

    def run(self, execution: Execution) -> Outcome:
        """Execute once; see `Box.run`."""
        return heed_stop(self._run(execution), self._stopped)

    def _run(self, execution: Execution) -> Outcome:
        if self._stopped:
            return report_failure(STOPPED)
        alone = execution.doors is not None or execution.gpu is not None
        try:
            if alone:  # a start of its own, which alone sees the folder of its doors, and a device
                zygote = self._spawn(execution.cpu, execution)
            else:
                zygote = self._take_idle(execution) or self._spawn(execution.cpu)
        except NoBox as error:
            return report_failure(str(error))
        outcome = self._run_in(zygote, execution)
        alive = zygote.process.poll() is None
        keeps = self._warm and not alone
        if keeps and outcome.status != "box" and not self._stopped and alive:
            with self._lock:
                self._free.setdefault((execution.role, execution.cpu), []).append(zygote)
        else:
            zygote.close()
        return outcome

    def stop(self) -> None:
        """Kill every live job and refuse new ones."""
        with self._lock:
            self._stopped = True
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

    def _admit(self, live: tuple[int, cgroup.Group | None]) -> bool:
        """Enter a job among those that `stop` kills; False if the stop was first.

        One lock holds both, so no job slips between the stop's list and its refusal.
        """
        with self._lock:
            if not self._stopped:
                self._live.add(live)
            return not self._stopped

    def _take_idle(self, execution: Execution) -> Zygote | None:
        """Return an idle process for this role and core, unless it was killed from outside."""
        with self._lock:
            idle = self._free.get((execution.role, execution.cpu), [])
            zygote = idle.pop() if idle else None
        if zygote and zygote.process.poll() is not None:
            zygote.close()
            return None
        return zygote

    def _spawn(self, cpu: int | None, own: Execution | None = None) -> Zygote:
        key = os.urandom(4).hex()
        return self._spawner.submit(Zygote, self._python, cpu, key, self._shipped, own).result()

    def _run_in(self, zygote: Zygote, execution: Execution) -> Outcome:
        """Let a process fork one job, and watch the job to its end."""
        startup = zygote.startup_us()
        key = f"{os.getpid()}-j-{execution.key}-{os.urandom(4).hex()}"
        group = cgroup.create(key, execution.limits)
        outer, inner = socket.socketpair()
        log, log_end = os.pipe()
        started = time.monotonic()
        pid, live = 0, (0, group)
        try:
            outer.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
            outer.settimeout(20)
            socket.send_fds(zygote.control, [b"J"], [inner.fileno(), log_end])
            inner.close()
            os.close(log_end)
            pid = _receive_pid(outer)
            if group:
                group.add(pid)
            live = (pid, group)
            if not self._admit(live):
                return report_failure(STOPPED, startup)
            if execution.doors:
                execution.doors.open(pid)
            if execution.gpu:
                execution.gpu.open()
            outcome = watch(
                execution,
                Pair(outer, log),
                group,
                lambda: _end(execution, pid, group),
                started=started,
                startup_us=startup,
            )
            # The job is gone; its number may belong to another process by now.
            pid = 0
            # No job can send a signal to bubblewrap: somebody outside ended the box.
            if outcome.status == "program" and (zygote.process.poll() or 0) < 0:
                return lose(outcome, "it was killed from outside")
            return outcome
        except (OSError, IndexError) as error:
            # The use of the job is unknown, so its limit is charged.
            return report_failure(f"the box failed: {error}", startup, execution.limits.cpu_us)
        finally:
            if execution.doors:
                execution.doors.close()
            with self._lock:
                self._live.discard(live)
            if pid:
                _kill(pid, group)
            if group:
                group.remove()
            outer.close()
            os.close(log)


def _receive_pid(link: socket.socket) -> int:
    """Return the pid of the job's collector, as the kernel states it."""
    _, ancillary, _, _ = link.recvmsg(1, socket.CMSG_SPACE(12))
    return int(struct.unpack("3i", ancillary[0][2][:12])[0])


def _kill(pid: int, group: cgroup.Group | None) -> None:
    """Kill a job and wait until it is gone.

    Its group dies as a whole. Without a group, the init of its pid namespace dies, and then its
    collector.
    """
    if group:
        group.kill()
        return
    pids = [pid]
    with contextlib.suppress(OSError):
        pids += map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
    for number in reversed(pids):  # children first
        with contextlib.suppress(ProcessLookupError):
            os.kill(number, signal.SIGKILL)
    deadline = time.monotonic() + 2
    while any(map(_lives, pids)) and time.monotonic() < deadline:
        time.sleep(0.001)


def _end(execution: Execution, pid: int, group: cgroup.Group | None) -> None:
    """Close a job's doors, then kill it."""
    if execution.doors:
        execution.doors.close()  # so that nobody comes in during the kill
    _kill(pid, group)


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] not in "ZX"
    except OSError:
        return False
