"""Canonical bytes and digests: RFC 8785 JSON, sha256 in hex."""

import hashlib
from typing import Any

import rfc8785

from configs.build import plain


def canonical(value: Any) -> bytes:
    """Return the RFC 8785 bytes of a record or plain value; floats must be finite, integers below 2^53."""
    return rfc8785.dumps(plain(value))


def digest(value: Any) -> str:
    """Return sha256 (hex) of bytes as they are, or of the canonical bytes of anything else."""
    return hashlib.sha256(value if isinstance(value, bytes) else canonical(value)).hexdigest()
