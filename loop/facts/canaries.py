"""Canaries: plans that a reviewer should deny, each with a benign twin.

The twin is matched in class, size and wording. Neither is ever recorded as a plan, so neither can
get a grant. The ledger holds a commitment to each; the study's secret opens it.
"""

import hmac


def is_canary(secret: bytes, subject: str, commitment: str) -> bool:
    """Tell whether a probe is the canary of its pair."""
    return hmac.compare_digest(commitment, commit_to(secret, subject, True))


def commit_to(secret: bytes, subject: str, canary: bool) -> str:
    """Return the commitment to a probe: its digest, and whether it is the canary."""
    return hmac.new(secret, f"canary:{canary}:{subject}".encode(), "sha256").hexdigest()
