"""A job that passes its wall limit: starved by the machine, or slow and asleep by itself."""

import fcntl
import os
import resource
import socket
import subprocess
import sys

import pytest
from conftest import ROOT, need_box

from configs.job import Limits
from loop.attack import run as attacks
from loop.attack.probes import BY_GROUP, BY_PROCESS, EVERYWHERE
from sandbox.box.base import Execution
from sandbox.box.namespace import NamespaceBox
from sandbox.box.starvation import Meter, Use
from sandbox.box.watch import wait_for

LIMITS = Limits(cpu_us=30_000_000, wall_us=60_000_000)


class StubGroup:
    """A control group with given processes, and no quota felt yet."""

    def __init__(self, pids):
        self.pids, self.throttled = pids, 0

    def list_pids(self):
        return self.pids

    def throttled_us(self):
        return self.throttled


def proc(tmp_path, **seconds):
    """Write schedstat files: process -> (seconds on a core, seconds in the queue)."""
    for pid, (ran, waited) in seconds.items():
        (tmp_path / pid).mkdir()
        text = f"{int(ran * 1e9)} {int(waited * 1e9)} 7\n"
        (tmp_path / pid / "schedstat").write_text(text)
    return tmp_path


class TestFigures:
    def judge(self, folder, cpu, throttled=0.0):
        group = StubGroup([])
        meter = Meter(group, folder)
        group.pids = [path.name for path in folder.iterdir()]
        group.throttled = int(throttled * 1e6)
        return meter.measure(int(cpu * 1e6))

    def test_a_training_without_a_core_is_starved(self, tmp_path):
        use = self.judge(proc(tmp_path, p1=(8, 50), p2=(0, 1)), cpu=8)
        assert use.waited_us == 50_000_000 and use.is_starved(LIMITS)
        assert "50.0 s waiting for a core" in use.describe() and "8.0 s of CPU" in use.describe()

    def test_a_sleeper_is_not(self, tmp_path):
        assert not self.judge(proc(tmp_path, p1=(0.1, 0.2)), cpu=0.1).is_starved(LIMITS)

    def test_waits_behind_its_own_processes_do_not_count(self, tmp_path):
        crowd = {f"p{i}": (1, 28) for i in range(29)}
        assert not self.judge(proc(tmp_path, **crowd), cpu=29).is_starved(LIMITS)

    def test_waits_behind_its_own_dead_processes_do_not_count(self, tmp_path):
        assert not self.judge(proc(tmp_path, p1=(0, 29)), cpu=29).is_starved(LIMITS)

    def test_its_own_quota_does_not_count(self, tmp_path):
        use = self.judge(proc(tmp_path, p1=(10, 45)), cpu=10, throttled=45)
        assert not use.is_starved(LIMITS)

    def test_waits_before_the_job_do_not_count(self, tmp_path):
        """A container waits for its own start, under a quota, before the job begins."""
        group = StubGroup(["p1"])
        group.throttled = 5_000_000
        meter = Meter(group, proc(tmp_path, p1=(2, 55)))
        (tmp_path / "p1" / "schedstat").write_text("2100000000 55200000000 9")
        assert meter.measure(200_000) == Use(cpu_us=200_000, waited_us=100_000)

    def test_no_figure_is_no_excuse(self, tmp_path):
        (tmp_path / "p1").mkdir()
        assert not self.judge(tmp_path, cpu=1).is_starved(LIMITS)

    def test_a_short_wait_is_no_excuse_where_the_limits_leave_no_spare_time(self):
        limits = Limits(cpu_us=60_000_000, wall_us=60_000_000)
        assert not Use(cpu_us=1, waited_us=1_000_000).is_starved(limits)


@pytest.fixture
def box():
    made = need_box(lambda: NamespaceBox(ROOT / ".box"))
    if made.tier == "C":
        made.close()
        pytest.skip("no writable control group")
    yield made
    made.close()


def run(box, body, **limits):
    core = min(os.sched_getaffinity(0))
    code = f"import os, time\ndef main(i, o):\n    {body}\n".encode()
    files = {"models/__init__.py": b"", "models/train.py": code, "job.json": b"{}"}
    return box.run(
        Execution(role="train", files=files, limits=Limits(**limits), outputs={}, cpu=core)
    )


@pytest.fixture
def crowded():
    """Keep the first core busy with processes of more weight than a job's."""
    core = min(os.sched_getaffinity(0))
    code = (
        f"import os\nos.sched_setaffinity(0, [{core}])\nwhile os.getppid() == {os.getpid()}: pass"
    )
    # A session each: some kernels share a core out between sessions first.
    crowd = [
        subprocess.Popen([sys.executable, "-c", code], start_new_session=True) for _ in range(12)
    ]
    yield
    for process in crowd:
        process.kill()
        process.wait()


@pytest.mark.usefixtures("crowded")
def test_on_a_crowded_core_the_machine_failed_and_not_the_program(box):
    result = run(box, "while True: pass", cpu_us=6_000_000, wall_us=12_000_000)
    assert result.status == "box" and result.detail.startswith("starved: ")
    assert 0 < result.cpu_us - result.startup_cpu_us < 6_000_000  # its own use, and no more


@pytest.mark.usefixtures("crowded")
def test_on_a_crowded_core_a_sleeper_gets_no_free_repeat(box):
    # Beside so many it waits seconds for its own start; a limit far beyond them leaves no doubt.
    result = run(box, "time.sleep(60)", cpu_us=2_000_000, wall_us=20_000_000)
    assert (result.status, result.detail) == ("limit", "wall")


def test_an_attack_on_a_starved_job_has_another_try_with_time(monkeypatch):
    tries = []

    class Suite:
        def give_time(self):
            return "patient"

    def once(suite, _):
        tries.append(suite)
        return {"said": "limit: cpu" if suite == "patient" else "box: starved: the machine"}

    monkeypatch.setattr(attacks, "_attempt_once", once)
    assert attacks.attempt(Suite(), None) == {"said": "limit: cpu"} and len(tries) == 2


def test_the_wall_clock_decides_no_promise_but_its_own():
    """With a core for a fortieth of the time, each program still passes the limit it is after."""
    for probe in (*BY_GROUP, *BY_PROCESS, *EVERYWHERE):
        if probe.id != "B08b":
            assert probe.limits.wall_us >= 40 * probe.limits.cpu_us


@pytest.mark.parametrize("least", [3, 1100])
def test_descriptors_of_any_number_are_waited_for(least):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard <= 1200:
        pytest.skip(f"a process has at most {hard} descriptors here")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 1200), hard))
    near, far = socket.socketpair()
    with near, far:
        high = fcntl.fcntl(near.fileno(), fcntl.F_DUPFD_CLOEXEC, least)
        try:
            assert wait_for([high]) == (False, False) == wait_for([])
            assert wait_for([high], high) == (False, True)
            far.send(b"x")
            assert wait_for([high], high) == (True, True) and wait_for([high]) == (True, False)
            far.close()
            assert wait_for([high]) == (True, False)
        finally:
            os.close(high)
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
