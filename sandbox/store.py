"""The content-addressed store: bytes by their sha256. Refuses bytes that do not match their name.

A bundle is a manifest (canonical JSON, name -> digest), itself a blob.
"""

import os
import re
import secrets
from collections.abc import Mapping
from pathlib import Path

from configs.build import strict_json
from configs.errors import VerificationFailed
from sandbox.canonical import canonical, digest
from sandbox.foreign import read_file

NAME = re.compile(r"(models/|configs/)?[a-z_]{1,40}\.(py|json|safetensors)|program")


class Store:
    """Files under `root`, named store/ab/cdef…; written once, read with a check."""

    def __init__(self, root: Path, durable: bool = True) -> None:
        self.root, self._durable = root, durable

    def put(self, data: bytes) -> str:
        """Store bytes and return their digest; the file appears whole or not at all."""
        name = digest(data)
        path = self._path(name)
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            part = path.with_name(f".{secrets.token_hex(8)}")
            try:
                with part.open("wb") as file:
                    file.write(data)
                    file.flush()
                    if self._durable:
                        os.fsync(file.fileno())
                part.replace(path)
            except OSError:
                part.unlink(missing_ok=True)
                raise
        return name

    def get(self, name: str) -> bytes:
        """Return the bytes of a digest; raise VerificationFailed if they are missing or changed."""
        try:
            data = read_file(self._path(name))
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
        return data

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
        if not re.fullmatch(r"[0-9a-f]{64}", name):
            raise VerificationFailed(f"{name[:80]!r} is no digest; it should be 64 hex digits")
        return self.root / name[:2] / name[2:]
