"""A child process whose output, time and descendants are bounded, however it behaves.

Bytes of both pipes are counted as they arrive. A child that passes a limit is killed with all that
it started. Nothing of it is left when `run_child` returns.
"""

import contextlib
import os
import secrets
import selectors
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

CHUNK = 1 << 16
"""Bytes of a read, and of a write to the child."""
TICK = 0.05
"""Seconds between two looks whether a child with open pipes has ended."""
MARK = "HEIRLOOP_CHILD"
"""Variable in the environment of a child and of its descendants, by which the strays are known."""
SWEEPS = 5
"""Most searches for strays: each may have started another since the last search."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a child ended."""

    code: int
    "exit code, negative for a signal"
    limit: str
    "the limit for which it was killed, as a sentence without subject; empty for none"
    output: bytes
    "standard output, at most as many bytes as allowed"
    errors: bytes
    "error stream, likewise"


@dataclass(slots=True, kw_only=True)
class _Child:
    """A running child with its pipes."""

    process: subprocess.Popen[bytes]
    data: memoryview
    limits: Mapping[int, int]
    ends: float
    mark: str
    limit: str = ""
    read: dict[int, bytearray] = field(default_factory=dict)


def run_child(
    command: Sequence[str],
    data: bytes,
    *,
    seconds: float,
    output: int,
    errors: int,
    environment: Mapping[str, str],
    folder: str = "/",
) -> Ended:
    """Run a command with `data` as its input; return its end and its output.

    It is killed after `seconds` by the clock, and beyond `output` or `errors` bytes.
    """
    mark = secrets.token_hex(16)
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**environment, MARK: mark},
        cwd=folder,
        start_new_session=True,
    )
    assert process.stdin and process.stdout and process.stderr
    out, err = process.stdout.fileno(), process.stderr.fileno()
    child = _Child(
        process=process,
        data=memoryview(data),
        limits={out: output, err: errors},
        ends=time.monotonic() + seconds,
        mark=mark,
        read={out: bytearray(), err: bytearray()},
    )
    try:
        _serve(child)
        child.limit = child.limit or _wait(child, seconds)
    finally:
        _kill(child)
    return Ended(
        code=process.returncode,
        limit=child.limit,
        output=bytes(child.read[out]),
        errors=bytes(child.read[err]),
    )


def _serve(child: _Child) -> None:
    """Write the input and read both pipes, until they close, the child ends or a limit is met."""
    process = child.process
    assert process.stdin
    with selectors.DefaultSelector() as selector:
        for pipe in child.read:
            os.set_blocking(pipe, False)
            selector.register(pipe, selectors.EVENT_READ)
        os.set_blocking(process.stdin.fileno(), False)
        selector.register(process.stdin.fileno(), selectors.EVENT_WRITE)
        while selector.get_map() and not child.limit and time.monotonic() < child.ends:
            over = _is_over(process)  # looked at before the reading, so that nothing is missed
            ready = [key.fd for key, _ in selector.select(0 if over else TICK)]
            for pipe in ready:
                if not _move(child, pipe):
                    selector.unregister(pipe)
            if over and not any(pipe in child.read for pipe in ready):
                return  # a descendant may hold the pipes open for ever


def _move(child: _Child, pipe: int) -> bool:
    """Move bytes through a pipe; return whether it stays open."""
    if pipe not in child.read:
        return _write(child)
    try:
        data = os.read(pipe, CHUNK)
    except BlockingIOError:
        return True
    room = child.limits[pipe] - len(child.read[pipe])
    child.read[pipe] += data[:room]
    if len(data) > room:
        child.limit = f"gave out more than {child.limits[pipe]} bytes"
    return bool(data)


def _write(child: _Child) -> bool:
    stream = child.process.stdin
    assert stream
    try:
        child.data = child.data[os.write(stream.fileno(), child.data[:CHUNK]) :]
    except BlockingIOError:
        return True
    except OSError:
        return False  # it does not read its input
    if not child.data:
        stream.close()
    return bool(child.data)


def _wait(child: _Child, seconds: float) -> str:
    """Wait for the end of a child that closed its pipes; return the limit that it passed."""
    while not _is_over(child.process):
        if time.monotonic() >= child.ends:
            return f"took more than {seconds:g} s"
        time.sleep(TICK / 10)
    return ""


def _is_over(process: subprocess.Popen[bytes]) -> bool:
    """Tell whether a child ended. It is not reaped, so that its group keeps its number."""
    flags = os.WEXITED | os.WNOHANG | os.WNOWAIT
    return os.waitid(os.P_PID, process.pid, flags) is not None


def _kill(child: _Child) -> None:
    """Kill the child, its group and all strays; reap it and close its pipes."""
    process = child.process
    with contextlib.suppress(OSError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    for stream in (process.stdin, process.stdout, process.stderr):
        if stream:
            with contextlib.suppress(OSError):
                stream.close()
    for _ in range(SWEEPS):
        if not _kill_strays(f"{MARK}={child.mark}".encode()):
            return


def _kill_strays(mark: bytes) -> int:
    """Kill the descendants that left the group; return their number."""
    killed = 0
    for place in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):
            if mark in place.read_bytes().split(b"\0"):
                os.kill(int(place.parent.name), signal.SIGKILL)
                killed += 1
    return killed
