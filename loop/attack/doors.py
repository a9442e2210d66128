"""Attacks on an agent's doors, and on what jobs find of people's own.

Floods and malformed requests need no box: this process takes the part of the job, so its own walls
are not in the way. What a box must stop runs in the box, beside real doors.
"""

import json
import os
import select
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from configs.errors import NoBox
from configs.job import Limits
from configs.records import SERVE
from evals.attacks.attack import read_payload
from loop.attack.outcome import GOT_THROUGH, first_success
from loop.attack.suite import Suite
from loop.factory import serve
from loop.plan import ROOT, source
from loop.propose.agent import model, trials
from loop.propose.agent.doors import open_doors
from loop.study.box import make_real_box
from sandbox.box import environment
from sandbox.box.base import Box, Execution
from sandbox.canonical import canonical, digest
from sandbox.door.doors import DooredBox, Doors, Handler, Reply
from sandbox.door.porter import OPEN_MOST
from sandbox.door.replayed import ReplayedDoor

PATHS = {"model": model.PATH, "trial": trials.PATH, SERVE: serve.PATH}
PATIENCE = 15.0
"""Seconds until a door that does nothing counts as open."""
ORPHAN = """
import os, socket, sys
if os.fork() or os.setsid() or os.fork():
    os._exit(0)
one = socket.socket(socket.AF_UNIX)
one.settimeout(15)
one.connect(sys.argv[1])
one.sendall(b"POST /v1/trials HTTP/1.1\\r\\nContent-Length: 2\\r\\n\\r\\n{}")
os.write(1, one.recv(12) or b"nothing")
"""
START = "def main(i, o):\n    import subprocess, sys\n" + (
    "    env = {'PYTHONPATH': ':'.join(sys.path)}\n"
    "    subprocess.run([sys.executable, '-c', 'pass'], env=env)\n"
)
"""A job that starts Python anew, as an agent's does."""


def _echo(request: Any) -> Reply:
    return Reply(status=200, body=json.dumps(request).encode())


@contextmanager
def open_here(handlers: Mapping[str, Handler], pid: int = 0) -> Iterator[Doors]:
    """Open doors for the processes beside this one, as if they were the job's."""
    doors = Doors({name: (PATHS[name], handler) for name, handler in handlers.items()})
    try:
        doors.open(pid or os.getpid())
        yield doors
    finally:
        doors.finish()


def knock(doors: Doors, name: str, data: bytes) -> socket.socket:
    one = socket.socket(socket.AF_UNIX)
    one.settimeout(PATIENCE)
    one.connect(str(doors.folder / name))
    with suppress(OSError):  # a refusal may come before the end of the request
        one.sendall(data)
    return one


def framed(name: str, body: bytes, more: bytes = b"") -> bytes:
    first = f"POST {PATHS[name]} HTTP/1.1\r\nContent-Length: {len(body)}\r\n".encode()
    return first + more + b"\r\n" + body


def ask(doors: Doors, name: str, data: bytes) -> str:
    """Return the status line of an answer, and its text."""
    with knock(doors, name, data) as one:
        parts = []
        with suppress(OSError):
            while part := one.recv(65_536):
                parts.append(part)
    return b"".join(parts).decode(errors="replace")


def judge(answer: str) -> str:
    """Return what is told of an answer that should be a refusal."""
    status, _, text = answer.partition("\r\n")
    return f"{GOT_THROUGH}: {status}" if " 200 " in status else text[-200:]


def flood_doors(_: Suite) -> str:
    """Hold many unfinished requests open at every door at once."""
    with open_here({name: _echo for name in PATHS}) as doors:
        held = [knock(doors, name, b"POST") for name in PATHS for _ in range(3 * OPEN_MOST)]
        refused = list[str]()
        waiting = list(held)
        while waiting and (ready := select.select(waiting, [], [], 1.0)[0]):
            for one in ready:
                with suppress(OSError):
                    refused.append(one.recv(65_536).decode())
                waiting.remove(one)
        for one in held:
            one.close()
    if len(waiting) > len(PATHS) * OPEN_MOST:
        return f"{GOT_THROUGH}: {len(waiting)} unfinished requests are open"
    return next(iter(refused), "nothing was refused")


def leave_half_open(_: Suite) -> str:
    """Send half a request, and nothing more."""
    with open_here({"trial": _echo}) as doors, knock(doors, "trial", b"POST /v1/tri") as one:
        try:
            return f"cut: {one.recv(100).decode()!r}"
        except TimeoutError:
            return f"{GOT_THROUGH}: it is open after {PATIENCE:g} s"


def smuggle_requests(_: Suite) -> str:
    """Frame requests so that two parsers would read different things."""
    second = framed("trial", b"{}")
    bad = (
        framed("trial", b"{}") + second,
        framed("trial", b"{}", b"Transfer-Encoding: chunked\r\n"),
        framed("trial", b"{}", b"Content-Length: 3\r\n"),
        framed("trial", b'{"a":1,"a":2}'),
        framed("trial", b'{"a":NaN}'),
        framed("trial", b"[" * 1000 + b"]" * 1000),
    )
    with open_here({"trial": _echo}) as doors:
        return first_success([judge(ask(doors, "trial", data)) for data in bad])


def replay_other_requests(_: Suite) -> str:
    """In a replay, ask what the recorded agent did not ask, and the same once more."""
    asked = {"request": digest(canonical({"a": 1})), "status": 200, "kind": "", "body": "{}"}
    with open_here({"trial": ReplayedDoor(canonical([asked])).answer}) as doors:
        recorded = ask(doors, "trial", framed("trial", b'{"a": 1}'))
        assert " 200 " in recorded, recorded
        others = (b'{"a": 2}', b'{"a": 1}')
        answers = [judge(ask(doors, "trial", framed("trial", body))) for body in others]
    return first_success(answers)


def ask_after_deadline(_: Suite) -> str:
    """Let a second request wait at a door while the job's time ends."""
    over, begun, handled = threading.Event(), threading.Event(), list[Any]()

    def slow(request: Any) -> Reply:
        handled.append(request)
        begun.set()
        over.wait(PATIENCE)
        return _echo(request)

    with open_here({"trial": slow}) as doors:
        first = knock(doors, "trial", framed("trial", b'{"n": 1}'))
        begun.wait(PATIENCE)
        second = knock(doors, "trial", framed("trial", b'{"n": 2}'))
        requests = doors._doors["trial"]._requests  # where it waits for the handler
        waits = select.select([requests], [], [], PATIENCE)[0]
        doors.close()
        over.set()
    first.close()
    second.close()
    late = doors.counts()["trial"]["late"]
    if len(handled) > 1:
        return f"{GOT_THROUGH}: a request was handled after the deadline"
    return f"late: {late}" if waits else "no request waited"


def outlive_job(_: Suite) -> str:
    """Ask from a double-forked process after the job that had the door."""
    job = subprocess.Popen(["sleep", "60"])
    try:
        with open_here({"trial": _echo}, job.pid) as doors:
            command = [sys.executable, "-I", "-c", ORPHAN, str(doors.folder / "trial")]
            during = subprocess.run(command, capture_output=True, timeout=60).stdout
            assert during.endswith(b"200"), during
            job.kill()
            job.wait()
            after = subprocess.run(command, capture_output=True, timeout=60)
        outside = doors.counts()["trial"]["outside"]
    finally:
        job.kill()
        job.wait()
    text = after.stdout.decode()
    return f"{GOT_THROUGH}: {text}" if text.endswith("200") else f"outside: {outside}"


def pass_descriptors(suite: Suite) -> str:
    """Hand descriptors through a door, and make sockets of one's own."""
    return _run_agent(suite, "agent_descriptors")


def reach_other_ports(suite: Suite) -> str:
    """Reach another port, address or protocol than the forwarder's."""
    return _run_agent(suite, "agent_ports")


def _run_agent(suite: Suite, payload: str) -> str:
    program = suite.host.fill_in(read_payload(payload), Path(suite.running.config.runs)).encode()
    files = {**source(), "program": program, "history.json": b"{}", "job.json": b"{}"}
    return run_with_doors(suite, open_doors({"model": (model.PATH, _echo)}), "agent", files)


def run_with_doors(suite: Suite, doors: Doors, role: str, files: Mapping[str, bytes]) -> str:
    """Run files as a job with doors, in the attacked box itself; return its outcome as text."""
    try:
        return _try(DooredBox(suite.box, doors), role, dict(files))
    finally:
        doors.finish()


def customise_start(suite: Suite) -> str:
    """Leave code in an environment of people's own that Python would run by itself."""
    version = next((ROOT / ".box" / "lib").glob("python3*")).name
    with tempfile.TemporaryDirectory(prefix="hl-environment-") as name:
        site = Path(name) / "lib" / version / "site-packages"
        site.mkdir(parents=True)
        (Path(name) / "pyvenv.cfg").write_text("home = /usr/bin\n")
        loud = "import os; os.write(1, f'THROUGH {__name__}\\n'.encode())\n"
        for file in ("sitecustomize.py", "usercustomize.py", "numpy.py"):
            (site / file).write_text(loud)
        (site / "start.pth").write_text(loud)
        kept = environment.keep(name, version, [])
    settings = suite.running.config.box
    try:
        box = make_real_box(replace(settings, environment=name, environment_digest=kept))
    except NoBox as error:
        return f"an environment needs the namespace box: {error}"
    try:
        files = {"models/__init__.py": b"", "models/train.py": START.encode(), "job.json": b"{}"}
        return _try(box, "train", files)
    finally:
        box.close()


def _try(box: Box, role: str, files: dict[str, bytes]) -> str:
    outcome = box.run(
        Execution(role=role, files=files, limits=Limits(), outputs={}, key="attack", study="attack")
    )
    lines = outcome.log.decode(errors="replace").splitlines()
    text = f"{outcome.status}: {outcome.detail}"
    if outcome.status == "program":
        text += f" ({lines[-1][:200] if lines else ''})"
    through = [line for line in lines if line.startswith("THROUGH")]
    return f"{text}; {GOT_THROUGH}: {through[0][:100]}" if through else text
