"""Scores of a net on a held-out split, and the verdict of the judge on a candidate."""

from dataclasses import dataclass, field
from typing import Final, Literal

from configs.reader import later

Split = Literal["feedback", "confirm", "gate", "sealed"]
"""A held-out split. `gate` is the name of `confirm` in ledgers of format 1."""
CONFIRM: Final = "confirm"
"""The confirm split; only the verdict leaves it."""
SPLITS: tuple[Split, ...] = ("feedback", CONFIRM, "sealed")
"""Held-out splits, in a candidate's order."""


def name_split(split: Split) -> Split:
    """Return the name of a split in this format."""
    return CONFIRM if split == "gate" else split


VerdictAnswer = Literal["accept", "reject", "inconclusive", "continue"]
"continue: another pair is wanted; never recorded"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """Figures from predictions, computed on the trusted side. Always with the name of their
    split.
    """

    split: Split
    "the held-out items in the job"
    items: int
    "number of items"
    exact_match: float
    "share of items with a wholly right answer"
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
    bits: float | None = later(None)
    "mean -log2 of the probability of the right token; measured with task text"
    slice_bits: dict[str, float] | None = later(None)
    "the same per slice"


@dataclass(frozen=True, slots=True, kw_only=True)
class Nearest:
    """The training with the weights nearest to the scored weights, under another seed."""

    compared: int
    "trainings under another seed with weights"
    plan: str
    "digest of the plan of the nearest; empty: no twin of this size"
    distance: float | None
    "distance to it, rounded to four digits; null: no twin of this size"


@dataclass(frozen=True, slots=True, kw_only=True)
class Criterion:
    """A line of a verdict."""

    name: str
    "the question"
    passed: bool
    "true only if proven"
    value: float | None
    "measured value; null without a finite value"
    bound: float
    "the bound"
    text: str
    "a clause for people"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The judge's answer, criterion by criterion."""

    answer: VerdictAnswer
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
    """accept: measured rate of false accepts by this rule, for a candidate of equal mean that fails
    a run in ten (null b)
    """
    bounded: float | None = None
    "accept: p-value bound of the same gains by betting, proof against any shape of noise"
