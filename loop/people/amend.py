"""What people do to a run from outside its loop: look, decide, resume, deploy, roll back, recall,
amend, acknowledge, export.
"""

from collections.abc import Sequence
from pathlib import Path

from configs.build import parse, plain
from configs.errors import BadInput, Stopped
from configs.settings.config import Config
from loop.people.requests import (
    open_gate,
    subject_of,
)
from loop.people.shown import body_of
from loop.study import own_files
from loop.study.root import SCRIPTED, need_counterparty
from sandbox import budget, control, keys
from sandbox.canonical import digest
from sandbox.decision import decided

AMENDABLE = ("objective", "budget", "gates", "autonomy", "reviewer")


def amend(folder: Path, overrides: Sequence[str], who: str, why: str, repin: bool = False) -> str:
    """Propose another objective, budget, gates, autonomy or set of reviewers; return the digest
    that people decide on.
    """
    from omegaconf import OmegaConf

    gate = open_gate(folder)
    whole = OmegaConf.create(plain(gate.rules.config))
    for one in overrides:
        if one.partition(".")[0].partition("=")[0] not in AMENDABLE or "=" not in one:
            raise BadInput(
                f"CHANGES holds {one!r}; it should be field=value under {', '.join(AMENDABLE)}"
            )
        key, _, value = one.partition("=")
        OmegaConf.update(whole, key, OmegaConf.from_dotlist([f"v={value}"]).v if value else "")
        if key in ("gates", "gates.file"):
            OmegaConf.update(whole, "gates.file_digest", "")
    config = parse(Config, own_files.pin_files(OmegaConf.to_object(whole)))
    own_files.load(config, gate.store)
    reviewers = list(gate.rules.reviewers)
    if repin:
        reviewers = [one for one in reviewers if one["name"] == SCRIPTED] + keys.reviewers()
    need_counterparty(config, reviewers)
    if decided(config) == gate.rules.decided and reviewers == list(gate.rules.reviewers):
        raise BadInput("the amendment changes nothing; name a field that differs")
    body = {
        "version": gate.rules.version + 1,
        "config": plain(config),
        "decided": decided(config),
        "reviewers": reviewers,
        "who": who,
        "why": why,
        "changes": list(overrides),
    }
    name = digest(body)
    if name not in gate.subjects:
        gate.ledger.append(
            "amendment",
            {
                "digest": name,
                "version": body["version"],
                "objective": digest(config.objective),
                "amendment": body,
            },
        )
        gate.refresh().request(name, "amend")
    return name


def apply_amendment(folder: Path, prefix: str) -> int:
    """Open the new version of the study root that people decided on; old grants die. Returns the
    version; raises NeedsHuman before that.
    """
    if control.holder(folder):
        raise Stopped(f"{folder} is running; stop or pause it first, an amendment ends its grants")
    gate = open_gate(folder)
    name = subject_of(gate, prefix).digest
    body = body_of(gate, name)
    said = gate.decide(name, "amend")
    config = parse(Config, body["config"])
    with gate.ledger.transaction() as txn:
        txn.append(
            "amended",
            {
                **{key: body[key] for key in ("version", "config", "decided", "reviewers")},
                "amendment": name,
                "by": list(said.by),
            },
        )
        budget.amend(txn, config.budget, config.payers())
        gate.end_grants(txn)
    return int(body["version"])
