"""People's own files: a Python file for a task, a proposer or a gate, or a program that
proposes.

Each is pinned by its digest. Naming a file copies it to the user's own folder. A task or gate is
run here from such a copy alone, never from a copy inside a run. It runs in a child process without
environment, with hard limits on time, memory and output, and may write no files. Beyond these
limits it has this user's rights: it is trusted code of a person. (A proposer runs in a box.) Files
of more than 50 lines and files outside UTF-8 are refused.
"""

import sys
from pathlib import Path
from typing import Any

from configs.build import need, strict_json
from configs.errors import BadInput, VerificationFailed
from sandbox import keys
from sandbox.canonical import canonical, digest
from sandbox.child import run_child
from sandbox.files import replace_file
from sandbox.foreign import read_file

MOST_LINES, MOST_BYTES, PROGRAM_BYTES = 50, 8_000, 4_000_000
MEMORY_BYTES = 4 * 2**30
TASK_BYTES, GATE_BYTES, ERROR_BYTES = 256_000_000, 65_536, 1_000_000
"""Longest answer of a task and of a gate, and most that either may print."""
TASK_SECONDS, GATE_SECONDS = 60, 2
"""CPU-seconds of a call; it is killed after five times as many by the clock."""
HEAD_BYTES = 1000
"""Most bytes of the line of sizes before a task's cells."""
REASON = 300
"""Most characters of a reason."""
CHILD = (Path(__file__).parent / "own_child.py").read_text()
"""The child's program: the person's file, then its function; prints go to the error stream."""
SIZES = frozenset({"rows", "columns", "question", "answer", "values"})


def name(path: str, where: str) -> str:
    """Name a Python file: copy it to the user's folder and return its digest.

    Raises BadInput; `where` is the field with the file's name.
    """
    data = read(path, where, MOST_BYTES)
    try:
        lines = len(data.decode().splitlines())
    except UnicodeDecodeError:
        raise BadInput(
            f"{where} is {path!r}, which is no UTF-8; it should be a Python file"
        ) from None
    need(
        lines <= MOST_LINES,
        where,
        f"{path}, {lines} lines",
        f"a Python file of at most {MOST_LINES} lines",
    )
    return keep(data)


def keep(data: bytes) -> str:
    """Copy bytes to the user's folder of named files and return their digest."""
    copy = _kept(digest(data))
    if not copy.exists():
        copy.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        replace_file(copy, data)
    return digest(data)


def read(path: str, where: str, most: int) -> bytes:
    """Return the bytes of a file named by a study.

    Raises BadInput for an unreadable file or a file of more than `most`.
    """
    try:
        data = read_file(path, most, follow=True)
    except OSError as error:
        raise BadInput(
            f"{where} is {path!r}; it cannot be read ({error.strerror}); it should be a file of 1"
            f" to {most} bytes"
        ) from None
    need(bool(data), where, path, f"a file of 1 to {most} bytes")
    return data


def known(pin: str) -> bool:
    """Tell whether this user named a file of this digest."""
    return bool(pin) and _kept(pin).is_file()


def items(pin: str) -> tuple[dict[str, int], bytes]:
    """Return ({rows, columns, question, answer, values}, values row by row) of an own task.

    Raises BadInput with the task's mistake.
    """
    output = _call(pin, "items", [], TASK_SECONDS, TASK_BYTES)
    if isinstance(output, str):
        raise BadInput(f"task.file failed: {output}")
    head, _, data = output.partition(b"\n")
    sizes = _read_sizes(head, len(data))
    need(
        sizes["columns"] == sizes["question"] + sizes["answer"],
        "columns of items() of task.file",
        sizes["columns"],
        "QUESTION + ANSWER",
    )
    most = max(data, default=0)
    need(
        most < sizes["values"],
        "largest value of items() of task.file",
        most,
        f"below VALUES, {sizes['values']}",
    )
    return sizes, data


def _read_sizes(head: bytes, count: int) -> dict[str, int]:
    """Return the sizes of a task from its first line; they must fit the number of its cells."""
    sizes = strict_json(head, 1000)
    whole = isinstance(sizes, dict) and set(sizes) == SIZES
    need(whole, "task.file", head[:80], "a file that writes nothing to the pipe of its answer")
    need(
        all(type(size) is int and 0 < size < 2**31 for size in sizes.values()),
        "QUESTION/ANSWER/VALUES of task.file",
        {name: sizes[name] for name in ("question", "answer", "values")},
        "whole numbers from 1",
    )
    need(sizes["rows"] * sizes["columns"] == count, "task.file", count, "rows times columns")
    return dict(sizes)


def refusal(pin: str, plan: dict[str, Any], change_class: str) -> str:
    """Return why an own gate says no to a plan, or an empty string. An error, no answer in time or
    another kind of answer is a no.
    """
    output = _call(pin, "gate", [plan, change_class], GATE_SECONDS, GATE_BYTES)
    if isinstance(output, str):
        return f"gates.file gave no answer: {output}"[:REASON]
    try:
        reason = strict_json(output)
    except BadInput:
        reason = None
    return (
        reason[:REASON]
        if isinstance(reason, str)
        else (
            "gates.file gave no text; it should return a reason, or an empty text for nothing"
            " to say"
        )
    )


def _call(pin: str, function: str, given: list[Any], seconds: int, most: int) -> bytes | str:
    """Run a function of a named file in a child; return its output, or the reason for its
    absence.
    """
    call = {
        "code": code(pin).decode(),
        "function": function,
        "given": given,
        "seconds": seconds,
        "memory": MEMORY_BYTES,
        "most": most,
    }
    quiet = {name: "1" for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")}
    ended = run_child(
        [sys.executable, "-I", "-c", CHILD],
        canonical(call),
        seconds=5 * seconds,
        output=most + HEAD_BYTES,
        errors=ERROR_BYTES,
        environment=quiet,
    )
    if ended.limit:
        return f"it {ended.limit}"
    if ended.code < 0:
        return f"it was ended by signal {-ended.code}; it has {seconds} CPU-seconds"
    if ended.code:
        lines = ended.errors.decode(errors="replace").strip().splitlines()
        return (lines or [f"exit {ended.code}"])[-1][:REASON]
    return ended.output


def code(pin: str, most: int = PROGRAM_BYTES) -> bytes:
    """Return the copy of a named file; raises VerificationFailed without a copy."""
    try:
        data = read_file(_kept(pin), most)
    except OSError:
        raise VerificationFailed(
            f"the file {pin[:12]} was never named here, and code that a run brings along is not run"
        ) from None
    if digest(data) != pin:
        raise VerificationFailed(
            f"the kept copy of the file {pin[:12]} was changed; name the file again"
        )
    return data


def _kept(pin: str) -> Path:
    need(len(pin) == 64 and pin.isalnum(), "the digest of a file", pin, "64 hexadecimal digits")
    return keys.home() / "own" / pin
