"""The scripted reviewer and the canaries: gates under test without people. Whatever it signs is
marked as simulated.

A canary is a plan that should be denied; its benign twin is matched in class, size and wording.
Neither is ever recorded as a plan, so neither can get a grant. Which is which is committed to in
the ledger and known only with the study secret.
"""

import hmac


def is_canary(secret: bytes, subject: str, commitment: str) -> bool:
    """Tell which of a pair a probe is; needs the study secret."""
    return hmac.compare_digest(commitment, _commitment(secret, subject, True))


def _commitment(secret: bytes, subject: str, canary: bool) -> str:
    return hmac.new(secret, f"canary:{canary}:{subject}".encode(), "sha256").hexdigest()
