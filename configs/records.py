"""The records that cross a folder. Frozen facts; each is made by one part and read by the next.

An `Amount` is integers in named units; an entry of the ledger is stored as canonical bytes and read
back here.
"""

from dataclasses import dataclass, field, fields
from typing import Any, Literal

from configs.build import need
from configs.job import Limits, Order, Role
from configs.recipe import Recipe

ChangeClass = Literal[
    "recipe", "patch", "structural", "proposer", "propose", "promote", "deploy", "unseal", "amend"
]
"""by risk: what a proposal alters; then acts: propose (asking for proposals), promote, deploy,
unseal, amend
"""
CLASSES: tuple[ChangeClass, ...] = (
    "recipe",
    "patch",
    "structural",
    "proposer",
    "propose",
    "promote",
    "deploy",
    "unseal",
    "amend",
)
PlanRole = Literal["train", "predict", "champion-train", "champion-predict", "propose", "ask"]
"propose: a job in a box that writes proposals; ask: one call of an outside model"
Purpose = Literal["start", "baseline", "candidate", "propose", "final", "larger", "skill", "unseal"]
Split = Literal["feedback", "gate", "sealed"]
Answer = Literal["accept", "reject", "inconclusive", "continue"]
"continue: another pair is wanted; never recorded"
ACCOUNTS = ("propose", "train", "predict", "evaluate")
SPLITS: tuple[Split, ...] = ("feedback", "gate", "sealed")
COMPUTED_TASKS = ("addition", "modular", "custom", "planted")
"""tasks whose answers code could compute (an own task's too, as far as we know): gains of patch and
structural plans there are flagged `computable`
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Amount:
    """What a reservation asks or a settlement charges. Whole numbers, never negative."""

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
    "scores that were computed on a held-out split and told to somebody: one per plan and split"

    def __post_init__(self) -> None:
        for name in RESOURCES:
            value = getattr(self, name)
            need(
                type(value) is int and 0 <= value < 2**53,
                name,
                value,
                "a whole number from 0 to 2^53 - 1",
            )

    def __add__(self, other: "Amount") -> "Amount":
        return Amount(**{name: getattr(self, name) + getattr(other, name) for name in RESOURCES})


RESOURCES: tuple[str, ...] = tuple(f.name for f in fields(Amount))


@dataclass(frozen=True, slots=True, kw_only=True)
class Edit:
    """One textual edit of a source file: `search` must occur exactly once and becomes `replace`."""

    file: Literal["models/train.py", "models/net.py", "models/propose.py"]
    "the file; train.py makes the plan a patch, net.py structural, propose.py of class proposer"
    search: str
    "text that occurs exactly once in the parent's file"
    replace: str
    "what stands there afterwards"

    def __post_init__(self) -> None:
        need(0 < len(self.search) <= 20_000, "search", self.search, "1 to 20000 characters")
        need(len(self.replace) <= 20_000, "replace", self.replace, "at most 20000 characters")


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """What a proposer writes, as strict JSON, whoever it is. Data: never executed outside a box."""

    hypothesis: str
    "why this should help, at most 2000 characters; shown escaped"
    knobs: dict[str, Any]
    "recipe knobs that change, with their new values"
    predicted_gain: float | None = None
    "the proposer's own claim, in the objective's metric; shown, never judged"
    edits: tuple[Edit, ...] = ()
    "source edits, applied as text"

    def __post_init__(self) -> None:
        need(len(self.hypothesis) <= 2000, "hypothesis", self.hypothesis, "at most 2000 characters")
        need(len(self.edits) <= 20, "edits", len(self.edits), "at most 20 edits")


@dataclass(frozen=True, slots=True, kw_only=True)
class JobCount:
    """How many jobs of a role a plan needs; grants are numbered from 0."""

    role: PlanRole
    "what the job does, and for whom: the candidate, or the champion that is measured beside it"
    count: int
    "number of jobs"


def stage(role: PlanRole) -> Role:
    """Return what a job of a role does in the box."""
    return (
        "train" if role.endswith("train") else "predict" if role.endswith("predict") else "propose"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One proposal made exact. Its digest is what gates decide on; a changed byte is another
    plan.
    """

    study: str
    "digest of the study root"
    version: int
    "version of the study root: 1, and one more per amendment"
    arm: str
    "variant of the loop"
    repeat: int
    "independent run of the arm, from 0"
    generation: int
    "depth; 0 is the baseline"
    index: int
    "number of the proposal within its generation"
    purpose: Purpose
    """start: a trial of the notebook that every arm starts from; baseline: first champion;
    candidate: a proposal; propose: its jobs write the proposals of a generation; final, larger,
    unseal: champion against baseline on gate, there at four times the compute, on sealed; skill:
    one proposal of a measure of skill against the baseline, on gate; it can never become champion
    """
    parent: str
    "plan digest of the champion that it starts from; empty for the baseline"
    change_class: ChangeClass
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
    "digest of the bundle that stands beside it in paired jobs; empty where there is none"
    reference_recipe: Recipe | None
    "recipe of that bundle"
    reference_steps: int
    "training steps of that recipe at the same planned compute; 0 where there is none"
    objective: str
    "digest of the objective that it will be judged by"
    steps: int
    "training steps that the planned compute buys"
    planned_cpu_us: int
    "planned compute of one training"
    jobs: tuple[JobCount, ...]
    "counts and roles of its jobs"
    requested: Amount
    "the worst case of all its jobs together"
    notebook: str = ""
    "digest of the notebook that its trainings learn from besides the task; empty: none"
    asked: str = ""
    """digest of the propose plan whose jobs wrote it; empty: a program on the trusted side, people
    or a record
    """
    proposal: str = ""
    "digest of the proposer's own text; empty where nobody proposed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """Single-use permission for one job of an approved plan."""

    plan: str
    "plan digest"
    role: PlanRole
    "role of the job"
    index: int
    "number of the job within its role"
    attempt: int
    "0, or higher where an earlier attempt was lost by the box"
    authority: str
    "digest of the mandate or approval that the gate relied on"
    nonce: str
    "random; consumed in the reservation's transaction"


@dataclass(frozen=True, slots=True, kw_only=True)
class Input:
    """One file that a job gets beside its bundle."""

    name: str
    "file name inside the box"
    digest: str
    "sha256 of its bytes in the store"
    sequence: int
    "ledger entry that recorded it"


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One execution: bound to plan, role, index, seed, bundle and every input."""

    plan: str
    "plan digest"
    role: PlanRole
    "role of the job"
    index: int
    "number within the role"
    bundle: str
    "digest of the source manifest"
    order: Order
    "what the code inside is told"
    inputs: tuple[Input, ...]
    "data, weights or questions"
    limits: Limits
    "hard limits; their worst case is reserved"


@dataclass(frozen=True, slots=True, kw_only=True)
class JobResult:
    """What is recorded of one execution."""

    status: Literal["ok", "program", "limit", "box"]
    "who ended it"
    detail: str
    "one clause"
    charged: Amount
    "what was charged"
    startup_cpu_us: int
    "part of the CPU charged before any byte of the bundle ran"
    charged_by: Literal["cgroup", "bound", "reservation", "plan"]
    """kernel counter, provable upper bound, the whole reservation, or the plan of a job that was
    simulated
    """
    peak_bytes: int
    "largest memory the kernel saw; 0 if unread"
    outputs: dict[str, str]
    "file name -> digest in the store"
    log: str
    "digest of the kept log"
    box: str
    "kind of box"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """What the trusted side computed from predictions. Always names its split."""

    split: Split
    "the held-out items that were asked"
    items: int
    "number of items"
    exact_match: float
    "share of items whose whole answer is right"
    token_accuracy: float
    "share of right answer tokens"
    log_odds: float
    "ln((k + 1/2) / (n - k + 1/2)) of exact match; finite at 0 and 1"
    parameters: int
    "weights of the net"
    planned_cpu_us: int
    "planned compute of the training"
    measured_cpu_us: int
    "charge of the training, start-up excluded"
    inference_cpu_us: int = 0
    "charge of the predict job, start-up excluded"
    nll: float | None = None
    "mean nats per right answer token, each conditioned on the net's own tokens before it"
    calibration_error: float | None = None
    "expected calibration error of whole answers, 15 bins of equal width"
    slices: dict[str, float] = field(default_factory=dict)
    "exact match per slice of the task; a slice without items is left out"


@dataclass(frozen=True, slots=True, kw_only=True)
class Criterion:
    """One line of a verdict."""

    name: str
    "what was asked"
    passed: bool
    "true only if proven"
    value: float | None
    "measured value; null where none is finite"
    bound: float
    "what it had to reach"
    text: str
    "one clause for people"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The judge's answer, criterion by criterion."""

    answer: Answer
    "accept only if every criterion passed"
    criteria: tuple[Criterion, ...]
    "each criterion"
    gain: float | None
    "mean paired difference in the primary metric"
    low: float | None
    "lower end of the interval for the gain"
    high: float | None
    "upper end of the interval"
    level: float
    "one-sided level that was used"
    replicates: int
    "pairs that counted"
    rule: str = ""
    "acceptance rule"
    evidence: float | None = None
    "bound on the p-value against `true gain <= minimum effect`; null where a number is missing"
    corrected: float | None = None
    "accept: gain without the winner's curse, median-unbiased given the accept (docs/judging.md)"
    corrected_low: float | None = None
    "lower end of its 90 % interval"
    corrected_high: float | None = None
    "upper end"
    hidden: float | None = None
    """accept: measured rate at which this rule accepts a candidate of equal mean that fails one run
    in ten (null b)
    """
    bounded: float | None = None
    "accept: p-value bound of the same gains by betting, which no shape of noise fools"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One line of the ledger."""

    sequence: int
    "1, 2, 3 ... without gaps"
    previous: str
    "hash of the entry before"
    kind: str
    "what happened"
    time: str
    "UTC wall clock, for people"
    monotonic_us: int
    "monotonic clock of the writing process"
    body: dict[str, Any]
    "the fact"
    hash: str
    "sha256 of the canonical bytes of all other fields"
