"""People's own files in a study: pinned when it is composed, unchanged when it is opened.

A study may name a task, a gate, a proposer or a program by path. Their digests are pinned. The code
is put into the store, to be shown at the gates.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from configs.build import need
from configs.entries import InvalidEntry, PlanEntry
from configs.entries.entry import facts_of
from configs.errors import BadInput, VerificationFailed
from configs.records import Plan
from configs.settings.config import Config
from configs.settings.task import TaskSetup
from evals.factory.scenarios import CLIENTS_BYTES, read_clients
from evals.gatebench.pack import find_pack, read_pack
from evals.tables import OWN
from loop.study import program_data, tab_file
from loop.study.agent_folder import keep_agent, list_kept
from loop.study.environment import pin_environment
from loop.study.folder import keep_folder
from sandbox import own
from sandbox.canonical import canonical, digest
from sandbox.heads import open_ledger
from sandbox.store import Store


def pin_files(composed: Any) -> Any:
    """Fill in the digests of the files named in composed values, and the sizes of an own task.

    Raises BadInput for an unusable file, VerificationFailed for a file unlike the pinned digest.
    """
    task = composed.get("task") if isinstance(composed, dict) else None
    if isinstance(task, dict) and task.get("table"):
        composed["task"] = tab_file.fill_in(task)
    if isinstance(task, dict) and task.get("name") == "program":
        right = "a folder with a training program and its task.yaml"
        need(bool(task.get("folder")), "task.folder", task.get("folder"), right)
    box = composed.get("box") if isinstance(composed, dict) else None
    if isinstance(box, dict) and box.get("environment"):
        pin_environment(box, str(composed.get("runs", "runs")))
    for group, field, read in PATHS:
        settings = composed.get(group) if isinstance(composed, dict) else None
        if isinstance(settings, dict) and isinstance(settings.get(field), str) and settings[field]:
            _pin(settings, group, field, read)
            if (group, field) == ("task", "folder"):
                program_data.fill_in(composed)
            elif group == "task":
                settings |= _read_items(settings["file_digest"], settings)
    return composed


def need_unchanged(pinned: Config, now: Config) -> None:
    """Raise VerificationFailed for a file changed since the study began."""
    before, environment = pinned.files(), pinned.box.environment_digest
    if environment and environment != now.box.environment_digest:
        raise VerificationFailed(
            f"box.environment changed since the study began: {environment[:12]} is pinned; restore"
            " it, or choose another study.name"
        )
    for field, (path, pin) in now.files().items():
        if field in before and before[field][0] == path and before[field][1] != pin:
            raise VerificationFailed(
                f"{field} {path} changed since the study began: {before[field][1][:12]} is pinned"
                f" and it is {pin[:12]}; restore it, or choose another study.name"
            )


def load(config: Config, store: Store) -> None:
    """Put own code into the study's store, and the items of an own task into memory."""
    folder = config.proposer.folder_digest
    inside = list_kept(folder).values() if own.known(folder) else ()
    for pin in (*(pin for _, pin in config.files().values()), *inside):
        if own.known(pin):
            store.put(own.code(pin))
    load_items(config.task)


def load_items(task: TaskSetup) -> None:
    """Read the items of an own task once; raise VerificationFailed if its file now gives others."""
    if task.folder:
        program_data.load_program_items(task.items)
    elif task.name == "custom" and task.items not in OWN:
        _read_items(task.file_digest, {"items": task.items})


def read_proposals(folder: str, arm: str) -> dict[str, str]:
    """Return a run's proposals of a single arm: `repeat:generation:index` -> digest of its text.

    Raises BadInput for a run without such proposals.
    """
    entries = open_ledger(Path(folder)).entries()
    plans = [fact.plan for fact in facts_of(entries, PlanEntry)]
    rows: list[Plan | InvalidEntry] = [plan for plan in plans if plan.purpose == "candidate"]
    rows += facts_of(entries, InvalidEntry)
    proposals = {
        f"{row.repeat}:{row.generation}:{row.index}": row.proposal for row in rows if row.arm == arm
    }
    if not proposals:
        raise BadInput(
            f"proposer.replay is {folder!r}, in which arm {arm!r} proposed nothing; name a run and"
            " one of its arms (proposer.replay_arm)"
        )
    return proposals


ReadDigest = Callable[[dict[str, Any], str], str]
"""Settings of a group, and the field's name for messages -> digest of the file."""


def _name_file(settings: dict[str, Any], where: str) -> str:
    return own.name(settings["file"], where)


def _keep_folder(settings: dict[str, Any], where: str) -> str:
    return keep_folder(settings["folder"])


def _keep_agent(settings: dict[str, Any], where: str) -> str:
    return keep_agent(settings["folder"])


def _keep_program(settings: dict[str, Any], where: str) -> str:
    return own.keep(own.read(settings["program"], where, own.PROGRAM_BYTES))


def _keep_pack(settings: dict[str, Any], where: str) -> str:
    data = find_pack(settings["pack"])
    read_pack(data, where)
    return own.keep(data)


def _keep_clients(settings: dict[str, Any], where: str, name: str) -> str:
    data = own.read(settings[name], where, CLIENTS_BYTES)
    read_clients(data, where)
    return own.keep(data)


def _digest_replay(settings: dict[str, Any], _: str) -> str:
    return digest(read_proposals(settings["replay"], str(settings.get("replay_arm", ""))))


PATHS: tuple[tuple[str, str, ReadDigest], ...] = (
    ("task", "file", _name_file),
    ("task", "folder", _keep_folder),
    ("gates", "file", _name_file),
    ("proposer", "file", _name_file),
    ("proposer", "program", _keep_program),
    ("proposer", "folder", _keep_agent),
    ("proposer", "pack", _keep_pack),
    ("proposer", "replay", _digest_replay),
    ("factory", "scenarios", partial(_keep_clients, name="scenarios")),
    ("factory", "tests", partial(_keep_clients, name="tests")),
)
"""Group, field and digest of every file named in a study by its path."""


def _pin(settings: dict[str, Any], group: str, field: str, read: ReadDigest) -> None:
    pinned = settings.get(f"{field}_digest")
    if pinned and own.known(str(pinned)) and not Path(settings[field]).exists():
        return  # the kept copy runs
    now = read(settings, f"{group}.{field}")
    if pinned and now != pinned:
        raise VerificationFailed(
            f"{group}.{field} {settings[field]} is {now[:12]} and {str(pinned)[:12]} is pinned;"
            " restore it, or pin this one"
        )
    settings[f"{field}_digest"] = now


def _read_items(pin: str, pinned: dict[str, Any]) -> dict[str, Any]:
    """Read an own task's items into memory; return its sizes and the digest of its items."""
    sizes, data = own.items(pin)
    name = digest(canonical(sizes) + data)
    if pinned.get("items") and pinned["items"] != name:
        raise VerificationFailed(
            "task.file gives other items than those that are pinned; it should give the same ones"
            " whenever it is asked"
        )
    OWN[name] = np.frombuffer(data, np.uint8).reshape(sizes["rows"], sizes["columns"])
    return {**{field: sizes[field] for field in ("question", "answer", "values")}, "items": name}
