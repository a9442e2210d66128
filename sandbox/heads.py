"""Signed heads of a ledger: a cut tail is found, since a head tells how many entries there were.

A head is `{sequence, head, count, study, left, signature}`, signed under a label of its own. `left`
is the rest of each account of the study (absent in heads before format 2). Heads go to the run and
to a second place outside it. A ledger that lacks a known head is not written on: it is an older
copy, or another history.
"""

import json
import threading
from collections.abc import Iterable
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any, cast

import sqlalchemy as sa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from configs.entries import Entry, StudyEntry
from configs.errors import VerificationFailed
from sandbox import budget, incident, keys, rest, rows
from sandbox.address import NAME, read_address
from sandbox.canonical import canonical
from sandbox.files import append_line, read_last_lines, read_lines
from sandbox.ledger import FILE, Ledger
from sandbox.postgres import open_server

LABEL = b"heirloop-checkpoint:"
"""Prefix of the signed bytes, so that a signature given for a head counts for nothing else."""
HASH = sa.text("SELECT hash FROM entries WHERE sequence = :sequence")
FIELDS = ["count", "head", "sequence", "study"]


def places(folder: Path, root: str) -> tuple[Path, Path]:
    """Return where signed heads go: the run, and the user's folder outside it."""
    return folder / "checkpoints.jsonl", keys.home() / "checkpoints" / f"{root}.jsonl"


def known_places(folder: Path, root: str) -> list[Path]:
    """Return where heads of a study are looked for: its places, and copies beside the second.

    A copy is an auditor's, for example, put into the user's folder as ROOT-NAME.jsonl.
    """
    inside, outside = places(folder, root)
    return [inside, outside, *sorted(outside.parent.glob(f"{root}-*.jsonl"))]


def fork_place(root: str) -> Path:
    """Return the file in the user's folder that says where a lost study goes on."""
    return keys.home() / "forks" / root


def open_ledger(
    folder: Path,
    *,
    create: bool = False,
    timeout: float = 60,
    durable: bool = True,
    loop: bool = False,
) -> Ledger:
    """Open the ledger of a run, for reading or for writing; it may lie on a server.

    Before its first write it must extend every known head, and its accounts must be those of its
    entries. After each write a head is signed where this user holds the study secret. The `loop`
    does so at its own checkpoints.
    """
    if address := read_address(folder):
        ledger, path = Ledger(open_server(address, timeout, durable, loop)), folder / NAME
    else:
        path = folder / FILE
        ledger = Ledger.file(path, create=create, timeout=timeout, durable=durable)
    if not (create or loop or ledger.root()):
        raise VerificationFailed(f"{path} has no entry; restore it from a copy of the run")
    door = Door(ledger, folder, loop)
    ledger.before, ledger.after = door.check, door.sign
    return ledger


class Door:
    """Stands before and after the writes of a run's ledger."""

    def __init__(self, ledger: Ledger, folder: Path, loop: bool) -> None:
        self._ledger, self._folder, self._loop = ledger, folder, loop
        self._lock = threading.RLock()
        self._opened = self._busy = False
        self._root: StudyEntry | None = None
        self._key: Ed25519PrivateKey | None = None

    def check(self) -> None:
        """Raise VerificationFailed for an older ledger; record it outside the run."""
        with self._lock:
            if self._busy or (self._opened and self._loop):
                return
            self._busy = True
            try:
                self._check()
            except VerificationFailed as error:
                place = incident.report_outside(self._ledger.root(), self._folder, str(error))
                raise VerificationFailed(f"{error}; nothing was written, see {place}") from None
            finally:
                self._busy = False

    def _check(self) -> None:
        if not self._ledger.root():
            need_unwritten(self._folder)
            return
        self._root = self._root or _read_root(self._ledger)
        need_extension(self._ledger, self._folder, self._root.checkpoint_key)
        if (place := fork_place(self._ledger.root())).exists():
            raise VerificationFailed(f"the study goes on elsewhere, since it was forked ({place})")
        if not self._opened:
            rows.rebuild(self._ledger)
            self._opened = True

    def sign(self) -> None:
        """Sign the head after a write, where this user holds the secret and no loop does it."""
        if self._loop or self._busy or self._root is None:
            return
        with suppress(VerificationFailed, OSError):
            self._key = self._key or keys.signer(keys.load_secret(self._root.secret))
            checkpoint(self._ledger, self._key, places(self._folder, self._ledger.root()))


def _read_root(ledger: Ledger) -> StudyEntry:
    first = ledger.entries()[0]
    if first.kind != StudyEntry.kind:
        raise VerificationFailed("the ledger does not begin with a study root")
    return cast(StudyEntry, first.fact)


def need_unwritten(folder: Path) -> None:
    """Raise VerificationFailed where a run without entries has had entries before."""
    if (folder / "checkpoints.jsonl").exists() or (folder / "store").exists():
        raise VerificationFailed(
            f"{folder} holds a run whose ledger is empty; restore it or choose another study.name"
        )


def need_extension(ledger: Ledger, folder: Path, public: str, copies: Iterable[Path] = ()) -> None:
    """Raise VerificationFailed unless a ledger holds the last head of every known place."""
    key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(public))
    names = [*known_places(folder, ledger.root()), *copies]
    ledger.read(lambda connection: _need_heads(connection, key, names, ledger.root()))


def _need_heads(
    connection: sa.Connection, key: Ed25519PublicKey, names: Iterable[Path], root: str
) -> None:
    for name in names:
        head = last_head(key, name)
        if head is None:
            continue
        stored = connection.execute(HASH, {"sequence": head["sequence"]}).scalar()
        if head["study"] != root or stored != head["head"]:
            raise VerificationFailed(
                f"the ledger is not the one that was signed: {name} holds a signed head of entry"
                f" {head['sequence']}, which this ledger lacks or has otherwise. Put the newest"
                f" ledger back; if it is lost, `heirloop fork RUN --from {head['head'][:12]} --to"
                " NEW --why REASON` goes on with the rest"
            )


def last_head(key: Ed25519PublicKey, place: Path) -> dict[str, Any] | None:
    """Return the last head of a file, None without any; raises VerificationFailed."""
    lines = read_last_lines(place)
    if not lines:
        return None
    return _read_last_head(key.public_bytes_raw(), lines[-1], f"the last checkpoint of {place}")


def last_signature(place: Path) -> str:
    """Return the signature of the last head of a file, in hex."""
    return str(json.loads(read_last_lines(place)[-1])["signature"])


def checkpoint(ledger: Ledger, key: Ed25519PrivateKey, names: tuple[Path, ...]) -> None:
    """Append a signed head to each place.

    A transaction excludes other writers, so that heads stand in the order of entries. Raises
    VerificationFailed, with nothing signed, where a place holds a head that the ledger lacks.
    """
    with ledger.transaction() as txn:
        last = ledger.head()
        assert last
        _need_heads(txn.connection, key.public_key(), names, ledger.root())
        head = {
            "sequence": last.sequence,
            "head": last.hash,
            "count": last.sequence,
            "study": ledger.root(),
            "left": rest.left(budget.balances(txn.connection)),
        }
        line = canonical({**head, "signature": key.sign(LABEL + canonical(head)).hex()})
        for place in names:
            append_line(place, line)


def check_checkpoints(entries: list[Entry], public: str, place: Path) -> list[int]:
    """Check every signed head of a file against the entries; return their sequences.

    Raises VerificationFailed for a bad signature, another history, or entries that are missing at
    the end.
    """
    key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(public))
    hashes = {entry.sequence: entry.hash for entry in entries}
    sequences: list[int] = []
    for number, line in enumerate(read_lines(place), 1):
        head = _read_head(key, line, f"checkpoint {number} of {place.name}")
        _check_head(entries, hashes, head, number)
        before = sequences[-1] if sequences else 1
        if head["count"] != head["sequence"] or head["sequence"] < before:
            raise VerificationFailed(
                f"checkpoint {number} of {place.name} counts {head['count']} entries to entry"
                f" {head['sequence']}, after {sequences[-1:]}"
            )
        sequences.append(head["sequence"])
    return sequences


@lru_cache(maxsize=8)
def _read_last_head(public: bytes, line: bytes, name: str) -> dict[str, Any]:
    """Read a head as `_read_head` does; the same bytes under the same key are checked once."""
    return _read_head(Ed25519PublicKey.from_public_bytes(public), line, name)


def _read_head(key: Ed25519PublicKey, line: bytes, name: str) -> dict[str, Any]:
    try:
        head: dict[str, Any] = json.loads(line)
        signature = bytes.fromhex(head.pop("signature"))
        check_signature(key, signature, head)
        assert sorted({*head} - {"left"}) == FIELDS
    except Exception:
        raise VerificationFailed(f"{name} is not signed by this study") from None
    return head


def _check_head(
    entries: list[Entry], hashes: dict[int, str], head: dict[str, Any], number: int
) -> None:
    sequence, last = head["sequence"], entries[-1].sequence
    if sequence > last:
        raise VerificationFailed(
            f"entries {last + 1} to {sequence} are missing: checkpoint {number} signed"
            f" {sequence} entries"
        )
    if hashes.get(sequence) != head["head"] or entries[0].hash != head["study"]:
        raise VerificationFailed(f"entry {sequence} is not the one that checkpoint {number} signed")


def check_signature(key: Ed25519PublicKey, signature: bytes, head: dict[str, Any]) -> None:
    """Raise unless a signature was given for this very head."""
    key.verify(signature, LABEL + canonical(head))
