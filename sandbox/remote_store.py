"""A store on an fsspec URL: object storage, or a file system of another machine.

Example: `heirloop run study=quickstart store=s3://bucket/runs` writes the address to
RUN/store.json, and every later command reads it there. Bytes have their sha256 as their name and
are hashed again whenever they are read, so the server need not be trusted with them. The URL holds
no secret: credentials come from the environment, as the library for its protocol reads them. A
folder that somebody else made names no server for this user (address.py).
"""

import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from configs.build import parse, plain, strict_json
from configs.errors import BadInput, HeirloopError, Stopped, VerificationFailed
from sandbox import address
from sandbox.canonical import canonical, digest
from sandbox.files import replace_file
from sandbox.foreign import MOST_BYTES, read_file
from sandbox.store import Mark, Store

NAME = "store.json"
"""File of a run that says where its store lies."""
NAMED = "stores"
"""List of the stores that this user named, in the user's folder."""
VARIABLE = "HEIRLOOP_STORE"
"""Variable of the environment with a store that this user names."""
LIKE = "s3://bucket/folder or file:///mnt/folder"
URL = re.compile(r"([a-z][a-z0-9+.-]{0,19})://([\w.:/~+=-]{1,900})", re.ASCII)
STUDY = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,99}", re.ASCII)
NO_MARK: Mark = (0, 0, 0, 0)
WHOLE = ("s3://", "s3a://", "gs://", "gcs://", "abfs://", "abfss://", "az://", "oss://", "oci://")
"""Object storage, where others see a new file whole or not at all; elsewhere it is moved there."""


class RemoteStore(Store):
    """Bytes below a URL, in a folder of the study, written once and read with a check.

    Raises BadInput without the library of its protocol, VerificationFailed for bytes that are
    missing or changed, and Stopped where the server does not answer.
    """

    def __init__(self, place: "Place") -> None:
        self._url, self._made = place.url, set[str]()
        self._system, base = _connect(place.url)
        super().__init__(Path(base.rstrip("/")) / place.study)

    def put(self, data: bytes) -> str:
        """Store bytes and return their digest; half of them are no file, and are written again."""
        name = digest(data)
        place = self._place(name)
        with self._told(name):
            if self._bytes_of(place) != len(data):
                folder = place.rpartition("/")[0]
                if folder not in self._made:
                    self._system.makedirs(folder, exist_ok=True)
                    self._made.add(folder)
                half = place if self._url.startswith(WHOLE) else f"{place}.{secrets.token_hex(8)}"
                self._system.pipe_file(half, data)
                if half != place:
                    self._system.mv(half, place)
        return name

    def get(self, name: str) -> bytes:
        """Return the bytes of a digest; raise VerificationFailed if they are missing or changed."""
        place = self._place(name)
        if held := self._held.get(name):
            return held[0]
        with self._told(name):
            size = int(self._system.size(place) or 0)
            if size > MOST_BYTES:
                raise VerificationFailed(
                    f"store file {name[:12]} has {size} bytes, which is no file"
                )
            data = bytes(self._system.cat_file(place))
        if digest(data) != name:
            raise VerificationFailed(
                f"store file {name[:12]} has wrong bytes; restore it from a copy of the run"
            )
        self._hold(name, data, NO_MARK)
        return data

    def drop(self, name: str) -> None:
        """Delete the file of a digest, if there is one; the caller recorded that it goes."""
        place = self._place(name)
        with self._told(name), suppress(FileNotFoundError):
            self._system.rm_file(place)
        self._release(name)

    def has(self, name: str) -> bool:
        """Tell whether there is a file of a digest; nothing is said of its bytes."""
        place = self._place(name)
        with self._told(name):
            return self._bytes_of(place) is not None

    def size(self, name: str) -> int:
        """Return the bytes of a stored file; 0 where there is none."""
        place = self._place(name)
        with self._told(name):
            return self._bytes_of(place) or 0

    def need_empty(self) -> None:
        """Raise BadInput where the place holds something already."""
        with self._told(""):
            found = self._system.exists(str(self.root)) and self._system.ls(str(self.root))
        if found:
            raise BadInput(
                f"store is {self._url}, and {self.root} holds a study already, whose folder is not"
                " here; put the folder back, or choose another study.name"
            )

    def need_kept(self) -> None:
        """Raise Stopped, BadInput or VerificationFailed unless bytes that are put can be read."""
        self.get(self.put(b"heirloop"))

    def _bytes_of(self, place: str) -> int | None:
        """Return the bytes of a file, None where there is none."""
        with suppress(FileNotFoundError):
            return int(self._system.info(place)["size"])
        return None

    @contextmanager
    def _told(self, name: str) -> Iterator[None]:
        """Turn an error of the server, whatever its library raises, into one sentence."""
        try:
            yield
        except HeirloopError:
            raise
        except FileNotFoundError:
            raise VerificationFailed(
                f"store file {name[:12]} is missing on {self._url}; restore it from a copy"
            ) from None
        except Exception as error:
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
            raise Stopped(
                f"the store {self._url} does not answer ({type(error).__name__}: {reason}); once it"
                " does, the same command goes on"
            ) from None


def need_store_url(text: str) -> str:
    """Return a store's URL; raise BadInput for another text, and for a secret in it."""
    found = URL.fullmatch(text)
    parts = found[2].split("/") if found else []
    plain_place = bool(found) and ".." not in parts
    if not plain_place or text.startswith("memory:"):
        right = f"a URL like {LIKE}, without a user, a password or options"
        shown = "a URL with a secret" if set("@?") & set(text) else repr(text[:80])
        raise BadInput(f"store is {shown}; it should be {right}")
    return text.rstrip("/")


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a study's stored bytes lie on a server."""

    url: str
    "fsspec URL, without a secret"
    study: str
    "folder of the study below it"


def open_store(folder: Path, durable: bool = True) -> Store:
    """Return the store of a run: a folder of it, or the place that RUN/store.json names.

    Raises VerificationFailed for a place that this version did not write, or that this user never
    named.
    """
    place = read_place(folder)
    return RemoteStore(place) if place else Store(folder / "store", durable)


def read_place(folder: Path) -> Place | None:
    """Return the place of a run's stored bytes, None for a folder of it; see `open_store`."""
    try:
        data = read_file(folder / NAME, address.ADDRESS_BYTES)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise VerificationFailed(f"{folder / NAME} cannot be read: {error.strerror}") from None
    try:
        place = parse(Place, strict_json(data, limit=address.ADDRESS_BYTES))
        known = need_store_url(place.url) == place.url and bool(STUDY.fullmatch(place.study))
    except BadInput:
        known = False
    if not known:
        raise VerificationFailed(
            f"{folder / NAME} is no address of a store; restore it from a copy of the run"
        )
    if not address.is_named(place.url, NAMED, VARIABLE):
        raise VerificationFailed(
            f"{folder} names a store on {place.url}, which this user never named; if it is the"
            f" study's own, say so with {VARIABLE}={place.url} in the environment"
        )
    return place


def write_place(folder: Path, place: Place) -> None:
    """Write where a run's stored bytes lie."""
    replace_file(folder / NAME, canonical(plain(place)))


def _connect(url: str) -> tuple[Any, str]:
    """Return the file system of a URL and the place in it."""
    try:
        import fsspec
    except ImportError:
        raise BadInput(
            "a store on a URL needs fsspec; install it with `pip install 'heirloop[store]'`"
        ) from None
    try:
        system, place = fsspec.url_to_fs(url, skip_instance_cache=True, use_listings_cache=False)
    except (ImportError, ValueError) as error:
        raise BadInput(f"store is {url}; its protocol cannot be used here: {error}") from None
    except Exception as error:
        raise Stopped(f"the store {url} cannot be reached ({type(error).__name__})") from None
    return system, str(place)
