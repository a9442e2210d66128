"""Parts of a decision: the policy in force, subjects and requests, and unsigned mandates.

`gate/` decides by them. Nothing here lets anything pass.
"""

import difflib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import cast

from configs.build import plain
from configs.entries import AmendedEntry, Entry, StudyEntry, facts_of
from configs.errors import VerificationFailed
from configs.recipe import Recipe, knob_values
from configs.records import NOTES, Amount, PublicHalf, is_own
from configs.settings.config import Config
from sandbox.canonical import digest
from sandbox.store import Store, name_program

HOUR = 3600


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """Study root in force: the settings, the reviewers, and the number of amendments."""

    root: str
    "digest of the study root, the name of the study for good"
    study: str = ""
    "name of the study in its plans: the root, or the experiment of a simulated study"
    version: int
    "1, plus 1 per amendment"
    config: Config
    "the configuration in force"
    reviewers: tuple[PublicHalf, ...]
    "pinned public halves"
    decided: str
    "digest of the configuration's decided part"
    objective: str
    "digest of the objective in force"
    source: Mapping[str, str] = field(default_factory=dict)
    "pinned file of the pristine bundle -> sha256 of its bytes"
    format: int = 1
    "format of the ledger"
    ahead: int = 0
    "seconds of the ledger's clock ahead of people's, as an amendment acknowledged"


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """Subject of a decision, as the ledger records it: a plan, an amendment or an order."""

    digest: str
    "its digest"
    classes: tuple[str, ...]
    "classes of decision that it can get"
    objective: str
    "digest of the objective"
    requested: Amount = field(default_factory=Amount)
    "worst case"
    parent: str = ""
    "champion that a plan starts from"
    generation: int = 0
    "depth of a plan; number of an amendment"
    arm: str = ""
    "who asks; empty: a person"
    by: str = ""
    """person who asks, for an amendment and for people's proposals; neither this person nor a key
    of the arm's name counts towards the quorum
    """
    version: int = 1
    "version of the study root at its recording"
    ahead: int = 0
    "amendment: how far the ledger's clock then runs ahead of people's, in seconds"


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A question that waits for people."""

    subject: str
    "digest"
    change_class: str
    "class of decision"
    arm: str
    "who asks"
    at: float
    "unix seconds"
    expires: float
    "unix seconds; then it is denied"
    sequence: int
    "ledger entry"
    decided: tuple[float, ...] = ()
    "unix seconds of the decisions on it"


def decided(config: Config) -> str:
    """Return the digest of the settings of people: of all but where jobs, copies and bytes lie."""
    places = ("box", "tracker", "runs", "ledger", "store", "launcher")
    return digest({name: part for name, part in plain(config).items() if name not in places})


def policy(entries: list[Entry]) -> Policy:
    """Return the study root in force; raises VerificationFailed without a root."""
    if not entries or entries[0].kind != "study":
        raise VerificationFailed(
            "the ledger does not begin with a study root; it is not a run of Heirloop"
        )
    amended = list(facts_of(entries, AmendedEntry))
    first = cast(StudyEntry, entries[0].fact)
    root = amended[-1] if amended else first
    return Policy(
        root=entries[0].hash,
        study=_name_in_plans(entries[0].hash, first),
        version=1 + len(amended),
        config=root.config,
        reviewers=root.reviewers,
        decided=root.decided,
        objective=digest(root.config.objective),
        source=first.source,
        format=first.format,
        ahead=root.ahead_seconds if isinstance(root, AmendedEntry) else 0,
    )


def _name_in_plans(root: str, first: StudyEntry) -> str:
    """Return the name of a study in its plans.

    A simulated study repeats everywhere, so its plans name the experiment: no keys, Python or path
    is in it. Decisions name the root, so no decision passes to another study of the experiment.
    """
    if not first.config.task.format().stand_in() or first.format == 1:
        return root
    return decided(first.config.without_paths())


def list_changes(
    store: Store, base: tuple[str, Recipe], other: tuple[str, Recipe], pinned: Collection[str] = ()
) -> list[int]:
    """Return 1 for each changed knob, and the lines of each changed source region, between two
    (bundle, recipe).

    A program with its digest in `pinned`, the study root's, was decided by people and counts
    nothing, and neither do an agent's notes, which no training reads.
    """
    before, after = knob_values(base[1]), knob_values(other[1])
    changes = [1 for name in before if before[name] != after[name]]
    if base[0] != other[0]:
        old, new = store.get_bundle(base[0]), store.get_bundle(other[0])
        after = store.manifest(other[0])
        beside = {NOTES, *(filter(is_own, after) if name_program(after) in pinned else ())}
        for name in (old.keys() | new.keys()) - beside:
            changes += list_regions(old.get(name, b""), new.get(name, b""))
    return changes


def list_regions(old: bytes, new: bytes) -> list[int]:
    """Return the lines of each changed region: a run of neighbouring changed lines."""
    before = old.decode(errors="replace").splitlines()
    after = new.decode(errors="replace").splitlines()
    if before == after:
        return []
    codes = difflib.SequenceMatcher(None, before, after).get_opcodes()
    return [b - a + d - c for tag, a, b, c, d in codes if tag != "equal"]


def unix(entry: Entry) -> float:
    """Return the time of an entry in unix seconds."""
    return datetime.fromisoformat(entry.time).timestamp()
