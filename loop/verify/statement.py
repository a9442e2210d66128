"""The compute statement: what a period cost, over runs, signed for somebody outside who holds a
public key and nothing else.

Every figure comes from what the ledgers charged. A statement is an entry (its digest) of each run
that it covers, so that one which was shown cannot be denied, and the head of each ledger stands in
it. It refuses a run that has no ledger, and a time that is none.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import accumulate
from pathlib import Path
from typing import Any

from configs.build import parse, plain
from configs.entries import Entry
from configs.errors import BadInput, VerificationFailed
from configs.records import Amount
from loop.study.root import signer
from sandbox import keys
from sandbox.canonical import digest
from sandbox.decision import body_plan, policy
from sandbox.ledger import Ledger

MOST_BYTES = 8_000_000
"""A larger statement is not read; split the runs."""


def statement(folders: Sequence[Path], since: str = "", until: str = "") -> dict[str, Any]:
    """Return the compute of a period (UTC times of ISO 8601; empty: no bound) over runs: total,
    peaks, per class and per account.

    Amounts are in the ledger's units: CPU- and wall-microseconds (wall added up over parallel
    jobs), jobs, bytes, tokens, millionths.
    """
    first, last = _time("since", since), _time("until", until)
    runs = [(Ledger.file(folder / "ledger.sqlite").entries(), folder) for folder in folders]
    parts = [
        [e for e in entries if first <= datetime.fromisoformat(e.time) <= last]
        for entries, _ in runs
    ]
    flat = [e for part in parts for e in part]
    return {
        "statement": "compute charged to Heirloop studies",
        "made_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "since": since,
        "until": until,
        "first_entry": min((e.time for e in flat), default=""),
        "last_entry": max((e.time for e in flat), default=""),
        "total": plain(_sum(e.body["spent"] for e in flat if e.kind == "settle")),
        **_peaks(flat),
        "runs": [_run(entries, part) for (entries, _), part in zip(runs, parts, strict=True)],
    }


def publish(folders: Sequence[Path], since: str = "", until: str = "") -> bytes:
    """Return the statement in an envelope, signed by the first run's checkpoint key, and record its
    digest in every run's ledger.
    """
    root = Ledger.file(folders[0] / "ledger.sqlite").entries()[0].body
    told = {**statement(folders, since, until), "public": root["checkpoint_key"]}
    envelope = keys.sign(told, signer(keys.load_secret(root["secret"])), "compute")
    for folder in folders:
        body = {
            "digest": digest(envelope),
            "since": since,
            "until": until,
            "public": root["checkpoint_key"],
        }
        Ledger.file(folder / "ledger.sqlite").append("compute", body)
    return envelope


def check(envelope: bytes, public: str) -> dict[str, Any]:
    """Return a statement that the key with this public half (hex) signed, if its parts add up;
    raises VerificationFailed otherwise.
    """
    told = keys.verify(envelope, public, "compute", limit=MOST_BYTES)
    parts = [run["total"] for run in told["runs"]]
    by_class = [amount for run in told["runs"] for amount in run["by_class"].values()]
    if told["public"] != public or any(
        plain(_sum(found)) != told["total"] for found in (parts, by_class)
    ):
        raise VerificationFailed(
            "the statement's parts do not add up to its total; ask for another"
        )
    return told


def _run(entries: list[Entry], part: list[Entry]) -> dict[str, Any]:
    rules, root = policy(entries), entries[0].body
    settled = [e.body for e in part if e.kind == "settle"]
    classes = {
        e.body["digest"]: body_plan(e.body).change_class for e in entries if e.kind == "plan"
    }
    of_nonce = {
        e.body["grant"]["nonce"]: classes[e.body["grant"]["plan"]]
        for e in entries
        if e.kind in ("start", "call")
    }
    by_class: dict[str, list[dict[str, int]]] = {}
    by_account: dict[str, list[dict[str, int]]] = {}
    for body in settled:
        by_class.setdefault(of_nonce.get(body["key"], body["key"].partition(":")[0]), []).append(
            body["spent"]
        )
        for account in body["accounts"]:
            by_account.setdefault(account, []).append(body["spent"])
    return {
        "study": entries[0].hash,
        "name": rules.config.study.name,
        "head": entries[-1].hash,
        "entries": len(entries),
        "machine": root["machine"],
        "box": root["box"],
        "tier": root["tier"],
        "total": plain(_sum(body["spent"] for body in settled)),
        **_peaks(part),
        "peak_bytes": max(
            (e.body["result"]["peak_bytes"] for e in part if e.kind == "job"), default=0
        ),
        "by_class": {name: plain(_sum(found)) for name, found in sorted(by_class.items())},
        "by_account": {name: plain(_sum(found)) for name, found in sorted(by_account.items())},
    }


def _peaks(entries: list[Entry]) -> dict[str, Any]:
    """Return the most jobs at a time, and the hour (of the clock, UTC) with the most CPU charged at
    its jobs' ends.
    """
    moves = sorted(
        [(e.time, 1) for e in entries if e.kind == "start"]
        + [(e.time, -1) for e in entries if e.kind == "job"]
    )
    hours: dict[str, int] = {}
    for e in entries:
        if e.kind == "settle":
            hours[e.time[:13]] = hours.get(e.time[:13], 0) + e.body["spent"]["cpu_us"]
    best = max(hours, key=lambda hour: hours[hour], default="")
    return {
        "peak_jobs": max(accumulate(step for _, step in moves), default=0),
        "peak_hour": best,
        "peak_hour_cpu_us": hours.get(best, 0),
    }


def _sum(amounts: Any) -> Amount:
    return sum((parse(Amount, one) for one in amounts), Amount())


def _time(name: str, text: str) -> datetime:
    if not text:
        return (datetime.min if name == "since" else datetime.max).replace(tzinfo=UTC)
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise BadInput(
            f"--{name} is {text!r}; it should be a time such as 2026-01-31T00:00"
        ) from None
    return found if found.tzinfo else found.replace(tzinfo=UTC)
