"""Gate of a study: a plan runs only with grants. A grant rests on a decision by the rules.

Begin with `decide.py` (the rules) and `launch.py` (the last checks before a job). The facts of the
ledger are in `memory.py` and `fold.py`; `admit.py` takes signed decisions, and `decider.py` puts
these parts into transactions. This file adds the requests for decisions, and facts to show.
"""

from configs.errors import Denied
from configs.records import Mandate, Plan
from configs.settings.gates import Quorum
from sandbox import keys
from sandbox.decision import Request
from sandbox.gate import mandate, quorum, requests
from sandbox.gate.decider import Decider, pass_or_raise
from sandbox.gate.launch import Halted

__all__ = ["Gate", "Halted", "pass_or_raise"]


class Gate(Decider):
    """Decides for a single running study, asks people, and shows what they need to know."""

    def request(self, subject: str, change_class: str) -> bool:
        """Put a question to people once; return whether it is new. Raises Denied beyond a cap."""
        self.refresh()
        if requests.is_open(self.memory, subject, change_class):
            return False
        with self.ledger.transaction() as txn:
            self.refresh(txn)
            moment = self.moment(txn.now().timestamp())
            excess = requests.write_request(txn, self.memory, moment, subject, change_class)
        if excess:
            raise Denied(f"plan {subject[:12]} was refused: {excess}")
        return True

    def pending(self, now: float | None = None) -> list[Request]:
        """Return the requests waiting for people, oldest first."""
        if now is None:
            self.refresh()
        return requests.list_pending(self.memory, self.moment(now), self.memory.requests)

    def expired(self, now: float) -> list[Request]:
        """Return the requests without a decision in time, oldest first."""
        return requests.list_expired(self.memory, self.moment(now))

    # Facts that the loop shows and asks for.

    def room(self) -> bool:
        """Tell whether a slowed study may start another job in this hour."""
        return self.memory.has_room(self.now())

    def live_mandates(self) -> dict[str, Mandate]:
        """Return the standing mandates, by digest."""
        return mandate.live_mandates(self.memory, self.now(), keys.revoked())

    def computable(self, plan: Plan) -> bool:
        """Tell whether a gain of a plan is flagged `computable`."""
        return mandate.computable(self.memory.rules.config.task.computed(), plan, self.memory.plans)

    def drift(self, name: str) -> int:
        """Count the changes of a plan against the last plan approved by a person."""
        return mandate.drift(self.memory, self.store, name)

    def approved_before(self, name: str) -> str:
        """Return the last plan of a campaign approved by a person before a plan."""
        return mandate.approved_before(self.memory, name)

    def wanted(self, change_class: str) -> Quorum:
        """Return the quorum for a class of decision."""
        return quorum.find_quorum(self.memory, change_class)
