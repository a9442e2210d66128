"""The laws of the planted worlds, and the true value of every instrument and word.

Truths come from the laws' arithmetic alone. Nothing is drawn here.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Literal

import numpy as np
from scipy.integrate import quad
from scipy.stats import norm

from evals.closure import Actor
from evals.equivalents import STEPS
from evals.intervals import Floats

GENERATIONS, REPEATS, PARALLEL = 8, 12, 4
ROUND_US = 60_000_000
"""Planned compute of one generation, in every arm."""
REFERENCE_BITS, SEEDS, PER_BIT = np.arange(16.0, 48.0, 4.0), 10, 0.25
"""Budgets of the measured reference curve in log2 CPU-microseconds; its seeds; the worth of a
doubling of compute there, in log-odds.
"""
USED_BITS = 24.0
"""Compute spent by the self arm at its end, for the compute-equivalent gain."""
MINUTES, QUEUE, COMPUTED, ELSE = 2.0, 300.0, 900.0, 300.0
"""Per decision of a person: mean minutes and seconds of waiting. Per campaign: wall seconds of
computing, and of neither.
"""
LONG = 40
"""Generations of the curve from which growth is read."""
PLAN_SPREAD, PLAN_NOISE, PLAN_BAR, CLAIM, AROUND = 0.2, 0.1, 0.15, 0.3, 0.05
"""Plans: spread of true gains, noise of each measurement, the bar on confirm, the promise beyond
the mean, and the share of compute around a plan.
"""
WIDTHS, REPEATED = (4, 8), (0.05, 0.15)
"""Parallel proposals of a generation, in turn, and the share that repeats an earlier plan."""
SHOWN, CHOSEN = 0.4, 0.2
"""Excess of accepted plans on feedback and on confirm, since both chose them."""
REFERENCES, MEASURED = 12, 4
"""Reference changes fixed before the study, and measurements of each."""
TWINS = ("scrambled_own", "no_own", "scrambled_start")
"""Arms that differ from self in what they read; drawn apart, so that no other draw changes."""
RATED = ("random", "local", "tpe")
"""Arms of the rate ratio."""
LEVEL_AT_USED = PER_BIT * (USED_BITS - REFERENCE_BITS[0])


@cache
def best_of(draws: int) -> float:
    """Return the mean of the largest of `draws` standard normals."""
    return float(quad(lambda x: x * draws * norm.pdf(x) * norm.cdf(x) ** (draws - 1), -8, 10)[0])


@dataclass(frozen=True, slots=True, kw_only=True)
class Law:
    """The law of a built-in world.

    Each arm's mean gain per generation is step x skill x decay^g, plus noise, in log-odds.
    """

    name: str
    "name of the world"
    step: float = 0.25
    "mean gain of a generation at skill 1"
    noise: float = 0.12
    "deviation of one generation's gain, own to each arm"
    shared: float = 0.1
    "deviation shared by all arms of a repeat: common random numbers"
    skill: Mapping[str, float] = field(
        default_factory=lambda: {
            "self": 1.0,
            "frozen": 1.0,
            "refit": 1.0,
            "scrambled": 0.4,
            "random": 0.4,
            "local": 0.6,
            "tpe": 0.8,
            "one_shot": 0.7,
            "scrambled_own": 0.8,
            "no_own": 0.75,
            "scrambled_start": 0.5,
        }
    )
    "arm -> skill in the first generation"
    mechanism: float = 0.0
    "skill added to self by each newer recipe of its own"
    data: float = 0.0
    "skill added to self and refit by each generation of history"
    decay: float = 1.0
    "factor on every arm's step per generation: headroom used up"
    foretells: float = 1.0
    "slope of a plan's gain on the foretold one, among the plans of a generation"
    kept: float = 1.0
    "share of a gain on confirm that holds on sealed"
    loses: Mapping[str, float] = field(default_factory=lambda: {"away": 0.3, "large": 0.5})
    "rung -> share of its gain that any change loses there"
    beyond: Mapping[str, float] = field(default_factory=dict)
    "rung -> share that the loop's gain loses on top"
    hack: float = 0.0
    "gain that plans show on feedback alone"
    tails: Literal["normal", "heavy", "jumps"] = "normal"
    """noise: normal, Student t with 3 degrees of freedom, or rare jumps (1 in 10 generations, six
    deviations)
    """
    drift: float = 0.0
    "growth of the noise's deviation per generation"
    mirrored: bool = False
    "whether refit and scrambled get the self arm's own noise with its sign turned"
    search: bool = False
    "whether every arm is random search on one fixed landscape: the best of all draws so far"
    human: float = 0.0
    "chance that a person, not a rule, decides at propose, approve, accept, promote"
    proposer: Actor = "lineage"
    "author of the self arm's proposals"
    elastic: Mapping[str, float] = field(
        default_factory=lambda: {
            "compute": 0.6,
            "proposals": 0.2,
            "replicates": 0.1,
            "reviewer speed": 0.0,
        }
    )
    "factor -> per cent of gain per per cent of it"
    gap: float = 10.0
    "distance of the last champions' scores from the ceiling, in seed deviations"
    words: frozenset[str] = frozenset()
    "true words"

    def skills(self, arm: str) -> Floats:
        """Return an arm's skill in each generation (G,)."""
        g = np.arange(GENERATIONS)
        return (
            self.skill[arm]
            + self.mechanism * g * (arm == "self")
            + self.data * g * (arm in ("self", "refit"))
        )

    def means(self, arm: str) -> Floats:
        """Return an arm's mean cumulative gain after each generation (G,)."""
        if self.search:
            return np.array([self.step * best_of(PARALLEL * (g + 1)) for g in range(GENERATIONS)])
        return np.asarray(
            np.cumsum(self.step * self.skills(arm) * self.decay ** np.arange(GENERATIONS))
        )

    def plan_means(self) -> Floats:
        """Return the mean true gain of a plan in each generation (G,)."""
        skill = np.zeros(GENERATIONS) if self.search else self.skills("self")
        return np.asarray(self.step * skill * self.decay ** np.arange(GENERATIONS))

    def long(self) -> Floats:
        """Return what LONG generations add to the self arm on average (LONG,)."""
        g = np.arange(LONG)
        if self.search:
            return np.diff([self.step * best_of(PARALLEL * (k + 1)) for k in g], prepend=0.0)
        return np.asarray(
            self.step * (self.skill["self"] + (self.mechanism + self.data) * g) * self.decay**g
        )

    def grows(self) -> str:
        """Return the model of growth; empty where it is none of evals/amplify.py. The unbent ones
        are never named (SURE).
        """
        if self.search or self.mechanism or self.data:
            return ""
        return "none" if not self.step else "saturating" if self.decay < 1 else "linear"

    def limit(self) -> str:
        """Return the factor of the largest elasticity; empty where nothing helps."""
        return max(self.elastic, key=self.elastic.__getitem__) if self.step else ""

    def stage(self) -> str:
        """Return the stage of development."""
        return "assisted" if self.human > 0.5 else "autonomous" if not self.human else "bounded"


def truth(law: Law) -> dict[str, float]:
    """Return the instruments' true values, by the law's own arithmetic."""
    mean = {arm: law.means(arm) for arm in law.skill}
    total, last = {arm: float(m[-1]) for arm, m in mean.items()}, GENERATIONS - 1
    over = {arm: float(m.mean()) for arm, m in mean.items()}
    half, waited = float(mean["self"][GENERATIONS // 2 - 1]), GENERATIONS * 4 * law.human * QUEUE
    truths = {
        "gain of self": total["self"],
        "self minus refit": total["self"] - total["refit"],
        "self minus random": total["self"] - total["random"],
        "own effect": over["self"] - over["scrambled_own"],
        "own effect, left out": over["self"] - over["no_own"],
        "start effect": over["self"] - over["scrambled_start"],
        "interaction": (over["self"] - over["scrambled_own"])
        - (over["scrambled_start"] - over["scrambled"]),
        **(
            {"rounds against one": total["self"] - total["one_shot"]} if "one_shot" in total else {}
        ),
        "self effect": law.step * law.mechanism * last,
        "data effect": law.step * law.data * last,
        "placebo effect": (
            law.step * (law.mechanism + law.data) * last
            + law.step * (law.skill["self"] - law.skill["scrambled"]) * (not law.search)
        ),
        "people were instant": 1 + waited / (COMPUTED + ELSE),
        "compute were instant": 1 + COMPUTED / (waited + ELSE),
        **{f"duplicates of {width}": by for width, by in zip(WIDTHS, REPEATED, strict=True)},
        "automation of accept": 1 - law.human,
        "provenance": float(law.proposer == "lineage"),
        **_plan_truth(law),
    }
    if total["self"] > 0:
        feedback, gate = (total["self"] + by for by in (SHOWN + 3 * law.hack, CHOSEN))
        truths |= {
            f"{name} per gain": GENERATIONS * 4 * law.human * by / total["self"]
            for name, by in (("decisions", 1.0), ("minutes", MINUTES), ("queue seconds", QUEUE))
        }
        truths |= {
            "kappa": 1 - total["scrambled"] / total["self"],
            "kappa own": 1 - over["scrambled_own"] / over["self"],
            "gain ratio": (total["self"] - half) / half,
            "feedback to gate": gate / feedback,
            "gate to closing": total["self"] / gate,
            "closing to sealed": law.kept,
            "loss by selection": 1 - total["self"] / feedback,
            "excess loss on sealed": (1 - law.kept) * total["self"],
            **{
                f"excess loss on {rung}": law.beyond.get(rung, 0.0) * total["self"]
                for rung in law.loses
            },
            **{f"elasticity of {name}": by for name, by in law.elastic.items()},
        }
    if law.human:
        truths["generations per live human act"] = 1 / (4 * law.human)
    if not law.search and total["self"] > 0:
        slopes = {arm: _slope(mean[arm]) for arm in law.skill}
        truths["compute-equivalent gain"] = total["self"] / PER_BIT
        truths["rate ratio"] = slopes["self"] / max(slopes[arm] for arm in RATED)
    return truths


def _slope(means: Floats) -> float:
    """Return the least-squares slope of an arm's mean gains at evenly spread budgets."""
    ended = np.linspace(1, GENERATIONS, STEPS)
    gains = np.interp(ended, np.arange(1, GENERATIONS + 1), means)
    return float(np.polyfit(ended, gains, 1)[0])


def _plan_truth(law: Law) -> dict[str, float]:
    """Return the parts of the promise per campaign, and log changes of efficiency, by the law of
    plans.
    """
    means, spread = law.plan_means(), float(np.hypot(PLAN_SPREAD, PLAN_NOISE))
    far = (PLAN_BAR - means) / spread
    # Chance: P(accept). Push: E[above the mean; accept] = spread x density.
    chance, push = norm.sf(far), norm.pdf(far)
    curse, verified = push * PLAN_NOISE**2 / spread, means * chance + push * PLAN_SPREAD**2 / spread
    parts = {
        "over-claim": (CLAIM - law.hack) * chance,
        "proxy gap": law.hack * chance - curse,
        "winner's curse": curse,
        "verified gain": verified,
    }
    halves = [slice(0, GENERATIONS // 2), slice(GENERATIONS // 2, GENERATIONS)]
    early, late = ((float(verified[h].sum()), float(chance[h].sum())) for h in halves)
    per = GENERATIONS / 2
    logs = {
        "smaller": -np.log(late[0] / late[1] * early[1] / early[0]) / per,
        "harder": -np.log(late[1] / early[1]) / per,
    }
    paid = GENERATIONS * ROUND_US * (1 + AROUND) / 1e6
    return {
        **{name: float(v.sum()) for name, v in parts.items()},
        **{name: float(v) for name, v in logs.items()},
        "costlier": 0.0,
        "noisier": 0.0,
        "calibration": law.foretells,
        "calibration bias": law.hack - CLAIM,
        "yield": float(verified.sum()) / paid,
        "yield without oversight and proposing": float(verified.sum()) / paid * (1 + AROUND),
    }


def true_words(law: Law) -> frozenset[str]:
    """Return a law's true words, and the further words that follow from it."""
    follows = {
        "staged": True,
        "sign crossed": law.mechanism > 0 and not law.human,
        "ahead of its references": law.mechanism > 0,
        "limited by its limit": law.step > 0,
        "grows by its law": law.grows() == "saturating",
    }
    return law.words | {word for word, true in follows.items() if true}
