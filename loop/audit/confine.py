"""The walls of the child that reads a foreign log. They stand before the first byte is read.

The child can read the private copy and nothing else: no other file, no network, no new process, no
signal to another process. It needs the standard library alone. Tests remove lines by
`# defence: NAME`.
"""

import ctypes
import os
import resource
import struct
from collections.abc import Mapping

libc = ctypes.CDLL(None, use_errno=True)
WRITE, READ, LIST = 2, 4, 8
"""Rights of Landlock on a file or below a folder."""


class Program(ctypes.Structure):  # struct sock_fprog
    _fields_ = (("count", ctypes.c_ushort), ("code", ctypes.c_char_p))


def confine(folder: str, database: str, limits: Mapping[str, int], calls: bytes) -> None:
    """Raise every wall; `database` and its log of writes may be opened for writing, if it is named.

    SQLite opens a database for writing, even to read it; the limit on files lets no byte be
    written. Raises OSError where a wall does not stand.
    """
    _need(libc.prctl(38, 1, 0, 0, 0), "no new privileges")
    _landlock(folder, database)  # defence: landlock
    for name, most in (
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NOFILE, 32),
        (resource.RLIMIT_FSIZE, 0),  # defence: file size
        (resource.RLIMIT_AS, limits["memory"]),  # defence: memory
        (resource.RLIMIT_CPU, limits["seconds"]),  # defence: processor time
    ):
        resource.setrlimit(name, (most, most))
    _filter(calls)  # defence: system calls


def _need(code: int, title: str) -> None:
    if code < 0:
        raise OSError(ctypes.get_errno(), f"{title}: {os.strerror(ctypes.get_errno())}")


def _landlock(folder: str, database: str) -> None:
    """Let this process open files of the private copy, and nothing else of the file system."""
    version = libc.syscall(444, None, 0, 1)
    _need(version, "Landlock")
    files = (1 << (13 if version < 2 else 14 if version < 3 else 15 if version < 5 else 16)) - 1
    words = struct.pack("QQQ", files, 3 if version >= 4 else 0, 3 if version >= 6 else 0)
    # An older kernel takes the first words alone.
    size = 8 if version < 4 else 16 if version < 6 else 24
    rules = libc.syscall(444, words, size, 0)
    _need(rules, "Landlock")
    allowed = {folder: READ | LIST}
    if database:
        allowed |= {database: READ | WRITE, f"{database}-wal": READ | WRITE}
    for path, rights in allowed.items():
        beneath = os.open(path, os.O_PATH)
        rule = struct.pack("=Qi", rights, beneath)
        _need(libc.syscall(445, rules, 1, rule, 0), "Landlock")
        os.close(beneath)
    _need(libc.syscall(446, rules, 0), "Landlock")
    os.close(rules)


def _filter(code: bytes) -> None:
    program = Program(len(code) // 8, code)
    _need(libc.prctl(22, 2, ctypes.byref(program), 0, 0), "system calls")
