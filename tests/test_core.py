"""The trusted core: what decides whether a job may run stays small enough to read."""

import re

from conftest import ROOT

MOST_LINES = 2_676
"""Lines of the core. It may shrink: the aim is 2,200. Lower this number with every cut."""
TEXT = (ROOT / "docs" / "threat-model.md").read_text()


def walk():
    """Return the walk through `sandbox/` in the threat model, and the files of the core in it."""
    section = TEXT.split("## The trusted core, file by file")[1].split("\n## ")[0]
    return section, re.findall(r"^\d+\. `(sandbox/[\w/]+\.py)`", section, re.MULTILINE)


def test_the_core_does_not_grow():
    _, core = walk()
    assert len(core) == 17 and {"sandbox/run.py", "sandbox/gate/launch.py"} <= set(core)
    lines = {file: len((ROOT / file).read_text().splitlines()) for file in core}
    assert sum(lines.values()) <= MOST_LINES, lines


def test_the_walk_names_every_file_of_the_sandbox():
    section, _ = walk()
    files = (ROOT / "sandbox").rglob("*.py")
    names = {path.name for path in files if "image" not in path.parts} - {"__init__.py"}
    assert {name for name in names if not re.search(rf"\b{re.escape(name)}`", section)} == set()
