"""The program of the child that runs a person's own file: limits first, then its function.

It reads a call from its input as JSON and writes the answer as bytes. Prints of the file go to the
error stream. It needs the standard library, and numpy for a task.
"""

import itertools
import json
import os
import resource
import sys
from collections.abc import Iterable, Iterator
from typing import Any

ROWS = 4096
"""Rows of a task that are looked at together, so that a task that yields costs little memory."""


def main() -> None:
    """Run the call."""
    call = json.loads(sys.stdin.buffer.read())
    out, _ = os.dup(1), os.dup2(2, 1)
    for kind, most in (
        (resource.RLIMIT_CPU, call["seconds"]),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_AS, call["memory"]),
    ):
        resource.setrlimit(kind, (most, most))
    space: dict[str, Any] = {"__name__": "own"}
    exec(compile(call["code"], "own file", "exec"), space)
    if call["function"] not in space:
        raise SystemExit(f"it defines no function {call['function']}")
    value = space[call["function"]](*call["given"])
    if call["function"] == "items":
        data = write_items(value, space, call["most"])
    else:
        data = json.dumps(value).encode()
    while data:
        data = data[os.write(out, data) :]


def write_items(value: Any, space: dict[str, Any], most: int) -> bytes:
    """Return the sizes as a line of JSON, then the cells row by row, a byte each."""
    cells, columns = bytearray(), 0
    for part in read_parts(value):
        if columns and part.shape[1] != columns:
            raise SystemExit(f"items() gives rows of {columns} and of {part.shape[1]} columns")
        columns = part.shape[1]
        cells += part.astype("uint8").tobytes()
        if len(cells) > most:
            raise SystemExit(f"items() gives more than {most} cells")
    if not columns:
        raise SystemExit("items() gives no row")
    head = {"rows": len(cells) // columns, "columns": columns}
    for name in ("question", "answer", "values"):
        if name.upper() not in space:
            raise SystemExit(f"KeyError: it defines no {name.upper()}, a whole number")
        head[name] = space[name.upper()]
    return json.dumps(head).encode() + b"\n" + cells


def read_parts(value: Any) -> Iterator[Any]:
    """Yield arrays of whole numbers below 256, some rows each."""
    import numpy

    rows: Iterable[Any] = iter(value)
    while part := list(itertools.islice(rows, ROWS)):
        try:
            array = numpy.asarray(part)
        except ValueError:
            raise SystemExit("items() gives rows of different lengths") from None
        whole = array.ndim == 2 and array.dtype.kind in "iu" and array.shape[1]
        if not whole or not 0 <= array.min() <= array.max() < 256:
            raise SystemExit(
                f"items() gives {array.dtype} {array.shape}, it should give whole numbers from 0"
                " in rows and columns"
            )
        yield array


if __name__ == "__main__":
    main()
