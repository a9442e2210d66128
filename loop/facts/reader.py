"""A reader that keeps facts up to date with a growing ledger."""

import threading

from loop.facts.facts import Facts
from sandbox.ledger import Ledger


class FactsReader:
    """Facts that follow a ledger; safe to read from several threads."""

    def __init__(self, ledger: Ledger, lean: bool = False) -> None:
        self._ledger, self._facts, self._lock = ledger, Facts(lean=lean), threading.Lock()
        self.sequence = 0
        "sequence of the last entry that was added"

    def facts(self) -> Facts:
        """Return the facts, up to the ledger's head."""
        with self._lock:
            for entry in self._ledger.since(self.sequence):
                self._facts.fold(entry)
                self.sequence = entry.sequence
            return self._facts
