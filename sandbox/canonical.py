"""Canonical bytes and digests: RFC 8785 JSON, sha256 in hex.

The standard library's encoder writes the same bytes for nearly all values. Small floats such as
0.00001 are mended in its text. Large floats, characters beyond the basic plane and refused values
go to the reference implementation.
"""

import hashlib
import json
import re
from sys import intern
from typing import Any

import rfc8785

from configs.build import plain
from configs.reader import WHOLE, written_fields

_ENCODER = json.JSONEncoder(
    ensure_ascii=False, sort_keys=True, separators=(",", ":"), check_circular=False, allow_nan=False
)
_ASTRAL = 0xF0
"""First byte from which on UTF-8 holds a character whose place among sorted keys differs by UTF-16.
"""
_SMALL = b"e-0"
"""Part of a small float where Python writes 1e-05, and ECMAScript 0.00001; 1e-07, and 1e-7."""
_NUMBER = re.compile(rb"-?\d(?:\.\d+)?e-0\d")
_STRING = re.compile(rb'("[^"\\]*(?:\\.[^"\\]*)*")')


class ReadBack(dict[str, Any]):
    """A body as a reader gets it. The encoder writes it as RFC 8785 does, so nobody looks again."""


class _OtherwiseError(Exception):
    """A value that the standard library writes in other bytes, or not at all."""


def canonical(value: Any) -> bytes:
    """Return the RFC 8785 bytes of a record or plain value; floats must be finite, integers below
    2^53.
    """
    try:
        data = _ENCODER.encode(_same(value)).encode()
        if _SMALL in data:
            data = _mend(data)
        if data.isascii() or max(data) < _ASTRAL:
            return data
    except (_OtherwiseError, UnicodeEncodeError):
        pass
    return rfc8785.dumps(plain(value))


def _mend(data: bytes) -> bytes:
    """Write small floats as ECMAScript does; strings, whatever they hold, stay."""
    parts = _STRING.split(data)
    for number in range(0, len(parts), 2):
        if _SMALL in parts[number]:
            parts[number] = _NUMBER.sub(lambda text: rfc8785.dumps(float(text[0])), parts[number])
    return b"".join(parts)


def read_back(value: Any) -> Any:
    """Return what a reader gets from the canonical bytes of a record or plain value."""
    try:
        same = _same(value)
        return ReadBack(same) if type(same) is dict else same
    except _OtherwiseError:
        return json.loads(rfc8785.dumps(plain(value)))


def digest(value: Any) -> str:
    """Return sha256 (hex) of bytes as they are, or of the canonical bytes of anything else.

    A digest that stands in many records is a single string: they are a long study's memory.
    """
    data = value if isinstance(value, bytes) else canonical(value)
    return intern(hashlib.sha256(data).hexdigest())


def _same(value: Any) -> Any:
    """Return `plain(value)` where the encoder writes it as RFC 8785 does; raise _OtherwiseError
    where it would not.
    """
    kind = type(value)
    if kind is str or kind is bool or kind is ReadBack or value is None:
        return value
    if kind is int and -(2**53) < value < 2**53:
        return value
    if kind is float and abs(value) < 1e15:
        return int(value) if value.is_integer() else value
    if kind is dict and all(type(k) is str for k in value):
        return {k: _same(value[k]) for k in sorted(value)}
    if kind is list or kind is tuple:
        return [_same(v) for v in value]
    if fields := written_fields(value):
        if WHOLE in fields:
            return _same(fields[WHOLE])
        return {key: _same(part) for key, part in fields.items()}
    raise _OtherwiseError
