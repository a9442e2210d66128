"""Accords in a ledger: what stands there is what was signed, and whether this study kept it.

A changed, copied, replayed or back-dated entry fails the verification. A start within a window, or
a signature after its window began, is a breach: the record tells it truly, and an incident tells
people. What the other side did shows in files alone (`loop/accord/check.py`).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import cast

from configs.entries import AccordEntry, BeatEntry, Entry, Heard, StudyEntry
from configs.errors import HeirloopError, VerificationFailed
from loop.accord import terms
from loop.accord.case import is_quoted, time_of_head
from loop.accord.evidence import time_of
from loop.accord.own import Breach, find_breaches
from loop.accord.terms import Signed
from loop.verify.state import need


def check_accords(entries: Sequence[Entry]) -> list[Breach]:
    """Check every entry of an accord; return how this study broke those that both sides signed.

    Raises VerificationFailed with the entry.
    """
    walk = _Walk(entries)
    for entry in entries:
        if entry.kind not in (AccordEntry.kind, BeatEntry.kind):
            continue
        try:
            if entry.kind == AccordEntry.kind:
                walk.check_accord(entry, cast(AccordEntry, entry.fact))
            else:
                walk.check_beat(cast(BeatEntry, entry.fact))
        except HeirloopError as error:
            name = f"entry {entry.sequence} ({entry.kind})"
            raise VerificationFailed(f"{name}: {error}") from None
    return list(find_breaches(entries))


@dataclass(slots=True)
class _Walk:
    """A walk through the entries of a study, with the accords and beats so far."""

    entries: Sequence[Entry]
    known: dict[str, Signed] = field(default_factory=dict)
    heard: dict[tuple[str, str], Heard] = field(default_factory=dict)
    "digest of an accord, root of the other study -> the newest head that was heard"

    @property
    def study(self) -> str:
        """Root of this study."""
        return self.entries[0].hash

    def check_accord(self, entry: Entry, fact: AccordEntry) -> None:
        """Hold an accord against its signatures, and against this ledger."""
        signed = terms.read(fact.envelope.encode())
        said = (fact.digest, fact.signed)
        need((signed.digest, signed.signed) == said, "it says something else than was signed")
        own = signed.accord.party(self.study)
        need(own, "it is an accord of other studies")
        assert own
        root = cast(StudyEntry, self.entries[0].fact)
        need(own.public == root.checkpoint_key, "it names another key of this study")
        need(own.study in signed.signed, "this study did not sign it")
        head = next((one for one in self.entries if one.sequence == own.sequence), None)
        right = head is not None and head.hash == own.head and head.sequence < entry.sequence
        need(right, f"it names another entry {own.sequence} of this ledger")
        clocks = timedelta(seconds=signed.accord.clock_seconds)
        proposed = terms.read_time("proposed", signed.accord.proposed)
        need(time_of(entry) + clocks >= proposed, "it is dated before it was proposed")
        before = self.known.get(signed.digest)
        more = before is None or set(before.signed) < set(signed.signed)
        need(more, "it was recorded before, with these signatures")
        self.known[signed.digest] = signed

    def check_beat(self, fact: BeatEntry) -> None:
        """Hold a beat against the signed heads that it quotes."""
        signed = self.known.get(fact.accord)
        need(signed and signed.whole, "it is of no accord that both sides had signed by then")
        assert signed
        names = [one.study for one in fact.heard]
        need(len(set(names)) == len(names), "it names a study twice")
        for one in fact.heard:
            party = signed.accord.party(one.study)
            need(party and one.study != self.study, "it names a study that is no other party")
            assert party
            need(is_quoted(one, party), "it quotes a head that the other study never signed")
            time = time_of_head(one)
            if before := self.heard.get((fact.accord, one.study)):
                later = one.sequence >= before.sequence and time >= time_of_head(before)
                need(later, "it quotes an older head than the beat before")
            self.heard[fact.accord, one.study] = one
