"""A fact of the ledger: its place in the chain, and its record.

An entry holds a fact, or the facts of one transaction: they came about together or not at all.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any, TypeVar, cast

from configs.build import parse
from configs.entries.kinds import KINDS, Fact
from configs.errors import BadEntry, BadInput


class _Decoded:
    """Room for the decoded fact of an entry, empty until somebody asks for it."""

    __slots__ = ("_fact",)
    if TYPE_CHECKING:
        _fact: Fact


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry(_Decoded):
    """A fact of the ledger, with the entry that holds it."""

    sequence: int
    "number of the entry: 1, 2, 3 ... without gaps"
    previous: str
    "hash of the entry before"
    kind: str
    "the fact"
    time: str
    "UTC wall clock, for people"
    monotonic_us: int
    "monotonic clock of the writing process"
    body: dict[str, Any]
    "the fact, as it stands on the wire"
    hash: str
    "sha256 of the canonical bytes of the whole entry"
    number: int = 0
    "place among the facts of its entry, from 0: a transaction has several"

    @property
    def place(self) -> tuple[int, int]:
        """Number of the entry, and place of the fact in it: unique in a ledger."""
        return self.sequence, self.number

    @property
    def fact(self) -> Fact:
        """Return the body as the record of its kind, decoded strictly and once.

        Raises BadEntry, which names entry and kind, for an unknown kind and a malformed body. So
        does a closed entry of an export, but for a start, a verdict, a selection and a program.
        """
        try:
            return self._fact
        except AttributeError:
            object.__setattr__(self, "_fact", decode(self.kind, self.body, self.sequence))
            return self._fact


def decode(kind: str, body: dict[str, Any], sequence: int) -> Fact:
    """Return a body as the record of its kind; raise BadEntry if it is no such record."""
    record = KINDS.get(kind)
    if record is None:
        raise BadEntry(
            f"entry {sequence} is of kind {kind!r}, which is unknown; known are {', '.join(KINDS)}"
        )
    try:
        return parse(record, body)
    except BadInput as error:
        raise BadEntry(f"entry {sequence} is no entry of kind {kind}: {error}") from None


TRANSACTION = "transaction"
"""Kind of an entry with several facts. Its body is `{"facts": [{"kind", "body"}, ...]}`."""


def flatten(fields: dict[str, Any], name: str) -> list[Entry]:
    """Return the facts of an entry with these fields and this hash.

    Raises BadEntry for a transaction without two facts at least.
    """
    if fields["kind"] != TRANSACTION:
        return [Entry(**fields, hash=name)]
    facts = fields["body"]["facts"]
    if len(facts) < 2 or any(fact["kind"] == TRANSACTION for fact in facts):
        raise BadEntry(f"entry {fields['sequence']} is a transaction without several facts")
    shared = {key: fields[key] for key in ("sequence", "previous", "time", "monotonic_us")}
    return [Entry(**shared, **fact, hash=name, number=i) for i, fact in enumerate(facts)]


def unflatten(facts: Sequence[Entry]) -> dict[str, Any]:
    """Return the fields of the entry with these facts, under its hash: `flatten` backwards."""
    first, kind, body = facts[0], facts[0].kind, facts[0].body
    if len(facts) > 1:
        kind = TRANSACTION
        body = {"facts": [{"kind": fact.kind, "body": fact.body} for fact in facts]}
    return {
        "sequence": first.sequence,
        "previous": first.previous,
        "kind": kind,
        "time": first.time,
        "monotonic_us": first.monotonic_us,
        "body": body,
    }


def by_entry(facts: Iterable[Entry]) -> Iterator[list[Entry]]:
    """Yield the facts of each entry together, in order."""
    for _, group in groupby(facts, key=lambda fact: fact.sequence):
        yield list(group)


F = TypeVar("F", bound=Fact)


def lines_of(entries: Iterable[Entry], record: type[F]) -> Iterator[tuple[Entry, F]]:
    """Yield each fact of a kind with its record; the other facts are not decoded."""
    for entry in entries:
        if entry.kind == record.kind:
            yield entry, cast(F, entry.fact)


def facts_of(entries: Iterable[Entry], record: type[F]) -> Iterator[F]:
    """Yield the fact of each entry of a kind; the other entries are not decoded."""
    return (fact for _, fact in lines_of(entries, record))
