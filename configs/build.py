"""One strict decoder: plain mappings to frozen dataclasses, and back.

Used for composed configuration, for proposals that a model wrote and for records read from the
ledger. It refuses unknown and missing keys, wrong types (a bool is no int, an int is no str) and
floats that are not finite. It never imports, evaluates or formats what it reads.
"""

import dataclasses
import json
import math
import types
import typing
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, NoReturn, TypeVar

from configs.errors import BadInput

T = TypeVar("T")


def parse(kind: type[T], value: object, where: str = "") -> T:
    """Return `value` (a mapping) as the dataclass `kind`; raise BadInput naming the field that is
    wrong.
    """
    try:
        return _reader(kind)(value)  # type: ignore[no-any-return, arg-type]
    except Exception:  # whatever it is, the careful way below says what is wrong, and where
        return _careful(kind, value, where)


def _careful(kind: type[T], value: object, where: str) -> T:
    if not isinstance(value, Mapping):
        _refuse(where or kind.__name__, value, "a mapping of fields")
    known = _fields(kind)  # type: ignore[arg-type]
    for key in value:
        if key not in known:
            _refuse(
                _join(where, str(key)),
                value[key],
                f"one of the known keys: {', '.join(sorted(known))}",
                "unknown key ",
            )
    found: dict[str, Any] = {}
    for name, (hint, required) in known.items():
        if name in value:
            found[name] = _convert(hint, value[name], _join(where, name))
        elif required:
            raise BadInput(f"{_join(where, name)} is missing; it should be {_words(hint)}")
    return _make(kind, found, where)


def plain(value: Any) -> Any:
    """Return a dataclass tree as dicts, lists and scalars, ready for canonical JSON."""
    kind = type(value)
    if kind in _AS_IS:
        return value
    if names := field_names(kind):  # type: ignore[arg-type]
        return {name: plain(getattr(value, name)) for name in names}
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    return value


_AS_IS = frozenset({str, int, float, bool, type(None)})


@cache
def field_names(kind: type) -> tuple[str, ...]:
    """Return the names of a dataclass's fields, none for another type."""
    return tuple(f.name for f in dataclasses.fields(kind)) if dataclasses.is_dataclass(kind) else ()


def strict_json(text: str | bytes, limit: int = 65_536) -> Any:
    """Parse JSON from an untrusted author: no duplicate keys, NaN, Infinity or lone surrogates, at
    most `limit` bytes.
    """
    size = len(text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text)
    if size > limit:
        raise BadInput(f"the text has {size} bytes; at most {limit} are read")
    try:
        found = json.loads(
            text, object_pairs_hook=_no_duplicates, parse_constant=_no_constant, parse_float=_finite
        )
        json.dumps(
            found, ensure_ascii=False
        ).encode()  # a lone surrogate has no bytes, so no digest
        return found
    except (ValueError, RecursionError) as error:
        raise BadInput(
            f"the text is not strict JSON: {str(error)[:200]}; send one JSON object"
        ) from None


def need(ok: bool, where: str, value: object, right: str) -> None:
    """Raise BadInput unless `ok`; `right` says what would be right."""
    if not ok:
        _refuse(where, value, right)


def _refuse(where: str, value: object, right: str, what: str = "") -> NoReturn:
    shown = repr(value)
    shown = shown if len(shown) <= 80 else shown[:77] + "..."
    raise BadInput(f"{what}{where} is {shown}; it should be {right}")


def _make(kind: type[T], found: dict[str, Any], where: str) -> T:
    try:
        return kind(**found)
    except BadInput as error:
        raise BadInput(_join(where, str(error))) from None


@cache
def _fields(kind: type) -> dict[str, tuple[Any, bool]]:
    hints = typing.get_type_hints(kind)
    missing = dataclasses.MISSING
    return {
        f.name: (hints[f.name], f.default is missing and f.default_factory is missing)
        for f in dataclasses.fields(kind)
        if f.init
    }


@cache
def _reader(hint: Any) -> Callable[[Any], Any]:
    """Return the quick way to read a value of this type: it takes what `_convert` takes, or less,
    and fails without saying why.
    """
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if dataclasses.is_dataclass(hint):
        make: Callable[..., Any] = hint  # type: ignore[assignment]
        fields = {
            name: (_reader(kind), required)
            for name, (kind, required) in _fields(hint).items()  # type: ignore[arg-type]
        }
        needed = {name for name, (_, required) in fields.items() if required}

        def record(value: Any) -> Any:
            if type(value) is not dict or not needed <= value.keys():
                raise ValueError
            return make(**{name: fields[name][0](v) for name, v in value.items()})

        return record
    if origin in (typing.Union, types.UnionType) and type(None) in args and len(args) == 2:
        one = _reader(next(a for a in args if a is not type(None)))
        return lambda value: None if value is None else one(value)
    if origin is tuple and len(args) == 2 and args[1] is Ellipsis:
        each = _reader(args[0])
        return lambda value: tuple([each(v) for v in _only(list, value)])
    if origin is dict:
        key, item = map(_reader, args)
        return lambda value: {key(k): item(v) for k, v in _only(dict, value).items()}
    if origin is typing.Literal and len({type(a) for a in args}) == 1:
        return lambda value: args[args.index(_only(type(args[0]), value))]
    if hint is float:
        return lambda value: (
            value if type(value) is float and math.isfinite(value) else float(_only(int, value))
        )
    if hint in (str, int, bool):
        return lambda value: _only(hint, value)
    return lambda value: _convert(hint, value, "")


def _only(kind: type, value: Any) -> Any:
    if type(value) is not kind:
        raise ValueError
    return value


def _convert(hint: Any, value: Any, where: str) -> Any:
    if hint in _SCALARS:
        return _scalar(hint, value, where)
    origin, args = _parts(hint)
    if origin in (typing.Union, types.UnionType):
        if value is None and type(None) in args:
            return None
        return _convert(next(a for a in args if a is not type(None)), value, where)
    if origin is typing.Literal:
        if value not in args or type(value) is not type(args[0]):
            _refuse(where, value, f"one of {', '.join(map(str, args))}")
        return value
    if origin is tuple:
        if not isinstance(value, list | tuple):
            _refuse(where, value, "a list")
        if len(args) == 2 and args[1] is Ellipsis:
            return tuple(_convert(args[0], v, f"{where}[{i}]") for i, v in enumerate(value))
        if len(value) != len(args):
            _refuse(where, value, f"a list of {len(args)} values")
        return tuple(
            _convert(a, v, f"{where}[{i}]")
            for i, (a, v) in enumerate(zip(args, value, strict=True))
        )
    if origin in (dict, Mapping) or origin is typing.get_origin(Mapping[str, int]):
        if not isinstance(value, Mapping):
            _refuse(where, value, "a mapping")
        return {
            _convert(args[0], k, where): _convert(args[1], v, _join(where, str(k)))
            for k, v in value.items()
        }
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return parse(hint, value, where)
    return _scalar(hint, value, where)


_SCALARS = frozenset({int, float, str, bool})


@cache
def _parts(hint: Any) -> tuple[Any, tuple[Any, ...]]:
    return typing.get_origin(hint), typing.get_args(hint)


def _scalar(hint: Any, value: Any, where: str) -> Any:
    if hint is Any:
        return value
    if hint is float and type(value) in (int, float):
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        if not math.isfinite(number):
            _refuse(where, value, "a finite number")
        return number
    if type(value) is not hint:
        _refuse(where, value, _words(hint))
    return value


def _words(hint: Any) -> str:
    names = {int: "a whole number", float: "a finite number", str: "text", bool: "true or false"}
    return names.get(hint, f"a {getattr(hint, '__name__', str(hint))}")


def _join(where: str, name: str) -> str:
    return f"{where}.{name}" if where else name


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
