"""Sending: notices go to addresses given by people, by mail, Slack or a webhook, for example.

Each attempt is an entry of the ledger, so a resumed run sends nothing twice. (A process may, if it
dies between sending and writing.) A failed or hanging delivery is tried again, a bounded number of
times. No launch waits for it. Two processes do not send for the same run at a time.
"""

import fcntl
import logging
import math
import re
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from configs.entries import Entry, NoticeEntry, facts_of
from configs.errors import HeirloopError
from loop.people.addresses import Addresses, open_service
from loop.people.notice import SOURCES, Notice, list_notices, list_receivers
from loop.people.requests import open_gate
from sandbox.canonical import digest
from sandbox.decision import HOUR
from sandbox.gate import Gate

BACKOFF_SECONDS = (0, 30, 120, 600, 3600)
"""Wait before each attempt; after the last a delivery is given up."""
PER_HOUR = 60
"""Attempts for a receiver within an hour; further notices wait."""
SEND_SECONDS = 10.0
"""Longest time of a delivery; then it counts as failed."""
CLOSE_SECONDS = 3.0
"""How long the end of a run waits for deliveries; below control.GRACE_SECONDS, so that no receiver
holds up a stop.
"""


def call_people(folder: Path) -> None:
    """Call people about a command, for a moment; the loop or `heirloop notify` tries again."""
    with suppress(HeirloopError, OSError):
        Caller(open_gate(folder), folder).deliver(seconds=CLOSE_SECONDS)


def list_due(
    gate: Gate, now: float, book: Addresses, entries: list[Entry] | None = None
) -> Iterator[tuple[Notice, str, int]]:
    """Yield (notice, name, attempt from 1) for each delivery due now.

    `entries` are of the kinds in SOURCES; None: they are looked up.
    """
    if entries is None:
        entries = gate.refresh().ledger.entries()
    attempts: dict[tuple[str, str], list[NoticeEntry]] = defaultdict(list)
    recent: Counter[str] = Counter()
    for attempt in facts_of(entries, NoticeEntry):
        attempts[attempt.digest, attempt.to].append(attempt)
        recent[attempt.to] += attempt.at > now - HOUR
    for notice in list_notices(gate, entries, now):
        for name in list_receivers(gate, notice.what):
            if name not in book.urls or recent[name] >= PER_HOUR:
                continue
            number = _next_attempt(attempts[digest(notice), name], book.hash(name), now)
            if number:
                yield notice, name, number


def _next_attempt(attempts: Sequence[NoticeEntry], address: str, now: float) -> int:
    """Return the number of the due attempt at an address, 0 without any.

    A new address begins anew; a delivery anywhere is enough.
    """
    if any(attempt.ok for attempt in attempts):
        return 0
    here = [attempt for attempt in attempts if attempt.address == address]
    if len(here) == len(BACKOFF_SECONDS):
        return 0
    if here and now < here[-1].at + BACKOFF_SECONDS[len(here)]:
        return 0
    return len(here) + 1


class Caller:
    """Sends due notices, a message at a time to each address.

    A hanging address holds up neither the others nor the loop.
    """

    def __init__(self, gate: Gate, folder: Path) -> None:
        self._gate, self._folder = gate, folder
        self._threads: dict[str, threading.Thread] = {}
        self._entries: list[Entry] = []
        self._sequence = 0
        self._end, self._over = math.inf, threading.Event()

    def deliver(self, now: float | None = None, seconds: float = SEND_SECONDS) -> list[NoticeEntry]:
        """Try the due deliveries, at most a message per address; return the attempts."""
        book = Addresses()
        if not book.urls:
            return []
        with lock_sending(self._folder / "notice.lock") as locked:
            if not locked:
                return []
            return self._attempt(self._gate.now() if now is None else now, book, seconds)

    def _attempt(self, now: float, book: Addresses, seconds: float) -> list[NoticeEntry]:
        self._follow()
        first: dict[str, tuple[Notice, int]] = {}
        for notice, name, number in list_due(self._gate, now, book, self._entries):
            if name not in first and not self._hangs(name):
                first[name] = (notice, number)
        errors = self._send_all(
            {name: notice for name, (notice, _) in first.items()}, book, seconds
        )
        attempts = []
        for name, (notice, number) in first.items():
            attempt = _describe_attempt(
                notice, name, number, book, errors.get(name, "timeout"), now
            )
            self._gate.ledger.append(attempt)
            attempts.append(attempt)
        return attempts

    def _follow(self) -> None:
        """Keep the new entries with an effect on notices."""
        for entry in self._gate.refresh().ledger.since(self._sequence):
            self._sequence = entry.sequence
            if entry.kind in SOURCES:
                self._entries.append(entry)

    def _hangs(self, name: str) -> bool:
        return name in self._threads and self._threads[name].is_alive()

    def _send_all(
        self, notices: dict[str, Notice], book: Addresses, seconds: float
    ) -> dict[str, str]:
        """Send a notice to each name; return errors by name, without the names still hanging."""
        errors: dict[str, str] = {}
        for name, notice in notices.items():
            thread = threading.Thread(
                target=_send, args=(book.urls[name], notice, errors, name), daemon=True
            )
            self._threads[name] = thread
            thread.start()
        until = time.monotonic() + seconds
        while any(map(self._hangs, notices)) and time.monotonic() < min(until, self._end):
            time.sleep(0.01)
        # A copy, because a hanging thread may still add its error.
        return dict(errors)

    @contextmanager
    def calling(self) -> Iterator[None]:
        """Send in the background while a study runs, and at its end for a moment the rest."""
        thread = threading.Thread(target=self._work, daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._end = time.monotonic() + CLOSE_SECONDS
            self._over.set()
            thread.join(CLOSE_SECONDS + 1)

    def _work(self) -> None:
        """Deliver after growth of the ledger, and every ten seconds for waiting attempts."""
        sequence, looked = 0, 0.0
        # A full disk stops the loop by itself; the rest is due when the study goes on.
        with suppress(HeirloopError, OSError):
            while not self._over.wait(0.2):
                head = self._gate.ledger.head()
                newest = head.sequence if head else 0
                if newest != sequence or time.monotonic() > looked + 10:
                    sequence, looked = newest, time.monotonic()
                    self.deliver()
            while time.monotonic() < self._end and self.deliver():
                pass


def _describe_attempt(
    notice: Notice, name: str, number: int, book: Addresses, error: str, now: float
) -> NoticeEntry:
    return NoticeEntry(
        digest=digest(notice),
        about=notice.about,
        what=notice.what,
        to=name,
        scheme=book.scheme(name),
        address=book.hash(name),
        attempt=number,
        ok=not error,
        error=error,
        at=int(now),
    )


def _send(url: str, notice: Notice, errors: dict[str, str], name: str) -> None:
    """Send a message; leave the class of its failure in `errors`, empty where it was sent."""
    listener = _FailureListener()
    log = logging.getLogger("apprise")
    log.disabled = False  # another library may have silenced every logger that it met
    log.addHandler(listener)
    log.propagate = False
    try:
        service = open_service(url)
        if service is None:
            errors[name] = "no such address"
        elif service.notify(title=f"Heirloop: {notice.what}", body=notice.body()):
            errors[name] = ""
        else:
            errors[name] = listener.reason
    # A plugin of a service may raise anything; each is a failed delivery.
    except Exception as error:
        errors[name] = type(error).__name__
    finally:
        log.removeHandler(listener)


class _FailureListener(logging.Handler):
    """Learns the class of a failure from apprise's log; its words may hold the address."""

    def __init__(self) -> None:
        super().__init__()
        self.reason, self._thread = "refused", threading.get_ident()

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a status code or the word `connection`, and nothing else of a record."""
        if record.thread != self._thread:
            return
        text = record.getMessage()
        status = re.search(r"error=(\d{3})\b", text)
        if status:
            self.reason = f"status {status[1]}"
        elif "onnection" in text:
            self.reason = "connection"


@contextmanager
def lock_sending(path: Path) -> Iterator[bool]:
    """Yield whether no other process sends for this run now."""
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            yield False
        else:
            yield True
