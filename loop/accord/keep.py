"""The loop keeps its own accords: it orders the stop, pause or slow of a window by itself.

An order comes a little before its window, so that no job starts within it. People lift it with
`heirloop resume`, as any order; within the window the loop gives it anew.
"""

from datetime import UTC, datetime, timedelta

from configs.entries import AccordEntry
from loop.accord import terms
from loop.accord.acts import WHO
from loop.accord.terms import Signed, Term
from sandbox import control
from sandbox.gate import Gate

AHEAD = timedelta(seconds=2)
"""How long before its window an order is given."""
STRENGTH = {"": 0, "slow": 1, "drill": 2, "pause": 2, "stop": 3}


class Keeper:
    """Follows a study's ledger for accords that both parties signed."""

    def __init__(self, gate: Gate) -> None:
        self._gate, self._seen = gate, 0
        self._signed = dict[str, Signed]()

    def keep(self) -> None:
        """Give the order that an accord asks for at this moment, unless a stronger one holds."""
        now = datetime.now(UTC)
        for signed in self._follow():
            for term in signed.accord.terms:
                first, last = term.window
                if term.study == self._gate.ledger.root() and first - AHEAD <= now <= last:
                    self._order(signed, term)

    def _follow(self) -> list[Signed]:
        for entry in self._gate.ledger.since(self._seen):
            self._seen = entry.sequence
            if entry.kind == AccordEntry.kind and isinstance(entry.fact, AccordEntry):
                signed = terms.read(entry.fact.envelope.encode())
                if signed.whole:
                    self._signed[signed.digest] = signed
        return list(self._signed.values())

    def _order(self, signed: Signed, term: Term) -> None:
        memory = self._gate.refresh().memory
        held = memory.halt or ("slow" if memory.per_hour else "")
        slow_enough = term.what == "slow" and 0 < memory.per_hour <= term.per_hour
        stronger = STRENGTH[held] - STRENGTH[term.what]
        if stronger > 0 or (stronger == 0 and term.what != "slow") or slow_enough:
            return
        why = f"accord {signed.digest[:12]}: {term.what} from {term.since} to {term.until}"
        control.order(self._gate.ledger, term.what, WHO, why, term.per_hour)
