"""Gates: a plan runs only with grants, and grants come only from a decision that its class's rule takes.

Unknown class, no rule, no mandate, expiry: all mean no. A grant is consumed once, in the transaction that
reserves its budget. Approvals and mandates are DSSE envelopes.
"""

import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import sqlalchemy as sa

from configs.build import parse, plain
from configs.errors import BadInput, Denied, NeedsHuman, VerificationFailed
from configs.records import CLASSES, Amount, Grant, Plan
from configs.study import Caps, Config, Quorum
from sandbox import budget, keys
from sandbox.canonical import digest
from sandbox.ledger import META, Ledger, Transaction

GRANTS = sa.Table(
    "nonces",
    META,
    sa.Column("nonce", sa.String(64), primary_key=True),
    sa.Column("slot", sa.String(140), unique=True, nullable=False),
    sa.Column("consumed", sa.Boolean, nullable=False, default=False),
)
ATTEMPTS = 3
"""How often a job that the box lost may be granted anew."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mandate:
    """A standing approval for classes of plans of one study, with caps and an expiry."""

    study: str
    "name of the study"
    config: str
    "digest of what was decided: study, task, objective, budget, gates, autonomy, proposer"
    caps: Caps
    "classes, jobs, CPU-seconds, hours"
    issued: int
    "unix seconds"
    expires: int
    "unix seconds"
    kind: str
    "person, simulated, external, or unattended (given without a person at a terminal, never counted as human)"
    reviewer: str
    "name of the signer"
    public: str
    "public key of the signer, hex"
    nonce: str
    "random"


@dataclass(frozen=True, slots=True, kw_only=True)
class Approval:
    """A decision of one reviewer on one exact plan: everything that was shown, signed."""

    study: str
    "digest of the study root"
    plan: str
    "plan digest: another byte is another plan"
    change_class: str
    "class that is decided on: the plan's own, or promote"
    objective: str
    "digest of the objective that the plan is judged by"
    requested: Amount
    "worst case of all its jobs; the approval's account"
    parent: str
    "champion that it starts from"
    generation: int
    "its depth"
    policy: str
    "digest of the settings that people decided"
    answer: Literal["approve", "deny", "escalate"]
    "what was decided; escalate: nothing is done until an external reviewer says yes besides"
    reason: str
    "why, in the reviewer's words"
    issued: int
    "unix seconds"
    expires: int
    "unix seconds"
    kind: str
    "person, simulated or external"
    reviewer: str
    "name of the signer"
    public: str
    "public key of the signer, hex"
    nonce: str
    "random"


def decided(config: Config) -> str:
    """Return the digest of everything people decided; where it runs and is mirrored is not part of it."""
    whole = plain(config)
    return digest({name: whole[name] for name in ("study", "task", "objective", "budget", "gates", "autonomy", "proposer")})


def new_mandate(config: Config, caps: Caps, kind: str, reviewer: str, public: str) -> Mandate:
    """Return an unsigned mandate that starts now."""
    now = int(time.time())
    expires = now + caps.hours * 3600
    return Mandate(study=config.study.name, config=decided(config), caps=caps, issued=now, expires=expires,
                   kind=kind, reviewer=reviewer, public=public, nonce=secrets.token_hex(16))  # fmt: skip


def check_mandate(envelope: bytes, config: Config, reviewers: list[dict[str, str]]) -> Mandate:
    """Return the mandate of an envelope if this study takes it; raise VerificationFailed with the reason."""
    try:
        claimed = parse(Mandate, keys.payload_unchecked(envelope))
    except BadInput as error:
        raise VerificationFailed(f"the mandate is malformed: {error}") from None
    mandate = parse(Mandate, keys.verify(envelope, claimed.public, "mandate"))
    if mandate.kind == "unattended":
        most = config.gates.unattended
        inside = most is not None and set(mandate.caps.classes) <= set(most.classes) and all(
            getattr(mandate.caps, name) <= getattr(most, name) for name in ("jobs", "cpu_seconds", "hours")
        )
        if not inside or mandate.expires > mandate.issued + mandate.caps.hours * 3600:
            raise VerificationFailed("the unattended mandate passes the study's fixed caps; none beyond them is taken")
    elif not pinned(mandate, reviewers):
        raise VerificationFailed(f"the mandate is signed by {mandate.reviewer!r}, whose key the study root does not pin")
    if mandate.study != config.study.name or mandate.config != decided(config):
        raise VerificationFailed("the mandate was given for other settings; grant it for these")
    if not mandate.issued - 300 <= time.time() < mandate.expires:
        raise VerificationFailed("the mandate has expired; grant a new one")
    return mandate


def pinned(given: "Mandate | Approval", reviewers: list[dict[str, str]]) -> str:
    """Return the person whose key the study root pins for the signer of a decision, or an empty string."""
    signer = (given.reviewer, given.kind, given.public)
    return next((r["person"] for r in reviewers if (r["name"], r["kind"], r["public"]) == signer), "")


def new_approval(root: str, config: Config, name: str, plan: Plan, change_class: str, answer: Literal["approve", "deny", "escalate"],
                 reason: str, hours: int, half: Mapping[str, str]) -> Approval:  # fmt: skip
    """Return an unsigned decision on a recorded plan; `half` is the reviewer's public half."""
    now = int(time.time())
    return Approval(study=root, plan=name, change_class=change_class, objective=plan.objective, requested=plan.requested,
                    parent=plan.parent, generation=plan.generation, policy=decided(config), answer=answer, reason=reason[:2000],
                    issued=now, expires=now + hours * 3600, kind=half["kind"], reviewer=half["name"], public=half["public"],
                    nonce=secrets.token_hex(16))  # fmt: skip


def check_approval(envelope: bytes, root: str, config: Config, plans: Mapping[str, Plan], reviewers: list[dict[str, str]]) -> Approval:
    """Return the decision of an envelope if it is on a recorded plan of this study, whole and in time; else raise VerificationFailed."""
    try:
        claimed = parse(Approval, keys.payload_unchecked(envelope))
    except BadInput as error:
        raise VerificationFailed(f"the approval is malformed: {error}") from None
    one = parse(Approval, keys.verify(envelope, claimed.public, "approval"))
    if not pinned(one, reviewers):
        raise VerificationFailed(f"the approval is signed by {one.reviewer!r}, whose key the study root does not pin")
    plan = plans.get(one.plan)
    if one.study != root or plan is None:
        raise VerificationFailed("the approval is for a plan that this study does not have")
    shown = (one.objective, one.requested, one.parent, one.generation, one.policy)
    if shown != (plan.objective, plan.requested, plan.parent, plan.generation, decided(config)):
        raise VerificationFailed("the approval shows other facts than the plan has")
    if one.change_class not in (plan.change_class, "promote"):
        raise VerificationFailed(f"the approval is for class {one.change_class!r}; the plan is of class {plan.change_class!r}")
    if not one.issued - 300 <= time.time() < one.expires:
        raise VerificationFailed("the approval has expired; give a new one")
    return one


class Gate:
    """Decides on plans of one study by its rules and the decisions that were given to it."""

    def __init__(self, ledger: Ledger, config: Config) -> None:
        self._ledger, self._config = ledger, config
        self._mandates: dict[str, Mandate] = {}
        self._approvals: dict[str, Approval] = {}
        self._reviewers: list[dict[str, str]] = []

    def admit(self, envelope: bytes, reviewers: list[dict[str, str]], root: str = "", plans: Mapping[str, Plan] | None = None) -> None:
        """Take a mandate or, given the study's plans, an approval; an invalid one is recorded as an incident and changes nothing."""
        name, kind = digest(envelope), "mandate" if plans is None else "approval"
        self._reviewers = reviewers
        seen = {e.body.get("digest"): e for e in self._ledger.entries() if e.kind in ("mandate", "approval", "incident")}
        try:
            given = (
                check_mandate(envelope, self._config, reviewers) if plans is None
                else check_approval(envelope, root, self._config, plans, reviewers)
            )  # fmt: skip
        except VerificationFailed as error:
            if name not in seen:
                self._ledger.append("incident", {"kind": f"refused {kind}", "digest": name, "reason": str(error)})
            return
        total = self._config.budget.amount()
        if name not in seen:
            with self._ledger.transaction() as txn:
                txn.append(kind, {"digest": name, "envelope": envelope.decode(), kind: plain(given)})
                if isinstance(given, Mandate):
                    budget.open_mandate(txn, account(name), given.caps, total)
                else:
                    budget.open_account(txn, account(name), given.requested)
        if isinstance(given, Mandate):
            self._mandates[name] = given
        else:
            self._approvals[name] = given

    def authority(self, plan: str, change_class: str) -> str:
        """Return the digest of the decision that lets a plan pass now: a mandate or an approval of it; or raise NeedsHuman."""
        rule = getattr(self._config.autonomy.rules, change_class, "deny") if change_class in CLASSES else "deny"
        now, study = time.time(), self._config.study.name
        if rule == "mandate":
            dead = keys.revoked()
            for name, mandate in self._mandates.items():
                if change_class in mandate.caps.classes and now < mandate.expires and mandate.public not in dead:
                    return name
        if rule == "approve":
            return self._quorum(plan, change_class, now)[0]
        why = "is denied by" if rule == "deny" else "waits for a mandate under"
        remedy = "" if rule == "deny" else f"; `heirloop mandate grant study={study}` gives a mandate"
        raise NeedsHuman(f"class {change_class} {why} the rules of autonomy stage {self._config.autonomy.stage}{remedy}")

    def _quorum(self, plan: str, change_class: str, now: float) -> list[str]:
        """Return the digests of the decisions that make up the quorum, first come first; or raise Denied or NeedsHuman."""
        wanted, dead = getattr(self._config.gates.approve, change_class) or Quorum(), keys.revoked()
        valid = {n: a for n, a in self._approvals.items() if now < a.expires and a.public not in dead}
        mine = {n: a for n, a in valid.items() if (a.plan, a.change_class) == (plan, change_class)}
        no = sorted(a.reviewer for a in mine.values() if a.answer == "deny")
        if no:
            raise Denied(f"plan {plan[:12]} was denied by {', '.join(no)}")
        escalated = any(a.answer == "escalate" for a in mine.values())
        yes: dict[str, tuple[int, str]] = {}
        for name, one in sorted(mine.items(), key=lambda item: item[1].issued):
            counts = one.reviewer in (wanted.reviewers or (one.reviewer,)) and one.kind == (wanted.role or one.kind)
            if one.answer == "approve" and (counts or (escalated and one.kind == "external")):
                yes.setdefault(pinned(one, self._reviewers), (one.issued, name))
        kinds = {mine[name].kind for _, name in yes.values()}
        what = "" if change_class != "promote" else " --promote"
        asks = f"`heirloop approve {plan[:12]}{what} --run {self._config.runs}/{self._config.study.name} --key NAME` gives one"
        if len(yes) < wanted.of or (escalated and "external" not in kinds):
            who = " or ".join(wanted.reviewers) or f"{wanted.role or 'pinned'} reviewers"
            short = f"{len(yes)} of {wanted.of} decisions of {who}" + (", escalated to an external reviewer" if escalated else "")
            raise NeedsHuman(f"plan {plan[:12]} ({change_class}) waits for a decision, has {short}; {asks}")
        ready = max(issued for issued, _ in yes.values()) + wanted.wait_seconds
        if now < ready:
            raise NeedsHuman(f"plan {plan[:12]} ({change_class}) is approved and waits {int(ready - now) + 1} s more, the gate's cooling-off")
        return [name for _, name in yes.values()]

    def grant(self, name: str, plan: Plan) -> dict[tuple[str, int], Grant]:
        """Decide on a plan and issue one grant per (role, index); raise NeedsHuman or Denied if no decision allows it."""
        authority = self.authority(name, plan.change_class)
        grants = [
            Grant(plan=name, role=job.role, index=i, attempt=0, authority=authority, nonce=secrets.token_hex(16))
            for job in plan.jobs
            for i in range(job.count)
        ]
        with self._ledger.transaction() as txn:
            txn.append("decision", self._decision(name, plan.change_class, authority))
            for one in grants:
                self._issue(txn, one)
        return {(g.role, g.index): g for g in grants}

    def regrant(self, lost: Grant) -> Grant:
        """Issue a grant for one more attempt at a job that the box lost; raise NeedsHuman after three."""
        if lost.attempt + 1 >= ATTEMPTS:
            raise NeedsHuman(f"job {lost.role} {lost.index} of plan {lost.plan[:12]} was lost {ATTEMPTS} times by the box")
        again = Grant(**{**plain(lost), "attempt": lost.attempt + 1, "nonce": secrets.token_hex(16)})
        with self._ledger.transaction() as txn:
            self._issue(txn, again)
        return again

    def promote(self, name: str) -> None:
        """Decide on the promotion of a plan's successor and record it."""
        self._ledger.append("decision", self._decision(name, "promote", self.authority(name, "promote")))

    def _decision(self, plan: str, change_class: str, authority: str) -> dict[str, Any]:
        if authority in self._mandates:
            by, kind = [authority], self._mandates[authority].kind
        else:  # a simulated yes in the quorum makes the whole decision simulated
            by = self._quorum(plan, change_class, time.time())
            found = {self._approvals[name].kind for name in by}
            kind = next(kind for kind in ("simulated", "external", "person") if kind in found)
        return {"plan": plan, "class": change_class, "allow": True, "authority": authority, "kind": kind, "by": by}

    def _issue(self, txn: Transaction, grant: Grant) -> None:
        txn.append("grant", {"grant": plain(grant)})
        row = {"nonce": grant.nonce, "slot": slot(grant), "consumed": False}
        txn.connection.execute(GRANTS.insert().values(**row))


def consume(txn: Transaction, grant: Grant) -> None:
    """Use a grant up, once; raise VerificationFailed for one that was never issued, was altered or is used."""
    live = (GRANTS.c.nonce == grant.nonce) & (GRANTS.c.slot == slot(grant)) & GRANTS.c.consumed.is_(False)
    done = txn.connection.execute(GRANTS.update().where(live).values(consumed=True))
    if done.rowcount != 1:
        raise VerificationFailed(f"the grant for {grant.role} {grant.index} of plan {grant.plan[:12]} is not valid or was used")


def slot(grant: Grant) -> str:
    """Return the one place that a grant stands for."""
    return f"{grant.plan}:{grant.role}:{grant.index}:{grant.attempt}"


def account(authority: str) -> str:
    """Return the account name of a mandate or an approval."""
    return f"grant:{authority[:16]}"


def body_plan(body: Mapping[str, Any]) -> Plan:
    """Return the plan of a ledger entry."""
    return parse(Plan, body["plan"])
