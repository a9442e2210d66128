"""Keys and signed envelopes: ed25519 in DSSE, and the study secret.

Private halves are encrypted, mode 0600, in the user's folder (HEIRLOOP_HOME, else ~/.config/heirloop), never in a
checkout or a run. A key held under the loop's own user is weaker custody: it stops mistakes and models, not a
hostile loop on the trusted side.
"""

import json
import os
import re
import secrets
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import serialization as ser
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from securesystemslib.dsse import Envelope
from securesystemslib.exceptions import UnverifiedSignatureError, VerificationError
from securesystemslib.signer import CryptoSigner, SSlibKey  # type: ignore[attr-defined]

from configs.build import need, strict_json
from configs.errors import BadInput, VerificationFailed
from sandbox.canonical import canonical, digest

KINDS = ("person", "simulated", "external")


def home() -> Path:
    """Return the user's Heirloop folder."""
    return Path(os.environ.get("HEIRLOOP_HOME") or Path.home() / ".config" / "heirloop")


def new_key(name: str, kind: str, passphrase: str, person: str = "") -> dict[str, str]:
    """Make a reviewer's key; write the encrypted private half (0600) and the public half; return the public half.

    `person` is who holds it, the name if left out: all keys of a person are of one kind and count once.
    """
    person = person or name
    need("scripted" not in (name, person), "name", name, "another name; the scripted reviewer has that one")
    need(bool(re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,31}", name)), "name", name, "up to 32 letters, digits, - or _")
    need(kind in KINDS, "kind", kind, f"one of {', '.join(KINDS)}")
    need(bool(re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,31}", person)), "person", person, "up to 32 letters, digits, - or _")
    other = next((k for k in public_keys() if k["person"] == person and k["kind"] != kind), None)
    need(other is None, "kind", kind, f"{other['kind'] if other else ''}, as {person}'s other keys")
    need(len(passphrase) >= 8, "passphrase", f"{len(passphrase)} characters", "at least 8 characters")
    folder = home() / "keys"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    if (folder / f"{name}.key").exists():
        raise BadInput(f"name is {name!r}; a key of that name exists, choose another")
    private = Ed25519PrivateKey.generate()
    secret = private.private_bytes(
        ser.Encoding.PEM, ser.PrivateFormat.PKCS8, ser.BestAvailableEncryption(passphrase.encode())
    )
    _write_secret(folder / f"{name}.key", secret)
    half = {"name": name, "kind": kind, "person": person, "public": public_hex(private)}
    (folder / f"{name}.pub.json").write_bytes(canonical(half))
    return half


def open_key(name: str, passphrase: str) -> Ed25519PrivateKey:
    """Open a reviewer's private key; raise BadInput for a wrong name or passphrase."""
    path = home() / "keys" / f"{name}.key"
    if not path.is_file():
        known = ", ".join(sorted(k["name"] for k in public_keys())) or "none yet"
        raise BadInput(f"there is no key {name!r}; known keys: {known}; `heirloop keys new {name}` makes it")
    try:
        key = ser.load_pem_private_key(path.read_bytes(), passphrase.encode())
    except ValueError:
        raise BadInput(f"the passphrase does not open the key {name!r}") from None
    assert isinstance(key, Ed25519PrivateKey)
    return key


def public_keys() -> list[dict[str, str]]:
    """Return the public halves in the user's folder; private files are not opened."""
    return [json.loads(path.read_bytes()) for path in sorted((home() / "keys").glob("*.pub.json"))]


def revoke(name: str) -> str:
    """Mark a key as revoked: what it signed and is not used yet dies. Return its public half."""
    half = next((k for k in public_keys() if k["name"] == name), None)
    if half is None:
        raise BadInput(f"there is no key {name!r}; `heirloop keys list` shows those of this user")
    (home() / "keys" / f"{name}.revoked").write_text(half["public"])
    return half["public"]


def revoked() -> set[str]:
    """Return the public halves that were revoked."""
    return {path.read_text().strip() for path in (home() / "keys").glob("*.revoked")}


def public_hex(key: Ed25519PrivateKey) -> str:
    """Return the raw public key in hex."""
    return key.public_key().public_bytes(ser.Encoding.Raw, ser.PublicFormat.Raw).hex()


def sign(payload: dict[str, Any], key: Ed25519PrivateKey, kind: str) -> bytes:
    """Return a DSSE envelope (JSON) over the canonical bytes of `payload`."""
    envelope = Envelope(canonical(payload), f"application/vnd.heirloop.{kind}+json", {})
    envelope.sign(CryptoSigner(key))
    return canonical(envelope.to_dict())


def verify(envelope: bytes, public: str, kind: str) -> dict[str, Any]:
    """Return the payload of an envelope signed by `public` (hex); raise VerificationFailed otherwise."""
    try:
        found = Envelope.from_dict(strict_json(envelope))
        raw = bytes.fromhex(public)
        pem = ser.load_der_public_key(bytes.fromhex("302a300506032b6570032100") + raw)
        key = SSlibKey.from_crypto(pem)
        if found.payload_type != f"application/vnd.heirloop.{kind}+json":
            raise VerificationFailed(f"the envelope is a {found.payload_type!r}; it should be a {kind}")
        for signature in found.signatures.values():
            key.verify_signature(signature, found.pae())
            payload = strict_json(found.payload)
            if canonical(payload) != found.payload:
                raise VerificationFailed("the signed payload is not canonical JSON")
            return dict(payload)
    except (BadInput, ValueError, KeyError, TypeError, UnverifiedSignatureError, VerificationError) as error:
        raise VerificationFailed(f"the {kind} is not signed by the key that it names: {type(error).__name__}") from None
    raise VerificationFailed(f"the {kind} carries no signature")


def payload_unchecked(envelope: bytes) -> dict[str, Any]:
    """Return a payload before its signature is checked: only to learn which key it names."""
    try:
        return dict(strict_json(Envelope.from_dict(strict_json(envelope)).payload))
    except (BadInput, ValueError, KeyError, TypeError) as error:
        raise VerificationFailed(f"this is no signed envelope: {type(error).__name__}") from None


def new_secret() -> bytes:
    """Make a study secret (32 bytes) in a 0600 file outside store and run; its hash names the file."""
    secret = secrets.token_bytes(32)
    folder = home() / "secrets"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    _write_secret(folder / digest(secret), secret)
    return secret


def load_secret(name: str) -> bytes:
    """Return the study secret whose hash is `name`."""
    path = home() / "secrets" / name
    if not path.is_file():
        raise VerificationFailed(f"the study secret {name[:12]} is not in {path.parent}; only its holder can go on")
    secret = path.read_bytes()
    if digest(secret) != name:
        raise VerificationFailed(f"the study secret {name[:12]} has wrong bytes; restore it")
    return secret


def _write_secret(path: Path, data: bytes) -> None:
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
