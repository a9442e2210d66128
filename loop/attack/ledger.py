"""Attacks on the record: edited, cut, exchanged and forged ledgers, heads, clocks and mirrors."""

import base64
import json
import shutil
import sqlite3
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from configs.entries import CampaignEndEntry, EndEntry, SessionEntry
from configs.errors import HeirloopError, VerificationFailed
from loop.attack.attended import AttendedStudy
from loop.attack.outcome import GOT_THROUGH, first_success, try_act
from loop.attack.suite import Suite
from loop.verify.run import verify
from sandbox import keys
from sandbox.canonical import canonical, digest
from sandbox.gate import Gate
from sandbox.heads import check_checkpoints, checkpoint, places
from sandbox.keys import signer
from sandbox.ledger import ENTRIES, FILE, Ledger


def _flush(path: Path) -> None:
    """Move all of a ledger into its main file."""
    with sqlite3.connect(path) as connection:
        connection.execute("pragma wal_checkpoint(truncate)")


def _verify_edited(study: AttendedStudy, *statements: str) -> str:
    """Change the ledger's file by SQL, verify the study, and put the file back."""
    path = study.folder / FILE
    original = path.with_suffix(".original")
    _flush(path)
    shutil.copy(path, original)
    with sqlite3.connect(path) as connection:
        for statement in statements:
            connection.execute(statement)
    _flush(path)
    try:
        return try_act(lambda: verify(study.folder), HeirloopError)
    finally:
        for file in path.parent.glob(f"{FILE}*"):
            file.unlink()
        original.rename(path)


def _first_unnamed(answers: list[str], words: str) -> str:
    """Return the first answer that is no refusal or does not name an entry, or else the last."""
    for answer in answers:
        if GOT_THROUGH in answer:
            return answer
        if words not in answer:
            return f"{GOT_THROUGH} unnamed: {answer}"
    return answers[-1]


def edit_entries(suite: Suite) -> str:
    """Replace, delete, reorder, cut, rehash and repeat entries."""
    study = suite.open_attended()
    study.plan()
    study.running.checkpoint()
    last = study.running.ledger.entries()[-1].sequence
    edits = (
        ["update entries set bytes = replace(bytes, 'attack', 'virtue')"],
        ["delete from entries where sequence = 3"],
        [
            "update entries set sequence = 9999 where sequence = 4",
            "update entries set sequence = 4 where sequence = 5",
            "update entries set sequence = 5 where sequence = 9999",
        ],
        [f"delete from entries where sequence > {last - 1}"],
        ["update entries set hash = '00' where sequence = 2"],
        [
            f"insert into entries select {last + 1}, hash, bytes from entries"
            f" where sequence = {last}"
        ],
    )
    return _first_unnamed([_verify_edited(study, *statements) for statements in edits], "entr")


def delete_ledger(suite: Suite) -> str:
    """Delete every entry, or the whole file."""
    study = suite.open_attended()
    emptied = _verify_edited(study, "delete from entries")
    missing = try_act(lambda: Ledger.file(study.folder / "none.sqlite"), VerificationFailed)
    return first_success([emptied, missing])


def cut_end(suite: Suite) -> str:
    """Cut the end off a finished study, with its heads in every place."""
    study = suite.open_attended()
    ledger = study.running.ledger
    ledger.append(CampaignEndEntry(arm="local", repeat=0))
    ledger.append(EndEntry(reason="every campaign ended"))
    study.running.checkpoint()
    count = ledger.entries()[-1].sequence
    (study.folder / "summary.json").write_bytes(canonical({"finished": True, "entries": count}))
    for place in places(study.folder, study.running.root):
        heads = place.read_bytes().splitlines(keepends=True)
        place.write_bytes(b"".join(heads[:-1]))
    return _verify_edited(study, f"delete from entries where sequence > {count - 2}")


def edit_fields(suite: Suite) -> str:
    """Change each field of an entry, and make its hash fit again."""
    study = suite.open_attended()
    study.plan()
    (stored,) = study.running.ledger.read(
        lambda connection: connection.execute(
            sa.select(ENTRIES.c.bytes).where(ENTRIES.c.sequence == 3)
        ).one()
    )
    fields = json.loads(stored)
    answers = []
    for name, value in fields.items():
        data = canonical({**fields, name: _change_value(value)})
        statement = (
            f"update entries set bytes = x'{data.hex()}', hash = '{digest(data)}'"
            " where sequence = 3"
        )
        answers.append(_verify_edited(study, statement))
    return _first_unnamed(answers, "entry")


def _change_value(value: Any) -> Any:
    match value:
        case int():
            return value + 1
        case dict():
            return {**value, "more": 1}
        case _:
            return str(value)[:-1] + "x"


def forge_head(suite: Suite) -> str:
    """Turn a compute statement, signed with the checkpoint's own key, into a signed head."""
    study = suite.open_attended()
    running, place = study.running, study.folder / "checkpoints.jsonl"
    key = signer(running.secret)
    head = {"sequence": 1, "head": running.root, "count": 1, "study": running.root}
    envelope = json.loads(keys.sign(head, key, "compute"))
    signature = base64.b64decode(envelope["signatures"][0]["sig"]).hex()
    forged = canonical({**head, "signature": signature})
    place.write_bytes(forged + b"\n" + place.read_bytes())

    def check() -> object:
        return check_checkpoints(running.ledger.entries(), keys.public_hex(key), place)

    return try_act(check, VerificationFailed)


def write_other_history(suite: Suite) -> str:
    """Go back to an older copy of the run, and go on differently with the right keys."""
    study = suite.open_attended()
    running, path = study.running, study.folder / FILE
    heads = study.folder / "checkpoints.jsonl"
    _flush(path)
    old_ledger, old_heads = path.read_bytes(), heads.read_bytes()
    study.plan(hypothesis="the history that people saw")
    running.checkpoint()
    running.ledger.close()
    for file in study.folder.glob(f"{FILE}*"):
        file.unlink()
    path.write_bytes(old_ledger)
    heads.write_bytes(old_heads)
    other = Ledger.file(path)
    other.append(SessionEntry(wall_seconds=1.0))
    checkpoint(other, signer(running.secret), (heads,))
    old = running.sandbox
    running.sandbox = type(old)(
        ledger=other, store=old.store, box=old.box, gate=Gate(other, old.store)
    )
    return try_act(lambda: verify(study.folder), VerificationFailed)


def remove_heads(suite: Suite) -> str:
    """Remove the signed heads of a place, all of them or the last."""
    study, answers = suite.open_attended(), []
    for _ in range(3):
        study.plan()
        study.running.checkpoint()

    def check() -> None:
        answers.append(try_act(lambda: verify(study.folder), VerificationFailed))

    for place in places(study.folder, study.running.root):
        heads = place.read_bytes()
        place.write_bytes(b"")
        check()
        place.write_bytes(heads.splitlines(keepends=True)[0])
        check()
        place.unlink()
        check()
        place.write_bytes(heads)
    return first_success(answers)
