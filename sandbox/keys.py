"""Keys and signed envelopes: ed25519 in DSSE, and the study secret.

Private halves are encrypted, mode 0600, in the user's folder (HEIRLOOP_HOME, else
~/.config/heirloop), never in a checkout or a run. A key held under the loop's own user is weaker
custody: it stops mistakes and models, not a hostile loop on the trusted side.
"""

import json
import os
import re
import secrets
import time
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import serialization as ser
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from securesystemslib.dsse import Envelope
from securesystemslib.exceptions import UnverifiedSignatureError, VerificationError
from securesystemslib.signer import CryptoSigner, SSlibKey  # type: ignore[attr-defined]

from configs.build import need, parse, strict_json
from configs.errors import BadInput, VerificationFailed
from configs.records import PublicHalf
from sandbox.canonical import canonical, digest
from sandbox.files import replace_file

KINDS = ("person", "simulated", "external", "auditor")
"""An auditor reads everything and decides nothing.

No study root pins such a key, so no gate takes its signature.
"""
STAND_IN = "scripted"
"""Name and person of the scripted reviewer's key, which nobody else can take."""
INVITE_SECONDS = 24 * 3600
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,31}")


def home() -> Path:
    """Return the user's Heirloop folder."""
    return Path(os.environ.get("HEIRLOOP_HOME") or Path.home() / ".config" / "heirloop")


def find_mandates(study: str) -> list[Path]:
    """Return the mandates in the user's folder that bear a study's name, and not a longer one."""
    found = sorted((home() / "mandates").glob(f"{study}-*.json"))
    return [path for path in found if "-" not in path.stem.removeprefix(f"{study}-")]


def new_key(name: str, kind: str, passphrase: str, person: str = "") -> dict[str, str]:
    """Make a reviewer's key; return the public half.

    The encrypted private half (0600) and the public half are written. `person` is the holder, by
    default the name. All keys of a person are of the same kind and count once.
    """
    need(
        len(passphrase) >= 8, "passphrase", f"{len(passphrase)} characters", "at least 8 characters"
    )
    folder = _checked(name, kind, person or name)
    private = Ed25519PrivateKey.generate()
    secret = private.private_bytes(
        ser.Encoding.PEM, ser.PrivateFormat.PKCS8, ser.BestAvailableEncryption(passphrase.encode())
    )
    _write_secret(folder / f"{name}.key", secret)
    return _record(folder, name, kind, person or name, public_hex(private))


def _record(folder: Path, name: str, kind: str, person: str, public: str) -> dict[str, str]:
    half = {"name": name, "kind": kind, "person": person, "public": public}
    replace_file(folder / f"{name}.pub.json", canonical(half))
    return half


def _checked(name: str, kind: str, person: str) -> Path:
    """Return the folder of keys if a new key may have these facts; raises BadInput otherwise."""
    need(
        STAND_IN not in (name, person),
        "name",
        name,
        "another name; the scripted reviewer has that one",
    )
    for field, value in (("name", name), ("person", person)):
        need(bool(NAME.fullmatch(value)), field, value, "up to 32 letters, digits, - or _")
    need(kind in KINDS, "kind", kind, f"one of {', '.join(KINDS)}")
    other = next((k for k in public_keys() if k["person"] == person and k["kind"] != kind), None)
    need(other is None, "kind", kind, f"{other['kind'] if other else ''}, as {person}'s other keys")
    folder = home() / "keys"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    need(
        not any((folder / f"{name}.{end}").exists() for end in ("key", "pub.json", "revoked")),
        "name",
        name,
        "a name that no key has had",
    )
    return folder


def add(name: str, kind: str, person: str, public: str) -> dict[str, str]:
    """Take the public half of a key with its private half elsewhere; return it.

    No key can be taken twice, so no key has two kinds.
    """
    need(
        bool(re.fullmatch(r"[0-9a-f]{64}", public)),
        "public",
        public,
        "64 hexadecimal digits, the raw ed25519 public key",
    )
    other = next((k["name"] for k in public_keys() if k["public"] == public), "")
    need(not other, "public", public, f"a key that is not known yet; {other} holds this one")
    return _record(_checked(name, kind, person), name, kind, person, public)


def invite(name: str, kind: str, person: str = "") -> str:
    """Return a code for a browser, which may enrol a key of this name and kind within a day.

    Only the code's hash is kept.
    """
    _checked(name, kind, person or name)
    code, folder = secrets.token_hex(8), home() / "invites"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    invitation = {
        "name": name,
        "kind": kind,
        "person": person or name,
        "until": int(time.time()) + INVITE_SECONDS,
    }
    _write_secret(folder / digest(code.encode()), canonical(invitation))
    return code


def enrol(envelope: bytes) -> dict[str, str]:
    """Take the public half of a key made elsewhere; return it.

    The key signed an envelope over an invitation's code. Raises VerificationFailed for a bad
    signature, and for a code that is unknown, used or expired.
    """
    claimed = payload_unchecked(envelope)
    claim = verify(envelope, str(claimed.get("public")), "enrol")
    path = home() / "invites" / digest(str(claim.get("code")).strip().encode())
    try:
        invitation = json.loads(path.read_bytes())
    except OSError:
        raise VerificationFailed(
            "there is no such invitation; `heirloop keys invite NAME` gives a code, good for"
            " one key"
        ) from None
    path.unlink(missing_ok=True)
    if time.time() > invitation["until"]:
        raise VerificationFailed("the invitation has expired; ask for another")
    return add(invitation["name"], invitation["kind"], invitation["person"], claim["public"])


def open_key(name: str, passphrase: str) -> Ed25519PrivateKey:
    """Open a reviewer's private key; raise BadInput for a wrong name or passphrase."""
    path = home() / "keys" / f"{name}.key"
    if not path.is_file():
        known = ", ".join(sorted(k["name"] for k in public_keys())) or "none yet"
        raise BadInput(
            f"there is no key {name!r}; known keys: {known}; `heirloop keys new {name}` makes it"
        )
    try:
        key = ser.load_pem_private_key(path.read_bytes(), passphrase.encode())
    except ValueError:
        raise BadInput(f"the passphrase does not open the key {name!r}") from None
    assert isinstance(key, Ed25519PrivateKey)
    return key


def public_keys() -> list[dict[str, str]]:
    """Return the public halves in the user's folder; private files are not opened."""
    return [json.loads(path.read_bytes()) for path in sorted((home() / "keys").glob("*.pub.json"))]


def reviewers() -> list[PublicHalf]:
    """Return the public halves that a study root may pin: not revoked, and no auditor's."""
    dead = revoked()
    halves = [parse(PublicHalf, half) for half in public_keys()]
    return [half for half in halves if half.public not in dead and half.kind != "auditor"]


def revoke(name: str) -> str:
    """Mark a key as revoked: its unused signatures die. Return its public half."""
    half = next((k for k in public_keys() if k["name"] == name), None)
    if half is None:
        raise BadInput(f"there is no key {name!r}; `heirloop keys list` shows those of this user")
    replace_file(home() / "keys" / f"{name}.revoked", half["public"])
    return half["public"]


def revoked() -> set[str]:
    """Return the revoked public halves."""
    folder = home() / "keys"
    names = os.listdir(folder) if folder.is_dir() else []
    marks = [name for name in names if name.endswith(".revoked")]
    return {(folder / name).read_text().strip() for name in marks}


def public_hex(key: Ed25519PrivateKey) -> str:
    """Return the raw public key in hex."""
    return key.public_key().public_bytes(ser.Encoding.Raw, ser.PublicFormat.Raw).hex()


def sign(payload: dict[str, Any], key: Ed25519PrivateKey, kind: str) -> bytes:
    """Return a DSSE envelope (JSON) over the canonical bytes of `payload`."""
    envelope = Envelope(canonical(payload), f"application/vnd.heirloop.{kind}+json", {})
    envelope.sign(CryptoSigner(key))
    return canonical(envelope.to_dict())


def verify(envelope: bytes, public: str, kind: str, limit: int = 65_536) -> dict[str, Any]:
    """Return the payload of an envelope of at most `limit` bytes signed by `public` (hex); raise
    VerificationFailed otherwise.
    """
    try:
        signed = Envelope.from_dict(strict_json(envelope, limit))
        raw = bytes.fromhex(public)
        pem = ser.load_der_public_key(bytes.fromhex("302a300506032b6570032100") + raw)
        key = SSlibKey.from_crypto(pem)
        if signed.payload_type != f"application/vnd.heirloop.{kind}+json":
            raise VerificationFailed(
                f"the envelope is a {signed.payload_type!r}; it should be a {kind}"
            )
        for signature in signed.signatures.values():
            key.verify_signature(signature, signed.pae())
            payload = strict_json(signed.payload, limit)
            if canonical(payload) != signed.payload:
                raise VerificationFailed("the signed payload is not canonical JSON")
            return dict(payload)
    except (
        BadInput,
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        UnverifiedSignatureError,
        VerificationError,
    ) as error:
        raise VerificationFailed(
            f"the {kind} is not signed by the key that it names: {type(error).__name__}"
        ) from None
    raise VerificationFailed(f"the {kind} carries no signature")


def payload_unchecked(envelope: bytes) -> dict[str, Any]:
    """Return a payload before its signature is checked, only to learn the name of its key."""
    try:
        return dict(strict_json(Envelope.from_dict(strict_json(envelope)).payload))
    except (BadInput, ValueError, KeyError, TypeError, AttributeError) as error:
        raise VerificationFailed(f"this is no signed envelope: {type(error).__name__}") from None


def new_secret() -> bytes:
    """Make a study secret (32 bytes) in a 0600 file outside store and run; its hash names the
    file.
    """
    secret = secrets.token_bytes(32)
    folder = home() / "secrets"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    _write_secret(folder / digest(secret), secret)
    return secret


def plain_secret(data: bytes) -> bytes:
    """Return a secret that anybody can work out, kept like any other.

    It is for simulated studies, which hold nothing back and repeat themselves.
    """
    secret, folder = bytes.fromhex(digest(b"heirloop simulated study:" + data)), home() / "secrets"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    if not (folder / digest(secret)).is_file():
        _write_secret(folder / digest(secret), secret)
    return secret


def load_secret(name: str) -> bytes:
    """Return the study secret with the hash `name`."""
    path = home() / "secrets" / name
    if not path.is_file():
        raise VerificationFailed(
            f"the study secret {name[:12]} is not in {path.parent}; only its holder can go on"
        )
    secret = path.read_bytes()
    if digest(secret) != name:
        raise VerificationFailed(f"the study secret {name[:12]} has wrong bytes; restore it")
    return secret


def signer(secret: bytes) -> Ed25519PrivateKey:
    """Return the study's key for signed heads, derived from its secret."""
    return derived(b"heirloop checkpoint key:", secret)


def derived(label: bytes, secret: bytes) -> Ed25519PrivateKey:
    """Return the key of a label that is derived from a study secret."""
    return Ed25519PrivateKey.from_private_bytes(bytes.fromhex(digest(label + secret)))


def _write_secret(path: Path, data: bytes) -> None:
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
