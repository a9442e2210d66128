"""A campaign is an arm of a single repeat. Its state, its plans, and its way through the gate.

Every fact is read from the ledger, so a killed campaign goes on where it stood. `passes_gate` is
the only way from a plan to its grants.
"""

import contextlib
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeVar

from configs.arms import CONTENDERS, variant
from configs.entries import Fact, HistoryEntry, InvalidEntry, PlanEntry
from configs.errors import BadInput, BudgetExhausted, Denied, NeedsHuman
from configs.records import Origin, Plan, Purpose, Split
from evals.judge import spend
from loop.facts.facts import Facts
from loop.facts.places import Invalid
from loop.people import advice, stand_in
from loop.plan import Draft, Planned, make_plan
from loop.study.faults import find_allowance
from loop.study.running import Charge, Running, charge_proposer
from loop.study.simulated import bundle_of
from sandbox.budget import look, look_account
from sandbox.canonical import digest

T = TypeVar("T")
Say = Callable[[str], None]
"""Print one line for people."""
Act = Literal["", "promote", "release", "rollback"]
"""A decision on a plan beside the decision on its own class; empty: its own class."""
POLL_SECONDS = 0.2
_BUNDLES, _LOOKS = threading.Lock(), threading.Lock()


@dataclass(frozen=True, slots=True)
class Campaign:
    """An arm of a single repeat."""

    running: Running
    arm: str
    repeat: int
    cpu: int | None
    say: Say

    @property
    def key(self) -> tuple[str, int]:
        """Arm and repeat: facts are stored under this key."""
        return self.arm, self.repeat

    def facts(self) -> Facts:
        """Return the study's facts so far."""
        return self.running.facts()

    def reached(self) -> int:
        """Return the generation to go on with: the last with a proposal, or 1."""
        proposed = [
            generation
            for (arm, repeat, generation, _), name in self.facts().at.copy().items()
            if (arm, repeat) == self.key and self._is_proposal(name)
        ]
        return max([1, *proposed])

    def _is_proposal(self, proposal: str | Invalid) -> bool:
        if isinstance(proposal, Invalid):
            return True
        return self.facts().plans[proposal].purpose == "candidate"

    def shape(self) -> tuple[int, int]:
        """Return the most generations of the campaign, and the proposals of each."""
        return self.running.config.study.rounds(self.arm)

    def limit(self) -> int:
        """Return the most changes of a proposal, 0 for any."""
        return self.running.config.study.change_limit(self.arm)

    def affords(self, generation: int) -> bool:
        """Tell whether the planned compute is enough for another generation at its worst.

        Planned compute decides; the charges of a machine do not.
        """
        allowance = find_allowance(self.running, *self.key, generation)
        if not allowance:
            return allowance is None
        trainings = self.facts().trainings[self.key]
        spent = sum(count for at, count in trainings.items() if at < generation)
        return spent + self.running.config.worst(self.arm, generation) <= allowance

    def selects(self, generation: int) -> bool:
        """Tell whether a generation chooses its champion on proposing skill."""
        return self.running.config.selects(self.arm, generation)

    def effect(self, plan: Plan) -> float:
        """Return the gain that a plan must exceed on confirm, in the objective's unit.

        In a generation that selects on proposing skill a candidate need not be better.
        """
        objective, rule = self.running.config.objective, self.running.config.objective.skill
        if rule is None or plan.purpose != "candidate" or not self.selects(plan.generation):
            return objective.minimum_effect
        return -(rule.loss or objective.minimum_effect)

    # Plans

    def planned(self, name: str) -> Planned:
        """Return a recorded plan by its digest."""
        return Planned(digest=name, plan=self.facts().plans[name])

    def champions(self) -> list[Planned]:
        """Return the former and present champions, in order."""
        return [self.planned(name) for name in self.facts().champions.get(self.key, [])]

    def parent(self) -> Planned:
        """Return the parent of the next plans: the champion, or the baseline without carry."""
        names = self.facts().champions.get(self.key, [])
        return self.planned(names[-1 if variant(self.arm).carry else 0])

    def recorded(self, purpose: Purpose) -> Planned | None:
        """Return the campaign's plan of a purpose under the version in force, if any.

        A plan with a flaw never runs, so another may take its place.
        """
        gate = self.running.gate.refresh()
        for name in self.facts().proposed.get(self.key, ()):
            planned = self.planned(name)
            wanted = (purpose, gate.memory.rules.version)
            if (planned.plan.purpose, planned.plan.version) == wanted and not gate.find_flaw(name):
                return planned
        return None

    def record(self, draft: Draft, history: str = "", charge: Charge | None = None) -> Planned:
        """Make a draft exact and record it once; see `record_plan`."""
        running = self.running
        plan = make_plan(
            running.config,
            draft,
            study=running.gate.memory.rules.study,
            version=running.gate.memory.rules.version,
            arm=self.arm,
            repeat=self.repeat,
        )
        return self.record_plan(plan, history, charge, draft.origin)

    def record_plan(
        self,
        plan: Plan,
        history: str = "",
        charge: Charge | None = None,
        origin: Origin | None = None,
    ) -> Planned:
        """Record an exact plan once, with what belongs to it: the digest of the history for its
        job, and the charge for its proposal.

        A kill between two transactions would leave a propose plan without its history.
        """
        name, facts = digest(plan), list[Fact]()
        if name not in self.facts().plans:
            shown = [HistoryEntry(plan=name, digest=history)] if history else []
            facts += [PlanEntry(digest=name, plan=plan, origin=origin), *shown]
        charge_proposer(self.running, charge, facts)
        return Planned(digest=name, plan=plan)

    def record_invalid(
        self, generation: int, index: int, error: BadInput, text: str, charge: Charge | None = None
    ) -> None:
        """Record a proposal with no valid plan, and the charge for it."""
        entry = InvalidEntry(
            arm=self.arm,
            repeat=self.repeat,
            generation=generation,
            index=index,
            reason=str(error)[:300],
            proposal=self.store_text(text),
        )
        charge_proposer(self.running, charge, [entry])

    def store_text(self, text: str) -> str:
        """Store a proposer's own text; return its digest, or nothing for no text."""
        return self.running.store.put(text.encode(errors="surrogatepass")) if text else ""

    def store_bundle(self, files: dict[str, bytes]) -> str:
        """Store a bundle; return its digest."""
        with _BUNDLES:
            return self.running.store.put_bundle(files)

    def pristine_bundle(self) -> str:
        """Store the bundle given by people; return its digest."""
        return self.store_bundle(bundle_of(self.running.config))

    def share(self, steps: Iterable[Callable[["Campaign"], T]]) -> list[T]:
        """Take independent steps, each on a free core of its own; return their results in order."""

        def on_core(step: Callable[["Campaign"], T]) -> Callable[[int | None], T]:
            return lambda core: step(replace(self, cpu=core))

        return self.running.workers.share(map(on_core, steps), self.cpu)

    # Held-out looks

    def look(self, split: Split, planned: Planned, beside: Sequence[Fact] = ()) -> None:
        """Charge a plan's look at a split, a single time, and record further facts beside it."""
        with _LOOKS:  # no other campaign of the repeat looks between the count and the look
            facts, folded_to = self.facts(), self.running.facts_sequence()
            if (split, planned.digest) not in facts.looked:
                self._need_share(split, facts.looks[self.repeat, split])
                look(self.running.ledger, split, planned.digest, folded_to, beside)

    def _need_share(self, split: Split, used: int) -> None:
        """Raise BudgetExhausted where the repeat has used its share of the study's looks."""
        config = self.running.config
        share = config.budget.looks.share(split, self.repeat, config.study.repeats)
        if used >= share:
            error = BudgetExhausted(
                f"repeat {self.repeat} has used its {share} of the study's looks at {split}"
                f" (budget.looks.{split}, shared among {config.study.repeats} repeats)"
            )
            error.short, error.resource = (look_account(split),), "looks"
            raise error

    def level(self, plan: Plan) -> float:
        """Return a confirmation's share of the campaign's alpha.

        A closing look promotes nothing and takes a share like the first confirmation.
        """
        config = self.running.config
        confirmations = config.confirmations(self.arm)
        if plan.purpose != "candidate":
            return spend(config.objective.alpha, confirmations, ())
        used = self.facts().levels[self.key]
        # A generation repeated after an amendment shares the rest.
        numbers = range(plan.generation, self.shape()[0] + 1)
        left = sum(CONTENDERS - 1 if self.selects(number) else 1 for number in numbers)
        left -= self._count_judged(plan) if self.selects(plan.generation) else 0
        return spend(config.objective.alpha, max(confirmations, len(used) + left), used)

    def _count_judged(self, plan: Plan) -> int:
        """Return how many candidates of a plan's generation and version have their verdict."""
        facts, place = self.facts(), (plan.generation, plan.version, "candidate")
        judged = [facts.plans[name] for name in facts.proposed[self.key] if name in facts.verdicts]
        return sum((one.generation, one.version, one.purpose) == place for one in judged)


def request_decision(campaign: Campaign, planned: Planned, act: Act = "") -> None:
    """Put a plan to people if its gate waits for them; a canary may follow it."""
    gate, change_class = campaign.running.gate, act or planned.plan.change_class
    if _has_passed(campaign, planned, act) or gate.refresh().find_flaw(planned.digest):
        return
    try:
        gate.authority(planned.digest, change_class)
    except Denied:
        return
    except NeedsHuman:
        with contextlib.suppress(Denied):
            gate.request(planned.digest, change_class)
            stand_in.probe(campaign.running, planned.digest, change_class)


def request_decisions(campaign: Campaign, plans: Sequence[Planned]) -> None:
    """Put all plans of a generation to people at once."""
    for planned in plans:
        request_decision(campaign, planned)


def passes_gate(campaign: Campaign, planned: Planned, act: Act = "") -> bool:
    """Take the gate's decision on a plan, or on an act with it; return whether it is yes.

    A yes to a plan issues its grants; an act records its own yes with it. A no is recorded. Where
    people must decide, this waits as long as the study's patience, then raises NeedsHuman.
    """
    gate = campaign.running.gate
    if planned.digest in gate.refresh().memory.recalled:
        return False
    if _has_passed(campaign, planned, act):
        return True
    try:
        if flaw := gate.find_flaw(planned.digest):
            raise Denied(flaw)
        _wait_for_decision(campaign, planned, act)
    except Denied as error:
        gate.refuse(planned.digest, act or planned.plan.change_class, str(error))
        return False
    if not act:
        gate.grant(planned.digest)
    return True


def _has_passed(campaign: Campaign, planned: Planned, act: Act) -> bool:
    if act == "promote":
        return planned.digest in campaign.facts().champions.get(campaign.key, [])
    if act:
        return planned.digest in campaign.facts().line.list_done(act, campaign.key)
    return planned.digest in campaign.facts().granted


def _wait_for_decision(campaign: Campaign, planned: Planned, act: Act) -> None:
    """Return once the gate allows; raise Denied on a no, NeedsHuman when patience ends."""
    running = campaign.running
    change_class = act or planned.plan.change_class
    deadline = time.monotonic() + running.config.gates.patience_seconds
    requested = waited = False
    while True:
        try:
            running.gate.authority(planned.digest, change_class)
            return
        except NeedsHuman as error:
            request_decision(campaign, planned, act)
            stand_in.need_present(running, planned.digest, change_class)
            # The request may have met a cap, or another campaign got the answer: look again.
            if stand_in.answer(running) or not requested:
                requested = True
                continue
            if not waited and running.config.gates.patience_seconds:
                waited = True
                campaign.say(advice.describe_wait(running.gate, running.folder, error))
            if time.monotonic() >= deadline or running.stopped:
                raise
            time.sleep(POLL_SECONDS)
