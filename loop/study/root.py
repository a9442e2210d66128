"""The study root: the first entry of a ledger, with pins of settings, keys, source and machine.

Its hash names the study for good. `begin` writes it; `read_config` reads the settings in force.
"""

import os
import platform
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from configs.build import need
from configs.entries import StudyEntry
from configs.records import PublicHalf
from configs.settings.config import Config
from loop.plan import source
from loop.study.box import day_proved
from loop.study.simulated import SOURCE, simulated
from sandbox import budget, keys
from sandbox.box.base import Box
from sandbox.canonical import canonical, digest
from sandbox.decision import decided, policy
from sandbox.ledger import Ledger

FORMAT, RULES = 2, 2
"""Format of a new ledger, and edition of the rules of verification."""
SCRIPTED = keys.STAND_IN
"""Name and person of the scripted reviewer's key."""


def begin(ledger: Ledger, config: Config, box: Box) -> None:
    """Write the study root and open the accounts of its budget."""
    secret = _new_secret(config)
    files = SOURCE if simulated(config) else source()
    machine = {"cpus": os.cpu_count(), "arch": platform.machine()}
    entry = StudyEntry(
        config=config,
        decided=decided(config),
        secret=digest(secret),
        checkpoint_key=keys.public_hex(signer(secret)),
        reviewers=tuple(pinned_reviewers(config, secret)),
        source={name: digest(data) for name, data in files.items()},
        box=box.kind,
        tier=box.tier,
        proved=day_proved(box),
        image=getattr(box, "image", ""),
        python=platform.python_version(),
        machine={} if simulated(config) else machine,
        format=FORMAT,
        rules=RULES,
    )
    with ledger.transaction() as txn:
        root = txn.append(entry, timeless=simulated(config))
        if simulated(config):
            # the same study ran here before, is gone, and had the same root
            folder = Path(config.runs) / config.study.name
            places(folder, root.hash)[1].unlink(missing_ok=True)
        budget.open_study(txn, config.budget, config.payers())


def _new_secret(config: Config) -> bytes:
    """Return the study secret; a simulated study has a plain secret, so it repeats everywhere."""
    if simulated(config):
        return keys.plain_secret(canonical({"study": config.study, "task": config.task}))
    return keys.new_secret()


def read_config(ledger: Ledger) -> Config:
    """Return the settings pinned in a ledger's study root, as amended."""
    return policy(ledger.entries()).config


def config_at(config: Config, folder: Path) -> Config:
    """Return recorded settings for the folder where their run lies now."""
    return replace(config, runs=str(folder.resolve().parent))


def signer(secret: bytes) -> Ed25519PrivateKey:
    """Return the study's checkpoint key, derived from its secret."""
    return _derive_key(b"heirloop checkpoint key:", secret)


def scripted_key(secret: bytes) -> Ed25519PrivateKey:
    """Return the key of the study's scripted reviewer; its decisions are marked as simulated."""
    return _derive_key(b"heirloop scripted reviewer:", secret)


def _derive_key(label: bytes, secret: bytes) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(bytes.fromhex(digest(label + secret)))


def places(folder: Path, root: str) -> tuple[Path, Path]:
    """Return where signed heads go: the run, and the user's folder outside it."""
    return folder / "checkpoints.jsonl", keys.home() / "checkpoints" / f"{root}.jsonl"


def pinned_reviewers(config: Config, secret: bytes) -> list[PublicHalf]:
    """Return the public halves pinned in a study root.

    They are this user's unrevoked keys, and the scripted reviewer's key.
    """
    halves = keys.reviewers()
    if config.reviewer.policy != "people":
        public = keys.public_hex(scripted_key(secret))
        halves.append(PublicHalf(name=SCRIPTED, kind="simulated", person=SCRIPTED, public=public))
    need_counterparty(config, halves)
    return halves


def need_counterparty(config: Config, halves: Sequence[PublicHalf]) -> None:
    """Raise BadInput for a named counterparty unless it is a pinned external reviewer."""
    name = config.gates.counterparty
    external = [half.name for half in halves if half.kind == "external"]
    right = f"a pinned external reviewer ({', '.join(external) or 'none here'}), or empty"
    need(not name or name in external, "gates.counterparty", name, right)
