"""The whole configuration of a study: every Hydra group as a typed record.

Hydra composes plain values from the YAML files beside this module. `configs.build.parse` turns them
into these records, once. It refuses unknown keys, wrong types and numbers outside their range by
name.
"""

import math
from dataclasses import dataclass, replace

from configs.arms import CONTENDERS, LARGER, START, variant
from configs.build import need, parse
from configs.errors import BadInput
from configs.objective import Objective
from configs.reader import later
from configs.recipe import Recipe, knob_values
from configs.settings.box import Box, Launcher, Tracker
from configs.settings.budget import Budget
from configs.settings.claims import need_measurable
from configs.settings.factory import Factory, check_factory
from configs.settings.faults import Faults
from configs.settings.gates import Autonomy, Gates, Reviewer
from configs.settings.programs import check_programs
from configs.settings.proposer import Proposer
from configs.settings.study import Study
from configs.settings.task import TaskSetup
from configs.settings.writeups import check_writeups


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """A whole study, as composed."""

    study: Study
    "shape"
    task: TaskSetup
    "the task to learn"
    objective: Objective
    "the meaning of better"
    budget: Budget
    "the spending limits"
    gates: Gates
    "the decisions that gates take"
    autonomy: Autonomy
    "who decides"
    reviewer: Reviewer
    "a scripted reviewer, or people alone"
    proposer: Proposer
    "how changes are proposed"
    box: Box
    "where jobs run"
    tracker: Tracker
    "where it is mirrored"
    runs: str = "runs"
    "folder that holds the runs"
    ledger: str = later("")
    "URL of the PostgreSQL database that holds the ledger; empty: a file of the run's folder"
    store: str = later("")
    "fsspec URL of the place that holds its stored bytes; empty: a folder of the run"
    launcher: Launcher = later(Launcher())
    "machines of its boxes; absent: this machine"
    faults: Faults = later(Faults())
    "mishaps of production that befall it; absent: none"
    factory: Factory = later(Factory())
    "how a service is deployed by rule; absent: none is"

    def __post_init__(self) -> None:
        total = self.budget.cpu_seconds * 1_000_000
        for name in ("train", "predict", "propose"):
            cpu_us, right = getattr(self.budget, name).cpu_us, f"at most the study's {total}"
            need(cpu_us <= total, f"budget.{name}.cpu_us", cpu_us, right)
        stand_in, kind = self.task.format().stand_in(), self.box.kind
        need(
            stand_in == (kind if kind in ("planted", "table") else ""),
            "box.kind",
            kind,
            "planted with task planted, table with task.table, and a real box with any other",
        )
        self.faults.need_simulated(bool(stand_in))
        reviewed = self.reviewer.policy != "people"
        self.faults.check_withdrawn(self.study, self.arms(), reviewed)
        check_factory(self.factory, self.arms(), self.box.kind)
        least = self.task.planned_cpu_us
        least = max(
            least * (LARGER if self.study.larger_replicates else 1), *map(self.compute, self.arms())
        )
        need(
            self.budget.train.cpu_us >= least,
            "budget.train.cpu_us",
            self.budget.train.cpu_us,
            f"at least the plan's {least}",
        )
        own = not self.box.environment or bool(self.task.folder)
        need(own, "box.environment", self.box.environment, "empty without task program")
        for number in range(len(self.study.references)):
            self._check_reference(number)
        self._measurable()
        self._selecting()
        check_programs(self.study.programs, self.task, self.arms(), self.study)
        check_writeups(self.study.writeups, self.task, self.objective.metric)
        slices, on_table = self.task.format().slices(), bool(self.task.table)
        need_measurable(self.study.claims, self.arms(), self.study, slices, on_table)
        self._affordable()

    def objective_of(self, arm: str) -> Objective:
        """Return the objective by whose rule an arm's candidates are accepted."""
        rule = variant(arm).rule or self.objective.acceptance
        return replace(self.objective, acceptance=rule)

    def rules(self) -> str:
        """Return the study's rule of acceptance in words, with the rules that arms have instead."""
        own = [f"{arm}: {variant(arm).rule}" for arm in self.arms() if variant(arm).rule]
        return self.objective.acceptance + (f" ({', '.join(own)})" if own else "")

    def _check_reference(self, number: int) -> None:
        """Refuse a reference change that is none, or that no recipe can have."""
        name = f"study.references.{number}"
        need(
            not self.task.table,
            "study.references",
            "given",
            "empty with task.table, where every better recipe of the grid is a reference",
        )
        try:
            changed = self.reference(number) != self.task.baseline
        except BadInput as error:
            raise BadInput(f"{name}: {error}") from None
        need(changed, name, self.study.references[number], "a change of the baseline")

    def _measurable(self) -> None:
        """Refuse an objective whose noise nobody measured, or with a name unknown to the task."""
        measured = (self.task.metric(), "raw")
        known = (self.objective.metric, self.objective.scale) == measured
        known = known or self.objective.deviation is not None
        conditions = (*self.objective.secondary, *self.objective.constraints)
        used = {self.objective.metric, *(one.metric for one in conditions)}
        need(
            self.task.metric() == "bits" or "bits" not in used,
            "objective.metric",
            "bits",
            f"a metric of task {self.task.name}; bits are of task text",
        )
        need(
            known,
            "objective.deviation",
            None,
            f"the standard deviation over seeds of {self.objective.metric}, {self.objective.scale}",
        )
        self._need_parents("study.skill_parents", self.study.skill_parents)
        names = self.task.format().slices()
        for one in conditions:
            need(
                not one.slice or one.slice in names,
                "objective slice",
                one.slice,
                f"one of task {self.task.name}: {', '.join(names)}",
            )

    def _selecting(self) -> None:
        """Refuse a selection on proposing skill without an arm for it, or without its measures."""
        rule, study = self.objective.skill, self.study
        arms = [arm for arm in self.arms() if variant(arm).selects]
        need(
            rule is not None or not arms,
            "objective.skill",
            None,
            f"given in a study with arm {', '.join(arms)}, such as {{every: 3, asks: 1}}",
        )
        if rule is None:
            return
        right = "null in a study without arm self_skill or skill_placebo"
        need(bool(arms), "objective.skill", "given", right)
        right = f"at most study.generations {study.generations}"
        need(rule.every <= study.generations, "objective.skill.every", rule.every, right)
        for name in ("skill_proposals", "skill_parents"):
            right = "at least 1 in a study that selects on proposing skill"
            need(getattr(study, name) > 0, f"study.{name}", getattr(study, name), right)
        self._need_parents("objective.skill.asks", rule.asks)

    def _need_parents(self, name: str, count: int) -> None:
        """Refuse more parents, to be drawn from a half of the grid, than it surely has."""
        recipes = math.prod(len(values) for values in self.task.choices().values())
        right = f"at most an eighth of the {recipes} recipes of the grid of task {self.task.name}"
        need(8 * count <= recipes, name, count, right)

    def _affordable(self) -> None:
        """Refuse more looks, confirmations or replicates than budget or objective hold."""
        study, looks, planned = self.study, self.budget.looks, self.objective.confirmations
        need(
            planned is None or planned >= study.generations,
            "objective.confirmations",
            planned,
            f"at least study.generations {study.generations}",
        )
        closing = (study.final_replicates > 0) + (study.larger_replicates > 0)
        released = sum(
            self.trials(arm) - study.start_trials + self.selecting_looks(arm) for arm in self.arms()
        )
        confirmed = sum(
            study.rounds(arm)[0]
            + self.selections(arm) * (CONTENDERS - 2)
            + closing
            + study.ablate
            + study.skill_looks(arm)
            for arm in self.arms()
        )
        for split, each, start in (
            ("feedback", released, study.start_trials),
            ("confirm", confirmed, 0),
        ):
            limits = looks.limits()
            held = limits["gate" if split == "confirm" and "gate" in limits else split]
            wanted = study.repeats * (each + start)
            need(
                held >= wanted,
                f"budget.looks.{split}",
                held,
                f"at least the {wanted} looks that the study plans",
            )
        most = max(study.confirm_replicates, study.final_replicates, study.larger_replicates)
        jobs, cpu = 4 * most + 2, 2 * most * self.task.planned_cpu_us
        what = f"for one confirmation with {most} replicates"
        need(self.budget.jobs >= jobs, "budget.jobs", self.budget.jobs, f"at least {jobs}, {what}")
        seconds = -(-cpu // 1_000_000)
        need(
            self.budget.cpu_seconds >= seconds,
            "budget.cpu_seconds",
            self.budget.cpu_seconds,
            f"at least {seconds}, {what}",
        )

    def files(self) -> dict[str, tuple[str, str]]:
        """Return the people's own files that the study names: field -> (path, digest)."""
        options = self.proposer
        named = {
            "task.file": (self.task.file, self.task.file_digest),
            "task.folder": (self.task.folder, self.task.folder_digest),
            "gates.file": (self.gates.file, self.gates.file_digest),
            "proposer.file": (options.file, options.file_digest),
            "proposer.program": (options.program, options.program_digest),
            "proposer.folder": (options.folder, options.folder_digest),
            "proposer.pack": (options.pack, options.pack_digest),
            "factory.scenarios": (self.factory.scenarios, self.factory.scenarios_digest),
            "factory.tests": (self.factory.tests, self.factory.tests_digest),
        }
        return {field: pin for field, pin in named.items() if pin[0]}

    def without_paths(self) -> "Config":
        """Return the settings of a simulated study without places: it repeats everywhere."""
        gates, task = replace(self.gates, file=""), self.task
        if task.table:
            task = replace(task, table="pinned by its digest")
        return replace(self, gates=gates, task=task)

    def compute(self, arm: str) -> int:
        """Return the planned CPU-microseconds of one training of an arm."""
        return self.study.more(self.task.planned_cpu_us, arm, "compute")

    def trials(self, arm: str) -> int:
        """Return how many scores a campaign of an arm plans to tell its proposer.

        The scores of the start and of the baseline count.
        """
        generations, proposals = self.study.rounds(arm)
        times = self.study.program_questions(arm) if variant(arm).programs else generations
        tried = times * self.proposer.door_trials(arm)
        return self.study.start_trials + 1 + generations * proposals + tried

    def confirmations(self, arm: str = "") -> int:
        """Return how many confirmations of a campaign share alpha."""
        once = self.objective.confirmations or max(1, self.study.rounds(arm)[0])
        return once + self.selections(arm) * (CONTENDERS - 2)

    def selects(self, arm: str, generation: int) -> bool:
        """Tell whether a generation of an arm chooses its champion on proposing skill."""
        rule = self.objective.skill
        if rule is None or not variant(arm).selects or generation < 1:
            return False
        return generation % rule.every == 0

    def selections(self, arm: str) -> int:
        """Return how many generations of an arm select on proposing skill."""
        numbers = range(1, self.study.rounds(arm)[0] + 1 if variant(arm).selects else 1)
        return sum(self.selects(arm, number) for number in numbers)

    def selecting_looks(self, arm: str) -> int:
        """Return the most proposals of an arm that are looked at to choose, on feedback."""
        rule = self.objective.skill
        each = CONTENDERS * rule.asks * self.study.skill_proposals if rule else 0
        return self.selections(arm) * each + self.study.program_looks(arm)

    def worst(self, arm: str, generation: int) -> int:
        """Return the most trainings of a generation of an arm, a selection's included.

        A question trains its weights and reads; each proposal is trained beside its parent.
        """
        ordinary = self.study.worst(arm) + self.proposer.door_trials(arm)
        if (rule := self.objective.skill) is None or not self.selects(arm, generation):
            return ordinary
        asked = CONTENDERS * rule.asks * (2 + 2 * self.study.skill_proposals)
        return ordinary + asked + (CONTENDERS - 2) * 2 * self.study.replicates(arm)

    def reference(self, repeat: int) -> Recipe:
        """Return the recipe that arm reference measures in a repeat."""
        changes = self.study.references
        return parse(Recipe, {**knob_values(self.task.baseline), **changes[repeat % len(changes)]})

    def deviation(self) -> float:
        """Return the standard deviation over seeds of the primary metric on its scale."""
        return self.objective.deviation or self.task.seed_deviation

    def arms(self) -> tuple[str, ...]:
        """Return the arms of the study."""
        return self.study.arms or (self.proposer.name,)

    def payers(self) -> tuple[str, ...]:
        """Return the arms with an account: every arm of the study, and the start that all share."""
        return (*self.arms(), *((START,) if self.study.start_trials else ()))
