"""Evidence of a party: signed heads, the entries that they cover, and its compute statements.

It is a single JSON file. Whoever has the party's public key can check it; nothing else is needed.
The entries of a window stand there whole, so the other side reads them: in a pause these are few.
Without an accord it holds one signed head: enough to be proposed an accord.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from configs.build import parse, strict_json
from configs.entries import (
    AccordEntry,
    BeatEntry,
    Entry,
    StudyEntry,
    by_entry,
    lines_of,
    unflatten,
)
from configs.errors import BadInput, VerificationFailed
from loop.accord.terms import Signed
from sandbox.canonical import canonical, digest
from sandbox.chain import checked
from sandbox.decision import policy
from sandbox.files import read_lines
from sandbox.foreign import read_file
from sandbox.heads import check_signature, open_ledger, places

FORM = "urn:heirloop:accord-evidence:1"
MOST_BYTES, MOST_ENTRIES = 32_000_000, 50_000


@dataclass(frozen=True, slots=True, kw_only=True)
class _File:
    """The file, as it is read; nothing of it is believed yet."""

    evidence: str
    accord: str
    study: str
    public: str
    name: str
    heads: tuple[dict[str, Any], ...]
    entries: tuple[dict[str, Any], ...]
    compute: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """A party's evidence. Every entry is covered by a head that its key signed."""

    accord: str
    "digest of the accord; empty: none"
    study: str
    "root of the party"
    public: str
    "public half of its key, hex"
    name: str
    "name of its study, for people"
    heads: dict[int, str]
    "number of an entry -> its hash, as signed"
    signed_heads: dict[int, dict[str, Any]]
    "number of an entry -> the signed head itself"
    segments: tuple[tuple[Entry, ...], ...]
    "runs of entries without a gap, in order"
    compute: tuple[str, ...]
    "envelopes of compute statements, not checked yet"

    @property
    def entries(self) -> Iterator[Entry]:
        """Every fact, in order."""
        return (entry for segment in self.segments for entry in segment)

    @property
    def last(self) -> Entry | None:
        """The newest fact."""
        return self.segments[-1][-1] if self.segments else None

    def beats(self) -> Iterator[tuple[Entry, BeatEntry]]:
        """Yield the beats of this accord."""
        return (pair for pair in lines_of(self.entries, BeatEntry) if pair[1].accord == self.accord)


def time_of(entry: Entry) -> datetime:
    """Return the time that an entry gives itself."""
    return datetime.fromisoformat(entry.time)


def write(folder: Path, signed: Signed | None, compute: Sequence[str] = ()) -> bytes:
    """Return a run's evidence on an accord; without one, its newest signed head alone.

    Raises VerificationFailed where no signed head covers what must be shown.
    """
    entries = open_ledger(folder).entries()
    root = cast(StudyEntry, entries[0].fact)
    lines = read_lines(places(folder, entries[0].hash)[0])
    heads = {head["sequence"]: head for head in map(json.loads, lines)}
    shown = _select(entries, heads, signed)
    numbers = {entry.sequence for entry in shown}
    return canonical(
        {
            "evidence": FORM,
            "accord": signed.digest if signed else "",
            "study": entries[0].hash,
            "public": root.checkpoint_key,
            "name": policy(entries).config.study.name,
            "heads": [head for number, head in heads.items() if number in numbers],
            "entries": [unflatten(facts) for facts in by_entry(shown)],
            "compute": list(compute),
        }
    )


def _select(
    entries: list[Entry], heads: dict[int, dict[str, Any]], signed: Signed | None
) -> list[Entry]:
    """Return the entries to show: signatures and beats, and each window from the signed head
    before it to the first signed head after it.
    """
    headed = [entry for entry in entries if entry.sequence in heads]
    if not headed:
        raise VerificationFailed(
            "the run has no signed head yet; run it, or give an order as the holder of its secret"
        )
    last = headed[-1].sequence
    if signed is None:
        return [entry for entry in entries if entry.sequence == last]
    own = [entry for entry, fact in lines_of(entries, AccordEntry) if fact.digest == signed.digest]
    if not own:
        raise VerificationFailed(
            "this run has not signed that accord; `heirloop accord sign RUN FILE` does"
        )
    numbers = {entry.sequence for entry in own} | {
        entry.sequence
        for entry, fact in lines_of(entries, BeatEntry)
        if fact.accord == signed.digest
    }
    for term in signed.accord.terms:
        first, until = term.window
        before = [one.sequence for one in headed if time_of(one) <= first]
        after = [one.sequence for one in headed if time_of(one) >= until]
        if before and time_of(headed[-1]) > first:
            begin = max(before[-1], own[0].sequence)
            numbers.update(range(begin, (after[0] if after else last) + 1))
    return [entry for entry in entries if entry.sequence in numbers and entry.sequence <= last]


def load(path: Path) -> Evidence:
    """Return the evidence in a file; raises BadInput where there is none to read."""
    return read(read_bytes(path, MOST_BYTES))


def read_bytes(path: Path, most: int) -> bytes:
    """Return the bytes of a file that a person named; raises BadInput."""
    try:
        return read_file(path, most, follow=True)
    except OSError as error:
        raise BadInput(f"{str(path)[:200]!r} cannot be read ({error.strerror})") from None


def read(data: bytes) -> Evidence:
    """Return evidence whose heads, chain and signatures hold; raises VerificationFailed."""
    try:
        file = parse(_File, strict_json(data, MOST_BYTES))
        key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(file.public))
    except (BadInput, ValueError) as error:
        raise VerificationFailed(f"this is no evidence of a party: {str(error)[:200]}") from None
    if file.evidence != FORM or len(file.entries) > MOST_ENTRIES:
        raise VerificationFailed("this is no evidence of a party: it has another form")
    heads = _read_heads(file, key)
    segments = tuple(_read_segments(file.entries))
    for segment in segments:
        for entry in segment:
            if heads.get(entry.sequence, entry.hash) != entry.hash:
                raise VerificationFailed(f"entry {entry.sequence} is not the one that was signed")
        need_covered(segment, heads)
    return Evidence(
        accord=file.accord,
        study=file.study,
        public=file.public,
        name=file.name[:200],
        heads=heads,
        signed_heads={head["sequence"]: head for head in file.heads},
        segments=segments,
        compute=file.compute,
    )


def need_covered(segment: Sequence[Entry], heads: dict[int, str]) -> None:
    """Raise VerificationFailed unless a signed head covers the last entry of a segment."""
    if segment[-1].sequence not in heads:
        raise VerificationFailed(
            f"no signed head covers entry {segment[-1].sequence} of the evidence"
        )


def _read_heads(file: _File, key: Ed25519PublicKey) -> dict[int, str]:
    heads = dict[int, str]()
    for head in file.heads:
        heads |= read_head(head, key, file.study)
    return heads


def read_head(head: dict[str, Any], key: Ed25519PublicKey, study: str) -> dict[int, str]:
    """Return number -> hash of a signed head of a study; raises VerificationFailed."""
    unsigned = {name: value for name, value in head.items() if name != "signature"}
    try:
        check_signature(key, bytes.fromhex(head["signature"]), unsigned)
        number, name, root = head["sequence"], head["head"], head["study"]
        right = isinstance(number, int) and isinstance(name, str) and root == study
    except (InvalidSignature, KeyError, ValueError, TypeError):
        right, number, name = False, 0, ""
    if not right:
        raise VerificationFailed("a head of the evidence is not signed by this study")
    return {number: name}


def _read_segments(rows: Iterable[dict[str, Any]]) -> Iterator[tuple[Entry, ...]]:
    """Yield the runs of entries without a gap; each entry links to the one before it."""
    segment: list[Entry] = []
    number = 0
    for row in rows:
        try:
            sequence, data = int(row["sequence"]), canonical(row)
        except (KeyError, ValueError, TypeError):
            raise VerificationFailed("the evidence holds something that is no entry") from None
        if sequence <= number:
            raise VerificationFailed(f"entry {sequence} of the evidence is out of order")
        joined = bool(segment) and sequence == number + 1
        if segment and not joined:
            yield tuple(segment)
            segment = []
        previous = segment[-1].hash if segment else str(row.get("previous"))
        segment += checked(sequence, digest(data), data, previous, sequence)
        number = sequence
    if segment:
        yield tuple(segment)


def goes_back(segments: Sequence[Sequence[Entry]]) -> Entry | None:
    """Return the first entry that gives itself an earlier time than one before it."""
    entries = [entry for segment in segments for entry in segment]
    return next((b for a, b in pairwise(entries) if time_of(b) < time_of(a)), None)
