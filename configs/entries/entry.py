"""A line of the ledger: its place in the chain, and its fact."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
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
    """A line of the ledger."""

    sequence: int
    "1, 2, 3 ... without gaps"
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
    "sha256 of the canonical bytes of all other fields"

    @property
    def fact(self) -> Fact:
        """Return the body as the record of its kind, decoded strictly and once.

        Raises BadEntry, which names entry and kind, for an unknown kind and a malformed body. So
        does a closed entry of an export, but for a start and a verdict.
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


F = TypeVar("F", bound=Fact)


def lines_of(entries: Iterable[Entry], record: type[F]) -> Iterator[tuple[Entry, F]]:
    """Yield each entry of a kind with its fact; the other entries are not decoded."""
    for entry in entries:
        if entry.kind == record.kind:
            yield entry, cast(F, entry.fact)


def facts_of(entries: Iterable[Entry], record: type[F]) -> Iterator[F]:
    """Yield the fact of each entry of a kind; the other entries are not decoded."""
    return (fact for _, fact in lines_of(entries, record))
