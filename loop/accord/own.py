"""How did a study break its accords, by its own ledger? Files tell what the other side did."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from configs.entries import AccordEntry, Entry, lines_of
from loop.accord.acts import list_signed
from loop.accord.case import Finding
from loop.accord.check import tell_late, tell_starts
from loop.accord.evidence import time_of
from loop.accord.terms import Signed, Term


@dataclass(frozen=True, slots=True, kw_only=True)
class Breach:
    """A way in which this study broke an accord."""

    accord: str
    "digest of the accord"
    finding: Finding


def list_within(entries: Sequence[Entry], term: Term) -> list[Entry]:
    """Return the facts of a ledger that lie within the window of a term."""
    first, last = term.window
    return [entry for entry in entries if first <= time_of(entry) <= last]


def find_breaches(entries: Sequence[Entry]) -> Iterator[Breach]:
    """Yield what breaks an own term of an accord that both sides signed."""
    study = entries[0].hash
    for signed in list_signed(entries):
        for term in signed.accord.terms if signed.whole else ():
            if term.study == study:
                told = {
                    "signed late": tell_late(term, _list_dates(entries, signed)),
                    "start": tell_starts(term, list_within(entries, term)),
                }
                for rule, text in told.items():
                    if text:
                        finding = Finding(study=study, rule=rule, text=text)
                        yield Breach(accord=signed.digest, finding=finding)


def _list_dates(entries: Sequence[Entry], signed: Signed) -> list[datetime]:
    """Return when the ledger says that it recorded its own signature."""
    study = entries[0].hash
    return [
        time_of(entry)
        for entry, fact in lines_of(entries, AccordEntry)
        if fact.digest == signed.digest and study in fact.signed
    ]
