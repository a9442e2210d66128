"""The program of the child that reads a foreign log: walls first, then the reader of its format.

A call comes in as JSON; the trials go out as JSON, or a sentence about the log's mistake.
"""

import encodings.idna
import encodings.utf_8_sig
import encodings.utf_16
import json
import os
import sys
from pathlib import Path
from typing import Any

from loop.audit.confine import confine
from loop.audit.formats.base import Found, RefusedError
from loop.audit.formats.history import History, add_history
from loop.audit.formats.openevolve import read_checkpoint
from loop.audit.formats.shinka import read_database
from loop.audit.formats.table import read_numbers, read_table

CODECS = (encodings.utf_16, encodings.utf_8_sig, encodings.idna)
"""Loaded before the walls stand: no module can be loaded later."""


def main() -> None:
    """Answer the call."""
    call = json.loads(sys.stdin.buffer.read())
    confine(call["folder"], call["database"], call["limits"], bytes.fromhex(call["calls"]))
    try:
        answer = _answer(read(call))
    except RefusedError as error:
        answer = {"refused": str(error)}
    except (RecursionError, MemoryError) as error:
        answer = {"refused": f"is too deep or too large to read ({type(error).__name__})"}
    data = json.dumps(answer).encode()
    while data:
        data = data[os.write(1, data) :]
    os._exit(0)  # SQLite would try to write at the end


def read(call: dict[str, Any]) -> Found:
    """Read the log of the kind that its files showed."""
    folder, score = Path(call["folder"]), call["score"]
    if call["kind"] == "database":
        return read_database(folder / "log", score)
    if call["kind"] == "checkpoint":
        return read_checkpoint(folder, score)
    data = (folder / "log").read_bytes()
    if call["kind"] == "numbers":
        return read_numbers(data, score)
    found = read_table(data, score)
    if found.format == "autoresearch" and (folder / "history").is_dir():
        add_history(found, History(folder / "history"))
    return found


def _answer(found: Found) -> dict[str, Any]:
    return {
        "format": found.format,
        "metric": found.metric,
        "direction": found.direction,
        "trials": found.trials,
        "made": found.made,
        "on_branch": found.on_branch,
        "in_history": found.in_history,
        "notes": found.notes,
    }
