"""The porter of a door: a process that parses an agent's requests, and has nothing to lose.

It holds no key, no ledger and no store, opens no file and no socket, and starts no process. The
trusted side hands it each connection that it let in. The porter reads a single HTTP request from
it, within bytes and seconds, and hands on its canonical JSON; the answer goes back whole, and the
connection ends. Four connections may be open; a fifth, and a rush, is told 429. The standard
library and `configs.build` suffice. Tests remove lines by `# defence: NAME`.
"""

import ctypes
import json
import os
import resource
import select
import socket
import struct
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field

from configs.build import strict_json
from configs.errors import BadInput

OPEN_MOST, A_SECOND = 4, 50
"""Connections open at once, and connections taken in a second."""
HEAD_BYTES, BODY_BYTES = 8_192, 262_144
UNSAID_BYTES = 1_000_000
"""Requests that wait for the trusted side; with more of them nothing further is read."""
SECONDS = 5.0
"""For the whole request, and again for the whole answer."""
REASONS = {200: "OK", 400: "Bad Request", 403: "Forbidden", 404: "Not Found", 409: "Conflict"}
REASONS |= {413: "Too Large", 429: "Too Many Requests", 502: "Bad Gateway", 503: "Unavailable"}
libc = ctypes.CDLL(None, use_errno=True)


class RefusedError(Exception):
    """A request that is not handed on: its status, and why in a sentence."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


@dataclass(slots=True)
class Visit:
    """An open connection."""

    fd: int
    until: float
    data: bytearray = field(default_factory=bytearray)
    stage: str = "reads"
    "reads, waits, or writes"
    unsent: bytes = b""


def parse_request(data: bytes, path: str) -> object:
    """Return the JSON of a whole request, None for an unfinished one; raises RefusedError.

    One request is taken, of one method and path, with a Content-Length and no other framing.
    """
    head, ended, body = data.partition(b"\r\n\r\n")
    if not ended:
        if len(data) > HEAD_BYTES:  # defence: bytes of a head
            raise RefusedError(413, f"a head has at most {HEAD_BYTES} bytes")
        return None
    try:
        first, *lines = head.decode("ascii").split("\r\n")
    except UnicodeDecodeError:
        raise RefusedError(400, "a head is ASCII") from None
    if first not in (f"POST {path} HTTP/1.1", f"POST {path} HTTP/1.0"):
        raise RefusedError(404, f"this door takes POST {path}")
    size = _read_length(lines)
    if size > BODY_BYTES:  # defence: bytes of a body
        raise RefusedError(413, f"a body has at most {BODY_BYTES} bytes")
    if len(body) > size:
        raise RefusedError(400, "one request a connection")  # defence: one request
    if len(body) < size:
        return None
    try:
        return strict_json(body[:size].decode(), limit=BODY_BYTES)
    except (BadInput, UnicodeDecodeError) as error:
        raise RefusedError(400, str(error)[:300]) from None


def _read_length(lines: list[str]) -> int:
    """Return the Content-Length of header lines; raises RefusedError for any other framing."""
    sizes = list[str]()
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon or name != name.strip() or not name or "\0" in line or "\n" in line:
            raise RefusedError(400, "a header is NAME: VALUE on a line of its own")
        if name.lower() in ("transfer-encoding", "expect", "upgrade"):
            raise RefusedError(400, f"{name.lower()} is not taken")  # defence: framing
        if name.lower() == "content-length":
            sizes.append(value.strip())
    if len(sizes) != 1 or not sizes[0].isdigit() or len(sizes[0]) > 9:
        raise RefusedError(400, "a request has one Content-Length, in digits")
    return int(sizes[0])


def write_answer(status: int, kind: str, body: bytes) -> bytes:
    """Return a whole HTTP answer."""
    head = f"HTTP/1.1 {status} {REASONS.get(status, 'Error')}\r\nContent-Type: {kind}\r\n"
    return f"{head}Content-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode() + body


def say(status: int, text: str) -> bytes:
    """Return an answer with an error in the form of the endpoints that libraries know."""
    body = json.dumps({"error": {"message": text, "type": "door", "code": status}}).encode()
    return write_answer(status, "application/json", body)


class Porter:
    """The loop over connections, and the two pipes to the trusted side."""

    def __init__(self, path: str, link: int, requests: int, answers: int) -> None:
        self._path, self._requests, self._answers = path, requests, answers
        self._link = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET, 0, link)
        self._visits, self._number, self._came = dict[int, Visit](), 0, list[float]()
        self._from, self._unsaid = bytearray(), bytearray()
        os.set_blocking(requests, False)

    def serve(self) -> None:
        """Serve until the trusted side closes its end."""
        while True:
            poll = select.poll()
            poll.register(self._link, select.POLLIN)
            poll.register(self._answers, select.POLLIN)
            if self._unsaid:
                poll.register(self._requests, select.POLLOUT)
            for visit in self._visits.values():
                if visit.stage == "reads" and len(self._unsaid) > UNSAID_BYTES:
                    continue  # the trusted side is at work; nothing piles up here
                wanted = {"reads": select.POLLIN, "waits": 0, "writes": select.POLLOUT}
                poll.register(visit.fd, wanted[visit.stage])
            ready = {fd for fd, _ in poll.poll(100)}
            for number, visit in list(self._visits.items()):
                if visit.fd in ready:
                    self._move(number, visit)
            if self._requests in ready:
                self._say_on()
            if self._answers in ready and not self._take_answers():
                return
            if self._link.fileno() in ready and not self._admit():
                return
            self._cut()

    def _admit(self) -> bool:
        """Take a connection from the trusted side; tell whether that still speaks."""
        data, fds, _, _ = socket.recv_fds(self._link, 1, 1)
        if not data:
            return False
        now = time.monotonic()
        self._came = [moment for moment in self._came if moment > now - 1]
        full = False
        full |= len(self._visits) >= OPEN_MOST  # defence: open connections
        full |= len(self._came) >= A_SECOND  # defence: rate
        for fd in fds:
            os.set_blocking(fd, False)
            if full:
                self._tell({"refused": "full"})
                self._write_last(fd, say(429, "the door is full; come again"))
                continue
            self._came.append(now)
            self._number += 1
            self._visits[self._number] = Visit(fd, now + SECONDS)
        return True

    def _write_last(self, fd: int, answer: bytes) -> None:
        with suppress(OSError):
            os.write(fd, answer)
        os.close(fd)

    def _move(self, number: int, visit: Visit) -> None:
        """Read or write what a connection allows now."""
        try:
            if visit.stage == "writes":
                visit.unsent = visit.unsent[os.write(visit.fd, visit.unsent) :]
                if not visit.unsent:
                    self._end(number)
                return
            if visit.stage == "waits":
                self._end(number)  # it hung up; what it asked for is done and paid
                return
            part = os.read(visit.fd, 65_536)
        except BlockingIOError:
            return
        except OSError:
            self._end(number)
            return
        if not part:
            self._tell({"refused": "cut"})
            self._end(number)
            return
        visit.data += part
        self._read(number, visit)

    def _read(self, number: int, visit: Visit) -> None:
        try:
            request = parse_request(bytes(visit.data), self._path)
        except RefusedError as refused:
            self._tell({"refused": "malformed"})
            self._answer(visit, say(refused.status, str(refused)))
            return
        if request is not None:
            visit.stage, visit.until = "waits", float("inf")
            visit.data.clear()
            self._tell({"visit": number, "request": request})

    def _answer(self, visit: Visit, answer: bytes) -> None:
        visit.stage, visit.unsent, visit.until = "writes", answer, time.monotonic() + SECONDS

    def _cut(self) -> None:
        """End every connection that is too slow."""
        now = time.monotonic()
        for number, visit in list(self._visits.items()):
            if now > visit.until:  # defence: slow connections
                self._tell({"refused": "cut"})
                self._end(number)

    def _end(self, number: int) -> None:
        os.close(self._visits.pop(number).fd)

    def _tell(self, message: dict[str, object]) -> None:
        data = json.dumps(message).encode()
        self._unsaid += struct.pack(">I", len(data)) + data
        self._say_on()

    def _say_on(self) -> None:
        """Write to the trusted side without waiting for it: it may be writing an answer."""
        with suppress(BlockingIOError):
            while self._unsaid:
                del self._unsaid[: os.write(self._requests, self._unsaid)]

    def _take_answers(self) -> bool:
        """Take what the trusted side wrote; tell whether it still speaks."""
        part = os.read(self._answers, 65_536)
        self._from += part
        while len(self._from) >= 12:
            number, status, size = struct.unpack(">III", self._from[:12])
            if len(self._from) < 12 + size:
                break
            kind, _, body = bytes(self._from[12 : 12 + size]).partition(b"\n")
            del self._from[: 12 + size]
            if number in self._visits:
                self._answer(self._visits[number], write_answer(status, kind.decode(), body))
        return bool(part)


class Program(ctypes.Structure):  # struct sock_fprog
    _fields_ = (("count", ctypes.c_ushort), ("code", ctypes.c_char_p))


def confine(calls: bytes) -> None:
    """Raise the walls: limits, no file by Landlock, and a list of system calls; raises OSError."""
    for name, most in (
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NOFILE, 32),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_AS, 1_000_000_000),
    ):
        resource.setrlimit(name, (most, most))
    _need(libc.prctl(38, 1, 0, 0, 0))
    version = libc.syscall(444, None, 0, 1)
    if version > 0:
        rights = (
            1 << (13 if version < 2 else 14 if version < 3 else 15 if version < 5 else 16)
        ) - 1
        words = struct.pack("QQQ", rights, 3 if version >= 4 else 0, 3 if version >= 6 else 0)
        size = 8 if version < 4 else 16 if version < 6 else 24
        rules = libc.syscall(444, words, size, 0)
        _need(rules)
        _need(libc.syscall(446, rules, 0))  # defence: porter's files
        os.close(rules)
    program = Program(len(calls) // 8, calls)
    _need(libc.prctl(22, 2, ctypes.byref(program), 0, 0))  # defence: porter's calls


def _need(code: int) -> None:
    if code < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def main() -> None:
    """Serve a door: PATH, the descriptors of the link and both pipes, and the filter."""
    path, link, requests, answers, calls = sys.argv[1:6]
    confine(bytes.fromhex(calls))
    os.write(int(requests), struct.pack(">I", 2) + b"{}")
    with suppress(BrokenPipeError):
        Porter(path, int(link), int(requests), int(answers)).serve()
    os._exit(0)


if __name__ == "__main__":
    main()
