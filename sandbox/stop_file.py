"""RUN/STOP: anything of this name stops a study, whatever it is.

Example: `touch RUN/STOP`. A folder, a link to nothing, a pipe and a file that cannot be read stop
it too. Its words are the order's reason where it is a readable file.
"""

import os
import stat
from contextlib import suppress
from pathlib import Path

from configs.errors import BadInput

WHY_BYTES = 2000


def is_there(folder: Path) -> bool:
    """Tell whether anything in a run is named STOP; a run that cannot be looked into counts."""
    try:
        os.lstat(folder / "STOP")
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True
    return True


def read_reason(folder: Path) -> str:
    """Return the words in STOP; an empty text where it is no readable file."""
    with suppress(OSError):
        # O_NONBLOCK: the opening of a FIFO would wait for its writer
        flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC
        file = os.open(folder / "STOP", flags)
        try:
            if stat.S_ISREG(os.fstat(file).st_mode):
                return os.read(file, WHY_BYTES).decode(errors="replace")
        finally:
            os.close(file)
    return ""


def put(folder: Path, why: str) -> None:
    """Put STOP into a run where nothing has this name; a full disk still takes the name."""
    with suppress(OSError):
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        file = os.open(folder / "STOP", flags, 0o666)
        try:
            os.write(file, why.encode(errors="replace")[:WHY_BYTES])
        finally:
            os.close(file)


def lift(folder: Path) -> None:
    """Take STOP away; raises BadInput where it is a folder that holds something."""
    path = folder / "STOP"
    try:
        if path.is_dir() and not path.is_symlink():
            path.rmdir()
        else:
            path.unlink(missing_ok=True)
    except OSError as error:
        raise BadInput(
            f"{path} cannot be taken away ({error.strerror}); it stops the study, move it away"
        ) from None
