"""Entries of the study itself: its root, its accounts and questions, its sessions and its end."""

from dataclasses import dataclass
from typing import Any, ClassVar

from configs.reader import later
from configs.records import Amount, PublicHalf, Split
from configs.settings.config import Config


@dataclass(frozen=True, slots=True, kw_only=True)
class Fork:
    """The lost study that a study goes on from: its newest known signed head."""

    study: str
    "root of the lost study"
    head: str
    "hash of its last known entry"
    sequence: int
    "number of that entry"
    public: str
    "public half, in hex, of its key for checkpoints"
    signature: str
    "its signature of the head, in hex"
    left: dict[str, dict[str, int]] | None
    "rest of each account at that head; none: not known, and nothing is left"
    who: str
    "person who forked it"
    why: str
    "reason, in the person's words"


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyEntry:
    """The study root: the first entry of a ledger. Its hash names the study for good."""

    kind: ClassVar[str] = "study"
    config: Config
    "the whole configuration, as composed"
    decided: str
    "digest of the part of the configuration decided by people"
    secret: str
    "digest of the study secret, kept outside the run"
    checkpoint_key: str
    "public half, in hex, of the key for checkpoints"
    reviewers: tuple[PublicHalf, ...]
    "public halves of the keys for decisions"
    source: dict[str, str]
    "file of the pristine bundle -> sha256 of its bytes"
    box: str
    "kind of box"
    tier: str
    "tier of the box (docs/threat-model.md)"
    proved: str
    "day of the doctor's proof of that tier on this machine; empty: never"
    image: str
    "image of a docker box, with its digest; empty for another box"
    python: str
    "version of the trusted side's Python"
    machine: dict[str, Any]
    "count of CPUs and architecture; empty for a simulated study"
    format: int = later(1)
    "format of the ledger; absent: 1"
    rules: int = later(1)
    "edition of the rules of verification at its writing; later rules only give findings; absent: 1"
    forked: Fork | None = later(None)
    "the lost study that it goes on from; absent: it began anew"
    fell_back: str = later("")
    "reason why box=auto took the Docker box; absent: it did not"
    no_tcp: str = later("")
    """reason why agents reach the door `model` by its Unix socket alone; absent: by TCP too, or no
    agent asks a model
    """
    proposers_in: str = later("")
    """on a table: the box in which weights that propose are really trained, kind and tier; absent:
    nothing is trained
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountEntry:
    """An account was opened; nothing beyond its limit can be reserved from it."""

    kind: ClassVar[str] = "account"
    name: str
    "root, a stage, `arm NAME`, `look SPLIT`, or `grant:` and the start of a decision's digest"
    limit: Amount
    "the spending limits"


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitEntry:
    """An amendment set another limit for an account; past spending stays."""

    kind: ClassVar[str] = "limit"
    name: str
    "the account"
    limit: Amount
    "the spending limits from now on, past spending included"


@dataclass(frozen=True, slots=True, kw_only=True)
class QuestionsEntry:
    """The questions of a held-out split were stored; the answers stay on the trusted side."""

    kind: ClassVar[str] = "questions"
    split: Split
    "the split"
    digest: str
    "digest of the questions in the store"
    items: int
    "number of questions"
    repeat: int = later(0)
    "the repeat with these items; absent: 0, and in format 1 every repeat"


@dataclass(frozen=True, slots=True, kw_only=True)
class Amendment:
    """Another objective, budget, set of gates or set of reviewers, as people sign it."""

    version: int
    "version of the study root after it: 2 for the first amendment"
    config: Config
    "the whole configuration afterwards"
    decided: str
    "digest of its part decided by people"
    reviewers: tuple[PublicHalf, ...]
    "public halves to pin"
    who: str
    "person who asks for it"
    why: str
    "reason, in the person's words"
    changes: tuple[str, ...]
    "the changes as they were typed: field=value"
    ahead_seconds: int = later(0)
    "seconds of the ledger's clock ahead of people's from then on; absent: 0"


@dataclass(frozen=True, slots=True, kw_only=True)
class AmendmentEntry:
    """An amendment was proposed; it waits for a decision of class amend."""

    kind: ClassVar[str] = "amendment"
    digest: str
    "digest of the amendment; people decide on it"
    version: int
    "version after it"
    objective: str
    "digest of its objective"
    amendment: Amendment
    "the amendment"


@dataclass(frozen=True, slots=True, kw_only=True)
class AmendedEntry:
    """An amendment by people took effect; older grants and mandates end here."""

    kind: ClassVar[str] = "amended"
    version: int
    "version of the study root from now on"
    config: Config
    "the configuration from now on"
    decided: str
    "digest of its part decided by people"
    reviewers: tuple[PublicHalf, ...]
    "public halves pinned from now on"
    amendment: str
    "digest of the amendment"
    by: tuple[str, ...]
    "digests of the approvals at its basis"
    ahead_seconds: int = later(0)
    "seconds of the ledger's clock ahead of people's from then on; absent: 0"


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionEntry:
    """A process of the study ended, whatever the reason."""

    kind: ClassVar[str] = "session"
    wall_seconds: float
    "seconds since the process began to run the study"


@dataclass(frozen=True, slots=True, kw_only=True)
class PauseEntry:
    """A process stopped before the study was done; the same command goes on from here."""

    kind: ClassVar[str] = "pause"
    reason: str
    "the error, at most 300 characters"
    exit_code: int
    "exit code of the command"


@dataclass(frozen=True, slots=True, kw_only=True)
class EndEntry:
    """The study ended; from now on its scores are open."""

    kind: ClassVar[str] = "end"
    reason: str
    "why, in a clause"


@dataclass(frozen=True, slots=True, kw_only=True)
class PruneEntry:
    """A person dropped stored bytes that no verification reads; their digests stay known."""

    kind: ClassVar[str] = "prune"
    blobs: str
    "digest of the list of the dropped digests, a JSON array in order"
    count: int
    "dropped files"
    size: int
    "their bytes together"
    who: str
    "person"


@dataclass(frozen=True, slots=True, kw_only=True)
class ComputeEntry:
    """A statement of the charged compute was signed and given out."""

    kind: ClassVar[str] = "compute"
    digest: str
    "digest of the signed envelope"
    since: str
    "UTC, first moment covered; empty: from the beginning"
    until: str
    "UTC, end of the covered time; empty: to its making"
    public: str
    "public half, in hex, of the signing key"
