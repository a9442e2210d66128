"""The Docker box where its engine or image is missing, and the stream that the engine speaks; no engine is needed."""

import socket
import struct

import pytest
from conftest import ROOT

from configs.errors import NoBox
from loop import main, study
from sandbox.box import namespace
from sandbox.box.docker import DockerBox, Frames
from sandbox.box.image import build

pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # the SDK leaves a refused socket open


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
        study.make_box(main.composed(["box=auto"]))
    with pytest.raises(NoBox, match=r"^user namespaces are closed$"):
        study.make_box(main.composed(["box=namespace"]))
    monkeypatch.setattr(DockerBox, "__init__", lambda self, image, **_: setattr(self, "image", image))
    made = study.make_box(main.composed(["box=auto", "box.image=x"]))
    assert (made.kind, made.image) == ("docker", "x")


def test_frames_are_told_apart_however_the_bytes_arrive():
    ours, theirs = socket.socketpair()
    frames = Frames(ours)
    sent = b"".join(struct.pack(">BxxxI", kind, len(data)) + data for kind, data in ((1, b"Z"), (2, b"printed"), (1, b"stream"), (7, b"odd")))
    got = [b"", b""]
    for i in range(len(sent)):
        theirs.send(sent[i : i + 1])
        stream, log, alive = frames.read()
        got = [got[0] + stream, got[1] + log]
        assert alive
    assert got == [b"Zstream", b"printed"]
    theirs.close()
    assert frames.read() == (b"", b"", False)
