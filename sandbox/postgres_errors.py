"""What a PostgreSQL server, its driver or the network says, as one sentence for people."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa

from configs.errors import FULL, HeirloopError, Stopped
from sandbox.foreign import HELD, unreadable


@contextmanager
def told(url: str, connection: sa.Connection | None) -> Iterator[None]:
    """Turn an error of the driver into a sentence; the connection is not used again."""
    try:
        yield
    except HeirloopError:
        raise
    except Exception as error:
        if connection is not None:
            connection.invalidate()
        raise explain(error, url) from None


def tell_of(url: str) -> Any:
    """Return the listener that turns errors below SQLAlchemy into sentences."""

    def tell(context: Any) -> None:
        error = context.original_exception
        if isinstance(error, context.dialect.dbapi.Error):
            raise explain(error, url) from None

    return tell


def explain(error: Exception, url: str) -> HeirloopError:
    """Return the sentence for an error of the server, the driver or the network."""
    error = getattr(error, "orig", None) or error
    state, place = str(getattr(error, "sqlstate", None) or ""), where(url)
    reason = " ".join(str(error).split())[:300].rstrip(".") or type(error).__name__
    match state[:2], state:
        case ("53", "53100") | ("58", _):
            return Stopped(FULL)
        case _, "55P03":
            return Stopped(HELD)
        case ("42", "42P01" | "42703") | ("3F", _):
            return unreadable(reason)
        case _, "42501":
            return Stopped(f"the server {place} does not allow it ({reason}); ask its owner")
        case (("22" | "23" | "42" | "XX"), _):
            return unreadable(reason)
    return Stopped(
        f"the ledger's server {place} does not answer as it should ({reason}); nothing was half"
        " written: put the server, its address or PGPASSWORD right, and the same command goes on"
        " where it was"
    )


def where(url: str) -> str:
    """Return a server and database as people name them."""
    made = sa.make_url(url)
    host = made.host or made.query.get("host")
    return f"{host}{f':{made.port}' if made.port else ''}/{made.database}"
