"""A child process is bounded, however it behaves, and nothing of it is left."""

import os
import sys
import time
from pathlib import Path

import pytest

from sandbox import child
from sandbox.child import run_child

HOLD = """
import os, sys, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        print(os.getpid(), flush=True)
        time.sleep(60)
    time.sleep(60)
sys.stdin.read()
time.sleep(0.3)
"""
"""A descendant in a session of its own, which holds both pipes open."""


def run(code, data=b"", seconds=10, output=100_000, errors=100_000):
    started = time.monotonic()
    ended = run_child(
        [sys.executable, "-I", "-c", code],
        data,
        seconds=seconds,
        output=output,
        errors=errors,
        environment={},
    )
    return ended, time.monotonic() - started


def lives(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] not in "ZX"
    except OSError:
        return False


def test_an_answer_comes_back_whole():
    text = "import sys; data = sys.stdin.buffer.read(); sys.stdout.buffer.write(data)"
    ended, _ = run(text, b"x" * 90_000)
    assert (ended.code, ended.limit, ended.output) == (0, "", b"x" * 90_000)
    ended, _ = run("import sys; print('no', file=sys.stderr); sys.exit(3)")
    assert (ended.code, ended.errors) == (3, b"no\n")


@pytest.mark.parametrize("pipe", [1, 2])
def test_a_flood_is_cut_as_it_arrives(pipe):
    ended, seconds = run(f"import os\nwhile True: os.write({pipe}, b'x' * 65536)")
    assert "more than 100000 bytes" in ended.limit and ended.code == -9
    assert len(ended.output) + len(ended.errors) == 100_000 and seconds < 5


@pytest.mark.parametrize(
    "code",
    [
        "import time; time.sleep(60)",
        "import os, time; os.close(0), os.close(1), os.close(2), time.sleep(60)",
        "import signal, time; [signal.signal(n, lambda *_: 0) for n in (1, 2, 15)]; time.sleep(60)",
        "import time\nwhile True: print(end='.', flush=True); time.sleep(0.01)",
    ],
)
def test_the_clock_ends_what_does_not_end(code):
    ended, seconds = run(code, b"x" * 1_000_000, seconds=1)
    assert ended.limit == "took more than 1 s" and ended.code == -9 and seconds < 5


def test_a_descendant_in_another_session_neither_delays_nor_outlives_it():
    ended, seconds = run(HOLD)
    assert ended.code == 0 and not ended.limit and seconds < 5
    time.sleep(0.1)
    assert not lives(int(ended.output))


def test_without_the_sweep_the_descendant_lives_on(monkeypatch):
    monkeypatch.setattr(child, "_kill_strays", lambda _: 0)
    ended, _ = run(HOLD)
    assert lives(int(ended.output))
    os.kill(int(ended.output), 9)
