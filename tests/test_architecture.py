"""Design rules as tests: the trusted side never loads torch, and the folders resolve to the
checkout.
"""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from loop import plan

ROOT = Path(__file__).resolve().parent.parent
TRUSTED = [
    ".".join(path.relative_to(ROOT).with_suffix("").parts)
    for folder in ("configs", "evals", "sandbox", "loop")
    for path in sorted((ROOT / folder).rglob("*.py"))
    if path.name not in ("__init__.py", "launch.py", "zygote.py")
]


@pytest.mark.parametrize("folder", ["configs", "evals", "sandbox", "loop"])
def test_trusted_modules_never_load_torch_and_come_from_the_checkout(folder):
    names = [name for name in TRUSTED if name.startswith(folder)]
    assert names
    code = (
        f"import sys, importlib\nfor n in {names}:"
        " print(importlib.import_module(n).__file__)\nprint('torch' in sys.modules)"
    )
    out = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd="/", check=True
    ).stdout.split()
    assert out[-1] == "False"
    assert all(Path(line).is_relative_to(ROOT) for line in out[:-1])


def test_configs_need_only_the_standard_library():
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); import configs.settings.config,"
        " configs.entries, configs.job; print('ok')"
    )
    out = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code, str(ROOT)], capture_output=True, text=True
    )
    assert out.stdout.strip() == "ok", out.stderr


def test_no_yaml_instantiates_anything():
    for path in (ROOT / "configs").rglob("*.yaml"):
        assert "_target_" not in path.read_text() and "oc.env" not in path.read_text(), path


def test_the_bundle_of_a_box_holds_every_module_that_it_imports():
    files = plan.source()
    for name, data in files.items():
        for module in re.findall(rb"^(?:from|import) ((?:configs|models)[\w.]*)", data, re.M):
            assert module.decode().replace(".", "/") + ".py" in files, (name, module)
