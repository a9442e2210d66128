"""Files of the trusted side: written whole or not at all, and read only where they are files.

Example: `replace_file(run / "summary.json", data)` writes beside the file and renames. A full disk
or a kill leaves the old file, never half of the new file.
"""

import errno
import json
import os
import secrets
import stat
from contextlib import suppress
from pathlib import Path

from configs.errors import VerificationFailed
from sandbox.foreign import LINES_BYTES, read_file

TAIL_BYTES = 65_536
"""Bytes read first from the end of a file of lines."""


def replace_file(path: Path, data: bytes | str, mode: int = 0o666) -> None:
    """Write a file beside the old file, then put it in place at once; raises OSError.

    A link stays, and its file is replaced. A device or a pipe is written to as it is.
    """
    path, data = path.resolve(), data.encode() if isinstance(data, str) else data
    if path.exists() and not path.is_file():
        path.write_bytes(data)
        return
    part = path.with_name(f".{secrets.token_hex(8)}")
    try:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        with open(os.open(part, flags, mode), "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except BaseException:
        with suppress(OSError):
            part.unlink(missing_ok=True)
        raise


def append_line(path: Path, line: bytes) -> None:
    """Add a line to a file of JSON lines, whole or not at all.

    A rest without an end, from a write that broke off, is dropped before.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # O_NONBLOCK: the opening of a FIFO would wait for its reader
    descriptor = os.open(
        path, os.O_RDWR | os.O_CREAT | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666
    )
    with open(descriptor, "r+b") as file:
        _need_file(descriptor, path)
        size = os.fstat(descriptor).st_size
        rest = _read_tail(descriptor, size).rpartition(b"\n")[2]
        start = size if _is_whole(rest) else size - len(rest)
        new = (b"\n" if rest and start == size else b"") + line + b"\n"
        file.truncate(start)
        file.seek(start)
        try:
            file.write(new)
            file.flush()
        except OSError:
            file.truncate(start)
            raise


def read_lines(path: Path) -> list[bytes]:
    """Return the lines of a file of JSON lines; nothing where there is no file.

    A rest without an end, from a write that broke off, is left out. Raises VerificationFailed for
    a folder, a pipe, a link, a file that is too long, and a file that cannot be read.
    """
    return _lines(path, LINES_BYTES)


def read_last_lines(path: Path) -> list[bytes]:
    """Return the last lines of a file of JSON lines, at least the last; see `read_lines`."""
    return _lines(path, TAIL_BYTES)


def _lines(path: Path, most: int) -> list[bytes]:
    try:
        if most == LINES_BYTES:
            data = read_file(path, most)
        else:
            flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC
            with open(os.open(path, flags), "rb") as file:
                _need_file(file.fileno(), path)
                data = _read_tail(file.fileno(), os.fstat(file.fileno()).st_size, most)
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise VerificationFailed(f"{path} cannot be read: {error.strerror}") from None
    *lines, rest = data.split(b"\n")
    return lines + [rest] * bool(rest and _is_whole(rest))


def _read_tail(descriptor: int, size: int, most: int = TAIL_BYTES) -> bytes:
    """Return the end of a file from the beginning of a line, at least its last line."""
    start = max(0, size - most)
    data = _read_from(descriptor, start, size)
    if not start:
        return data
    if b"\n" in data[:-1]:
        return data.partition(b"\n")[2]
    if most > LINES_BYTES:
        raise OSError(errno.EFBIG, f"its last line has more than {LINES_BYTES} bytes")
    return _read_tail(descriptor, size, 4 * most)


def _read_from(descriptor: int, start: int, size: int) -> bytes:
    parts = []
    while start < size:
        part = os.pread(descriptor, min(1 << 24, size - start), start)
        if not part:
            break
        parts.append(part)
        start += len(part)
    return b"".join(parts)


def _need_file(descriptor: int, path: Path) -> None:
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        raise VerificationFailed(f"{path} is no regular file; move it away")


def _is_whole(line: bytes) -> bool:
    try:
        json.loads(line)
    except ValueError:
        return not line
    return True
