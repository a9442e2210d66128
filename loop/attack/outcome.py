"""Outcomes of attacks as text. Text that begins with `got through` is a success."""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

from configs.errors import HeirloopError

GOT_THROUGH = "got through"


def try_act(act: Callable[[], object], *refusals: type[HeirloopError]) -> str:
    """Return the text of a refusal raised by `act`, or the result of the successful act."""
    try:
        return f"{GOT_THROUGH}: {act()!r}"
    except refusals as error:
        return str(error)


def try_each(
    act: Callable[[Any], object], values: Iterable[Any], *refusals: type[HeirloopError]
) -> str:
    """Try `act` on every value; return the first success, or else the first refusal."""
    return first_success([try_act(partial(act, value), *refusals) for value in values])


def first_success(outcomes: Sequence[str]) -> str:
    """Return the first success, or else the first outcome."""
    return next((text for text in outcomes if GOT_THROUGH in text), outcomes[0])
