"""How a person signs: print a subject whole, ask for its digest and the passphrase, sign.

A pipe, Enter and the end of input sign nothing. The command line calls it, and so do the attacks on
people's attention.
"""

import secrets
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from configs.build import need, plain
from configs.errors import BadInput
from configs.records import Approval, Caps, Mandate
from configs.settings.config import Config
from loop import terminal
from loop.people.advice import quote
from loop.people.lines import list_lines
from loop.people.requests import acknowledgement, hand_in, open_gate, subject_of
from loop.people.view import TooLarge, view_subject
from sandbox import keys
from sandbox.canonical import digest
from sandbox.decision import HOUR, Subject
from sandbox.files import replace_file
from sandbox.gate import Gate
from sandbox.gate.admit import LONGEST_HOURS
from sandbox.unsigned import new_approval, new_mandate

ANSWERS = ("approve", "deny", "escalate")


def sign_decision(
    folder: Path,
    plan: str,
    answer: Any,
    *,
    key: str,
    reason: str,
    change_class: str = "",
    hours: int = 24,
    out: Path | None = None,
) -> None:
    """Sign a decision on a subject of a run, and hand it in; with `out`, write it to this file.

    `plan` is the beginning of the subject's digest. `change_class` names a class other than the
    subject's own. Raises NeedsHuman without a person at a terminal. Raises BadInput for a wrong
    argument, and for a yes to an unreadably large subject.
    """
    need(0 < hours <= LONGEST_HOURS, "--hours", hours, "a whole number from 1 to 8760")
    half = read_signer(key, answer, reason)
    gate = open_gate(folder)
    gate.ledger.before()  # nothing is signed over an older ledger
    subject = subject_of(gate, plan)
    class_name = change_class or subject.classes[0]
    right = f"one of {', '.join(subject.classes)}"
    need(class_name in subject.classes, "--as", class_name, right)
    lines = _describe(gate, subject, class_name, answer)
    draft = new_approval(gate.memory.rules, subject, class_name, answer, reason, hours, half)
    envelope = confirm_and_sign(draft, lines)
    if out:
        write_signed(out, envelope, folder)
        return
    hand_in(gate, envelope)
    terminal.print_line(f"signed and recorded ({half['kind']})")


def sign_request(
    draft: Approval, lines: list[tuple[str, str]], *, key: str, answer: Any, reason: str
) -> bytes:
    """Return a signed decision on a request from a file.

    The file gives the decision's lifetime, within the longest life accepted by a gate.
    """
    half = read_signer(key, answer, reason)
    now = int(time.time())
    life = min(max(0, draft.expires - draft.issued), LONGEST_HOURS * HOUR)
    filled = replace(
        draft,
        answer=answer,
        reason=reason,
        issued=now,
        expires=now + life,
        nonce=secrets.token_hex(16),
        kind=half["kind"],
        reviewer=half["name"],
        public=half["public"],
    )
    return confirm_and_sign(filled, lines)


def sign_acknowledgement(folder: Path, notice: str, study: str, entry: str, key: str) -> bytes:
    """Return a signed acknowledgement of a notice.

    `study` and `entry` come from the message, where the run is on another machine.
    """
    terminal.need_terminal(
        "an acknowledgement is signed by a person at a terminal, who types the passphrase; run"
        " this there"
    )
    gate = None if study else open_gate(folder)
    if gate:
        gate.ledger.before()
    payload = plain(acknowledgement(gate, notice, study, entry, key))
    signer = keys.open_key(key, terminal.ask_passphrase())
    return keys.sign(payload, signer, "acknowledgement")


def sign_mandate(config: Config, caps: Caps, key: str, version: int) -> tuple[str, Path]:
    """Print a mandate in full and sign it; return the kind of key and the file holding it."""
    signer = keys.open_key(key, terminal.ask_passphrase())
    kind = next(half["kind"] for half in keys.public_keys() if half["name"] == key)
    mandate = new_mandate(config, caps, kind, key, keys.public_hex(signer), version)
    terminal.print_json(plain(mandate))
    terminal.confirm_digest(f"digest {digest(mandate)}", digest(mandate))
    return kind, _keep_mandate(mandate, signer)


def sign_unattended(config: Config, version: int) -> Path:
    """Sign the mandate of a study without a person, with a key made for it alone."""
    caps = config.gates.unattended
    if caps is None:
        raise BadInput(
            "gates.unattended is null; this study takes no unattended mandate, sign one with --key"
        )
    signer = Ed25519PrivateKey.generate()
    public = keys.public_hex(signer)
    mandate = new_mandate(config, caps, "unattended", "unattended", public, version)
    terminal.print_json(plain(mandate))
    return _keep_mandate(mandate, signer)


def _keep_mandate(mandate: Mandate, signer: Ed25519PrivateKey) -> Path:
    envelope = keys.sign(plain(mandate), signer, "mandate")
    folder = keys.home() / "mandates"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    path = folder / f"{mandate.study}-{digest(envelope)[:16]}.json"
    replace_file(path, envelope)
    return path


def read_signer(key: str, answer: str, reason: str) -> Mapping[str, str]:
    """Return the public half of the signing key.

    Only a person at a terminal signs, and only with a reason.
    """
    need(answer in ANSWERS, "--answer", answer, "approve, deny or escalate")
    need(bool(reason.strip()), "--reason", reason, "a sentence that says why")
    terminal.need_terminal(
        "a decision is signed by a person at a terminal; run this there, or hand in a signed file"
        " with `heirloop decide FILE`"
    )
    half = next((half for half in keys.public_keys() if half["name"] == key), None)
    if half is None:
        raise BadInput(f"there is no key {key!r}; `heirloop keys list` shows those of this user")
    return half


def confirm_and_sign(draft: Approval, lines: list[tuple[str, str]]) -> bytes:
    """Print a subject whole, ask for the beginning of its digest and the passphrase, and sign.

    The decision holds when the person first saw it, and for how long.
    """
    seen = int(time.time())
    for label, text in lines:
        terminal.print_line(f"{label}:\n{text}" if "\n" in text else f"{label}: {text}")
    terminal.confirm_digest(f"{draft.answer} {draft.change_class} of {draft.plan}", draft.plan)
    looked_ms = int((time.time() - seen) * 1000)
    decision = replace(draft, seen=seen, looked_ms=looked_ms)
    signer = keys.open_key(decision.reviewer, terminal.ask_passphrase())
    return keys.sign(plain(decision), signer, "approval")


def write_signed(out: Path, envelope: bytes, folder: Path) -> None:
    """Write a signed decision to a file, and print the command for handing it in."""
    replace_file(out, envelope)
    command = f"heirloop decide {quote(out)} --run {quote(folder)}"
    terminal.print_line(f"signed: {out}; `{command}` hands it in")


def _describe(gate: Gate, subject: Subject, class_name: str, answer: str) -> list[tuple[str, str]]:
    """Return a subject as (name, text); an unreadably large subject gives only this remark."""
    try:
        return list_lines(view_subject(gate, subject, class_name))
    except TooLarge as error:
        if answer == "approve":
            raise
        return [("too large", str(error))]
