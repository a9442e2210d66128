"""`heirloop prune`: drop the weights of a finished study that no verification reads.

Scores are computed again from predictions, so the weights behind them may go. What ever was a
champion stays: it can be deployed, recalled and rolled back to. The ledger says what goes, under a
signed head, before the first file goes; after a kill the same command goes on.
"""

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from configs.entries import ChampionEntry, EndEntry, Entry, JobEntry, PruneEntry, facts_of
from configs.errors import BadInput
from loop.study.root import read_config
from loop.verify.inputs import WEIGHTS
from loop.verify.run import list_blobs, read_dropped, verify
from sandbox.canonical import canonical
from sandbox.heads import open_ledger
from sandbox.lock import Lock
from sandbox.remote_store import open_store


def prune(folder: Path, who: str, dry: bool = False) -> dict[str, Any]:
    """Drop the weights of a finished run that nothing needs; return {files, bytes, dropped}.

    `dry` only counts. Raises BadInput for a study that goes on, and for a task whose scores are
    counted from weights; VerificationFailed for a run that does not verify, Stopped for one that
    another process runs.
    """
    with closing(Lock(folder)) as lock, closing(open_ledger(folder)) as ledger:
        if not dry:
            lock.hold_folder(folder)
        verify(folder)
        entries, store = ledger.entries(), open_store(folder)
        if not any(facts_of(entries, EndEntry)):
            raise BadInput(f"{folder} is not finished; its weights may still be needed")
        if read_config(ledger).task.weights:
            raise BadInput(
                f"{folder} counts weights for its scores, so verification needs them all"
            )
        dropped = read_dropped(entries, store)
        names = [name for name in list_droppable(entries) if name not in dropped]
        size = sum(map(store.size, names))
        if names and not dry:
            blobs = store.put(canonical(names))
            ledger.append(PruneEntry(blobs=blobs, count=len(names), size=size, who=who))
        if not dry:
            for name in read_dropped(ledger.entries(), store):
                store.drop(name)
    return {"files": len(names), "bytes": size, "dropped": not dry}


def list_droppable(entries: Sequence[Entry]) -> list[str]:
    """Return the digests of weights that neither champions nor any other record name, in order."""
    kept = {fact.plan for fact in facts_of(entries, ChampionEntry)}
    weights, needed = set[str](), set[str]()
    for entry in entries:
        fact, named = entry.fact if entry.kind == JobEntry.kind else None, set(list_blobs(entry))
        if isinstance(fact, JobEntry) and fact.plan not in kept:
            own = {fact.result.outputs[WEIGHTS]} if WEIGHTS in fact.result.outputs else set[str]()
            weights |= own
            named -= own
        needed |= named
    return sorted(weights - needed)
