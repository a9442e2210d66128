"""Amendments: people propose other settings or reviewers for a study, and decide on them."""

import time
from collections.abc import Sequence
from pathlib import Path

from omegaconf import OmegaConf

from configs.build import need, parse, plain
from configs.entries import AmendedEntry, Amendment, AmendmentEntry
from configs.errors import BadInput, Stopped
from configs.settings.config import Config
from loop.people.advice import advising
from loop.people.requests import open_gate, subject_of
from loop.people.view import read_subject
from loop.study import own_files
from loop.study.root import SCRIPTED, need_reviewers
from sandbox import budget, control, keys
from sandbox.canonical import digest
from sandbox.decision import decided
from sandbox.gate import Gate

AMENDABLE = ("objective", "budget", "gates", "autonomy", "reviewer")


def amend(
    folder: Path,
    overrides: Sequence[str],
    who: str,
    why: str,
    repin: bool = False,
    clock: bool = False,
) -> str:
    """Propose an amendment; return the digest for people to decide on.

    It sets another objective, budget, gates, autonomy or set of reviewers. With `clock` people
    acknowledge that a clock jumped: the ledger's clock goes on from there.
    """
    gate = open_gate(folder)
    config = _change_config(gate, overrides)
    own_files.load(config, gate.store)
    reviewers = list(gate.memory.rules.reviewers)
    if repin:
        reviewers = [half for half in reviewers if half.name == SCRIPTED] + keys.reviewers()
    need_reviewers(config, reviewers)
    ahead = _read_jump(gate) if clock else gate.memory.rules.ahead
    before = (gate.memory.rules.decided, list(gate.memory.rules.reviewers), gate.memory.rules.ahead)
    if (decided(config), reviewers, ahead) == before:
        raise BadInput("the amendment changes nothing; name a field that differs")
    amendment = Amendment(
        version=gate.memory.rules.version + 1,
        config=config,
        decided=decided(config),
        reviewers=tuple(reviewers),
        who=who,
        why=why,
        changes=(*overrides, f"--clock: {ahead} s ahead") if clock else tuple(overrides),
        ahead_seconds=ahead,
    )
    return _propose(gate, amendment)


def _read_jump(gate: Gate) -> int:
    """Return the seconds of the ledger's clock ahead of this machine's, or raise BadInput."""
    ahead = int(gate.ledger.last().timestamp() - time.time())
    need(ahead > 0, "--clock", f"{ahead} s", "used where the ledger's clock is ahead of this one")
    return ahead


def _change_config(gate: Gate, overrides: Sequence[str]) -> Config:
    """Return the configuration in force with changes; raise BadInput for a field outside reach."""
    composed = OmegaConf.create(plain(gate.memory.rules.config))
    for override in overrides:
        key, equals, value = override.partition("=")
        if not equals or key.partition(".")[0] not in AMENDABLE:
            raise BadInput(
                f"CHANGES holds {override!r}; it should be field=value under {', '.join(AMENDABLE)}"
            )
        # The dot-list form lets OmegaConf read numbers and lists as the command line does.
        OmegaConf.update(composed, key, OmegaConf.from_dotlist([f"v={value}"]).v if value else "")
        if key in ("gates", "gates.file"):
            OmegaConf.update(composed, "gates.file_digest", "")
    return parse(Config, own_files.pin_files(OmegaConf.to_object(composed)))


def _propose(gate: Gate, amendment: Amendment) -> str:
    """Record an amendment once, and ask people for a decision on it."""
    name = digest(amendment)
    if name not in gate.memory.subjects:
        gate.ledger.append(
            AmendmentEntry(
                digest=name,
                version=amendment.version,
                objective=digest(amendment.config.objective),
                amendment=amendment,
            )
        )
        gate.refresh().request(name, "amend")
    return name


def apply_amendment(folder: Path, prefix: str) -> int:
    """Open the decided version of the study root; return its number.

    Old grants die. Raises NeedsHuman before the decision, Stopped while the study runs.
    """
    if control.holder(folder):
        raise Stopped(f"{folder} is running; stop or pause it first, an amendment ends its grants")
    gate = open_gate(folder)
    name = subject_of(gate, prefix).digest
    amendment = parse(Amendment, read_subject(gate, name))
    # A kill leaves neither the decision nor the amendment without the other.
    with advising(gate, folder), gate.ledger.transaction() as txn:
        gate.refresh(txn)
        decision = gate.decide_within(txn, name, "amend")
        txn.append(
            AmendedEntry(
                version=amendment.version,
                config=amendment.config,
                decided=amendment.decided,
                reviewers=amendment.reviewers,
                ahead_seconds=amendment.ahead_seconds,
                amendment=name,
                by=decision.by,
            )
        )
        caps = amendment.config.gates.unattended
        budget.amend(txn, amendment.config.budget, amendment.config.payers(), caps)
    return amendment.version
