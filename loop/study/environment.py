"""A virtual environment of people's own for their training program: kept once, pinned by digest."""

import sys
from pathlib import Path
from typing import Any

from configs.errors import BadInput, NoBox, VerificationFailed
from loop.plan import ROOT
from sandbox import keys
from sandbox.box.environment import find, keep, list_packages

OURS = (".venv", ".box", ".model")
"""Folders of this checkout with environments and models that no job of people's own may see."""


def pin_environment(settings: dict[str, Any], runs: str) -> None:
    """Keep the environment named in composed settings of a box, and fill in its digest.

    Raises BadInput for one that is refused, VerificationFailed for another than the pinned one.
    """
    pinned = str(settings.get("environment_digest") or "")
    if pinned and find(pinned).is_dir() and not Path(str(settings["environment"])).exists():
        return  # the kept copy is used
    versions = sorted((ROOT / ".box" / "lib").glob("python3*"))
    if not versions:
        raise NoBox(f"there is no box environment at {ROOT / '.box'}; `make setup` makes it")
    ours = [*(ROOT / name for name in OURS), Path(sys.prefix), keys.home(), Path(runs)]
    now = keep(str(settings["environment"]), versions[0].name, ours)
    if pinned and pinned != now:
        raise VerificationFailed(
            f"box.environment {settings['environment']} is {now[:12]} and {pinned[:12]} is pinned;"
            " restore it, or choose another study.name"
        )
    settings["environment_digest"] = now


def need_no_answers(name: str, holding: tuple[str, ...]) -> None:
    """Raise BadInput for an environment with a package that holds a task's answers."""
    found = sorted(list_packages(name) & set(holding))
    if found:
        raise BadInput(
            f"box.environment holds {', '.join(found)}, which holds answers (answers_in of"
            " task.yaml); name an environment without it"
        )
