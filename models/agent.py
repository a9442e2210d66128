"""Run an agent of people's own for a generation: a program, or a folder with a `__main__.py`.

It starts in /tmp/work, a folder to work in, with IN's files: history.json, the champion's models/
and configs/, and the `notes` that its last generation left. It leaves proposals.jsonl (a proposal a
line) and `notes` in that folder; what it prints is the job's log. Anything but exit code 0 is a
failure.
"""

import os
import subprocess
import sys
from pathlib import Path

WORK, PROGRAM = Path("/tmp/work"), Path("/tmp/program")
LEFT = ("proposals.jsonl", "notes")
"""Files that a generation hands out."""


def starter(data: bytes) -> list[str]:
    """Return what starts a program. Binaries and scripts of another interpreter start themselves;
    all else is Python, an archive of zipapp too.
    """
    first = data.partition(b"\n")[0]
    own = data[:4] == b"\x7fELF" or (first[:2] == b"#!" and b"python" not in first)
    return [] if own else [sys.executable, "-B"]


def start(source: Path) -> list[str]:
    """Return the command that runs the agent: a folder lies read-only among the inputs."""
    if (source / "agent").is_dir():
        return [sys.executable, "-B", str(source / "agent")]
    data = (source / "program").read_bytes()
    PROGRAM.write_bytes(data)
    PROGRAM.chmod(0o700)
    return [*starter(data), str(PROGRAM)]


def main(source: Path, target: Path) -> None:
    """Lay out the folder, run the program to its end, hand out what it left."""
    for path in sorted(source.rglob("*")):
        inside = path.relative_to(source)
        if path.is_file() and inside.parts[0] not in ("program", "agent", "job.json"):
            copy = WORK / inside
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(path.read_bytes())
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    code = subprocess.run(start(source), stdin=subprocess.DEVNULL, env=env, cwd=WORK).returncode
    if code:
        raise SystemExit(code if code > 0 else 1)
    for name in LEFT:
        if (WORK / name).is_file():
            (target / name).write_bytes((WORK / name).read_bytes())
