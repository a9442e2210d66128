"""The Docker box: one container per job over the engine's own API, limits and the kill from
outside.

No network, read-only root, a plain user, no capability, no new privileges, our own system call
list, sized tmpfs, no log driver. The bundle is a read-only bind mount made at creation; outputs
come out as a capped stream. Warm, the next container starts and imports torch behind the current
job and waits for one job, once. The engine's socket is root on its host: it stays on the trusted
side. Docker shares the host's kernel (`box.runtime=runsc` does not). Where the host can read
control groups the charge is theirs, else one core x wall (tier C).
"""

import contextlib
import json
import os
import shutil
import socket
import struct
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from configs.errors import NoBox
from configs.job import Limits, Outcome
from sandbox.box import cgroup, seccomp
from sandbox.box.base import Execution, failed
from sandbox.box.watch import watch

INSIDE = (Path(__file__).parent / "zygote.py").read_text()
START_SECONDS = 60
START_BYTES = 1_000_000_000
"""Memory that a container may use besides its job's limit, for the interpreter and torch."""
STUDY, OWNER = "heirloop.study", "heirloop.owner"
"""Labels: study root, and the pid of the process that started the container with its start time.
The container's name ends in the job.
"""


class Container:
    """One started container that has imported torch and waits for its job."""

    def __init__(
        self, api: Any, image: str, runtime: str, execution: Execution, groups: bool
    ) -> None:
        self._api, limits, name = api, execution.limits, f"{os.getpid()}-d-{os.urandom(6).hex()}"
        most = Limits(
            memory_bytes=limits.memory_bytes + START_BYTES, processes=limits.processes + 1
        )
        self.group = cgroup.create(name, most) if groups else None
        self.folder, self.ident, self.started = (
            Path(tempfile.mkdtemp(prefix="heirloop-")),
            "",
            time.monotonic(),
        )
        self.attached: Any = None
        try:
            self.folder.chmod(0o755)
            self.ident = self._create(name, image, runtime, execution, most)
            self.attached = api.attach_socket(
                self.ident, params={"stdin": 1, "stdout": 1, "stderr": 1, "stream": 1}
            )
            link = getattr(self.attached, "_sock", self.attached)
            api.start(self.ident)
            self.frames = Frames(link)
            early = self.frames.ready(time.monotonic() + START_SECONDS)
            if early is not None:
                raise NoBox(f"the container does not start: {early[:200] or 'it said nothing'}")
            self.startup_us = (
                self.group.cpu_us() if self.group else int((time.monotonic() - self.started) * 1e6)
            )
        except BaseException:
            self.remove(api)
            raise

    def remove(self, api: Any) -> None:
        """Kill the container and remove everything of it."""
        if self.attached is not None:
            getattr(self.attached, "_sock", self.attached).close()
            self.attached.close()
        if self.group:
            self.group.kill()
        if self.ident:
            with contextlib.suppress(Exception):
                api.remove_container(self.ident, force=True, v=True)
        if self.group:
            self.group.kill()
            self.group.remove()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _create(
        self, name: str, image: str, runtime: str, execution: Execution, most: Limits
    ) -> str:
        api = self._api
        size = f"size={execution.limits.disk_bytes},nr_inodes={execution.limits.files},nosuid,nodev,mode=755,uid=1000,gid=1000"  # noqa: E501
        host = api.create_host_config(
            network_mode="none",
            read_only=True,
            cap_drop=["ALL"],
            ipc_mode="private",
            runtime=runtime or None,
            security_opt=["no-new-privileges:true", f"seccomp={json.dumps(seccomp.profile())}"],
            mem_limit=most.memory_bytes,
            memswap_limit=most.memory_bytes,
            pids_limit=most.processes,
            cpu_period=100_000,
            cpu_quota=100_000,
            cpuset_cpus=None if execution.cpu is None else str(execution.cpu),
            ulimits=[
                {"Name": "nofile", "Soft": 256, "Hard": 256},
                {"Name": "core", "Soft": 0, "Hard": 0},
            ],
            binds={str(self.folder): {"bind": "/in", "mode": "ro"}},
            tmpfs={"/tmp": f"{size},exec", "/out": size, "/dev/shm": size},
            log_config={"Type": "none"},
            cgroup_parent=f"/heirloop/{name}" if self.group else None,
        )
        made = api.create_container(
            image,
            ["python3", "-I", "-S", "-c", INSIDE, "once", "/opt/box"],
            name=f"heirloop-{name}",
            user="1000:1000",
            hostname="box",
            stdin_open=True,
            tty=False,
            network_disabled=True,
            host_config=host,
            working_dir="/",
            labels={STUDY: execution.study, OWNER: owner(os.getpid())},
            environment={"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"},
        )
        wrong = refusal(api.inspect_container(made["Id"])["HostConfig"], str(self.folder))
        if wrong:
            api.remove_container(made["Id"], force=True)
            raise NoBox(f"the engine made another container than asked for, refused: {wrong}")
        return str(made["Id"])


def refusal(host: dict[str, Any], folder: str) -> str:
    """Return what a container's settings hold that no job may have (privileges, host namespaces,
    mounts), or an empty string.
    """
    right = {
        "Privileged": False,
        "ReadonlyRootfs": True,
        "NetworkMode": "none",
        "PidMode": "",
        "UTSMode": "",
        "UsernsMode": "",
        "CapDrop": ["ALL"],
        "Binds": [f"{folder}:/in:ro"],
    }
    empty = (
        "CapAdd",
        "Devices",
        "DeviceRequests",
        "Mounts",
        "VolumesFrom",
        "PortBindings",
        "Links",
        "GroupAdd",
        "DeviceCgroupRules",
    )
    for name, value in right.items():
        if host.get(name) != value:
            return f"{name} is {host.get(name)!r}"
    for name in empty:
        if host.get(name):
            return f"{name} is {host[name]!r}"
    return (
        "" if host.get("IpcMode") in ("private", "none") else f"IpcMode is {host.get('IpcMode')!r}"
    )


class DockerBox:
    """Runs jobs in containers; see the module docstring. Raises NoBox without an engine or without
    the image.
    """

    kind = "docker"

    def __init__(self, image: str, *, runtime: str = "", warm: bool = False) -> None:
        self._local, self._lock, self._stopped, self._warm, self._runtime = (
            threading.local(),
            threading.Lock(),
            False,
            warm,
            runtime,
        )
        self._live: dict[str, cgroup.Group | None] = {}
        self._waiting: dict[tuple[object, ...], list[Container]] = {}
        try:
            info = self._api().info()
            self.image = str(self._api().inspect_image(image)["Id"])
        except ImportError:
            raise NoBox(
                "the Docker box needs the package docker; `pip install -e .[trusted]`"
            ) from None
        except Exception as error:
            if getattr(getattr(error, "response", None), "status_code", 0) == 404:
                raise NoBox(
                    f"the Docker engine has no image {image!r}; `heirloop image build` makes it"
                ) from None
            raise NoBox(
                f"no Docker engine answers ({type(error).__name__}); start it (`sudo systemctl"
                " start docker`)"
            ) from None
        if runtime and runtime not in info.get("Runtimes", {}):
            raise NoBox(
                f"box.runtime is {runtime!r}; the engine knows"
                f" {', '.join(sorted(info.get('Runtimes', {})))}"
            )
        self._groups = (
            info.get("CgroupDriver") == "cgroupfs"
            and sys.platform == "linux"
            and cgroup.available()
        )
        self.tier = ("A" if runtime == "runsc" else "B") if self._groups else "C"
        self._spawner = ThreadPoolExecutor(1, "containers")
        self.sweep()

    def run(self, execution: Execution) -> Outcome:
        """Execute once; see `Box.run`."""
        if self._stopped:
            return failed("stopped before it began")
        began = time.monotonic()
        kind = (execution.study, execution.cpu, execution.limits)
        with self._lock:
            waiting = self._waiting.get(kind, [])
            container = waiting.pop() if waiting else None
        try:
            container = container or Container(
                self._api(), self.image, self._runtime, execution, self._groups
            )
        except Exception as error:  # the engine's own errors have no common type
            return failed(
                f"the engine failed: {str(error)[:200]}", int((time.monotonic() - began) * 1e6)
            )
        if self._warm:
            self._spawner.submit(self._prepare, kind, execution)
        with self._lock:
            self._live[container.ident] = container.group
        try:
            return self._job(container, execution)
        except Exception as error:  # what it used is not known, so its limit is charged
            return failed(
                f"the engine failed: {str(error)[:200]}",
                container.startup_us,
                execution.limits.cpu_us,
            )
        finally:
            with self._lock:
                self._live.pop(container.ident, None)
            if (
                self._warm and not self._stopped
            ):  # it is dead already; clearing away need not hold up the next job
                self._spawner.submit(lambda: container.remove(self._api()))
            else:
                container.remove(self._api())

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
        self._spawner.shutdown()
        for containers in self._waiting.values():
            for container in containers:
                container.remove(self._api())
        self._waiting.clear()

    def sweep(self) -> int:
        """Kill and remove containers whose process is gone (a crash); return how many. Their
        reservation stands as charged.
        """
        api, gone = self._api(), 0
        for found in api.containers(all=True, filters={"label": OWNER}):
            told = found["Labels"][OWNER]
            pid = told.partition("-")[0]
            if not pid.isdigit() or owner(int(pid)) != told:
                gone += 1
                with contextlib.suppress(Exception):
                    api.remove_container(found["Id"], force=True, v=True)
                for mount in found.get("Mounts", ()):
                    if Path(mount.get("Source", "")).name.startswith("heirloop-"):
                        shutil.rmtree(mount["Source"], ignore_errors=True)
        cgroup.sweep()
        return gone

    def _prepare(self, kind: tuple[object, ...], execution: Execution) -> None:
        """Keep one container ready for the next job of this kind."""
        with self._lock:
            if self._stopped or self._waiting.get(kind):
                return
        with contextlib.suppress(
            Exception
        ):  # the next job then starts its own, and says why it cannot
            made = Container(self._api(), self.image, self._runtime, execution, self._groups)
            with self._lock:
                self._waiting.setdefault(kind, []).append(made)

    def _api(self) -> Any:
        if not hasattr(self._local, "api"):
            import docker

            probe = docker.from_env(
                version="1.41", timeout=30
            ).api  # a version given: the SDK then asks nothing yet, and can be closed
            try:
                version = probe.version(api_version=False)["ApiVersion"]
            finally:
                probe.close()
            self._local.api = docker.from_env(version=version, timeout=30).api
        return self._local.api

    def _job(self, container: Container, execution: Execution) -> Outcome:
        group = container.group
        for file, data in execution.files.items():
            (container.folder / file).parent.mkdir(exist_ok=True)
            (container.folder / file).write_bytes(data)
        with contextlib.suppress(Exception):
            self._api().rename(container.ident, f"heirloop-{execution.key}-{container.ident[:12]}")
        if group:
            group.allow_memory(execution.limits.memory_bytes)
        outcome = watch(
            execution,
            container.frames,
            group,
            lambda: self._kill(container.ident, group),
            started=time.monotonic(),
            startup_us=container.startup_us,
            in_group_us=container.startup_us if group else 0,
            send_files=False,
        )
        if outcome.status == "program" and "collector" in outcome.detail:
            # raises where the engine is gone: then the box failed, not the program
            self._api().ping()
        return outcome

    def _kill(self, ident: str, group: cgroup.Group | None) -> None:
        if group and group.kill():
            return
        with contextlib.suppress(Exception):
            self._api().kill(ident)
        with contextlib.suppress(Exception):
            self._api().wait(ident, timeout=10)


def owner(pid: int) -> str:
    """Return a process's pid and start time, so that a pid that came round again is told apart;
    empty for a process that is gone.
    """
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return ""
    except PermissionError:
        pass
    with contextlib.suppress(OSError):
        return f"{pid}-{Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()[19]}"
    return f"{pid}-"  # no /proc on this host


class Frames:
    """The engine's attached stream: frames of (1-byte stream, 3 zero bytes, 4-byte length), stdout
    and stderr mixed.
    """

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
        """Wait for the inside's first byte; return None, or what was printed by one that does not
        start.
        """
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
