"""Unsigned decisions: what a person is asked to sign. Nothing here lets anything pass."""

import secrets
import time
from collections.abc import Mapping

from configs.records import Approval, Caps, Mandate, ReviewerAnswer
from configs.settings.config import Config
from sandbox.decision import HOUR, Policy, Subject, decided


def new_mandate(
    config: Config, caps: Caps, kind: str, reviewer: str, public: str, version: int = 1
) -> Mandate:
    """Return an unsigned mandate that starts now."""
    now = int(time.time())
    expires = now + caps.hours * HOUR
    return Mandate(
        study=config.study.name,
        version=version,
        config=decided(config),
        caps=caps,
        issued=now,
        expires=expires,
        kind=kind,
        reviewer=reviewer,
        public=public,
        nonce=secrets.token_hex(16),
    )


def new_approval(
    rules: Policy,
    subject: Subject,
    change_class: str,
    answer: ReviewerAnswer,
    reason: str,
    hours: int,
    half: Mapping[str, str],
    seen: int = 0,
    looked_ms: int = 0,
) -> Approval:
    """Return an unsigned decision on a recorded subject; `half` is the reviewer's public half."""
    now = int(time.time())
    return Approval(
        study=rules.root,
        version=rules.version,
        plan=subject.digest,
        change_class=change_class,
        objective=subject.objective,
        requested=subject.requested,
        parent=subject.parent,
        generation=subject.generation,
        policy=rules.decided,
        answer=answer,
        reason=reason[:2000],
        seen=seen or now,
        looked_ms=looked_ms,
        issued=now,
        expires=now + hours * HOUR,
        kind=half["kind"],
        reviewer=half["name"],
        public=half["public"],
        nonce=secrets.token_hex(16),
    )
