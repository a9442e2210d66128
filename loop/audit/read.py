"""Read a foreign log: copy its files, let a confined child parse them, and check its answer.

The log is hostile. This process copies bytes and parses the child's answer strictly; it parses
nothing of the log itself. The copy is deleted in any case, and the log is never written to.
"""

import shutil
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from configs.build import parse, strict_json
from configs.errors import BadInput, NoBox
from configs.records.trials import TrialLog
from loop.audit.copy import RIGHT, Copied, copy_log
from sandbox.box.seccomp import program_of
from sandbox.canonical import canonical
from sandbox.child import run_child

HOME = Path(__file__).resolve().parents[2]
"""Where the child finds its own source."""
CPU_SECONDS, WALL_SECONDS, MEMORY_BYTES = 8, 30, 2 << 30
ANSWER_BYTES, ERROR_BYTES = 32_000_000, 100_000
CALLS = (
    *("read", "pread64", "write", "lseek", "close", "open", "openat", "stat", "fstat", "lstat"),
    *("newfstatat", "statx", "access", "faccessat", "faccessat2", "getdents64", "readlink"),
    *("fcntl", "getcwd", "mmap", "munmap", "mprotect", "mremap", "madvise", "brk", "futex"),
    *("rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "sigaltstack", "exit", "exit_group"),
    *("getrandom", "clock_gettime", "gettimeofday", "getpid", "gettid", "getuid", "geteuid"),
    *("sched_yield", "clock_nanosleep", "nanosleep", "getrlimit", "uname"),
)
"""System calls of a process that reads files: no socket, process, signal, rename or deletion."""
START = "import sys; sys.path.insert(0, sys.argv[1]); from loop.audit.child import main; main()"


def read_log(path: Path, score: str = "") -> TrialLog:
    """Return the trials of a log.

    Raises BadInput with one sentence for anything that is no log, and NoBox where the child cannot
    be confined.
    """
    return _read(path, score, "PATH")


def read_numbers(path: Path, score: str = "") -> list[float]:
    """Return the scores of a file of repeats: a number a line, or a table with a score.

    Raises as `read_log` does.
    """
    log = _read(path, score, "--baseline")
    return [trial.score for trial in log.trials if trial.score is not None]


def _read(path: Path, score: str, field: str) -> TrialLog:
    folder = Path(tempfile.mkdtemp(prefix="heirloop-audit-"))
    try:
        copied = copy_log(path, folder, field)
        if field == "--baseline" and copied.kind == "table":
            copied.kind = "numbers"
        log = _ask(f"{field} is {str(path)[:200]!r}, which", copied, score)
        return replace(log, notes=(*copied.notes, *log.notes))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _ask(where: str, copied: Copied, score: str) -> TrialLog:
    """Let the child read the copy; return what it says."""
    call = {
        "folder": str(copied.folder),
        "database": str(copied.folder / "log") if copied.kind == "database" else "",
        "kind": copied.kind,
        "score": score,
        "limits": {"seconds": CPU_SECONDS, "memory": MEMORY_BYTES},
        "calls": _list_calls().hex(),
    }
    ended = run_child(
        [sys.executable, "-I", "-S", "-B", "-X", "utf8", "-c", START, str(HOME)],
        canonical(call),
        seconds=WALL_SECONDS,
        output=ANSWER_BYTES,
        errors=ERROR_BYTES,
        environment={},
    )
    if ended.limit or ended.code < 0:
        reason = ended.limit or f"was ended by signal {-ended.code} ({CPU_SECONDS} CPU-seconds)"
        raise BadInput(f"{where} cannot be read: its reader {reason}; it should be {RIGHT}")
    if ended.code:
        _explain(where, ended.errors.decode(errors="replace"))
    answer = strict_json(ended.output, ANSWER_BYTES)
    if isinstance(answer, dict) and set(answer) == {"refused"}:
        raise BadInput(f"{where} {str(answer['refused'])[:400]}")
    return parse(TrialLog, answer, "the reader's answer")


def _list_calls() -> bytes:
    if sys.platform != "linux":
        raise NoBox("a foreign log is read by a confined child, which needs Linux")
    return program_of(CALLS)


def _explain(where: str, errors: str) -> None:
    """Raise for a child that failed: its walls do not stand, or the log broke its reader."""
    last = (errors.strip().splitlines() or ["no message"])[-1][:300]
    if "loop/audit/confine.py" in errors:
        raise NoBox(
            f"the child that reads a foreign log cannot be confined here ({last}); it needs Linux"
            " 5.13 or later, with Landlock"
        )
    raise BadInput(f"{where} its reader cannot take ({last}); it should be {RIGHT}")
