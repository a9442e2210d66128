"""Signed heads of a ledger: a cut tail is found, since a head tells how many entries there were.

A head is `{sequence, head, count, study, signature}`, signed under a label of its own. Heads go to
the run and to a second place outside it.
"""

import json
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from configs.entries import Entry
from configs.errors import VerificationFailed
from sandbox.canonical import canonical
from sandbox.foreign import LINES_BYTES, read_file
from sandbox.ledger import Ledger

LABEL = b"heirloop-checkpoint:"
"""Prefix of the signed bytes, so that a signature given for a head counts for nothing else."""
FIELDS = ["count", "head", "sequence", "study"]


def checkpoint(ledger: Ledger, key: Ed25519PrivateKey, places: tuple[Path, ...]) -> None:
    """Append a signed head to each place.

    A transaction excludes other writers, so that heads stand in the order of entries.
    """
    with ledger.transaction():
        last = ledger.head()
        assert last
        head = {
            "sequence": last.sequence,
            "head": last.hash,
            "count": last.sequence,
            "study": ledger.root(),
        }
        line = canonical({**head, "signature": key.sign(LABEL + canonical(head)).hex()})
        for place in places:
            place.parent.mkdir(parents=True, exist_ok=True)
            with place.open("ab") as file:
                file.write(line + b"\n")


def check_checkpoints(entries: list[Entry], public: str, place: Path) -> list[int]:
    """Check every signed head of a file against the entries; return their sequences.

    Raises VerificationFailed for a bad signature, another history, or entries that are missing at
    the end.
    """
    key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(public))
    lines = read_lines(place)
    sequences: list[int] = []
    for number, line in enumerate(lines, 1):
        head = _read_head(key, line, f"checkpoint {number} of {place.name}")
        _check_head(entries, head, number)
        before = sequences[-1] if sequences else 1
        if (head["count"], sorted(head)) != (head["sequence"], FIELDS) or head["sequence"] < before:
            raise VerificationFailed(
                f"checkpoint {number} of {place.name} counts {head['count']} entries to entry"
                f" {head['sequence']}, after {sequences[-1:]}"
            )
        sequences.append(head["sequence"])
    return sequences


def read_lines(place: Path) -> list[bytes]:
    """Return the lines of a file of signed heads, none where there is no such file."""
    try:
        return read_file(place, LINES_BYTES).splitlines()
    except FileNotFoundError:
        return []
    except OSError as error:
        raise VerificationFailed(f"{place} cannot be read: {error.strerror}") from None


def _read_head(key: Ed25519PublicKey, line: bytes, name: str) -> dict[str, Any]:
    try:
        head: dict[str, Any] = json.loads(line)
        signature = bytes.fromhex(head.pop("signature"))
        check_signature(key, signature, head)
    except Exception:
        raise VerificationFailed(f"{name} is not signed by this study") from None
    return head


def _check_head(entries: list[Entry], head: dict[str, Any], number: int) -> None:
    sequence = head["sequence"]
    if sequence > len(entries):
        raise VerificationFailed(
            f"entries {len(entries) + 1} to {sequence} are missing: checkpoint {number} signed"
            f" {sequence} entries"
        )
    if entries[sequence - 1].hash != head["head"] or entries[0].hash != head["study"]:
        raise VerificationFailed(f"entry {sequence} is not the one that checkpoint {number} signed")


def check_signature(key: Ed25519PublicKey, signature: bytes, head: dict[str, Any]) -> None:
    """Raise unless a signature was given for this very head."""
    key.verify(signature, LABEL + canonical(head))
