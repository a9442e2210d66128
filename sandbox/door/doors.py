"""Doors of an agent's job: listening Unix sockets in a folder that is mounted into that job alone.

Example: an agent posts a change to `/doors/trial` and reads its score. `Doors` listens, lets in
processes of the job's pid namespace and nobody else, and gives every connection to a porter, which
parses it. A door's handler, on the trusted side, answers one request after the other. The box opens
the doors with the job and closes them before the kill; a request that is still waiting then is
refused and counted. Tests remove lines by `# defence: NAME`.
"""

import contextlib
import json
import os
import shutil
import socket
import struct
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from configs.build import need, strict_json
from configs.errors import BadInput, BudgetExhausted, Denied, NeedsHuman
from configs.job import Outcome
from sandbox.box.base import Box, Execution
from sandbox.box.watch import wait_for
from sandbox.canonical import canonical, digest
from sandbox.door.spawn import start_porter

MOST_VISITS = 10_000
"""Connections of a job at a door; then the door is shut."""
COUNTED = ("asked", "outside", "full", "cut", "malformed", "late")
"""What can become of a connection (configs.entries.DoorEntry)."""
DEEPEST = 40
"""Levels of objects and lists in a request."""
FRAME_BYTES = 1_000_000
PEER_PIDFD = 77
"""SO_PEERPIDFD of Linux 6.5."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """An answer of a door."""

    status: int
    "HTTP status"
    body: bytes
    "its whole text"
    kind: str = "application/json"
    "its type"


def refuse(status: int, text: str) -> Reply:
    """Return a refusal in the form of the endpoints that libraries know."""
    error = {"message": text, "type": "door", "code": status}
    return Reply(status=status, body=json.dumps({"error": error}).encode())


def need_flat(value: Any, levels: int = DEEPEST) -> None:
    """Raise BadInput for JSON of more levels, which could exhaust the stack of its readers."""
    if isinstance(value, dict | list):
        need(levels > 0, "the request's depth", "more", f"at most {DEEPEST} levels")
        for part in value.values() if isinstance(value, dict) else value:
            need_flat(part, levels - 1)


Handler = Callable[[Any], Reply]
"""The JSON of a request, strictly parsed -> its answer. It may take as long as a training."""


class Door:
    """A listening socket with its porter and its handler."""

    def __init__(self, place: Path, path: str, handler: Handler) -> None:
        self.counts = Counter[str]()
        self.transcript: list[tuple[str, Reply]] = []
        "digest of each request that the handler answered, and its reply"
        self.error: BaseException | None = None
        self._place, self._path, self._handler = place, path, handler
        self._closed, self._collector = False, -1
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(place))
        os.chmod(place, 0o666)
        self._link, self._porter, self._requests, self._answers = start_porter(path)
        self._threads = [
            threading.Thread(target=act, daemon=True) for act in (self._accept, self._answer)
        ]

    def open(self, pid: int) -> None:
        """Begin to let in the job whose collector has this pid."""
        self._pid, self._collector = pid, os.pidfd_open(pid)
        self._listener.listen(16)
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        """Let nobody in any more and end the porter; it does not wait for a handler at work."""
        if self._closed:
            return
        self._closed = True
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._place.unlink(missing_ok=True)
        self._porter.kill()
        self._porter.wait()

    def finish(self) -> None:
        """Wait for the handler; raise what stopped it."""
        self.close()
        for thread in self._threads:
            if thread.ident:
                thread.join()
        for fd in (self._requests, self._answers, self._collector):
            if fd >= 0:
                os.close(fd)
        self._link.close()
        if self.error:
            raise self.error

    def _accept(self) -> None:
        """Hand every connection of the job to the porter."""
        for _ in range(MOST_VISITS):
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection:
                if not self._is_inside(connection):  # defence: peers of the job
                    self.counts["outside"] += 1
                    continue
                try:
                    socket.send_fds(self._link, [b"c"], [connection.fileno()], socket.MSG_DONTWAIT)
                except OSError:
                    self.counts["full"] += 1
        with contextlib.suppress(OSError):
            self._listener.close()

    def _is_inside(self, connection: socket.socket) -> bool:
        """Tell whether a peer lives, and lives in the pid namespace of the job.

        Both numbers are held by descriptors, so neither can be another process by now.
        """
        pid, _, _ = struct.unpack(
            "3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
        )
        try:
            peer = _hold_peer(connection, pid)
            try:
                same = _space(pid, "pid") == _space(self._pid, "pid_for_children")
                return same and _lives(peer) and _lives(self._collector)
            finally:
                os.close(peer)
        except OSError:
            return False

    def _answer(self) -> None:
        """Answer one request after the other, until the porter ends."""
        while (message := self._read()) is not None:
            refused, visit = message.get("refused"), message.get("visit")
            if refused in COUNTED:
                self.counts[str(refused)] += 1
            elif type(visit) is int and 0 < visit <= MOST_VISITS:
                reply = self._handle(message.get("request"))
                kind = reply.kind.encode() + b"\n" + reply.body
                with contextlib.suppress(OSError):
                    self._write(struct.pack(">III", visit, reply.status, len(kind)) + kind)

    def _handle(self, request: Any) -> Reply:
        if self._closed:  # defence: deadline
            self.counts["late"] += 1
            return refuse(403, "the job's time is over")
        if self.error:
            return refuse(503, "the study is stopping")
        self.counts["asked"] += 1
        try:
            need_flat(request)  # defence: depth
            asked = digest(canonical(request))
        except (BadInput, ValueError, TypeError, RecursionError) as error:
            return refuse(400, f"no JSON that can be recorded: {str(error)[:200]}")
        reply = self._decide(request)
        self.transcript.append((asked, reply))
        return reply

    def _decide(self, request: Any) -> Reply:
        try:
            return self._handler(request)
        except BadInput as error:
            return refuse(400, str(error)[:500])
        except (BudgetExhausted, Denied) as error:
            return refuse(403, str(error)[:500])
        except NeedsHuman:
            return refuse(403, "needs a person")
        except BaseException as error:
            self.error = error
            return refuse(503, "the study is stopping")

    def _read(self) -> dict[str, Any] | None:
        """Return the porter's next message; None at its end or after a malformed one."""
        try:
            size = struct.unpack(">I", self._receive(4))[0]
            if size > FRAME_BYTES:
                return None
            message = strict_json(self._receive(size).decode(), limit=FRAME_BYTES)
            return message if isinstance(message, dict) else None
        except (EOFError, OSError, BadInput, UnicodeDecodeError):
            return None

    def _receive(self, size: int) -> bytes:
        data = bytearray()
        while len(data) < size:
            part = os.read(self._requests, size - len(data))
            if not part:
                raise EOFError
            data += part
        return bytes(data)

    def _write(self, data: bytes) -> None:
        while data:
            data = data[os.write(self._answers, data) :]


def _hold_peer(connection: socket.socket, pid: int) -> int:
    """Return a descriptor of a connection's peer, which the kernel kept where it can."""
    try:
        return connection.getsockopt(socket.SOL_SOCKET, PEER_PIDFD)
    except OSError:
        return os.pidfd_open(pid)


def _space(pid: int, name: str) -> tuple[int, int]:
    facts = os.stat(f"/proc/{pid}/ns/{name}")
    return facts.st_dev, facts.st_ino


def _lives(pidfd: int) -> bool:
    return not wait_for([pidfd])[0]


class Doors:
    """All doors of a job, in a folder of its own."""

    def __init__(
        self, handlers: Mapping[str, tuple[str, Handler]], *, forwarded: str = "", model: str = ""
    ) -> None:
        """Make the sockets; `handlers` has HTTP path and handler by name of the door.

        A TCP port of the job leads to the door `forwarded`, if there is one (sandbox/box/tcp.py).
        """
        self.forwarded, self.model = forwarded, model
        self.folder = Path(tempfile.mkdtemp(prefix="heirloop-doors-"))
        self.folder.chmod(0o711)
        self._doors = {
            name: Door(self.folder / name, path, handler)
            for name, (path, handler) in handlers.items()
        }

    def open(self, pid: int) -> None:
        """Begin to serve the job whose collector has this pid."""
        for door in self._doors.values():
            door.open(pid)

    def close(self) -> None:
        """Let nobody in any more; the box does so before it kills the job."""
        for door in self._doors.values():
            door.close()

    def finish(self) -> None:
        """Wait for the handlers after the job, and remove the folder; raise what stopped one."""
        try:
            for door in self._doors.values():
                door.finish()
        finally:
            shutil.rmtree(self.folder, ignore_errors=True)

    def transcripts(self) -> dict[str, bytes]:
        """Return what each door answered, in order, as canonical JSON (see replayed.py)."""
        return {
            name: canonical(
                [
                    {
                        "request": asked,
                        "status": one.status,
                        "kind": one.kind,
                        "body": one.body.decode(),
                    }
                    for asked, one in door.transcript
                ]
            )
            for name, door in self._doors.items()
        }

    def counts(self) -> dict[str, Counter[str]]:
        """Return what happened at each door, by name and by kind."""
        return {name: door.counts for name, door in self._doors.items()}


class DooredBox:
    """A box whose agents and services find doors; jobs of every other role are refused."""

    def __init__(self, box: Box, doors: Doors) -> None:
        self._box, self._doors = box, doors
        self.kind, self.tier = box.kind, box.tier

    def run(self, execution: Execution) -> Outcome:
        """Execute a job beside its doors; see `Box.run`."""
        assert execution.role in ("agent", "serve"), "doors are for agents and services alone"
        return self._box.run(replace(execution, doors=self._doors))

    def stop(self) -> None:
        """Kill every live job; see `Box.stop`."""
        self._box.stop()

    def close(self) -> None:
        """Leave the box to its study."""
