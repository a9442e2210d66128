"""`heirloop verify`: recompute everything from bytes. Raises VerificationFailed and names the
entry.

A failure is an incident of the run, unless the chain or its signed heads are what fails: to write
on would then cover up what was cut.
"""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from sqlalchemy.exc import DatabaseError

from configs.build import parse, plain, strict_json
from configs.entries import Entry
from configs.errors import BadInput, Stopped, VerificationFailed
from configs.records import JobResult, Plan, Scores
from configs.settings.config import Config
from evals.data import held_out, slices
from evals.score import score
from loop.facts.facts import Facts, FactsReader
from loop.propose.evolve.database import applied, moved
from loop.propose.outside.read import read
from loop.propose.table import proposer
from loop.study.own_files import load_items
from loop.study.root import places, read_config
from loop.verify.decisions import rederive
from sandbox import incident, keys, own
from sandbox.budget import balances, replay
from sandbox.heads import check_checkpoints
from sandbox.ledger import Ledger
from sandbox.store import Store


def checked(folder: Path, kept: Path | None = None) -> dict[str, Any]:
    """Verify a run, and record in it that it failed."""
    try:
        return verify(folder, kept)
    except VerificationFailed as error:
        where = record(folder, str(error), kept)
        raise VerificationFailed(
            f"{error}; {where or 'not recorded in the run, whose record may itself be what fails'}"
        ) from None


def record(folder: Path, why: str, kept: Path | None = None) -> str:
    """Open an incident for a failed verification, once per reason; return where it stands, or
    nothing where the record must not be written on.
    """
    with suppress(VerificationFailed, DatabaseError, Stopped):
        ledger, _ = opened(folder, kept)
        with ledger.transaction() as txn:
            known = [
                e.body
                for e in txn.entries()
                if e.kind == "incident"
                and why[:300] in (e.body["root_cause"][:300], e.body["containment"])
            ]
            made = known or [
                incident.report(
                    txn,
                    "failed verification",
                    kind="incident",
                    severity="high",
                    detector="verify",
                    root_cause=why,
                    harm_potential="what is concluded from this run may be wrong",
                ).body
            ]
            return f"recorded as {made[0]['id']}"
    return ""


def opened(folder: Path, kept: Path | None) -> tuple[Ledger, list[list[int]]]:
    """Open a ledger whose chain and signed heads hold; return it and the sequences that each place
    signed.
    """
    ledger = Ledger.file(folder / "ledger.sqlite")
    read_config(ledger)
    entries = ledger.entries()
    if kept and not kept.is_file():
        raise BadInput(
            f"--heads is {str(kept)!r}; it should be a file of signed heads, one JSON object a line"
        )
    key = entries[0].body["checkpoint_key"]
    return ledger, _heads(folder, entries, key) + (
        [check_checkpoints(entries, key, kept)] if kept else []
    )


def verify(folder: Path, kept: Path | None = None) -> dict[str, Any]:
    """Check chain, signed heads, balances, every decision by the rules of its time, stored bytes
    and, with the secret at hand, every score.

    `kept` is somebody's own copy of the signed heads. Writes nothing.
    """
    ledger, heads = opened(folder, kept)
    entries, store = ledger.entries(), Store(folder / "store")
    ended(folder, entries, max((max(h, default=0) for h in heads), default=0))
    limits, found = rederive(ledger, store), replay(entries)
    rows = ledger.read(balances)
    for name in (n for n in {**rows, **found} if rows.get(n) != found.get(n)):
        last = max(
            (
                e.sequence
                for e in entries
                if name in (e.body.get("name"), *e.body.get("accounts", ()))
            ),
            default=0,
        )
        raise VerificationFailed(
            f"the account {name} does not match the entries up to entry {last}; the entries are the"
            " authority"
        )
    for name, cells in found.items():
        if {r: cell["limit"] for r, cell in cells.items()} != plain(limits.get(name)):
            raise VerificationFailed(f"the account {name} has a limit that nobody decided on")
    for entry in entries:
        said = entry.body[entry.kind] if entry.kind == "acknowledgement" else None
        if (
            said
            and keys.verify(entry.body["envelope"].encode(), said["public"], entry.kind) != said
        ):
            raise VerificationFailed(
                f"entry {entry.sequence}: the acknowledgement does not match what was signed"
            )
        for blob in blobs(entry.kind, entry.body):
            store.get(blob)
    facts = FactsReader(ledger).facts()
    for plan in facts.plans.values():
        store.get_bundle(plan.bundle)
    _proposals(store, facts)
    scores, jobs = _scores(store, facts, ledger), sum(e.kind == "start" for e in entries)
    return {
        "entries": len(entries),
        "checkpoints": [len(h) for h in heads],
        "plans": len(facts.plans),
        "jobs": jobs,
        "scores": scores,
    }


def _heads(folder: Path, entries: list[Entry], key: str) -> list[list[int]]:
    """Return the sequences that each place signed; raises where one tells another history or lacks
    heads that the other has.
    """
    where = places(folder, entries[0].hash)
    heads = [check_checkpoints(entries, key, place) for place in where]
    if not any(heads) and any(e.kind == "champion" for e in entries):
        raise VerificationFailed(
            "no signed checkpoint was found in the run or outside it; the tail cannot be trusted"
        )
    inside, outside = heads
    if not (
        outside
        or where[1].is_file()
        or (keys.home() / "secrets" / entries[0].body["secret"]).is_file()
    ):
        return heads  # a copy of the run, on a machine that is not its holder's
    for mine, other, place in ((inside, outside, where[0]), (outside, inside, where[1])):
        if (
            len(other) > 1 and max(mine, default=0) < other[-2]
        ):  # a crash between the two writes leaves one behind by one
            raise VerificationFailed(
                f"{place} lacks checkpoints after entry {max(mine, default=0)}; the other place"
                f" signed entry {other[-1]}"
            )
    return heads


def ended(folder: Path, entries: list[Entry], signed: int) -> None:
    """Raise VerificationFailed where the run says more than its ledger: finished without an end, or
    an end that nobody signed.
    """
    end = max((e.sequence for e in entries if e.kind == "end"), default=0)
    if end > signed:
        raise VerificationFailed(
            f"entry {end} ends the study and no signed checkpoint covers it; run the study once"
            " more to sign its end"
        )
    try:
        told = strict_json((folder / "summary.json").read_bytes(), limit=100_000_000)
        finished, count = bool(told["finished"]), int(told["entries"])
    except FileNotFoundError:
        return
    except (BadInput, KeyError, TypeError, ValueError):
        raise VerificationFailed(
            "summary.json is no summary; `heirloop report RUN` writes it again"
        ) from None
    if count > len(entries):
        raise VerificationFailed(
            f"entries {len(entries) + 1} to {count} are missing: summary.json counts {count}"
        )
    if finished and not end:
        raise VerificationFailed(
            "summary.json says that the study is finished, and the ledger has no end"
        )


def blobs(kind: str, body: dict[str, Any]) -> list[str]:
    """Return the digests of the stored bytes that an entry names."""
    if kind == "job":
        return [d for d in [*body["result"]["outputs"].values(), body["result"]["log"]] if d]
    if kind in ("study", "amended"):
        return [pin for _, pin in parse(Config, body["config"]).files().values()]
    if kind in ("plan", "invalid"):  # an empty answer has no bytes
        return [d for d in ((body["plan"] if kind == "plan" else body).get("proposal"),) if d]
    if kind == "answer":
        return [d for d in (body["answer"]["text"],) if d]
    if kind == "call":
        return [body["call"]["body"]]
    return (
        [body["digest"]] if kind in ("data", "questions", "notebook", "history", "handed") else []
    )


def _proposals(store: Store, facts: Facts) -> None:
    """Read every stored answer of an outside model once more, without the model: it must give the
    proposal that its plan was made from.
    """
    for name, plan in facts.plans.items():
        answer = (
            facts.answers.get((plan.asked, plan.index)) if plan.purpose == "candidate" else None
        )
        if answer is not None:
            read_again = _evolved if proposer(plan.arm).evolves else _read
            if store.get(plan.proposal) not in read_again(
                store, facts, plan, store.get(answer.text).decode() if answer.text else ""
            ):
                raise VerificationFailed(
                    f"the proposal of plan {name[:12]} is not what the stored answer says"
                )


def _read(store: Store, facts: Facts, plan: Plan, text: str) -> list[bytes]:
    source = _program(store, facts.plans[plan.parent])
    return [read(text, source).encode() if text else b""]


def _program(store: Store, plan: Plan) -> str:
    return store.get(strict_json(store.get(plan.bundle))["models/train.py"]).decode()


def _evolved(store: Store, facts: Facts, plan: Plan, text: str) -> Iterator[bytes]:
    """Yield the proposals that an answer gives on an earlier program of the campaign, where it
    makes the plan's program and recipe of it.
    """
    program, best = _program(store, plan), facts.plans[plan.parent]
    before = _program(store, best)
    for parent in facts.trials((plan.arm, plan.repeat)).values():
        if (parent.generation, parent.index) >= (
            plan.generation,
            plan.index,
        ) and parent.purpose == "candidate":
            continue
        with suppress(BadInput):
            source = _program(store, parent)
            found = read(text, source)
            if applied(parent.recipe, source, found) == (plan.recipe, program):
                yield moved(best.recipe, before, plan.recipe, program, found).encode()


def _scores(store: Store, facts: Facts, ledger: Ledger) -> int:
    config = read_config(ledger)
    try:
        secret = keys.load_secret(ledger.entries()[0].body["secret"])
    except VerificationFailed:
        return 0
    if config.task.file and not own.known(config.task.file_digest):
        return 0
    load_items(config.task)
    task, splits, count = config.task.format(), held_out(config.task.format(), secret), 0
    parts = {split: slices(task, secret, split, items) for split, items in splits.items()}
    for (name, role, index), found in facts.scores.items():
        if not isinstance(found, Scores):
            continue
        result: JobResult = facts.results[name, role, index][0]
        plan = facts.plans[name]
        recipe = plan.reference_recipe if role.startswith("champion") else plan.recipe
        assert recipe is not None
        data = store.get(result.outputs["predictions.safetensors"])
        again = score(
            data,
            splits[found.split],
            task,
            recipe,
            found.split,
            found.planned_cpu_us,
            found.measured_cpu_us,
            found.inference_cpu_us,
            parts[found.split],
        )
        if isinstance(again, str) or plain(again) != plain(found):
            raise VerificationFailed(
                f"the score of plan {name[:12]}, {role} {index}, is not what its predictions give"
            )
        count += 1
    return count
