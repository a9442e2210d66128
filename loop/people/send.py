"""Sends notices to the addresses that people gave, through apprise: mail, Slack, a webhook and so
on.

What was sent are entries of the ledger, so that a resumed run sends nothing twice (a process that
dies between sending and writing may). A delivery that fails or hangs is recorded and tried again a
bounded number of times; no launch waits for one. An address may hold secrets: it stays in the
user's folder, and the ledger has a keyed hash and the scheme. It refuses to send for a run twice at
a time.
"""

import fcntl
import hmac
import json
import logging
import math
import os
import re
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from configs.build import need, strict_json
from configs.entries import Entry
from configs.errors import BadInput, HeirloopError
from loop.people.notice import TOLD, Notice, receivers, told
from loop.people.requests import open_gate
from sandbox import keys
from sandbox.canonical import digest
from sandbox.decision import HOUR
from sandbox.gate import Gate


def call_people(folder: Path) -> None:
    """Call people about what a command has just done, for a moment; the loop or `heirloop notify`
    tries again what fails.
    """
    with suppress(HeirloopError, OSError):
        Caller(open_gate(folder), folder).deliver(seconds=CLOSE_SECONDS)


BACKOFF_SECONDS = (0, 30, 120, 600, 3600)
"""Wait before each attempt; after the last one a delivery is given up."""


PER_HOUR = 60
"""Attempts for one receiver within an hour; what is beyond waits."""


SEND_SECONDS = 10.0
"""How long one delivery may take before it counts as failed."""


CLOSE_SECONDS = 3.0
"""How long the end of a run waits for deliveries; below control.GRACE_SECONDS, so that no receiver
holds up a stop.
"""


class Addresses:
    """The user's address book: name of a reviewer -> apprise URL, in a 0600 file of the user's
    folder.
    """

    def __init__(self) -> None:
        path = keys.home() / "addresses.json"
        found: Any = (
            strict_json(path.read_bytes())
            if path.is_file()
            else {"salt": secrets.token_hex(16), "urls": {}}
        )
        self.urls: dict[str, str] = found["urls"]
        self._salt: str = found["salt"]

    def scheme(self, name: str) -> str:
        """Return the kind of service, such as mailto."""
        return self.urls[name].partition("://")[0].lower()

    def shown(self, name: str) -> str:
        """Return what people see of an address, since any other part of it can be a secret; empty:
        there is none.
        """
        return f"{self.scheme(name)}://... ({self.hash(name)[:8]})" if name in self.urls else ""

    def hash(self, name: str) -> str:
        """Return what stands for an address in a ledger: keyed, so that a weak password in it
        cannot be guessed from the hash.
        """
        return hmac.new(self._salt.encode(), self.urls.get(name, "").encode(), "sha256").hexdigest()

    def set(self, name: str, url: str) -> None:
        """Keep an address for a reviewer, replace the one before, or forget it (empty). Raises
        BadInput for what apprise does not know.
        """
        import apprise

        need(
            bool(re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,31}", name)),
            "NAME",
            name,
            "the name of a reviewer's key",
        )
        if url and apprise.Apprise.instantiate(url, asset=_asset()) is None:
            raise BadInput(
                f"URL begins with {url.partition('://')[0][:20]!r}; it should be an apprise URL"
                " such as mailto://, slack:// or json://"
            )
        self.urls = {
            **{k: v for k, v in self.urls.items() if k != name},
            **({name: url} if url else {}),
        }
        folder = keys.home()
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with open(
            os.open(folder / ".addresses", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb"
        ) as file:
            file.write(json.dumps({"salt": self._salt, "urls": self.urls}).encode())
        (folder / ".addresses").replace(folder / "addresses.json")


def due(
    gate: Gate, now: float, known: Addresses, entries: list[Entry] | None = None
) -> Iterator[tuple[Notice, str, int]]:
    """Yield (notice, name, attempt from 1) for everything that should be sent now; `entries` are
    those of TOLD kinds, None: looked up.
    """
    entries = gate.refresh().ledger.entries() if entries is None else entries
    tried: dict[tuple[str, str], list[dict[str, Any]]] = {}
    recent: dict[str, int] = {}
    for body in (e.body for e in entries if e.kind == "notice"):
        tried.setdefault((body["digest"], body["to"]), []).append(body)
        recent[body["to"]] = recent.get(body["to"], 0) + (body["at"] > now - HOUR)
    for notice in told(gate, entries, now):
        for name in receivers(gate, notice.what):
            before = tried.get((digest(notice), name), [])
            mine = [b for b in before if b["address"] == known.hash(name)]
            late = len(mine) < len(BACKOFF_SECONDS) and (
                not mine or now >= mine[-1]["at"] + BACKOFF_SECONDS[len(mine)]
            )
            if (
                name in known.urls
                and late
                and not any(b["ok"] for b in before)
                and recent.get(name, 0) < PER_HOUR
            ):
                yield notice, name, len(mine) + 1


class Caller:
    """Sends what is due, one message an address at a time; an address that hangs holds up neither
    the others nor the loop.
    """

    def __init__(self, gate: Gate, folder: Path) -> None:
        self._gate, self._folder, self._hanging = gate, folder, dict[str, threading.Thread]()
        self._seen, self._looked, self._end, self._over = 0, 0.0, math.inf, threading.Event()
        self._read, self._kept = 0, list[Entry]()

    def deliver(
        self, now: float | None = None, seconds: float = SEND_SECONDS
    ) -> list[dict[str, Any]]:
        """Try what is due, at most one message per address, and record each attempt; return what
        was recorded.
        """
        known = Addresses()
        if not known.urls:
            return []
        with _alone(self._folder / "notice.lock") as mine:
            return (
                self._attempt(self._gate.now() if now is None else now, known, seconds)
                if mine
                else []
            )

    def _attempt(self, now: float, known: Addresses, seconds: float) -> list[dict[str, Any]]:
        first: dict[str, tuple[Notice, int]] = {}
        for entry in self._gate.refresh().ledger.since(self._read):
            self._read = entry.sequence
            self._kept += [entry] if entry.kind in TOLD else []
        for notice, name, attempt in due(self._gate, now, known, self._kept):
            if name not in first and not (name in self._hanging and self._hanging[name].is_alive()):
                first[name] = (notice, attempt)
        said: dict[str, str] = {}
        for name, (notice, _) in first.items():
            self._hanging[name] = threading.Thread(
                target=_send, args=(known.urls[name], notice, said, name), daemon=True
            )
            self._hanging[name].start()
        self._wait(list(first), seconds)
        rows = []
        for name, (notice, attempt) in first.items():
            error = said.get(name, "timeout")
            rows.append(
                {
                    "digest": digest(notice),
                    "about": notice.about,
                    "what": notice.what,
                    "to": name,
                    "scheme": known.scheme(name),
                    "address": known.hash(name),
                    "attempt": attempt,
                    "ok": not error,
                    "error": error,
                    "at": int(now),
                }
            )
            self._gate.ledger.append("notice", rows[-1])
        return rows

    def _wait(self, names: list[str], seconds: float) -> None:
        until = time.monotonic() + seconds
        while any(self._hanging[name].is_alive() for name in names) and time.monotonic() < min(
            until, self._end
        ):
            time.sleep(0.01)

    @contextmanager
    def calling(self) -> Iterator[None]:
        """Send in the background while a study runs, and at its end for a moment what is left."""
        thread = threading.Thread(target=self._work, daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._end = time.monotonic() + CLOSE_SECONDS
            self._over.set()
            thread.join(CLOSE_SECONDS + 1)

    def _work(self) -> None:
        with suppress(
            HeirloopError, OSError
        ):  # a full disk stops the loop by itself; what was not sent is due when it goes on
            while not self._over.wait(0.2):
                head = self._gate.ledger.head()
                count = head.sequence if head else 0
                if count != self._seen or time.monotonic() > self._looked + 10:
                    self._seen, self._looked = count, time.monotonic()
                    self.deliver()
            while time.monotonic() < self._end and self.deliver():
                pass


def _send(url: str, notice: Notice, said: dict[str, str], name: str) -> None:
    """Send one message; leave why it failed, or an empty string, in `said`."""
    import apprise

    heard = _Heard()
    log = logging.getLogger("apprise")
    log.addHandler(heard)
    log.propagate = False
    try:
        plugin = apprise.Apprise.instantiate(url, asset=_asset())
        done = bool(plugin and plugin.notify(title=f"Heirloop: {notice.what}", body=notice.body()))
        said[name] = "" if done else heard.reason if plugin else "no such address"
    except Exception as error:  # whatever a service's plugin raises is a failed delivery
        said[name] = type(error).__name__
    finally:
        log.removeHandler(heard)


class _Heard(logging.Handler):
    """Learns from apprise's own words why a delivery failed; keeps a class of error, since the
    words may hold the address.
    """

    def __init__(self) -> None:
        super().__init__()
        self.reason, self._thread = "refused", threading.get_ident()

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        if record.thread == self._thread and (found := re.search(r"error=(\d{3})\b", text)):
            self.reason = f"status {found[1]}"
        elif record.thread == self._thread and "onnection" in text:
            self.reason = "connection"


def _asset() -> Any:
    import apprise

    return apprise.AppriseAsset(
        async_mode=False,
        secure_logging=True,
        app_id="Heirloop",
        storage_mode=apprise.PersistentStoreMode.MEMORY,
    )


@contextmanager
def _alone(path: Path) -> Iterator[bool]:
    """Yield whether no other process sends for this run now."""
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            yield False
        else:
            yield True
