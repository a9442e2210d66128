"""Entries of an accord between two studies (docs/accord.md)."""

from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """The newest entry of another study, under its signed head, as it was heard."""

    study: str
    "root of the other study"
    sequence: int
    "number of its entry"
    head: str
    "hash of that entry"
    time: str
    "UTC, that entry's own time, as quoted"
    signed: str
    "the signed head itself, as JSON"


@dataclass(frozen=True, slots=True, kw_only=True)
class AccordEntry:
    """This study proposed or signed an accord; with both signatures the loop keeps it."""

    kind: ClassVar[str] = "accord"
    digest: str
    "digest of the signed statement; the same with one signature and with two"
    envelope: str
    "the DSSE envelope, as it stood then"
    signed: tuple[str, ...]
    "roots of the studies whose signatures it carries"


@dataclass(frozen=True, slots=True, kw_only=True)
class BeatEntry:
    """The study showed that it is there: at this time it had heard this head of the other."""

    kind: ClassVar[str] = "beat"
    accord: str
    "digest of the accord"
    heard: tuple[Heard, ...]
    "newest head heard of each other study; none: nothing was heard yet"
