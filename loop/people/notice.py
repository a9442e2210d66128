"""Notices: what people are told of a study (requests, expiries, incidents, orders), and their
signed word that it arrived.

What should be sent is derived from the ledger. A message holds digests and one fixed line: no text
of a model, no approval, no link that decides. No gate reads notices or acknowledgements;
sandbox/send.py sends.
"""

import re
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from configs.build import need, parse, plain, strict_json
from configs.entries import Entry
from configs.errors import BadInput, VerificationFailed
from configs.records import CLASSES, Acknowledgement, Incident, NoticeName
from sandbox import keys
from sandbox.canonical import digest
from sandbox.decision import unix
from sandbox.gate import Gate

TOLD = ("control", "incident", "incident-amended", "compute", "request", "notice")
"""Kinds of entry that notices are made from."""


URGENCY: tuple[NoticeName, ...] = ("order", "incident", "compute", "request", "expiry")
"""Kinds of notice, in the order in which they are sent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """One thing that people are told. Its digest names it in messages, entries and
    acknowledgements.
    """

    study: str
    "digest of the study root"
    what: NoticeName
    "kind of notice"
    about: str
    "hash of the ledger entry that it tells of"
    subject: str
    "digest of the plan, amendment, order or statement concerned; empty: none"
    text: str
    "one line, from fixed words, numbers and times alone"

    def body(self) -> str:
        """Return the whole message, one line."""
        subject = f"subject {self.subject}; " if self.subject else ""
        return (
            f"{self.text}; {subject}entry {self.about}; notice {digest(self)}; study {self.study}"
        )


def told(gate: Gate, entries: list[Entry], now: float) -> list[Notice]:
    """Return what people should have been told by now, the most urgent kind first."""
    found = [made for e in entries if (made := _of_entry(gate.rules.root, e))]
    asked = {e.sequence: e.hash for e in entries if e.kind == "request"}
    for request in gate.pending(now):
        until = datetime.fromtimestamp(request.expires, UTC).isoformat(timespec="minutes")
        found.append(
            Notice(
                study=gate.rules.root,
                what="request",
                about=asked[request.sequence],
                subject=request.subject,
                text=(
                    f"a decision of class {_class(request.change_class)} is asked for until {until}"
                ),
            )
        )
    for request in gate.expired(now):
        found.append(
            Notice(
                study=gate.rules.root,
                what="expiry",
                about=asked[request.sequence],
                subject=request.subject,
                text=(
                    f"a request of class {_class(request.change_class)} was not decided on in time,"
                    " which means no"
                ),
            )
        )
    return sorted(found, key=lambda n: URGENCY.index(n.what))


def _of_entry(root: str, entry: Entry) -> Notice | None:
    body, kind = entry.body, entry.kind
    if kind == "control" and body["what"] in ("stop", "pause"):
        by = " by a tripwire" if body["who"] == "tripwire" else ""
        return Notice(
            study=root,
            what="order",
            about=entry.hash,
            subject=entry.hash,
            text=f"a {body['what']} was ordered{by}",
        )
    if kind in ("incident", "incident-amended"):
        one = parse(Incident, body)
        number = one.id if re.fullmatch(r"I-\d{1,9}", one.id) else "an incident"
        due = (
            f", a notice to authorities is due {one.notification_due_at}"
            if one.notification_due_at
            else ""
        )
        was = "amended" if one.amended_from else "recorded"
        return Notice(
            study=root,
            what="incident",
            about=entry.hash,
            subject="",
            text=f"{number} was {was}: {one.kind}, severity {one.severity}{due}",
        )
    if kind == "compute":
        return Notice(
            study=root,
            what="compute",
            about=entry.hash,
            subject=body["digest"],
            text="a compute statement was signed",
        )
    return None


def _class(name: str) -> str:
    return name if name in (*CLASSES, "resume") else "unknown"


def receivers(gate: Gate, what: str) -> list[str]:
    """Return the names that are told of a kind of notice: every pinned reviewer, of a compute
    statement the counterparty alone.
    """
    dead, counterparty = keys.revoked(), gate.rules.config.gates.counterparty
    pinned = [one["name"] for one in gate.rules.reviewers if one["public"] not in dead]
    return [name for name in pinned if name == counterparty] if what == "compute" else pinned


def acknowledge(study: str, about: str, notice: str, half: Mapping[str, str]) -> Acknowledgement:
    """Return an unsigned acknowledgement; `half` is the receiver's public half. Raises BadInput for
    what is no digest.
    """
    for name, value in (("STUDY", study), ("ABOUT", about), ("DIGEST", notice)):
        need(
            bool(re.fullmatch(r"[0-9a-f]{64}", value)),
            name,
            value,
            "64 hexadecimal digits, as the message has them",
        )
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
        return bool(
            strict_json(envelope).get("payloadType")
            == "application/vnd.heirloop.acknowledgement+json"
        )
    return False


def take(gate: Gate, envelope: bytes) -> dict[str, Any]:
    """Record an acknowledgement, once; return it with the seconds from the first delivery until
    now. It opens and closes no gate.

    Raises VerificationFailed for one that no pinned receiver of this very notice signed.
    """
    try:
        claimed = parse(Acknowledgement, keys.payload_unchecked(envelope))
    except BadInput as error:
        raise VerificationFailed(f"the acknowledgement is malformed: {error}") from None
    one = parse(Acknowledgement, keys.verify(envelope, claimed.public, "acknowledgement"))
    signer = (one.receiver, one.kind, one.public)
    if (
        signer not in [(r["name"], r["kind"], r["public"]) for r in gate.rules.reviewers]
        or one.public in keys.revoked()
    ):
        raise VerificationFailed(
            f"the acknowledgement is signed by {one.receiver!r}, whose key the study root does not"
            " pin or which was revoked"
        )
    with gate.ledger.transaction() as txn:
        entries = txn.entries()
        sent = [
            e
            for e in entries
            if e.kind == "notice" and e.body["ok"] and e.body["to"] == one.receiver
        ]
        first = next(
            (
                e
                for e in sent
                if (e.body["digest"], e.body["about"], one.study)
                == (one.notice, one.about, gate.rules.root)
            ),
            None,
        )
        if first is None:
            raise VerificationFailed(
                f"notice {one.notice[:12]} was not delivered to {one.receiver} by this study;"
                " nothing was recorded"
            )
        for known in (e.body for e in entries if e.kind == "acknowledgement"):
            if (known["acknowledgement"]["notice"], known["acknowledgement"]["receiver"]) == (
                one.notice,
                one.receiver,
            ):
                return known
        delay = round(txn.now().timestamp() - unix(first), 3)
        body = {
            "digest": digest(envelope),
            "envelope": envelope.decode(),
            "acknowledgement": plain(one),
            "delay_seconds": delay,
        }
        return txn.append("acknowledgement", body).body
