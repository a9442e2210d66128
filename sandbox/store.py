"""The content-addressed store: bytes by their sha256. Refuses bytes that do not match their name.

A bundle is a manifest (canonical JSON, name -> digest), itself a blob.
"""

import os
import re
import secrets
import threading
from collections import OrderedDict
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from configs.build import strict_json
from configs.errors import VerificationFailed
from configs.records import is_own
from sandbox.canonical import canonical, digest
from sandbox.foreign import read_file

NAME = re.compile(
    r"(models/|configs/)?[a-z_]{1,40}\.(py|json|safetensors)|program|notes"
    r"|agent/[a-z0-9_]{1,40}\.(py|json|txt|md)"
    r"|task/[A-Za-z0-9_-]{1,40}(\.\w{1,8})?",
    re.ASCII,
)
HELD_BYTES = 1 << 24
"""Bytes of checked files that a store holds in memory, with ROW_BYTES more for each file. A job's
weights are read again soon after they were made: by inspection, sketch, comparison, prediction.
"""
ROW_BYTES = 512
Mark = tuple[int, int, int, int]
"""A file's number, size and times."""


class Store:
    """Files under `root`, named store/ab/cdef…; written once, read with a check."""

    def __init__(self, root: Path, durable: bool = True) -> None:
        self.root, self._durable = root, durable
        self._held, self._size = OrderedDict[str, tuple[bytes, Mark]](), 0
        self._lock = threading.Lock()

    def put(self, data: bytes) -> str:
        """Store bytes and return their digest; the file appears whole or not at all."""
        name = digest(data)
        place = self._place(name)
        if not os.path.exists(place):
            folder = os.path.dirname(place)
            if not os.path.isdir(folder):
                os.makedirs(folder, exist_ok=True)
            part = Path(f"{folder}/.{secrets.token_hex(8)}")
            try:
                with open(part, "wb") as file:
                    file.write(data)
                    file.flush()
                    if self._durable:
                        os.fsync(file.fileno())
                os.replace(part, place)
            except OSError:
                part.unlink(missing_ok=True)
                raise
            with suppress(OSError):
                self._hold(name, data, _mark(place))
        return name

    def get(self, name: str) -> bytes:
        """Return the bytes of a digest; raise VerificationFailed if they are missing or changed."""
        place = self._place(name)
        try:
            mark = _mark(place)
            held = self._held.get(name)
            if held and held[1] == mark:
                return held[0]
            data = read_file(place)
        except FileNotFoundError:
            raise VerificationFailed(
                f"store file {name[:12]} is missing; restore it from a copy of the run"
            ) from None
        except OSError as error:
            raise VerificationFailed(
                f"store file {name[:12]} cannot be read ({error.strerror}); restore it from a copy"
                " of the run"
            ) from None
        if digest(data) != name:
            raise VerificationFailed(
                f"store file {name[:12]} has wrong bytes; restore it from a copy of the run"
            )
        self._hold(name, data, mark)
        return data

    def _hold(self, name: str, data: bytes, mark: Mark) -> None:
        """Hold checked bytes in memory, until their file changes or others need the room."""
        if len(data) > HELD_BYTES // 16:
            return
        with self._lock:
            before = self._held.pop(name, None)
            self._held[name] = data, mark
            self._size += len(data) - len(before[0]) if before else len(data) + ROW_BYTES
            while self._size > HELD_BYTES:
                self._size -= len(self._held.popitem(last=False)[1][0]) + ROW_BYTES

    def drop(self, name: str) -> None:
        """Delete the file of a digest, if there is one; the caller recorded that it goes."""
        Path(self._place(name)).unlink(missing_ok=True)
        self._release(name)

    def _release(self, name: str) -> None:
        """Hold the bytes of a digest in memory no more."""
        with self._lock:
            held = self._held.pop(name, None)
            self._size -= len(held[0]) + ROW_BYTES if held else 0

    def has(self, name: str) -> bool:
        """Tell whether there is a file of a digest; nothing is said of its bytes."""
        return os.path.lexists(self._place(name))

    def size(self, name: str) -> int:
        """Return the bytes of a stored file; 0 where there is none."""
        return os.lstat(self._place(name)).st_size if self.has(name) else 0

    def put_bundle(self, files: Mapping[str, bytes]) -> str:
        """Store files and their manifest; return the manifest's digest."""
        return self.put(canonical({name: self.put(data) for name, data in files.items()}))

    def get_bundle(self, name: str) -> dict[str, bytes]:
        """Return the files of a manifest, each checked."""
        return {file: self.get(blob) for file, blob in self.manifest(name).items()}

    def manifest(self, name: str) -> dict[str, str]:
        """Return the files of a bundle with their digests; refuse names of another form."""
        manifest = strict_json(self.get(name), limit=1_000_000)
        for file in manifest:
            if not NAME.fullmatch(file):
                raise VerificationFailed(
                    f"bundle {name[:12]} names the file {file!r}, which no bundle may hold"
                )
        return dict(manifest)

    def _path(self, name: str) -> Path:
        return Path(self._place(name))

    def _place(self, name: str) -> str:
        if not re.fullmatch(r"[0-9a-f]{64}", name):
            raise VerificationFailed(f"{name[:80]!r} is no digest; it should be 64 hex digits")
        return f"{self.root}/{name[:2]}/{name[2:]}"


def name_program(manifest: Mapping[str, str]) -> str:
    """Return the digest of people's own program in a bundle; of a folder, that of its manifest."""
    own = {file: name for file, name in manifest.items() if is_own(file)}
    return own["program"] if own.keys() == {"program"} else digest(own) if own else ""


def _mark(place: str) -> Mark:
    """Return what changes whenever a file changes."""
    status = os.lstat(place)
    return status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns
