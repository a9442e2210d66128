"""The instruments on planted worlds: coverage of every interval, and how often each word is said
where it is not true.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy.stats import binom

from configs.build import need
from evals.amplify import effects, gain_ratio, rounds_against_one
from evals.arms import difference, gain
from evals.claims import Evidence, words
from evals.closure import automation, provenance, self_closure
from evals.intervals import LEVEL, Figure
from evals.loss import (
    calibration,
    duplicates,
    efficiency,
    promised,
    yield_now,
)
from evals.planted import World
from evals.retention import retention

WRONG = 0.05
"""Most studies of any world that may be called by a word that is not true of it."""


def instruments(study: Evidence, beside: Mapping[str, Figure | bool]) -> dict[str, Figure]:
    """Return every instrument that a world may know the truth of, measured on world study."""
    shown, bins = effects(study.skills), promised(study.plans)
    kept, change, vector = retention(study.held), efficiency(study.plans), automation(study.events)
    return {
        "gain of self": gain(study.arms, "self"),
        "self minus refit": difference(study.arms, "self", "refit"),
        "self minus random": difference(study.arms, "self", "random"),
        "rounds against one": rounds_against_one(study.arms),
        **{f"{name} effect": shown[name] for name in ("self", "data", "placebo")},
        "kappa": self_closure(study.arms),
        "gain ratio": gain_ratio(study.arms, "self"),
        **{
            name: kept[name]
            for name in (
                "feedback to gate",
                "gate to closing",
                "closing to sealed",
                "loss",
                "loss in transfer",
            )
        },
        "automation of accept": vector["accept"],
        "provenance": provenance([p.author for p in study.plans if p.fate == "accepted"]),
        **{
            name: bins[name]
            for name in ("over-claim", "proxy gap", "winner's curse", "verified gain")
        },
        **{name: change[name] for name in ("smaller", "harder", "costlier", "noisier")},
        "yield": yield_now(study.plans),
        "yield without oversight and proposing": yield_now(study.plans, around=False),
        "calibration": calibration(study.plans)[1],
        **{f"duplicates of {width}": figure for width, figure in duplicates(study.plans).items()},
        **{name: figure for name, figure in beside.items() if isinstance(figure, Figure)},
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One instrument on world world."""

    world: str
    "name of the world"
    instrument: str
    "name of the instrument"
    truth: float | None
    "true value; None where the world has none"
    mean: float | None
    "mean of the values over the studies that gave one"
    coverage: float | None
    """share of intervals that hold the truth, of the studies that gave a bounded or world-sided
    interval
    """
    n: int
    "studies that gave one"

    def holds(self) -> bool:
        """Tell whether so few misses can be chance at 95 % (binomial, world in 1,000 per row); true
        where no coverage is asked.
        """
        return (
            self.coverage is None or self.coverage * self.n >= binom.ppf(0.001, self.n, LEVEL) - 0.5
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Called:
    """One word on world world."""

    world: str
    "name of the world"
    word: str
    "amplifying, lossy, self-closed, or what else the world's draw says or not"
    true: bool
    "whether it is true there"
    called: int
    "studies in which it was said"
    n: int
    "studies"

    def holds(self) -> bool:
        """Tell whether the word was said wrongly in at most 5 % of the studies; true where it is
        right.
        """
        return self.true or self.called <= WRONG * self.n


def prove_world(world: World, studies: int, seed: int = 1) -> tuple[list[Row], list[Called]]:
    """Return coverage of every instrument and how often each word was said, over `studies` drawn
    from a world.
    """
    need(1 <= studies <= 100_000, "studies", studies, "between 1 and 100000")
    rng, figures, counts = (
        np.random.default_rng([seed, *world.name.encode()]),
        dict[str, list[Figure]](),
        dict[str, int](),
    )
    for _ in range(studies):
        study, beside = world.draw(rng)
        for name, figure in instruments(study, beside).items():
            figures.setdefault(name, []).append(figure)
        for word, said in (
            words(study) | {name: said for name, said in beside.items() if isinstance(said, bool)}
        ).items():
            counts[word] = counts.get(word, 0) + said
    rows = [_row(world, name, found) for name, found in figures.items()]
    return rows, [
        Called(world=world.name, word=w, true=w in world.words, called=many, n=studies)
        for w, many in counts.items()
    ]


def _row(world: World, name: str, figures: list[Figure]) -> Row:
    truth, values = world.truth.get(name), [f.value for f in figures if f.value is not None]
    ends = [f for f in figures if f.low is not None or f.high is not None]
    held = [
        (f.low is None or truth is None or f.low <= truth)
        and (f.high is None or truth is None or truth <= f.high)
        for f in ends
    ]
    return Row(
        world=world.name,
        instrument=name,
        truth=truth,
        mean=float(np.mean(values)) if values else None,
        coverage=float(np.mean(held)) if held and truth is not None else None,
        n=len(ends),
    )
