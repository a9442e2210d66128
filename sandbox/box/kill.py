"""Kill the running jobs of a study from outside its loop: a row for each kind of box.

The loop may hang or be dead, so this asks the kernel and the engine, never the loop.
"""

import contextlib
import os
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from sandbox.box.container import STUDY
from sandbox.box.engine import connect


def kill_processes(pid: int, _: str) -> int:
    """Kill the bubblewrap processes of a loop process; the jobs in them die with them."""
    killed = 0
    for child in find_processes(pid):
        with contextlib.suppress(OSError):
            os.kill(child, signal.SIGKILL)
            killed += 1
    return killed


def find_processes(pid: int) -> Iterator[int]:
    """Yield the boxes among the children of a loop process; nothing for pid 0."""
    for task in Path(f"/proc/{pid}/task").glob("*/children") if pid else ():
        with contextlib.suppress(OSError):
            for child in map(int, task.read_text().split()):
                words = Path(f"/proc/{child}/cmdline").read_bytes().split(b"\0")
                if any(word.endswith((b"/bwrap", b"/launch.py")) for word in words[:5]):
                    yield child


def kill_containers(_: int, study: str) -> int:
    """Kill the containers with a study's label; return 0 without an engine."""
    with contextlib.suppress(Exception):
        api = connect(10, "1.41")
        rows = api.containers(filters={"label": f"{STUDY}={study}"})
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda row: _kill_container(api, row["Id"]), rows))
        api.close()
        return len(rows)
    return 0


def _kill_container(api: Any, ident: str) -> None:
    with contextlib.suppress(Exception):
        api.kill(ident)


KILLERS: dict[str, Callable[[int, str], int]] = {
    "namespace": kill_processes,
    "docker": kill_containers,
}
"""Kind of box -> function (loop's pid, study's root): kill the jobs, return their number."""
