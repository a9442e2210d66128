"""Design rules as tests: the trusted side never loads torch, and the folders resolve to the
checkout.
"""

import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import grimp
import pytest

from loop.plan import BOX_WORDS, source

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


def test_no_two_test_files_share_a_name():
    """Pytest imports a test file by its bare name: of two alike, it collects one and fails."""
    names = [path.name for path in (ROOT / "tests").rglob("*.py")]
    assert [name for name in set(names) if names.count(name) > 1 and "test" in name] == []


def test_no_yaml_instantiates_anything():
    for path in (ROOT / "configs").rglob("*.yaml"):
        assert "_target_" not in path.read_text() and "oc.env" not in path.read_text(), path


@pytest.fixture(scope="module")
def imports():
    """Each module of the five folders -> the modules that it imports."""
    graph = grimp.build_graph("configs", "evals", "loop", "models", "sandbox")
    return {name: graph.find_modules_directly_imported_by(name) for name in graph.modules}


def test_no_modules_import_each_other_in_a_circle(imports):
    assert len(list(TopologicalSorter(imports).static_order())) == len(imports)


def test_a_circle_would_be_found(imports):
    with pytest.raises(ValueError, match="cycle"):
        TopologicalSorter({**imports, "configs.errors": {"loop.cycle"}}).prepare()


def test_only_the_words_that_a_box_needs_travel_into_it(imports):
    """Every module of configs/ that code in a box imports, even indirectly, and cost."""
    needed, waiting = set(), {name for name in imports if name.startswith("models.")}
    while waiting:
        name = waiting.pop()
        needed.add(name)
        waiting |= imports[name] - needed
    words = {name.removeprefix("configs.") for name in needed if name.startswith("configs.")}
    assert words | {"__init__", "cost"} == set(BOX_WORDS)
    assert {f"configs/{word}.py" for word in BOX_WORDS} == {
        name for name in source() if name.startswith("configs/")
    }


def test_no_source_file_is_longer_than_320_lines():
    files = [
        path
        for folder in ("configs", "evals", "loop", "models", "sandbox")
        for path in (ROOT / folder).rglob("*.py")
    ]
    long = {str(p.relative_to(ROOT)): n for p in files if (n := p.read_text().count("\n")) > 320}
    assert len(files) > 100 and not long
