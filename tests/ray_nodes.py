"""Ray nodes of a test run's own on one machine, and studies that run over them.

Ray's client prints, warns and leaves threads behind, so no test process joins a cluster: `play`
and `ask` start a process of their own.
"""

import contextlib
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path

from conftest import ROOT

STORE_BYTES = "80000000"
"""Memory of a node's object store: the least that Ray takes."""
START_SECONDS = 90
PLAY = """
import json, sys
sys.path.insert(0, sys.argv[1])
import crashes
crashes.play(crashes.compose_settings([*crashes.REAL, *json.loads(sys.argv[2])]))
"""


class RayNodes:
    """A head and further nodes, each of one job at a time on a core of its own."""

    def __init__(self, count, token=True):
        self.folder = Path(tempfile.mkdtemp(prefix="hl-ray-"))  # sockets want a short path
        self.settings = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": "disabled"}
        if token:
            self.settings |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
        with closing(socket.socket()) as free:
            free.bind(("127.0.0.1", 0))
            self.address = f"127.0.0.1:{free.getsockname()[1]}"
        self.nodes = []
        try:
            for number in range(count):
                self._start(number)
        except BaseException:
            self.close()
            raise

    def _start(self, number):
        cores = sorted(os.sched_getaffinity(0))
        where = ["--address", self.address]
        if not number:
            port = self.address.rpartition(":")[2]
            where = ["--head", "--port", port, "--include-dashboard=false"]
            where += ["--temp-dir", str(self.folder)]
        command = [
            *("setpriv", "--pdeathsig=KILL", "taskset", "-c", str(cores[number % len(cores)])),
            *(sys.executable, "-m", "ray.scripts.scripts", "start", "--block", *where),
            *("--node-ip-address", "127.0.0.1", "--num-cpus=1"),
            *("--object-store-memory", STORE_BYTES, "--disable-usage-stats"),
        ]
        log = self.folder / f"node-{number}.log"
        with log.open("wb") as out:
            node = subprocess.Popen(
                command,
                env=self.surroundings(),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )
        self.nodes.append(node)
        end = time.monotonic() + START_SECONDS
        while b"Ray runtime started" not in log.read_bytes():
            assert node.poll() is None and time.monotonic() < end, log.read_text()
            time.sleep(0.1)

    def surroundings(self):
        """Return the environment of a node, and of a loop that joins."""
        return {**os.environ, **self.settings, "PYTHONPATH": str(ROOT)}

    def kill(self, number):
        """Kill a node with everything on it, at once."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.nodes[number].pid, signal.SIGKILL)
        self.nodes[number].wait(30)

    def close(self):
        for number in reversed(range(len(self.nodes))):
            self.kill(number)
        shutil.rmtree(self.folder, ignore_errors=True)

    def play(self, folder, *overrides):
        """Start the study of crashes.py over these nodes in a process; it runs in a folder."""
        return begin(folder, self.surroundings(), "launcher=ray", self.named(), *overrides)

    def named(self):
        return f"launcher.address={self.address}"

    def ask(self, code, *arguments):
        """Run a program that may join the cluster; return (exit code, output)."""
        done = subprocess.run(
            [sys.executable, "-c", code, *arguments],
            env=self.surroundings(),
            capture_output=True,
            text=True,
            timeout=120,
        )
        return done.returncode, done.stdout + done.stderr


def begin(folder, surroundings, *overrides):
    """Start the study of crashes.py in a process."""
    tests = str(Path(__file__).parent)
    return subprocess.Popen(
        [sys.executable, "-c", PLAY, tests, json.dumps(overrides)],
        cwd=folder,
        env=surroundings,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


def finish(process, seconds):
    """Wait for a study to end well."""
    out, _ = process.communicate(timeout=seconds)
    assert process.returncode == 0, out.decode(errors="replace")[-3000:]
