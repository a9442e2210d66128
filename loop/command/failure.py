"""An error becomes a sentence and an exit code: an error of ours, of the system, or of a file.

Any other error is a mistake in Heirloop. Its traceback goes to a file, and the sentence names it.
"""

import errno
import os
import tempfile
import traceback

from configs.errors import FULL, HeirloopError

DAMAGED = "a file of the run is damaged; `heirloop verify RUN` names it, restore it from a copy"
REASON = 300
"""Most characters of a reason."""


def explain(error: Exception) -> tuple[str, int]:
    """Return a sentence for people, and the exit code."""
    if isinstance(error, HeirloopError):
        return str(error), error.exit_code
    if isinstance(error, OSError):
        return _explain_system(error)
    reason = f"{type(error).__name__}: {' '.join(str(error).split())}"[:REASON]
    if _is_of_database(error):
        return f"the ledger cannot be read or written ({reason}); {DAMAGED}", 6
    if isinstance(error, UnicodeEncodeError):
        return f"a name or text has characters that cannot be written ({reason}); rename it", 2
    # A syntax error of JSON is a ValueError with a document.
    if isinstance(error, UnicodeDecodeError | RecursionError) or hasattr(error, "doc"):
        return f"{DAMAGED} ({reason})", 6
    return (
        f"this is a mistake in Heirloop ({reason}); its traceback is in {_write(error)}, please"
        " report it",
        1,
    )


def _explain_system(error: OSError) -> tuple[str, int]:
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EIO):
        return FULL, 5
    places = [os.fsdecode(name) for name in (error.filename, error.filename2) if _is_name(name)]
    where = " and ".join(place if len(place) < REASON else f"{place[:60]}..." for place in places)
    reason = error.strerror or str(error)
    return f"{where or 'the system says'}: {reason}; name another place or put it right", 2


def _is_name(name: object) -> bool:
    return isinstance(name, str | bytes | os.PathLike)


def _is_of_database(error: Exception) -> bool:
    """Tell whether a database raised it; the libraries for databases are not imported for this."""
    return any(kind.__name__ == "DatabaseError" for kind in type(error).__mro__)


def _write(error: Exception) -> str:
    """Write the traceback to a new file of this user alone; return its path."""
    try:
        number, path = tempfile.mkstemp(prefix="heirloop-mistake-", suffix=".txt")
        with os.fdopen(number, "w", errors="backslashreplace") as file:
            file.write("".join(traceback.format_exception(error)))
    except OSError:
        return "no file, for none could be written"
    return path
