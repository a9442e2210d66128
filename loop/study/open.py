"""Open a study or go on with it: ledger, secret, store, box and gate, tied together by its root.

A study is opened by a single process at a time. `open_study` refuses settings, an image or own
files unlike the root's pins.
"""

import re
from dataclasses import replace
from pathlib import Path

from configs.entries import (
    AmendedEntry,
    SettleEntry,
    StudyEntry,
    facts_of,
)
from configs.errors import BadInput, Stopped, VerificationFailed
from configs.settings.config import Config
from loop.facts.nearest import WeightIndex
from loop.facts.reader import FactsReader
from loop.study import own_files
from loop.study.disk import need_local
from loop.study.items import HeldOut
from loop.study.launch import make_box, serve
from loop.study.places import settle_ledger, settle_store
from loop.study.root import begin
from loop.study.running import Running
from loop.study.simulated import SimulatedBox, simulated
from loop.study.workers import Workers
from sandbox import keys, tripwires
from sandbox.address import has_ledger
from sandbox.box.base import Box
from sandbox.decision import decided, policy
from sandbox.foreign import files_of, has_tables
from sandbox.gate import Gate
from sandbox.heads import open_ledger, places
from sandbox.ledger import FILE, Ledger
from sandbox.lock import Lock
from sandbox.reconcile import reconcile
from sandbox.remote_store import NAME, open_store
from sandbox.run import Sandbox
from sandbox.store import Store

HALF = re.compile(r"\.[0-9a-f]{16}")
"""Name of a file that `replace_file` had not put in place yet."""
_LOCKS: list[Lock] = []
"""Locks of the studies of this process: each is held as long as the process lives."""


def release_locks(folder: str = "") -> None:
    """Release the lock of every study in a folder, or of all, as the end of the process would."""
    for lock in [lock for lock in _LOCKS if not folder or lock.name.startswith(f"{folder}/")]:
        lock.close()
        _LOCKS.remove(lock)


def open_study(config: Config, box: Box | None = None, lean: bool = False) -> Running:
    """Open or resume the study of these settings.

    `lean` facts forget finished generations (loop/facts/facts.py). Raises BadInput,
    VerificationFailed, NoBox, and Stopped where another process runs the study.
    """
    folder = Path(config.runs) / config.study.name
    fresh = _is_fresh(folder)
    if box:
        return _open(config, folder, fresh, box, lean)
    box = make_box(config)
    try:
        return _open(config, folder, fresh, box, lean)
    except BaseException:
        box.close()
        raise


def _open(config: Config, folder: Path, fresh: bool, box: Box, lean: bool) -> Running:
    need_local(folder)
    folder.mkdir(parents=True, exist_ok=True)
    lock = _lock(folder)
    lasting = not simulated(config)
    settle_store(folder, config.store, fresh)
    settle_ledger(folder, config.ledger, fresh)
    ledger = open_ledger(folder, create=fresh, durable=lasting, loop=True)
    lock.let_go = ledger.database.drop_writer
    if fresh or not ledger.entries():
        begin(ledger, config, box)
    if lasting:  # simulated studies have the same root wherever they run
        lock.hold_study(folder, ledger.root())
    elif ledger.entries()[-1].sequence == 1:  # the same study may have run before, and be gone
        places(folder, ledger.root())[1].unlink(missing_ok=True)
    ledger.before()
    root = ledger.entries()[0].fact
    assert isinstance(root, StudyEntry)
    if root.format == 1:
        raise BadInput(
            f"{folder} holds a study of ledger format 1; this version verifies, reports and exports"
            " it and does not go on with it; choose another study.name"
        )
    config = _check_settings(ledger, root, config, folder)
    _check_image(root, box)
    secret = keys.load_secret(root.secret)
    store = open_store(folder, durable=lasting)
    own_files.load(config, store)
    running = _tie(config, folder, ledger, store, box, secret, lean)
    reconcile(ledger)
    serve(box, ledger, keys.signer(secret))
    for envelope in keys.find_mandates(config.study.name):
        running.gate.admit(envelope.read_bytes(), "mandate")
    return running


def _is_fresh(folder: Path) -> bool:
    """Tell whether the study begins now; refuse a run without its ledger.

    A loop that was killed at its start may have left a database without tables, or half a file.
    """
    file = folder / FILE
    if has_ledger(folder) and not (file.exists() and not has_tables(file)):
        return False
    names = {path.name for path in folder.iterdir()} if folder.exists() else set[str]()
    if any(not HALF.fullmatch(name) for name in names - {"lock", NAME, *files_of(FILE)}):
        raise VerificationFailed(
            f"{folder} holds a run whose ledger is missing; restore it or choose another study.name"
        )
    return True


def _check_settings(ledger: Ledger, root: StudyEntry, config: Config, folder: Path) -> Config:
    """Return the settings in force; refuse settings without a decision."""
    rules = policy(ledger.entries())
    if rules.version > 1 and root.decided == decided(config):
        # People amended it since: the study root in force counts.
        config = replace(
            rules.config,
            runs=config.runs,
            box=config.box,
            launcher=config.launcher,
            tracker=config.tracker,
        )
    own_files.need_unchanged(rules.config, config)
    if rules.decided != decided(config):
        raise BadInput(
            f"study.name is {config.study.name!r}, and {folder} holds a study with other settings;"
            " choose another name"
        )
    return config


def _check_image(root: StudyEntry, box: Box) -> None:
    if root.image and box.kind == "docker" and getattr(box, "image", "") != root.image:
        raise VerificationFailed(
            f"the study pins image {root.image[:19]} and box.image is another; name the pinned"
            " digest in box.image"
        )


def _tie(
    config: Config,
    folder: Path,
    ledger: Ledger,
    store: Store,
    box: Box,
    secret: bytes,
    lean: bool,
) -> Running:
    """Put everything for the loop into a single object."""
    learn = box.learn if isinstance(box, SimulatedBox) else lambda questions: None
    task = config.task.format()
    gate = Gate(ledger, store).refresh()
    return Running(
        config=config,
        folder=folder,
        root=gate.memory.rules.root,
        secret=secret,
        sandbox=Sandbox(ledger=ledger, store=store, box=box, gate=gate),
        facts_reader=FactsReader(ledger, lean),
        items=HeldOut(task, secret, ledger, store, learn),
        nearest=WeightIndex(ledger, store, secret),
        tripwires=tripwires.TripwireCounts(gate),
        workers=Workers(config.box.parallel),
        paid=_list_paid(ledger),
    )


def _list_paid(ledger: Ledger) -> frozenset[str]:
    """Return the keys of proposals charged before; an amendment lets a generation propose anew."""
    keys_of: set[str] = set()
    for entry in ledger.entries():
        if entry.kind == AmendedEntry.kind:
            keys_of.clear()
        for fact in facts_of([entry], SettleEntry):
            keys_of.add(fact.key)
    return frozenset(key for key in keys_of if key.startswith("propose:"))


def _lock(folder: Path) -> Lock:
    """Hold the run's lock as long as the process lives; raise Stopped if another process has it."""
    lock = Lock(folder)
    _LOCKS.append(lock)
    try:
        lock.hold_folder(folder)
    except Stopped:
        lock.close()
        _LOCKS.remove(lock)
        raise
    return lock
