"""Watch one job from outside: send it its bytes, keep its limits, drain what it prints, read what
it gives back.

Shared by both boxes, so that a limit means the same in each.
"""

import contextlib
import select
import socket
import time
from collections.abc import Callable
from typing import Protocol

from configs.build import plain
from configs.errors import BadInput
from configs.job import Limits, Outcome, Status
from sandbox.box import seccomp
from sandbox.box.base import Execution, pack, unpack, whole
from sandbox.box.cgroup import Group

POLL_SECONDS = 0.005
HEADER_BYTES = 70_000
"most of the stream that is not a file's bytes"


class Channel(Protocol):
    """The two streams of a job, without blocking."""

    sender: socket.socket
    "where the request is written"
    fds: list[int]
    "what to wait for"

    def read(self) -> tuple[bytes, bytes, bool]:
        """Return new bytes of the collector's stream, new printed bytes, and whether the stream is
        still open.
        """
        ...


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
    """Run the watch to its end and return the outcome.

    `started` is on the monotonic clock; `startup_us` is charged besides, of which the group already
    counts `in_group_us`. Without `send_files` only the request is sent: the files are in place.
    """
    limits = execution.limits
    data = limits.memory_bytes * (
        2 if group else 1
    )  # per process, beyond what the interpreter holds; a group's own limit comes first
    request = {
        **plain(limits),
        "role": execution.role,
        "outputs": dict(execution.outputs),
        "seccomp": seccomp.program().hex(),
        "data_bytes": data,
        "files_most": limits.files,
    }
    sent = memoryview(pack(request, execution.files if send_files else {}))
    most = min(limits.output_bytes, sum(execution.outputs.values())) + HEADER_BYTES
    stream, log, printed, breach, alive = bytearray(), bytearray(), 0, "", True

    def used() -> int:
        return group.cpu_us() - in_group_us if group else int((time.monotonic() - started) * 1e6)

    def take() -> bool:
        nonlocal printed
        part, said, alive = channel.read()
        stream.extend(part)
        printed += len(said)
        log.extend(said[: max(0, limits.log_bytes - len(log))])
        return alive

    while alive and not breach:
        readable, writable, _ = select.select(
            channel.fds, [channel.sender] if sent else [], [], POLL_SECONDS
        )
        if writable:
            with contextlib.suppress(BlockingIOError, BrokenPipeError, ConnectionResetError):
                sent = sent[channel.sender.send(sent[: 1 << 18]) :]
        if readable:
            alive = take() and not whole(stream)
        breach = _breach(limits, started, printed, used(), group) or (
            "output" if len(stream) > most else ""
        )
    kill()
    wall = int((time.monotonic() - started) * 1e6)
    breach = breach or (group.breach() if group else "")
    take()
    breach = breach or (
        "output" if printed + len(stream) > limits.output_bytes + HEADER_BYTES else ""
    )
    cpu, peak = used(), group.peak_bytes() if group else 0
    status, detail, files = _judge(breach, bytes(stream), bytes(log), execution)
    return Outcome(
        status=status,
        detail=detail,
        cpu_us=cpu + startup_us,
        startup_cpu_us=startup_us,
        wall_us=wall,
        peak_bytes=peak,
        charged_by="cgroup" if group else "bound",
        files=files,
        log=bytes(log),
        log_total=printed,
    )


def _breach(limits: Limits, started: float, printed: int, used_us: int, group: Group | None) -> str:
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
    if breach:
        return "limit", breach, {}
    try:
        failure, files = unpack(stream, execution.outputs)
    except BadInput as error:
        text = log.decode(errors="replace").strip().splitlines()
        return (
            "program",
            f"it ended without a collector's report ({text[-1][:120] if text else error})",
            {},
        )
    return ("program", failure, {}) if failure else ("ok", "exit 0", files)
