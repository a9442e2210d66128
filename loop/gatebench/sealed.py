"""Sealed packs: an organisation's own attacks, opened by signature, every opening counted.

A sealed file holds families that nobody reads before they are played. Its key lies in the owner's
folder, and a bench is opened with a signature of somebody whom the file names. Openings stand in a
chain in the owner's folder, and the bench tells how many there were: a pack that was opened often
is a pack that gates may have been fitted to. Example: `heirloop gatebench seal own.jsonl --opener
ada`, then `heirloop gatebench open own.sealed --key ada gate=rule`.
"""

import base64
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.fernet import Fernet, InvalidToken
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from configs.build import need, parse, strict_json
from configs.errors import BadInput, NeedsHuman, VerificationFailed
from evals.gatebench.pack import read_pack
from sandbox import keys
from sandbox.canonical import canonical, digest
from sandbox.files import replace_file
from sandbox.foreign import read_file

SUFFIX = ".sealed"
MOST_BYTES = 100_000_000
KIND = "opening"
"""Kind of the signed envelope of an opening."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """The open part of a sealed file."""

    format: int
    "1"
    pack: str
    "sha256 of the families' bytes"
    families: int
    "how many there are"
    openers: dict[str, str]
    "name -> public key (hex) of those who may open it"
    content: str
    "families and measurements, encrypted"


def is_sealed(name: str) -> bool:
    """Tell whether a pack's name is that of a sealed file."""
    return name.endswith(SUFFIX)


def seal(pack: Path, openers: Sequence[str], to: Path) -> Head:
    """Write a pack with its measurements as a sealed file; its key goes to the owner's folder.

    Raises BadInput for a wrong pack, and for an opener without a key here.
    """
    need(bool(openers), "--opener", list(openers), "a name of `heirloop keys list`")
    data = _read(pack)
    families = read_pack(data, str(pack))
    harm = pack.with_name(f"{pack.stem}.harm.jsonl")
    halves = {half["name"]: half["public"] for half in keys.public_keys()}
    unknown = sorted(set(openers) - halves.keys())
    need(not unknown, "--opener", unknown, f"some of {', '.join(sorted(halves)) or 'no key yet'}")
    name = digest(data)
    inside = {"pack": _encode(data), "harm": _encode(_read(harm) if harm.is_file() else b"")}
    head = Head(
        format=1,
        pack=name,
        families=len(families),
        openers={opener: halves[opener] for opener in openers},
        content=Fernet(_keep_key(name)).encrypt(canonical(inside)).decode(),
    )
    replace_file(to, canonical(head))
    return head


def _keep_key(name: str) -> bytes:
    """Return the key of a pack; make it, for its owner alone, where there is none."""
    path = _folder() / f"{name}.key"
    if not path.exists():
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(Fernet.generate_key())
    return path.read_bytes()


def read_head(name: str) -> Head:
    """Return the open part of a sealed file; raises BadInput for another file."""
    head = parse(Head, strict_json(_read(Path(name)), MOST_BYTES), name)
    need(head.format == 1, "format", head.format, "1")
    return head


def open_for(name: str, bench: str, opener: str, key: Ed25519PrivateKey) -> int:
    """Record a signed opening of a sealed pack for a bench; return how many there are now.

    Raises VerificationFailed for a key that the file does not name. A bench is opened once.
    """
    head = read_head(name)
    if head.openers.get(opener) != keys.public_hex(key):
        raise VerificationFailed(f"{name} does not name the key of {opener!r} as one that opens it")
    past = list_openings(head)
    if any(one["bench"] == bench for one in past):
        return len(past)
    opening = {
        "pack": head.pack,
        "bench": bench,
        "number": len(past) + 1,
        "opener": opener,
        "before": digest(past[-1]) if past else head.pack,
        "at": int(time.time()),
    }
    with _log(head).open("ab") as file:
        file.write(keys.sign(opening, key, KIND) + b"\n")
    return len(past) + 1


def list_openings(head: Head) -> list[dict[str, Any]]:
    """Return every opening of a pack on this machine; raises VerificationFailed for a broken
    chain.
    """
    path, found = _log(head), list[dict[str, Any]]()
    for line in path.read_bytes().splitlines() if path.is_file() else ():
        claimed = keys.payload_unchecked(line)
        public = head.openers.get(str(claimed.get("opener")), "")
        opening = keys.verify(line, public, KIND)
        before = digest(found[-1]) if found else head.pack
        if (opening["number"], opening["before"]) != (len(found) + 1, before):
            raise VerificationFailed("the openings of the sealed pack do not follow each other")
        found.append(opening)
    return found


def read_opened(name: str, bench: str) -> tuple[bytes, bytes]:
    """Return families and measurements of a sealed pack that was opened for a bench.

    Raises NeedsHuman where it was not, VerificationFailed for other bytes or without its key.
    """
    head = read_head(name)
    if all(one["bench"] != bench for one in list_openings(head)):
        raise NeedsHuman(
            f"{name} is sealed; `heirloop gatebench open {name} --key NAME` with the overrides of"
            f" this bench opens it, by one of {', '.join(head.openers)}"
        )
    try:
        key = (_folder() / f"{head.pack}.key").read_bytes()
        inside = strict_json(Fernet(key).decrypt(head.content.encode()), MOST_BYTES)
        data, harm = (base64.b64decode(inside[part]) for part in ("pack", "harm"))
    except (OSError, InvalidToken, BadInput, KeyError, ValueError):
        raise VerificationFailed(f"the key of {name} is not here, or does not fit it") from None
    if digest(data) != head.pack:
        raise VerificationFailed(f"{name} holds other families than it says")
    return data, harm


def _folder() -> Path:
    folder = keys.home() / "sealed"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return folder


def _log(head: Head) -> Path:
    need(len(head.pack) == 64 and head.pack.isalnum(), "pack", head.pack, "a sha256")
    return _folder() / f"{head.pack}.openings"


def _encode(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _read(path: Path) -> bytes:
    try:
        return read_file(path, MOST_BYTES, follow=True)
    except OSError as error:
        raise BadInput(f"{path} cannot be read ({error.strerror})") from None
