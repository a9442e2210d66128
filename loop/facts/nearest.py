"""The nearest stored weights: a copy of another training's weights, noise added, is no training.

Every training is read once and remembered as a short sketch of its weights (Charikar, Chen and
Farach-Colton 2002), under signs that only the study's secret gives. New weights are compared with
every sketch, and the few nearest are compared in full. So a training costs few reads however many
there were. A sketched distance has a relative error of about 1/6: it may miss which of two
strangers is nearer, and never a copy.
"""

import threading
from array import array
from collections.abc import Callable, Iterable, Iterator
from sys import intern
from typing import Any

import numpy as np
from numpy.typing import NDArray

from configs.build import plain
from configs.entries import Entry, JobEntry, ScoreEntry, StartEntry, facts_of
from configs.records import Nearest
from evals.score import Array, distance, flat
from sandbox.canonical import digest
from sandbox.ledger import Ledger
from sandbox.store import Store

WEIGHTS = "weights.safetensors"
WIDTH = 64
"""Numbers in a sketch; the relative error of a distance is about sqrt(2 / WIDTH)."""
BLOCK = 512
"""Sketches that lie together."""
SHORTLIST = 3
"""Weights that are compared in full."""
Counts = Callable[[str], bool]
"""Tell of a plan, by its digest, whether its trainings count."""


def _any_plan(plan: str) -> bool:
    return True


class Table:
    """Sketches of weights of one size, a row per training, with room for more rows.

    Columns lie apart: a search reads every sketch, and no name.
    """

    def __init__(self) -> None:
        self.count = 0
        self._sketches = list[NDArray[np.float32]]()
        "the sketches and their squared lengths, block by block: more rows move no other row"
        self._seeds, self._weights = np.zeros(0, np.int64), np.zeros(0, "V32")
        "digests of the weights, as bytes"
        self._plans = list[str]()

    def add(self, seed: int | None, plan: str, weights: str, sketch: Array) -> None:
        """Add a training; without a seed it is compared with all."""
        block, row = divmod(self.count, BLOCK)
        if block == len(self._sketches):
            self._sketches.append(np.zeros((BLOCK, WIDTH + 1), np.float32))
        if self.count == len(self._seeds):  # room for an eighth more
            more = 16 + self.count // 8
            self._seeds = np.pad(self._seeds, (0, more))
            self._weights = _longer(self._weights, more)
        self._sketches[block][row] = np.append(sketch, sketch @ sketch)
        self._seeds[self.count] = -1 if seed is None else seed
        self._weights[self.count] = bytes.fromhex(weights)
        self._plans.append(intern(plan))
        self.count += 1

    def nearest(self, sketch: Array, seed: int, counts: Counts) -> list[tuple[str, str]]:
        """Return (plan, weights) of the nearest few under another seed, in the ledger's order.

        Only the trainings of plans that count.
        """
        # Squared distances, less the squared length of this sketch: the order is the same.
        lengths = np.append(-2 * sketch, 1).astype(np.float32)
        apart = np.concatenate([block @ lengths for block in self._sketches])[: self.count]
        apart[self._seeds[: self.count] == seed] = np.inf
        if counts is not _any_plan:
            apart[[not counts(plan) for plan in self._plans]] = np.inf
        limit = (
            np.partition(apart, SHORTLIST - 1)[SHORTLIST - 1] if self.count > SHORTLIST else np.inf
        )
        near = np.flatnonzero((apart <= limit) & np.isfinite(apart))
        chosen = sorted(near[np.argsort(apart[near], kind="stable")[:SHORTLIST]])
        return [(self._plans[row], self._weights[row].tobytes().hex()) for row in chosen]


def _longer(rows: NDArray[Any], more: int) -> NDArray[Any]:
    return np.append(rows, np.zeros(more, rows.dtype))


class WeightIndex:
    """Sketches of all trained weights, which follow a ledger; safe to use from several threads."""

    def __init__(self, ledger: Ledger, store: Store, secret: bytes) -> None:
        self._ledger, self._store = ledger, store
        self._key = int(digest(b"heirloop sketch:" + secret)[:16], 16)
        self._sequence, self._lock = 0, threading.Lock()
        self._trainings = array("q")
        "seed of each training that gave weights out"
        self._seeds = dict[tuple[str, str, int], int | None]()
        "(plan, role, index) -> seed of the training under way"
        self._tables = dict[int, Table]()
        "number of weights -> the trainings with so many"
        self._hashes = dict[int, tuple[NDArray[np.int64], Array]]()
        "number of weights -> group and sign of each weight"

    def find(self, weights: str, seed: int, counts: Counts = _any_plan) -> Nearest:
        """Return the nearest weights of a training under another seed, of a plan that counts.

        Its distance is None where no such weights have the same size.
        """
        with self._lock:
            self._follow()
            vector = flat(self._store.get(weights))
            compared = int(np.count_nonzero(np.frombuffer(self._trainings, "i8") != seed))
            best_plan, best_distance = "", None
            for plan, other in self._shortlist(vector, seed, counts):
                same = other == weights
                apart = 0.0 if same else distance(vector, flat(self._store.get(other)))
                if apart is not None and (best_distance is None or apart < best_distance):
                    best_plan, best_distance = plan, apart
        rounded = None if best_distance is None else round(best_distance, 4)
        return Nearest(compared=compared, plan=best_plan, distance=rounded)

    def _shortlist(self, vector: Array | None, seed: int, counts: Counts) -> list[tuple[str, str]]:
        """Return the nearest few trainings by sketch, in the order of the ledger."""
        if vector is None or len(vector) not in self._tables:
            return []
        return self._tables[len(vector)].nearest(self._sketch(vector), seed, counts)

    def _follow(self) -> None:
        for entry in self._ledger.since(self._sequence):
            self._sequence = entry.sequence
            self._fold(entry)

    def _fold(self, entry: Entry) -> None:
        if entry.kind == StartEntry.kind:
            start = entry.fact
            assert isinstance(start, StartEntry)
            job = start.job
            if job.role.endswith("train"):
                self._seeds[job.plan, job.role, job.index] = job.order.seed
        elif entry.kind == JobEntry.kind:
            fact = entry.fact
            assert isinstance(fact, JobEntry)
            if not fact.role.endswith("train"):
                return
            seed = self._seeds.pop((fact.plan, fact.role, fact.index))
            if weights := fact.result.outputs.get(WEIGHTS):
                self._add(fact.plan, weights, seed)

    def _add(self, plan: str, weights: str, seed: int | None) -> None:
        if seed is not None:
            self._trainings.append(seed)
        vector = flat(self._store.get(weights))
        if vector is None:
            return
        table = self._tables.setdefault(len(vector), Table())
        table.add(seed, plan, weights, self._sketch(vector))

    def _sketch(self, vector: Array) -> Array:
        """Return the sums of a vector over WIDTH random groups under random signs.

        Squared lengths of differences stay the same on average.
        """
        size = len(vector)
        if size not in self._hashes:
            rng = np.random.default_rng([self._key, size])
            self._hashes[size] = (
                rng.integers(0, WIDTH, size),
                rng.choice([-1.0, 1.0], size),
            )
        group, sign = self._hashes[size]
        return np.bincount(group, weights=sign * vector, minlength=WIDTH).astype(np.float64)


def recorded_nearest(entries: Iterable[Entry], plan: str) -> Iterator[dict[str, Any]]:
    """Yield the nearest weights that were recorded for each scored replicate of a plan."""
    for score in facts_of(entries, ScoreEntry):
        if score.plan == plan and score.nearest:
            yield {"role": score.role, "index": score.index, **plain(score.nearest)}
