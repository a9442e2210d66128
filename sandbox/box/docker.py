"""The Docker box: one container per job over the engine's own API, limits and the kill from outside.

No network, read-only root, a plain user, no capability, no new privileges, sized tmpfs, no log driver. The bundle is a
read-only bind mount made at creation; outputs come out as a capped stream. The engine's socket is root on its host: it
stays on the trusted side. Docker shares the host's kernel. Where the host can read control groups the charge is theirs,
else one core x wall (tier C).
"""

import contextlib
import os
import shutil
import socket
import struct
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from configs.errors import NoBox
from configs.job import Limits, Outcome
from sandbox.box import cgroup
from sandbox.box.base import Execution, failed
from sandbox.box.watch import watch

INSIDE = (Path(__file__).parent / "zygote.py").read_text()
START_SECONDS = 60
START_BYTES = 1_000_000_000
"""Memory that a container may use besides its job's limit, for the interpreter and torch."""
LABEL = "heirloop.job"


class DockerBox:
    """Runs jobs in containers; see the module docstring. Raises NoBox without an engine or without the image."""

    kind = "docker"

    def __init__(self, image: str) -> None:
        self._local, self._live, self._lock, self._stopped = threading.local(), {}, threading.Lock(), False  # type: ignore[var-annotated]
        try:
            info = self._api().info()
            self.image = str(self._api().inspect_image(image)["Id"])
        except ImportError:
            raise NoBox("the Docker box needs the package docker; `pip install -e .[trusted]`") from None
        except Exception as error:
            if getattr(getattr(error, "response", None), "status_code", 0) == 404:
                raise NoBox(f"the Docker engine has no image {image!r}; `heirloop image build` makes it") from None
            raise NoBox(f"no Docker engine answers ({type(error).__name__}); start it (`sudo systemctl start docker`)") from None
        self._groups = info.get("CgroupDriver") == "cgroupfs" and sys.platform == "linux" and cgroup.available()
        self.tier = "B" if self._groups else "C"

    def run(self, execution: Execution) -> Outcome:
        """Execute once; see `Box.run`."""
        if self._stopped:
            return failed("stopped before it began")
        name = f"d-{execution.key}-{os.urandom(4).hex()}"
        most = Limits(memory_bytes=execution.limits.memory_bytes + START_BYTES, processes=execution.limits.processes + 1)
        group = cgroup.create(name, most) if self._groups else None
        folder = Path(tempfile.mkdtemp(prefix="heirloop-"))
        ident, started = "", time.monotonic()
        try:
            for file, data in execution.files.items():
                (folder / file).parent.mkdir(exist_ok=True)
                (folder / file).write_bytes(data)
            folder.chmod(0o755)
            ident = self._create(name, folder, execution, most, group)
            with self._lock:
                self._live[ident] = group
            return self._job(ident, execution, group, started)
        except Exception as error:  # the engine's own errors have no common type
            used = group.cpu_us() if group else int((time.monotonic() - started) * 1e6)
            return failed(f"the engine failed: {str(error)[:200]}", used)
        finally:
            with self._lock:
                self._live.pop(ident, None)
            if ident:
                with contextlib.suppress(Exception):
                    self._api().remove_container(ident, force=True, v=True)
            if group:
                group.kill()
                group.remove()
            shutil.rmtree(folder, ignore_errors=True)

    def stop(self) -> None:
        """Kill every live job and refuse new ones."""
        self._stopped = True
        with self._lock:
            live = list(self._live.items())
        for ident, group in live:
            self._kill(ident, group)

    def close(self) -> None:
        """Kill everything."""
        self.stop()

    def _api(self) -> Any:
        if not hasattr(self._local, "api"):
            import docker

            probe = docker.from_env(version="1.41", timeout=30).api  # a version given: the SDK then asks nothing yet, and can be closed
            try:
                version = probe.version(api_version=False)["ApiVersion"]
            finally:
                probe.close()
            self._local.api = docker.from_env(version=version, timeout=30).api
        return self._local.api

    def _create(self, name: str, folder: Path, execution: Execution, most: Limits, group: cgroup.Group | None) -> str:
        api, size = self._api(), f"size={execution.limits.disk_bytes},nr_inodes=4096,nosuid,nodev,mode=755,uid=1000,gid=1000"
        host = api.create_host_config(
            network_mode="none", read_only=True, cap_drop=["ALL"], security_opt=["no-new-privileges:true"],
            mem_limit=most.memory_bytes, memswap_limit=most.memory_bytes, pids_limit=most.processes,
            cpu_period=100_000, cpu_quota=100_000, cpuset_cpus=None if execution.cpu is None else str(execution.cpu),
            binds={str(folder): {"bind": "/in", "mode": "ro"}}, tmpfs={at: size for at in ("/tmp", "/out", "/dev/shm")},
            log_config={"Type": "none"}, cgroup_parent=f"/heirloop/{name}" if group else None, ipc_mode="private",
        )  # fmt: skip
        made = api.create_container(
            self.image, ["python3", "-I", "-S", "-c", INSIDE, "once", "/opt/box"], name=f"heirloop-{name}", user="1000:1000",
            hostname="box", stdin_open=True, tty=False, network_disabled=True, labels={LABEL: execution.key}, host_config=host,
            environment={"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}, working_dir="/",
        )  # fmt: skip
        return str(made["Id"])

    def _job(self, ident: str, execution: Execution, group: cgroup.Group | None, started: float) -> Outcome:
        api = self._api()
        attached = api.attach_socket(ident, params={"stdin": 1, "stdout": 1, "stderr": 1, "stream": 1})
        link = getattr(attached, "_sock", attached)
        try:
            api.start(ident)
            frames = Frames(link)
            early = frames.ready(time.monotonic() + START_SECONDS)
            if early is not None:
                return failed(f"the container does not start: {early[:200] or 'it said nothing'}", group.cpu_us() if group else 0)
            startup = group.cpu_us() if group else int((time.monotonic() - started) * 1e6)
            if group:
                group.allow_memory(execution.limits.memory_bytes)
            begun = time.monotonic()
            return watch(execution, frames, group, lambda: self._kill(ident, group), started=begun, startup_us=startup,
                         in_group_us=startup if group else 0, send_files=False)  # fmt: skip
        finally:
            attached.close()
            link.close()

    def _kill(self, ident: str, group: cgroup.Group | None) -> None:
        if group:
            group.kill()
        with contextlib.suppress(Exception):
            self._api().kill(ident)
        with contextlib.suppress(Exception):
            self._api().wait(ident, timeout=10)


class Frames:
    """The engine's attached stream: frames of (1-byte stream, 3 zero bytes, 4-byte length), stdout and stderr mixed."""

    def __init__(self, link: socket.socket) -> None:
        self.sender, self.fds, self._buffer = link, [link.fileno()], bytearray()
        link.setblocking(False)

    def read(self) -> tuple[bytes, bytes, bool]:
        """Return what is there; see `Channel.read`."""
        alive, parts = True, {1: bytearray(), 2: bytearray()}
        for _ in range(64):
            try:
                part = self.sender.recv(1 << 18)
            except BlockingIOError:
                break
            except OSError:
                part = b""
            if not part:
                alive = False
                break
            self._buffer += part
        while len(self._buffer) >= 8:
            kind, size = struct.unpack(">BxxxI", self._buffer[:8])
            if len(self._buffer) < 8 + size:
                break
            parts.get(kind, bytearray()).extend(self._buffer[8 : 8 + size])
            del self._buffer[: 8 + size]
        return bytes(parts[1]), bytes(parts[2]), alive

    def ready(self, deadline: float) -> str | None:
        """Wait for the inside's first byte; return None, or what was printed by one that does not start."""
        said = b""
        while time.monotonic() < deadline:
            stream, printed, alive = self.read()
            said = (said + printed)[-2000:]
            if stream == b"Z":
                return None
            if stream or not alive:
                break
            time.sleep(0.005)
        return said.decode(errors="replace").strip().rpartition("\n")[2]
