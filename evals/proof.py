"""The instruments on planted worlds: coverage of intervals, and rates of wrong words."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import binom

from configs.build import need
from evals.amplify import effects, gain_ratio, rounds_against_one
from evals.arms import difference, gain
from evals.claims import Evidence, words
from evals.closure import automation, provenance, reading, self_closure
from evals.excess import excess
from evals.intervals import LEVEL, Figure, missing, share
from evals.loss import (
    PARTS,
    duplicates,
    efficiency,
    sum_promises,
    yield_now,
)
from evals.planted import World
from evals.retention import retention

HELD = ("feedback to gate", "gate to closing", "closing to sealed", "loss by selection")
WRONG = 0.05
"""Largest share of a world's studies that may be called by a word that is false there."""


def measure_study(study: Evidence, further: Mapping[str, Figure | bool]) -> dict[str, Figure]:
    """Return every instrument with a known truth in some world, measured on a study."""
    skill, promise = effects(study.skills), sum_promises(study.plans)
    held, change = retention(study.held), efficiency(study.plans)
    beyond = excess(study.held, study.references)
    authors = [p.author for p in study.plans if p.fate == "accepted"]
    return {
        "gain of self": gain(study.arms, "self"),
        "self minus refit": difference(study.arms, "self", "refit"),
        "self minus random": difference(study.arms, "self", "random"),
        "rounds against one": rounds_against_one(study.arms),
        **{f"{name} effect": skill[name] for name in ("self", "data", "placebo")},
        "kappa": self_closure(study.arms),
        **reading(study.arms),
        "gain ratio": gain_ratio(study.arms, "self"),
        **{name: held[name] for name in HELD},
        **{f"excess loss on {rung}": figure for rung, figure in beyond.items()},
        "automation of accept": automation(study.events)["accept"],
        "provenance": provenance(authors, [p.author for p in study.plans]),
        **{name: promise[name] for name in PARTS},
        **{name: change[name] for name in ("smaller", "harder", "costlier", "noisier")},
        "yield": yield_now(study.plans),
        "yield without oversight and proposing": yield_now(study.plans, around=False),
        **{f"duplicates of {width}": figure for width, figure in duplicates(study.plans).items()},
        **{name: figure for name, figure in further.items() if isinstance(figure, Figure)},
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """An instrument on a world."""

    world: str
    "name of the world"
    instrument: str
    "name of the instrument"
    truth: float | None
    "true value; None: the world has none"
    mean: float | None
    "mean over the studies with a value"
    coverage: float | None
    """share of intervals around the truth, over the studies with a bounded or one-sided interval"""
    n: int
    "studies with such an interval"

    def describe(self) -> dict[str, str | float | None]:
        """Return the row for people: with the bias, and the exact interval of the coverage."""
        known = None not in (self.mean, self.truth)
        covered = None if self.coverage is None else round(self.coverage * self.n)
        exact = missing("not measured") if covered is None else share(covered, self.n)
        return {
            "world": self.world,
            "instrument": self.instrument,
            "truth": self.truth,
            "mean": self.mean,
            "bias": (self.mean or 0.0) - (self.truth or 0.0) if known else None,
            "coverage": self.coverage,
            "low": exact.low,
            "high": exact.high,
            "n": self.n,
        }

    def holds(self) -> bool:
        """Tell whether chance explains the misses at 95 % (binomial, one in 1,000 per row).

        True without a truth to cover.
        """
        return (
            self.coverage is None or self.coverage * self.n >= binom.ppf(0.001, self.n, LEVEL) - 0.5
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Called:
    """A word on a world."""

    world: str
    "name of the world"
    word: str
    "amplifying, lossy, self-closed, or a further word of the world's draw"
    true: bool
    "whether it is true there"
    called: int
    "studies with the word"
    n: int
    "studies"

    def holds(self) -> bool:
        """Tell whether the word is right, or was wrong in at most 5 % of the studies."""
        return self.true or self.called <= WRONG * self.n


def prove_world(world: World, studies: int, seed: int = 1) -> tuple[list[Row], list[Called]]:
    """Return coverage of every instrument, and the count of each word, over drawn studies."""
    need(1 <= studies <= 100_000, "studies", studies, "between 1 and 100000")
    rng = np.random.default_rng([seed, *world.name.encode()])
    figures, counts = dict[str, list[Figure]](), dict[str, int]()
    for _ in range(studies):
        study, further = world.draw(rng)
        for name, figure in measure_study(study, further).items():
            figures.setdefault(name, []).append(figure)
        called = words(study)
        called |= {name: flag for name, flag in further.items() if isinstance(flag, bool)}
        for word, flag in called.items():
            counts[word] = counts.get(word, 0) + flag
    rows = [
        cover(world.name, name, [(figure, world.truth.get(name)) for figure in drawn])
        for name, drawn in figures.items()
    ]
    return rows, [
        Called(world=world.name, word=word, true=word in world.words, called=count, n=studies)
        for word, count in counts.items()
    ]


def cover(world: str, name: str, drawn: Sequence[tuple[Figure, float | None]]) -> Row:
    """Return the row of an instrument from its figures, each with the truth that it should hold.

    Truths may differ where the studies come from several worlds; the row has their mean.
    """
    known = [(figure, truth) for figure, truth in drawn if truth is not None]
    used = known or drawn
    values = [figure.value for figure, _ in used if figure.value is not None]
    truths = [truth for figure, truth in known if figure.value is not None]
    bounded = [pair for pair in used if pair[0].low is not None or pair[0].high is not None]
    covered = [_covers(*pair) for pair in bounded]
    return Row(
        world=world,
        instrument=name,
        truth=float(np.mean(truths)) if truths else drawn[0][1],
        mean=float(np.mean(values)) if values else None,
        coverage=float(np.mean(covered)) if covered and known else None,
        n=len(bounded),
    )


def _covers(figure: Figure, truth: float | None) -> bool:
    if truth is None:
        return True
    above = figure.low is None or figure.low <= truth
    return above and (figure.high is None or truth <= figure.high)
