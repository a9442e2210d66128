"""One container for one job: made with the safe settings, checked, attached, and removed.

The container has no network, a read-only root, a plain user, no capability, no new privileges, our
own system call list, sized tmpfs and no log driver. Its bundle is a read-only bind mount.
"""

import contextlib
import json
import os
import shutil
import socket
import struct
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from configs.errors import NoBox
from configs.job import Limits
from sandbox.box import cgroup, seccomp
from sandbox.box.base import SETTINGS, Execution
from sandbox.box.unsafe import DEVICE, find_unsafe_setting

HERE = Path(__file__).parent
INSIDE = (HERE / "zygote.py").read_text()
"""Program inside the container."""
OURS = ("/opt/box",)
"""Arguments of the program: the folder of packages that it imports before any job."""
START_SECONDS = 60
START_BYTES = 1_000_000_000
"""Memory of a container besides its job's limit, for the interpreter and torch."""
FIRST_NAMESPACE = str(0xEFFFFFFC)
"""The first pid namespace of a machine; the kernel fixes its number."""
STUDY = "heirloop.study"
"""Label of a container: digest of its study root."""
OWNER = "heirloop.owner"
"""Label of a container: pid, start time, boot and pid namespace of the starting process."""


class Container:
    """One started container that has imported torch and waits for its job."""

    def __init__(
        self,
        api: Any,
        name: str,
        image: str,
        runtime: str,
        execution: Execution,
        groups: bool,
        sites: Sequence[str] = OURS,
    ) -> None:
        most = Limits(
            memory_bytes=execution.limits.memory_bytes + START_BYTES,
            processes=execution.limits.processes + 1,
        )
        self._api, self._sites = api, sites
        self.group = cgroup.create(name, most) if groups else None
        self.folder = Path(tempfile.mkdtemp(prefix="heirloop-"))
        self.ident, self.name = "", f"heirloop-{name}"
        self.started = time.monotonic()
        self.attached: Any = None
        try:
            self.folder.chmod(0o755)
            self.ident = self._create(name, image, runtime, execution, most)
            self.frames = self._start()
            self.startup_us = self._measure_startup()
        except BaseException:
            self.remove(api)
            raise

    def remove(self, api: Any) -> None:
        """Kill the container and remove everything of it."""
        if self.attached is not None:
            _close_stream(self.attached)
        if self.group:
            self.group.kill()
        with contextlib.suppress(Exception):
            # By its name where the engine's answer to the creation did not come in time.
            api.remove_container(self.ident or self.name, force=True, v=True)
        if self.group:
            self.group.kill()
            self.group.remove()
        shutil.rmtree(self.folder, ignore_errors=True)

    def find_collector(self) -> int:
        """Return the pid of the container's first process, as this machine's kernel knows it.

        Raises NoBox where that process is not here, or where this user may not see its namespace.
        """
        pid = int(self._api.inspect_container(self.ident)["State"]["Pid"])
        reason = "the engine's containers are not processes of this machine"
        try:
            if self.ident in Path(f"/proc/{pid}/cgroup").read_text():
                os.stat(f"/proc/{pid}/ns/pid_for_children")
                return pid
        except PermissionError:
            reason = "this user may not see whose processes knock; run as root"
        except OSError:
            pass
        raise NoBox(f"an agent's doors: {reason}, or set box=namespace")

    def _start(self) -> "Frames":
        """Attach to the container and start it; return its stream once the inside is ready."""
        streams = {"stdin": 1, "stdout": 1, "stderr": 1, "stream": 1}
        self.attached = self._api.attach_socket(self.ident, params=streams)
        link = getattr(self.attached, "_sock", self.attached)
        self._api.start(self.ident)
        frames = Frames(link)
        errors = frames.wait_until_ready(time.monotonic() + START_SECONDS)
        if errors is not None:
            raise NoBox(f"the container does not start: {errors[:200] or 'it said nothing'}")
        return frames

    def _measure_startup(self) -> int:
        """Return the CPU of the start; without a control group, its wall time."""
        if self.group:
            return self.group.cpu_us()
        return int((time.monotonic() - self.started) * 1e6)

    def _create(
        self, name: str, image: str, runtime: str, execution: Execution, most: Limits
    ) -> str:
        """Create the container, check the engine's answer, and return its id."""
        api = self._api
        limits = execution.limits
        size = f"size={limits.disk_bytes},nr_inodes={limits.files}"
        options = f"{size},nosuid,nodev,mode=755,uid=1000,gid=1000"
        doors = execution.doors
        calls = seccomp.profile(doors=doors is not None, tcp=bool(doors and doors.forwarded))
        more = {str(doors.folder): "/doors"} if doors else {}
        more |= {str(HERE / "forward.py"): "/opt/forward.py"} if doors else {}
        binds = {str(self.folder): "/in", **more}
        host = api.create_host_config(
            network_mode="none",
            read_only=True,
            cap_drop=["ALL"],
            ipc_mode="private",
            runtime=runtime or None,
            security_opt=["no-new-privileges:true", f"seccomp={json.dumps(calls)}"],
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
            binds={path: {"bind": place, "mode": "ro"} for path, place in binds.items()},
            tmpfs={"/tmp": f"{options},exec", "/out": options, "/dev/shm": options},
            log_config={"Type": "none"},
            cgroup_parent=f"/heirloop/{name}" if self.group else None,
            device_requests=DEVICE if execution.gpu else None,
        )
        created = api.create_container(
            image,
            ["-I", "-S", "-c", INSIDE, "once", *self._sites],
            entrypoint=["python3"],
            name=self.name,
            user="1000:1000",
            hostname="box",
            stdin_open=True,
            tty=False,
            network_disabled=True,
            host_config=host,
            working_dir="/",
            labels={STUDY: execution.study, OWNER: describe_owner()},
            environment=SETTINGS,
        )
        wrong = find_unsafe_setting(
            api.inspect_container(created["Id"])["HostConfig"],
            str(self.folder),
            DEVICE if execution.gpu else [],
            more,
        )
        if wrong:
            api.remove_container(created["Id"], force=True)
            raise NoBox(f"the engine made another container than asked for, refused: {wrong}")
        return str(created["Id"])


def owner(pid: int) -> str:
    """Return a process's pid and start time, or an empty string if the process is gone.

    The start time tells it from a later process of the same number.
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


def describe_owner() -> str:
    """Return this process in words that hold on the whole engine: pid, start, boot, namespace.

    Two pid namespaces number their processes alike; so do two boots.
    """
    return f"{owner(os.getpid())}@{_boot()}/{_namespace('self')}"


def is_orphan(label: str, state: str) -> bool:
    """Tell whether the owner of a container is gone; `state` is the engine's word for it.

    An owner in another pid namespace may live unseen, so its running container stays. The first
    namespace of a machine sees all others.
    """
    process, _, place = label.partition("@")
    pid = process.partition("-")[0]
    boot, _, namespace = place.partition("/")
    if place in ("", f"{_boot()}/{_namespace('self')}"):
        return not pid.isdigit() or owner(int(pid)) != process
    if boot == _boot() and _namespace("self") == FIRST_NAMESPACE:
        return all(_namespace(path.name) != namespace for path in Path("/proc").glob("[0-9]*"))
    return state in ("exited", "dead")


def _boot() -> str:
    """Return the identity of this boot, or nothing without /proc."""
    with contextlib.suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return ""


def _namespace(process: str) -> str:
    """Return the pid namespace of a process, or nothing if it is gone."""
    with contextlib.suppress(OSError):
        return os.readlink(f"/proc/{process}/ns/pid").strip("pid:[]")
    return ""


def _close_stream(attached: Any) -> None:
    """Close an attached stream from the outside in.

    A response that outlives its socket complains on the screen, from Python 3.13 on.
    """
    link = getattr(attached, "_sock", attached)
    with contextlib.suppress(Exception):
        attached._response.close()
    for stream in (attached, link):
        with contextlib.suppress(OSError):
            stream.close()


class Frames:
    """The engine's attached stream, stdout and stderr mixed.

    A frame is 1 byte for the stream, 3 zero bytes, 4 bytes of length, and the content.
    """

    def __init__(self, link: socket.socket) -> None:
        self.sender, self.fds, self._buffer = link, [link.fileno()], bytearray()
        link.setblocking(False)

    def read(self) -> tuple[bytes, bytes, bool]:
        """Return the waiting bytes; see `Channel.read`."""
        alive = self._fill()
        parts = {1: bytearray(), 2: bytearray()}
        while len(self._buffer) >= 8:
            kind, size = struct.unpack(">BxxxI", self._buffer[:8])
            if len(self._buffer) < 8 + size:
                break
            parts.get(kind, bytearray()).extend(self._buffer[8 : 8 + size])
            del self._buffer[: 8 + size]
        return bytes(parts[1]), bytes(parts[2]), alive

    def _fill(self) -> bool:
        """Read the waiting bytes into the buffer; tell whether the stream is still open."""
        for _ in range(64):
            try:
                part = self.sender.recv(1 << 18)
            except BlockingIOError:
                return True
            except OSError:
                return False
            if not part:
                return False
            self._buffer += part
        return True

    def wait_until_ready(self, deadline: float) -> str | None:
        """Wait for the first byte of the inside; return None, or the last printed line if it does
        not start.
        """
        errors = b""
        while time.monotonic() < deadline:
            stream, printed, alive = self.read()
            errors = (errors + printed)[-2000:]
            if stream == b"Z":
                return None
            if stream or not alive:
                break
            time.sleep(0.005)
        return errors.decode(errors="replace").strip().rpartition("\n")[2]
