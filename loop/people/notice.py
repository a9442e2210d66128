"""Notices: messages to people about requests, expiries, incidents and orders of a study.

The ledger says when a notice is due. A message holds digests and a fixed line. It has no text of a
model, no approval, no link for deciding. A receiver can sign its arrival; no gate reads notices or
acknowledgements. `send.py` sends.
"""

import re
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime

from configs.build import need, parse, strict_json
from configs.entries import (
    AcknowledgementEntry,
    ComputeEntry,
    ControlEntry,
    Entry,
    IncidentAmendedEntry,
    IncidentEntry,
    NoticeEntry,
    RequestEntry,
    facts_of,
    lines_of,
)
from configs.errors import BadInput, VerificationFailed
from configs.records import CLASSES, RESUME, Acknowledgement, Incident, NoticeName
from sandbox import keys
from sandbox.canonical import digest
from sandbox.decision import Request, unix
from sandbox.gate import Gate

SOURCES = ("control", "incident", "incident-amended", "compute", "request", "notice")
"""Kinds of entry with notices."""
URGENCY: tuple[NoticeName, ...] = ("order", "incident", "compute", "request", "expiry")
"""Kinds of notice, in the order of sending."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """A message to people. Its digest names it in messages, entries and acknowledgements."""

    study: str
    "digest of the study root"
    what: NoticeName
    "kind of notice"
    about: str
    "hash of the ledger entry behind it"
    subject: str
    "digest of the plan, amendment, order or statement concerned, or empty"
    text: str
    "a single line, from fixed words, numbers and times alone"

    def body(self) -> str:
        """Return the whole message, a single line."""
        subject = f"subject {self.subject}; " if self.subject else ""
        return (
            f"{self.text}; {subject}entry {self.about}; notice {digest(self)}; study {self.study}"
        )


def list_notices(gate: Gate, entries: list[Entry], now: float) -> list[Notice]:
    """Return the notices due to people by now, the most urgent kind first."""
    root = gate.memory.rules.root
    hashes = {entry.sequence: entry.hash for entry, _ in lines_of(entries, RequestEntry)}
    events = [_notify_event(root, entry) for entry in entries]
    notices = [
        *(notice for notice in events if notice),
        *(_notify_request(root, request, hashes) for request in gate.pending(now)),
        *(_notify_expiry(root, request, hashes) for request in gate.expired(now)),
    ]
    return sorted(notices, key=lambda notice: URGENCY.index(notice.what))


def _notify_event(root: str, entry: Entry) -> Notice | None:
    """Return the notice of an order, an incident or a compute statement; None for other entries."""
    if entry.kind not in SOURCES:
        return None
    what: NoticeName
    match entry.fact:
        case ControlEntry(what="stop" | "pause") as order:
            what, subject, text = "order", entry.hash, _write_order(order)
        case IncidentEntry(incident=incident) | IncidentAmendedEntry(incident=incident):
            what, subject, text = "incident", "", _write_incident(incident)
        case ComputeEntry(digest=statement):
            what, subject, text = "compute", statement, "a compute statement was signed"
        case _:
            return None
    return Notice(study=root, what=what, about=entry.hash, subject=subject, text=text)


def _write_order(order: ControlEntry) -> str:
    by = " by a tripwire" if order.who == "tripwire" else ""
    return f"a {order.what} was ordered{by}"


def _write_incident(incident: Incident) -> str:
    # An id of another form could carry text of a model into the message.
    number = incident.id if re.fullmatch(r"I-\d{1,9}", incident.id) else "an incident"
    verb = "amended" if incident.amended_from else "recorded"
    due = incident.notification_due_at
    law = f", a notice to authorities is due {due}" if due else ""
    return f"{number} was {verb}: {incident.kind}, severity {incident.severity}{law}"


def _notify_request(root: str, request: Request, hashes: Mapping[int, str]) -> Notice:
    until = datetime.fromtimestamp(request.expires, UTC).isoformat(timespec="minutes")
    name = _class_name(request.change_class)
    return Notice(
        study=root,
        what="request",
        about=hashes[request.sequence],
        subject=request.subject,
        text=f"a decision of class {name} is asked for until {until}",
    )


def _notify_expiry(root: str, request: Request, hashes: Mapping[int, str]) -> Notice:
    name = _class_name(request.change_class)
    return Notice(
        study=root,
        what="expiry",
        about=hashes[request.sequence],
        subject=request.subject,
        text=f"a request of class {name} was not decided on in time, which means no",
    )


def _class_name(name: str) -> str:
    """Return a class known to the study, `unknown` for any other text."""
    return name if name in (*CLASSES, RESUME) else "unknown"


def list_receivers(gate: Gate, what: NoticeName) -> list[str]:
    """Return the receivers of a kind of notice: every pinned reviewer with a live key.

    Of a compute statement the counterparty alone is told.
    """
    revoked = keys.revoked()
    pinned = [half.name for half in gate.memory.rules.reviewers if half.public not in revoked]
    if what != "compute":
        return pinned
    return [name for name in pinned if name == gate.memory.rules.config.gates.counterparty]


def acknowledge(study: str, about: str, notice: str, half: Mapping[str, str]) -> Acknowledgement:
    """Return an unsigned acknowledgement; `half` is the receiver's public half.

    Raises BadInput for a malformed digest.
    """
    right = "64 hexadecimal digits, as the message has them"
    for name, value in (("STUDY", study), ("ABOUT", about), ("DIGEST", notice)):
        need(bool(re.fullmatch(r"[0-9a-f]{64}", value)), name, value, right)
    return Acknowledgement(
        study=study,
        about=about,
        notice=notice,
        receiver=half["name"],
        kind=half["kind"],
        public=half["public"],
        at=int(time.time()),
    )


def is_acknowledgement(envelope: bytes) -> bool:
    """Tell whether signed bytes claim to be an acknowledgement; nothing is checked."""
    with suppress(BadInput, AttributeError):
        claimed = strict_json(envelope).get("payloadType")
        return bool(claimed == "application/vnd.heirloop.acknowledgement+json")
    return False


def take(gate: Gate, envelope: bytes) -> AcknowledgementEntry:
    """Record an acknowledgement once; return its entry. It opens and closes no gate.

    Raises VerificationFailed unless a pinned receiver of this very notice signed it.
    """
    acknowledgement = _check(gate, envelope)
    with gate.ledger.transaction() as txn:
        entries = txn.entries()
        first = _find_delivery(gate, entries, acknowledgement)
        for earlier in facts_of(entries, AcknowledgementEntry):
            if _names_same(earlier.acknowledgement, acknowledgement):
                return earlier
        fact = AcknowledgementEntry(
            digest=digest(envelope),
            envelope=envelope.decode(),
            acknowledgement=acknowledgement,
            delay_seconds=round(txn.now().timestamp() - unix(first), 3),
        )
        txn.append(fact)
        return fact


def _check(gate: Gate, envelope: bytes) -> Acknowledgement:
    """Return the signed content; raise VerificationFailed unless a pinned, live key signed it."""
    try:
        claimed = parse(Acknowledgement, keys.payload_unchecked(envelope))
    except BadInput as error:
        raise VerificationFailed(f"the acknowledgement is malformed: {error}") from None
    signed = parse(Acknowledgement, keys.verify(envelope, claimed.public, "acknowledgement"))
    signer = (signed.receiver, signed.kind, signed.public)
    pinned = [(half.name, half.kind, half.public) for half in gate.memory.rules.reviewers]
    if signer not in pinned or signed.public in keys.revoked():
        raise VerificationFailed(
            f"the acknowledgement is signed by {signed.receiver!r}, whose key the study root does"
            " not pin or which was revoked"
        )
    return signed


def _find_delivery(gate: Gate, entries: list[Entry], acknowledgement: Acknowledgement) -> Entry:
    """Return the first delivery of the notice to its receiver; raise VerificationFailed."""
    wanted = (acknowledgement.notice, acknowledgement.about, acknowledgement.study)
    for entry, notice in lines_of(entries, NoticeEntry):
        if not notice.ok or notice.to != acknowledgement.receiver:
            continue
        if (notice.digest, notice.about, gate.memory.rules.root) == wanted:
            return entry
    raise VerificationFailed(
        f"notice {acknowledgement.notice[:12]} was not delivered to {acknowledgement.receiver} by"
        " this study; nothing was recorded"
    )


def _names_same(earlier: Acknowledgement, later: Acknowledgement) -> bool:
    return (earlier.notice, earlier.receiver) == (later.notice, later.receiver)
