"""The engine of the Docker client, whose containers are whose, and causes with their remedies."""

import hashlib
import json
import os
import socket
import sys
import threading

import pytest
from conftest import need_box

from configs.errors import NoBox
from sandbox.box import cgroup, container, engine
from sandbox.box.docker import DockerBox
from sandbox.box.remedy import Machine, explain_start


@pytest.fixture
def client(tmp_path, monkeypatch):
    """Give the Docker client settings of its own; return a function that adds a context."""
    for name in ("DOCKER_HOST", "DOCKER_CONTEXT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "client"))

    def add(name, host):
        ident = hashlib.sha256(name.encode()).hexdigest()
        folder = tmp_path / "client" / "contexts" / "meta" / ident
        folder.mkdir(parents=True)
        meta = {"Name": name, "Metadata": {}, "Endpoints": {"docker": {"Host": host}}}
        (folder / "meta.json").write_text(json.dumps(meta))

    add.folder = tmp_path / "client"
    return add


def listen(path):
    """Take connections at a socket; return the list of those that came."""
    server, came = socket.socket(socket.AF_UNIX), []
    server.bind(str(path))
    server.listen()

    def serve():
        while True:
            link, _ = server.accept()
            came.append(link)
            link.close()

    threading.Thread(target=serve, daemon=True).start()
    return came


class TestChoice:
    """DOCKER_HOST, then DOCKER_CONTEXT, then the current context, as the client chooses."""

    def ask(self):
        with pytest.raises(NoBox, match="no Docker engine answers") as caught:
            DockerBox("heirloop-box")
        return str(caught.value)

    def test_each_of_them(self, client, tmp_path, monkeypatch):
        host, own, current = (listen(tmp_path / name) for name in ("host", "own", "current"))
        client("own", f"unix://{tmp_path}/own")
        client("current", f"unix://{tmp_path}/current")
        (client.folder / "config.json").write_text('{"currentContext": "current"}')
        assert "context current" in self.ask() and (bool(own), bool(current)) == (False, True)
        monkeypatch.setenv("DOCKER_CONTEXT", "own")
        assert "context own" in self.ask() and own and not host
        monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/host")
        del own[:]
        assert f"{tmp_path}/host" in self.ask() and host and not own

    def test_a_context_without_the_clients_settings(self, client, tmp_path, monkeypatch):
        came = listen(tmp_path / "own")
        client("own", f"unix://{tmp_path}/own")
        monkeypatch.setenv("DOCKER_CONTEXT", "own")
        self.ask()
        assert came

    def test_a_context_that_does_not_exist_is_not_the_usual_engine(self, client, monkeypatch):
        monkeypatch.setenv("DOCKER_CONTEXT", "nowhere")
        with pytest.raises(NoBox, match=r"context is 'nowhere'.*docker context ls"):
            DockerBox("heirloop-box")


@pytest.mark.parametrize(
    ("system", "release", "remedy"),
    [
        ("darwin", "24.0", "open Docker Desktop"),
        ("linux", "5.15-microsoft-standard-WSL2", "WSL integration"),
        ("linux", "6.1", "docker start"),
    ],
)
def test_the_remedy_is_of_the_platform(monkeypatch, client, system, release, remedy):
    monkeypatch.setattr(sys, "platform", system)
    monkeypatch.setattr(engine.platform, "release", lambda: release)
    sentence = engine.explain_silence(ConnectionError("refused"))
    assert remedy in sentence and ("systemctl" in sentence) <= (system == "linux")
    closed = engine.explain_silence(PermissionError("[Errno 13] Permission denied"))
    assert "usermod -aG docker" in closed


class TestOwner:
    """A sweep removes containers of dead owners, and of no other."""

    def test_this_process(self):
        label = container.describe_owner()
        assert label.startswith(f"{os.getpid()}-") and not container.is_orphan(label, "running")

    def test_a_dead_process_here(self):
        _, _, place = container.describe_owner().partition("@")
        assert container.is_orphan(f"{os.getpid()}-1@{place}", "running")
        assert container.is_orphan(f"{os.getpid()}-1", "running")  # of an older version

    def test_a_process_of_another_namespace_may_live(self, monkeypatch):
        process, _, place = container.describe_owner().partition("@")
        boot = place.partition("/")[0]
        monkeypatch.setattr(container, "FIRST_NAMESPACE", "none")
        for other in (f"4000000-1@{boot}/77", f"{process}@{boot}/77", "4000000-1@other-boot/1"):
            assert not container.is_orphan(other, "running")
            assert container.is_orphan(other, "exited")

    def test_the_first_namespace_sees_whether_another_lives(self, monkeypatch):
        _, _, place = container.describe_owner().partition("@")
        boot, _, own = place.partition("/")
        monkeypatch.setattr(container, "FIRST_NAMESPACE", own)
        assert container.is_orphan(f"5-1@{boot}/77", "running")


def test_a_group_of_another_namespace_is_neither_swept_nor_killed(tmp_path, monkeypatch):
    """The kernel shows its processes as 0, and a signal to 0 would reach our own group."""
    (tmp_path / "cgroup.controllers").touch()
    folder = tmp_path / "heirloop" / "4000000-j-key"
    folder.mkdir(parents=True)
    (folder / "cgroup.procs").write_text("0\n")
    monkeypatch.setattr(cgroup, "_base_v2", lambda root: tmp_path / "heirloop")
    sent = []
    monkeypatch.setattr(os, "kill", lambda pid, number: sent.append(pid))
    assert cgroup.sweep(tmp_path) == 0 and folder.exists()
    clock = iter(range(100))
    monkeypatch.setattr(cgroup.time, "monotonic", lambda: next(clock))
    assert not cgroup.Group({"all": folder}, 2).kill() and sent == []


CLOSED, OPEN = {"user/max_user_namespaces": "0"}, {"user/max_user_namespaces": "15000"}


@pytest.mark.parametrize(
    ("errors", "settings", "marks", "cause"),
    [
        ("bwrap: setting up uid map: Permission denied", CLOSED, [], "sysctl user.max_user"),
        (
            "bwrap: setting up uid map: Permission denied",
            {"kernel/apparmor_restrict_unprivileged_userns": "1"},
            [],
            "sysctl kernel.apparmor_restrict_unprivileged_userns=0",
        ),
        ("bwrap: No permissions to create new namespace", OPEN, [], "none of its settings"),
        ("PermissionError: [Errno 1] Operation not permitted", OPEN, [".dockerenv"], "container"),
        (
            "bwrap: Can't mount proc on /newroot/proc: Operation not permitted",
            OPEN,
            [],
            "systempaths=unconfined",
        ),
        ("OSError: '/sys/fs/cgroup/x/cgroup.procs'", OPEN, [], "control group"),
        ("bwrap: Can't find source path /x: Operation not permitted", OPEN, [], "does not start"),
    ],
)
def test_a_start_that_fails_names_its_own_cause(tmp_path, errors, settings, marks, cause):
    for name, value in settings.items():
        path = tmp_path / "proc" / "sys" / name
        path.parent.mkdir(parents=True)
        path.write_text(value)
    for mark in marks:
        (tmp_path / mark).touch()
    sentence = explain_start(errors, Machine(root=tmp_path))
    assert cause in sentence
    assert ("user namespaces are closed" in sentence) == (
        "namespaces" in cause or "sysctl" in cause or "settings" in cause
    )


def test_a_response_is_closed_before_its_socket_so_that_it_does_not_complain():
    closed = []

    class Closer:
        def __init__(self, name):
            self.name = name

        def close(self):
            closed.append(self.name)

    attached = Closer("stream")
    attached._response, attached._sock = Closer("response"), Closer("socket")
    container._close_stream(attached)
    assert closed == ["response", "stream", "socket"]


class _SlowEngine:
    """An engine whose answer to a creation comes too late."""

    def __init__(self, api):
        self.api = api

    def create_container(self, *arguments, **options):
        self.api.create_container(*arguments, **options)
        raise TimeoutError("read timed out")

    def __getattr__(self, name):
        return getattr(self.api, name)


@pytest.mark.docker
def test_a_creation_that_is_answered_too_late_leaves_no_container():
    from test_docker import program

    box = need_box(lambda: DockerBox("heirloop-box"), "docker")
    real = box._api()

    def ours():
        rows = real.containers(all=True, filters={"label": container.OWNER})
        return [row for row in rows if row["Labels"][container.OWNER].startswith(f"{os.getpid()}-")]

    box._local.api = _SlowEngine(real)
    assert box.run(program("def main(i, o): pass")).status == "box"
    assert ours() == []
    box._local.api = real
    box.close()


def test_a_container_that_comes_after_the_wait_is_removed_at_the_end(monkeypatch):
    removed = []
    monkeypatch.setattr(DockerBox, "_find_image", lambda self, image: {})
    monkeypatch.setattr(DockerBox, "sweep", lambda self: 0)

    class Api:
        made = 0

        def create_container(self, *_, **__):
            raise TimeoutError

        def create_host_config(self, **_):
            return {}

        def remove_container(self, name, **_):
            self.made += 1
            if self.made < 3:
                raise LookupError("no such container")
            removed.append(name)

    from test_docker import program

    box = DockerBox("x")
    box.image, box._local.api = "x", Api()
    assert "engine failed" in box.run(program("def main(i, o): pass")).detail
    box.close()
    assert len(removed) == 1 and removed[0].startswith("heirloop-")
