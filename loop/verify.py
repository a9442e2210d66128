"""`heirloop verify`: recompute everything from bytes. Raises VerificationFailed and names the entry.

A failure is an incident of the run, unless the chain or its signed heads are what fails: to write on would then cover up what was cut.
"""

from contextlib import suppress
from pathlib import Path
from typing import Any

from sqlalchemy.exc import DatabaseError

from configs.build import plain
from configs.errors import BadInput, Stopped, VerificationFailed
from configs.records import JobResult, Scores
from evals.data import held_out
from evals.score import score
from loop.archive import Archive, Facts
from loop.study import places, read_config
from sandbox import incident, keys
from sandbox.budget import balances, replay
from sandbox.canonical import digest
from sandbox.ledger import Ledger, check_checkpoints
from sandbox.store import Store


def checked(folder: Path, kept: Path | None = None) -> dict[str, Any]:
    """Verify a run, and record in it that it failed."""
    try:
        return verify(folder, kept)
    except VerificationFailed as error:
        where = record(folder, str(error), kept)
        raise VerificationFailed(f"{error}; {where or 'not recorded in the run, whose record may itself be what fails'}") from None


def record(folder: Path, why: str, kept: Path | None = None) -> str:
    """Open an incident for a failed verification, once per reason; return where it stands, or nothing where the record must not be written on."""
    with suppress(VerificationFailed, DatabaseError, Stopped):
        ledger, _ = _heads(folder, kept)
        with ledger.transaction() as txn:
            known = [e.body for e in txn.entries() if e.kind == "incident" and why[:300] in (e.body["root_cause"][:300], e.body["containment"])]
            made = known or [incident.report(txn, "failed verification", kind="incident", severity="high", detector="verify", root_cause=why,
                                             harm_potential="what is concluded from this run may be wrong").body]  # fmt: skip
            return f"recorded as {made[0]['id']}"
    return ""


def _heads(folder: Path, kept: Path | None) -> tuple[Ledger, list[int]]:
    """Open a ledger whose chain and signed heads hold; return it and how many heads each place has."""
    ledger = Ledger.file(folder / "ledger.sqlite")
    entries = ledger.entries()
    read_config(ledger)
    first = entries[0]
    if kept and not kept.is_file():
        raise BadInput(f"--heads is {str(kept)!r}; it should be a file of signed heads, one JSON object a line")
    heads = [check_checkpoints(entries, first.body["checkpoint_key"], place) for place in (*places(folder, first.hash), *([kept] if kept else []))]
    if max(heads) == 0 and any(e.kind == "champion" for e in entries):
        raise VerificationFailed("no signed checkpoint was found in the run or outside it; the tail cannot be trusted")
    return ledger, heads


def verify(folder: Path, kept: Path | None = None) -> dict[str, Any]:
    """Check chain, signed heads, balances, plans, grants, stored bytes and, with the secret at hand, every score. Writes nothing."""
    ledger, heads = _heads(folder, kept)
    entries = ledger.entries()
    if ledger.read(balances) != replay(entries):
        raise VerificationFailed("the accounts do not match the entries; the entries are the authority")
    store, granted, consumed, authorities = Store(folder / "store"), set(), set(), set()
    for entry in entries:
        body = entry.body
        if entry.kind == "plan" and digest(body["plan"]) != body["digest"]:
            raise VerificationFailed(f"entry {entry.sequence}: the plan does not match its digest")
        if entry.kind in ("mandate", "approval"):
            signed = keys.verify(body["envelope"].encode(), body[entry.kind]["public"], entry.kind)
            if digest(body["envelope"].encode()) != body["digest"] or signed != body[entry.kind]:
                raise VerificationFailed(f"entry {entry.sequence}: the {entry.kind} does not match what was signed")
            authorities.add(body["digest"])
        if entry.kind == "acknowledgement" and keys.verify(body["envelope"].encode(), body[entry.kind]["public"], entry.kind) != body[entry.kind]:
            raise VerificationFailed(f"entry {entry.sequence}: the acknowledgement does not match what was signed")
        if entry.kind == "decision" and body["allow"] and not set(body["by"]) <= authorities:
            raise VerificationFailed(f"entry {entry.sequence}: the decision rests on no recorded mandate or approval")
        if entry.kind == "amended" and not set(body["by"]) <= authorities:
            raise VerificationFailed(f"entry {entry.sequence}: the amendment rests on no recorded approval")
        if entry.kind == "grant":
            if body["grant"]["authority"] not in authorities:
                raise VerificationFailed(f"entry {entry.sequence}: the grant rests on no recorded mandate or approval")
            granted.add(digest(body["grant"]))
        if entry.kind == "start":
            name = digest(body["grant"])
            if name not in granted or name in consumed:
                raise VerificationFailed(f"entry {entry.sequence}: a job began without a grant of its own")
            consumed.add(name)
            if digest(body["job"]) != body["digest"]:
                raise VerificationFailed(f"entry {entry.sequence}: the job does not match its digest")
        for blob in _blobs(entry.kind, body):
            store.get(blob)
    facts = Archive(ledger).facts()
    for plan in facts.plans.values():
        store.get_bundle(plan.bundle)
    scores = _scores(store, facts, ledger)
    return {"entries": len(entries), "checkpoints": heads, "plans": len(facts.plans), "jobs": len(consumed), "scores": scores}


def _blobs(kind: str, body: dict[str, Any]) -> list[str]:
    if kind == "job":
        return [d for d in [*body["result"]["outputs"].values(), body["result"]["log"]] if d]
    return [body["digest"]] if kind in ("data", "questions") else []


def _scores(store: Store, facts: Facts, ledger: Ledger) -> int:
    config = read_config(ledger)
    try:
        secret = keys.load_secret(ledger.entries()[0].body["secret"])
    except VerificationFailed:
        return 0
    task, splits, count = config.task.format(), held_out(config.task.format(), secret), 0
    for (name, role, index), found in facts.scores.items():
        if not isinstance(found, Scores):
            continue
        result: JobResult = facts.results[name, role, index][0]
        plan = facts.plans[name]
        recipe = plan.reference_recipe if role.startswith("champion") else plan.recipe
        assert recipe is not None
        data = store.get(result.outputs["predictions.safetensors"])
        again = score(data, splits[found.split], task, recipe, found.split, found.planned_cpu_us, found.measured_cpu_us)
        if isinstance(again, str) or plain(again) != plain(found):
            raise VerificationFailed(f"the score of plan {name[:12]}, {role} {index}, is not what its predictions give")
        count += 1
    return count


