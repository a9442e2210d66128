"""The terms of an accord: two studies, and which of them stops, pauses or slows from when to when.

An accord is an in-toto statement in a DSSE envelope, signed by the key for signed heads of each
study. A random number makes each one single, so signatures of an older one count for nothing here.
"""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from configs.build import need, parse, plain
from configs.errors import BadInput, VerificationFailed
from sandbox import intoto
from sandbox.canonical import digest

PREDICATE = "urn:heirloop:accord:1"
What = Literal["stop", "pause", "slow"]
MOST_TERMS, MOST_SECONDS, MOST_PER_HOUR = 8, 31 * 86_400, 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Party:
    """A study of an accord, as it stood when the accord was proposed."""

    name: str
    "name of the study, for people"
    study: str
    "digest of its root"
    public: str
    "public half of its key for signed heads, hex"
    sequence: int
    "number of its newest known entry"
    head: str
    "hash of that entry"


@dataclass(frozen=True, slots=True, kw_only=True)
class Term:
    """What a study owes from one time to another."""

    study: str
    "root of the study"
    what: What
    "stop, pause: no job starts; slow: at most `per_hour` in any hour"
    per_hour: int
    "slow: most starts in any hour; else 0"
    since: str
    "UTC, first moment"
    until: str
    "UTC, last moment"

    @property
    def window(self) -> tuple[datetime, datetime]:
        """First and last moment."""
        return read_time("since", self.since), read_time("until", self.until)


@dataclass(frozen=True, slots=True, kw_only=True)
class Accord:
    """The signed content."""

    parties: tuple[Party, ...]
    "two studies with different keys"
    terms: tuple[Term, ...]
    "who owes what"
    heads_seconds: int
    "within a window a fresh signed head reaches the other side at least this often"
    clock_seconds: int
    "largest disagreement of the two clocks"
    why: str
    "reason, in the proposer's words"
    nonce: str
    "random, so that no two accords are alike"
    proposed: str
    "UTC"

    def party(self, study: str) -> Party | None:
        """Return the party with this root, None for a study that is none."""
        return next((one for one in self.parties if one.study == study), None)

    def other(self, study: str) -> Party:
        """Return the party beside this one."""
        return next(one for one in self.parties if one.study != study)


@dataclass(frozen=True, slots=True, kw_only=True)
class Signed:
    """An accord with its envelope."""

    accord: Accord
    digest: str
    "digest of the statement, whoever signed it so far"
    envelope: bytes
    signed: tuple[str, ...]
    "roots of the studies that signed"

    @property
    def whole(self) -> bool:
        """Tell whether every party signed."""
        return len(self.signed) == len(self.accord.parties)


def read_time(name: str, text: str) -> datetime:
    """Return a moment in UTC; raises BadInput for anything else."""
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise BadInput(
            f"{name} is {text[:40]!r}; it should be a time such as 2026-01-31T00:00"
        ) from None
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def write_time(time: datetime) -> str:
    """Return a moment as the terms hold it."""
    return time.astimezone(UTC).isoformat(timespec="seconds")


def make(
    parties: Sequence[Party],
    terms: Sequence[Term],
    heads_seconds: int,
    clock_seconds: int,
    why: str,
) -> dict[str, Any]:
    """Return the unsigned statement of an accord; raises BadInput for terms nobody can keep."""
    accord = Accord(
        parties=tuple(parties),
        terms=tuple(terms),
        heads_seconds=heads_seconds,
        clock_seconds=clock_seconds,
        why=why,
        nonce=secrets.token_hex(16),
        proposed=write_time(datetime.now(UTC)),
    )
    _need_sound(accord)
    return intoto.draw_up(PREDICATE, _subjects(accord), plain(accord))


def read(envelope: bytes) -> Signed:
    """Return an accord with those of its parties that signed it.

    Raises VerificationFailed for anything else, and where nobody signed.
    """
    statement = intoto.read(envelope.strip(), PREDICATE)
    try:
        accord = parse(Accord, statement.get("predicate"))
        _need_sound(accord)
    except BadInput as error:
        raise VerificationFailed(f"this is no accord: {error}") from None
    if statement != intoto.draw_up(PREDICATE, _subjects(accord), plain(accord)):
        raise VerificationFailed("this is no accord: its subjects are not its parties")
    keys = intoto.list_signers(envelope.strip(), [one.public for one in accord.parties])
    signed = tuple(one.study for one in accord.parties if one.public in keys)
    if not signed:
        raise VerificationFailed("the accord is signed by none of its parties")
    return Signed(accord=accord, digest=digest(statement), envelope=envelope.strip(), signed=signed)


def _subjects(accord: Accord) -> dict[str, str]:
    return {f"party {number}": one.study for number, one in enumerate(accord.parties, 1)}


def _need_sound(accord: Accord) -> None:
    parties, terms = accord.parties, accord.terms
    two = len(parties) == 2 and len({one.study for one in parties}) == 2
    need(two, "parties", len(parties), "two different studies")
    apart = parties[0].public != parties[1].public
    need(
        apart, "parties", parties[0].public[:12], "two keys: whoever holds both agrees with nobody"
    )
    need(1 <= len(terms) <= MOST_TERMS, "terms", len(terms), f"1 to {MOST_TERMS}")
    for term in terms:
        need(bool(accord.party(term.study)), "study", term.study[:12], "a party of the accord")
        first, last = term.window
        long = (last - first).total_seconds()
        need(0 < long <= MOST_SECONDS, "until", term.until, "after `since`, at most 31 days")
        slow = term.what == "slow"
        right = 0 < term.per_hour <= MOST_PER_HOUR if slow else term.per_hour == 0
        need(right, "per_hour", term.per_hour, "jobs per hour with slow, else 0")
    most = accord.heads_seconds
    need(1 <= most <= MOST_SECONDS, "heads_seconds", most, "at least 1 second, at most 31 days")
    need(0 <= accord.clock_seconds <= 3600, "clock_seconds", accord.clock_seconds, "0 to 3600")
    need(len(accord.why) <= 2000, "why", f"{len(accord.why)} characters", "at most 2000")
    for name in (one.name for one in parties):
        need(len(name) <= 200, "name", f"{len(name)} characters", "at most 200")
