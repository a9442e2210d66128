"""The box environment's Python: its libraries wherever they lie, and the reason if it does not
start.
"""

import os
import shutil
import sys
import tempfile
from pathlib import Path

import pytest
from conftest import ROOT, need_box

from configs.errors import NoBox
from configs.job import Limits
from loop.attack.host import open_host
from loop.plan import source
from loop.study.box import remember_tiers
from sandbox.box import tcp
from sandbox.box.base import Execution
from sandbox.box.bubblewrap import command, list_system_folders
from sandbox.box.interpreter import ask
from sandbox.box.namespace import NamespaceBox

PRINT_MAPS = """
import ctypes, sys
def main(i, o):
    print(sys.version_info[:2], open("/proc/self/maps").read())
"""


def stand_in(folder, text):
    """Make a box environment whose Python is a script."""
    python = folder / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(f"#!/bin/sh\n{text}\n")
    python.chmod(0o755)
    return folder


def library_of_ctypes():
    """Return a library that every Python with ctypes loads, or skip."""
    for line in Path("/proc/self/maps").read_text().splitlines():
        if "libffi.so" in line:
            return Path(line.split()[-1])
    pytest.skip("this Python has libffi within it")


@pytest.mark.parametrize("folder", ["lib", "other place with spaces and ünïcode"])
def test_a_library_outside_the_system_is_in_the_box(tmp_path, monkeypatch, folder):
    """The kind of a Python of pyenv, uv or conda: it loads libraries that the system lacks."""
    real = library_of_ctypes()
    soname = ".".join(real.name.split(".")[:3])
    place = tmp_path / folder
    place.mkdir()
    shutil.copy(real, place / soname)
    monkeypatch.setenv("LD_LIBRARY_PATH", str(place))
    assert ask(ROOT / ".box", list_system_folders()).libraries[soname] == str(place / soname)
    box = need_box(lambda: NamespaceBox(ROOT / ".box"))
    files = {"models/__init__.py": b"", "models/train.py": PRINT_MAPS.encode(), "job.json": b"{}"}
    try:
        done = box.run(Execution(role="train", files=files, limits=Limits(), outputs={}))
    finally:
        box.close()
    assert done.status == "ok", done.detail
    assert f"/opt/python/own/{soname}" in done.log.decode()


@pytest.mark.parametrize("stands", [True, False])
def test_a_program_that_a_job_starts_has_the_same_libraries(tmp_path, monkeypatch, stands):
    """Python may be a small binary beside a libpython that the system has in another version."""
    real = library_of_ctypes()
    soname = ".".join(real.name.split(".")[:3])
    shutil.copy(real, tmp_path / soname)
    monkeypatch.setenv("LD_LIBRARY_PATH", str(tmp_path))
    if not stands:
        monkeypatch.delitem(tcp.ENVIRONMENT, "LD_LIBRARY_PATH")
    box = need_box(lambda: NamespaceBox(ROOT / ".box", warm=False))
    program = b"import ctypes; print(open('/proc/self/maps').read())"
    files = {**source(), "program": program, "history.json": b"{}", "job.json": b"{}"}
    outputs = {"proposals.jsonl": 1_000_000}
    try:
        done = box.run(Execution(role="propose", files=files, limits=Limits(), outputs=outputs))
    finally:
        box.close()
    own = f"/opt/python/own/{soname}".encode()
    assert (own in done.files.get("proposals.jsonl", b"")) == stands, done.log


def test_every_library_of_the_interpreter_is_bound(box_env):
    python = ask(box_env, [])  # as if the system had none
    assert any(name.startswith("libc.") for name in python.libraries)
    assert all(os.path.isfile(path) for path in python.libraries.values())
    order = command(python, 3, None, [], Path("zygote.py"))
    for name in python.libraries:
        assert f"/opt/python/own/{name}" in order["argv"]


def test_the_box_has_the_version_of_its_environment_and_not_of_the_trusted_side(tmp_path):
    answer = (
        '{"executable": "/p/bin/python3.99", "stdlib": "/p/lib/python3.99", "folder": "lib64",'
        ' "libraries": ["/p/lib/libpython3.99.so.1.0", "/usr/lib64/libc.so.6"]}'
    )
    env = stand_in(tmp_path / "env", f"echo '{answer}'")
    (env / "lib" / "python3.99" / "site-packages").mkdir(parents=True)
    python = ask(env, ["/usr/lib64"])
    assert python.libraries == {"libpython3.99.so.1.0": "/p/lib/libpython3.99.so.1.0"}
    argv = command(python, 3, None, [], Path("zygote.py"))["argv"]
    assert argv[argv.index("/opt/python/own/libpython3.99.so.1.0") - 2] == "--ro-bind"
    assert "/opt/python/lib64/python3.99" in argv


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("echo libx.so: cannot open shared object file >&2; exit 127", "libx.so: cannot open"),
        ("echo nonsense", "does not start"),
        ('echo \'{"executable": "", "stdlib": "/python3.1", "libraries": []}\'', "there is no"),
    ],
)
def test_a_python_that_does_not_start_is_one_sentence(tmp_path, text, reason):
    with pytest.raises(NoBox, match=rf"{reason}.*make setup"):
        ask(stand_in(tmp_path / "env", text), [])


def test_the_environment_may_be_links_to_links(tmp_path, box_env):
    env = tmp_path / "env"
    env.symlink_to(box_env, target_is_directory=True)
    assert ask(env, list_system_folders()).executable == os.path.realpath(sys.executable)


def test_the_canaries_stand_in_a_folder_with_a_very_long_name(tmp_path, monkeypatch):
    folder = tmp_path.joinpath(*["long-and-wide-ünïcode with spaces"] * 8)
    folder.mkdir(parents=True)
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    with open_host() as canaries:
        assert canaries.is_intact()


def test_a_home_that_cannot_be_written_costs_the_proof_and_no_traceback(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("HEIRLOOP_HOME", str(tmp_path / "file" / "home"))
    assert "the proof is not kept" in remember_tiers({"namespace": "B"})
