"""A proposal and its plan: the changes and their cost.

An `Amount` is integers in named units.
"""

from dataclasses import dataclass, fields
from typing import Any, Literal

from configs.arms import variant
from configs.build import need
from configs.job import Limits, Role
from configs.reader import later, shared
from configs.recipe import Recipe
from configs.records.classes import ClassName

PlanRole = Literal[
    "train", "predict", "champion-train", "champion-predict", "propose", "ask", "serve"
]
"""propose: a job in a box that writes proposals; ask: a call of an outside model; serve: a job that
answers requests at its door
"""
Purpose = Literal[
    "start",
    "baseline",
    "candidate",
    "trial",
    "propose",
    "final",
    "larger",
    "skill",
    "select",
    "ablation",
    "program",
    "service",
    "unseal",
    "reference",
    "reference_larger",
]
ACCOUNTS = ("propose", "train", "predict", "evaluate")
"""Accounts of the stages that pay for jobs."""
AGENT, NOTES = "agent", "notes"
"""The proposer that runs for a generation, and the file that its next generation finds."""
SERVE: Literal["serve"] = "serve"
"""The role, the module and the door of a job that answers requests."""
COMPUTED_TASKS = ("addition", "modular", "custom", "planted")
"""Tasks with answers that code could compute (an own task's too, as far as we know).

Gains of patch and structural plans there are flagged `computable`.
"""


@shared
@dataclass(frozen=True, slots=True, kw_only=True)
class Amount:
    """The integers of a reservation or a settlement. Whole numbers, never negative."""

    cpu_us: int = 0
    "CPU-microseconds"
    wall_us: int = 0
    "wall microseconds of jobs, added up over parallel jobs"
    jobs: int = 0
    "executions inside a box"
    output_bytes: int = 0
    "bytes collected and printed"
    tokens: int = 0
    "tokens of outside models"
    money_micros: int = 0
    "millionths of the study's currency"
    looks: int = 0
    "scores computed on a held-out split and released: a look per plan and split"
    gpu_us: int = later(0)
    "microseconds with a context on a CUDA device; accounts without a limit on them have no row"

    def __post_init__(self) -> None:
        for name in RESOURCES:
            value = getattr(self, name)
            if type(value) is not int or not 0 <= value < 2**53:
                need(False, name, value, "a whole number from 0 to 2^53 - 1")

    def __add__(self, other: "Amount") -> "Amount":
        return Amount(**{name: getattr(self, name) + getattr(other, name) for name in RESOURCES})


RESOURCES: tuple[str, ...] = tuple(f.name for f in fields(Amount))


def worst_of(limits: Limits, gpu_us: int = 0, jobs: int = 1) -> Amount:
    """Return the highest cost of equal jobs: their hard limits."""
    return Amount(
        cpu_us=limits.cpu_us * jobs,
        wall_us=limits.wall_us * jobs,
        jobs=jobs,
        output_bytes=limits.output_bytes * jobs,
        gpu_us=gpu_us * jobs,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Edit:
    """A textual edit of a source file: `search` must occur exactly once and becomes `replace`."""

    file: Literal["models/train.py", "models/net.py", "models/propose.py", "models/serve.py"]
    """the file; train.py and serve.py make the plan a patch, net.py structural, propose.py of class
    proposer
    """
    search: str
    "text that occurs exactly once in the parent's file"
    replace: str
    "its replacement"

    def __post_init__(self) -> None:
        need(0 < len(self.search) <= 20_000, "search", self.search, "1 to 20000 characters")
        need(len(self.replace) <= 20_000, "replace", self.replace, "at most 20000 characters")


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """A proposer's output, as strict JSON. Data: never executed outside a box."""

    hypothesis: str
    "why this should help, at most 2000 characters; shown escaped"
    knobs: dict[str, Any]
    "changed recipe knobs, with their new values"
    predicted_gain: float | None = None
    "the proposer's own claim, in the objective's metric; shown, never judged"
    edits: tuple[Edit, ...] = ()
    "source edits, applied as text"
    basis: str = later("")
    """digest of the plan against which the change limit counts: a screened candidate or baseline of
    the campaign; empty: the champion
    """

    def __post_init__(self) -> None:
        need(len(self.hypothesis) <= 2000, "hypothesis", self.hypothesis, "at most 2000 characters")
        need(len(self.edits) <= 20, "edits", len(self.edits), "at most 20 edits")


@shared
@dataclass(frozen=True, slots=True, kw_only=True)
class JobCount:
    """How many jobs of a role a plan needs; grants are numbered from 0."""

    role: PlanRole
    """the job's work and its subject: the candidate, or its reference (champion-): the champion, in
    a closing look the baseline
    """
    count: int
    "number of jobs"


def stage(role: PlanRole) -> Role:
    """Return the work of a role in the box; to serve is to predict on request."""
    if role.endswith("train"):
        return "train"
    return "predict" if role.endswith("predict") or role == SERVE else "propose"


def module_of(plan: "Plan", role: PlanRole) -> str:
    """Return the module of `models` that a job runs: agents and services have their own."""
    agent = role == "propose" and variant(plan.arm).proposer == AGENT
    return AGENT if agent else SERVE if role == SERVE else stage(role)


Cell = tuple[int, int]
"""Place in a grid of programs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where a proposed program stands in the database of the arm that evolves it."""

    island: int
    "the island whose turn it was, from 0; its parent was drawn there"
    cell: Cell
    """its cell of the grid: log2 of the token threes in which the program differs from the
    baseline's, log2 of width^2 x depth; both rounded
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A proposal made exact. Gates decide on its digest; a changed byte is another plan."""

    study: str
    "digest of the study root; in a simulated study, of its experiment"
    version: int
    "version of the study root: 1, plus 1 per amendment"
    arm: str
    "variant of the loop"
    repeat: int
    "independent run of the arm, from 0"
    generation: int
    "depth; 0 is the baseline"
    index: int
    "number of the proposal within its generation"
    purpose: Purpose
    """start: a trial of the notebook shared by all arms at the start; baseline: first champion;
    candidate: a proposal; trial: a change that an agent asks to train at its door, scored on
    feedback; propose: its jobs write the proposals of a generation; final, larger, unseal:
    champion against baseline on confirm, there at four times the compute, on sealed; skill: a
    single proposal of a measure of skill against its own parent, on confirm; select: the same of
    a look at skill by which a champion is chosen, on feedback; ablation: the last champion with
    a single change taken back, against that champion, on confirm; program: a proposer program of
    an archive, which has no jobs and is asked by propose plans of its own; service: a version of
    the program that serves the champion, whose jobs serve; reference, reference_larger: a change
    that people fixed before the study, as final and larger measure; none of these can ever become
    champion
    """
    parent: str
    "plan digest of the champion at its start; empty for the baseline"
    change_class: ClassName
    "risk class of what it alters"
    changed: dict[str, Any]
    "knobs that differ from the parent's recipe"
    recipe: Recipe
    "the whole resulting recipe"
    hypothesis: str
    "the proposer's reason"
    predicted_gain: float | None
    "the proposer's claim"
    bundle: str
    "digest of the candidate's source manifest"
    reference: str
    "digest of the bundle beside it in paired jobs; empty: no such bundle"
    reference_recipe: Recipe | None
    "recipe of that bundle"
    reference_steps: int
    "training steps of that recipe at the same planned compute; 0: no such recipe"
    objective: str
    "digest of the objective at its verdict"
    steps: int
    "training steps that the planned compute buys"
    planned_cpu_us: int
    "planned compute of one training"
    jobs: tuple[JobCount, ...]
    "counts and roles of its jobs"
    requested: Amount
    "the worst case of all its jobs together"
    notebook: str = ""
    "digest of the notebook for its trainings besides the task; empty: no notebook"
    asked: str = ""
    """digest of the propose plan of its jobs; empty: a program on the trusted side, people or a
    record
    """
    proposal: str = ""
    "digest of the proposer's own text; empty where nobody proposed"
    basis: str = later("")
    """digest of the plan against which the change limit counts: a screened candidate or baseline of
    the campaign; empty: the parent
    """


def changes_asked(plan: Plan) -> bool:
    """Tell whether a plan changes the recipe of a question on skill, as its agent's trials do."""
    tries = plan.purpose == "trial" and variant(plan.arm).programs
    return plan.purpose in ("skill", "select") or bool(tries)
