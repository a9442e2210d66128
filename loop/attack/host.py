"""The canaries of the host: listeners, a file, a process and a secret; no job may reach them."""

import contextlib
import os
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sandbox import keys


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """The canaries of the host."""

    folder: Path
    "folder of the canary file and the named socket"
    port: int
    "port of the listener on loopback"
    socket_name: str
    "name of the abstract socket"
    secret: str
    "text in the canary file and in the environment"
    mark: str
    "name of the processes of these attacks"
    reached: list[str]
    "listeners that were reached"
    process: subprocess.Popen[bytes]
    "process to stay alive"

    def is_intact(self) -> bool:
        """Tell whether nothing was reached, changed or left behind."""
        files = sorted(path.name for path in self.folder.iterdir())
        return (
            self.process.poll() is None
            and not self.reached
            and files == ["canary", "socket"]
            and not find_survivors(self.mark)
        )

    def fill_in(self, program: str, root: Path) -> str:
        """Return a program with the addresses of its targets; `root` is the folder of runs."""
        places = {
            "PORT": str(self.port),
            "NAME": self.socket_name,
            "MARK": self.mark,
            "SOCK": str(self.folder / "socket"),
            "FILE": str(self.folder / "canary"),
            "PID": str(self.process.pid),
            "ROOT": str(root),
            "HOME": str(keys.home()),
        }
        for name, value in places.items():
            program = program.replace(f"@{name}@", value)
        return program


@contextlib.contextmanager
def open_host() -> Iterator[Host]:
    """Set up all canaries, and remove them at the end."""
    with tempfile.TemporaryDirectory(prefix="hl-canary-") as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        folder.chmod(0o755)
        secret = os.urandom(12).hex()
        (folder / "canary").write_text(secret)
        reached: list[str] = []
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        abstract = stack.enter_context(socket.socket(socket.AF_UNIX))
        named = stack.enter_context(socket.socket(socket.AF_UNIX))
        abstract.bind(f"\0hl-{secret}")
        _bind(named, folder)
        (folder / "socket").chmod(0o777)
        for server, title in (
            (listener, "loopback"),
            (abstract, "abstract socket"),
            (named, "named socket"),
        ):
            threading.Thread(
                target=_note_visits, args=(server, title, reached), daemon=True
            ).start()
        process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(3600)"])
        os.environ["HEIRLOOP_CANARY"] = secret
        try:
            yield Host(
                folder=folder,
                port=listener.getsockname()[1],
                socket_name=f"hl-{secret}",
                secret=secret,
                mark=f"hl-{secret[:8]}",
                reached=reached,
                process=process,
            )
        finally:
            os.environ.pop("HEIRLOOP_CANARY", None)
            process.kill()
            process.wait()
            for server in (listener, abstract, named):
                with contextlib.suppress(OSError):
                    server.shutdown(socket.SHUT_RDWR)


def _note_visits(server: socket.socket, title: str, reached: list[str]) -> None:
    """Add the title to `reached` at every connection, until the socket is shut down."""
    with contextlib.suppress(OSError):
        server.listen()
        while True:
            server.accept()[0].close()
            reached.append(title)


def find_survivors(name: str) -> list[int]:
    """Return the living processes of an attack; a zombie counts as dead."""
    pids = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            before, _, after = path.read_text().rpartition(") ")
            if before.partition(" (")[2] == name and after[0] not in "ZX":
                pids.append(int(path.parent.name))
    return pids


def _bind(link: socket.socket, folder: Path) -> None:
    """Bind a socket at folder/socket, however long the name of the folder is."""
    opened = os.open(folder, os.O_RDONLY)
    try:
        # The kernel takes 107 bytes; TMPDIR may have more.
        place = Path(f"/proc/self/fd/{opened}")
        link.bind(str((place if place.exists() else folder) / "socket"))
    finally:
        os.close(opened)
