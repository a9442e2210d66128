"""People's own files in a study: named and pinned when it is composed, unchanged when it is opened, in the store to be shown at its gates."""

from pathlib import Path
from typing import Any

import numpy as np

from configs.errors import VerificationFailed
from configs.study import Config, TaskSetup
from evals.data import OWN
from sandbox import own
from sandbox.canonical import canonical, digest
from sandbox.store import Store


def named(composed: Any) -> Any:
    """Fill in what follows from the files that composed values name: their digests, and the sizes and items of an own task.

    Raises BadInput for a file that is none, VerificationFailed for one that is not the pinned one.
    """
    for group in ("task", "gates"):
        found = composed.get(group) if isinstance(composed, dict) else None
        if isinstance(found, dict) and isinstance(found.get("file"), str) and found["file"]:
            _pin(found, f"{group}.file")
            if group == "task":
                found |= _sizes(found["file_digest"], found)
    return composed


def unchanged(pinned: Config, now: Config) -> None:
    """Raise VerificationFailed where a file is not the one that a study began with."""
    before = pinned.files()
    for field, (path, pin) in now.files().items():
        if field in before and before[field][0] == path and before[field][1] != pin:
            raise VerificationFailed(f"{field} {path} changed since the study began: {before[field][1][:12]} is pinned and it is {pin[:12]}; "
                                     f"restore it, or choose another study.name")  # fmt: skip


def load(config: Config, store: Store) -> None:
    """Put what a study names where it is needed: the code into its store, the items of an own task into memory."""
    for _, pin in config.files().values():
        if own.known(pin):
            store.put(own.code(pin))
    task_items(config.task)


def task_items(task: TaskSetup) -> None:
    """Read the items of an own task once; raise VerificationFailed if its file now gives others."""
    if task.name == "custom" and task.items not in OWN:
        _sizes(task.file_digest, {"items": task.items})


def _pin(found: dict[str, Any], field: str) -> None:
    pinned = found.get("file_digest")
    if pinned and own.known(str(pinned)) and not Path(found["file"]).exists():
        return  # the kept copy is what runs
    now = own.name(found["file"], field)
    if pinned and now != pinned:
        raise VerificationFailed(f"{field} {found['file']} is {now[:12]} and {str(pinned)[:12]} is pinned; restore the file, or pin this one")
    found["file_digest"] = now


def _sizes(pin: str, pinned: dict[str, Any]) -> dict[str, Any]:
    sizes, data = own.items(pin)
    name = digest(canonical(sizes) + data)
    if pinned.get("items") and pinned["items"] != name:
        raise VerificationFailed("task.file gives other items than those that are pinned; it should give the same ones whenever it is asked")
    OWN[name] = np.frombuffer(data, np.uint8).reshape(sizes["rows"], sizes["columns"])
    return {**{field: sizes[field] for field in ("question", "answer", "values")}, "items": name}
