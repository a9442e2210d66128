"""A virtual environment of people's own: what is copied, what is refused, what a box sees of it."""

import os
import shutil
import stat
import sys
from dataclasses import replace

import pytest
from conftest import ROOT, need_box

from configs.errors import BadInput, NoBox, VerificationFailed
from configs.job import Limits
from sandbox.box import environment
from sandbox.box.base import Execution
from sandbox.box.environment import find, keep, list_packages, open_copy
from sandbox.box.namespace import NamespaceBox

VERSION = sorted((ROOT / ".box" / "lib").glob("python3*"))[0].name
LOUD = "import os\nprint('ran', __name__)\nopen('/tmp/ran-' + __name__, 'w').close()\n"
HARNESS = (ROOT / "models" / "program" / "harness.py").read_bytes()
LOOK = """
import json, os, sys
import figures
print("figures", figures.VALUE, "ran before:", sorted(n for n in os.listdir("/tmp") if "ran" in n))
print("torch" in sys.modules, [line for line in open("/proc/self/mountinfo") if "/opt/box" in line])
for name in ("sitecustomize", "usercustomize", "torch"):
    try:
        __import__(name)
        print("imported", name)
    except ImportError:
        print("no", name)
try:
    open("/opt/box/figures.py", "w")
    print("written")
except OSError as error:
    print("not written")
open("out/w", "w").write("w")
"""


def make(place, **files):
    """Make a virtual environment with one package, and files that Python would run by itself."""
    site = place / "lib" / VERSION / "site-packages"
    (site / "__pycache__").mkdir(parents=True)
    (place / "pyvenv.cfg").write_text("home = /usr/bin\n")
    plain = {"figures.py": "VALUE = 7\n", "start.pth": "import sitecustomize\n"}
    for name in ("sitecustomize.py", "usercustomize.py", "numpy.py", "json.py"):
        plain[name] = LOUD
    for name, text in {**plain, **files}.items():
        (site / name).write_text(text)
    (site / "__pycache__" / "figures.pyc").write_bytes(b"x")
    return site


def train_in(name):
    """Train a program that looks round, in a box with an environment; return what it printed."""
    files = {
        "models/__init__.py": HARNESS,
        "models/train.py": LOOK.encode(),
        "models/program.json": b'{"files": {"train.py": "models/train.py"}}',
        "job.json": b'{"seed": 1, "steps": 9, "task": {"question": 1, "answer": 1}}',
        "data.safetensors": (
            b'\x48\0\0\0\0\0\0\0{"items": {"dtype": "U8", "shape": [1, 3], "data_offsets": [0, 3]}}'
        ).ljust(80)
        + b"\2\1\2",
    }
    box = need_box(lambda: NamespaceBox(ROOT / ".box", environment=name))
    try:
        box.prove()
        result = box.run(
            Execution(
                role="train", files=files, limits=Limits(), outputs={"weights.safetensors": 9999}
            )
        )
    finally:
        box.close()
    assert result.status == "ok", (result.detail, result.log.decode())
    return result.log.decode()


def test_jobs_import_from_it_and_nothing_of_it_runs_before_or_by_itself(tmp_path):
    make(tmp_path / "env")
    printed = train_in(keep(str(tmp_path / "env"), VERSION, []))
    assert "figures 7 ran before: []" in printed and "ran json" not in printed
    assert "False ['" in printed  # torch was not imported, and the mount is told
    mounted = next(line for line in printed.splitlines() if "/opt/box" in line)
    assert {"ro", "nosuid", "nodev"} <= set(mounted.split("/opt/box ")[1].split(" ")[0].split(","))
    assert "no sitecustomize" in printed and "no usercustomize" in printed
    assert "no torch" in printed and "not written" in printed


def test_a_process_that_imports_packages_would_import_it(tmp_path, monkeypatch):
    """The ablation: a box that takes the environment for its own runs numpy.py of it."""
    make(tmp_path / "env")
    name = keep(str(tmp_path / "env"), VERSION, [])
    made = NamespaceBox.__init__

    def careless(self, *args, **kwargs):
        made(self, *args, **kwargs)
        self._python = replace(self._python, bare=False)

    monkeypatch.setattr(NamespaceBox, "__init__", careless)
    with pytest.raises(NoBox, match="No module named 'safetensors'"):  # numpy is there: it ran
        train_in(name)


def test_the_copy_is_read_only_named_by_its_digest_and_made_once(tmp_path, monkeypatch):
    site = make(tmp_path / "env")
    (site / "linked.py").symlink_to("figures.py")
    name = keep(str(tmp_path / "env"), VERSION, [])
    copy = find(name)
    assert open_copy(name) == copy and list_packages(name) == {"figures", "json", "linked", "numpy"}
    assert all(
        stat.S_IMODE(path.lstat().st_mode) in (0o444, 0o555, 0o777) for path in copy.rglob("*")
    )
    with monkeypatch.context() as patch:
        patch.setattr(environment, "_copy", pytest.fail)
        assert keep(str(tmp_path / "env"), VERSION, []) == name
    (site / "figures.py").write_text("VALUE = 8\n")
    assert keep(str(tmp_path / "env"), VERSION, []) != name
    (copy / "figures.py").chmod(0o644)
    (copy / "figures.py").write_text("VALUE = 9\n")
    with pytest.raises(VerificationFailed, match="was changed"):
        open_copy(name)
    with pytest.raises(VerificationFailed, match="never named here"):
        open_copy("0" * 64)


def outward(site):
    (site / "up.py").symlink_to("../../../pyvenv.cfg")


def absolute(site):
    (site / "key.py").symlink_to("/etc/passwd")


def pipe(site):
    os.mkfifo(site / "pipe")


def setuid(site):
    (site / "root").write_text("x")
    (site / "root").chmod(0o4755)


@pytest.mark.parametrize(
    "spoil, reason",
    [
        (outward, "leads out of it"),
        (absolute, "leads out of it"),
        (pipe, "neither a file nor a folder"),
        (setuid, "setuid"),
        (lambda site: shutil.rmtree(site), VERSION),
        (lambda site: (site.parents[2] / "pyvenv.cfg").unlink(), "virtual environment"),
    ],
)
def test_what_no_copy_may_hold_is_refused_in_a_sentence(tmp_path, spoil, reason):
    spoil(make(tmp_path / "env"))
    with pytest.raises(BadInput, match=reason):
        keep(str(tmp_path / "env"), VERSION, [])
    assert not (tmp_path / "home" / "environments").exists()


def test_ours_and_what_lies_around_or_within_is_refused(tmp_path):
    make(tmp_path / "env")
    for own in (tmp_path / "env", tmp_path / "env" / "lib", tmp_path):
        with pytest.raises(BadInput, match="apart from"):
            keep(str(tmp_path / "env"), VERSION, [own])
    (tmp_path / "alias").symlink_to(tmp_path / "env")
    with pytest.raises(BadInput, match="apart from"):
        keep(str(tmp_path / "alias"), VERSION, [tmp_path / "env"])
    keep(str(tmp_path / "env"), VERSION, [tmp_path / "elsewhere", sys.prefix and tmp_path / "en"])


def test_too_much_is_refused(tmp_path, monkeypatch):
    make(tmp_path / "env")
    monkeypatch.setattr(environment, "MOST_FILES", 2)
    with pytest.raises(BadInput, match="more than 2 files"):
        keep(str(tmp_path / "env"), VERSION, [])
