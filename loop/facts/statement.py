"""Compute statement: the cost of a period over runs, signed for an outsider with a public key.

Every figure comes from the charges in the ledgers. A statement's digest is an entry of each covered
run, so nobody can deny a shown statement. The head of each ledger stands in it. A run without a
ledger and an unreadable time are refused.
"""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from itertools import accumulate
from pathlib import Path
from typing import Any, cast

from configs.build import parse, plain
from configs.entries import (
    CallEntry,
    ComputeEntry,
    Entry,
    JobEntry,
    PlanEntry,
    StartEntry,
    StudyEntry,
    facts_of,
)
from configs.errors import BadInput, VerificationFailed
from configs.records import Amount
from sandbox import keys
from sandbox.canonical import digest
from sandbox.charges import settlements
from sandbox.decision import policy
from sandbox.heads import open_ledger
from sandbox.keys import signer

MOST_BYTES = 8_000_000
"""A larger statement is not read; split the runs."""


def statement(folders: Sequence[Path], since: str = "", until: str = "") -> dict[str, Any]:
    """Return the compute of a period over runs: total, peaks, per class and per account.

    Times are UTC of ISO 8601; empty: no bound. Amounts are in the ledger's units, for example CPU-
    and wall-microseconds, bytes, tokens and millionths. Wall time is added up over parallel jobs.
    """
    first, last = _read_time("since", since), _read_time("until", until)
    runs = [open_ledger(folder).entries() for folder in folders]
    periods = [_select(entries, first, last) for entries in runs]
    together = [entry for period in periods for entry in period]
    return {
        "statement": "compute charged to Heirloop studies",
        "made_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "since": since,
        "until": until,
        "first_entry": min((entry.time for entry in together), default=""),
        "last_entry": max((entry.time for entry in together), default=""),
        "total": plain(_sum_spent(together)),
        **_find_peaks(together),
        "runs": [
            describe_run(entries, period) for entries, period in zip(runs, periods, strict=True)
        ],
    }


def _select(entries: Sequence[Entry], first: datetime, last: datetime) -> list[Entry]:
    return [entry for entry in entries if first <= datetime.fromisoformat(entry.time) <= last]


def publish(folders: Sequence[Path], since: str = "", until: str = "") -> bytes:
    """Return the statement in an envelope, signed by the first run's checkpoint key.

    Its digest is recorded in every run's ledger.
    """
    ledgers = [open_ledger(folder) for folder in folders]
    for ledger in ledgers:
        ledger.before()  # nothing is signed over an older ledger
    root = cast(StudyEntry, ledgers[0].entries()[0].fact)
    content = {**statement(folders, since, until), "public": root.checkpoint_key}
    envelope = keys.sign(content, signer(keys.load_secret(root.secret)), "compute")
    entry = ComputeEntry(
        digest=digest(envelope), since=since, until=until, public=root.checkpoint_key
    )
    for ledger in ledgers:
        ledger.append(entry)
    return envelope


def check(envelope: bytes, public: str) -> dict[str, Any]:
    """Return a statement signed by the key with this public half (hex).

    Raises VerificationFailed for another signature, and where its parts do not add up.
    """
    content = keys.verify(envelope, public, "compute", limit=MOST_BYTES)
    by_run = [run["total"] for run in content["runs"]]
    by_class = [amount for run in content["runs"] for amount in run["by_class"].values()]
    sums = [plain(_sum(parse(Amount, part) for part in parts)) for parts in (by_run, by_class)]
    if content["public"] != public or any(total != content["total"] for total in sums):
        raise VerificationFailed(
            "the statement's parts do not add up to its total; ask for another"
        )
    return content


def describe_run(entries: list[Entry], period: list[Entry]) -> dict[str, Any]:
    """Return the figures of a single run in a period."""
    root = cast(StudyEntry, entries[0].fact)
    jobs = list(facts_of(period, JobEntry))
    return {
        "study": entries[0].hash,
        "name": policy(entries).config.study.name,
        "head": entries[-1].hash,
        "entries": entries[-1].sequence,
        "machine": root.machine,
        "box": root.box,
        "tier": root.tier,
        "total": plain(_sum_spent(period)),
        **_find_peaks(period),
        "peak_bytes": max((job.result.peak_bytes for job in jobs), default=0),
        "by_class": _sum_by_class(entries, period),
        "by_account": _sum_by_account(period),
    }


def _sum_by_class(entries: list[Entry], period: list[Entry]) -> dict[str, Any]:
    """Return the charges per change class; looks and replays have the start of their key."""
    classes = {fact.digest: fact.plan.change_class for fact in facts_of(entries, PlanEntry)}
    grants = [fact.grant for fact in facts_of(entries, StartEntry)]
    grants += [fact.grant for fact in facts_of(entries, CallEntry)]
    class_of = {grant.nonce: classes[grant.plan] for grant in grants}
    amounts: dict[str, list[Amount]] = {}
    for _, fact in settlements(period):
        name = class_of.get(fact.key) or fact.key.partition(":")[0]
        amounts.setdefault(name, []).append(fact.spent)
    return {name: plain(_sum(parts)) for name, parts in sorted(amounts.items())}


def _sum_by_account(period: list[Entry]) -> dict[str, Any]:
    amounts: dict[str, list[Amount]] = {}
    for _, fact in settlements(period):
        for account in fact.accounts:
            amounts.setdefault(account, []).append(fact.spent)
    return {name: plain(_sum(parts)) for name, parts in sorted(amounts.items())}


def _find_peaks(entries: list[Entry]) -> dict[str, Any]:
    """Return the most jobs at a time, and the UTC hour with the most CPU charged at jobs' ends."""
    steps = {"start": 1, "job": -1}
    moves = sorted((entry.time, steps[entry.kind]) for entry in entries if entry.kind in steps)
    hours: dict[str, int] = {}
    for entry, fact in settlements(entries):
        hour = entry.time[:13]
        hours[hour] = hours.get(hour, 0) + fact.spent.cpu_us
    peak = max(hours, key=lambda hour: hours[hour], default="")
    return {
        "peak_jobs": max(accumulate(step for _, step in moves), default=0),
        "peak_hour": peak,
        "peak_hour_cpu_us": hours.get(peak, 0),
    }


def _sum_spent(entries: list[Entry]) -> Amount:
    return _sum(fact.spent for _, fact in settlements(entries))


def _sum(amounts: Iterable[Amount]) -> Amount:
    return sum(amounts, Amount())


def _read_time(name: str, text: str) -> datetime:
    """Return a time in UTC, or the first or last moment for an empty text."""
    if not text:
        return (datetime.min if name == "since" else datetime.max).replace(tzinfo=UTC)
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise BadInput(
            f"--{name} is {text!r}; it should be a time such as 2026-01-31T00:00"
        ) from None
    return time if time.tzinfo else time.replace(tzinfo=UTC)
