"""Readers: a compiled function per type that reads plain values as records.

`read(Amount)` gives a function that takes `{"cpu_us": 7}` and returns `Amount(cpu_us=7)`, or raises
`MisfitError`. It refuses unknown and missing keys, wrong types (a bool is no int, an int is no str)
and floats that are not finite. `configs.build.parse` is the way in.
"""

import dataclasses
import math
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import cache, lru_cache
from operator import attrgetter
from typing import Any, TypeVar

from configs.errors import BadInput

T = TypeVar("T")
Reader = Callable[[Any], Any]
WHOLE = "*"
"""Key on the wire of a record's only field: its value is the whole body, not a part of it."""


@cache
def wire_keys(kind: type) -> tuple[tuple[str, str], ...]:
    """Return (name, key on the wire) of a dataclass's fields; an empty result for another type.

    The key is the name, unless the field's metadata has another as `wire`: `class` for
    `change_class`, since Python cannot write the first.
    """
    if not dataclasses.is_dataclass(kind):
        return ()
    return tuple((f.name, f.metadata.get("wire", f.name)) for f in dataclasses.fields(kind))


def later(default: Any, hash: bool | None = None, **metadata: Any) -> Any:
    """Return a field that older bytes do not have: it is written only where it differs.

    Its default is the old behaviour, so old bytes read and write back as they were. `hash` is that
    of `dataclasses.field`: False for a mapping, which has none.
    """
    return dataclasses.field(default=default, hash=hash, metadata={**metadata, "later": True})


def written_fields(record: Any) -> dict[str, Any] | None:
    """Return key on the wire -> value of the fields that a record writes; None for another type."""
    kind: type = type(record)
    layout = _layout(kind)
    if layout is None:
        return None
    keys, values, later_fields = layout
    fields = dict(zip(keys, values(record), strict=True))
    for key, default in later_fields:
        if fields[key] == default:
            del fields[key]
    return fields


_Layout = tuple[tuple[str, ...], Callable[[Any], Sequence[Any]], tuple[tuple[str, Any], ...]]
"""Keys on the wire, the values beneath them, and the defaults of later fields by key."""


@cache
def _layout(kind: type) -> _Layout | None:
    """Return how a dataclass is written, None for another type; learnt once, read often."""
    names = dict(wire_keys(kind))
    if not names:
        return None
    # A getter of a single name returns the value itself, so it gets a name that every object has.
    get = attrgetter(*names, "__class__")
    later_fields = tuple(
        (names[f.name], f.default) for f in dataclasses.fields(kind) if f.metadata.get("later")
    )
    return tuple(names.values()), lambda record: get(record)[:-1], later_fields


def wrong(where: str, value: object, right: str) -> str:
    """Return the sentence that refuses a value: its place, the value, and a right value."""
    text = repr(value)
    text = text if len(text) <= 80 else text[:77] + "..."
    return f"{where} is {text}; it should be {right}"


def join(where: str, name: str) -> str:
    """Return the place of a field in a record."""
    return f"{where}.{name}" if where else name


class MisfitError(Exception):
    """A value that does not fit. It learns its place step by step on its way out of the readers."""

    def __init__(self, text: Callable[[str], str]) -> None:
        self.text, self.path = text, ""

    def under(self, step: str) -> "MisfitError":
        """Add a step of the path, such as `.recipe` or `[3]`, at its front."""
        self.path = step + self.path
        return self


def _misfit(value: object, right: str) -> MisfitError:
    return MisfitError(lambda place: wrong(place, value, right))


@cache
def reader(hint: Any) -> Reader:
    """Return the reader of this type; it returns the value or raises MisfitError."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if dataclasses.is_dataclass(hint):
        return _record(hint)  # type: ignore[arg-type]
    if origin in (typing.Union, types.UnionType):
        return _optional(args)
    if origin is typing.Literal:
        return _literal(args)
    if origin is tuple:
        return _list(args[0]) if len(args) == 2 and args[1] is Ellipsis else _row(args)
    if origin in (dict, Mapping):
        return _mapping(*args)
    if hint is float:
        return _number
    return _unchanged if hint is Any else _exactly(hint)


def _record(kind: type) -> Reader:
    """Return the reader of a dataclass: a mapping with each required field, and no other key."""
    hints, missing = typing.get_type_hints(kind), dataclasses.MISSING
    names = dict(wire_keys(kind))
    fields = [
        (
            names[f.name],
            f.name,
            reader(hints[f.name]),
            f.default is missing and f.default_factory is missing,
        )
        for f in dataclasses.fields(kind)
    ]
    if fields and fields[0][0] == WHOLE:
        _, name, whole, _ = fields[0]
        return lambda value: kind(**{name: whole(value)})
    known = {key for key, *_ in fields}

    def read(value: Any) -> Any:
        if type(value) is not dict and not isinstance(value, Mapping):
            raise MisfitError(
                lambda place: wrong(place or kind.__name__, value, "a mapping of fields")
            )
        given = {}
        try:
            for key, name, part, required in fields:
                if key in value:
                    given[name] = part(value[key])
                elif required:
                    raise _missing(hints[name])
        except MisfitError as misfit:
            raise _unknown(value, known) or misfit.under(f".{key}") from None
        if len(given) != len(value):
            raise _unknown(value, known) or AssertionError
        try:
            return _share(kind(**given)) if kind in _SHARED else kind(**given)
        except BadInput as error:
            raise _refused(error) from None

    return read


_SHARED = set[type]()


def shared(kind: type[T]) -> type[T]:
    """Let readers return the same record for equal values: few values stand in many records."""
    _SHARED.add(kind)
    return kind


@lru_cache(maxsize=1024)
def _share(record: Any) -> Any:
    return record


def _refused(error: BadInput) -> MisfitError:
    """Return what a record itself says against its fields; its words begin with the field."""
    text = str(error)
    return MisfitError(lambda place: join(place, text))


def _missing(hint: Any) -> MisfitError:
    return MisfitError(lambda place: f"{place} is missing; it should be {_words(hint)}")


def _unknown(value: Mapping[str, Any], known: set[str]) -> MisfitError | None:
    """Return the refusal of the first unknown key, None without any."""
    right = f"one of the known keys: {', '.join(sorted(known))}"
    for key in value:
        if key not in known:
            return _stranger(value[key], right).under(f".{key}")
    return None


def _stranger(value: object, right: str) -> MisfitError:
    return MisfitError(lambda place: f"unknown key {wrong(place, value, right)}")


def _optional(args: tuple[Any, ...]) -> Reader:
    part = reader(next(a for a in args if a is not type(None)))
    if type(None) not in args:
        return part
    return lambda value: None if value is None else part(value)


def _literal(args: tuple[Any, ...]) -> Reader:
    kind, known = type(args[0]), {a: a for a in args}

    def read(value: Any) -> Any:
        if type(value) is kind and value in known:
            return known[value]
        raise _misfit(value, f"one of {', '.join(map(str, args))}")

    return read


def _list(hint: Any) -> Reader:
    part = reader(hint)

    def read(value: Any) -> Any:
        if not isinstance(value, list | tuple):
            raise _misfit(value, "a list")
        try:
            return tuple([part(v) for v in value])
        except MisfitError:
            return _each(value, [part] * len(value))  # again, to learn which item it was

    return read


def _row(args: tuple[Any, ...]) -> Reader:
    parts = [reader(a) for a in args]

    def read(value: Any) -> Any:
        if not isinstance(value, list | tuple):
            raise _misfit(value, "a list")
        if len(value) != len(parts):
            raise _misfit(value, f"a list of {len(parts)} values")
        return _each(value, parts)

    return read


def _each(value: Sequence[Any], parts: Sequence[Reader]) -> tuple[Any, ...]:
    result = []
    for number, (item, part) in enumerate(zip(value, parts, strict=True)):
        try:
            result.append(part(item))
        except MisfitError as misfit:
            raise misfit.under(f"[{number}]") from None
    return tuple(result)


def _mapping(name: Any, hint: Any) -> Reader:
    key, part = reader(name), reader(hint)

    def read(value: Any) -> Any:
        if type(value) is not dict and not isinstance(value, Mapping):
            raise _misfit(value, "a mapping")
        result = {}
        for k, v in value.items():
            known = key(k)
            try:
                result[known] = part(v)
            except MisfitError as misfit:
                raise misfit.under(f".{k}") from None
        return result

    return read


def _number(value: Any) -> float:
    if type(value) is float and math.isfinite(value):
        return value
    if type(value) is int:
        with suppress(OverflowError):
            return float(value)
    raise _misfit(value, "a finite number")


def _unchanged(value: Any) -> Any:
    return value


def _exactly(kind: type) -> Reader:
    right = _words(kind)

    def read(value: Any) -> Any:
        if type(value) is kind:
            return value
        raise _misfit(value, right)

    return read


def _words(hint: Any) -> str:
    names = {int: "a whole number", float: "a finite number", str: "text", bool: "true or false"}
    return names.get(hint, f"a {getattr(hint, '__name__', str(hint))}")
