"""An environment of people's own for their training program: a virtual environment, kept once, or a
Docker image, both pinned by digest.
"""

import json
import sys
from pathlib import Path
from typing import Any

from configs.build import need, strict_json
from configs.errors import BadInput, NoBox, VerificationFailed
from configs.job import Limits
from configs.settings.box import Box
from loop.plan import ROOT
from loop.study.box import make_real_box
from sandbox import keys
from sandbox.box.base import Execution
from sandbox.box.environment import find, keep, list_packages
from sandbox.box.own_image import is_digest, need_digest
from sandbox.canonical import canonical, digest
from sandbox.files import replace_file

LIMITS = Limits(cpu_us=120_000_000, wall_us=240_000_000)
"""Limits of the look through an image; no study's budget pays for it."""
LOOK = """
import json, os
HELD = set(HOLDING)
def main(source, target):
    found = set()
    for folder, folders, files in os.walk("/"):
        if folder == "/":
            folders[:] = [name for name in folders if name not in ("proc", "sys", "dev", "in")]
        found |= {name.partition(".")[0] for name in folders + files} & HELD
    (target / "packages.json").write_text(json.dumps(sorted(found)))
"""
OURS = (".venv", ".box", ".model")
"""Folders of this checkout with environments and models that no job of people's own may see."""


def pin_environment(settings: dict[str, Any], runs: str) -> None:
    """Keep the environment named in composed settings of a box, and fill in its digest.

    Raises BadInput for one that is refused, VerificationFailed for another than the pinned one.
    """
    pinned, named = str(settings.get("environment_digest") or ""), str(settings["environment"])
    if is_digest(named) or settings.get("kind") == "docker":
        need_digest(named, str(settings.get("kind")))
        _pin(settings, named.removeprefix("sha256:"), pinned)
        return
    if pinned and find(pinned).is_dir() and not Path(str(settings["environment"])).exists():
        return  # the kept copy is used
    versions = sorted((ROOT / ".box" / "lib").glob("python3*"))
    if not versions:
        raise NoBox(f"there is no box environment at {ROOT / '.box'}; `make setup` makes it")
    ours = [*(ROOT / name for name in OURS), Path(sys.prefix), keys.home(), Path(runs)]
    _pin(settings, keep(named, versions[0].name, ours), pinned)


def _pin(settings: dict[str, Any], now: str, pinned: str) -> None:
    if pinned and pinned != now:
        raise VerificationFailed(
            f"box.environment {settings['environment']} is {now[:12]} and {pinned[:12]} is pinned;"
            " restore it, or choose another study.name"
        )
    settings["environment_digest"] = now


def need_no_answers(settings: Box, holding: tuple[str, ...]) -> None:
    """Raise BadInput for an environment with a package that holds a task's answers.

    An image is looked through in a box of its own, once, wherever the package lies in it.
    """
    if not settings.environment or not holding:
        return
    if is_digest(settings.environment):
        held = _look_through(settings, holding)
    else:
        held = list_packages(settings.environment_digest)
    found = sorted(held & set(holding))
    if found:
        raise BadInput(
            f"box.environment holds {', '.join(found)}, which holds answers (answers_in of"
            " task.yaml); name an environment without it"
        )


def _look_through(settings: Box, holding: tuple[str, ...]) -> set[str]:
    """Return which of these packages lie anywhere in an image; raise NoBox where none can look."""
    key = {"image": settings.environment_digest, "holding": sorted(holding)}
    place = keys.home() / "own" / f"packages-of-{digest(canonical(key))}"
    if place.is_file():
        return set(strict_json(place.read_bytes()))
    program = LOOK.replace("HOLDING", repr(sorted(holding))).encode()
    box = make_real_box(settings)
    try:
        result = box.run(
            Execution(
                role="train",
                files={"models/__init__.py": b"", "models/train.py": program},
                limits=LIMITS,
                outputs={"packages.json": 100_000},
            )
        )
    finally:
        box.close()
    if result.status != "ok":
        last = (result.log.decode(errors="replace").strip().splitlines() or ["no word"])[-1]
        raise NoBox(
            "the image of box.environment could not be looked through for answers:"
            f" {result.status}: {result.detail} ({last[:200]})"
        )
    names = strict_json(result.files.get("packages.json", b""))
    need(isinstance(names, list), "packages.json of the image", names, "a list of names")
    names = [name for name in holding if name in names]
    place.parent.mkdir(parents=True, exist_ok=True)
    replace_file(place, json.dumps(names))
    return set(names)
