"""A real study in which nothing runs: this project's gate, or people at its inbox, decide in it.

Each side of a family is a campaign of its own. Its plans are recorded as a proposer's would be. A
member `policy` is asked by the gate's own `grant`; a member `people` gets a request in the inbox,
for a plan that is recorded as a probe and can get no grant.
"""

import time

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from configs.build import plain
from configs.entries import ChampionEntry, PlanEntry, ProbeEntry, facts_of
from configs.errors import BadInput, Denied, NeedsHuman
from configs.job import Outcome
from configs.records import Approval, Plan, Proposal, find_class
from configs.settings.gatebench import Member
from loop.facts.canaries import commit_to
from loop.gatebench.members import Room, Said
from loop.gatebench.question import SIDE, Case, Question
from loop.gatebench.variant import Variant
from loop.plan import Draft, make_plan
from loop.settings import compose_settings
from loop.study.open import open_study
from sandbox import keys
from sandbox.box.base import Execution, report_failure
from sandbox.canonical import digest
from sandbox.unsigned import new_mandate

POLL_SECONDS = 0.5
"""Pause between two looks for a person's answer."""
ALWAYS = (
    "task=text",
    "study.arms=[local]",
    "study.repeats=1000",
    "study.most_changes=0",
    "budget.jobs=1000000",
    "budget.cpu_seconds=1000000",
    "budget.wall_seconds=10000000",
    "budget.output_mib=1000000",
    "budget.looks.feedback=100000",
    "budget.looks.confirm=100000",
    "gates.requests_per_hour=1000000",
    "gates.pending_per_arm=1000000",
)
"""Settings of every court: no budget decides, the gate does."""
CAPS = (
    "gates.unattended.jobs=1000000",
    "gates.unattended.cpu_seconds=1000000",
    "gates.unattended.per_hour=1000000",
)
"""Caps that would make answers depend on the plans before."""


class IdleBox:
    """A box that runs nothing; a gate is asked, and no plan of a bench is ever trained."""

    kind, tier = "none", "C"

    def run(self, execution: Execution) -> Outcome:
        """Refuse the job."""
        return report_failure("a bench of gates runs no job")

    def stop(self) -> None:
        """Do nothing: nothing runs."""

    def close(self) -> None:
        """Do nothing: the box holds nothing."""


class Court:
    """The open study of a member."""

    def __init__(self, name: str, member: Member, room: Room) -> None:
        settings = list(member.settings)
        caps = () if any(line.startswith("gates=attended") for line in settings) else CAPS
        given = {line.partition("=")[0] for line in settings}
        rest = [line for line in (*ALWAYS, *caps) if line.partition("=")[0] not in given]
        groups = [line for line in settings if "." not in line.partition("=")[0]]
        fields = [line for line in settings if line not in groups]
        own = [f"study.name={name}-of-{room.folder.name}", f"runs={room.folder.parent}"]
        config = compose_settings([*groups, *rest, *fields, *own])
        self.running = open_study(config, IdleBox())
        self.number = len(self.running.facts().plans) + len(self.running.facts().probes)
        self._admit_mandate()

    def _admit_mandate(self) -> None:
        config = self.running.config
        if config.gates.unattended is None or self.running.gate.live_mandates():
            return
        key = Ed25519PrivateKey.generate()
        public = keys.public_hex(key)
        mandate = new_mandate(config, config.gates.unattended, "unattended", "bench", public)
        refusal = self.running.gate.admit(keys.sign(plain(mandate), key, "mandate"), "mandate")
        if refusal:
            raise BadInput(f"the mandate of a member's settings is refused: {refusal}")

    def record(self, case: Case, room: Room) -> str:
        """Record a case's plan with the plans before it; return its digest."""
        plan = self._make(case, room)
        self._write(plan)
        return digest(plan)

    def probe(self, case: Case, room: Room) -> str:
        """Record a case's plan as one that can never run, once; return its digest."""
        _, after = room.desk.build(case)
        bundle = self.running.sandbox.store.put_bundle(after.files)
        words = case.family.plans[case.part].hypothesis
        for probe in facts_of(self.running.ledger.entries(), ProbeEntry):
            shown = probe.plan
            if (shown.recipe, shown.bundle, shown.hypothesis) == (after.recipe, bundle, words):
                return probe.digest
        plan = self._make(case, room)
        commitment = commit_to(self.running.secret, digest(plan), case.kind == "attack")
        self.running.ledger.append(
            ProbeEntry(digest=digest(plan), plan=plan, commitment=commitment)
        )
        return digest(plan)

    def _make(self, case: Case, room: Room) -> Plan:
        """Return a case's plan, the last of a campaign of its own that is recorded up to it."""
        self.number += 1
        before, _ = room.desk.build(Case(family=case.family, kind=case.kind, part=0))
        plan = self._plan(case, "", before, before)
        for part in range(case.part + 1):
            parent = self._write(plan, champion=True)
            at = Case(family=case.family, kind=case.kind, part=part)
            plan = self._plan(at, parent, *room.desk.build(at))
        return plan

    def _plan(self, case: Case, parent: str, before: Variant, after: Variant) -> Plan:
        """Return a plan of the present campaign; without a parent its baseline."""
        store, running = self.running.sandbox.store, self.running
        words = case.family.plans[case.part].proposal(SIDE[case.kind])
        first = Proposal(hypothesis="the recipe that people gave", knobs={})
        draft = Draft(
            generation=case.part + 1 if parent else 0,
            index=0,
            purpose="candidate" if parent else "baseline",
            parent=parent,
            parent_recipe=before.recipe,
            change_class=find_class(before.files, after.files),
            recipe=after.recipe,
            bundle=store.put_bundle(after.files),
            reference=(store.put_bundle(before.files), before.recipe) if parent else None,
            proposal=words if parent else first,
        )
        arm = running.config.arms()[0]
        return make_plan(
            running.config, draft, study=running.root, version=1, arm=arm, repeat=self.number
        )

    def _write(self, plan: Plan, champion: bool = False) -> str:
        name, ledger = digest(plan), self.running.ledger
        ledger.append(PlanEntry(digest=name, plan=plan))
        if champion:
            entry = ChampionEntry(
                arm=plan.arm, repeat=plan.repeat, plan=name, generation=plan.generation
            )
            ledger.append(entry)
        return name

    def ask_gate(self, case: Case, room: Room) -> Said:
        """Return what the gate itself answers: a grant, a no, or that people must decide."""
        name = self.record(case, room)
        try:
            self.running.gate.grant(name)
        except NeedsHuman as error:
            return Said(answer="escalate", reason=str(error))
        except Denied as error:
            return Said(answer="no", reason=str(error))
        return Said(answer="yes", reason="granted")

    def ask_people(self, case: Case, question: Question, seconds: float, room: Room) -> Said:
        """Return what the first person answers in the inbox; raise NeedsHuman if nobody does."""
        gate = self.running.gate
        name = self.probe(case, room)
        gate.request(name, question.change_class)
        until = time.monotonic() + seconds
        while True:
            approval = self._find_answer(name)
            if approval:
                words = {"approve": "yes", "deny": "no", "escalate": "escalate"}
                return Said(
                    answer=words[approval.answer],  # type: ignore[arg-type]
                    reason=approval.reason,
                    seconds=max(0.001, approval.issued - approval.seen),
                    human_seconds=approval.looked_ms / 1000 if approval.kind == "person" else 0.0,
                )
            if time.monotonic() >= until:
                raise NeedsHuman(
                    f"plan {name[:12]} waits in the inbox for a person; `heirloop inbox"
                    f" {self.running.folder.parent}` shows it, and the same command goes on"
                )
            time.sleep(POLL_SECONDS)

    def _find_answer(self, name: str) -> Approval | None:
        gate = self.running.gate.refresh()
        found = [a for a in gate.memory.approvals.values() if a.plan == name]
        return found[0] if found else None

    def close(self) -> None:
        """Write the signed head of the study's ledger."""
        self.running.checkpoint()
