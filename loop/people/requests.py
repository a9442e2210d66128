"""Requests and their answers: open a run's gate, find a subject, hand in a signed decision.

A request can also travel as a file to a machine without network, and a decision back.
"""

from pathlib import Path
from typing import Any

from configs.build import parse, strict_json
from configs.entries import NoticeEntry, facts_of
from configs.errors import BadInput, VerificationFailed
from configs.records import Acknowledgement, Approval
from loop.people.lines import list_lines
from loop.people.notice import acknowledge
from loop.people.view import view_subject
from loop.text import visible
from sandbox import keys
from sandbox.canonical import canonical, digest
from sandbox.decision import Subject
from sandbox.gate import Gate
from sandbox.heads import open_ledger
from sandbox.remote_store import open_store
from sandbox.unsigned import new_approval

FILE_BYTES = 4_000_000
"""Longest accepted request file."""


def open_gate(folder: Path) -> Gate:
    """Return the gate of a run, read from its ledger; raise VerificationFailed without a ledger."""
    return Gate(open_ledger(folder), open_store(folder)).refresh()


def subject_of(gate: Gate, prefix: str) -> Subject:
    """Return the only subject with this prefix of its digest; raise BadInput otherwise."""
    matches = [
        subject
        for name, subject in gate.memory.subjects.items()
        if prefix and name.startswith(prefix)
    ]
    if len(matches) != 1:
        raise BadInput(
            f"PLAN is {prefix!r}; it should begin exactly one digest, {len(matches)} match"
            " (`heirloop pending RUN`)"
        )
    return matches[0]


def request_file(gate: Gate, name: str, change_class: str = "") -> bytes:
    """Return a request as a file for `heirloop decide` on another machine.

    It holds the view, all bytes, and the decision to fill in. The digest covers the bytes; for the
    differences this machine vouches. Raises BadInput for a subject too large to be read.
    """
    subject = gate.memory.subjects[name]
    view = view_subject(gate, subject, change_class)
    nobody = {"kind": "", "name": "", "public": ""}
    hours = gate.memory.rules.config.gates.expire_hours
    draft = new_approval(gate.memory.rules, subject, view.change_class, "deny", "", hours, nobody)
    return canonical({"request": draft, "canonical": view.canonical_raw, "shown": list_lines(view)})


def read_request(data: bytes) -> tuple[Approval, list[tuple[str, str]]] | None:
    """Return (decision to fill in, lines to show) of a request file, None for another file.

    Raises VerificationFailed for lines with hidden characters, or a digest of other bytes than
    shown.
    """
    content = strict_json(data, FILE_BYTES)
    if not isinstance(content, dict) or "request" not in content:
        return None
    draft, text, lines = _parse_request(content)
    if not all(_is_visible(part) for line in lines for part in line):
        raise VerificationFailed(
            "the request file holds characters that do not show themselves; do not sign it"
        )
    if digest(text.encode()) != draft.plan:
        raise VerificationFailed(
            "the request file shows other bytes than the digest that would be signed; ask for"
            " another"
        )
    # The bytes come from the digested text, not from the file's own line of this name.
    others = [line for line in lines if line[0] != "all bytes"]
    return draft, [*others, ("all bytes", visible(text))]


def _parse_request(content: dict[str, Any]) -> tuple[Approval, str, list[tuple[str, str]]]:
    try:
        draft = parse(Approval, content["request"])
        lines = [(str(label), str(text)) for label, text in content["shown"]]
        return draft, str(content["canonical"]), lines
    except (BadInput, KeyError, TypeError, ValueError) as error:
        raise VerificationFailed(f"the request file is malformed: {error}") from None


def _is_visible(text: str) -> bool:
    """Tell whether a text is already visible, its escapes apart."""
    bare = text.replace("\u27e8", "").replace("\u27e9", "")
    return visible(bare, lines=True) == bare


def hand_in(gate: Gate, envelope: bytes) -> None:
    """Give a signed decision to the gate; raise VerificationFailed where the gate refuses it.

    Raises BadInput for a yes to an unreadably large subject.
    """
    claimed = keys.payload_unchecked(envelope)
    subject = gate.refresh().memory.subjects.get(str(claimed.get("plan")))
    if subject and claimed.get("answer") == "approve":
        view_subject(gate, subject, str(claimed.get("change_class")))
    refusal = gate.admit(envelope, "approval")
    if refusal:
        raise VerificationFailed(refusal)


def acknowledgement(
    gate: Gate | None, prefix: str, study: str, entry: str, key: str
) -> Acknowledgement:
    """Return an unsigned acknowledgement of a notice.

    With a gate, the run must have sent the notice. Without a gate, the message's own three digests
    are taken.
    """
    half = next((half for half in keys.public_keys() if half["name"] == key), None)
    if half is None:
        raise BadInput(f"there is no key {key!r}; `heirloop keys list` shows those of this user")
    if gate is None:
        return acknowledge(study, entry, prefix, half)
    notices = facts_of(gate.ledger.entries(), NoticeEntry)
    matches = {
        (notice.digest, notice.about) for notice in notices if notice.digest.startswith(prefix)
    }
    if len(matches) != 1 or not prefix:
        raise BadInput(
            f"DIGEST is {prefix!r}; it should begin exactly one notice's digest, {len(matches)}"
            " match"
        )
    ((name, about),) = matches
    return acknowledge(gate.memory.rules.root, about, name, half)
