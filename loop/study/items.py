"""Held-out items of a study: each repeat has a secret of its own, and with it items and seeds.

Example: `HeldOut(...).of(3).splits["confirm"]` are the items on which candidates of repeat 3 are
confirmed. A study of format 1 has a single secret, and the same items for every repeat.
"""

import hmac
import threading
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from safetensors.numpy import save

from configs.entries import QuestionsEntry, lines_of
from configs.records import SPLITS, Split, name_split
from configs.tokens import Task
from evals.data import held_out, overlap, questions, slices
from evals.tables import Items
from sandbox.ledger import Ledger
from sandbox.store import Store

Questions = dict[Split, tuple[str, int]]
"""Split -> digest of its questions in the store, ledger entry."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RepeatItems:
    """Secret and held-out items of a single repeat."""

    secret: bytes
    "source of its seeds and items"
    splits: dict[str, Items]
    "items of each split, answers included"
    slices: dict[str, dict[str, Items]]
    "items of each slice of each split"


def repeat_secret(secret: bytes, repeat: int) -> bytes:
    """Return the secret of a repeat: HMAC(study secret, its number)."""
    return hmac.digest(secret, f"heirloop repeat:{repeat}".encode(), "sha256")


def draw_items(task: Task, secret: bytes, repeat: int, format: int) -> RepeatItems:
    """Return the items of a repeat, from the study secret."""
    own = repeat_secret(secret, repeat) if format > 1 else secret
    drawn = held_out(task, own)
    parts = {split: slices(task, own, split, items) for split, items in drawn.items()}
    return RepeatItems(secret=own, splits=drawn, slices=parts)


class HeldOut:
    """Items of every repeat, drawn when they are first needed. Safe to use from several threads."""

    def __init__(
        self,
        task: Task,
        secret: bytes,
        ledger: Ledger,
        store: Store,
        learn: Callable[[Questions], None],
    ) -> None:
        self._task, self._secret = task, secret
        self._ledger, self._store, self._learn = ledger, store, learn
        self._items, self._lock = dict[int, RepeatItems](), threading.Lock()
        self._questions = dict[int, Questions]()
        self._recorded: dict[int, Questions] | None = None
        self._shared: tuple[int, str, int] = (0, "", 0)

    def of(self, repeat: int) -> RepeatItems:
        """Return the items of a repeat."""
        with self._lock:
            if repeat not in self._items:
                self._items[repeat] = draw_items(self._task, self._secret, repeat, format=2)
            return self._items[repeat]

    def count_shared(self, repeat: int, blob: str, items: Items) -> int:
        """Return how many items of a training file have the question of a held-out item.

        Both sides of a pair train on the same file, so the last answer is used again.
        """
        last = self._shared
        if last[:2] != (repeat, blob):
            held_out = np.concatenate(list(self.of(repeat).splits.values()))
            last = self._shared = (repeat, blob, overlap(self._task, items, held_out))
        return last[2]

    def questions(self, repeat: int) -> Questions:
        """Return the questions of a repeat, recorded once; no answer is among them."""
        items = self.of(repeat)
        with self._lock:
            if repeat not in self._questions:
                self._questions[repeat] = self._record(repeat, items)
                self._learn(self._questions[repeat])
            return self._questions[repeat]

    def _read_recorded(self) -> dict[int, Questions]:
        """Return the questions recorded by repeat. The ledger is read once: nobody else writes."""
        if self._recorded is None:
            self._recorded = {}
            for entry, fact in lines_of(self._ledger.entries(), QuestionsEntry):
                own = self._recorded.setdefault(fact.repeat, {})
                own[name_split(fact.split)] = (fact.digest, entry.sequence)
        return self._recorded

    def _record(self, repeat: int, items: RepeatItems) -> Questions:
        blobs: dict[Split, tuple[str, int]] = {}
        for split in SPLITS:
            rows = items.splits[split]
            # Items of a slice are asked together with the items of their split.
            whole = np.concatenate([rows, *items.slices[split].values()])
            data = save({"questions": questions(self._task, whole)})
            blobs[split] = (self._store.put(data), len(whole))
        whole_record = self._read_recorded()
        if repeat not in whole_record:
            recorded: Questions = {}
            with self._ledger.transaction() as txn:
                for split, (blob, count) in blobs.items():
                    entry = QuestionsEntry(split=split, digest=blob, items=count, repeat=repeat)
                    recorded[split] = (blob, txn.append(entry).sequence)
            whole_record[repeat] = recorded
        return whole_record[repeat]
