"""Who may come in: sign-in by key challenge, sessions in memory, one token per session against
forged forms.

A session names a public key that this user's folder knows; a revoked key's sessions end at once.
The server sees signatures, never keys.
"""

import hmac
import secrets
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass

from configs.errors import VerificationFailed
from sandbox import keys

CHALLENGE_SECONDS = 120
SESSION_SECONDS = 12 * 3600
OWN = 20
"""Sessions that one key may have open; its own oldest go first, nobody else's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """Somebody who signed in."""

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

    @property
    def decides(self) -> bool:
        """Whether this reader may do more than read."""
        return self.kind != "auditor"

    @property
    def who(self) -> str:
        """The name that orders and reports are recorded under."""
        return f"{self.name} ({self.kind}, inbox)"


class Door:
    """Challenges that were answered and sessions that are open."""

    def __init__(self) -> None:
        self._key = secrets.token_bytes(32)
        self._answered: dict[str, float] = {}
        self._open: OrderedDict[str, Session] = OrderedDict()
        self._lock = threading.Lock()

    def challenge(self) -> str:
        """Return a fresh nonce, good for one sign-in within two minutes. None is kept, so asking
        for many pushes out nobody's.
        """
        stamp = f"{int(time.monotonic()):012x}{secrets.token_hex(8)}"
        return stamp + self._mark(stamp)

    def _mark(self, stamp: str) -> str:
        return hmac.new(self._key, stamp.encode(), "sha256").hexdigest()[:32]

    def _fresh(self, nonce: str) -> bool:
        """Tell whether a nonce is this door's, young and not answered yet; then it is answered."""
        stamp, mark, now = nonce[:28], nonce[28:], time.monotonic()
        if not same(mark, self._mark(stamp)) or now - int(stamp[:12], 16) > CHALLENGE_SECONDS:
            return False
        with self._lock:
            self._answered = {one: until for one, until in self._answered.items() if until > now}
            known = nonce in self._answered
            self._answered[nonce] = now + 2 * CHALLENGE_SECONDS
        return not known

    def enter(self, envelope: bytes, origin: str) -> str:
        """Return the secret of a new session for a signed challenge; raises VerificationFailed.

        What is signed names this server's origin, so that an answer given to another page is worth
        nothing here.
        """
        claimed = keys.payload_unchecked(envelope)
        half = next((k for k in keys.public_keys() if k["public"] == claimed.get("public")), None)
        if half is None or half["public"] in keys.revoked():
            raise VerificationFailed(
                "this key is not known here, or was revoked; `heirloop keys invite NAME` lets a"
                " browser enrol one"
            )
        said = keys.verify(envelope, half["public"], "sign-in")
        if said.get("origin") != origin or not self._fresh(str(said.get("nonce"))):
            raise VerificationFailed(
                "the challenge is not this page's, was answered, or is older than two minutes;"
                " reload the page"
            )
        secret = secrets.token_urlsafe(32)
        with self._lock:
            self._open[secret] = Session(
                name=half["name"],
                kind=half["kind"],
                public=half["public"],
                token=secrets.token_hex(16),
                until=time.monotonic() + SESSION_SECONDS,
            )
            mine = [one for one, session in self._open.items() if session.public == half["public"]]
            for one in mine[:-OWN]:
                del self._open[one]
        return secret

    def session(self, secret: str | None) -> Session | None:
        """Return the session of a cookie, None where there is none (any more)."""
        found = self._open.get(secret or "")
        if found and (found.until < time.monotonic() or found.public in keys.revoked()):
            self.leave(secret)
            return None
        return found

    def leave(self, secret: str | None) -> None:
        """End a session."""
        with self._lock:
            self._open.pop(secret or "", None)


def same(one: str, other: str) -> bool:
    """Compare two secrets in constant time."""
    return hmac.compare_digest(one.encode(), other.encode())
