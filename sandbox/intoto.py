"""Statements for other people's tools: in-toto statements in DSSE envelopes, one or more signers.

Example: an accord of two studies carries a signature of each; a certificate of a gate carries one.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from securesystemslib.dsse import Envelope
from securesystemslib.exceptions import UnverifiedSignatureError, VerificationError
from securesystemslib.signer import CryptoSigner, SSlibKey  # type: ignore[attr-defined]

from configs.build import strict_json
from configs.errors import BadInput, VerificationFailed
from sandbox.canonical import canonical

PAYLOAD = "application/vnd.in-toto+json"
STATEMENT = "https://in-toto.io/Statement/v1"
MOST_BYTES = 1_000_000
MOST_SIGNATURES = 8


def draw_up(predicate_type: str, subjects: Mapping[str, str], predicate: Any) -> dict[str, Any]:
    """Return an unsigned statement on `subjects`, name -> sha256 in hex."""
    return {
        "_type": STATEMENT,
        "subject": [{"name": name, "digest": {"sha256": one}} for name, one in subjects.items()],
        "predicateType": predicate_type,
        "predicate": predicate,
    }


def sign(statement: Mapping[str, Any], key: Ed25519PrivateKey, envelope: bytes = b"") -> bytes:
    """Return the envelope of a statement, signed by a key; further signatures of `envelope` stay.

    Raises VerificationFailed where that envelope is of other bytes.
    """
    payload = canonical(statement)
    signed = _open(envelope) if envelope else Envelope(payload, PAYLOAD, {})
    if signed.payload != payload:
        raise VerificationFailed("the envelope holds another statement; nothing was signed")
    signed.sign(CryptoSigner(key))
    return canonical(signed.to_dict())


def read(envelope: bytes, predicate_type: str) -> dict[str, Any]:
    """Return the statement in an envelope whatever its signatures; raises VerificationFailed for
    another kind, and for a payload that is not canonical.
    """
    signed = _open(envelope)
    try:
        statement = dict(strict_json(signed.payload, MOST_BYTES))
    except (BadInput, TypeError, ValueError):
        raise VerificationFailed("the envelope holds no statement") from None
    kinds = (signed.payload_type, statement.get("_type"), statement.get("predicateType"))
    if kinds != (PAYLOAD, STATEMENT, predicate_type):
        raise VerificationFailed("the envelope holds another kind of statement")
    if canonical(statement) != signed.payload:
        raise VerificationFailed("the statement is not canonical JSON")
    return statement


def list_signers(envelope: bytes, publics: Iterable[str]) -> list[str]:
    """Return those of some public keys (hex) that signed an envelope, in their order."""
    signed = _open(envelope)
    return [public for public in publics if _has_signed(signed, public)]


def need_signers(envelope: bytes, publics: Sequence[str], what: str) -> None:
    """Raise VerificationFailed unless every one of some public keys (hex) signed an envelope."""
    found = list_signers(envelope, publics)
    if missing := [public for public in publics if public not in found]:
        raise VerificationFailed(f"this is no {what} signed by {missing[0][:12]}")


def _has_signed(signed: Envelope, public: str) -> bool:
    try:
        key = SSlibKey.from_crypto(Ed25519PublicKey.from_public_bytes(bytes.fromhex(public)))
    except (ValueError, TypeError):
        return False
    for signature in signed.signatures.values():
        try:
            key.verify_signature(signature, signed.pae())
            return True
        except (UnverifiedSignatureError, VerificationError, ValueError):
            continue
    return False


def _open(envelope: bytes) -> Envelope:
    try:
        signed = Envelope.from_dict(strict_json(envelope, MOST_BYTES))
        few = 0 < len(signed.signatures) <= MOST_SIGNATURES
    except (BadInput, ValueError, KeyError, TypeError, AttributeError):
        few, signed = False, None
    if not few or signed is None:
        raise VerificationFailed("this is no signed envelope")
    return signed
