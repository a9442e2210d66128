"""The contract of a store, in a folder and on URLs, and what only a store on a URL meets."""

import re
import threading

import pytest
from conftest import ROOT
from crashes import kept
from fakes import FakeBox
from studies import better, config, mandate

from configs.errors import BadInput, Stopped, VerificationFailed
from loop.settings import compose_settings
from loop.verify.run import verify
from sandbox import address, keys, remote_store
from sandbox.canonical import canonical, digest
from sandbox.remote_store import (
    NAME,
    VARIABLE,
    Place,
    RemoteStore,
    need_store_url,
    open_store,
    read_place,
    write_place,
)
from sandbox.store import Store

pytest.importorskip("fsspec")


@pytest.fixture(scope="module")
def bucket():
    """Start an S3 server of the test run's own, or skip: `pip install 'moto[server]' s3fs`."""
    pytest.importorskip("s3fs")
    pytest.importorskip("moto")
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        for name in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY"):
            patch.setenv(f"AWS_{name}", "of-a-test")
        RemoteStore(Place(url="s3://bucket", study="t"))._system.mkdir("bucket")
        yield "s3://bucket"
    server.stop()


@pytest.fixture(params=["folder", "file", "memory", "s3"])
def made(request, tmp_path):
    """Return a function that opens a store anew, and one that writes to it past Heirloop."""
    if request.param == "folder":

        def write(store, name, data):
            store._path(name).write_bytes(data)

        return lambda: Store(tmp_path), write
    base = {"file": f"file://{tmp_path}", "memory": f"memory://{tmp_path}"}.get(request.param)
    base = base or f"{request.getfixturevalue('bucket')}{tmp_path}"
    place = Place(url=base, study="t")

    def change(store, name, data):
        store._system.pipe_file(store._place(name), data)

    return lambda: RemoteStore(place), change


@pytest.mark.parametrize("data", [b"", b"bytes", bytes(1_000_000)])
def test_what_is_put_is_read_by_its_digest(made, data):
    store = made[0]()
    name = store.put(data)
    assert name == digest(data) == store.put(data) == made[0]().put(data)
    assert made[0]().get(name) == data == store.get(name)
    assert store.has(name) and store.size(name) == len(data)


def test_a_missing_file_and_a_name_that_is_no_digest_are_refused(made):
    store, name = made[0](), digest(b"never put")
    with pytest.raises(VerificationFailed, match="is missing"):
        store.get(name)
    assert not store.has(name) and store.size(name) == 0
    store.drop(name)
    for wrong in ("", "../../etc/passwd", "A" * 64, "0" * 63):
        for act in (store.get, store.has, store.drop):
            with pytest.raises(VerificationFailed, match="is no digest"):
                act(wrong)


@pytest.mark.parametrize("wrong", [b"", b"byte", b"bytez", b"bytes and more"])
def test_changed_bytes_are_found_at_the_next_reading(made, wrong):
    store = made[0]()
    name = store.put(b"bytes")
    made[1](store, name, wrong)
    with pytest.raises(VerificationFailed, match="has wrong bytes"):
        made[0]().get(name)


def test_a_dropped_file_is_gone_and_can_be_put_again(made):
    store = made[0]()
    name = store.put(b"bytes")
    assert store.get(name) == b"bytes"
    store.drop(name)
    assert not store.has(name)
    with pytest.raises(VerificationFailed, match="is missing"):
        store.get(name)
    assert made[0]().get(store.put(b"bytes")) == b"bytes"


def test_a_bundle_comes_back_and_holds_no_other_names(made):
    store, files = made[0](), {"models/train.py": b"x = 1\n", "job.json": b"{}"}
    assert made[0]().get_bundle(store.put_bundle(files)) == files
    with pytest.raises(VerificationFailed, match="which no bundle may hold"):
        store.get_bundle(store.put_bundle({"../x.py": b""}))


def test_many_threads_put_and_read_the_same(made):
    store, wrong = made[0](), []

    def work():
        for number in range(20):
            data = b"%d" % number
            if store.get(store.put(data)) != data:
                wrong.append(number)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


@pytest.mark.parametrize("kind", ["file", "memory"])
def test_a_file_that_is_being_put_is_seen_whole_or_not_at_all(tmp_path, monkeypatch, kind):
    place = Place(url=f"{kind}://{tmp_path}", study="t")
    store, other, name, seen = RemoteStore(place), RemoteStore(place), digest(b"bytes"), []
    real = store._system.open

    def slow(path, *modes, **options):
        file = real(path, *modes, **options)
        seen.append(other.has(name))
        return file

    monkeypatch.setattr(store._system, "open", slow)
    assert other.get(store.put(b"bytes")) == b"bytes"
    assert seen and not any(seen)
    assert [found for found in store._system.find(str(store.root)) if "." in found[-70:]] == []


def test_half_a_file_on_a_server_is_written_again(tmp_path):
    store = RemoteStore(Place(url=f"file://{tmp_path}", study="t"))
    name = store.put(b"bytes")
    store._system.pipe_file(store._place(name), b"by")
    again = RemoteStore(Place(url=f"file://{tmp_path}", study="t"))
    assert again.get(again.put(b"bytes")) == b"bytes"


def test_a_server_that_does_not_answer_stops_the_study_in_one_sentence(tmp_path, monkeypatch):
    store = RemoteStore(Place(url=f"file://{tmp_path}", study="t"))
    name = store.put(b"bytes")

    def fails(*_, **__):
        raise RuntimeError("no route\nto host")

    for act in ("info", "size", "pipe_file", "cat_file", "rm_file", "makedirs"):
        monkeypatch.setattr(store._system, act, fails)
    for act in (store.get, store.has, store.size, store.drop):
        store._held.clear()
        with pytest.raises(Stopped, match=r"does not answer \(RuntimeError: no route\)"):
            act(name)
    with pytest.raises(Stopped, match="the same command goes on"):
        store.put(b"more")


@pytest.mark.parametrize(
    "url",
    [
        "",
        "folder",
        "/folder",
        "s3://user:password@bucket",
        "s3://bucket?key=1",
        "simplecache::s3://bucket",
        "file:///a/../b",
        "memory://x",
        "s3://",
        "s3://b\u00fccket",
        "s3://b\x00",
        "x" * 5000,
        "s3://" + "x" * 5000,
    ],
)
def test_a_url_with_a_secret_or_of_another_form_is_refused(url):
    with pytest.raises(BadInput, match=r"^store is .*; it should be a URL like") as error:
        need_store_url(url)
    assert "password@" not in str(error.value) and len(str(error.value)) < 400


def test_a_protocol_without_a_library_is_one_sentence():
    for url in ("nothing://x", "lakefs://x"):
        with pytest.raises(BadInput, match="its protocol cannot be used here"):
            RemoteStore(Place(url=url, study="t"))


WRONG = [b"", b"[]", b'{"url":1}', b"\xff", b"x" * 5000]
WRONG += [b'{"study":"..","url":"file:///x"}', b'{"study":"t","url":"s3://u:p@b"}']


@pytest.mark.parametrize("data", WRONG)
def test_a_place_that_nobody_wrote_is_refused(tmp_path, data):
    (tmp_path / NAME).write_bytes(data)
    with pytest.raises(VerificationFailed, match=r"is no address of a store|cannot be read"):
        open_store(tmp_path)


def test_a_link_in_the_place_of_the_address_is_not_followed(tmp_path):
    (tmp_path / "other").write_bytes(canonical({"url": "file:///x", "study": "t"}))
    (tmp_path / NAME).symlink_to(tmp_path / "other")
    with pytest.raises(VerificationFailed, match="it is a link"):
        open_store(tmp_path)


def test_a_folder_of_somebody_else_names_no_store_for_this_user(tmp_path, monkeypatch):
    place = Place(url="s3://theirs/runs", study="t")
    write_place(tmp_path, place)
    with pytest.raises(VerificationFailed, match="which this user never named"):
        read_place(tmp_path)
    monkeypatch.setenv(VARIABLE, "s3://another/runs")
    with pytest.raises(VerificationFailed, match="which this user never named"):
        read_place(tmp_path)
    monkeypatch.setenv(VARIABLE, place.url)
    assert read_place(tmp_path) == place
    monkeypatch.delenv(VARIABLE)
    address.remember(place.url)  # a ledger's server of that name is no store
    with pytest.raises(VerificationFailed, match="which this user never named"):
        read_place(tmp_path)
    address.remember(place.url, remote_store.NAMED, VARIABLE)
    assert read_place(tmp_path) == place


def test_a_study_s_bytes_lie_on_a_url_and_it_finds_the_same(tmp_path, go, monkeypatch):
    monkeypatch.setattr(keys, "new_secret", lambda: keys.plain_secret(b"store"))
    url, runs, told = f"file://{tmp_path}/server", [], []
    for name, more in (("near", []), ("far", [f"store={url}"])):
        cfg = config(tmp_path / name, "study.generations=1", *more)
        mandate(cfg)
        go(cfg, FakeBox(better))
        runs.append(tmp_path / name / "runs" / "t")
        told.append(kept(cfg))
    near, far = runs
    assert not (far / "store").exists() and (near / "store").is_dir()
    assert told[0] == told[1] and verify(far)["jobs"] == verify(near)["jobs"] > 0
    cfg = config(tmp_path / "far", "study.generations=1")
    assert cfg.store == ""
    go(cfg, FakeBox(better))  # it goes on without the setting
    with pytest.raises(BadInput, match="store is 'file:///other'; it should be file:///"):
        go(config(tmp_path / "far", "study.generations=1", "store=file:///other"), FakeBox(better))
    with pytest.raises(BadInput, match="it should be empty, for the stored bytes lie in the run"):
        go(config(tmp_path / "near", "study.generations=1", f"store={url}"), FakeBox(better))
    blob = max((tmp_path / "server" / "t").rglob("*"), key=lambda path: path.stat().st_size)
    blob.write_bytes(blob.read_bytes()[:-1] + b"x")
    with pytest.raises(VerificationFailed, match="has wrong bytes"):
        verify(far)


def test_a_place_that_holds_a_study_already_is_refused(tmp_path, go):
    more = ["study.generations=1", f"store=file://{tmp_path}/server"]
    cfg = config(tmp_path / "first", *more)
    mandate(cfg)
    go(cfg, FakeBox(better))
    with pytest.raises(BadInput, match="holds a study already"):
        go(config(tmp_path / "second", *more), FakeBox(better))


def test_a_loop_killed_before_its_ledger_goes_on(tmp_path, go):
    cfg = config(tmp_path, "study.generations=1", f"store=file://{tmp_path}/server")
    mandate(cfg)
    folder = tmp_path / "runs" / "t"
    folder.mkdir(parents=True)
    place = Place(url=cfg.store, study="t")
    write_place(folder, place)
    RemoteStore(place).need_kept()
    assert go(cfg, FakeBox(better))["finished"]


def test_where_bytes_lie_is_no_decision_of_people_and_in_no_root(tmp_path, go):
    cfg = config(tmp_path, "study.generations=1", f"store=file://{tmp_path}/server")
    mandate(config(tmp_path, "study.generations=1"))
    assert go(cfg, FakeBox(better))["finished"]
    assert compose_settings(["store=file:///x"]).store == "file:///x"
    with pytest.raises(BadInput, match="it should be a URL like"):
        compose_settings(["store=folder"])


def test_every_reader_of_a_run_asks_where_its_bytes_lie():
    files = [path for room in ("loop", "sandbox") for path in (ROOT / room).rglob("*.py")]
    direct = {path.name for path in files if re.search(r"\bStore\(.*[\"']store", path.read_text())}
    assert direct == {"remote_store.py"}
