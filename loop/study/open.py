"""Open a study or go on with it: ledger, secret, store, box and gate, tied together by the study
root.
"""

import fcntl
import os
import platform
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from safetensors.numpy import save

from configs.build import need, plain
from configs.errors import BadInput, Stopped, VerificationFailed
from configs.records import Amount
from configs.settings.config import Config
from evals.data import Items, held_out, questions, slices
from loop.facts.facts import Facts, FactsReader
from loop.facts.nearest import WeightIndex
from loop.plan import source
from loop.study import own_files
from loop.study import simulated as study_simulated
from loop.study.box import make_box, proved
from sandbox import budget, control, incident, keys
from sandbox.box.base import Box
from sandbox.box.container import owner
from sandbox.canonical import canonical, digest
from sandbox.decision import HOUR, decided, policy
from sandbox.gate import Gate, Halted
from sandbox.ledger import Ledger, checkpoint
from sandbox.run import Sandbox, reconcile
from sandbox.store import Store


def config_at(config: Config, folder: Path) -> Config:
    """Return a recorded configuration for the folder where its run lies now."""
    return replace(config, runs=str(folder.resolve().parent))


SCRIPTED = keys.STAND_IN
"""Name and person of the scripted reviewer's key."""


@dataclass(slots=True, kw_only=True)
class Running:
    """An open study."""

    config: Config
    folder: Path
    root: str
    secret: bytes
    sandbox: Sandbox
    archive: FactsReader
    splits: dict[str, Items]
    slices: dict[str, dict[str, Items]]
    asked: dict[str, tuple[str, int]]
    nearest: WeightIndex
    wires: control.Wires
    stopped: bool = False
    ordered: str = ""

    @property
    def ledger(self) -> Ledger:
        """The study's ledger."""
        return self.sandbox.ledger

    @property
    def gate(self) -> Gate:
        """The study's gate."""
        return self.sandbox.gate

    @property
    def store(self) -> Store:
        """The study's store."""
        return self.sandbox.store

    def facts(self) -> Facts:
        """Return what has happened so far, brought up to the ledger's head."""
        return self.archive.facts()

    def facts_sequence(self) -> int:
        """Return the ledger entry to which the facts are folded."""
        return self.archive.sequence

    def watch(self) -> None:
        """Pause the study if one of its tripwires is touched."""
        if any(plain(self.config.gates.tripwires).values()):
            spent = self.ledger.read(budget.balances)["root"]["cpu_us"]
            self.wires.trip(spent["spent"] / spent["limit"])

    def wait(self, held: Halted) -> None:
        """Wait while people hold the study, as long as its patience; a stop, or the end of the
        patience, is raised.
        """
        patience = {"drill": 60, "slow": 2 * HOUR, "stop": 0}.get(
            held.how, self.config.gates.patience_seconds
        )
        until = time.monotonic() + patience
        while held.how == "slow" or self.gate.refresh().halt:
            if self.stopped or time.monotonic() >= until or self.gate.halt == "stop":
                raise held
            time.sleep(0.05)
            if held.how == "slow" and self.gate.refresh().room():
                return

    def checkpoint(self) -> None:
        """Sign the ledger's head, in the run and outside it."""
        checkpoint(self.ledger, signer(self.secret), places(self.folder, self.root))


def open_study(config: Config, box: Box | None = None, lean: bool = False) -> Running:
    """Open or resume the study of a configuration, its facts `lean` (loop/facts/facts.py); raises
    BadInput, VerificationFailed, NoBox.
    """
    folder = Path(config.runs) / config.study.name
    path = folder / "ledger.sqlite"
    fresh = not path.exists()
    if fresh and folder.exists() and any(p.name != "lock" for p in folder.iterdir()):
        raise VerificationFailed(
            f"{folder} holds a run whose ledger is missing; restore it or choose another study.name"
        )
    box = box or make_box(config)
    folder.mkdir(parents=True, exist_ok=True)
    _lock(folder)
    lasting = not study_simulated.simulated(config)
    ledger = Ledger.file(path, create=fresh, durable=lasting)
    if fresh or not ledger.entries():
        _begin(ledger, config, box)
    body, rules = ledger.entries()[0].body, policy(ledger.entries())
    root = rules.root
    if rules.version > 1 and body["decided"] == decided(
        config
    ):  # people amended it since: the study root in force counts
        config = replace(rules.config, runs=config.runs, box=config.box, tracker=config.tracker)
    own_files.unchanged(rules.config, config)
    if rules.decided != decided(config):
        raise BadInput(
            f"study.name is {config.study.name!r}, and {folder} holds a study with other settings;"
            " choose another name"
        )
    if body["image"] and box.kind == "docker" and getattr(box, "image", "") != body["image"]:
        raise VerificationFailed(
            f"the study pins image {body['image'][:19]} and box.image is another; name the pinned"
            " digest in box.image"
        )
    secret = keys.load_secret(body["secret"])
    store = Store(folder / "store", durable=lasting)
    own_files.load(config, store)
    splits = held_out(config.task.format(), secret)
    parts = {
        split: slices(config.task.format(), secret, split, items) for split, items in splits.items()
    }
    asked = _questions(
        ledger,
        store,
        config,
        {split: np.concatenate([items, *parts[split].values()]) for split, items in splits.items()},
    )
    if isinstance(box, study_simulated.Planted):
        box.learn(asked)
    gate = Gate(ledger, store).refresh()
    reconcile(ledger)
    for envelope in sorted((keys.home() / "mandates").glob(f"{config.study.name}-*.json")):
        gate.admit(envelope.read_bytes(), "mandate")
    sandbox = Sandbox(ledger=ledger, store=store, box=box, gate=gate)
    return Running(
        config=config,
        folder=folder,
        root=root,
        secret=secret,
        sandbox=sandbox,
        archive=FactsReader(ledger, lean),
        splits=splits,
        slices=parts,
        asked=asked,
        nearest=WeightIndex(ledger, store, secret),
        wires=control.Wires(gate),
    )


def signer(secret: bytes) -> Ed25519PrivateKey:
    """Return the study's checkpoint key, derived from its secret."""
    return Ed25519PrivateKey.from_private_bytes(
        bytes.fromhex(digest(b"heirloop checkpoint key:" + secret))
    )


def places(folder: Path, root: str) -> tuple[Path, Path]:
    """Return where signed heads go: the run, and the user's folder outside it."""
    return folder / "checkpoints.jsonl", keys.home() / "checkpoints" / f"{root}.jsonl"


def read_config(ledger: Ledger) -> Config:
    """Return the configuration that a ledger's study root pins, as amended."""
    return policy(ledger.entries()).config


def _begin(ledger: Ledger, config: Config, box: Box) -> None:
    simulated = study_simulated.simulated(config)
    secret = (
        keys.plain_secret(canonical({"study": config.study, "task": config.task}))
        if simulated
        else keys.new_secret()
    )
    body: dict[str, Any] = {
        "config": plain(config),
        "decided": decided(config),
        "secret": digest(secret),
        "checkpoint_key": keys.public_hex(signer(secret)),
        "reviewers": pinned(config, secret),
        "source": {
            name: digest(data)
            for name, data in (study_simulated.SOURCE if simulated else source()).items()
        },
        "box": box.kind,
        "tier": box.tier,
        "proved": proved(box),
        "image": getattr(box, "image", ""),
        "python": platform.python_version(),
        "machine": {} if simulated else {"cpus": os.cpu_count(), "arch": platform.machine()},
    }
    with ledger.transaction() as txn:
        root = txn.append("study", body, timeless=simulated)
        if simulated:  # the same study that ran here before and is gone had the same root
            places(Path(config.runs) / config.study.name, root.hash)[1].unlink(missing_ok=True)
        budget.open_study(txn, config.budget, config.payers())


def pinned(config: Config, secret: bytes) -> list[dict[str, str]]:
    """Return the public halves that a study root pins: this user's keys that are not revoked, and
    the scripted reviewer's.
    """
    halves = keys.reviewers()
    if config.reviewer.policy != "people":
        halves.append(
            {
                "name": SCRIPTED,
                "kind": "simulated",
                "person": SCRIPTED,
                "public": keys.public_hex(scripted_key(secret)),
            }
        )
    need_counterparty(config, halves)
    return halves


def need_counterparty(config: Config, halves: Sequence[Mapping[str, str]]) -> None:
    """Raise BadInput where the counterparty that gates name is no pinned external reviewer."""
    name, outside = (
        config.gates.counterparty,
        [half["name"] for half in halves if half["kind"] == "external"],
    )
    need(
        not name or name in outside,
        "gates.counterparty",
        name,
        f"a pinned external reviewer ({', '.join(outside) or 'none here'}), or empty",
    )


def scripted_key(secret: bytes) -> Ed25519PrivateKey:
    """Return the key of the study's scripted reviewer; what it signs is always marked as
    simulated.
    """
    return Ed25519PrivateKey.from_private_bytes(
        bytes.fromhex(digest(b"heirloop scripted reviewer:" + secret))
    )


def _questions(
    ledger: Ledger, store: Store, config: Config, splits: dict[str, Items]
) -> dict[str, tuple[str, int]]:
    found = {
        e.body["split"]: (e.body["digest"], e.sequence)
        for e in ledger.entries()
        if e.kind == "questions"
    }
    for split, items in splits.items():
        data = save({"questions": questions(config.task.format(), items)})
        if split not in found:
            entry = ledger.append(
                "questions", {"split": split, "digest": store.put(data), "items": len(items)}
            )
            found[split] = (entry.body["digest"], entry.sequence)
    return found


def charge_proposer(running: Running, arm: str, key: str, cpu_us: int) -> None:
    """Charge the trusted side's own CPU for one proposal to its arm."""
    held, used, payers = (
        Amount(cpu_us=max(cpu_us, 100_000)),
        Amount(cpu_us=cpu_us),
        ("root", "propose", budget.arm_account(arm)),
    )
    with (
        incident.refusals(running.ledger, "proposal", "compute that nobody granted"),
        running.ledger.transaction() as txn,
    ):
        budget.reserve(txn, key, payers, held)
        budget.settle(txn, key, payers, held, used)


_LOCKS: list[Any] = []


def _lock(folder: Path) -> None:
    file = (folder / "lock").open("a+")
    for last in (
        *[False] * 20,
        True,
    ):  # whoever asks if the study runs holds the lock for an instant
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except OSError:
            if last:
                file.close()
                raise Stopped(
                    f"{folder} is being run by another process; wait for it or stop it"
                ) from None
            time.sleep(0.01)
    file.truncate(0)
    file.write(owner(os.getpid()))
    file.flush()
    _LOCKS.append(file)
