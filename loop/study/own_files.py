"""People's own files in a study: named and pinned when it is composed, unchanged when it is opened,
in the store to be shown at its gates.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from configs.errors import BadInput, VerificationFailed
from configs.settings.config import Config
from configs.settings.task import TaskSetup
from evals.data import OWN
from sandbox import own
from sandbox.canonical import canonical, digest
from sandbox.ledger import Ledger
from sandbox.store import Store


def named(composed: Any) -> Any:
    """Fill in what follows from the files that composed values name: their digests, and the sizes
    and items of an own task.

    Raises BadInput for a file that is none, VerificationFailed for one that is not the pinned one.
    """
    for group, field, read in NAMED:
        found = composed.get(group) if isinstance(composed, dict) else None
        if isinstance(found, dict) and isinstance(found.get(field), str) and found[field]:
            _pin(found, group, field, read)
            if group == "task":
                found |= _sizes(found["file_digest"], found)
    return composed


def unchanged(pinned: Config, now: Config) -> None:
    """Raise VerificationFailed where a file is not the one that a study began with."""
    before = pinned.files()
    for field, (path, pin) in now.files().items():
        if field in before and before[field][0] == path and before[field][1] != pin:
            raise VerificationFailed(
                f"{field} {path} changed since the study began: {before[field][1][:12]} is pinned"
                f" and it is {pin[:12]}; restore it, or choose another study.name"
            )


def load(config: Config, store: Store) -> None:
    """Put what a study names where it is needed: the code into its store, the items of an own task
    into memory.
    """
    for _, pin in config.files().values():
        if own.known(pin):
            store.put(own.code(pin))
    task_items(config.task)


def task_items(task: TaskSetup) -> None:
    """Read the items of an own task once; raise VerificationFailed if its file now gives others."""
    if task.name == "custom" and task.items not in OWN:
        _sizes(task.file_digest, {"items": task.items})


def recorded(folder: str, arm: str) -> dict[str, str]:
    """Return a run's proposals of one arm: `repeat:generation:index` -> digest of the text in its
    store; raises BadInput where there are none.
    """
    found: dict[str, str] = {}
    for entry in Ledger.file(Path(folder) / "ledger.sqlite").entries():
        body = (
            entry.body["plan"]
            if entry.kind == "plan"
            else entry.body
            if entry.kind == "invalid"
            else {}
        )
        if body.get("arm") == arm and body.get("purpose", "candidate") == "candidate":
            found[f"{body['repeat']}:{body['generation']}:{body['index']}"] = body["proposal"]
    if not found:
        raise BadInput(
            f"proposer.replay is {folder!r}, in which arm {arm!r} proposed nothing; name a run and"
            " one of its arms (proposer.replay_arm)"
        )
    return found


NAMED: tuple[tuple[str, str, Callable[[dict[str, Any], str], str]], ...] = (
    ("task", "file", lambda found, where: own.name(found["file"], where)),
    ("gates", "file", lambda found, where: own.name(found["file"], where)),
    ("proposer", "file", lambda found, where: own.name(found["file"], where)),
    (
        "proposer",
        "program",
        lambda found, where: own.keep(own.read(found["program"], where, own.PROGRAM_BYTES)),
    ),
    (
        "proposer",
        "replay",
        lambda found, where: digest(recorded(found["replay"], str(found.get("replay_arm", "")))),
    ),
)
"""(group, field, how its digest is found) of everything that a study names by its path."""


def _pin(
    found: dict[str, Any], group: str, field: str, read: Callable[[dict[str, Any], str], str]
) -> None:
    pinned = found.get(f"{field}_digest")
    if pinned and own.known(str(pinned)) and not Path(found[field]).exists():
        return  # the kept copy is what runs
    now = read(found, f"{group}.{field}")
    if pinned and now != pinned:
        raise VerificationFailed(
            f"{group}.{field} {found[field]} is {now[:12]} and {str(pinned)[:12]} is pinned;"
            " restore it, or pin this one"
        )
    found[f"{field}_digest"] = now


def _sizes(pin: str, pinned: dict[str, Any]) -> dict[str, Any]:
    sizes, data = own.items(pin)
    name = digest(canonical(sizes) + data)
    if pinned.get("items") and pinned["items"] != name:
        raise VerificationFailed(
            "task.file gives other items than those that are pinned; it should give the same ones"
            " whenever it is asked"
        )
    OWN[name] = np.frombuffer(data, np.uint8).reshape(sizes["rows"], sizes["columns"])
    return {**{field: sizes[field] for field in ("question", "answer", "values")}, "items": name}
