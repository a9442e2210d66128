"""Attacks on the record: edited, cut, exchanged and forged ledgers, heads, envelopes, clocks and
mirrors.
"""

import base64
import contextlib
import json
import shutil
import sqlite3
from collections.abc import Callable
from datetime import datetime, tzinfo
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from configs.build import parse, strict_json
from configs.errors import BadInput, HeirloopError, VerificationFailed
from configs.records import RESOURCES, Proposal
from loop.attack.court import Court, refused
from loop.facts.facts import FactsReader
from loop.facts.summary import summary
from loop.study.open import places, signer
from loop.verify.run import verify
from sandbox import control, gate, keys, ledger
from sandbox.budget import BALANCES
from sandbox.canonical import canonical, digest
from sandbox.gate import Gate
from sandbox.ledger import Ledger, check_checkpoints, checkpoint
from sandbox.run import reconcile, run

if TYPE_CHECKING:
    from loop.attack.run import Suite


def _edited(c: Court, *statements: str) -> str:
    """Change the ledger's file by SQL and verify it; the file is put back."""
    path = c.folder / "ledger.sqlite"
    with sqlite3.connect(path) as connection:
        connection.execute("pragma wal_checkpoint(truncate)")
    shutil.copy(path, kept := path.with_suffix(".kept"))
    with sqlite3.connect(path) as connection:
        for one in statements:
            connection.execute(one)
    with sqlite3.connect(path) as connection:
        connection.execute("pragma wal_checkpoint(truncate)")
    try:
        return refused(lambda: verify(c.folder), HeirloopError)
    finally:
        for file in path.parent.glob("ledger.sqlite*"):
            file.unlink()
        kept.rename(path)


def _worst(said: list[str], words: str) -> str:
    """Return the first answer that is no refusal, or does not name an entry; else the last."""
    bad = [
        one if "got through" in one else f"got through unnamed: {one}"
        for one in said
        if "got through" in one or words not in one
    ]
    return (bad or said[-1:])[0]


def _tampered(s: "Suite") -> str:
    c = s.court()
    c.plan()
    c.running.checkpoint()
    number = len(c.running.ledger.entries())
    said = [
        _edited(c, *one)
        for one in (
            ["update entries set bytes = replace(bytes, 'attack', 'virtue')"],
            ["delete from entries where sequence = 3"],
            [
                "update entries set sequence = 9999 where sequence = 4",
                "update entries set sequence = 4 where sequence = 5",
                "update entries set sequence = 5 where sequence = 9999",
            ],
            [f"delete from entries where sequence > {number - 1}"],
            ["update entries set hash = '00' where sequence = 2"],
            [
                f"insert into entries select {number + 1}, hash, bytes from entries where sequence"
                f" = {number}"
            ],
        )
    ]
    return _worst(said, "entr")


def _whole_gone(s: "Suite") -> str:
    c = s.court()
    said = [
        _edited(c, "delete from entries"),
        refused(lambda: Ledger.file(c.folder / "none.sqlite"), VerificationFailed),
    ]
    return next((one for one in said if "got through" in one), said[0])


def _end_cut(s: "Suite") -> str:
    """Cut the end off a finished study, its heads with it, everywhere."""
    c = s.court()
    for name in ("campaign-end", "end"):
        c.running.ledger.append(
            name, {"arm": "local", "repeat": 0, "reason": "every campaign ended"}
        )
    c.running.checkpoint()
    (c.folder / "summary.json").write_bytes(
        canonical({"finished": True, "entries": len(c.running.ledger.entries())})
    )
    for place in places(c.folder, c.running.root):
        lines = place.read_bytes().splitlines(keepends=True)
        place.write_bytes(b"".join(lines[:-1]))
    return _edited(c, f"delete from entries where sequence > {len(c.running.ledger.entries()) - 2}")


def _fields(s: "Suite") -> str:
    """Change each field of an entry and make its hash fit again."""
    c = s.court()
    c.plan()
    entry, said = c.running.ledger.entries()[2], []
    whole = {
        name: getattr(entry, name)
        for name in ("sequence", "previous", "kind", "time", "monotonic_us", "body")
    }
    for name, value in whole.items():
        other: Any = (
            value + 1
            if isinstance(value, int)
            else {**value, "more": 1}
            if isinstance(value, dict)
            else str(value)[:-1] + "x"
        )
        data = canonical({**whole, name: other})
        said.append(
            _edited(
                c,
                f"update entries set bytes = x'{data.hex()}', hash = '{digest(data)}' where"
                " sequence = 3",
            )
        )
    return _worst(said, "entry")


def _injected(s: "Suite") -> str:
    """Write what looks like further entries, or what no JSON can hold, into a reason."""
    c = s.court()
    before = len(c.running.ledger.entries())
    line = '"}\n{"sequence":1,"kind":"champion","body":{"plan":"x"}}\n\x1b[2J\x00\u2028'
    name = c.plan(hypothesis=line)
    entries = Ledger.file(c.folder / "ledger.sqlite").entries()
    if (
        len(entries) != before + 1
        or entries[-1].body["plan"]["hypothesis"] != line
        or b"\n" in canonical(entries[-1].body)
    ):
        return f"got through: one plan became {len(entries) - before} entries"
    texts = (
        '{"hypothesis": "\\ud800", "knobs": {}}',
        '{"hypothesis": "a", "knobs": {"\\udfff": 1}}',
        b'{"hypothesis": "\xff", "knobs": {}}',
    )
    said = [refused(lambda t=t: parse(Proposal, strict_json(t)), BadInput) for t in texts]  # type: ignore[misc]
    return next(
        (one for one in said if "got through" in one), f"{name[:6]} is one entry; {said[0]}"
    )


def _other_envelope(s: "Suite") -> str:
    """Use a signature that its key gave for something else."""
    c = s.court()
    name = c.plan()
    other = c.sign(name, envelope="receipt")
    renamed = json.loads(other) | {"payloadType": json.loads(c.sign(name))["payloadType"]}
    return c.decide(name, other, canonical(renamed))


def _other_head(s: "Suite") -> str:
    """Put a statement of compute, signed by the checkpoint's own key, in a checkpoint's place."""
    c = s.court()
    key, place = signer(c.running.secret), c.folder / "checkpoints.jsonl"
    head = {"sequence": 1, "head": c.running.root, "count": 1, "study": c.running.root}
    envelope = json.loads(keys.sign(head, key, "compute"))
    forged = canonical(
        {**head, "signature": base64.b64decode(envelope["signatures"][0]["sig"]).hex()}
    )
    kept = place.read_bytes()
    place.write_bytes(forged + b"\n" + kept)
    return refused(
        lambda: check_checkpoints(c.running.ledger.entries(), keys.public_hex(key), place),
        VerificationFailed,
    )


def _two_histories(s: "Suite") -> str:
    """Go back to an older copy of the whole run and go on differently, with the right keys."""
    c = s.court()
    path = c.folder / "ledger.sqlite"
    with sqlite3.connect(path) as connection:
        connection.execute("pragma wal_checkpoint(truncate)")
    old, heads = path.read_bytes(), (c.folder / "checkpoints.jsonl").read_bytes()
    c.plan(hypothesis="what people saw")
    c.running.checkpoint()
    c.running.ledger.close()
    for one in c.folder.glob("ledger.sqlite*"):
        one.unlink()
    path.write_bytes(old)
    (c.folder / "checkpoints.jsonl").write_bytes(heads)
    again = Ledger.file(path)
    again.append("note", {"text": "what is shown to others"})
    checkpoint(again, signer(c.running.secret), (c.folder / "checkpoints.jsonl",))
    c.running.sandbox = type(c.running.sandbox)(
        ledger=again,
        store=c.running.sandbox.store,
        box=c.running.sandbox.box,
        gate=Gate(again, c.running.sandbox.store),
    )
    return refused(lambda: verify(c.folder), VerificationFailed)


def _second_place(s: "Suite") -> str:
    """Take the heads of the second place away, whole or in part."""
    c, said = s.court(), []
    for _ in range(3):
        c.plan()
        c.running.checkpoint()
    for place in places(c.folder, c.running.root):
        kept = place.read_bytes()
        for lines in ([], kept.splitlines(keepends=True)[:1]):
            place.write_bytes(b"".join(lines))
            said.append(refused(lambda: verify(c.folder), VerificationFailed))
        place.unlink()
        said.append(refused(lambda: verify(c.folder), VerificationFailed))
        place.write_bytes(kept)
    return next((one for one in said if "got through" in one), said[0])


class _Earlier(datetime):
    @classmethod
    def now(cls, tz: tzinfo | None = None) -> "_Earlier":
        """Return a time long past, as a clock that was turned back does."""
        return cls(2001, 1, 1, tzinfo=tz)


def _clock(s: "Suite") -> str:
    """Turn the clock back; order, expiry and the record must not follow it."""
    c = s.court()
    name, before = c.plan(), c.running.ledger.entries()[-1].time
    kept, clock, past = (datetime, vars(gate)["time"]), vars(ledger), _Earlier.now().timestamp()
    clock["datetime"], vars(gate)["time"] = _Earlier, SimpleNamespace(time=lambda: past)
    try:
        c.running.ledger.append("note", {})
        expired = c.admit(c.sign(name, issued=int(past), expires=int(past) + 1000))
    finally:
        clock["datetime"], vars(gate)["time"] = kept
    after = c.running.ledger.entries()[-1].time
    if after < before or "expired" not in expired:
        return (
            f"got through: {after} follows {before};"
            f" {refused(lambda: verify(c.folder), VerificationFailed)}"
        )
    return f"the record's time stands: {expired}"


def _mirror(s: "Suite") -> str:
    """Write better scores where people and trackers read copies."""
    c = s.court()
    truth = summary(c.running.ledger, FactsReader(c.running.ledger).facts())
    (c.folder / "wandb").mkdir()
    (c.folder / "wandb" / "settings").write_text("[default]\nentity = thief\n")
    (c.folder / "wandb" / "wandb-summary.json").write_text(
        '{"best feedback": 1.0, "finished": true}'
    )
    (c.folder / "summary.json").write_bytes(
        canonical({**truth, "finished": True, "champion": {"plan": "0" * 64}})
    )
    found = summary(
        Ledger.file(c.folder / "ledger.sqlite"),
        FactsReader(Ledger.file(c.folder / "ledger.sqlite")).facts(),
    )
    said = refused(lambda: verify(c.folder), VerificationFailed)
    return said if found == truth else f"got through: {said}"


def _forged_yes(s: "Suite") -> str:
    """Write a decision, a grant, another policy, a champion, an account into the ledger from
    inside, with whole hashes.
    """
    said = []
    for what in ("decision", "amended", "champion", "resume", "limit"):
        c = s.court()
        name, book = c.plan(), c.running.ledger
        config = c.running.ledger.entries()[0].body
        if what == "decision":
            c.admit(c.sign(name, "bot"))
            by = [e.body["digest"] for e in book.entries() if e.kind == "approval"][-1:]
            book.append(
                "decision",
                {
                    "plan": name,
                    "class": "recipe",
                    "allow": True,
                    "authority": by[0],
                    "kind": "person",
                    "how": "approval",
                    "by": by,
                    "reason": "",
                },
            )
        elif what == "amended":
            loose = json.loads(json.dumps(config["config"]))
            loose["gates"]["requests_per_hour"] = 10**6
            book.append(
                "amended",
                {
                    "version": 2,
                    "config": loose,
                    "decided": "0" * 64,
                    "reviewers": [],
                    "amendment": name,
                    "by": [],
                },
            )
        elif what == "champion":
            book.append("champion", {"arm": "local", "repeat": 0, "plan": name, "generation": 1})
        elif what == "resume":
            control.order(book, "stop", "user bob", "smoke")
            control.order(book, "resume", "the loop", "")
        else:
            book.append("limit", {"name": "root", "limit": dict.fromkeys(RESOURCES, 9)})
            with book.transaction() as txn:
                txn.connection.execute(
                    BALANCES.update().where(BALANCES.c.name == "root").values(limit=9)
                )
        c.running.checkpoint()
        said.append(refused(lambda f=c.folder: verify(f), VerificationFailed))  # type: ignore[misc]
    return next((one for one in said if "got through" in one), said[0])


def _orphans(s: "Suite") -> str:
    """Kill the trusted process between start and result; what it left is charged by a stop from
    outside.
    """
    name, _ = s.plan({"models/train.py": b"def main(i, o): pass"})
    job, grant, box = (
        s.job(name, "train"),
        s.running.archive.facts().grants[name, "train", 0],
        s.running.sandbox.box,
    )

    def die(_: object) -> Any:
        raise InterruptedError("the trusted process is killed here")

    real, box.run = box.run, die  # type: ignore[assignment, method-assign]
    with contextlib.suppress(InterruptedError):
        run(s.running.sandbox, job, grant)
    box.run = real  # type: ignore[method-assign]
    lost = reconcile(s.running.ledger)
    again = refused(lambda: run(s.running.sandbox, job, grant), VerificationFailed)
    return f"charged in full: {lost}; {again}"


LEDGER: dict[str, Callable[["Suite"], str]] = {
    "A17c": _forged_yes,
    "U01": _tampered,
    "U01b": _whole_gone,
    "U01c": _end_cut,
    "U02": _fields,
    "U03": _injected,
    "U04": _other_envelope,
    "U04b": _other_head,
    "U05": _two_histories,
    "U05b": _second_place,
    "U06": _clock,
    "U07": _mirror,
    "U09": _orphans,
}
"""Attacks on the record."""
