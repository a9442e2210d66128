"""The study root: the first entry of a ledger, with pins of settings, keys, source and machine.

Its hash names the study for good, wherever its ledger lies. `begin` writes it; `read_config` reads
the settings in force.
"""

import os
import platform
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from configs.build import need
from configs.entries import Fork, StudyEntry
from configs.records import PublicHalf
from configs.settings.box import Launcher
from configs.settings.config import Config
from configs.settings.gates import Quorum
from loop.study.box import day_proved, explain_missing_tcp
from loop.study.simulated import bundle_of, simulated
from sandbox import budget, keys, rest
from sandbox.box.base import Box
from sandbox.canonical import canonical, digest
from sandbox.decision import decided, policy
from sandbox.gate.quorum import names
from sandbox.ledger import Ledger

FORMAT, RULES = 2, 3
"""Format of a new ledger, and edition of the rules of verification."""
SCRIPTED = keys.STAND_IN
"""Name and person of the scripted reviewer's key."""


def begin(
    ledger: Ledger,
    config: Config,
    box: Box,
    forked: Fork | None = None,
    reviewers: Sequence[PublicHalf] = (),
) -> bytes:
    """Write the study root and open the accounts of its budget; return the study secret.

    A study `forked` from a lost study has its reviewers, and its accounts begin with its rest.
    """
    secret = _new_secret(config)
    halves = _inherited(config, secret, reviewers) if forked else pinned_reviewers(config, secret)
    machine = {"cpus": os.cpu_count(), "arch": platform.machine()}
    entry = StudyEntry(
        config=replace(config, ledger="", store="", launcher=Launcher()),
        decided=decided(config),
        secret=digest(secret),
        checkpoint_key=keys.public_hex(keys.signer(secret)),
        reviewers=tuple(halves),
        source={name: digest(data) for name, data in bundle_of(config).items()},
        box=box.kind,
        tier=box.tier,
        proved=day_proved(box),
        image=getattr(box, "image", ""),
        python=platform.python_version(),
        fell_back=getattr(box, "fell_back", ""),
        machine={} if simulated(config) else machine,
        format=FORMAT,
        rules=RULES,
        forked=forked,
        proposers_in=getattr(box, "proposers_in", ""),
        no_tcp=explain_missing_tcp(config),
    )
    with ledger.transaction() as txn:
        txn.append(entry, timeless=simulated(config))
        arms, caps = config.payers(), config.gates.unattended
        budget.open_study(txn, config.budget, arms, caps)
        if forked:
            rest.charge_fork(txn, config.budget, arms, forked.left or {}, caps)
    return secret


def _new_secret(config: Config) -> bytes:
    """Return the study secret; a simulated study has a plain secret."""
    return plain_secret(config) if simulated(config) else keys.new_secret()


def plain_secret(config: Config) -> bytes:
    """Return the secret of a simulated study, which anybody can work out: it repeats everywhere.

    Another name or number of the study is another draw of luck, and so is another world or table;
    no other setting is.
    """
    study = config.study
    luck = {"name": study.name, "seed": study.seed, "world": config.task.world}
    if config.task.folds:
        luck["table"] = config.task.table_digest
    return keys.plain_secret(canonical(luck))


def read_config(ledger: Ledger) -> Config:
    """Return the settings pinned in a ledger's study root, as amended."""
    return policy(ledger.entries()).config


def config_at(config: Config, folder: Path) -> Config:
    """Return recorded settings for the folder where their run lies now."""
    return replace(config, runs=str(folder.resolve().parent))


def scripted_key(secret: bytes) -> Ed25519PrivateKey:
    """Return the key of the study's scripted reviewer; its decisions are marked as simulated."""
    return keys.derived(b"heirloop scripted reviewer:", secret)


def _inherited(config: Config, secret: bytes, reviewers: Sequence[PublicHalf]) -> list[PublicHalf]:
    """Return the reviewers of a lost study; the scripted key is that of the new secret."""
    halves = [half for half in reviewers if half.name != SCRIPTED]
    own = [half for half in pinned_reviewers(config, secret) if half.name == SCRIPTED]
    return halves + own


def pinned_reviewers(config: Config, secret: bytes) -> list[PublicHalf]:
    """Return the public halves pinned in a study root.

    They are this user's unrevoked keys, and the scripted reviewer's key.
    """
    halves = keys.reviewers()
    if config.reviewer.policy != "people":
        public = keys.public_hex(scripted_key(secret))
        halves.append(PublicHalf(name=SCRIPTED, kind="simulated", person=SCRIPTED, public=public))
    need_reviewers(config, halves)
    _need_openers(config, halves)
    return halves


def _need_openers(config: Config, halves: Sequence[PublicHalf]) -> None:
    """Refuse a claim on the sealed split where nobody pinned could ever say yes to opening it."""
    claims = [claim.name for claim in config.study.claims if claim.instrument.endswith(", sealed")]
    who = "`heirloop keys new NAME` makes a key, and reviewer=scripted has one"
    right = f"claims that can be measured: nobody is pinned who may open sealed; {who}"
    need(bool(halves) or not claims, "study.claims", ", ".join(claims), right)


def need_reviewers(config: Config, halves: Sequence[PublicHalf]) -> None:
    """Raise BadInput unless these keys are reviewers, each once, who can decide as the gates say.

    A gate that people named must have people enough: nobody could ever open another.
    """
    need_counterparty(config, halves)
    for number, half in enumerate(halves):
        copy = next((h.name for h in halves[:number] if h.public == half.public), "")
        right = f"a key of its own: it is the key {copy}, and a private key is a single reviewer"
        need(not copy, f"key {half.name}", half.public[:12], right)
    gates, rules = config.gates, config.autonomy.rules
    quorums = {f"gates.approve.{name}": gates.approve.get(name) for name in rules}
    denied = {f"gates.approve.{name}" for name, rule in rules.items() if rule == "deny"}
    for setting, quorum in {**quorums, "gates.resume": gates.resume}.items():
        if quorum is None or setting in denied:
            continue
        voters = sorted({half.person for half in halves if _may_vote(config, quorum, half)})
        right = f"met by the pinned reviewers; {', '.join(voters) or 'nobody'} may vote"
        need(quorum.of <= len(voters), setting, f"of: {quorum.of}", right)


def _may_vote(config: Config, quorum: Quorum, half: PublicHalf) -> bool:
    return names(quorum, half.name, half.kind, config.reviewer.policy)


def need_counterparty(config: Config, halves: Sequence[PublicHalf]) -> None:
    """Raise BadInput for a named counterparty unless it is a pinned external reviewer."""
    name = config.gates.counterparty
    external = [half.name for half in halves if half.kind == "external"]
    right = f"a pinned external reviewer ({', '.join(external) or 'none here'}), or empty"
    need(not name or name in external, "gates.counterparty", name, right)
