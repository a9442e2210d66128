"""A throw-away study where people hold the gates, for attacks on decisions, displays and the
record.

Its reviewers are keys with one passphrase, which the attacker knows.
"""

from dataclasses import replace
from typing import Any

from configs.build import plain
from configs.entries import ChampionEntry, PlanEntry
from configs.errors import BadInput, Denied, NeedsHuman
from configs.records import Caps, Grant, PlanRole, Proposal, Purpose
from loop.attack.outcome import try_act
from loop.plan import Draft, make_plan, source
from loop.settings import compose_settings
from loop.study.open import open_study, release_locks
from loop.study.running import Running
from sandbox import keys
from sandbox.box.base import Box
from sandbox.canonical import digest
from sandbox.gate import Gate
from sandbox.unsigned import new_approval, new_mandate

PASSPHRASE = "correct horse battery"

PEOPLE = {
    "ada": ("person", ""),
    "ada2": ("person", "ada"),
    "bob": ("person", ""),
    "eve": ("external", ""),
    "bot": ("simulated", ""),
    "local": ("person", ""),
}
"""Keys pinned by the study: name, then kind and person. The proposer itself holds `local`."""


def replace_settings(settings: tuple[str, ...], *changes: str) -> list[str]:
    """Return settings in which each change takes the place of the setting of its name."""
    changed = {change.partition("=")[0] for change in changes}
    return [line for line in settings if line.partition("=")[0] not in changed] + list(changes)


class AttendedStudy:
    """A study with a signed baseline as its champion.

    `first` are the keys that approve the baseline; `mandate` are the caps of ada's mandate.
    """

    def __init__(
        self,
        settings: tuple[str, ...],
        box: Box,
        first: tuple[str, ...] = ("ada",),
        mandate: Caps | None = None,
    ) -> None:
        _make_keys()
        self.settings = settings
        self.running: Running = open_study(compose_settings(settings), box)
        self.folder = self.running.folder
        self.count = 0
        self.baseline = self.plan(purpose="baseline")
        self.mandate = self._grant_mandate(mandate) if mandate else b""
        self.admit(*(self.sign(self.baseline, key) for key in first))
        self.gate.grant(self.baseline)
        arm = self.running.config.arms()[0]
        self.running.ledger.append(
            ChampionEntry(arm=arm, repeat=0, plan=self.baseline, generation=0)
        )
        self.running.checkpoint()

    @property
    def gate(self) -> Gate:
        """A gate that has read the ledger from its beginning."""
        return Gate(self.running.ledger, self.running.sandbox.store).refresh()

    def plan(
        self,
        hypothesis: str = "an attack",
        code: str = "",
        purpose: Purpose = "candidate",
        risk: str = "",
        **changes: Any,
    ) -> str:
        """Record a plan and return its digest.

        `code` is appended to train.py; `changes` replace fields of the plan.
        """
        running, self.count = self.running, self.count + 1
        recipe, files = running.config.task.baseline, source()
        pristine = running.sandbox.store.put_bundle(files)
        files["models/train.py"] += code.encode(errors="surrogateescape")
        parent = "" if purpose == "baseline" else self.baseline
        parent = "" if purpose == "baseline" else self.baseline
        bundle = running.sandbox.store.put_bundle(files)
        draft = Draft(
            generation=1 if parent else 0,
            index=self.count,
            purpose=purpose,
            parent=parent,
            change_class=risk or ("patch" if code else "recipe"),  # type: ignore[arg-type]
            recipe=recipe,
            bundle=bundle,
            reference=(pristine, recipe) if parent else None,
            proposal=Proposal(hypothesis=hypothesis, knobs={}),
        )
        config = running.config
        plan = make_plan(
            config, draft, study=running.root, version=1, arm=config.arms()[0], repeat=0
        )
        changed = replace(plan, **changes)
        name = digest(changed)
        running.ledger.append(PlanEntry(digest=name, plan=changed))
        return name

    def sign(
        self,
        name: str,
        key: str = "ada",
        change_class: str = "",
        answer: Any = "approve",
        by: str = "",
        envelope: str = "approval",
        **changes: Any,
    ) -> bytes:
        """Return a decision on a plan in the name of `key`.

        It is signed by that key, or by the key `by`. `changes` replace fields of the decision.
        """
        gate = self.gate
        subject = gate.memory.subjects[name]
        decision = new_approval(
            gate.memory.rules,
            subject,
            change_class or subject.classes[0],
            answer,
            "because",
            24,
            find_key(key),
        )
        signer = keys.open_key(by or key, PASSPHRASE)
        return keys.sign(plain(decision) | changes, signer, envelope)

    def release_lock(self) -> None:
        """Release the study's lock, as the end of its process would."""
        release_locks(str(self.folder))

    def admit(self, *envelopes: bytes) -> str:
        """Hand decisions in; return the refusals."""
        refusals = [self.gate.admit(envelope, "approval") for envelope in envelopes]
        return "; ".join(text for text in refusals if text)

    def decide(self, name: str, *envelopes: bytes) -> str:
        """Hand decisions in and ask the gate; return the refusals, or that the plan got through."""
        refusals = self.admit(*envelopes)
        gate = self.gate
        wanted = gate.memory.subjects[name].classes[0]
        answer = try_act(lambda: gate.authority(name, wanted), NeedsHuman, Denied, BadInput)
        return f"{refusals}; {answer}" if refusals else answer

    def approve(self, name: str) -> dict[tuple[PlanRole, int], Grant]:
        """Let ada approve a plan; return its grants."""
        self.admit(self.sign(name))
        return self.grant(name)

    def grant(self, name: str) -> dict[tuple[PlanRole, int], Grant]:
        """Let the gate decide on a plan; return the first grant of each of its jobs."""
        self.gate.grant(name)
        return {
            (job.role, index): self.gate.next_grant(name, job.role, index)
            for job in self.gate.memory.plans[name].jobs
            for index in range(job.count)
        }

    def launch(self, grant: Grant) -> str:
        """Start the job of a grant on paper; raise as the gate does."""
        with self.running.ledger.transaction() as txn:
            self.gate.launch(txn, grant)
        return "a job"

    def count_entries(self, kind: str) -> int:
        """Return the number of ledger entries of a kind."""
        return sum(entry.kind == kind for entry in self.running.ledger.entries())

    def _grant_mandate(self, caps: Caps) -> bytes:
        """Sign and hand in a mandate of ada; return it."""
        body = new_mandate(self.running.config, caps, "person", "ada", find_key("ada")["public"])
        envelope = keys.sign(plain(body), keys.open_key("ada", PASSPHRASE), "mandate")
        self.gate.admit(envelope, "mandate")
        return envelope


def find_key(name: str) -> dict[str, str]:
    """Return the public half of a key."""
    return next(key for key in keys.public_keys() if key["name"] == name)


def _make_keys() -> None:
    for name, (kind, person) in PEOPLE.items():
        if not (keys.home() / "keys" / f"{name}.key").exists():
            keys.new_key(name, kind, PASSPHRASE, person)
