"""One recorded run, read once: its entries, settings and facts, and tables over its plans.

Example: `Run(0, open_ledger(folder))` reads a run folder. gains.py, losses.py and
closure.py turn a Run into records for evals/.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace

from configs.arms import START
from configs.entries import Entry, PlanEntry, facts_of
from configs.metrics import METRICS
from configs.objective import Objective
from configs.records import Plan, Scores
from configs.settings.config import Config
from evals.loss import PlanFact
from loop.facts.ending import count_generations
from loop.facts.facts import Facts, fold_entries
from loop.facts.places import Invalid, Place
from sandbox import charges
from sandbox.decision import policy
from sandbox.ledger import Ledger

BETWEEN = 1000
"""Distance between the repeat numbers of two runs that are measured together."""


class Run:
    """A study's facts, read once; its repeats are numbered from `number` x BETWEEN."""

    def __init__(self, number: int, ledger: Ledger, facts: Facts | None = None) -> None:
        self.ledger = ledger
        self.entries: list[Entry] = ledger.entries()
        known = facts or fold_entries(self.entries)
        proposing_us = _charges_of_proposals(known, self.entries)
        self._read(number, policy(self.entries).config, known, proposing_us)

    @classmethod
    def of_facts(
        cls, number: int, config: Config, facts: Facts, proposing_us: Mapping[Place, int]
    ) -> "Run":
        """Return a study that was played in memory: it has facts, and neither ledger nor entries.

        `proposing_us` holds the CPU-microseconds charged for each proposal that no job wrote.
        """
        run = cls.__new__(cls)
        run.entries = []
        run._read(number, config, facts, proposing_us)
        return run

    def _read(
        self, number: int, config: Config, facts: Facts, proposing_us: Mapping[Place, int]
    ) -> None:
        self.base = number * BETWEEN
        "number of its first repeat"
        self.config = config
        self.facts = facts
        self.campaigns = [key for key in sorted(self.facts.champions) if key[0] != START]
        "(arm, repeat) of every campaign with a champion"
        self.unbounded = _unbounded(self.config.objective)
        "the objective on an unbounded scale: log-odds for a share"
        self.planned_us = _planned_by_generation(facts, proposing_us)
        """(arm, repeat, generation) -> planned CPU-microseconds; the negative generation holds the
        part spent on proposing
        """
        self.scores_of = _scores_by_plan(self.facts)
        "plan digest -> (role, index, scores) of its jobs"
        self.charged_us = _charged_by_plan(self.facts)
        "plan digest -> CPU-microseconds charged to its jobs"
        self.candidates: dict[tuple[str, int, int], list[str]] = {}
        "(arm, repeat, generation) -> digests of its candidates"
        self.finals: dict[tuple[str, int, str], str] = {}
        "(arm, repeat, purpose) -> digest of a closing look"
        self.origins = {
            fact.digest: fact.origin for fact in facts_of(self.entries, PlanEntry) if fact.origin
        }
        "plan digest -> where its program stands in a database of programs"
        self.plan_facts: dict[str, list[PlanFact]] = {}
        "arm -> fates of its proposals, once they were read"
        for digest, plan in self.facts.plans.items():
            self._file(digest, plan)

    def _file(self, digest: str, plan: Plan) -> None:
        if plan.purpose == "candidate":
            place = plan.arm, plan.repeat, plan.generation
            self.candidates.setdefault(place, []).append(digest)
        elif plan.purpose in ("final", "larger", "reference", "reference_larger"):
            self.finals[plan.arm, plan.repeat, plan.purpose] = digest

    def last_generation(self, arm: str, repeat: int) -> int:
        """Return the last generation that a campaign began; 0 before its first."""
        return count_generations(self.facts, (arm, repeat), self.config.study.generations)

    def has_new_champion(self, arm: str, repeat: int) -> bool:
        """Tell whether a campaign ever replaced its baseline as champion."""
        return len(set(self.facts.champions[arm, repeat])) > 1

    def proposals_of(self, arm: str) -> Iterator[tuple[Place, str | Invalid]]:
        """Yield the places of an arm's proposals with their plan digests; invalid proposals too.

        Plans after the last generation, and plans that are no candidates, are left out.
        """
        for place, proposal in self.facts.at.items():
            if place[0] != arm or place[2] > self.config.study.generations:
                continue
            if isinstance(proposal, Invalid) or self.facts.plans[proposal].purpose == "candidate":
                yield place, proposal


def _unbounded(objective: Objective) -> Objective:
    share = METRICS[objective.metric].share
    return replace(objective, scale="log_odds") if share else objective


def _scores_by_plan(facts: Facts) -> dict[str, list[tuple[str, int, Scores]]]:
    by_plan = dict[str, list[tuple[str, int, Scores]]]()
    for (digest, role, index), scores in facts.scores.items():
        if scores:
            by_plan.setdefault(digest, []).append((role, index, scores))
    return by_plan


def _charged_by_plan(facts: Facts) -> dict[str, int]:
    by_plan = dict[str, int]()
    for (digest, _, _), (result, _) in facts.results.items():
        by_plan[digest] = by_plan.get(digest, 0) + result.charged.cpu_us
    return by_plan


def _planned_by_generation(
    facts: Facts, proposing_us: Mapping[Place, int]
) -> dict[tuple[str, int, int], int]:
    """Return the CPU of each (arm, repeat, generation).

    The negative generation repeats the part that proposing took. Trainings count as planned.
    Predicting and proposing have no plan of their own and count as charged.
    """
    totals: dict[tuple[str, int, int], int] = {}

    def add(arm: str, repeat: int, generation: int, cpu_us: int) -> None:
        totals[arm, repeat, generation] = totals.get((arm, repeat, generation), 0) + cpu_us

    for (digest, role, _), (result, _) in facts.results.items():
        plan = facts.plans[digest]
        if plan.purpose == "propose":
            for generation in (plan.generation, -plan.generation):
                add(plan.arm, plan.repeat, generation, result.charged.cpu_us)
        elif plan.purpose in ("baseline", "candidate", "trial", "select"):
            trained = role.endswith("train")
            cpu_us = plan.planned_cpu_us if trained else result.charged.cpu_us
            add(plan.arm, plan.repeat, plan.generation, cpu_us)
    for (arm, repeat, generation, _), cpu_us in proposing_us.items():
        for sign in (1, -1):
            add(arm, repeat, sign * generation, cpu_us)
    return totals


def _charges_of_proposals(facts: Facts, entries: list[Entry]) -> dict[Place, int]:
    """Return the CPU charged for each proposal by a program on the trusted side.

    It has no job: its compute is settled under its proposal's place.
    """
    places, charged_us = {f"propose:{place}": place for place in facts.at}, dict[Place, int]()
    for _, settled in charges.settlements(entries):
        if settled.key in places:
            place = places[settled.key]
            charged_us[place] = charged_us.get(place, 0) + settled.spent.cpu_us
    return charged_us
