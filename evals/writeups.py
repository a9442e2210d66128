"""Write-ups of generations: their claims, how new they are, and rules that review them blind.

Example: a write-up says that `schedule: constant to cosine` gains more than 0.01 bits, on eight
pairs with a mean of 0.03. A reviewer says that this replicates with probability 0.97. On fresh
seeds the gain is 0.02, so it does. Pure functions over records; evals/review.py tells what the
reviewers are worth.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.stats import norm

from evals.intervals import Floats

Kind = Literal["gain", "part", "elsewhere", "compute"]
KINDS: dict[Kind, str] = {
    "gain": "the finding",
    "part": "each change has a part",
    "elsewhere": "at another fixed value",
    "compute": "at other compute",
}
"""Kind of claim -> what it says."""
MEASURED: Kind = "gain"
"""The kind that its own evidence measures; the others are predictions from it."""
FLOOR = 1e-6
"""Least distance of a reviewer's probability from 0 and 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stated:
    """A claim as a reviewer sees it: without arm, repeat, proposer, verdict, plan or checks."""

    kind: Kind
    "its kind"
    says: str
    "the claim in words"
    changed: tuple[str, ...]
    "what was changed: `knob: old to new`"
    why: str
    """the reason of a model, an agent or a person, in its own words, which are data; empty for a
    program, whose words would name it
    """
    above: bool
    "whether the gain is claimed to lie above `bound`; else at or below it"
    bound: float
    "the bound of the gain, in the objective's unit"
    estimate: float
    "mean paired gain of the write-up's evidence; a part's: the gain over the number of changes"
    error: float
    "standard error of that mean, by the task's seed deviation"
    pairs: int
    "pairs of that evidence"
    tried: int
    "proposals of the generation, of which this one was the best on feedback"
    screened: float
    "gain of its single screening replicate on feedback; NaN: none"


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """A recorded review of a claim by a model or a person."""

    reviewer: Literal["model", "people", "simulated people"]
    "who it was; external reviewers are people"
    probability: float | None
    "that the claim replicates; None: no answer that counts"


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A claim with its checks, which no reviewer sees."""

    plan: str
    "digest of the plan that the write-up is of"
    arm: str
    "arm of the plan"
    repeat: int
    "repeat of its campaign"
    generation: int
    "its generation"
    accepted: bool
    "whether the generation changed the champion"
    stated: Stated
    "what a reviewer sees"
    fresh: float
    "mean gain of fresh pairs; NaN where the table lacks a recipe"
    fresh_error: float
    "standard error of that mean; NaN likewise"
    law: float
    "gain by the table's means; NaN likewise"
    reviews: tuple[Said, ...] = ()
    "recorded reviews, before any check was told"

    @property
    def checked(self) -> bool:
        """Whether the claim could be checked."""
        return math.isfinite(self.fresh)

    @property
    def replicates(self) -> bool:
        """Whether the mean of fresh pairs lies on the side that the claim says."""
        return bool(self.fresh > self.stated.bound) is self.stated.above

    @property
    def holds(self) -> bool:
        """Whether the claim is true by the table's means."""
        return bool(self.law > self.stated.bound) is self.stated.above


@dataclass(frozen=True, slots=True, kw_only=True)
class Novelty:
    """How far a write-up is from earlier ones of its campaign."""

    plan: str
    "digest of its plan"
    repeat: int
    "repeat of its campaign"
    of_plan: float
    """share of the grid's knobs in which its recipe differs from the nearest earlier judged recipe,
    the baseline included
    """
    of_claim: float
    "1 less the largest overlap (Jaccard) of its changes with those of an earlier write-up"


Reviewer = Callable[[Sequence[Stated]], Floats]
"""Claims (N,) -> probabilities (N,) that they replicate."""


def review_by_screening(claims: Sequence[Stated]) -> Floats:
    """Return what the single screening replicate makes probable; 0.5 without it."""
    told = [one.screened if math.isfinite(one.screened) else one.bound for one in claims]
    errors = [one.error * math.sqrt(one.pairs) for one in claims]
    return _say(claims, np.array(told), np.array(errors))


def review_by_estimate(claims: Sequence[Stated]) -> Floats:
    """Return what the stated mean and its error make probable, taken at their word."""
    return _say(claims, *_read(claims))


def review_with_care(claims: Sequence[Stated]) -> Floats:
    """Return the same for gains drawn towards the mean of all that were handed in (empirical Bayes:
    Efron and Morris 1973), and with a doubt as large as the gain itself for what was not measured.
    """
    estimates, errors = _read(claims)
    own = np.array([one.kind == MEASURED for one in claims])
    pool, noise = (x[own] if own.any() else x for x in (estimates, errors))
    centre = float(pool.mean()) if len(pool) else 0.0
    spread = max(float(pool.var() - (noise**2).mean()) if len(pool) else 0.0, 1e-12)
    share = spread / (spread + errors**2)
    drawn = centre + share * (estimates - centre)
    doubt = np.where(own, 0.0, np.abs(drawn))
    return _say(claims, drawn, np.sqrt(share * errors**2 + doubt**2))


REVIEWERS: dict[str, Reviewer] = {
    "screening": review_by_screening,
    "estimate": review_by_estimate,
    "care": review_with_care,
}
"""Reviewers that are rules."""


def collect_reviews(claims: Sequence[Claim]) -> dict[str, Floats]:
    """Return recorded reviewer -> probabilities (N,): the mean of its answers, NaN where it was not
    asked.

    An answer that does not count is a half: who is silent where it is hard must not look better.
    """
    names = dict.fromkeys(said.reviewer for claim in claims for said in claim.reviews)
    return {name: np.array([_mean_said(claim, name) for claim in claims]) for name in names}


def _mean_said(claim: Claim, name: str) -> float:
    own = [said.probability for said in claim.reviews if said.reviewer == name]
    counted = [0.5 if one is None else min(max(one, FLOOR), 1 - FLOOR) for one in own]
    return float(np.mean(counted)) if counted else math.nan


def _read(claims: Sequence[Stated]) -> tuple[Floats, Floats]:
    return np.array([c.estimate for c in claims]), np.array([c.error for c in claims])


def _say(claims: Sequence[Stated], estimates: Floats, errors: Floats) -> Floats:
    """Return the probability of each claim, for gains with a normal error."""
    bounds = np.array([one.bound for one in claims])
    above = norm.cdf((estimates - bounds) / np.maximum(errors, 1e-12))
    said = np.where([one.above for one in claims], above, 1 - above)
    return np.asarray(np.clip(said, FLOOR, 1 - FLOOR), float)


def find_novelty(
    plans: Sequence[tuple[str, tuple[object, ...], tuple[str, ...]]],
    base: tuple[object, ...],
    repeat: int,
) -> list[Novelty]:
    """Return the novelty of a campaign's write-ups in their order: (plan, values of the grid's
    knobs, changes); `base`: the values of its baseline.
    """
    seen, claimed, found = [base], list[set[str]](), list[Novelty]()
    for plan, values, changes in plans:
        near = min(sum(a != b for a, b in zip(values, old, strict=True)) for old in seen)
        own = set(changes)
        shared = [len(own & old) / len(own | old) for old in claimed if own | old]
        found.append(
            Novelty(
                plan=plan,
                repeat=repeat,
                of_plan=near / len(values) if values else 0.0,
                of_claim=1 - max(shared, default=0.0),
            )
        )
        seen.append(values)
        claimed.append(own)
    return found
