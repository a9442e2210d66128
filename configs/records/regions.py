"""Regions: marked parts of a source file, which may have a change class of their own.

    # region: loss
    ...
    # endregion

A *place* is a file of a bundle, or `FILE#REGION`. Example: with {models/train.py#rate: recipe,
models/train.py#loss: structural} a plan that changes both regions is structural, and a plan that
changes any other line of the file has no class. Begin with `find_class`.
"""

import re
from collections.abc import Callable, Mapping
from typing import TypeVar

from configs.records.classes import CHANGE_CLASSES, CLASS_OF_FILE, CLASSES, ClassName

MARKED = r"^# region: ([a-z]+)\n(.*?)^# endregion$"
"""A region of a source, with the groups name and body; markers begin at the margin."""
REGION = re.compile(MARKED.encode(), re.MULTILINE | re.DOTALL)
OF_CODE: tuple[ClassName, ...] = ("recipe", *reversed(CLASS_OF_FILE.values()))
"""Classes that code may have, lowest risk first."""
T = TypeVar("T")
Classes = Mapping[str, ClassName]
"""Place -> its class. Places without a class may not change."""


def split(source: bytes) -> list[tuple[str, bytes]]:
    """Return the (region, bytes) of a source in order; joined, the bytes are the source.

    What lies between regions has an empty name; markers belong to it.
    """
    parts, end = list[tuple[str, bytes]](), 0
    for found in REGION.finditer(source):
        parts += [("", source[end : found.start(2)]), (found[1].decode(), found[2])]
        end = found.end(2)
    return [*parts, ("", source[end:])]


def find_class(
    before: Mapping[str, bytes], after: Mapping[str, bytes], classes: Classes = CLASS_OF_FILE
) -> ClassName:
    """Return the class of a change between two bundles: the highest of its places.

    Places without a class are the gate's to refuse. A plan of knobs alone may be read without any
    files.
    """
    changed = list_changed(before, after, lambda data: data, classes)
    found = {classes[place] for place in changed if place in classes}
    return max(found, key=CLASSES.index, default="recipe")


def list_beyond(
    change_class: ClassName,
    before: Mapping[str, str],
    after: Mapping[str, str],
    read: Callable[[str], bytes],
    classes: Classes | None,
) -> list[str]:
    """Return the changed places between two manifests that a class does not cover, in order.

    `read` returns the bytes of a digest; without `classes` the table of change classes holds.
    """
    covers = CHANGE_CLASSES[change_class].covers or frozenset()
    if classes is not None and change_class in OF_CODE:
        rank = CLASSES.index(change_class)
        covers = frozenset(at for at, one in classes.items() if CLASSES.index(one) <= rank)
    changed = list_changed(before, after, read, classes or {}) - covers
    return sorted(place for place in changed if f"{place.partition('/')[0]}/" not in covers)


def is_own(file: str) -> bool:
    """Tell whether a file of a bundle is people's own program, or one of their agent's folder."""
    return file == "program" or file.startswith("agent/")


def list_changed(
    before: Mapping[str, T], after: Mapping[str, T], read: Callable[[T], bytes], classes: Classes
) -> set[str]:
    """Return the changed places between two bundles or manifests; `read` returns a file's bytes.

    A file that comes, goes or gets other markers changes as a whole.
    """
    result = set[str]()
    for file in before.keys() | after.keys():
        old, new = before.get(file), after.get(file)
        if old == new:
            continue
        regions = any(place.startswith(f"{file}#") for place in classes)
        if old is None or new is None or not regions:
            result.add(file)
        else:
            result |= _list_regions(file, read(old), read(new), classes)
    return result


def _list_regions(file: str, old: bytes, new: bytes, classes: Classes) -> set[str]:
    before, after = split(old), split(new)
    if [name for name, _ in before] != [name for name, _ in after]:
        return {file}
    pairs = zip(before, after, strict=True)
    changed = {f"{file}#{name}" for (name, body), (_, other) in pairs if body != other}
    return {place if place in classes else file for place in changed}
