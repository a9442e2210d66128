"""The contract of a box, and the stream that every box speaks with the collector inside it.

Everything that comes out of a box is untrusted bytes: read under caps, never imported. The stream
after the program has ended: 4-byte length, a JSON header {exit, signal, refused, files: [[name,
size], ...]}, then the files' bytes in order.
"""

import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from configs.build import strict_json
from configs.errors import BadInput
from configs.job import Limits, Outcome, Role


@dataclass(frozen=True, slots=True, kw_only=True)
class Execution:
    """One execution that the door asks of a box."""

    role: Role
    "module of the bundle that is run: models.<role>.main(IN, OUT)"
    files: Mapping[str, bytes]
    "the bundle and its inputs, by path under IN"
    limits: Limits
    "hard limits"
    outputs: Mapping[str, int]
    "allow-listed names under OUT, with the largest size of each in bytes"
    cpu: int | None = None
    "core to pin to; None: any"
    key: str = "job"
    "short identifier, for control groups and labels"
    study: str = ""
    "digest of the study root, for labels"


class Box(Protocol):
    """An isolated place. `run` never raises for what a program does; a failing box is an outcome of
    status `box`.
    """

    kind: str
    "namespace, docker or fake"
    tier: str
    "A, B or C (docs/threat-model.md)"

    def run(self, execution: Execution) -> Outcome:
        """Execute once and return the outcome; safe to call from several threads."""
        ...

    def stop(self) -> None:
        """Kill every live job and refuse new ones."""
        ...

    def close(self) -> None:
        """Release everything."""
        ...


def failed(detail: str, startup_us: int = 0, used_us: int = 0) -> Outcome:
    """Return the outcome of a box that could not run the program, charged what its start and the
    program used (or may have).
    """
    return Outcome(
        status="box",
        detail=detail,
        cpu_us=startup_us + used_us,
        startup_cpu_us=startup_us,
        wall_us=0,
        peak_bytes=0,
        charged_by="bound",
        files={},
        log=b"",
        log_total=0,
    )


def pack(request: Mapping[str, object], files: Mapping[str, bytes]) -> bytes:
    """Return the bytes that tell the inside what to run: header with file sizes, then the files."""
    header = json.dumps(
        {**request, "files": [[name, len(data)] for name, data in files.items()]}
    ).encode()
    return struct.pack(">I", len(header)) + header + b"".join(files.values())


def whole(stream: bytes | bytearray) -> bool:
    """Tell whether a collector's stream is there to its last byte, so that nobody need wait for the
    box to fold itself up.
    """
    if len(stream) < 4 or len(stream) < (start := 4 + struct.unpack(">I", stream[:4])[0]):
        return False
    try:
        return bool(
            len(stream)
            >= start + sum(length for _, length in strict_json(bytes(stream[4:start]))["files"])
        )
    except (BadInput, KeyError, TypeError, ValueError):
        return False


def unpack(stream: bytes, allowed: Mapping[str, int]) -> tuple[str, dict[str, bytes]]:
    """Return (failure, files) of an untrusted stream; failure is empty after exit code 0.

    Raises BadInput for a stream that breaks the form or passes a cap.
    """
    if (
        len(stream) < 4
        or (size := struct.unpack(">I", stream[:4])[0]) > 65_536
        or len(stream) < 4 + size
    ):
        raise BadInput("the collector's stream has no header")
    header, rest = strict_json(stream[4 : 4 + size]), stream[4 + size :]
    files: dict[str, bytes] = {}
    try:
        for name, length in header["files"]:
            if (
                type(length) is not int
                or name not in allowed
                or name in files
                or not 0 <= length <= allowed[name]
            ):
                raise BadInput("the collector's stream names a file that is not allowed")
            if len(rest) < length:
                raise BadInput("the collector's stream is cut short")
            files[name], rest = rest[:length], rest[length:]
        code, refused = int(header["exit"]), str(header["refused"])[:200]
    except (KeyError, TypeError, ValueError):
        raise BadInput("the collector's stream has a malformed header") from None
    if rest:
        raise BadInput("the collector's stream is longer than it says")
    failure = f"exit {code}" if code > 0 else f"signal {-code}" if code < 0 else refused
    return failure, files
