"""Watch one job from outside: send its bytes, keep its limits, read its printed text and outputs.

Both boxes use it, so that a limit means the same in each.
"""

import contextlib
import os
import select
import socket
import time
from collections.abc import Callable, Sequence
from typing import Protocol

from configs.build import plain
from configs.errors import BadInput
from configs.job import Limits, Outcome, Status
from sandbox.box.base import CutShort, Execution, is_whole, pack, unpack
from sandbox.box.cgroup import Group
from sandbox.box.starvation import Meter
from sandbox.box.tcp import rules_of

POLL_SECONDS = 0.005
HEADER_BYTES = 70_000
"""Largest part of the stream besides the bytes of files."""


class Channel(Protocol):
    """The two streams of a job, without blocking."""

    sender: socket.socket
    "socket of the request"
    fds: list[int]
    "descriptors to wait for"

    def read(self) -> tuple[bytes, bytes, bool]:
        """Return new bytes of the collector's stream, new printed bytes, and whether the stream is
        still open.
        """
        ...


class Pair:
    """The channel of a job that has a socket, and a pipe for its printed text."""

    def __init__(self, link: socket.socket, log: int) -> None:
        self.sender, self._log = link, log
        link.setblocking(False)
        os.set_blocking(log, False)
        self.fds = [link.fileno(), log]

    def read(self) -> tuple[bytes, bytes, bool]:
        """Return the waiting bytes; see `Channel.read`."""
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


def watch(
    execution: Execution,
    channel: Channel,
    group: Group | None,
    kill: Callable[[], None],
    *,
    started: float,
    startup_us: int,
    in_group_us: int = 0,
    send_files: bool = True,
) -> Outcome:
    """Watch a job to its end, kill it, and return its outcome.

    `started` is on the monotonic clock. `startup_us` is charged besides the job; `in_group_us` is
    its part within the group's counter. Without `send_files` the files are in place, and
    only the request is sent.
    """
    limits = execution.limits
    files = execution.files if send_files else {}
    unsent = memoryview(pack(_make_request(execution, group), files))
    most = min(limits.output_bytes, sum(execution.outputs.values())) + HEADER_BYTES
    stream, log, printed, breach, alive = bytearray(), bytearray(), 0, "", True

    meter = Meter(group) if group else None

    def read_cpu() -> int:
        if group:
            return group.cpu_us() - in_group_us
        return read_wall()

    def read_wall() -> int:
        return int((time.monotonic() - started) * 1e6)

    def take() -> bool:
        nonlocal printed
        part, text, alive = channel.read()
        stream.extend(part)
        printed += len(text)
        log.extend(text[: max(0, limits.log_bytes - len(log))])
        return alive

    while alive and not breach:
        sender = channel.sender.fileno() if unsent else -1
        readable, writable = wait_for(channel.fds, sender, POLL_SECONDS)
        if writable:
            with contextlib.suppress(BlockingIOError, BrokenPipeError, ConnectionResetError):
                unsent = unsent[channel.sender.send(unsent[: 1 << 18]) :]
        if readable:
            alive = take() and not is_whole(stream)
        breach = _breach(limits, started, printed, read_cpu(), group)
        if execution.gpu and not breach:
            breach = execution.gpu.follow(group, read_wall())
        if not breach and len(stream) > most:
            breach = "output"
    use = meter.measure(read_cpu()) if meter and breach == "wall" else None
    kill()
    wall = read_wall()
    if execution.gpu:
        execution.gpu.close(wall)
    breach = breach or (group.breach() if group else "")
    take()
    if not breach and printed + len(stream) > limits.output_bytes + HEADER_BYTES:
        breach = "output"
    cpu, peak = read_cpu(), group.peak_bytes() if group else 0
    status, detail, outputs = _judge(breach, bytes(stream), bytes(log), execution)
    if use and use.is_starved(limits):
        status, detail = "box", use.describe()
    return Outcome(
        status=status,
        detail=detail,
        cpu_us=cpu + startup_us,
        startup_cpu_us=startup_us,
        wall_us=wall,
        peak_bytes=peak,
        charged_by="cgroup" if group else "bound",
        files=outputs,
        log=bytes(log),
        log_total=printed,
    )


def wait_for(readers: Sequence[int], writer: int = -1, seconds: float = 0) -> tuple[bool, bool]:
    """Wait until a descriptor can be read or `writer` written; tell which. Any number will do,
    where `select` takes none from 1,024 on.
    """
    asked = dict.fromkeys(readers, select.POLLIN)
    if writer >= 0:
        asked[writer] = asked.get(writer, 0) | select.POLLOUT
    poll = select.poll()
    for descriptor, events in asked.items():
        poll.register(descriptor, events)
    found = dict(poll.poll(1000 * seconds))
    ended = select.POLLHUP | select.POLLERR
    readable = any(found.get(one, 0) & (select.POLLIN | ended) for one in readers)
    return readable, bool(found.get(writer, 0) & (select.POLLOUT | ended))


def _make_request(execution: Execution, group: Group | None) -> dict[str, object]:
    """Return the order for the process inside, without the sizes of its files."""
    limits = execution.limits
    # A limit per process, beyond the interpreter's memory; the group's own limit comes first.
    data_bytes = limits.memory_bytes * (2 if group else 1)
    return {
        **plain(limits),
        "role": execution.role,
        "outputs": dict(execution.outputs),
        **rules_of(execution),
        "data_bytes": data_bytes,
        "files_most": limits.files,
        "devices": list(execution.gpu.devices) if execution.gpu else [],
    }


def _breach(limits: Limits, started: float, printed: int, used_us: int, group: Group | None) -> str:
    """Return the first passed limit, or an empty string."""
    if (time.monotonic() - started) * 1e6 > limits.wall_us:
        return "wall"
    if printed > limits.output_bytes:
        return "output"
    if used_us > limits.cpu_us:
        return "cpu"
    return group.breach() if group else ""


def _judge(
    breach: str, stream: bytes, log: bytes, execution: Execution
) -> tuple[Status, str, dict[str, bytes]]:
    """Return (status, detail, outputs) of an ended job."""
    if breach:
        return "limit", breach, {}
    try:
        failure, files = unpack(stream, execution.outputs)
    except CutShort as error:  # no job reaches its collector
        lines = log.decode(errors="replace").strip().splitlines()
        last = lines[-1][:120] if lines else error
        return "box", f"its collector was killed ({last})", {}
    except BadInput as error:
        return "program", f"its collector reported nonsense ({error})", {}
    return ("program", failure, {}) if failure else ("ok", "exit 0", files)
