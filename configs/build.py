"""A strict decoder: plain mappings to frozen dataclasses, and back.

It reads composed configuration, proposals written by a model, and records of the ledger. It refuses
unknown and missing keys, wrong types (a bool is no int, an int is no str) and floats that are not
finite. It never imports, evaluates or formats a value.
"""

import json
import math
from collections.abc import Mapping
from typing import Any, NoReturn, TypeVar

from configs.errors import BadInput
from configs.reader import WHOLE, MisfitError, reader, written_fields, wrong

T = TypeVar("T")


def parse(kind: type[T], value: object, where: str = "") -> T:
    """Return `value` (a mapping) as the dataclass `kind`.

    Raises BadInput with the name of the wrong field.
    """
    try:
        return reader(kind)(value)  # type: ignore[no-any-return, arg-type]
    except MisfitError as misfit:
        place = where + misfit.path
        text = misfit.text(place if where else place.removeprefix("."))
    raise BadInput(text)


def plain(value: Any) -> Any:
    """Return a dataclass tree as dicts, lists and scalars, ready for canonical JSON."""
    kind = type(value)
    if kind in _AS_IS:
        return value
    if fields := written_fields(value):
        if WHOLE in fields:
            return plain(fields[WHOLE])
        return {key: plain(part) for key, part in fields.items()}
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    return value


_AS_IS = frozenset({str, int, float, bool, type(None)})


def strict_json(text: str | bytes, limit: int = 65_536) -> Any:
    """Parse JSON from an untrusted author: no duplicate keys, NaN, Infinity or lone surrogates, at
    most `limit` bytes.
    """
    size = len(text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text)
    if size > limit:
        raise BadInput(f"the text has {size} bytes; at most {limit} are read")
    try:
        if isinstance(text, bytes):
            text = text.decode(json.detect_encoding(text), "surrogatepass")
        value = _STRICT.decode(text)
        if not text.isascii() or "\\u" in text:
            # A lone surrogate has no bytes, so no digest.
            json.dumps(value, ensure_ascii=False).encode()
        return value
    except (ValueError, RecursionError) as error:
        raise BadInput(
            f"the text is not strict JSON: {str(error)[:200]}; send one JSON object"
        ) from None


def need(ok: bool, where: str, value: object, right: str) -> None:
    """Raise BadInput unless `ok`; `right` describes a right value."""
    if not ok:
        _refuse(where, value, right)


def _refuse(where: str, value: object, right: str) -> NoReturn:
    raise BadInput(wrong(where, value, right))


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("a key stands twice in one object")
    return result


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a number")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text} is not finite")
    return number


_STRICT = json.JSONDecoder(
    object_pairs_hook=_no_duplicates, parse_constant=_no_constant, parse_float=_finite
)
