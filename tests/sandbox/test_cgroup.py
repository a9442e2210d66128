"""The control group adapter on trees recorded from machines of both layouts; the live one is tested
with the boxes.
"""

import os
import subprocess
from pathlib import Path

import pytest

from configs.job import Limits
from sandbox.box import cgroup

CALM = {
    "memory.events": "low 0\nhigh 0\nmax 12\noom 0\noom_kill 0\noom_group_kill 0\n",
    "pids.events": "max 0\n",
}
STAT = (
    "usage_usec 1234567\nuser_usec 1000000\nsystem_usec 234567\nnr_periods 12\nnr_throttled"
    " 3\nthrottled_usec 99\n"
)


@pytest.fixture
def v2(tmp_path):
    """A v2 tree as systemd delegates it: our process sits in a leaf beside which the group is
    made.
    """
    leaf = tmp_path / "user.slice/app.slice/run.scope"
    leaf.mkdir(parents=True)
    (tmp_path / "cgroup.controllers").write_text("cpuset cpu io memory hugetlb pids rdma misc\n")
    told = tmp_path / "proc-self-cgroup"
    told.write_text("0::/user.slice/app.slice/run.scope\n")
    group = cgroup._create_v2("j-1", Limits(memory_bytes=10**8, processes=9), tmp_path, told)
    folder = tmp_path / "user.slice/app.slice/heirloop/j-1"
    for name, text in (
        CALM | {"cpu.stat": STAT, "memory.peak": "52428800\n", "memory.current": "4096\n"}
    ).items():
        (folder / name).write_text(text)
    return group, folder


def test_v2_sets_the_limits_beside_the_own_leaf(v2):
    group, folder = v2
    assert {
        n: (folder / n).read_text()
        for n in ("memory.max", "memory.swap.max", "pids.max", "cpu.max")
    } == {
        "memory.max": "100000000",
        "memory.swap.max": "0",
        "pids.max": "9",
        "cpu.max": "100000 100000",
    }
    for place in (folder.parent, folder.parent.parent):
        assert (place / "cgroup.subtree_control").read_text() == "+cpu +memory +pids"
    assert group.procs == [str(folder / "cgroup.procs")]


def test_v2_reads_use_and_breaches(v2):
    group, folder = v2
    assert (group.cpu_us(), group.peak_bytes(), group.breach()) == (1_234_567, 52_428_800, "")
    (folder / "pids.events").write_text("max 1\n")
    assert group.breach() == "processes"
    below = folder / "container"
    below.mkdir()
    (below / "memory.events").write_text(CALM["memory.events"].replace("oom_kill 0", "oom_kill 1"))
    assert group.breach() == "memory"
    group.allow_memory(1000)
    assert (folder / "memory.max").read_text() == "5096"


def test_v1_reads_use_and_breaches(tmp_path):
    folders = {name: tmp_path / name / "heirloop/j" for name in cgroup.V1}
    files = {
        "cpuacct": {"cpuacct.usage": "1234567890\n"},
        "memory": {
            "memory.max_usage_in_bytes": "4096\n",
            "memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 0\n",
        },
        "pids": {"pids.events": "max 0\n"},
        "cpu": {},
    }
    for tree, folder in folders.items():
        folder.mkdir(parents=True)
        for name, text in files[tree].items():
            (folder / name).write_text(text)
    group = cgroup.Group(folders, 1)
    assert (group.cpu_us(), group.peak_bytes(), group.breach()) == (1_234_567, 4096, "")
    (folders["pids"] / "pids.events").write_text("max 3\n")
    assert group.breach() == "processes"
    (folders["memory"] / "memory.oom_control").write_text(
        "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n"
    )
    assert group.breach() == "memory"


@pytest.fixture
def live():
    """A group of this machine; skips where none can be made."""
    group = cgroup.create(f"{os.getpid()}-test", Limits())
    if group is None:
        pytest.skip("no control group is writable")
    yield group
    group.remove()


def test_a_group_below_is_seen_once_it_is_there_and_forgotten_once_it_is_gone(live):
    """As a container's own group, deep below, between two looks a few milliseconds apart."""
    top = Path(live.procs[0]).parent
    assert live.list_pids() == [] and live.breach() == ""
    for folder in (top / "a", top / "a" / "b"):
        folder.mkdir()
        assert str(folder) in live._walk(str(top))
    with subprocess.Popen(["sleep", "60"]) as sleeper:
        (top / "a" / "b" / "cgroup.procs").write_text(str(sleeper.pid))
        assert live.list_pids() == [str(sleeper.pid)]
        assert live.kill() and sleeper.wait() == -9
    for folder in (top / "a" / "b", top / "a"):
        folder.rmdir()
    assert live.list_pids() == [] and list(live._walk(str(top))) == [str(top)]


def test_a_removed_group_leaves_no_descriptor(live):
    before = len(os.listdir("/proc/self/fd"))
    live.breach()
    used = live.cpu_us()
    assert used >= 0 and len(os.listdir("/proc/self/fd")) == before + 3
    live.remove()
    assert len(os.listdir("/proc/self/fd")) == before


def test_without_a_writable_tree_there_is_no_group(tmp_path):
    (tmp_path / "blocked").write_text("a file where a folder should be")
    assert cgroup.create("j", Limits(), Path(tmp_path / "blocked")) is None


def test_a_dead_run_s_half_removed_group_is_swept(tmp_path):
    """It lies in one tree of v1 alone, where a sweep was killed in the middle."""
    left = tmp_path / "pids" / "heirloop" / f"{2**22 + 1}-z-left"
    left.mkdir(parents=True)
    assert cgroup.sweep(tmp_path) == 1 and not left.exists()
