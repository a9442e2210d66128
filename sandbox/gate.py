"""Gates: a plan runs only with grants, and grants come only from a decision that its class's rule
takes.

Unknown class, no rule, no mandate, silence, expiry: all mean no. A grant is consumed once, in the
transaction that reserves its budget, and what it rests on is checked again there. Approvals and
mandates are DSSE envelopes; their signatures are checked whenever the gate reads them, also from
the ledger, which is its only memory.
"""

import secrets
import threading
import time
from bisect import bisect_left, insort
from collections import deque
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal

import sqlalchemy as sa

from configs.build import parse, plain, strict_json
from configs.entries import Entry
from configs.errors import BadInput, Denied, NeedsHuman, Stopped, VerificationFailed
from configs.records import (
    ACTS,
    CHANGE_CLASSES,
    COMPUTED_TASKS,
    RESUME,
    Amount,
    Approval,
    Grant,
    Mandate,
    Plan,
)
from configs.settings.config import Config
from configs.settings.gates import Quorum
from sandbox import budget, incident, keys, own
from sandbox.canonical import canonical, digest
from sandbox.decision import HOUR, Policy, Request, Subject, body_plan, distance, policy, unix
from sandbox.ledger import META, Ledger, Transaction
from sandbox.store import Store

GRANTS = sa.Table(
    "nonces",
    META,
    sa.Column("nonce", sa.String(64), primary_key=True),
    sa.Column("slot", sa.String(140), unique=True, nullable=False),
    sa.Column("consumed", sa.Boolean, nullable=False, default=False),
)
ISSUE = sa.text("INSERT INTO nonces (nonce, slot, consumed) VALUES (:nonce, :slot, :no)")
TAKEN = sa.text("SELECT slot FROM nonces WHERE slot >= :first AND slot < :last")
CONSUME = sa.text(
    "UPDATE nonces SET consumed = :yes WHERE nonce = :nonce AND slot = :slot AND consumed = :no"
)
ATTEMPTS = 3
"""How often a job that the box lost may be granted anew."""
HUMAN = ("person", "external")
"""Kinds of reviewer whose approval is a person's."""
ENDS = ("start", "propose", "skill", "unseal")
"""Purposes of plans that nothing is promoted or deployed from."""
REFUSALS_PER_HOUR = 20
LONGEST_HOURS = 24 * 365
"""The longest life of a decision on one subject."""
MOST_BYTES = 1_000_000
"""The largest envelope that is read."""
"""Refused decisions that are recorded one by one in an hour; what is beyond is refused in the same
way, under one line.
"""


class Gate:
    """Decides by the rules of one study and the decisions given to it; its memory is the ledger."""

    def __init__(self, ledger: Ledger, store: Store) -> None:
        self.ledger, self.store, self._folded = ledger, store, 0
        self._lock = threading.RLock()
        self.champions: set[str] = set()
        self.human: set[str] = set()
        self._passed: dict[str, deque[float]] = {}
        self._asked: dict[str, dict[tuple[str, str], Request]] = {}
        self._asks: deque[float] = deque()
        self._given: dict[tuple[str, str], dict[str, Approval]] = {}
        self._floods: dict[str, float] = {}
        self._seen: set[str] = set()
        self._refusals: deque[float] = deque()
        self.plans: dict[str, Plan] = {}
        self.probes: dict[str, Plan] = {}
        self.mandates: dict[str, Mandate] = {}
        self.approvals: dict[str, Approval] = {}
        self.subjects: dict[str, Subject] = {}
        self.requests: dict[tuple[str, str], Request] = {}
        self.decisions: list[tuple[dict[str, Any], float]] = []
        self._yes: dict[tuple[str, str], dict[str, Any]] = {}
        self._mine: dict[tuple[str, int], list[str]] = {}
        self._number: dict[str, int] = {}
        self._approved: dict[tuple[str, int], list[int]] = {}
        self.refused: dict[tuple[str, str], str] = {}
        self.recalled: set[str] = set()
        self.rules: Policy = policy(ledger.entries()[:1])
        self.halt, self.halted, self.per_hour = "", "", 0
        self.starts: list[float] = []
        self._at: dict[str, float] = {}
        self._used: set[str] = set()
        self._done: dict[tuple[str, str], int] = {}
        self._own_said: dict[tuple[str, str, str], str] = {}
        self._handed: dict[tuple[str, int, str], str] = {}

    def refresh(self, txn: Transaction | None = None) -> "Gate":
        """Read what is new in the ledger, and nothing else; within a transaction, what it holds."""
        with self._lock:
            for entry in (txn or self.ledger).since(self._folded):
                self.fold(entry)
        return self

    def fold(self, entry: Entry) -> None:
        """Add the next entry. Raises VerificationFailed for one whose signature or digest is
        wrong.
        """
        body, kind = entry.body, entry.kind
        self._folded = entry.sequence
        if kind in ("plan", "probe", "amendment") and not matches(kind, body):
            raise VerificationFailed(
                f"entry {entry.sequence}: the {kind} does not match its digest; nothing is decided"
                " on it"
            )
        if kind == "amended":
            self.rules = replace(
                self.rules,
                version=self.rules.version + 1,
                config=parse(Config, body["config"]),
                reviewers=tuple(body["reviewers"]),
                decided=body["decided"],
            )
        elif kind in ("plan", "probe"):
            plan = body_plan(body)
            classes: tuple[str, ...] = (
                (plan.change_class,)
                if plan.purpose in ENDS
                else (plan.change_class, "promote", "deploy")
            )
            (self.plans if kind == "plan" else self.probes)[body["digest"]] = (
                plan  # a probe can be decided on and nothing else
            )
            if kind == "plan":
                mine = self._mine.setdefault((plan.arm, plan.repeat), [])
                self._number[body["digest"]] = len(mine)
                mine.append(body["digest"])
            if kind == "plan" and plan.parent in self.recalled:
                self.recalled.add(body["digest"])
            self.subjects[body["digest"]] = Subject(
                digest=body["digest"],
                classes=classes,
                objective=plan.objective,
                requested=plan.requested,
                parent=plan.parent,
                generation=plan.generation,
                arm=plan.arm,
                version=plan.version,
                by=self._handed.get((plan.arm, plan.repeat, plan.proposal), ""),
            )
        elif kind == "handed":
            self._handed[body["arm"], body["repeat"], body["digest"]] = str(body["by"])
        elif kind == "amendment":
            self.subjects[body["digest"]] = Subject(
                digest=body["digest"],
                classes=("amend",),
                objective=body["objective"],
                requested=Amount(),
                parent=self.rules.decided,
                generation=body["version"],
                version=self.rules.version,
                by=str(body["amendment"]["who"]).removeprefix("user "),
            )
        elif kind == "mandate":
            self.mandates[body["digest"]] = parse(
                Mandate,
                keys.verify(body["envelope"].encode(), body["mandate"]["public"], "mandate"),
            )
        elif kind == "approval":
            one = parse(
                Approval,
                keys.verify(body["envelope"].encode(), body["approval"]["public"], "approval"),
            )
            self.approvals[body["digest"]], self._at[body["digest"]] = one, unix(entry)
            self._given.setdefault((one.plan, one.change_class), {})[body["digest"]] = one
        elif kind == "request":
            asked = Request(
                subject=body["plan"],
                change_class=body["class"],
                arm=body["arm"],
                at=body["at"],
                expires=body["expires"],
                sequence=entry.sequence,
            )
            self.requests[body["plan"], body["class"]] = asked
            self._asked.setdefault(asked.arm, {})[body["plan"], body["class"]] = asked
            self._asks.append(asked.at)
        elif kind == "decision":
            self.decisions.append((body, unix(entry)))
            self._done[body["plan"], body["class"]] = entry.sequence
            for waiting in self._asked.values():
                waiting.pop((body["plan"], body["class"]), None)
            if body["allow"]:
                self._yes[body["plan"], body["class"]] = body
            self._used |= set(body.get("by", ())) if body["allow"] else set()
            if body["allow"] and body["how"] == "mandate":
                self._passed.setdefault(body["authority"], deque()).append(unix(entry))
            elif body["allow"] and body["kind"] in HUMAN:
                self._person(body["plan"])
            if not body["allow"]:
                self.refused[body["plan"], body["class"]] = body["reason"]
        elif kind == "recall":
            self.recalled |= set(body["plans"])
        elif kind == "champion":
            self.champions.add(body["plan"])
        elif kind == "incident":
            self._seen.update(body["artifacts"])
            if "flood" in body["title"]:
                self._floods[body["title"].partition(":")[0]] = unix(entry)
            if body["title"].startswith("refused "):
                self._refusals.append(unix(entry))
        elif kind in ("start", "call"):
            self.starts.append(unix(entry))
        elif kind == "control":
            self._control(entry)

    def _person(self, name: str) -> None:
        """Keep that a person approved a subject, and for a plan where it stands in its campaign."""
        if name not in self.human and (plan := self.plans.get(name)):
            insort(self._approved.setdefault((plan.arm, plan.repeat), []), self._number[name])
        self.human.add(name)

    def _control(self, entry: Entry) -> None:
        what = entry.body["what"]
        if what == "slow":
            self.per_hour, self.halted = entry.body["per_hour"], self.halted or entry.hash
        elif what == "resume":
            if self.may_resume():
                self.halt, self.halted, self.per_hour = "", "", 0
        elif what == "drill-end":
            self.halt, self.halted = ("", "") if self.halt == "drill" else (self.halt, self.halted)
        elif what == "drill":
            self.halt, self.halted = (
                ("drill", entry.hash) if self.drillable() else (self.halt, self.halted)
            )
        elif (
            self.halt != "stop" or what == "stop"
        ):  # a stop is not turned into a pause, and a newer one needs a newer yes
            self.halt, self.halted = what, entry.hash
        if what in ("stop", "pause", "slow"):
            self.subjects[entry.hash] = Subject(
                digest=entry.hash,
                classes=("resume",),
                objective=digest(self.rules.config.objective),
                requested=Amount(),
                parent="",
                generation=0,
                version=self.rules.version,
            )

    def drillable(self) -> bool:
        """Tell whether nobody holds the study: the end of a drill must not lift what only the
        reviewers may lift.
        """
        return not self.halt and not self.per_hour

    def named(self) -> bool:
        """Tell whether the study root pins anybody but simulated reviewers."""
        return any(one["kind"] != "simulated" for one in self.rules.reviewers)

    def may_resume(self) -> bool:
        """Tell whether a resume holds: the reviewers that the study names said yes to going on
        after this very halt, or it names none.
        """
        yes = (
            body
            for body, _ in reversed(self.decisions)
            if (body["plan"], body["class"]) == (self.halted, "resume")
        )
        return not self.named() or any(body["allow"] for body in yes)

    # Admission: signed bytes become entries.

    def admit(self, envelope: bytes, kind: Literal["mandate", "approval"]) -> str:
        """Take a signed decision; return why it is refused, or nothing. A refusal is an incident,
        recorded once, and changes nothing.
        """
        name = digest(envelope)
        self.refresh()
        if name in self.mandates or name in self.approvals:
            return ""
        try:
            given: Mandate | Approval = (
                self.check_mandate(envelope) if kind == "mandate" else self.check_approval(envelope)
            )
        except VerificationFailed as error:
            self._refused(name, kind, str(error))
            return str(error)
        with self.ledger.transaction() as txn:
            self.refresh(txn)
            if name not in self.mandates and name not in self.approvals:
                txn.append(
                    kind, {"digest": name, "envelope": envelope.decode(), kind: plain(given)}
                )
                if isinstance(given, Mandate):
                    budget.open_mandate(
                        txn, account(name), given.caps, self.rules.config.budget.amount()
                    )
                elif given.change_class == self.subjects[given.plan].classes[0]:
                    budget.open_account(txn, account(name), given.requested)
        self.refresh()
        return ""

    def _refused(self, name: str, kind: str, why: str) -> None:
        """Record a refused decision once; beyond the cap of an hour one line stands for all."""
        with self.ledger.transaction() as txn:
            self.refresh(txn)
            if name in self._seen or name in self.mandates or name in self.approvals:
                return
            since = txn.now().timestamp() - HOUR
            if _recent(self._refusals, since) < REFUSALS_PER_HOUR:
                incident.report(
                    txn,
                    f"refused {kind}",
                    severity="medium",
                    detector="gate",
                    artifacts=(name,),
                    containment=why,
                    harm_potential="a plan could have run that nobody decided on",
                )
            elif self._floods.get("decision flood", 0) <= since:
                incident.report(
                    txn,
                    f"decision flood: more than {REFUSALS_PER_HOUR} refused in an hour",
                    severity="high",
                    detector="gate",
                    artifacts=(name,),
                    containment=why,
                    harm_potential="tired reviewers approve what they do not read",
                )

    def check_mandate(self, envelope: bytes) -> Mandate:
        """Return a mandate that the study takes now; raises VerificationFailed."""
        try:
            claimed = parse(Mandate, keys.payload_unchecked(envelope))
        except BadInput as error:
            raise VerificationFailed(f"the mandate is malformed: {error}") from None
        mandate, config = (
            parse(Mandate, keys.verify(envelope, claimed.public, "mandate")),
            self.rules.config,
        )
        self._once(envelope, mandate, self.mandates)
        if mandate.kind == "unattended":
            most = config.gates.unattended
            inside = (
                most is not None
                and set(mandate.caps.classes) <= set(most.classes)
                and all(
                    getattr(mandate.caps, name) <= getattr(most, name)
                    for name in ("jobs", "cpu_seconds", "hours", "drift", "per_hour")
                )
            )
            if not inside:
                raise VerificationFailed(
                    "the unattended mandate passes the study's fixed caps; none beyond them is"
                    " taken"
                )
        elif not self.pinned(mandate):
            raise VerificationFailed(
                f"the mandate is signed by {mandate.reviewer!r}, whose key the study root does"
                " not pin"
            )
        if (mandate.study, mandate.config, mandate.version) != (
            config.study.name,
            self.rules.decided,
            self.rules.version,
        ):
            raise VerificationFailed("the mandate was given for other settings; grant it for these")
        if not mandate.issued - 300 <= self.now() < mandate.expires:
            raise VerificationFailed("the mandate has expired; grant a new one")
        if mandate.expires > mandate.issued + mandate.caps.hours * HOUR:
            raise VerificationFailed("the mandate lives longer than its caps say; grant a new one")
        return mandate

    def check_approval(self, envelope: bytes) -> Approval:
        """Return a decision that the study takes now; raises VerificationFailed."""
        try:
            claimed = parse(Approval, keys.payload_unchecked(envelope))
        except BadInput as error:
            raise VerificationFailed(f"the approval is malformed: {error}") from None
        one = parse(Approval, keys.verify(envelope, claimed.public, "approval"))
        self._once(envelope, one, self.approvals)
        if not self.pinned(one):
            raise VerificationFailed(
                f"the approval is signed by {one.reviewer!r}, whose key the study root does not pin"
            )
        if one.public in self.dead():
            raise VerificationFailed(
                f"the approval is signed by {one.reviewer!r}, whose key was revoked"
            )
        self._same_world(one)
        asked = self.requests.get((one.plan, one.change_class))
        if asked and self.now() >= asked.expires:
            raise VerificationFailed(
                "the request was not decided on in time and is denied; silence is a no, and a late"
                " yes does not change it"
            )
        if not one.issued - 300 <= self.now() < one.expires:
            raise VerificationFailed("the approval has expired; give a new one")
        if one.expires > one.issued + LONGEST_HOURS * HOUR:
            raise VerificationFailed(
                f"the approval lives longer than {LONGEST_HOURS} hours; give a shorter one"
            )
        return one

    def _once(
        self, envelope: bytes, one: Mandate | Approval, known: Mapping[str, Mandate | Approval]
    ) -> None:
        """Raise VerificationFailed where the same decision comes in other bytes: its single use
        must not begin anew.
        """
        if canonical(strict_json(envelope, MOST_BYTES)) != envelope:
            raise VerificationFailed("the envelope is not canonical JSON")
        if any((other.public, other.nonce) == (one.public, one.nonce) for other in known.values()):
            raise VerificationFailed("this decision was handed in before, in other bytes")

    def _same_world(self, one: Approval) -> None:
        """Raise VerificationFailed unless a decision was given on this subject of this study as
        both stand now.
        """
        subject = self.subjects.get(one.plan)
        if one.study != self.rules.root or subject is None:
            raise VerificationFailed("the approval is for a plan that this study does not have")
        shown = (one.objective, one.requested, one.parent, one.generation, one.policy, one.version)
        if shown != (
            subject.objective,
            subject.requested,
            subject.parent,
            subject.generation,
            self.rules.decided,
            self.rules.version,
        ):
            raise VerificationFailed("the approval shows other facts than the plan has")
        if one.change_class not in subject.classes:
            raise VerificationFailed(
                f"the approval is for class {one.change_class!r}; the plan is of class"
                f" {subject.classes[0]!r}"
            )

    def pinned(self, given: Mandate | Approval) -> str:
        """Return the person whose key the study root pins for the signer of a decision, or an empty
        string.
        """
        signer = (given.reviewer, given.kind, given.public)
        return next(
            (
                r["person"]
                for r in self.rules.reviewers
                if (r["name"], r["kind"], r["public"]) == signer
            ),
            "",
        )

    def dead(self) -> set[str]:
        """Return the public keys that are revoked now."""
        return keys.revoked()

    def now(self) -> float:
        """Return unix seconds, never before the ledger's last entry."""
        return max(time.time(), self.ledger.last().timestamp())

    # Decision: rules and what was admitted become a yes or a no.

    def authority(self, subject: str, change_class: str) -> tuple[str, ...]:
        """Return the digests of the decisions that let a subject pass now: one mandate, or the
        approvals of a quorum.

        Raises NeedsHuman where people must decide first, Denied where they said no or did not
        answer in time.
        """
        self.refresh()
        stage, now = self.rules.config.autonomy, self.now()
        rule = "approve" if change_class == RESUME else stage.rules.get(change_class, "deny")
        if (subject, change_class) in self.refused:
            raise Denied(self.refused[subject, change_class])
        if subject in self.recalled:
            raise Denied(f"plan {subject[:12]} is quarantined: it or an ancestor was recalled")
        if rule == "deny":
            raise NeedsHuman(
                f"class {change_class} is denied by the rules of autonomy stage {stage.stage}"
            )
        found = self.subjects.get(subject)
        if (
            found is None
            or change_class not in found.classes
            or found.version != self.rules.version
        ):
            raise Denied(f"{subject[:12]} ({change_class}) is not of this study as it stands now")
        if no := self.own_refusal(subject, change_class):
            raise Denied(
                f"plan {subject[:12]} ({change_class}) was refused by the study's own gate: {no}"
            )
        uncovered = ""
        if rule == "mandate" and change_class == "promote" and self.computable(self.plans[subject]):
            uncovered = (
                "is computable (code could compute the answers of this task), which no mandate"
                " promotes"
            )
        elif rule == "mandate":
            for name, mandate in self.live_mandates(now).items():
                if change_class not in mandate.caps.classes:
                    continue
                uncovered = self._uncovered(name, mandate, subject, change_class, now)
                if not uncovered:
                    return (name,)
            uncovered = (
                uncovered
                or "waits for a mandate; `heirloop mandate grant "
                f"study={self.rules.config.study.name}` gives a mandate"
            )
        return self._quorum(subject, change_class, now, uncovered)

    def own_refusal(self, subject: str, change_class: str) -> str:
        """Return why the study's own gate (gates.file) says no to a plan, or nothing. It can add a
        no and never a yes; no answer is a no.

        It is not asked about amendments, orders and canaries, so that people can always take it out
        again.
        """
        pin, plan = self.rules.config.gates.file_digest, self.plans.get(subject)
        if not pin or plan is None:
            return ""
        known = (pin, subject, change_class)
        if known not in self._own_said:
            self._own_said[known] = own.refusal(pin, plain(plan), change_class)
        return self._own_said[known]

    def _lives(self, given: Mandate | Approval, now: float, dead: set[str]) -> bool:
        """Tell whether a decision still stands: in time, key not revoked, given under the study
        root in force.
        """
        config = given.config if isinstance(given, Mandate) else given.policy
        return (
            now < given.expires
            and given.public not in dead
            and (config, given.version) == (self.rules.decided, self.rules.version)
        )

    def live_mandates(self, now: float | None = None) -> dict[str, Mandate]:
        """Return the mandates that stand now, by digest."""
        at, dead = self.now() if now is None else now, self.dead()
        return {name: one for name, one in self.mandates.items() if self._lives(one, at, dead)}

    def _uncovered(
        self, name: str, mandate: Mandate, subject: str, change_class: str, now: float
    ) -> str:
        """Return why a live mandate does not cover this plan: too far from what a person approved,
        or too many in an hour.
        """
        passed = _recent(self._passed.get(name, deque()), now - HOUR)
        if passed >= mandate.caps.per_hour:
            return f"is beyond the mandate's {mandate.caps.per_hour} plans an hour"
        drift = 0 if change_class == "promote" else self.drift(subject)
        beyond = (
            f"has drifted {drift} changes from what a person approved, the mandate covers"
            f" {mandate.caps.drift}"
        )
        return beyond if drift > mandate.caps.drift else ""

    def computable(self, plan: Plan) -> bool:
        """Tell whether a gain of this plan is flagged `computable`."""
        return computable(self.rules.config.task.name, plan, self.plans)

    def drift(self, name: str) -> int:
        """Return how far a plan's full bundle and recipe are from the last plan of its campaign
        that a person approved, or the baseline.
        """
        last, plan, named = (
            self.plans[self.approved_before(name)],
            self.plans.get(name) or self.probes[name],
            self.rules.config.proposer,
        )
        return distance(
            self.store,
            (last.bundle, last.recipe),
            (plan.bundle, plan.recipe),
            (named.program_digest, named.file_digest),
        )

    def approved_before(self, name: str) -> str:
        """Return the last plan of a plan's campaign that a person approved before it, else the
        baseline. Looking at it changes nothing.

        A probe is shown what the plan in whose place it stands is shown.
        """
        plan = self.plans.get(name) or self.probes[name]
        mine, approved = (
            self._mine[plan.arm, plan.repeat],
            self._approved.get((plan.arm, plan.repeat), []),
        )
        here = (
            name
            if name in self.plans
            else next(n for n in reversed(mine) if _place(self.plans[n]) == _place(plan))
        )
        before = bisect_left(approved, self._number[here])
        return mine[approved[before - 1]] if before else mine[0]

    def wanted(self, change_class: str) -> Quorum:
        """Return whose yes a class of decision needs."""
        gates = self.rules.config.gates
        return (
            gates.resume if change_class == RESUME else gates.approve.get(change_class)
        ) or Quorum()

    def _quorum(
        self, subject: str, change_class: str, now: float, uncovered: str = ""
    ) -> tuple[str, ...]:
        """Return the digests of the decisions that make up the quorum, first come first; or raise
        Denied or NeedsHuman.
        """
        dead, wanted = self.dead(), self.wanted(change_class)
        given = self._given.get((subject, change_class), {})
        mine = {n: a for n, a in given.items() if n not in self._used and self._lives(a, now, dead)}
        no = sorted(a.reviewer for a in mine.values() if a.answer == "deny")
        if no:
            raise Denied(f"plan {subject[:12]} was denied by {', '.join(no)}")
        raised = {self.pinned(a) for a in mine.values() if a.answer == "escalate"}
        yes: dict[str, str] = {}
        outside: dict[str, str] = {}  # of externals besides, where somebody else escalated
        for name, one in mine.items():  # in the order in which they were handed in
            if one.answer != "approve" or self._own(one):
                continue
            if self._counts(one, wanted):
                yes.setdefault(self.pinned(one), name)
            if raised and one.kind == "external" and self.pinned(one) not in raised:
                outside.setdefault(self.pinned(one), name)
        asked = self.requests.get((subject, change_class))
        if len(yes) < wanted.of or (raised and not outside):
            if asked and now >= asked.expires:
                raise Denied(f"plan {subject[:12]} ({change_class}) was not decided on in time")
            who = " or ".join(wanted.reviewers) or f"{wanted.role or 'pinned'} reviewers"
            short = f"{len(yes)} of {wanted.of} decisions of {who}" + (
                ", escalated to an external reviewer" if raised else ""
            )
            what = f" --as {change_class}" if change_class in ACTS else ""
            run = f"{self.rules.config.runs}/{self.rules.config.study.name}"
            raise NeedsHuman(
                f"plan {subject[:12]} ({change_class}) {uncovered or 'waits for a decision'}, has"
                f" {short}; `heirloop approve {subject[:12]}{what} --run {run} --key NAME`"
                " gives one"
            )
        by = tuple(dict.fromkeys((*yes.values(), *outside.values())))
        ready = (
            max(self._at[name] for name in by) + wanted.wait_seconds
        )  # by the ledger's clock, not the signer's
        if now < ready:
            raise NeedsHuman(
                f"plan {subject[:12]} ({change_class}) is approved and waits {int(ready - now) + 1}"
                " s more, the gate's cooling-off"
            )
        return by

    def _counts(self, one: Approval, wanted: Quorum) -> bool:
        """Tell whether a yes is of somebody whom the quorum names. A simulated one never stands in
        for a person unless the study says so.
        """
        named = one.reviewer in (wanted.reviewers or (one.reviewer,)) and one.kind == (
            wanted.role or one.kind
        )
        declared = (
            wanted.role == "simulated"
            or one.reviewer in wanted.reviewers
            or self.rules.config.reviewer.policy != "people"
        )
        return named and (one.kind in HUMAN or declared)

    def _own(self, one: Approval) -> bool:
        """Tell whether somebody decides on what they asked for themselves; the stand-in asks for
        nothing, whatever an arm is called.
        """
        subject = self.subjects[one.plan]
        return bool(
            {self.pinned(one), one.reviewer} & ({subject.arm, subject.by} - {"", keys.STAND_IN})
        )

    def request(self, subject: str, change_class: str) -> bool:
        """Put a question to people, once; return whether it is new. Raises Denied where a cap
        refuses it: people then see one line.
        """
        self.refresh()
        known = self.requests.get((subject, change_class))
        if known and known.sequence > self._done.get((subject, change_class), 0):
            return False
        arm = self.subjects[subject].arm
        with self.ledger.transaction() as txn:
            self.refresh(txn)
            now = txn.now().timestamp()
            why = self._over(arm, now)
            if not why:
                expires = int(now) + self.rules.config.gates.expire_hours * HOUR
                txn.append(
                    "request",
                    {
                        "plan": subject,
                        "class": change_class,
                        "arm": arm,
                        "at": int(now),
                        "expires": expires,
                    },
                )
                return True
            txn.append("decision", refusal(subject, change_class, why))
            if self._floods.get("request flood", 0) <= now - HOUR:
                incident.report(
                    txn,
                    f"request flood: {why}",
                    detector="gate",
                    plan=subject,
                    containment="refused by the cap",
                    harm_potential="tired reviewers approve what they do not read",
                )
        raise Denied(f"plan {subject[:12]} was refused: {why}")

    def _over(self, arm: str, now: float) -> str:
        """Return which cap one more request of an arm would pass, or nothing. What people ask for
        is not capped.
        """
        gates = self.rules.config.gates
        if arm and _recent(self._asks, now - HOUR) >= gates.requests_per_hour:
            return f"more than {gates.requests_per_hour} requests an hour"
        waiting = self._asked.get(arm, {})
        if (
            arm
            and len(waiting) >= gates.pending_per_arm
            and len(self.pending(now, waiting)) >= gates.pending_per_arm
        ):
            return f"more than {gates.pending_per_arm} requests of arm {arm} waiting"
        return ""

    def pending(
        self, now: float | None = None, among: Mapping[tuple[str, str], Request] | None = None
    ) -> list[Request]:
        """Return the questions that wait for people, oldest first."""
        if now is None:
            now = self.refresh().now()
        return [
            r
            for (subject, what), r in (self.requests if among is None else among).items()
            if r.sequence > self._done.get((subject, what), 0)
            and now < r.expires
            and self.subjects[subject].version == self.rules.version
            and not self._settled(subject, what, now)
        ]

    def expired(self, now: float) -> list[Request]:
        """Return the questions that nobody decided on in time, oldest first."""

        def answered(r: Request) -> bool:
            return any(
                (b["plan"], b["class"]) == (r.subject, r.change_class) and r.at <= at < r.expires
                for b, at in self.decisions
            )

        return [
            r
            for r in self.requests.values()
            if now >= r.expires
            and not answered(r)
            and not self._settled(r.subject, r.change_class, r.expires - 1)
        ]

    def _settled(self, subject: str, change_class: str, now: float) -> bool:
        """Tell whether people have said all that a request needs, though the loop may not have read
        it yet.
        """
        if not self._given.get((subject, change_class)):
            return False
        try:
            self._quorum(subject, change_class, now)
        except Denied:
            return True
        except NeedsHuman as error:
            return "cooling-off" in str(error)
        return True

    def refuse(self, subject: str, change_class: str, reason: str) -> None:
        """Record a no, once."""
        with self.ledger.transaction() as txn:
            self.refresh(txn)
            if (subject, change_class) not in self.refused:
                txn.append("decision", refusal(subject, change_class, reason))

    def decide(self, subject: str, change_class: str) -> dict[str, Any]:
        """Decide on an act that needs no job (promote, deploy, amend, resume), record it and use
        its decisions up.
        """
        with (
            self.ledger.transaction() as txn
        ):  # what the decision rests on cannot change before it is written
            self.refresh(txn)
            body = self.decision(subject, change_class, self.authority(subject, change_class))
            txn.append("decision", body)
        self.refresh()
        return body

    def decision(self, subject: str, change_class: str, by: tuple[str, ...]) -> dict[str, Any]:
        """Return the body of a decision that says yes and rests on these mandates or approvals."""
        found = {
            (self.mandates.get(name) or self.approvals[name]).kind for name in by
        }  # a simulated yes makes the whole decision simulated
        kind = next(
            kind for kind in ("unattended", "simulated", "external", "person") if kind in found
        )
        how = "mandate" if by[0] in self.mandates else "approval"
        return {
            "plan": subject,
            "class": change_class,
            "allow": True,
            "authority": by[0],
            "kind": kind,
            "how": how,
            "by": list(by),
            "reason": "",
        }

    # Grants: a yes becomes single-use permissions.

    def grant(self, name: str) -> dict[tuple[str, int], Grant]:
        """Decide on a recorded plan and issue one grant per (role, index) that has none; raises
        NeedsHuman or Denied.
        """
        with self.ledger.transaction() as txn:
            self.refresh(txn)
            plan = self.plans.get(name)
            if plan is None:
                raise Denied(f"{name[:12]} is no recorded plan; nothing of it can run")
            self.sound(plan, name)
            by = self.authority(name, plan.change_class)
            taken = {
                row.slot
                for row in txn.connection.execute(TAKEN, {"first": f"{name}:", "last": f"{name};"})
            }
            grants = [
                Grant(
                    plan=name,
                    role=job.role,
                    index=i,
                    attempt=0,
                    authority=by[0],
                    nonce=secrets.token_hex(16),
                )
                for job in plan.jobs
                for i in range(job.count)
            ]
            txn.append("decision", self.decision(name, plan.change_class, by))
            for one in grants:
                if slot(one) not in taken:
                    self._issue(txn, one)
        return {(g.role, g.index): g for g in grants}

    def sound(self, plan: Plan, name: str) -> None:
        """Raise Denied unless a plan's parent is a champion that stands, and it changes only files
        that its class covers.
        """
        parent = self.plans.get(plan.parent)
        if plan.parent and (plan.parent not in self.champions or parent is None):
            raise Denied(
                f"plan {name[:12]} starts from {plan.parent[:12]}, which is no champion of this"
                " study"
            )
        program = (
            self.store.get_bundle(plan.bundle).get("program") if plan.purpose == "propose" else None
        )
        mine = self.rules.config.proposer
        if program is not None and digest(program) not in {mine.program_digest, mine.file_digest}:
            raise Denied(f"plan {name[:12]} brings along a program that the study does not name")
        covers = CHANGE_CLASSES[plan.change_class].covers
        if parent and covers is not None and plan.bundle != parent.bundle:
            before, after = self.store.get_bundle(parent.bundle), self.store.get_bundle(plan.bundle)
            beyond = {
                f for f in before.keys() | after.keys() if before.get(f) != after.get(f)
            } - covers
            if beyond:
                raise Denied(
                    f"plan {name[:12]} changes {', '.join(sorted(beyond))}, which its class"
                    f" {plan.change_class} does not cover"
                )

    def regrant(self, lost: Grant, counted: bool = True) -> Grant:
        """Issue a grant for one more attempt at a job that the box lost; raise NeedsHuman after
        three that count.
        """
        if counted and lost.attempt + 1 >= ATTEMPTS:
            raise NeedsHuman(
                f"job {lost.role} {lost.index} of plan {lost.plan[:12]} was lost {ATTEMPTS} times"
                " by the box"
            )
        again = Grant(
            **{**plain(lost), "attempt": lost.attempt + 1, "nonce": secrets.token_hex(16)}
        )
        with self.ledger.transaction() as txn:
            self._issue(txn, again)
        return again

    def _issue(self, txn: Transaction, grant: Grant) -> None:
        txn.append("grant", {"grant": plain(grant)})
        txn.connection.execute(ISSUE, {"nonce": grant.nonce, "slot": slot(grant), "no": False})

    def launch(self, txn: Transaction, grant: Grant) -> None:
        """Check, in the transaction that reserves, that what a grant rests on still holds; then use
        the grant up.

        Raises Stopped (halted or slowed), NeedsHuman (a decision expired, was revoked or denied
        since), Denied (recalled), VerificationFailed (never issued, altered, used, or of another
        version of the study).
        """
        self.refresh(txn)
        self.ready(grant, txn.now().timestamp())
        consume(txn, grant)

    def ready(self, grant: Grant, now: float) -> None:
        """Raise as `launch` does unless a job of this grant may start at `now`."""
        plan = self.plans[grant.plan]
        if self.halt:
            raise Halted(
                f"the study is halted ({self.halt}); `heirloop resume RUN` lets it go on", self.halt
            )
        if not self.room(now):
            raise Halted(f"the study is slowed to {self.per_hour} jobs an hour", "slow")
        if {grant.plan, plan.parent} & self.recalled:
            raise Denied(
                f"plan {grant.plan[:12]} is quarantined: it or an ancestor was recalled;"
                " nothing ran"
            )
        if plan.objective != digest(self.rules.config.objective):
            raise VerificationFailed(
                f"plan {grant.plan[:12]} was made for another objective; nothing ran"
            )
        if plan.version != self.rules.version:
            raise VerificationFailed(
                f"plan {grant.plan[:12]} is of version {plan.version}, the study of"
                f" {self.rules.version}; nothing ran"
            )
        wanted = self._yes.get((grant.plan, plan.change_class))
        if wanted is None or wanted["authority"] != grant.authority:
            raise VerificationFailed(
                f"the grant for plan {grant.plan[:12]} rests on no decision; nothing ran"
            )
        dead = self.dead()
        for name in wanted["by"]:
            if not self._lives(self.mandates.get(name) or self.approvals[name], now, dead):
                raise NeedsHuman(
                    f"what plan {grant.plan[:12]} was granted on has expired or was revoked; decide"
                    " on it again"
                )
        said = [
            a
            for a in self._given.get((grant.plan, plan.change_class), {}).values()
            if a.answer == "deny"
        ]
        if said:
            raise Denied(
                f"plan {grant.plan[:12]} was denied by {said[0].reviewer} after it was granted;"
                " nothing ran"
            )

    def room(self, now: float | None = None) -> bool:
        """Tell whether a slowed study may start one more job in this hour."""
        since = (self.now() if now is None else now) - HOUR
        return not self.per_hour or sum(at > since for at in self.starts) < self.per_hour

    def end_grants(self, txn: Transaction) -> int:
        """Let every grant that is not used die; return how many there were. Their plans need a new
        decision.
        """
        return txn.connection.execute(GRANTS.delete().where(GRANTS.c.consumed.is_(False))).rowcount


class Halted(Stopped):
    """A person, a tripwire or a drill holds the study; `how` is stop, pause, drill or slow."""

    def __init__(self, text: str, how: str) -> None:
        super().__init__(text)
        self.how = how


def consume(txn: Transaction, grant: Grant) -> None:
    """Use a grant up, once; raise VerificationFailed for one that was never issued, was altered or
    is used.
    """
    done = txn.connection.execute(
        CONSUME, {"nonce": grant.nonce, "slot": slot(grant), "yes": True, "no": False}
    )
    if done.rowcount != 1:
        raise VerificationFailed(
            f"the grant for {grant.role} {grant.index} of plan {grant.plan[:12]} is not valid or"
            " was used"
        )


def matches(kind: str, body: Mapping[str, Any]) -> bool:
    """Tell whether a recorded plan, probe or amendment is the one that its digest names."""
    return bool(digest(body["amendment" if kind == "amendment" else "plan"]) == body["digest"])


def refusal(subject: str, change_class: str, reason: str) -> dict[str, Any]:
    """Return the body of a decision that says no."""
    return {
        "plan": subject,
        "class": change_class,
        "allow": False,
        "reason": reason,
        "kind": "",
        "how": "",
        "by": [],
        "authority": "",
    }


def _recent(times: deque[float], since: float) -> int:
    """Return how many of the times, oldest first, lie after `since`; older ones are dropped for
    good.
    """
    while times and times[0] <= since:
        times.popleft()
    return len(times)


def computable(task: str, plan: Plan, plans: Mapping[str, Plan]) -> bool:
    """Tell whether code that a model wrote, in this plan or an ancestor, could compute the answers
    of the task instead of learning them.
    """
    campaign = (plan.arm, plan.repeat)
    pristine = next(
        (
            p.bundle
            for p in plans.values()
            if p.purpose == "baseline" and (p.arm, p.repeat) == campaign
        ),
        plan.bundle,
    )
    return task in COMPUTED_TASKS and (
        plan.change_class in ("patch", "structural") or plan.bundle != pristine
    )


def _place(plan: Plan) -> tuple[int, int]:
    return plan.generation, plan.index


def slot(grant: Grant) -> str:
    """Return the one place that a grant stands for."""
    return f"{grant.plan}:{grant.role}:{grant.index}:{grant.attempt}"


def account(authority: str) -> str:
    """Return the account name of a mandate or an approval."""
    return f"grant:{authority[:16]}"
