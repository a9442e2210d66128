"""Attacks on the record from inside the trusted process.

Text poses as entries, signatures are used again, a clock is turned back, mirrors are forged, and
decisions are written that nobody took.
"""

import contextlib
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, tzinfo
from types import SimpleNamespace
from typing import Any

from configs.build import parse, strict_json
from configs.entries import (
    AmendedEntry,
    ApprovalEntry,
    ChampionEntry,
    DecisionEntry,
    LimitEntry,
    PlanEntry,
    SessionEntry,
    facts_of,
)
from configs.errors import BadInput, VerificationFailed
from configs.records import RESOURCES, Amount, Proposal
from loop.attack.attended import AttendedStudy
from loop.attack.outcome import GOT_THROUGH, try_act, try_each
from loop.attack.suite import Suite
from loop.facts.reader import FactsReader
from loop.facts.summary import make_summary
from loop.verify.run import verify
from sandbox import control, gate, ledger
from sandbox.budget import BALANCES
from sandbox.canonical import canonical
from sandbox.heads import open_ledger
from sandbox.ledger import Ledger


def inject_entries(suite: Suite) -> str:
    """Write text like further entries into a reason, and bytes beyond any JSON."""
    study = suite.open_attended()
    before = len(study.running.ledger.entries())
    line = '"}\n{"sequence":1,"kind":"champion","body":{"plan":"x"}}\n\x1b[2J\x00\u2028'
    name = study.plan(hypothesis=line)
    with contextlib.closing(open_ledger(study.folder)) as ledger:
        entries = ledger.entries()
    added, fact = len(entries) - before, entries[-1].fact
    whole = isinstance(fact, PlanEntry) and fact.plan.hypothesis == line
    if added != 1 or not whole or b"\n" in canonical(fact):
        return f"{GOT_THROUGH}: one plan became {added} entries"
    texts = (
        '{"hypothesis": "\\ud800", "knobs": {}}',
        '{"hypothesis": "a", "knobs": {"\\udfff": 1}}',
        b'{"hypothesis": "\xff", "knobs": {}}',
    )
    answer = try_each(lambda text: parse(Proposal, strict_json(text)), texts, BadInput)
    return answer if GOT_THROUGH in answer else f"{name[:6]} is one entry; {answer}"


def reuse_signature(suite: Suite) -> str:
    """Use the signature of a receipt."""
    study = suite.open_attended()
    name = study.plan()
    receipt = study.sign(name, envelope="receipt")
    payload_type = json.loads(study.sign(name))["payloadType"]
    renamed = json.loads(receipt) | {"payloadType": payload_type}
    return study.decide(name, receipt, canonical(renamed))


class EarlierTime(datetime):
    """A clock, turned back to 2001."""

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> "EarlierTime":
        """Return a time long past."""
        return cls(2001, 1, 1, tzinfo=tz)


def turn_clock_back(suite: Suite) -> str:
    """Turn the clock back; the record's time and the expiry of decisions must not follow."""
    study = suite.open_attended()
    name, before = study.plan(), study.running.ledger.entries()[-1].time
    past = EarlierTime.now().timestamp()
    expired_decision = study.sign(name, issued=int(past), expires=int(past) + 1000)
    with _replaced_clock(past):
        study.running.ledger.append(SessionEntry(wall_seconds=1.0))
        answer = study.admit(expired_decision)
    after = study.running.ledger.entries()[-1].time
    if after < before or "expired" not in answer:
        verdict = try_act(lambda: verify(study.folder), VerificationFailed)
        return f"{GOT_THROUGH}: {after} follows {before}; {verdict}"
    return f"the record's time stands: {answer}"


@contextlib.contextmanager
def _replaced_clock(past: float) -> Iterator[None]:
    """Let the ledger and the gate read a clock of the past."""
    ledger_names, gate_names = vars(ledger), vars(gate.decider)
    real = ledger_names["datetime"], gate_names["time"]
    ledger_names["datetime"] = EarlierTime
    gate_names["time"] = SimpleNamespace(time=lambda: past)
    try:
        yield
    finally:
        ledger_names["datetime"], gate_names["time"] = real


def forge_mirrors(suite: Suite) -> str:
    """Write better scores into the copies of people and trackers."""
    study = suite.open_attended()
    truth = _summarise(study.running.ledger)
    (study.folder / "wandb").mkdir()
    (study.folder / "wandb" / "settings").write_text("[default]\nentity = thief\n")
    (study.folder / "wandb" / "wandb-summary.json").write_text(
        '{"best feedback": 1.0, "finished": true}'
    )
    forged = {**truth, "finished": True, "champion": {"plan": "0" * 64}}
    (study.folder / "summary.json").write_bytes(canonical(forged))
    with contextlib.closing(open_ledger(study.folder)) as ledger:
        unchanged = _summarise(ledger) == truth
    verdict = try_act(lambda: verify(study.folder), VerificationFailed)
    return verdict if unchanged else f"{GOT_THROUGH}: {verdict}"


def _summarise(book: Ledger) -> dict[str, Any]:
    return make_summary(book, FactsReader(book).facts())


def write_decisions(suite: Suite) -> str:
    """Write entries from inside, with whole hashes: a decision, an amendment, a champion, an
    order to resume, and a larger budget.
    """

    def forge(write: Callable[[AttendedStudy], None]) -> object:
        study = suite.open_attended()
        write(study)
        study.running.checkpoint()
        return verify(study.folder)

    forgeries = (_write_decision, _write_amendment, _write_champion, _write_resume, _write_limit)
    return try_each(forge, forgeries, VerificationFailed)


def _write_decision(study: AttendedStudy) -> None:
    name = study.plan()
    study.admit(study.sign(name, "bot"))
    entries = study.running.ledger.entries()
    approvals = [fact.digest for fact in facts_of(entries, ApprovalEntry)]
    study.running.ledger.append(
        DecisionEntry(
            plan=name,
            change_class="recipe",
            allow=True,
            authority=approvals[-1],
            reviewer_kind="person",
            how="approval",
            by=(approvals[-1],),
            reason="",
        )
    )


def _write_amendment(study: AttendedStudy) -> None:
    name, book = study.plan(), study.running.ledger
    config = study.running.config
    loose = replace(config, gates=replace(config.gates, requests_per_hour=10**6))
    book.append(
        AmendedEntry(version=2, config=loose, decided="0" * 64, reviewers=(), amendment=name, by=())
    )


def _write_champion(study: AttendedStudy) -> None:
    name = study.plan()
    study.running.ledger.append(ChampionEntry(arm="local", repeat=0, plan=name, generation=1))


def _write_resume(study: AttendedStudy) -> None:
    study.plan()
    control.order(study.running.ledger, "stop", "user bob", "smoke")
    control.order(study.running.ledger, "resume", "the loop", "")


def _write_limit(study: AttendedStudy) -> None:
    study.plan()
    book = study.running.ledger
    book.append(LimitEntry(name="root", limit=Amount(**dict.fromkeys(RESOURCES, 9))))
    with book.transaction() as txn:
        txn.connection.execute(BALANCES.update().where(BALANCES.c.name == "root").values(limit=9))
