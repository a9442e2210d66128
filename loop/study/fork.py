"""Forks: a study whose ledger was lost goes on as a new study, with the rest of its budget.

Example: a disk dies, and the copy of the run is a day old. It lacks signed heads, so it is not run.
`heirloop fork RUN --from HEAD --to NEW --why REASON` begins a study whose root names the newest
known head. Its accounts hold the rest that this head tells. Nothing comes back: an account without
a known rest holds nothing, and a study is forked once.
"""

import os
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from configs.build import need
from configs.entries import Fork, StudyEntry
from configs.errors import BadInput, Stopped, VerificationFailed
from loop.study.launch import make_box
from loop.study.root import begin
from loop.study.running import sign_head
from sandbox.decision import policy
from sandbox.files import replace_file
from sandbox.heads import (
    fork_place,
    known_places,
    last_head,
    last_signature,
    need_extension,
    open_ledger,
)
from sandbox.lock import holder

PREFIX = 8
"""Fewest characters that name a head."""


def fork(
    folder: Path, prefix: str, to: Path, who: str, why: str, copies: Iterable[Path] = ()
) -> Fork:
    """Begin a study in `to` with the rest of a lost study; return the record in its root.

    Raises BadInput for another head than the newest known, for a run that lacks nothing, and for a
    study that was forked before.
    """
    ledger = open_ledger(folder)
    rules = policy(ledger.entries())
    root = cast(StudyEntry, ledger.entries()[0].fact)
    need(bool(why.strip()), "--why", why, "a reason; it stands in the new root")
    need(not to.exists(), "--to", str(to), "a folder that does not exist yet")
    need(to.name != rules.config.study.name, "--to", str(to), "another name than the lost study's")
    if holder(folder):
        raise Stopped(f"{folder} is running; a study that runs is not forked")
    places = [*known_places(folder, rules.root), *copies]
    head, signature = _newest(root.checkpoint_key, places)
    need(
        len(prefix) >= PREFIX and head["head"].startswith(prefix),
        "--from",
        prefix,
        f"the newest known head, {head['head'][:12]} of entry {head['sequence']}",
    )
    _need_lost(ledger, folder, root.checkpoint_key, places)
    record = Fork(
        study=rules.root,
        head=head["head"],
        sequence=head["sequence"],
        public=root.checkpoint_key,
        signature=signature,
        left=head.get("left"),
        who=who,
        why=why,
    )
    _claim(rules.root, to)
    study = replace(rules.config.study, name=to.name)
    config = replace(rules.config, study=study, runs=str(to.resolve().parent))
    box = make_box(config)
    try:
        to.mkdir(parents=True)
        new = open_ledger(to, create=True)
        secret = begin(new, config, box, record, rules.reviewers)
    finally:
        box.close()
    sign_head(new, secret, to)
    new.close()
    return record


def _newest(public: str, places: Iterable[Path]) -> tuple[dict[str, Any], str]:
    """Return the newest signed head of these files with its signature."""
    key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(public))
    heads = []
    for place in places:
        head = last_head(key, place)
        if head:
            heads.append((head["sequence"], head, last_signature(place)))
    if not heads:
        raise BadInput("no signed head of this study is known; --heads names somebody's copy")
    _, head, signature = max(heads, key=lambda row: row[0])
    return head, signature


def _need_lost(ledger: Any, folder: Path, public: str, places: list[Path]) -> None:
    try:
        need_extension(ledger, folder, public, places)
    except VerificationFailed:
        return
    raise BadInput(f"{folder} holds every known signed head; it was not lost, run it instead")


def _claim(root: str, to: Path) -> None:
    """Note in the user's folder where a study goes on; raises BadInput for a second fork."""
    place = fork_place(root)
    if place.exists():
        raise BadInput(
            f"this study was forked before, into {place.read_text()}; its budget is there"
        )
    place.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    os.close(os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    replace_file(place, str(to.resolve()))
