"""Commits of a git history, from its objects and refs alone; git itself is not run.

Loose objects and packs of version 2 are read. A replacement, an alternate store, a graft, a config
and a hook have no effect: none of them is copied or looked at.
"""

import re
import struct
import zlib
from bisect import bisect_left
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from loop.audit.formats.base import Found

MOST_BYTES = 1_000_000
"""Longest commit, and longest base of a delta."""
DEEP, MOST_COMMITS = 60, 200_000
HEAD_BYTES = 1032
"""Bytes of an index before its names."""
HASH = re.compile("[0-9a-f]{40}")


class History:
    """The copied objects of a history."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._packs: list[tuple[bytes, bytes, int]] = []
        for path in sorted(folder.glob("objects/pack/*.pack")):
            if path.with_suffix(".idx").is_file():
                index = path.with_suffix(".idx").read_bytes()
                self._packs.append((path.read_bytes(), index, _count(index)))
        loose = folder.glob("objects/[0-9a-f][0-9a-f]/*")
        self._loose = sorted(path.parent.name + path.name for path in loose)

    def find(self, start: str) -> str:
        """Return the only commit whose name begins so; empty for none or several."""
        if not re.fullmatch("[0-9a-f]{4,40}", start):
            return ""
        names = set(_take(self._loose, bisect_left(self._loose, start), start))
        for _, index, count in self._packs:
            listed = _Names(index, count)
            names |= set(_take(listed, bisect_left(listed, start), start))
        commits = [name for name in names if self.commit(name)]
        return commits[0] if len(commits) == 1 else ""

    def commit(self, name: str) -> tuple[str, list[str]] | None:
        """Return (tree, parents) of a commit; None for anything else."""
        try:
            kind, data = self._object(name, 0)
        except (OSError, zlib.error, struct.error, IndexError, ValueError, KeyError):
            return None
        if kind != "commit":
            return None
        head = data.partition(b"\n\n")[0].decode("utf-8", "replace").split("\n")
        parts = [line.split(" ", 1) for line in head if " " in line]
        trees = [part[1] for part in parts if part[0] == "tree"]
        parents = [part[1] for part in parts if part[0] == "parent"]
        sound = len(trees) == 1 and all(HASH.fullmatch(n) for n in (*trees, *parents))
        return (trees[0], parents) if sound else None

    def head(self) -> str:
        """Return the commit of HEAD; empty if it has none."""
        text = _text(self._folder / "HEAD").strip()
        if not text.startswith("ref: "):
            return text if HASH.fullmatch(text) else ""
        ref = text.removeprefix("ref: ").strip()
        if not re.fullmatch(r"refs/heads/[\w.@+/-]{1,200}", ref) or ".." in ref:
            return ""
        direct = _text(self._folder / ref).strip()
        if HASH.fullmatch(direct):
            return direct
        for line in _text(self._folder / "packed-refs").splitlines():
            name, _, other = line.partition(" ")
            if other == ref and HASH.fullmatch(name):
                return name
        return ""

    def branch(self) -> set[str]:
        """Return every commit that HEAD reaches."""
        reached, waiting = set[str](), [self.head()]
        while waiting and len(reached) < MOST_COMMITS:
            name = waiting.pop()
            found = self.commit(name) if name and name not in reached else None
            if found:
                reached.add(name)
                waiting += found[1]
        return reached

    def _object(self, name: str, depth: int) -> tuple[str, bytes]:
        place = bisect_left(self._loose, name)
        if place < len(self._loose) and self._loose[place] == name:
            data = _inflate((self._folder / "objects" / name[:2] / name[2:]).read_bytes())
            head, _, body = data.partition(b"\0")
            return head.split(b" ")[0].decode("ascii", "replace"), body
        for number, (_, index, count) in enumerate(self._packs):
            listed = _Names(index, count)
            place = bisect_left(listed, name)
            if place < count and listed[place] == name:
                return self._packed(number, _find_place(index, count, place), depth)
        raise KeyError(name)

    def _packed(self, number: int, at: int, depth: int) -> tuple[str, bytes]:
        """Return an object of a pack; a delta is applied to its base."""
        if depth > DEEP:
            raise ValueError("a chain of deltas is too long")
        pack, place = self._packs[number][0], at
        byte = pack[place]
        kind, size, shift = byte >> 4 & 7, byte & 15, 4
        while byte & 128:
            place += 1
            byte = pack[place]
            size, shift = size | (byte & 127) << shift, shift + 7
        place += 1
        if size > MOST_BYTES:
            raise ValueError("an object is too large")
        names = {1: "commit", 2: "tree", 3: "blob", 4: "tag"}
        if kind in names:
            return names[kind], _inflate(pack[place : place + 2 * MOST_BYTES])
        if kind == 7:
            base = self._object(pack[place : place + 20].hex(), depth + 1)
            return base[0], _apply(base[1], _inflate(pack[place + 20 : place + 2 * MOST_BYTES]))
        if kind != 6:
            raise ValueError("an object is of no kind")
        byte = pack[place]
        back = byte & 127
        while byte & 128:
            place += 1
            byte = pack[place]
            back = (back + 1) << 7 | byte & 127
        if not 0 < back <= at:
            raise ValueError("a delta has no base")
        base = self._packed(number, at - back, depth + 1)
        return base[0], _apply(base[1], _inflate(pack[place + 1 : place + 2 * MOST_BYTES]))


def add_history(found: Found, history: History) -> None:
    """Give each trial the tree of its commit as content, and count the keeps on the branch.

    A trial without a content of its own shares its commit with another description: the commit
    does not say what it ran.
    """
    branch = history.branch()
    full = {trial["name"]: history.find(trial["name"]) for trial in found.trials}
    kept = [full[trial["name"]] for trial in found.trials if trial["kept"]]
    found.in_history = sum(bool(name) for name in kept)
    found.on_branch = sum(name in branch for name in kept)
    for trial in found.trials:
        commit = history.commit(full[trial["name"]]) if full[trial["name"]] else None
        if commit and trial["content"]:
            trial["content"] = commit[0]


class _Names(Sequence[str]):
    """The names of an index of version 2, ascending."""

    def __init__(self, index: bytes, count: int) -> None:
        self._index, self._count = index, count

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, place: Any) -> Any:
        start = HEAD_BYTES + 20 * int(place)
        return self._index[start : start + 20].hex()


def _take(names: Sequence[str], place: int, start: str) -> list[str]:
    """Return the names from a place on that begin so; a few are enough to see several."""
    near = [names[i] for i in range(place, min(place + 4, len(names)))]
    return [name for name in near if name.startswith(start)]


def _count(index: bytes) -> int:
    """Return the number of objects of an index; 0 for another version, or a length that lies."""
    if index[:8] != b"\xfftOc\0\0\0\2" or len(index) < HEAD_BYTES:
        return 0
    count: int = struct.unpack_from(">I", index, HEAD_BYTES - 4)[0]
    return count if len(index) >= HEAD_BYTES + 28 * count else 0


def _find_place(index: bytes, count: int, number: int) -> int:
    """Return where an object begins in its pack."""
    places = HEAD_BYTES + 24 * count
    at: int = struct.unpack_from(">I", index, places + 4 * number)[0]
    if at >> 31:
        at = struct.unpack_from(">Q", index, places + 4 * count + 8 * (at & 0x7FFFFFFF))[0]
    return at


def _inflate(data: bytes) -> bytes:
    """Return the bytes of a stream, at most MOST_BYTES."""
    machine = zlib.decompressobj()
    result = machine.decompress(data, MOST_BYTES)
    if not machine.eof:
        raise ValueError("an object is too large or cut short")
    return result


def _apply(base: bytes, delta: bytes) -> bytes:
    """Return the bytes that a delta makes of its base."""
    _, place = _length(delta, 0)
    size, place = _length(delta, place)
    result = bytearray()
    while place < len(delta):
        code = delta[place]
        place += 1
        if not code:
            raise ValueError("a delta has a step of no kind")
        if code & 128:
            at = count = 0
            for i in range(7):
                if code >> i & 1:
                    at, count = (
                        (at | delta[place] << 8 * i, count)
                        if i < 4
                        else (at, count | delta[place] << 8 * (i - 4))
                    )
                    place += 1
            result += base[at : at + (count or 0x10000)]
        else:
            result += delta[place : place + code]
            place += code
        if len(result) > size:
            break
    if len(result) != size or size > MOST_BYTES:
        raise ValueError("a delta makes another size than it says")
    return bytes(result)


def _length(data: bytes, place: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[place]
        value, shift, place = value | (byte & 127) << shift, shift + 7, place + 1
        if not byte & 128 or shift > 35:
            return value, place


def _text(path: Path) -> str:
    return path.read_bytes()[:16_000_000].decode("utf-8", "replace") if path.is_file() else ""
