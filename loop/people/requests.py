"""What people do to a run from outside its loop: look, decide, resume, deploy, roll back, recall,
amend, acknowledge, export.
"""

from pathlib import Path
from typing import Any

from configs.build import parse, plain, strict_json
from configs.errors import BadInput, VerificationFailed
from configs.records import Approval
from loop.people.notice import acknowledge
from loop.people.shown import facts, rows, visible
from sandbox import keys
from sandbox.canonical import canonical, digest
from sandbox.decision import Subject, new_approval
from sandbox.gate import Gate
from sandbox.ledger import Ledger
from sandbox.store import Store


def open_gate(folder: Path) -> Gate:
    """Return the gate of a run, read from its ledger; raises VerificationFailed where there is
    none.
    """
    return Gate(Ledger.file(folder / "ledger.sqlite"), Store(folder / "store")).refresh()


def subject_of(gate: Gate, prefix: str) -> Subject:
    """Return the one subject whose digest begins with `prefix`; raises BadInput otherwise."""
    found = [one for name, one in gate.subjects.items() if prefix and name.startswith(prefix)]
    if len(found) != 1:
        raise BadInput(
            f"PLAN is {prefix!r}; it should begin exactly one digest, {len(found)} match (`heirloop"
            " pending RUN`)"
        )
    return found[0]


def request_file(gate: Gate, name: str, change_class: str = "") -> bytes:
    """Return a request as a file for `heirloop decide` on another machine: what is shown, all
    bytes, and the decision to fill in.

    Raises BadInput for what is too large to be read. The digest covers the bytes; the differences
    shown are this machine's word.
    """
    subject = gate.subjects[name]
    found = facts(gate, subject, change_class)
    nobody = {"kind": "", "name": "", "public": ""}
    draft = new_approval(
        gate.rules,
        subject,
        found.change_class,
        "deny",
        "",
        gate.rules.config.gates.expire_hours,
        nobody,
    )
    return canonical({"request": draft, "canonical": found.canonical_raw, "shown": rows(found)})


def read_request(data: bytes) -> tuple[Approval, list[tuple[str, str]]] | None:
    """Return (decision to fill in, what is to be shown) of a request file, None for another file.

    Raises VerificationFailed where the digest that would be signed is not that of the bytes shown.
    """
    told = strict_json(data, 4_000_000)
    if not isinstance(told, dict) or "request" not in told:
        return None
    try:
        draft, text, shown = (
            parse(Approval, told["request"]),
            str(told["canonical"]),
            [(str(a), str(b)) for a, b in told["shown"]],
        )
    except (BadInput, KeyError, TypeError, ValueError) as error:
        raise VerificationFailed(f"the request file is malformed: {error}") from None
    if not all(_seen(part) for row in shown for part in row):
        raise VerificationFailed(
            "the request file holds characters that do not show themselves; do not sign it"
        )
    if digest(text.encode()) != draft.plan:
        raise VerificationFailed(
            "the request file shows other bytes than the digest that would be signed; ask for"
            " another"
        )
    return draft, [*((a, b) for a, b in shown if a != "all bytes"), ("all bytes", visible(text))]


def _seen(text: str) -> bool:
    """Tell whether a text is already visible, its escapes apart."""
    bare = text.replace("\u27e8", "").replace("\u27e9", "")
    return visible(bare, lines=True) == bare


def hand_in(gate: Gate, envelope: bytes) -> None:
    """Give a signed decision to the gate; raises VerificationFailed where it is refused, BadInput
    for a yes to what nobody can read whole.
    """
    said = keys.payload_unchecked(envelope)
    if said.get("answer") == "approve" and (
        subject := gate.refresh().subjects.get(str(said.get("plan")))
    ):
        facts(gate, subject, str(said.get("change_class")))
    refused = gate.admit(envelope, "approval")
    if refused:
        raise VerificationFailed(refused)


def acknowledgement(
    gate: Gate | None, prefix: str, study: str, entry: str, key: str
) -> dict[str, Any]:
    """Return an unsigned acknowledgement of a notice: of one that the run sent, or (no gate) of a
    message's own three digests.
    """
    half = next((k for k in keys.public_keys() if k["name"] == key), None)
    if half is None:
        raise BadInput(f"there is no key {key!r}; `heirloop keys list` shows those of this user")
    if gate is None:
        return plain(acknowledge(study, entry, prefix, half))  # type: ignore[no-any-return]
    found = {
        (e.body["digest"], e.body["about"])
        for e in gate.ledger.entries()
        if e.kind == "notice" and e.body["digest"].startswith(prefix)
    }
    if len(found) != 1 or not prefix:
        raise BadInput(
            f"DIGEST is {prefix!r}; it should begin exactly one notice's digest, {len(found)} match"
        )
    ((name, about),) = found
    return plain(acknowledge(gate.rules.root, about, name, half))  # type: ignore[no-any-return]
