"""`heirloop repair`: put back what a run lost and somebody still has. It never touches the ledger.

A run can lose signed heads in one of their two places, and files of its store. Heads come from the
other place, where each stands under a signature; files come from a copy of the run, by their
digests. So a repair adds what the record names, and nothing else can get in. A broken ledger is not
repaired: put its newest copy back, or fork the study.
"""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import cast

from configs.entries import Entry, PlanEntry, PruneEntry, StudyEntry, facts_of
from configs.errors import BadInput, VerificationFailed
from loop.study.root import read_config
from loop.verify.run import list_blobs, read_dropped, verify
from sandbox.address import has_ledger
from sandbox.files import append_line, read_lines
from sandbox.heads import check_checkpoints, open_ledger, places
from sandbox.lock import Lock
from sandbox.remote_store import open_store
from sandbox.store import Store


def repair(folder: Path, copy: Path | None = None) -> dict[str, int]:
    """Put back heads and stored files, and verify the run; return how many of each were added.

    `copy` is the folder of a copy of the run. Raises VerificationFailed with what is still wrong,
    Stopped where another process runs the study, and BadInput for a copy that is no run.
    """
    if copy and not has_ledger(copy):
        raise BadInput(f"--from is {str(copy)!r}; it should be the folder of a copy of the run")
    with closing(Lock(folder)) as lock, closing(open_ledger(folder)) as ledger:
        lock.hold_folder(folder)
        read_config(ledger)
        entries = ledger.entries()
        heads = _restore_heads(folder, entries)
        store, other = open_store(folder), open_store(copy) if copy else None
        files = sum(_restore(store, other, name) for name in _list_files(entries, store))
    verify(folder)
    return {"heads": heads, "files": files}


def _restore_heads(folder: Path, entries: list[Entry]) -> int:
    """Give each of the two places the heads that it lacks at its end; return their number."""
    key = cast(StudyEntry, entries[0].fact).checkpoint_key
    pair, added = places(folder, entries[0].hash), 0
    for place, other in (pair, pair[::-1]):
        check_checkpoints(entries, key, other)  # nothing unsigned is copied
        own, known = read_lines(place), read_lines(other)
        if known[: len(own)] == own:
            for line in known[len(own) :]:
                append_line(place, line)
                added += 1
    return added


def _list_files(entries: list[Entry], store: Store) -> Iterator[str]:
    """Yield the digests of the stored files that verification reads, and not those dropped.

    A list comes before the files that it names: it must be back before it is read.
    """
    yield from (fact.blobs for fact in facts_of(entries, PruneEntry))
    dropped = read_dropped(entries, store)
    for entry in entries:
        yield from (name for name in list_blobs(entry) if name not in dropped)
    for bundle in sorted({fact.plan.bundle for fact in facts_of(entries, PlanEntry)}):
        yield bundle
        yield from store.manifest(bundle).values()


def _restore(store: Store, other: Store | None, name: str) -> bool:
    """Put a missing or damaged file back from a copy; tell whether that was needed."""
    try:
        store.get(name)
        return False
    except VerificationFailed:
        if other is None or not other.has(name):
            return False  # verification says what is still missing
    data = other.get(name)
    store.drop(name)
    store.put(data)
    return True
