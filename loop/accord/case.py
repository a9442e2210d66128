"""The files on an accord, put together: evidence of each party, and further signed heads."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from configs.build import strict_json
from configs.entries import Entry, Heard
from configs.errors import BadInput, VerificationFailed
from configs.records import Amount
from loop.accord.evidence import Evidence, read_head, time_of
from loop.accord.terms import Accord, Party, Signed, Term
from sandbox.charges import settlements


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """A breach that the files show."""

    study: str
    "root of the party"
    rule: str
    "name of the rule"
    text: str
    "what the files show"


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """An accord and the files on it."""

    accord: Accord
    digest: str
    evidence: Mapping[str, Evidence]
    "root of a party -> its evidence; a party may have given none"
    heads: Sequence[tuple[str, int, str]] = ()
    "further signed heads: root, number of the entry, hash"

    def window(self, term: Term) -> tuple[Entry, ...]:
        """Return the facts that a party shows of a window, from before it on; empty: none."""
        own, (first, _) = self.evidence.get(term.study), term.window
        around = [s for s in own.segments if time_of(s[0]) <= first < time_of(s[-1])] if own else []
        return around[-1] if around else ()

    def within(self, term: Term) -> list[Entry]:
        """Return the facts that lie within the window itself."""
        first, last = term.window
        return [entry for entry in self.window(term) if first <= time_of(entry) <= last]

    def arrivals(self, study: str) -> list[tuple[datetime, Heard]]:
        """Return the fresh heads of a party as the other recorded them, with the other's time."""
        other = self.evidence.get(self.accord.other(study).study)
        newest, found = 0, list[tuple[datetime, Heard]]()
        for entry, beat in other.beats() if other else ():
            for heard in beat.heard:
                if heard.study == study and heard.sequence > newest and self.is_signed(heard):
                    newest = heard.sequence
                    found.append((time_of(entry), heard))
        return found

    def is_signed(self, heard: Heard) -> bool:
        """Tell whether a heard head is signed by the party of which it is said to be."""
        party = self.accord.party(heard.study)
        return party is not None and is_quoted(heard, party)

    def ends(self, study: str) -> datetime | None:
        """Return the time of the newest fact that a party shows."""
        own = self.evidence.get(study)
        return time_of(own.last) if own and own.last else None


def list_terms(case: Case) -> Iterator[tuple[Term, str]]:
    """Yield each term with the name of its party."""
    for term in case.accord.terms:
        party = case.accord.party(term.study)
        yield term, party.name if party else ""


def list_heads(case: Case) -> Iterator[tuple[str, int, str]]:
    """Yield what every file says of an entry's hash: root, number, hash."""
    for party in case.accord.parties:
        yield party.study, party.sequence, party.head
    for study, own in case.evidence.items():
        yield from ((study, number, name) for number, name in own.heads.items())
        yield from ((study, entry.sequence, entry.hash) for entry in own.entries)
        for _, beat in own.beats():
            signed = [one for one in beat.heard if case.is_signed(one)]
            yield from ((one.study, one.sequence, one.head) for one in signed)
    yield from case.heads


def sum_spent(entries: Iterable[Entry]) -> Amount:
    """Return what was charged by some facts."""
    return sum((fact.spent for _, fact in settlements(entries)), Amount())


def is_over(case: Case, term: Term) -> bool:
    """Tell whether a party shows its whole window, from a head before to a head after it."""
    window = case.window(term)
    return bool(window) and time_of(window[-1]) >= term.window[1]


def need_own(one: Evidence, signed: Signed) -> None:
    """Raise VerificationFailed unless evidence is of this accord and of a party's key."""
    party = signed.accord.party(one.study)
    if party is None or one.public != party.public:
        raise VerificationFailed(f"the evidence of {one.name!r} is of no party's key")
    if one.accord != signed.digest:
        raise VerificationFailed(
            f"the evidence of {one.name!r} is of another accord ({one.accord[:12] or 'none'})"
        )


def gather(
    signed: Signed, evidence: Iterable[Evidence], heads: Iterable[tuple[str, int, str]] = ()
) -> Case:
    """Return the case of an accord that both parties signed; raises VerificationFailed."""
    if not signed.whole:
        raise VerificationFailed("the accord lacks a signature: nobody owes anything by it")
    found = dict[str, Evidence]()
    further = list(heads)
    for one in evidence:
        need_own(one, signed)
        if one.study in found:  # older evidence of the same party counts by its heads
            older, newest = sorted((found[one.study], one), key=lambda e: max(e.heads, default=0))
            further += [(older.study, number, name) for number, name in older.heads.items()]
            one = newest
        found[one.study] = one
    return Case(accord=signed.accord, digest=signed.digest, evidence=found, heads=tuple(further))


@lru_cache(maxsize=1 << 16)  # every rule asks anew, and a signature takes a tenth of a millisecond
def is_quoted(heard: Heard, party: Party) -> bool:
    """Tell whether the signed head of a heard entry is a party's own, and of this entry."""
    try:
        head = strict_json(heard.signed)
        told = read_head(head, key_of(party), party.study)
    except (BadInput, VerificationFailed, TypeError, AttributeError):
        return False
    return told == {heard.sequence: heard.head}


def key_of(party: Party) -> Ed25519PublicKey:
    """Return a party's public key; raises VerificationFailed where it has none."""
    try:
        return Ed25519PublicKey.from_public_bytes(bytes.fromhex(party.public))
    except ValueError:
        raise VerificationFailed(f"the key of {party.name} is no ed25519 key") from None


def read_heads(data: bytes, accord: Accord) -> list[tuple[str, int, str]]:
    """Return the signed heads in a file of JSON lines: root, number, hash.

    Raises VerificationFailed for a line that no party signed.
    """
    found = list[tuple[str, int, str]]()
    for number, line in enumerate(data.splitlines(), 1):
        try:
            head = strict_json(line)
            party = accord.party(head["study"])
            assert party
            found += [
                (party.study, *one) for one in read_head(head, key_of(party), party.study).items()
            ]
        except (BadInput, VerificationFailed, KeyError, TypeError, AttributeError, AssertionError):
            raise VerificationFailed(f"line {number} is no head that a party signed") from None
    return found


def write_moment(time: datetime) -> str:
    """Return a moment for people."""
    return time.isoformat(timespec="seconds")


def time_of_head(heard: Heard) -> datetime:
    """Return the time of the entry that was heard; raises VerificationFailed."""
    try:
        time = datetime.fromisoformat(heard.time)
    except ValueError:
        time = datetime.min
    if time.tzinfo is None:
        raise VerificationFailed("the evidence quotes a head without a time")
    return time
