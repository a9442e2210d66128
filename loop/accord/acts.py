"""Acts of a party on its own run: propose, sign, hear the other side, give evidence, note breaches.

An accord only takes away: it stops, pauses or slows. So it takes no quorum, as `heirloop stop`
takes none; going on earlier needs `heirloop resume` and its decision, and is a breach all the same.
"""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from configs.entries import (
    AccordEntry,
    BeatEntry,
    Entry,
    Heard,
    IncidentEntry,
    StudyEntry,
    lines_of,
)
from configs.errors import BadInput
from loop.accord import check, evidence, terms
from loop.accord.case import Case, Finding, gather, read_heads
from loop.accord.evidence import Evidence, time_of
from loop.accord.terms import Party, Signed, Term
from loop.facts import statement
from sandbox import incident, intoto, keys
from sandbox.canonical import canonical
from sandbox.files import replace_file
from sandbox.heads import checkpoint, open_ledger, places
from sandbox.ledger import Ledger

WHO = "accord"
"""The name under which an accord orders and reports."""


def introduce(folder: Path) -> bytes:
    """Sign a run's head, and return evidence that holds nothing else: enough to be proposed to."""
    book = open_ledger(folder)
    book.before()  # nothing is signed over an older ledger
    checkpoint(book, open_key(folder), places(folder, book.root()))
    return evidence.write(folder, None)


def show(folder: Path) -> Party:
    """Return a run as a party, at its newest entry."""
    return as_party(evidence.read(introduce(folder)))


def as_party(own: Evidence) -> Party:
    """Return the party that gave evidence; raises BadInput where it shows no head."""
    if own.last is None:
        raise BadInput("the evidence of the other side holds no signed head; ask for another")
    return Party(
        name=own.name,
        study=own.study,
        public=own.public,
        sequence=own.last.sequence,
        head=own.last.hash,
    )


def propose(
    folder: Path,
    other: Evidence,
    owed: Sequence[tuple[str, terms.What, int]],
    window: tuple[datetime, datetime],
    heads_seconds: int,
    clock_seconds: int,
    why: str,
) -> Signed:
    """Return an accord with another party, signed by this run and recorded in it.

    `owed` names roots with what they owe, and jobs an hour for a slow. Raises BadInput for terms
    that nobody can keep.
    """
    if window[0] <= datetime.now(UTC):
        raise BadInput(f"its window began at {window[0].isoformat()}; an accord looks ahead alone")
    since, until = (terms.write_time(time) for time in window)
    statement_ = terms.make(
        (show(folder), as_party(other)),
        [Term(study=s, what=w, per_hour=n, since=since, until=until) for s, w, n in owed],
        heads_seconds,
        clock_seconds,
        why,
    )
    envelope = intoto.sign(statement_, open_key(folder))
    return record(folder, terms.read(envelope))


def sign(folder: Path, envelope: bytes) -> Signed:
    """Return an accord with this run's signature, recorded in it; signing twice is signing once.

    Raises BadInput for an accord of other studies, of an unknown head of this one, and of a window
    that has begun.
    """
    signed = terms.read(envelope)
    book = open_ledger(folder)
    own = signed.accord.party(book.root())
    if own is None:
        raise BadInput(f"{folder} is no party of that accord")
    root = cast(StudyEntry, book.entries()[0].fact)
    known = {entry.sequence: entry.hash for entry in book.entries()}
    if own.public != root.checkpoint_key or known.get(own.sequence) != own.head:
        raise BadInput("the accord names another key or head of this run; ask for another")
    if own.study not in signed.signed:
        begun = [term for term in signed.accord.terms if datetime.now(UTC) >= term.window[0]]
        if begun:
            raise BadInput(f"its window began at {begun[0].since}; an accord looks ahead alone")
        statement_ = intoto.read(signed.envelope, terms.PREDICATE)
        signed = terms.read(intoto.sign(statement_, open_key(folder), signed.envelope))
    return record(folder, signed)


def open_key(folder: Path) -> Ed25519PrivateKey:
    root = cast(StudyEntry, open_ledger(folder).entries()[0].fact)
    return keys.signer(keys.load_secret(root.secret))


def record(folder: Path, signed: Signed) -> Signed:
    """Record an accord where it carries a signature that was not recorded yet."""
    book = open_ledger(folder)
    entry = AccordEntry(
        digest=signed.digest, envelope=signed.envelope.decode(), signed=signed.signed
    )
    with book.transaction() as txn:
        known = [f for _, f in lines_of(txn.entries(), AccordEntry) if f.digest == signed.digest]
        if all(set(entry.signed) - set(fact.signed) for fact in known):
            txn.append(entry)
    return signed


def list_signed(entries: Iterable[Entry]) -> list[Signed]:
    """Return the accords that a run recorded, each with most signatures, in order."""
    found = dict[str, Signed]()
    for _, fact in lines_of(entries, AccordEntry):
        signed = terms.read(fact.envelope.encode())
        if signed.digest not in found or signed.whole:
            found[signed.digest] = signed
    return list(found.values())


def find_signed(folder: Path, prefix: str = "") -> Signed:
    """Return a run's accord by the start of its digest, by default its newest; raises BadInput."""
    known = list_signed(open_ledger(folder).entries())
    found = [one for one in known if one.digest.startswith(prefix)]
    if not found or (prefix and len(found) > 1):
        names = ", ".join(one.digest[:12] for one in known) or "none"
        raise BadInput(f"ACCORD is {prefix[:80]!r}; this run has {names}")
    return found[-1]


def beat(folder: Path, signed: Signed, heard: Sequence[Evidence] = ()) -> None:
    """Write a beat: this run is there, and has heard these parties, or what it heard before.

    Raises BadInput for evidence that is no newer than what was heard: it was played before.
    """
    book = open_ledger(folder)
    before = {
        one.study: one
        for _, fact in lines_of(book.entries(), BeatEntry)
        for one in fact.heard
        if fact.accord == signed.digest
    }
    for own in gather(signed, heard).evidence.values():
        quoted = _quote(own)
        last = before.get(own.study)
        if own.study == book.root():
            raise BadInput("that is this run's own evidence; hear the other side's")
        # Another entry of the same number is news: the other side has a second ledger.
        old = last and quoted.sequence == last.sequence and quoted.head == last.head
        if last and (quoted.sequence < last.sequence or old):
            raise BadInput(
                f"the evidence of {own.name!r} ends at entry {quoted.sequence}, which was heard"
                " before; ask for a newer one"
            )
        before[own.study] = quoted
    book.append(BeatEntry(accord=signed.digest, heard=tuple(before.values())))


def _quote(own: Evidence) -> Heard:
    last = own.last
    if last is None:
        raise BadInput(f"the evidence of {own.name!r} holds no entry")
    return Heard(
        study=own.study,
        sequence=last.sequence,
        head=last.hash,
        time=last.time,
        signed=canonical(own.signed_heads[last.sequence]).decode(),
    )


def give_evidence(folder: Path, signed: Signed) -> bytes:
    """Return this run's evidence up to now, with a compute statement of each window that ended."""
    book = open_ledger(folder)
    statements = list[str]()
    for term in signed.accord.terms:
        if term.study == book.root() and time_of(book.entries()[-1]) > term.window[1]:
            statements.append(_state(folder, book, term))
    return evidence.write(folder, signed, statements)


def _state(folder: Path, book: Ledger, term: Term) -> str:
    """Return the compute statement of a window; it is made once and lies in the run."""
    path = folder / "accord" / f"compute-{term.since}-{term.until}.json".replace(":", "")
    if not path.is_file():
        path.parent.mkdir(exist_ok=True)
        replace_file(path, statement.publish([folder], term.since, term.until))
    return path.read_text()


def judge(folder: Path, case: Case) -> list[Finding]:
    """Return the breaches of a case, and open an incident of this run for each, once."""
    findings = check.find_breaches(case)
    book = open_ledger(folder)
    if findings and case.accord.party(book.root()) is None:
        raise BadInput(f"{folder} is no party of that accord")
    note_breaches(book, case.digest, findings)
    return findings


def title_breach(accord: str, study: str, rule: str) -> str:
    """Return the title of the incident of a breach; a breach of a rule by a party has one."""
    return f"{begin_title(accord)}{study[:12]}: {rule}"


def begin_title(accord: str) -> str:
    """Return how the titles of an accord's breaches begin."""
    return f"accord {accord[:12]} broken by "


def note_breaches(book: Ledger, accord: str, findings: Sequence[Finding]) -> None:
    """Open an incident for each breach of an accord, once."""
    with book.transaction() as txn:
        entries = txn.entries()
        told = {fact.incident.title for _, fact in lines_of(entries, IncidentEntry)}
        chain = [e for e, fact in lines_of(entries, AccordEntry) if fact.digest == accord]
        for one in findings:
            title = title_breach(accord, one.study, one.rule)
            if title not in told:
                told.add(title)
                incident.report(
                    txn,
                    title,
                    kind="incident",
                    severity="high",
                    detector=WHO,
                    root_cause=one.text[:2000],
                    chain=tuple(entry.sequence for entry in chain),
                    containment="none: files show a breach and stop nothing",
                )


def read_further_heads(paths: Iterable[Path], signed: Signed) -> list[tuple[str, int, str]]:
    """Return the signed heads in files of JSON lines; raises BadInput, VerificationFailed."""
    data = [evidence.read_bytes(path, evidence.MOST_BYTES) for path in paths]
    return [head for one in data for head in read_heads(one, signed.accord)]
