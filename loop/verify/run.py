"""`heirloop verify`: recompute a run from its bytes. Raises VerificationFailed with the entry.

A failure is recorded as an incident of the run. Only a broken chain or broken heads are not:
writing on would then cover up a cut.
"""

import gc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from sqlalchemy.exc import DatabaseError

from configs.build import plain, strict_json
from configs.entries import (
    AccountEntry,
    AcknowledgementEntry,
    AmendedEntry,
    AnswerEntry,
    CallEntry,
    DataEntry,
    DoorEntry,
    Entry,
    HandedEntry,
    HistoryEntry,
    IncidentEntry,
    InvalidEntry,
    JobEntry,
    LimitEntry,
    NotebookEntry,
    PlanEntry,
    PruneEntry,
    QuestionsEntry,
    ReviewedEntry,
    ServedEntry,
    StudyEntry,
    facts_of,
    lines_of,
)
from configs.errors import Stopped, VerificationFailed
from configs.records import Amount
from loop.accord.acts import note_breaches
from loop.accord.own import Breach
from loop.facts.reader import FactsReader
from loop.verify import heads, recompute
from loop.verify.accords import check_accords
from loop.verify.decisions import rederive
from loop.verify.faults import check_faults
from loop.verify.fork import check_fork
from loop.verify.line import check_line
from loop.verify.origins import check_origins
from loop.verify.programs import check_programs
from loop.verify.reviews import check_reviews
from loop.verify.selections import check_selections
from loop.verify.state import Replay
from sandbox import control, incident, keys
from sandbox.budget import Balances, balances
from sandbox.charges import RESERVING, SETTLING, reservation, settlement
from sandbox.decision import policy
from sandbox.foreign import LINES_BYTES
from sandbox.heads import open_ledger
from sandbox.ledger import Ledger
from sandbox.remote_store import open_store
from sandbox.store import Store

REASON = 300
"""Characters of a reason for recognising a failure as recorded."""


def verify_and_record(folder: Path, copy: Path | None = None) -> dict[str, Any]:
    """Verify a run, and record a failure in it, and breaches of its accords."""
    try:
        counts = verify(folder, copy)
    except VerificationFailed as error:
        where = record(folder, str(error), copy)
        raise VerificationFailed(f"{error}; {where}") from None
    breaches: list[Breach] = counts["breaches"]
    for one in breaches:
        with suppress(VerificationFailed, DatabaseError, Stopped):
            note_breaches(open_ledger(folder), one.accord, [one.finding])
    return counts


def record(folder: Path, reason: str, copy: Path | None = None) -> str:
    """Open an incident for a failed verification, once per reason; return its place.

    The place is empty where the record must not be written on.
    """
    with suppress(VerificationFailed, DatabaseError, Stopped):
        ledger, _ = heads.open_verified(folder, copy)
        ledger.before = lambda: None  # its heads were checked whole; rows stay for the next look
        with ledger.transaction() as txn:
            for fact in facts_of(txn.entries(), IncidentEntry):
                noted = fact.incident
                if reason[:REASON] in (noted.root_cause[:REASON], noted.containment):
                    return f"recorded as {noted.id}"
            entry = incident.report(
                txn,
                "failed verification",
                kind="incident",
                severity="high",
                detector="verify",
                root_cause=reason,
                harm_potential="what is concluded from this run may be wrong",
            )
            (fact,) = facts_of([entry], IncidentEntry)
            return f"recorded as {fact.incident.id}"
    place = incident.report_outside(control.read_root(folder), folder, reason)
    return f"not recorded in the run, whose record may itself be what fails; recorded in {place}"


def verify(folder: Path, copy: Path | None = None) -> dict[str, Any]:
    """Check a run's chain, signed heads, balances, decisions, stored bytes and scores.

    Scores need the study secret. `copy` is somebody's own copy of the heads. Writes nothing.
    """
    with _without_collector():
        return _verify(folder, copy)


@contextmanager
def _without_collector() -> Iterator[None]:
    """Keep Python's collector of cycles out: what is read stays to the end, and has no cycles.

    Looking through it again and again took a third of the time.
    """
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()


def _verify(folder: Path, copy: Path | None) -> dict[str, Any]:
    ledger, signed, rests = heads.open_signed(folder, copy)
    entries, store = ledger.entries(), open_store(folder)
    heads.check_end(folder, entries, max((max(place, default=0) for place in signed), default=0))
    check_fork(entries)
    replayed = rederive(ledger, store, rests)
    _check_balances(ledger, entries, replayed)
    _check_acknowledgements(entries)
    dropped = read_dropped(entries, store)
    for blob in dict.fromkeys(blob for entry in entries for blob in list_blobs(entry)):
        if blob not in dropped or store.has(blob):
            store.get(blob)
    facts = FactsReader(ledger).facts()
    for bundle in dict.fromkeys(plan.bundle for plan in facts.plans.values()):
        store.get_bundle(bundle)
    recompute.check_proposals(store, facts)
    placed = {fact.digest: fact.origin for fact in facts_of(entries, PlanEntry) if fact.origin}
    check_origins(store, facts, policy(entries).config, placed)
    secret = recompute.find_secret(entries)
    check_selections(entries, secret)
    check_programs(entries, store, secret)
    check_faults(entries, facts, secret)
    check_line(entries, store, secret)
    breaches = check_accords(entries)
    check_reviews(entries, facts, store)
    return {
        "entries": entries[-1].sequence,
        "checkpoints": [len(place) for place in signed],
        "plans": len(facts.plans),
        "jobs": sum(entry.kind == "start" for entry in entries),
        "scores": recompute.check_scores(store, facts, ledger),
        "incidents outside the run": len(incident.outside(entries[0].hash, folder)),
        "findings": replayed.findings,
        "breaches": breaches,
        "dropped files": len(dropped),
    }


def read_dropped(entries: Sequence[Entry], store: Store) -> set[str]:
    """Return the digests of the files that people dropped from the store (loop/verify/prune.py)."""
    lists = [store.get(fact.blobs) for fact in facts_of(entries, PruneEntry)]
    return {name for data in lists for name in strict_json(data, limit=LINES_BYTES)}


def _check_balances(ledger: Ledger, entries: Sequence[Entry], replayed: Replay) -> None:
    """Raise VerificationFailed unless rows, entries and decided limits agree on every account."""
    computed, rows = replayed.balances, ledger.read(balances)
    for name in {**rows, **computed}:
        if rows.get(name) != computed.get(name):
            raise VerificationFailed(
                f"the account {name} does not match the entries up to entry"
                f" {_find_last(entries, name)}; the entries are the authority"
            )
    _check_limits(computed, replayed.limits)


def _check_limits(computed: Balances, limits: dict[str, Amount]) -> None:
    for name, cells in computed.items():
        limit = {resource: cell["limit"] for resource, cell in cells.items()}
        if limit != plain(limits.get(name)):
            raise VerificationFailed(f"the account {name} has a limit that nobody decided on")


MOVING = {AccountEntry.kind, LimitEntry.kind} | RESERVING | SETTLING
"""Kinds of entries that change an account."""


def _find_last(entries: Sequence[Entry], account: str) -> int:
    """Return the last entry with a change to an account; 0: no such entry."""
    last = 0
    for entry in entries:
        names = list[str]()
        if entry.kind in MOVING:
            fact = entry.fact
            names = [fact.name] if isinstance(fact, AccountEntry | LimitEntry) else []
            moves = (reservation(fact), settlement(fact))
            names += [name for move in moves if move for name in move.accounts]
        if account in names:
            last = entry.sequence
    return last


def _check_acknowledgements(entries: Sequence[Entry]) -> None:
    for entry, fact in lines_of(entries, AcknowledgementEntry):
        public = fact.acknowledgement.public
        payload = keys.verify(fact.envelope.encode(), public, "acknowledgement")
        if payload != plain(fact.acknowledgement):
            raise VerificationFailed(
                f"entry {entry.sequence}: the acknowledgement does not match what was signed"
            )


BLOBS = (
    "job",
    "study",
    "amended",
    "plan",
    "invalid",
    "answer",
    "call",
    "data",
    "questions",
    "notebook",
    "history",
    "handed",
    "door",
    "served",
    "reviewed",
)
"""Kinds of entries with names of stored bytes; the others are not decoded for them."""


def list_blobs(entry: Entry) -> list[str]:
    """Return the digests of the stored bytes named in an entry."""
    return [blob for blob in _name_blobs(entry) if blob] if entry.kind in BLOBS else []


def _name_blobs(entry: Entry) -> list[str]:
    """Return the digests of stored bytes, empty without bytes: an empty answer has no bytes."""
    match entry.fact:
        case JobEntry(result=result):
            return [*result.outputs.values(), result.log, result.receipt]
        case StudyEntry(config=config) | AmendedEntry(config=config):
            return [pin for _, pin in config.files().values()]
        case PlanEntry(plan=plan):
            return [plan.proposal]
        case InvalidEntry(proposal=proposal):
            return [proposal]
        case AnswerEntry(answer=reply):
            return [reply.text]
        case CallEntry(call=call):
            return [call.body]
        case DoorEntry(transcript=transcript):
            return [transcript]
        case ServedEntry(log=log):
            return [log]
        case ReviewedEntry(shown=shown):
            return [shown]
        case (
            DataEntry() | QuestionsEntry() | NotebookEntry() | HistoryEntry() | HandedEntry()
        ) as fact:
            return [fact.digest]
    return []
