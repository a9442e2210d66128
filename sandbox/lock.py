"""The lock of a study: a single process runs it, whatever becomes of its files.

The lock lies on the run's folder itself, since a file in it can be deleted or replaced. A second
lock lies on RUN/lock, which names the holder. A third lies in the user's folder under the digest of
the study root: a copy of the run's folder is the same study.
"""

import contextlib
import fcntl
import os
import time
from collections.abc import Callable
from pathlib import Path

from configs.errors import Stopped
from sandbox import keys
from sandbox.box.container import owner

ATTEMPTS = 21
"""Attempts for a lock, 0.01 s apart: a process asking who runs a study has it for an instant."""


class Lock:
    """Locks on open files, held until `close` or the end of the process."""

    def __init__(self, folder: Path) -> None:
        self.name, self._files = f"{folder}/lock", list[int]()
        self.let_go: Callable[[], None] = lambda: None
        "lets go of a lock that lies elsewhere"

    def hold_folder(self, folder: Path) -> None:
        """Hold the run's folder, and write this process into its file `lock`.

        Raises Stopped if another process has the lock.
        """
        busy = f"{folder} is being run by another process; wait for it or stop it"
        self._hold(os.open(folder, os.O_RDONLY | os.O_CLOEXEC), busy)
        file = _open_named(folder / "lock")
        self._hold(file, busy)
        # the file names its holder, so it is not emptied before it is held
        os.ftruncate(file, 0)
        os.pwrite(file, owner(os.getpid()).encode(), 0)

    def hold_study(self, folder: Path, root: str) -> None:
        """Hold the study of this root in the user's folder; raises Stopped."""
        place = keys.home() / "locks" / root
        place.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._hold(
            _open_named(place),
            f"the study of {folder} is being run by another process, from a copy of its folder;"
            " a study has a single ledger",
        )

    def _hold(self, file: int, busy: str) -> None:
        for _ in range(ATTEMPTS):
            with contextlib.suppress(BlockingIOError):
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                self._files.append(file)
                return
            time.sleep(0.01)
        os.close(file)
        raise Stopped(busy)

    def close(self) -> None:
        """Let go of every lock."""
        self.let_go()
        while self._files:
            os.close(self._files.pop())


def _open_named(path: Path) -> int:
    """Open a lock's file; a link or a pipe of its name is refused or does not block."""
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    try:
        return os.open(path, flags, 0o666)
    except OSError as error:
        raise Stopped(
            f"{path} is no file that can be locked ({error.strerror}); move it away"
        ) from None


def holder(folder: Path) -> int:
    """Return the pid of the process that runs a study and holds its lock; 0: no process."""
    for place in (folder, folder / "lock"):
        if _is_held(place):
            return _ask_kernel(place) or _read_pid(folder / "lock")
    return 0


def _is_held(place: Path) -> bool:
    with contextlib.suppress(OSError):
        file = os.open(place, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(file)
    return False


def _ask_kernel(place: Path) -> int:
    """Return the pid that holds a lock by the kernel's own list; 0 without a list."""
    with contextlib.suppress(OSError, ValueError):
        locked = place.stat()
        for line in Path("/proc/locks").read_text().splitlines():
            words = line.split()
            if "FLOCK" in words and words[5].endswith(f":{locked.st_ino}"):
                pid = int(words[4])
                if _has_open(pid, locked):
                    return pid
    return 0


def _has_open(pid: int, locked: os.stat_result) -> bool:
    """Tell whether a process has a file open; the list's device numbers are not always those of
    `stat`.
    """
    for link in Path(f"/proc/{pid}/fd").iterdir() if pid > 0 else ():
        with contextlib.suppress(OSError):
            if os.path.samestat(link.stat(), locked):
                return True
    return False


def _read_pid(path: Path) -> int:
    """Return the pid named in a lock's file, 0 unless that very process lives."""
    with contextlib.suppress(OSError, ValueError):
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW)
        try:
            name = os.read(file, 100).decode()
        finally:
            os.close(file)
        pid = int(name.partition("-")[0])
        return pid if pid > 0 and owner(pid) == name else 0
    return 0
