"""Where a run's ledger lies: in a file of the run's folder, or on a PostgreSQL server.

Example: `heirloop run study=quickstart ledger=postgresql://ada@db.example/heirloop` writes the
address to RUN/ledger.json, and every later command reads it there. The address has no password:
libpq takes it from PGPASSWORD or ~/.pgpass. A folder that somebody else made names no server for
this user: a command connects only where this user said so before.
"""

import os
import re
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.exc import ArgumentError

from configs.build import plain, strict_json
from configs.errors import BadInput, VerificationFailed
from sandbox import keys
from sandbox.canonical import canonical, digest
from sandbox.files import append_line, read_lines, replace_file
from sandbox.foreign import read_file
from sandbox.ledger import FILE as FILE

NAME = "ledger.json"
"""File of a run that says on which server its ledger lies."""
ADDRESS_BYTES = 2_000
"""Longest address."""
VARIABLE = "HEIRLOOP_LEDGER"
"""Variable of the environment with a server that this user names."""
LIKE = "postgresql://user@host:5432/database"
OPTIONS = {"host", "sslmode", "sslrootcert"}
"""Options that a URL may have: the folder of a Unix socket, and how TLS is checked."""
LONGEST = 63
"""Longest name of a schema."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """A ledger on a server."""

    url: str
    "URL of the database, without a password"
    schema: str
    "name of the study's schema in it"


def need_url(text: str) -> str:
    """Return the URL of a PostgreSQL database in its plain form.

    Raises BadInput for another URL, and for a password in it; the sentence does not repeat it.
    """
    try:
        url = sa.make_url(text)
    except (ArgumentError, ValueError):
        raise BadInput(f"ledger is no URL; it should be like {LIKE}") from None
    if url.password is not None or "password" in url.query:
        raise BadInput(
            f"ledger is a URL with a password; it should be like {LIKE}, with the password in"
            " PGPASSWORD or ~/.pgpass, since the URL is written to the run"
        )
    place = url.host or url.query.get("host")
    plain_options = all(isinstance(value, str) for value in url.query.values())
    if not (url.drivername in ("postgresql", "postgres") and place and url.database):
        raise BadInput(f"ledger is {text[:80]!r}; it should be like {LIKE}")
    if not plain_options or not set(url.query) <= OPTIONS or len(text) > ADDRESS_BYTES // 2:
        right = f"a URL with no other options than {', '.join(sorted(OPTIONS))}, each once"
        raise BadInput(f"ledger is {text[:80]!r}; it should be {right}")
    return url.set(drivername="postgresql").render_as_string(hide_password=False)


def make_address(url: str, study: str) -> Address:
    """Return the address of a study's ledger in a database."""
    schema = f"heirloop_{study}"
    if len(schema) > LONGEST:
        schema = f"{schema[: LONGEST - 13]}_{digest(study.encode())[:12]}"
    return Address(url=need_url(url), schema=schema)


def read_address(folder: Path) -> Address | None:
    """Return where a run's ledger lies, None for a file in its folder.

    Raises VerificationFailed for an address that this version did not write, and for a server that
    this user never named.
    """
    try:
        data = read_file(folder / NAME, ADDRESS_BYTES)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise VerificationFailed(f"{folder / NAME} cannot be read: {error.strerror}") from None
    try:
        address = Address(**strict_json(data, limit=ADDRESS_BYTES))
        known = need_url(address.url) == address.url
        known = known and bool(re.fullmatch(r"heirloop_[A-Za-z0-9._-]{1,54}", address.schema))
    except (BadInput, TypeError, ValueError):
        known = False
    if not known:
        raise VerificationFailed(
            f"{folder / NAME} is no address of a ledger; restore it from a copy of the run"
        )
    if not is_named(address.url):
        raise VerificationFailed(
            f"{folder} names a ledger on {address.url}, which this user never named; if it is the"
            f" study's own, say so with {VARIABLE}={address.url} in the environment"
        )
    return address


def write_address(folder: Path, address: Address) -> None:
    """Write where a run's ledger lies."""
    replace_file(folder / NAME, canonical(plain(address)))


def remember(url: str, named: str = "ledgers", variable: str = VARIABLE) -> None:
    """Note that this user named a server, in a list of the user's folder."""
    if not is_named(url, named, variable):
        append_line(keys.home() / named, canonical(url))


def is_named(url: str, named: str = "ledgers", variable: str = VARIABLE) -> bool:
    """Tell whether this user named a server: in an earlier command, or in the environment."""
    text = os.environ.get(variable, "")
    if text and url == (need_url(text) if variable == VARIABLE else text.rstrip("/")):
        return True
    return canonical(url) in read_lines(keys.home() / named)


def has_ledger(folder: Path) -> bool:
    """Tell whether a folder is a run: it holds a ledger, or the address of one."""
    return (folder / FILE).exists() or (folder / NAME).exists()


def list_runs(folder: Path) -> list[Path]:
    """Return the runs in a folder of runs, by name."""
    return sorted({path.parent for name in (FILE, NAME) for path in folder.glob(f"*/{name}")})
