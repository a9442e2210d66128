"""A private copy of a foreign log: regular files alone, and their sizes first.

No link is followed, below the named path or at it. Of a git history only objects and refs are
copied: no config, hook, attribute, alternate store or replacement.
"""

import errno
import os
import re
import stat
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from configs.errors import BadInput

TEXT_BYTES, DATABASE_BYTES, TOTAL_BYTES = 64_000_000, 256_000_000, 256_000_000
"""Longest table of text, longest database, and most bytes of a log with all its files."""
MOST_FILES = 40_000
"""Most files of a checkpoint or a history."""
CHUNK = 1 << 20
RIGHT = (
    "a results.tsv, a CSV of trials, an export of W&B, a checkpoint folder of OpenEvolve or a"
    " database of ShinkaEvolve"
)
BOOKS = ("programs.sqlite", "evolution_db.sqlite")
"""Names that ShinkaEvolve gives its database."""
CHECKPOINT = re.compile(r"checkpoint_(\d{1,9})")
OBJECTS, OBJECT = (
    re.compile("[0-9a-f]{2}|pack"),
    re.compile(r"[0-9a-f]{38}|pack-\w{1,80}\.(pack|idx)"),
)
BRANCH = re.compile(r"(?!\.)[\w.@+-]{1,100}")
"""Names of folders and files that are copied of a history."""
DATABASE = b"SQLite format 3\0"
FOREIGN = {b"PK\x03\x04": "an archive", b"\x1f\x8b": "an archive", b"\x80": "a pickle"}
FOREIGN |= {b"\xfd7zXZ": "an archive", b"BZh": "an archive", b"PAR1": "Parquet", b"\x7fELF": "code"}


@dataclass(slots=True, kw_only=True)
class Copied:
    """A private copy, and what its names say about it."""

    folder: Path
    kind: str
    "table, database or checkpoint"
    left: int = TOTAL_BYTES
    files: int = 0
    notes: list[str] = field(default_factory=list)


class _OddFileError(Exception):
    """A file that is not copied, with the reason."""


def copy_log(path: Path, folder: Path, where: str = "PATH") -> Copied:
    """Copy the files of a log into `folder`. Raises BadInput for a path that is no log."""
    try:
        return _copy(path, folder)
    except _OddFileError as error:
        reason = str(error)
    except OSError as error:
        reason = "it is a link" if error.errno == errno.ELOOP else error.strerror or str(error)
    except ValueError as error:  # a zero byte in the name
        reason = str(error)
    raise BadInput(f"{where} is {str(path)[:200]!r}; {reason}; it should be {RIGHT}")


def _copy(path: Path, folder: Path) -> Copied:
    if not str(path) or not stat.S_ISDIR(path.lstat().st_mode):
        with _opened(path.parent) as parent:
            return _copy_single(parent, path.name, folder)
    with _opened(path) as place:
        names = set(os.listdir(place))
        if "results.tsv" in names:
            return _copy_single(place, "results.tsv", folder)
        if "checkpoints" in names:
            with _opened("checkpoints", place) as inner:
                return _copy_checkpoints(inner, folder)
        if names & {"metadata.json", "programs"} or any(map(CHECKPOINT.fullmatch, names)):
            return _copy_checkpoints(place, folder)
        books = sorted(names & set(BOOKS)) or sorted(n for n in names if n.endswith(".sqlite"))
        if books:
            return _copy_single(place, books[0], folder)
    raise _OddFileError("the folder holds no log")


def _copy_single(parent: int, name: str, folder: Path) -> Copied:
    """Copy a log that is one file, with what belongs to it beside it."""
    copied = Copied(folder=folder, kind="table")
    start = _copy_file(copied, parent, name, "log", DATABASE_BYTES)
    kind = next((kind for mark, kind in FOREIGN.items() if start.startswith(mark)), "")
    if kind:
        raise _OddFileError(f"it is {kind}, which is never opened")
    if start.startswith(DATABASE):
        _copy_writes(copied, parent, name)
    elif (folder / "log").stat().st_size > TEXT_BYTES:
        raise _OddFileError(f"at most {TEXT_BYTES} bytes of text are read")
    elif ".git" in os.listdir(parent):
        _copy_history(copied, parent)
    return copied


def _copy_writes(copied: Copied, parent: int, name: str) -> None:
    """Copy the log of writes of a database, which may hold its newest rows."""
    copied.kind = "database"
    for end in ("-journal", "-wal"):
        with suppress(FileNotFoundError):
            size = os.stat(name + end, dir_fd=parent, follow_symlinks=False).st_size
            if size and end == "-journal":
                raise _OddFileError("a write to it is not finished; stop the loop, or copy it")
            _copy_file(copied, parent, name + end, f"log{end}", DATABASE_BYTES)
    (copied.folder / "log-wal").touch()  # the reader may make no file


def _copy_checkpoints(place: int, folder: Path) -> Copied:
    """Copy the newest metadata, and every program of one checkpoint or of all."""
    copied, seen = Copied(folder=folder, kind="checkpoint"), set[str]()
    numbers = [int(m[1]) for name in os.listdir(place) if (m := CHECKPOINT.fullmatch(name))]
    for number in sorted(numbers, reverse=True)[:MOST_FILES]:
        with _opened(f"checkpoint_{number}", place) as inner:
            _copy_programs(copied, inner, seen)
    if not numbers:
        _copy_programs(copied, place, seen)
    if len(numbers) > 1:
        copied.notes.append(f"{len(numbers)} checkpoints are read as one")
    return copied


def _copy_programs(copied: Copied, place: int, seen: set[str]) -> None:
    if not (copied.folder / "metadata").exists():
        _copy_file(copied, place, "metadata.json", "metadata", TEXT_BYTES)
    with _opened("programs", place) as inner:
        for name in sorted(os.listdir(inner)):
            if name.endswith(".json") and name not in seen:
                _copy_file(copied, inner, name, f"p{len(seen)}", TEXT_BYTES)
                seen.add(name)


def _copy_history(copied: Copied, parent: int) -> None:
    """Copy objects and branches of the history beside a log; a note says why there is none."""
    try:
        with _opened(".git", parent) as place:
            for name in ("HEAD", "packed-refs"):
                with suppress(FileNotFoundError):
                    _copy_file(copied, place, name, _below(copied, "history", name), TEXT_BYTES)
            with suppress(FileNotFoundError), _opened("refs", place) as refs:
                _copy_tree(copied, refs, "heads", "history/refs", BRANCH, 6)
            with _opened("objects", place) as objects:
                for name in sorted(os.listdir(objects)):
                    if OBJECTS.fullmatch(name):
                        _copy_tree(copied, objects, name, "history/objects", OBJECT, 0)
    except (OSError, _OddFileError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        copied.notes.append(f"the history is not read: {reason}")


def _copy_tree(
    copied: Copied, parent: int, name: str, to: str, fits: re.Pattern[str], deep: int
) -> None:
    """Copy the files of a folder whose names fit, and of its folders."""
    with _opened(name, parent) as place:
        for inner in sorted(filter(fits.fullmatch, os.listdir(place))):
            mode = os.stat(inner, dir_fd=place, follow_symlinks=False).st_mode
            if stat.S_ISDIR(mode) and deep:
                _copy_tree(copied, place, inner, f"{to}/{name}", fits, deep - 1)
            elif stat.S_ISREG(mode):
                target = _below(copied, f"{to}/{name}", inner)
                _copy_file(copied, place, inner, target, TOTAL_BYTES)


def _below(copied: Copied, folder: str, name: str) -> str:
    (copied.folder / folder).mkdir(parents=True, exist_ok=True)
    return f"{folder}/{name}"


@contextmanager
def _opened(path: Path | str, parent: int | None = None) -> Iterator[int]:
    """Open a folder, and no link to one."""
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
    flags |= os.O_NOFOLLOW if parent is not None else 0
    number = os.open(path, flags, dir_fd=parent)
    try:
        yield number
    finally:
        os.close(number)


def _copy_file(copied: Copied, parent: int, name: str, to: str, most: int) -> bytes:
    """Copy one regular file; return its first bytes."""
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW
    number = os.open(name, flags, dir_fd=parent)
    with open(number, "rb", buffering=0) as source:
        before = os.fstat(number)
        if not stat.S_ISREG(before.st_mode):
            raise _OddFileError(f"{name[:80]!r} is no regular file")
        most = min(most, copied.left)
        if before.st_size > most:
            raise _OddFileError(
                f"{name[:80]!r} has {before.st_size} bytes, and at most {most} are read"
            )
        start = _copy_bytes(source, copied.folder / to, before.st_size)
        after = os.fstat(number)
    if (after.st_size, after.st_mtime_ns) != (before.st_size, before.st_mtime_ns):
        raise _OddFileError(f"{name[:80]!r} changes while it is read; stop the loop, or copy it")
    copied.left -= before.st_size
    copied.files += 1
    if copied.files > MOST_FILES:
        raise _OddFileError(f"it has more than {MOST_FILES} files")
    return start


def _copy_bytes(source: object, target: Path, size: int) -> bytes:
    """Copy at most `size` bytes to a new file; return the first of them."""
    start, left = b"", size
    with closing(open(target, "xb")) as file:
        while left > 0:
            data = source.read(min(CHUNK, left))  # type: ignore[attr-defined]
            if not data:
                break
            start, left = start or data[:16], left - len(data)
            file.write(data)
    with suppress(OSError):
        os.chmod(target, 0o600)
    return start
