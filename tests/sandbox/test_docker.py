"""The Docker box when its engine or image fails; with a real engine where there is one."""

import contextlib
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from conftest import ROOT, need_box
from fakes import outcome

from configs.errors import NoBox, VerificationFailed
from configs.job import Limits
from loop.settings import compose_settings
from loop.study import open as study_open
from loop.study.launch import make_box
from sandbox.box import docker, namespace
from sandbox.box.base import Execution
from sandbox.box.container import OWNER, STUDY, Frames
from sandbox.box.docker import DockerBox
from sandbox.box.image import build
from sandbox.budget import balances
from sandbox.ledger import Ledger

pytestmark = pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning"
)  # the SDK leaves a refused socket open


@pytest.fixture
def no_engine(monkeypatch, tmp_path):
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")


def test_no_engine_is_one_sentence_with_the_remedy(no_engine):
    with pytest.raises(NoBox, match=r"no Docker engine answers .*start it"):
        DockerBox("heirloop-box")
    with pytest.raises(NoBox, match="no Docker engine answers"):
        build("heirloop-box", ROOT, offline=False)


def test_auto_takes_the_namespace_box_else_docker_else_says_both_reasons(no_engine, monkeypatch):
    def closed(*_, **__):
        raise NoBox("user namespaces are closed")

    monkeypatch.setattr(namespace.NamespaceBox, "__init__", closed)
    with pytest.raises(NoBox, match="user namespaces are closed; and no Docker engine answers"):
        make_box(compose_settings(["box=auto"]))
    with pytest.raises(NoBox, match=r"^user namespaces are closed$"):
        make_box(compose_settings(["box=namespace"]))
    monkeypatch.setattr(
        DockerBox, "__init__", lambda self, image, **_: setattr(self, "image", image)
    )
    made = make_box(compose_settings(["box=auto", "box.image=x"]))
    assert (made.kind, made.image) == ("docker", "x")
    assert made.fell_back == "user namespaces are closed"


def test_frames_are_told_apart_however_the_bytes_arrive():
    ours, theirs = socket.socketpair()
    frames = Frames(ours)
    sent = b"".join(
        struct.pack(">BxxxI", kind, len(data)) + data
        for kind, data in ((1, b"Z"), (2, b"printed"), (1, b"stream"), (7, b"odd"))
    )
    got = [b"", b""]
    for i in range(len(sent)):
        theirs.send(sent[i : i + 1])
        stream, log, alive = frames.read()
        got = [got[0] + stream, got[1] + log]
        assert alive
    assert got == [b"Zstream", b"printed"]
    theirs.close()
    assert frames.read() == (b"", b"", False)


def engine():
    return need_box(lambda: DockerBox("heirloop-box"), "docker")


def program(text, **limits):
    files = {"models/__init__.py": b"", "models/train.py": text.encode(), "job.json": b"{}"}
    return Execution(
        role="train",
        files=files,
        limits=Limits(**limits),
        outputs={},
        key="key",
        study="root-of-the-study",
    )


def containers(box):
    return box._api().containers(all=True, filters={"label": OWNER})


class Proxy:
    """A socket between the SDK and the engine, which can die."""

    def __init__(self, path):
        self.server, self.open, self.dead = socket.socket(socket.AF_UNIX), [], False
        self.server.bind(str(path))
        self.server.listen()
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        with contextlib.suppress(OSError):
            while True:
                near, _ = self.server.accept()
                far = socket.socket(socket.AF_UNIX)
                far.connect("/var/run/docker.sock")
                self.open += [near, far]
                threading.Thread(target=self._pass, args=(near, far), daemon=True).start()

    def _pass(self, near, far):
        with contextlib.suppress(OSError, ValueError):
            while not self.dead:
                for one in select.select([near, far], [], [], 0.1)[0]:
                    data, other = one.recv(1 << 16), far if one is near else near
                    if data:
                        other.sendall(data)
                    else:
                        other.shutdown(socket.SHUT_WR)
                        return self._drain(other, one)

    def _drain(self, near, far):
        while data := near.recv(1 << 16):
            far.sendall(data)

    def die(self):
        self.dead = True
        for one in (self.server, *self.open):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()


@pytest.mark.docker
def test_an_engine_that_dies_in_mid_job_is_the_boxs_failure_charged_in_full_and_nothing_survives(
    tmp_path, monkeypatch
):
    engine().close()
    if os.environ.get("DOCKER_HOST") or not Path("/var/run/docker.sock").exists():
        pytest.skip("the engine does not listen on its usual socket")
    proxy = Proxy(tmp_path / "engine.sock")
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/engine.sock")
    box, found = DockerBox("heirloop-box"), []
    text = (
        "import time, ctypes\ndef main(i, o):\n    ctypes.CDLL(None).prctl(15, b'hl-engine-dies',"
        " 0, 0, 0)\n    time.sleep(50)"
    )
    thread = threading.Thread(target=lambda: found.append(box.run(program(text, cpu_us=7_000_000))))
    thread.start()

    def live():
        return [
            p
            for p in Path("/proc").glob("[0-9]*/comm")
            if p.exists() and p.read_text().strip() == "hl-engine-dies"
        ]

    deadline = time.monotonic() + 60
    while not live() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert live()
    proxy.die()
    thread.join(60)
    result = found[0]
    assert (result.status, result.files) == ("box", {}) and "engine failed" in result.detail
    assert result.cpu_us >= 7_000_000  # what it used is not known, so its limit is charged
    if box.tier != "C":  # without a control group the kill waits for the engine
        assert live() == []
    assert box.run(program("def main(i, o): pass")).status == "box"  # and the next job says so too
    monkeypatch.delenv("DOCKER_HOST")
    again = DockerBox("heirloop-box")
    for one in containers(
        again
        # this process lives, so the sweep leaves its containers; the next start of a dead one's
        # does
        # not
    ):
        if one["Labels"][STUDY] == "root-of-the-study":
            again._api().remove_container(one["Id"], force=True)
    assert again.run(program("def main(i, o): print('fine')")).log == b"fine\n"
    again.close()


ORPHAN = r"""
import sys
sys.path.insert(0, {tests!r})
from test_docker import *
box = DockerBox("heirloop-box")
box.run(program("import time\ndef main(i, o): time.sleep(120)"))
"""


@pytest.mark.docker
def test_containers_of_a_dead_process_are_killed_and_removed_at_the_next_start_and_others_are_not():
    box = engine()
    dead = subprocess.Popen(
        [sys.executable, "-c", ORPHAN.format(tests=str(ROOT / "tests" / "sandbox"))],
        env={**os.environ, "PYTHONPATH": str(ROOT / "tests")},
    )
    mine = threading.Thread(
        target=lambda: box.run(program("import time\ndef main(i, o): time.sleep(120)"))
    )
    mine.start()

    def of(pid):
        return [
            c
            for c in containers(box)
            if c["Labels"][OWNER].startswith(f"{pid}-") and c["State"] == "running"
        ]

    deadline = time.monotonic() + 60
    while not (of(dead.pid) and of(os.getpid())) and time.monotonic() < deadline:
        time.sleep(0.1)
    found = of(dead.pid)
    assert (
        found
        and found[0]["Labels"][STUDY] == "root-of-the-study"
        and "heirloop-" in found[0]["Names"][0]
    )
    dead.kill()
    dead.wait()
    assert of(dead.pid), "the container must outlive its process for this test to tell anything"
    again = DockerBox("heirloop-box")
    assert of(dead.pid) == [] and of(os.getpid())
    assert not any(Path(m["Source"]).exists() for m in found[0]["Mounts"] if m.get("Source"))
    box.stop()
    mine.join(30)
    box.close()
    again.close()


@pytest.mark.docker
def test_a_run_killed_in_mid_job_is_charged_its_reservation_and_its_container_is_gone(tmp_path):
    box = engine()
    settings = [
        "task=addition-v1",
        "study.name=t",
        "study.arms=[random]",
        "box=docker",
        f"runs={tmp_path}/runs",
        "task.train_items=500",
        "task.held_out=50",
        "study.generations=1",
        "study.proposals=1",
        "study.final_replicates=0",
    ]
    heirloop = [sys.executable, "-c", "from loop.command.main import main; main()"]
    subprocess.run(
        [*heirloop, "mandate", "grant", "--unattended", *settings], check=True, capture_output=True
    )
    running = subprocess.Popen(
        [*heirloop, "run", *settings], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    path, deadline, jobs = tmp_path / "runs/t/ledger.sqlite", time.monotonic() + 90, []
    while not jobs and time.monotonic() < deadline:
        time.sleep(0.2)
        if path.exists():
            with contextlib.suppress(VerificationFailed):
                jobs = [e for e in Ledger.file(path).entries() if e.kind == "start"]
    assert jobs
    running.send_signal(signal.SIGKILL)
    running.wait()
    done = [e for e in Ledger.file(path).entries() if e.kind == "job"]
    opened = study_open.open_study(compose_settings(settings))
    lost = [e.body["result"] for e in opened.ledger.entries() if e.kind == "job"][len(done) :]
    assert [(r["status"], r["charged_by"]) for r in lost] == [("box", "reservation")] * (
        len(jobs) - len(done)
    ) and lost
    assert all(r["charged"]["cpu_us"] == opened.config.budget.train.cpu_us for r in lost)
    assert not any(c["Labels"][OWNER].startswith(f"{running.pid}-") for c in containers(box))
    assert opened.ledger.read(balances)["root"]["cpu_us"]["reserved"] == 0
    opened.sandbox.box.close()
    box.close()
    study_open.release_locks()


@pytest.mark.docker
def test_an_image_that_is_not_the_pinned_one_does_not_run(tmp_path):
    box = engine()
    settings = ["study.name=t", f"runs={tmp_path}/runs", "box=docker"]
    opened = study_open.open_study(compose_settings(settings), box)
    assert opened.ledger.entries()[0].body["image"] == box.image and box.image.startswith("sha256:")
    study_open.release_locks()
    other = DockerBox(box.image)
    other.image = "sha256:" + "0" * 64
    with pytest.raises(VerificationFailed, match="pins image sha256:"):
        study_open.open_study(compose_settings(settings), other)
    study_open.release_locks()
    gone = other.run(program("def main(i, o): pass"))  # an image that vanished after the start
    assert gone.status == "box" and "No such image" in gone.detail
    with pytest.raises(NoBox, match="has no image 'heirloop-none'"):
        DockerBox("heirloop-none")
    box.close()
    other.close()


@pytest.mark.docker
@pytest.mark.parametrize(("full", "told"), [(True, ("limit", "memory")), (False, ("box", "gone"))])
def test_without_control_groups_the_engine_tells_whether_memory_ended_a_collector(
    monkeypatch, full, told
):
    box = engine()
    box._groups = False
    monkeypatch.setattr(docker, "watch", lambda *_, **__: outcome("box", "gone"))
    monkeypatch.setattr(box, "_is_out_of_memory", lambda _: full)
    ended = box.run(program("def main(i, o): pass"))
    assert (ended.status, ended.detail) == told
    box.close()
