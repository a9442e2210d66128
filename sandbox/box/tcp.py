"""The one TCP port of an agent's job, for libraries that speak TCP: it leads to a door.

Example: a client of OpenAI-compatible endpoints asks http://127.0.0.1:8000/v1 and reaches the door
`model`. Landlock lets the job connect to that port alone, so a kernel without its rules for ports
offers none. `forward.py` is the process behind the port.
"""

import ctypes

from sandbox.box import seccomp
from sandbox.box.base import Execution
from sandbox.box.bubblewrap import OWN_LIBRARIES

PORT = 8000
"""Of the forwarder, on 127.0.0.1 in the job's own network namespace."""
NEEDED = 4
"""Version of Landlock with rules for ports, of Linux 6.7."""
ENVIRONMENT = {
    "HOME": "/tmp",
    "PATH": "",
    "LC_ALL": "C.UTF-8",
    "LD_LIBRARY_PATH": OWN_LIBRARIES,
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
}
"""Whole environment of a job. A program that it starts with the box's Python finds that Python's
libraries by it, and not others of the same name that the system may have.
"""
FOR_LIBRARIES = {"OPENAI_BASE_URL": f"http://127.0.0.1:{PORT}/v1", "OPENAI_API_KEY": "none"}
"""Further environment where the port leads to a model; the study's key never enters a box."""


def explain_absence() -> str:
    """Return why this kernel offers no port, or nothing."""
    version = landlock_version()
    if version >= NEEDED:
        return ""
    has = f"version {version}" if version > 0 else "none"
    return (
        "no TCP port leads to the door model, only its Unix socket: rules for ports need Landlock"
        f" version {NEEDED} (Linux 6.7), and this kernel has {has}"
    )


def landlock_version() -> int:
    """Return the version of this kernel's Landlock; at most 0 without it."""
    return int(ctypes.CDLL(None).syscall(444, None, 0, 1))


def rules_of(execution: Execution) -> dict[str, object]:
    """Return the part of a job's order on sockets: system calls, ports, forwarder, environment."""
    doors = execution.doors
    door = doors.forwarded if doors else ""
    calls = seccomp.program(doors=doors is not None, tcp=bool(door))
    forwarder = seccomp.program(doors=True, more=seccomp.FORWARDER_CALLS)
    return {
        "seccomp": calls.hex(),
        "ports": [PORT] if door else [],
        "forward": {"door": f"/doors/{door}", "seccomp": forwarder.hex()} if door else {},
        "environment": ENVIRONMENT
        | (FOR_LIBRARIES if door else {})
        | ({"OPENAI_MODEL": doors.model} if doors and doors.model else {}),
    }
