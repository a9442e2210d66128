"""The meaning of better, in a person's form: a primary metric, thresholds, constraints, error rate,
power.

Refuses objectives that contradict themselves: a direction against the metric's own, log-odds of a
metric that is no share, weights without their metric, bounds that nothing can meet.
`objective_text` is the form at every gate.
"""

from dataclasses import dataclass, field
from typing import Literal

from configs.build import need
from configs.metrics import COSTS, METRICS
from configs.reader import later

Primary = Literal[
    "exact_match",
    "token_accuracy",
    "log_odds",
    "nll",
    "bits",
    "calibration_error",
    "robustness",
    "weighted",
]
Rule = Literal["greedy", "paired_t", "group_sequential", "sign_flip", "betting", "t_mixture"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Constraint:
    """A condition on an accepted successor besides the primary metric."""

    metric: str = "exact_match"
    "a name of METRICS"
    slice: str = ""
    "a slice of the task, for exact_match and bits alone; empty: the whole split"
    at_least: float | None = None
    "smallest allowed mean over replicates"
    at_most: float | None = None
    "largest allowed mean over replicates"
    no_loss: float | None = None
    "largest allowed loss against the champion beside it, mean over pairs, in units of the metric"

    def __post_init__(self) -> None:
        known = [name for name in METRICS if name != "weighted"]
        need(self.metric in known, "metric", self.metric, f"one of {', '.join(known)}")
        need(
            not self.slice or self.metric in ("exact_match", "bits"),
            "slice",
            self.slice,
            f"empty with metric {self.metric}",
        )
        given = [v for v in (self.at_least, self.at_most, self.no_loss) if v is not None]
        need(
            len(given) == 1,
            "at_least/at_most/no_loss",
            (self.at_least, self.at_most, self.no_loss),
            "exactly one of the three",
        )
        need(self.no_loss is None or self.no_loss >= 0, "no_loss", self.no_loss, "from 0")
        need(
            self.metric != "spread" or self.no_loss is None,
            "no_loss",
            self.no_loss,
            "null with metric spread, which is no mean over pairs",
        )
        if METRICS[self.metric].share and self.no_loss is None:
            floor, value = self.at_least is not None, given[0]
            need(
                0 < value <= 1 if floor else 0 <= value < 1,
                "at_least" if floor else "at_most",
                value,
                "a share that can be missed and met",
            )

    def text(self) -> str:
        """Return the condition as a clause."""
        what = self.metric + (f" on slice {self.slice}" if self.slice else "")
        if self.no_loss is not None:
            return f"{what} loses at most {self.no_loss:g} against the champion"
        return (
            f"{what} at least {self.at_least:g}"
            if self.at_least is not None
            else f"{what} at most {self.at_most:g}"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Selection on proposing skill, in arms `self_skill` and `skill_placebo` (docs/judging.md)."""

    every: int = 3
    "a generation selects so if this divides its number"
    asks: int = 1
    "questions to each contender, each to weights trained anew and on a parent of its own"
    loss: float | None = None
    "most that a contender may lose on the task, on the objective's scale; null: the minimum effect"

    def __post_init__(self) -> None:
        need(1 <= self.every <= 1000, "every", self.every, "between 1 and 1000")
        need(1 <= self.asks <= 100, "asks", self.asks, "between 1 and 100")
        need(self.loss is None or 0 < self.loss < 1e6, "loss", self.loss, "null, or above 0")

    def text(self, loss: float) -> str:
        """Return the selection as a sentence; `loss` is the largest loss on the task."""
        return (
            f"Arms that select on proposing skill do so every {self.every} generations, by"
            f" {self.asks} questions a contender, none of which may lose more than {loss:g}."
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Objective:
    """The meaning of better. Set by a human, pinned in the study root."""

    metric: Primary = "exact_match"
    "primary metric"
    direction: Literal["up", "down"] = "up"
    "the better direction; stated for readers, and refused where the metric goes the other way"
    scale: Literal["raw", "log_odds"] = "raw"
    "scale of gains; log_odds is for shares and does not flatten at the ceiling"
    minimum_effect: float = 0.0
    "the gain must exceed this; in units of the metric on its scale"
    deviation: float | None = None
    """standard deviation over seeds, on this scale; null: the task's measured deviation of
    exact_match, raw, or of bits with task text
    """
    alpha: float = 0.05
    "probability of any false accept in a campaign (an arm of a repeat)"
    confirmations: int | None = None
    "confirmations planned for a campaign, which share alpha; null: a confirmation per generation"
    acceptance: Rule = "group_sequential"
    "rule of acceptance (docs/judging.md); betting needs gains between -1 and 1"
    first_look: int = 4
    "pairs before the rule is asked for the first time"
    power: float = 0.8
    "power to plan for (`heirloop power`)"
    floor: float | None = later(None)
    """raw score that a proposal counts with in proposing skill and calibration if its training gave
    none; null: the worst share, or for a metric that is no share such proposals are left out
    """
    feedback: Literal["ladder", "rounded"] = "ladder"
    """information for a proposer: ladder releases only steps beyond noise (evals/ladder.py),
    rounded every score to two digits
    """
    secondary: tuple[Constraint, ...] = ()
    "secondary metrics with their thresholds"
    constraints: tuple[Constraint, ...] = ()
    "costs, robustness, spread, and slices that may not lose"
    weights: dict[str, float] = field(default_factory=dict)
    "metric `weighted`: share of each metric, adding up to 1; else empty"
    skill: Selection | None = later(None)
    """selection on proposing skill, in the arms that have it; null: every champion is chosen on the
    task alone
    """

    def __post_init__(self) -> None:
        kind = METRICS[self.metric]
        need(
            self.direction == kind.better,
            "direction",
            self.direction,
            f"{kind.better!r}, the better way for {self.metric}",
        )
        need(
            self.scale == "raw" or kind.share,
            "scale",
            self.scale,
            f"'raw': {self.metric} is no share of something",
        )
        most = 1.0 if kind.share and self.scale == "raw" else 1e6
        need(
            0 <= self.minimum_effect < most,
            "minimum_effect",
            self.minimum_effect,
            f"from 0 to below {most:g}",
        )
        need(
            self.deviation is None or 0 < self.deviation < most,
            "deviation",
            self.deviation,
            f"null, or above 0 and below {most:g}",
        )
        need(0 < self.alpha <= 0.5, "alpha", self.alpha, "above 0, at most 0.5")
        need(
            self.confirmations is None or 1 <= self.confirmations <= 10_000,
            "confirmations",
            self.confirmations,
            "null, or between 1 and 10000",
        )
        need(
            self.alpha < self.power < 1,
            "power",
            self.power,
            f"above alpha ({self.alpha:g}) and below 1",
        )
        need(1 <= self.first_look <= 1000, "first_look", self.first_look, "between 1 and 1000")
        need(
            self.acceptance != "betting" or self.bounded(),
            "acceptance",
            self.acceptance,
            "another rule: betting is for shares on the raw scale",
        )
        least, largest = (0.0, 1.0) if kind.share else (-1e6, 1e6)
        need(
            self.floor is None or least <= self.floor <= largest,
            "floor",
            self.floor,
            f"null, or between {least:g} and {largest:g}",
        )
        need(
            self.skill is None or self.skill.loss is not None or self.minimum_effect > 0,
            "minimum_effect",
            self.minimum_effect,
            "above 0 with skill, whose contenders may lose less than this; or give skill.loss",
        )
        self._weights()
        self._conditions()

    def scores_text(self) -> str:
        """Return the metric as the name of scores; a metric that should fall says so."""
        return self.metric if self.direction == "up" else f"{self.metric}, lower is better"

    def write_score(self, figure: object) -> str:
        """Return a score or gain with its unit; a share stands without."""
        return f"{figure}" if METRICS[self.metric].share else f"{figure} {self.metric}"

    def bounded(self) -> bool:
        """Tell whether gains lie between -1 and 1, as betting needs."""
        return METRICS[self.metric].share and self.scale == "raw"

    def _weights(self) -> None:
        need(
            bool(self.weights) == (self.metric == "weighted"),
            "weights",
            self.weights,
            "given with metric weighted, and only there",
        )
        for name, share in self.weights.items():
            known = [m for m, one in METRICS.items() if one.share and m != "weighted"]
            need(name in known, "weights", name, f"one of {', '.join(known)}")
            need(0 < share <= 1, f"weights.{name}", share, "above 0, at most 1")
        total = sum(self.weights.values())
        need(
            not self.weights or abs(total - 1) < 1e-9, "weights", total, "weights that add up to 1"
        )

    def _conditions(self) -> None:
        for one in self.secondary:
            need(
                one.metric not in (*COSTS, "spread"),
                "secondary",
                one.metric,
                "a metric of quality; costs and spread stand under constraints",
            )
        bounds: dict[tuple[str, str], list[float | None]] = {}
        for one in (*self.secondary, *self.constraints):
            need(
                (self.metric, one.metric) != ("bits", "robustness"),
                "metric",
                one.metric,
                "bits on a slice: robustness is exact match, and this objective is in bits",
            )
            pair = bounds.setdefault((one.metric, one.slice), [None, None])
            for at, value in enumerate((one.at_least, one.at_most)):
                need(
                    value is None or pair[at] is None,
                    one.metric,
                    value,
                    "bounded once from each side",
                )
                pair[at] = value if value is not None else pair[at]
            low, high = pair
            need(
                low is None or high is None or low <= high,
                f"{one.metric} at_least",
                low,
                f"at most its at_most {high}: nothing meets both",
            )


def objective_text(one: Objective) -> list[str]:
    """Return an objective as the sentences at every gate."""
    scale = " on the log-odds scale" if one.scale == "log_odds" else ""
    mix = (
        " (" + ", ".join(f"{v:g} {k}" for k, v in sorted(one.weights.items())) + ")"
        if one.weights
        else ""
    )
    planned = "one per generation" if one.confirmations is None else str(one.confirmations)
    verb = "go" if one.metric == "bits" else "goes"
    release = (
        "only steps beyond noise"
        if one.feedback == "ladder"
        else "every score, rounded to two digits"
    )
    return [
        (
            f"Better means: {one.metric}{mix} {verb} {one.direction}{scale}, by more than"
            f" {one.minimum_effect:g}."
        ),
        f"It is the {METRICS[one.metric].text}.",
        *(f"Secondary: {c.text()}." for c in one.secondary),
        *(f"Constraint: {c.text()}." for c in one.constraints),
        (
            f"A campaign accepts anything worthless with probability at most {one.alpha:g}, shared"
            f" by its planned confirmations ({planned})."
        ),
        (
            f"Accepted by rule {one.acceptance}, first asked after {one.first_look} pairs. Planned"
            f" for power {one.power:g}; proposers are told {release}."
        ),
        *(
            [f"Where skill is measured, a training without a score counts as {one.floor:g}."]
            if one.floor is not None
            else []
        ),
        *([one.skill.text(one.skill.loss or one.minimum_effect)] if one.skill else []),
    ]
