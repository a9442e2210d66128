"""The forwarder of an agent's job: a library that speaks TCP reaches the door `model` through it.

It runs in the box, before the job's walls go up: it raises the loopback device of the job's own
network namespace where that is down, listens on 127.0.0.1, and forks a process of the job, which
the job pays for. That process has the job's walls and one system call more, to accept. It copies
bytes between each connection and the door's Unix socket and reads no meaning in them: the porter
parses them, as any others. It needs the standard library alone, and is a single file.
"""

import fcntl
import os
import select
import socket
import struct
from collections.abc import Callable
from typing import Any

ADDRESS = "127.0.0.1"
OPEN_MOST, BYTES = 8, 65_536
"""Connections open at once, and bytes that wait in one direction of one of them."""
GET_FLAGS, SET_FLAGS, UP = 0x8913, 0x8914, 1
"""SIOCGIFFLAGS, SIOCSIFFLAGS and IFF_UP of linux/sockios.h and linux/if.h"""


class Pair:
    """A connection and its door: what waits for each of the two."""

    def __init__(self, connection: socket.socket, door: socket.socket) -> None:
        self.ends = (connection, door)
        self.unsent = [b"", b""]
        "bytes for the connection, and for the door"
        self.ended = [False, False]
        "whether the connection, and the door, said its last byte"
        for end in self.ends:
            end.setblocking(False)

    def readers(self) -> list[socket.socket]:
        """Return the ends to read from: nothing of theirs waits to be sent on."""
        return [self.ends[i] for i in (0, 1) if not self.ended[i] and not self.unsent[1 - i]]

    def writers(self) -> list[socket.socket]:
        """Return the ends for which bytes wait."""
        return [self.ends[i] for i in (0, 1) if self.unsent[i]]

    def move(self, readable: list[socket.socket], writable: list[socket.socket]) -> bool:
        """Read and send what both ends allow; tell whether more can come of it."""
        for i in (0, 1):
            try:
                if self.ends[i] in writable:
                    self.unsent[i] = self.unsent[i][self.ends[i].send(self.unsent[i]) :]
                elif self.ends[i] in readable:
                    self._read(i)
            except BlockingIOError:
                continue
            except OSError:
                if i == 0:
                    return False
                # The door takes no more; its last words may still be there.
                self.ended = [True, self.ended[1] or self.ends[1] in readable]
                self.unsent[1] = b""
        return not self.ended[1] or bool(self.unsent[0])

    def _read(self, i: int) -> None:
        part = self.ends[i].recv(BYTES)
        self.unsent[1 - i], self.ended[i] = part, not part
        if i == 0 and not part:
            self.ends[1].shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """End both."""
        for end in self.ends:
            end.close()


def start(order: dict[str, Any], confine: Callable[[dict[str, Any]], None]) -> None:
    """Listen, and fork the process that forwards; return in the job. Raises OSError."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    if not _is_up(listener):  # a container's is up already
        fcntl.ioctl(listener, SET_FLAGS, struct.pack("16sH22x", b"lo", UP))
    listener.bind((ADDRESS, order["ports"][0]))
    listener.listen(16)
    if os.fork():
        listener.close()
        return
    try:
        for fd in (0, 1, 2):
            os.dup2(os.open("/dev/null", os.O_RDWR), fd)
        os.dup2(listener.detach(), 3)
        os.closerange(4, 4096)
        os.environ.clear()
        confine({**order, "ports": [], "seccomp": order["forward"]["seccomp"]})
        serve(socket.socket(fileno=3), order["forward"]["door"])
    finally:
        os._exit(1)


def _is_up(listener: socket.socket) -> bool:
    """Tell whether the loopback device of this network namespace is up."""
    told = fcntl.ioctl(listener, GET_FLAGS, struct.pack("16s24x", b"lo"))
    return bool(struct.unpack_from("16xH", told)[0] & UP)


def serve(listener: socket.socket, door: str) -> None:
    """Forward until the job ends."""
    pairs = list[Pair]()
    while True:
        readers = [end for pair in pairs for end in pair.readers()]
        readers += [listener] if len(pairs) < OPEN_MOST else []
        writers = [end for pair in pairs for end in pair.writers()]
        readable, writable, _ = select.select(readers, writers, [])
        for pair in list(pairs):
            if not pair.move(readable, writable):
                pair.close()
                pairs.remove(pair)
        if listener in readable:
            pairs += _join(listener.accept()[0], door)


def _join(connection: socket.socket, door: str) -> list[Pair]:
    """Return a connection with its door; nothing, and the connection ends, if the door is shut."""
    end = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        end.connect(door)
    except OSError:
        end.close()
        connection.close()
        return []
    return [Pair(connection, end)]
