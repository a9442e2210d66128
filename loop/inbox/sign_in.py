"""Sign-in: a key challenge, sessions in memory, and a token per session against forged forms.

A session names a public key of this user's folder; a revoked key ends its sessions at once. The
server sees signatures, never keys.
"""

import hmac
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field

from configs.errors import VerificationFailed
from sandbox import keys

CHALLENGE_SECONDS = 120
SESSION_SECONDS = 12 * 3600
Opened = tuple[str, str, str]
"""A shown subject: run, digest, class of the decision."""
OWN = 20
"""Sessions open for a single key; its own oldest go first, nobody else's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """A reader who signed in."""

    name: str
    "name of the key"
    kind: str
    "person, simulated, external or auditor"
    public: str
    "public key, hex"
    token: str
    "against forged forms; every POST carries it"
    until: float
    "monotonic seconds"
    opened: set[Opened] = field(default_factory=set)
    "whole subjects that this session was shown; a batch may hold these alone"

    @property
    def decides(self) -> bool:
        """Whether this reader may do more than read."""
        return self.kind != "auditor"

    @property
    def who(self) -> str:
        """The name recorded with orders and reports."""
        return f"{self.name} ({self.kind}, inbox)"


class SignIns:
    """Answered challenges and open sessions."""

    def __init__(self) -> None:
        self._key = secrets.token_bytes(32)
        self._answered: dict[str, float] = {}
        self._open: OrderedDict[str, Session] = OrderedDict()
        self._lock = threading.Lock()

    def challenge(self) -> str:
        """Return a fresh nonce, good for a single sign-in within two minutes."""
        # The nonce carries its own proof and is not kept, so asking for many pushes out nobody's.
        stamp = f"{int(time.monotonic()):012x}{secrets.token_hex(8)}"
        return stamp + self._mark(stamp)

    def _mark(self, stamp: str) -> str:
        return hmac.new(self._key, stamp.encode(), "sha256").hexdigest()[:32]

    def _use(self, nonce: str) -> bool:
        """Tell whether a nonce is this server's, young and fresh; mark it as answered."""
        stamp, mark, now = nonce[:28], nonce[28:], time.monotonic()
        if not is_same(mark, self._mark(stamp)) or now - int(stamp[:12], 16) > CHALLENGE_SECONDS:
            return False
        with self._lock:
            self._answered = {old: until for old, until in self._answered.items() if until > now}
            answered = nonce in self._answered
            self._answered[nonce] = now + 2 * CHALLENGE_SECONDS
        return not answered

    def enter(self, envelope: bytes, origin: str) -> str:
        """Return the secret of a new session for a signed challenge; raise VerificationFailed.

        The signed content names this server's origin: an answer to another page is worth nothing
        here.
        """
        claimed = keys.payload_unchecked(envelope)
        halves = keys.public_keys()
        half = next((half for half in halves if half["public"] == claimed.get("public")), None)
        if half is None or half["public"] in keys.revoked():
            raise VerificationFailed(
                "this key is not known here, or was revoked; `heirloop keys invite NAME` lets a"
                " browser enrol one"
            )
        signed = keys.verify(envelope, half["public"], "sign-in")
        if signed.get("origin") != origin or not self._use(str(signed.get("nonce"))):
            raise VerificationFailed(
                "the challenge is not this page's, was answered, or is older than two minutes;"
                " reload the page"
            )
        return self._open_session(half)

    def _open_session(self, half: Mapping[str, str]) -> str:
        """Return the secret of a new session of a key; its oldest sessions beyond OWN end."""
        secret = secrets.token_urlsafe(32)
        session = Session(
            name=half["name"],
            kind=half["kind"],
            public=half["public"],
            token=secrets.token_hex(16),
            until=time.monotonic() + SESSION_SECONDS,
        )
        with self._lock:
            self._open[secret] = session
            same_key = [
                name for name, other in self._open.items() if other.public == session.public
            ]
            for name in same_key[:-OWN]:
                del self._open[name]
        return secret

    def session(self, secret: str | None) -> Session | None:
        """Return the session of a cookie, None without a live session."""
        session = self._open.get(secret or "")
        if session is None:
            return None
        if session.until < time.monotonic() or session.public in keys.revoked():
            self.leave(secret)
            return None
        return session

    def leave(self, secret: str | None) -> None:
        """End a session."""
        with self._lock:
            self._open.pop(secret or "", None)


def is_same(secret: str, other: str) -> bool:
    """Compare two secrets in constant time."""
    return hmac.compare_digest(secret.encode(), other.encode())
