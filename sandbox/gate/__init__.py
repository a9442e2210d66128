"""Gate of a study: a plan runs only with grants. A grant rests on a decision by the rules.

Begin with `decide.py` (the rules) and `launch.py` (the last checks before a job). The facts of the
ledger are in `memory.py` and `fold.py`; `admit.py` takes signed decisions, `requests.py` asks for
them.
"""

import threading
import time
from datetime import timedelta
from typing import Literal

from configs.entries import DecisionEntry
from configs.errors import Denied, NeedsHuman, VerificationFailed
from configs.records import Approval, Grant, Mandate, Plan, PlanRole
from configs.settings.gates import Quorum
from sandbox import keys
from sandbox.canonical import digest
from sandbox.decision import Request, policy
from sandbox.gate import admit, decide, flaw, fold, launch, mandate, quorum, requests
from sandbox.gate import grant as grants
from sandbox.gate.launch import Halted
from sandbox.gate.memory import Decision, Memory, Moment, Question
from sandbox.ledger import Ledger, Transaction
from sandbox.store import Store

__all__ = ["Gate", "Halted", "pass_or_raise"]


SOUND = 256
"""Plans without a flaw that a gate remembers."""


def pass_or_raise(decision: Decision, question: Question = ("", "")) -> tuple[str, ...]:
    """Return the mandate or approvals of a yes; raises Denied for a no, NeedsHuman for a wait."""
    if decision.outcome == "refused":
        raise Denied(decision.reason)
    if decision.outcome == "waiting":
        error = NeedsHuman(decision.reason)
        error.question = question
        raise error
    return decision.by


class Gate:
    """Decides for a single running study. Its memory follows the ledger."""

    def __init__(self, ledger: Ledger, store: Store) -> None:
        self.ledger, self.store = ledger, store
        self.memory = Memory(rules=policy(ledger.entries()[:1]))
        self._lock = threading.RLock()
        self._sound: set[str] = set()
        self._own_refusals: dict[tuple[str, str, str], str] = {}

    # Following the ledger.

    def refresh(self, txn: Transaction | None = None) -> "Gate":
        """Fold the new entries of the ledger; within a transaction, only the entries before it."""
        with self._lock:
            for entry in (txn or self.ledger).since(self.memory.sequence):
                fold.fold(self.memory, entry)
            self.ledger.ahead = timedelta(seconds=self.memory.rules.ahead)
        return self

    def now(self) -> float:
        """Return unix seconds of the ledger's clock, never before its last entry."""
        ahead = self.memory.rules.ahead
        return max(time.time() + ahead, self.ledger.last().timestamp())

    def moment(self, now: float | None = None) -> Moment:
        """Return a decision's facts besides the ledger, at a time or now."""
        return Moment(
            now=self.now() if now is None else now,
            wall=time.time(),
            revoked=keys.revoked(),
            store=self.store,
            own_refusal=self.own_refusal,
        )

    def own_refusal(self, subject: str, change_class: str) -> str:
        """Return why the study's own gate says no to a plan, or an empty string.

        It is asked once for each plan and class.
        """
        pin = self.memory.rules.config.gates.file_digest
        if not pin or subject not in self.memory.plans:
            return ""
        question = (pin, subject, change_class)
        if question not in self._own_refusals:
            self._own_refusals[question] = decide.ask_own_gate(self.memory, subject, change_class)
        return self._own_refusals[question]

    # Signed decisions and requests.

    def admit(self, envelope: bytes, kind: Literal["mandate", "approval"]) -> str:
        """Take a signed decision; return why it is refused, or an empty string."""
        name = digest(envelope)
        self.refresh()
        if self._is_admitted(name):
            return ""
        check = admit.check_mandate if kind == "mandate" else admit.check_approval
        try:
            signed: Mandate | Approval = check(self.memory, self.moment(), envelope)
        except VerificationFailed as error:
            self._report_refusal(name, kind, str(error))
            return str(error)
        with self.ledger.transaction() as txn:
            self.refresh(txn)
            if not self._is_admitted(name):
                admit.write_admitted(txn, self.memory, name, envelope, signed)
        self.refresh()
        return ""

    def _is_admitted(self, name: str) -> bool:
        return name in self.memory.mandates or name in self.memory.approvals

    def _report_refusal(self, name: str, kind: str, reason: str) -> None:
        """Record a refused envelope once."""
        with self.ledger.transaction() as txn:
            self.refresh(txn)
            if name not in self.memory.incident_artifacts and not self._is_admitted(name):
                admit.write_refusal(txn, self.memory, name, kind, reason)

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

    # Decisions and grants.

    def authority(self, subject: str, change_class: str) -> tuple[str, ...]:
        """Return the mandate or the approvals for letting a subject pass now.

        Raises NeedsHuman where people must decide first, Denied where they said no or were silent.
        """
        self.refresh()
        decision = decide.decide(self.memory, self.moment(), subject, change_class)
        return pass_or_raise(decision, (subject, change_class))

    def decide(self, subject: str, change_class: str) -> DecisionEntry:
        """Decide on an act without a job (promote, deploy, amend) and record the yes."""
        with self.ledger.transaction() as txn:
            self.refresh(txn)
            yes = self.decide_within(txn, subject, change_class)
        self.refresh()
        return yes

    def decide_within(self, txn: Transaction, subject: str, change_class: str) -> DecisionEntry:
        """Record a yes in a transaction, so no entry comes between its reasons and it.

        Raises as `authority` does.
        """
        by = self.authority(subject, change_class)
        yes = decide.write_yes(self.memory, subject, change_class, by)
        txn.append(yes)
        return yes

    def refuse(self, subject: str, change_class: str, reason: str) -> None:
        """Record a no, once."""
        with self.ledger.transaction() as txn:
            self.refresh(txn)
            if (subject, change_class) not in self.memory.refused:
                txn.append(decide.write_no(subject, change_class, reason))

    def grant(self, name: str) -> None:
        """Decide on a recorded plan: from now on its jobs get grants. Raises NeedsHuman, Denied."""
        with self.ledger.transaction() as txn:
            self.refresh(txn)
            plan = self.memory.plans.get(name)
            if plan is None:
                raise Denied(f"{name[:12]} is no recorded plan; nothing of it can run")
            if reason := self.find_flaw(name):
                raise Denied(reason)
            self.decide_within(txn, name, plan.change_class)

    def find_flaw(self, name: str) -> str:
        """Return why a recorded plan may not run whatever people decide, or an empty string.

        A plan without a flaw stays so, and is not read again; a baseline may get a rival.
        """
        if name in self._sound:
            return ""
        reason = flaw.find_flaw(self.memory, self.store, name)
        if not reason and self.memory.plans[name].purpose != "baseline":
            self._sound = {name, *list(self._sound)[:SOUND]}
        return reason

    def next_grant(self, plan: str, role: PlanRole, index: int) -> Grant:
        """Return the grant for the next attempt of a job; raises NeedsHuman."""
        return grants.next_grant(self.refresh().memory, plan, role, index)

    def launch(self, txn: Transaction, grant: Grant) -> None:
        """Check a grant in the transaction that reserves its budget and records its start.

        Raises as `launch.check_launch` does.
        """
        self.refresh(txn)
        launch.check_launch(self.memory, grant, txn.now().timestamp(), keys.revoked())

    # Facts that the loop shows and asks for.

    def room(self) -> bool:
        """Tell whether a slowed study may start another job in this hour."""
        return self.memory.has_room(self.now())

    def live_mandates(self) -> dict[str, Mandate]:
        """Return the standing mandates, by digest."""
        return mandate.live_mandates(self.memory, self.now(), keys.revoked())

    def computable(self, plan: Plan) -> bool:
        """Tell whether a gain of a plan is flagged `computable`."""
        return mandate.computable(self.memory.rules.config.task.name, plan, self.memory.plans)

    def payers(self, grant: Grant) -> tuple[str, ...]:
        """Return the accounts that pay for a job or question of a grant."""
        return grants.payers(self.memory, grant)

    def drift(self, name: str) -> int:
        """Count the changes of a plan against the last plan approved by a person."""
        return mandate.drift(self.memory, self.store, name)

    def approved_before(self, name: str) -> str:
        """Return the last plan of a campaign approved by a person before a plan."""
        return mandate.approved_before(self.memory, name)

    def wanted(self, change_class: str) -> Quorum:
        """Return the quorum for a class of decision."""
        return quorum.find_quorum(self.memory, change_class)
