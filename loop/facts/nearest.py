"""Which stored weights are nearest to new ones: a copy of another training's weights, noise added,
is no training.

Every training is read once and kept as a short sketch of its weights (Charikar, Chen and
Farach-Colton 2002), under signs that only the study's secret gives. Sums of the sketch's numbers
are a coarser sketch: all rows are ranked by it, the best of them by the sketch, and the few nearest
are then compared in full. So a training costs about the same however many there were. The sketch's
relative error is about 1/6, the coarse one's 1/2: they may miss which of two strangers is nearer,
and never a copy.
"""

import threading
from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from configs.entries import Entry
from evals.score import Array, distance, flat
from loop.facts.facts import Facts
from sandbox.canonical import digest
from sandbox.ledger import Ledger
from sandbox.store import Store

WIDTH = 64
"""Numbers in a sketch; the relative error of a distance is about sqrt(2 / WIDTH)."""


COARSE, RANKED = 8, 256
"""Numbers in a coarse sketch, and how many rows it leaves to the sketch."""


SHORTLIST = 3
"""Weights that are compared in full."""


class Nearest:
    """Sketches that follow a ledger; safe to use from several threads."""

    def __init__(self, ledger: Ledger, store: Store, secret: bytes) -> None:
        self._ledger, self._store, self._key = (
            ledger,
            store,
            int(digest(b"heirloop sketch:" + secret)[:16], 16),
        )
        self._seen, self._lock = 0, threading.Lock()
        self._count, self._total = Counter[int](), 0
        "seed -> trainings that gave weights out, and all of them"
        self._seeds = dict[tuple[str, str, int], int]()
        self._known = dict[int, list[tuple[str, str]]]()
        "number of weights -> plan and digest of each training"
        self._sketches = dict[int, NDArray[np.float64]]()
        """number of weights -> the row of each training: its sketch and its squared length; more
        rows than are used
        """
        self._coarse = dict[int, NDArray[np.float32]]()
        "the same of coarse sketches"
        self._rows_of = dict[tuple[int, int], list[int]]()
        "(number of weights, seed) -> rows of its trainings"
        self._hashes = dict[int, tuple[NDArray[np.int64], Array]]()

    def find(self, weights: str, seed: int) -> dict[str, Any]:
        """Return how many trainings under another seed gave weights out, and plan and `distance` of
        the nearest, None where none has this size.
        """
        with self._lock:
            self._follow()
            mine = flat(self._store.get(weights))
            size = 0 if mine is None else len(mine)
            compared = self._total - self._count[seed]
            rows = self._known.get(size, []) if mine is not None else []
            best: tuple[float, str] | None = None
            for at in self._near(mine, len(rows), seed):
                plan, other = rows[at]
                apart = 0.0 if other == weights else distance(mine, flat(self._store.get(other)))
                if apart is not None and (best is None or apart < best[0]):
                    best = apart, plan
        return {
            "compared": compared,
            "plan": best[1] if best else "",
            "distance": round(best[0], 4) if best else None,
        }

    def _near(self, mine: Array | None, count: int, seed: int) -> list[int]:
        """Return the rows of the nearest few by sketch, in the order of the ledger."""
        if mine is None or not count:
            return []
        sketch = self._sketch(mine)
        apart = _apart(self._coarse[len(mine)][:count], _coarse(sketch))
        apart[self._rows_of.get((len(mine), seed), [])] = np.inf
        ranked = _least(apart, RANKED)
        few = ranked[_least(_apart(self._sketches[len(mine)][ranked], sketch), SHORTLIST)]
        return sorted(map(int, few))

    def _follow(self) -> None:
        for entry in self._ledger.since(self._seen):
            self._seen = entry.sequence
            if entry.kind == "start" and entry.body["job"]["role"].endswith("train"):
                job = entry.body["job"]
                self._seeds[job["plan"], job["role"], job["index"]] = job["order"]["seed"]
            elif (
                entry.kind == "job"
                and entry.body["role"].endswith("train")
                and "weights.safetensors" in entry.body["result"]["outputs"]
            ):
                slot = entry.body["plan"], entry.body["role"], entry.body["index"]
                self._add(
                    slot[0],
                    entry.body["result"]["outputs"]["weights.safetensors"],
                    self._seeds[slot],
                )

    def _add(self, plan: str, weights: str, seed: int) -> None:
        found = flat(self._store.get(weights))
        size = 0 if found is None else len(found)
        rows = self._known.setdefault(size, [])
        if found is not None:
            sketch = self._sketch(found)
            self._sketches[size] = _put(self._sketches.get(size), len(rows), sketch)
            self._coarse[size] = _put(self._coarse.get(size), len(rows), _coarse(sketch))
            self._rows_of.setdefault((size, seed), []).append(len(rows))
        rows.append((plan, weights))
        self._count[seed] += 1
        self._total += 1

    def _sketch(self, vector: Array) -> Array:
        """Return the sums of `vector` over WIDTH random groups under random signs: squared lengths
        of differences keep their mean.
        """
        if len(vector) not in self._hashes:
            rng = np.random.default_rng([self._key, len(vector)])
            self._hashes[len(vector)] = (
                rng.integers(0, WIDTH, len(vector)),
                rng.choice([-1.0, 1.0], len(vector)),
            )
        group, sign = self._hashes[len(vector)]
        return np.bincount(group, weights=sign * vector, minlength=WIDTH).astype(np.float64)


def _coarse(sketch: Array) -> NDArray[np.float32]:
    """Return the sketch of fewer groups that sums of its groups are."""
    return np.asarray(sketch.reshape(COARSE, -1).sum(axis=1), np.float32)


def _put(table: NDArray[Any] | None, row: int, sketch: NDArray[Any]) -> NDArray[Any]:
    """Return a table that has a sketch and its squared length in a row; it doubles where it is
    full.
    """
    table = np.zeros((16, len(sketch) + 1), sketch.dtype) if table is None else table
    table = np.concatenate([table, np.zeros_like(table)]) if row == len(table) else table
    table[row] = np.append(sketch, sketch @ sketch)
    return table


def _apart(table: NDArray[Any], sketch: NDArray[Any]) -> NDArray[Any]:
    """Return the squared distance of every row, less the same number for all."""
    return np.asarray(table @ np.append(-2 * sketch, 1).astype(table.dtype))


def _least(apart: NDArray[Any], count: int) -> NDArray[np.int64]:
    """Return the places of so many smallest finite values."""
    few = np.argpartition(apart, count)[:count] if len(apart) > count else np.arange(len(apart))
    return np.asarray(few[np.isfinite(apart[few])])


def trainings(entries: list[Entry], facts: Facts, seed: int) -> Iterator[tuple[str, str]]:
    """Yield (plan, weights) of every training under another seed that gave weights out."""
    for entry in entries:
        if (
            entry.kind == "start"
            and entry.body["job"]["role"].endswith("train")
            and entry.body["job"]["order"]["seed"] != seed
        ):
            job = entry.body["job"]
            found = facts.results.get((job["plan"], job["role"], job["index"]))
            if found and "weights.safetensors" in found[0].outputs:
                yield job["plan"], found[0].outputs["weights.safetensors"]


def distances(
    ledger: Ledger, store: Store, facts: Facts, name: str
) -> list[tuple[str, float | None]]:
    """Return (plan, distance) of a plan's first weights to every stored weights of another
    training, nearest first; None: another size.
    """
    starts = (
        e.body["job"]
        for e in ledger.entries()
        if e.kind == "start" and e.body["job"]["plan"] == name
    )
    for job in starts:
        found = facts.results.get((name, "train", job["index"])) if job["role"] == "train" else None
        if found and "weights.safetensors" in found[0].outputs:
            mine = flat(store.get(found[0].outputs["weights.safetensors"]))
            rows = [
                (plan, distance(mine, flat(store.get(blob))))
                for plan, blob in trainings(ledger.entries(), facts, job["order"]["seed"])
            ]
            return sorted(
                ((plan, d if d is None else round(d, 4)) for plan, d in rows),
                key=lambda row: (row[1] is None, row[1] or 0.0),
            )
    return []
