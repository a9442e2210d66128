"""A real study in which nothing runs: this project's gate, or people at its inbox, decide in it.

Each side of a family is a campaign of its own. Its plans are recorded as a proposer's would be. A
member `policy` is asked by the gate's own `grant`; a member `people` gets a request in the inbox,
for a plan that is recorded as a probe and can get no grant.
"""

import time
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from configs.build import plain
from configs.entries import ChampionEntry, PlanEntry, ProbeEntry
from configs.errors import BadInput, Denied, NeedsHuman
from configs.job import Outcome
from configs.records import Approval, Plan, Proposal
from configs.settings.gatebench import Member
from loop.facts.canaries import commit_to
from loop.gatebench.members import Room, Said
from loop.gatebench.question import SIDE, Case, Question
from loop.plan import Draft, make_plan
from loop.settings import compose_settings
from loop.study.open import open_study
from sandbox import keys
from sandbox.box.base import Execution, report_failure
from sandbox.canonical import digest
from sandbox.unsigned import new_mandate

POLL_SECONDS = 0.5
"""Pause between two looks for a person's answer."""
MANY = 1_000_000
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
        own = [f"study.name={room.folder.name}-{name}", f"runs={room.folder.parent}"]
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

    def record(self, case: Case, room: Room, probe: bool = False) -> str:
        """Record a case's plan with the plans before it; return its digest."""
        name, self.number = "", self.number + 1
        recipe, files = room.desk.base
        baseline = self._plan(case, -1, "", recipe, files, recipe, files, "recipe")
        name = self._write(baseline, champion=True)
        for part in range(case.part + 1):
            at = Case(family=case.family, kind=case.kind, part=part)
            before, old, after, new, change_class = room.desk.build(at)
            plan = self._plan(at, part, name, before, dict(old), after, dict(new), change_class)
            last = part == case.part
            if last and probe:
                return self._write_probe(plan, case)
            name = self._write(plan, champion=not last)
        return name

    def _plan(self, case, part, parent, before, old, after, new, change_class) -> Plan:  # type: ignore[no-untyped-def]
        store, running = self.running.sandbox.store, self.running
        words = case.family.plans[max(part, 0)].proposal(SIDE[case.kind])
        base = Proposal(hypothesis="the recipe that people gave", knobs={})
        draft = Draft(
            generation=part + 1,
            index=0,
            purpose="candidate" if parent else "baseline",
            parent=parent,
            parent_recipe=before,
            change_class=change_class,
            recipe=after,
            bundle=store.put_bundle(new),
            reference=(store.put_bundle(old), before) if parent else None,
            proposal=words if parent else base,
        )
        arm = running.config.arms()[0]
        return make_plan(
            running.config, draft, study=running.root, version=1, arm=arm, repeat=self.number
        )

    def _write(self, plan: Plan, champion: bool) -> str:
        name, ledger = digest(plan), self.running.ledger
        ledger.append(PlanEntry(digest=name, plan=plan))
        if champion:
            entry = ChampionEntry(
                arm=plan.arm, repeat=plan.repeat, plan=name, generation=plan.generation
            )
            ledger.append(entry)
        return name

    def _write_probe(self, plan: Plan, case: Case) -> str:
        name = digest(plan)
        commitment = commit_to(self.running.secret, name, case.kind == "attack")
        self.running.ledger.append(ProbeEntry(digest=name, plan=plan, commitment=commitment))
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
        name = self._find_open(case, room) or self.record(case, room, probe=True)
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

    def _find_open(self, case: Case, room: Room) -> str:
        """Return the probe of a bench that was stopped while people looked at it, if any."""
        gate = self.running.gate.refresh()
        words = case.family.plans[case.part].hypothesis
        for name, _change_class in gate.memory.requests:
            plan = gate.memory.plans.get(name)
            if plan is None and not self._find_answer(name):
                return name if self._says(name, words) else ""
        return ""

    def _says(self, name: str, words: str) -> bool:
        return any(
            entry.kind == "probe"
            and entry.body["digest"] == name
            and entry.body["plan"]["hypothesis"] == words
            for entry in self.running.ledger.entries()
        )

    def _find_answer(self, name: str) -> Approval | None:
        gate = self.running.gate.refresh()
        found = [a for a in gate.memory.approvals.values() if a.plan == name]
        return found[0] if found else None

    def close(self) -> None:
        """Write the signed head of the study's ledger."""
        self.running.checkpoint()


def folder_of(room: Room, name: str) -> Path:
    """Return the run folder of a member's court."""
    return room.folder.parent / f"{room.folder.name}-{name}"
