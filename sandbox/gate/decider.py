"""Decider of a study: the decisions of the other files, each in a transaction of the ledger.

A plan runs only with grants, and a grant rests on a decision by the rules.
"""

import threading
import time
from datetime import timedelta
from typing import Literal, Self

from configs.entries import DecisionEntry
from configs.errors import Denied, NeedsHuman, VerificationFailed
from configs.records import Approval, Grant, Mandate, PlanRole
from sandbox import keys
from sandbox.budget import balances
from sandbox.canonical import digest
from sandbox.decision import policy
from sandbox.gate import admit, decide, flaw, fold, launch, mandate, refusals
from sandbox.gate import grant as grants
from sandbox.gate.memory import Decision, Memory, Moment, Question
from sandbox.ledger import Ledger, Transaction
from sandbox.store import Store

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


class Decider:
    """Decides for a single running study. Its memory follows the ledger."""

    def __init__(self, ledger: Ledger, store: Store) -> None:
        self.ledger, self.store = ledger, store
        self.memory = Memory(rules=policy(ledger.entries()[:1]))
        self._lock = threading.RLock()
        self._sound: set[str] = set()
        self._own_refusals: dict[tuple[str, str, str], str] = {}

    # Following the ledger.

    def refresh(self, txn: Transaction | None = None) -> Self:
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
            used_up=mandate.find_used_up(self.memory, self.ledger.read(balances))
            if len(self.memory.mandates) > 1
            else (),
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

    # Signed decisions.

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
                refusals.write_refusal(txn, self.memory, name, kind, reason)

    # Decisions and grants.

    def authority(self, subject: str, change_class: str) -> tuple[str, ...]:
        """Return the mandate or the approvals for letting a subject pass now.

        Raises NeedsHuman where people must decide first, Denied where they said no or were silent.
        """
        self.refresh()
        decision = decide.decide(self.memory, self.moment(), subject, change_class)
        return pass_or_raise(decision, (subject, change_class))

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

    def payers(self, grant: Grant) -> tuple[str, ...]:
        """Return the accounts that pay for a job or question of a grant."""
        return grants.payers(self.memory, grant)
