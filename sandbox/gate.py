"""Gates: a plan runs only with grants, and grants come only from a decision that its class's rule takes.

Unknown class, no rule, no mandate, expiry: all mean no. A grant is consumed once, in the transaction that
reserves its budget. Approvals and mandates are DSSE envelopes.
"""

import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from configs.build import parse, plain
from configs.errors import BadInput, NeedsHuman, VerificationFailed
from configs.records import CLASSES, Grant, Plan
from configs.study import Caps, Config
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
    elif {"name": mandate.reviewer, "kind": mandate.kind, "public": mandate.public} not in reviewers:
        raise VerificationFailed(f"the mandate is signed by {mandate.reviewer!r}, whose key the study root does not pin")
    if mandate.study != config.study.name or mandate.config != decided(config):
        raise VerificationFailed("the mandate was given for other settings; grant it for these")
    if not mandate.issued - 300 <= time.time() < mandate.expires:
        raise VerificationFailed("the mandate has expired; grant a new one")
    return mandate


class Gate:
    """Decides on plans of one study by its rules and the decisions that were given to it."""

    def __init__(self, ledger: Ledger, config: Config) -> None:
        self._ledger, self._config = ledger, config
        self._mandates: dict[str, Mandate] = {}

    def admit(self, envelope: bytes, reviewers: list[dict[str, str]]) -> None:
        """Take a mandate if it is valid; what is not is recorded as an incident and changes nothing."""
        name = digest(envelope)
        seen = {e.body.get("digest"): e for e in self._ledger.entries() if e.kind in ("mandate", "incident")}
        try:
            mandate = check_mandate(envelope, self._config, reviewers)
        except VerificationFailed as error:
            if name not in seen:
                self._ledger.append("incident", {"kind": "refused mandate", "digest": name, "reason": str(error)})
            return
        if name not in seen:
            with self._ledger.transaction() as txn:
                txn.append("mandate", {"digest": name, "envelope": envelope.decode(), "mandate": plain(mandate)})
                budget.open_mandate(txn, account(name), mandate.caps, self._config.budget.amount())
        self._mandates[name] = mandate

    def authority(self, change_class: str) -> str:
        """Return the digest of a mandate that covers a class now, or raise NeedsHuman."""
        rule = getattr(self._config.autonomy.rules, change_class, "deny") if change_class in CLASSES else "deny"
        if rule == "mandate":
            for name, mandate in self._mandates.items():
                if change_class in mandate.caps.classes and time.time() < mandate.expires:
                    return name
        study = self._config.study.name
        what = "is denied by" if rule == "deny" else f"waits for a decision ({rule}) under"
        remedy = "" if rule != "mandate" else f"; `heirloop mandate grant study={study}` gives a mandate"
        raise NeedsHuman(f"class {change_class} {what} the rules of autonomy stage {self._config.autonomy.stage}{remedy}")

    def grant(self, name: str, plan: Plan) -> dict[tuple[str, int], Grant]:
        """Decide on a plan and issue one grant per (role, index); raise NeedsHuman if no decision allows it."""
        authority = self.authority(plan.change_class)
        grants = [
            Grant(plan=name, role=job.role, index=i, attempt=0, authority=authority, nonce=secrets.token_hex(16))
            for job in plan.jobs
            for i in range(job.count)
        ]
        with self._ledger.transaction() as txn:
            txn.append("decision", {"plan": name, "class": plan.change_class, "allow": True, "authority": authority,
                                    "kind": self._mandates[authority].kind})  # fmt: skip
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
        authority = self.authority("promote")
        self._ledger.append("decision", {"plan": name, "class": "promote", "allow": True, "authority": authority,
                                         "kind": self._mandates[authority].kind})  # fmt: skip

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


def account(mandate: str) -> str:
    """Return the account name of a mandate."""
    return f"mandate:{mandate[:16]}"


def body_plan(body: Mapping[str, Any]) -> Plan:
    """Return the plan of a ledger entry."""
    return parse(Plan, body["plan"])
