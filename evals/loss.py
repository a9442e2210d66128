"""What is lost between a proposal and a verified gain: funnel, promise, efficiency.

Example: a plan promised 0.5, showed 0.4 on feedback, 0.3 on confirm and 0.2 on fresh seeds. Its
parts are over-claim 0.1, proxy gap 0.1, winner's curse 0.1 and verified gain 0.2, and they add up.
Promises are in the objective's unit; gains per compute are on the unbounded scale. Definitions:
docs/instruments.md. Pure functions.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Literal

import numpy as np

from configs.records import Origin
from evals import arms
from evals.closure import Actor
from evals.intervals import (
    Figure,
    Floats,
    Word,
    bootstrap,
    mean,
    missing,
    ratio,
    share,
)

Fate = Literal[
    "invalid",
    "refused",
    "crashed",
    "over budget",
    "superseded",
    "no effect",
    "inconclusive",
    "accepted",
]
FATE_WORDS: dict[str, str] = {"refused": "denied", "crashed": "failed"}
"""Fates that people read by another word, the word of every other table. Exports keep the names."""
UNIT = "the objective's unit"
FATES: tuple[Fate, ...] = (
    "invalid",
    "refused",
    "crashed",
    "over budget",
    "superseded",
    "no effect",
    "inconclusive",
    "accepted",
)
"""In the order in which a plan can end. superseded: another plan of its generation was confirmed,
or in a selection on proposing skill another contender was chosen; no effect: rejected on confirm.
"""
PARTS = ("over-claim", "proxy gap", "winner's curse", "verified gain")


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanFact:
    """The fate of one proposal."""

    plan: str
    "digest; for an invalid proposal any name"
    repeat: int
    "repeat of the campaign"
    generation: int
    "generation, from 1"
    fate: Fate
    "how it ended"
    cpu_us: int = 0
    "compute of its jobs, CPU-microseconds"
    around_cpu_us: int = 0
    "compute of proposing it; its share if a reading of the notebook wrote several proposals"
    promised: float | None = None
    "the proposer's predicted gain, in the objective's unit; None: no prediction"
    feedback: float | None = None
    "gain on feedback, for which it was chosen"
    screened: float | None = None
    "the same for every screened plan; a failed training counts with the objective's floor"
    gate: float | None = None
    "mean paired gain on confirm"
    corrected: float | None = None
    "gain without the winner's curse: on fresh seeds, or conditional on the accept"
    gained: float | None = None
    "the same on the unbounded scale of arms"
    author: Actor = "fixed program"
    "author of the proposal"
    replicates: int = 0
    "paired replicates of its decision"
    parallel: int = 1
    "proposals of its generation"
    duplicate: bool = False
    "whether its recipe and source equal an earlier plan's of the campaign"
    apart: float | None = None
    "mean share of the grid's knobs in which it differs from the others of its generation"
    parent: str = ""
    "digest of the plan that it changes: its basis, else the champion; empty: not known"
    of_champion: bool = False
    "whether that plan was the champion"
    origin: Origin | None = None
    "where its program stands in a database of programs; None: its arm evolves none"
    unlisted: bool = False
    "whether a table has no training of its recipe at its arm's level of compute"


def funnel(plans: Sequence[PlanFact]) -> list[dict[str, float | str]]:
    """Return one row per fate: plans, their share, their compute in CPU-seconds."""
    rows = list[dict[str, float | str]]()
    for fate in FATES:
        ended = [p for p in plans if p.fate == fate]
        rows.append(
            {
                "fate": fate,
                "plans": len(ended),
                "share": len(ended) / max(1, len(plans)),
                "cpu_seconds": sum(p.cpu_us for p in ended) / 1e6,
            }
        )
    return rows


def priors(plans: Iterable[PlanFact]) -> dict[str, float]:
    """Return the prior of each plan without a prediction: the mean gain on confirm of the earlier
    generations of its repeat.

    It is 0 without any. A plan that was not measured on confirm counts as a gain of 0 there, as in
    the promise's first bin. Other repeats do not count: all would vary together.
    """
    campaigns, prior = dict[int, list[PlanFact]](), dict[str, float]()
    for plan in plans:
        campaigns.setdefault(plan.repeat, []).append(plan)
    for own in campaigns.values():
        past = list[float]()
        for generation in sorted({p.generation for p in own}):
            now = [p for p in own if p.generation == generation]
            mean_gain = float(np.mean(past)) if past else 0.0
            prior |= {p.plan: mean_gain for p in now if p.promised is None}
            past += [p.gate if p.gate is not None else 0.0 for p in now]
    return prior


def promise(plans: Sequence[PlanFact]) -> list[dict[str, float | str]]:
    """Return each plan's promise in bins that add up to it.

    A plan that was not accepted puts it all into the bin of its fate. The bins of an accept are
    over-claim = promised - feedback, proxy gap = feedback - gate, winner's curse = gate -
    corrected, and verified gain = corrected, each signed. A plan without a prediction stands with
    its prior, `prior` 1. An accept without a number keeps the rest in the bin before the gap.
    """
    assumed, rows = priors(plans), list[dict[str, float | str]]()
    for p in plans:
        amount = assumed[p.plan] if p.promised is None else p.promised
        row: dict[str, float | str] = {
            "plan": p.plan,
            "repeat": p.repeat,
            "promised": amount,
            "prior": int(p.promised is None),
        }
        bins: dict[str, float] = _parts(p, amount) if p.fate == "accepted" else {p.fate: amount}
        rows.append({**row, **dict.fromkeys((*FATES[:-1], *PARTS), 0.0), **bins})
    return rows


def _parts(plan: PlanFact, promised: float) -> dict[str, float]:
    values = [promised]
    for value in (plan.feedback, plan.gate, plan.corrected):
        if value is None:
            break
        values.append(value)
    parts = {name: a - b for name, (a, b) in zip(PARTS, pairwise(values), strict=False)}
    return parts | {PARTS[len(values) - 1]: values[-1]}


def sum_promises(plans: Sequence[PlanFact]) -> dict[str, Figure]:
    """Return per bin the mean over repeats of its sum, in the objective's unit.

    The bins' values add up to the value of `promised`. A fate that no plan had is 0 without an
    interval, for a study without a crash does not show that none can happen.
    """
    rows, repeats = promise(plans), sorted({p.repeat for p in plans})
    at, names = {r: i for i, r in enumerate(repeats)}, ("promised", *FATES[:-1], *PARTS)
    sums = {name: np.zeros(len(repeats)) for name in names}
    for row in rows:
        for name in names:
            sums[name][at[int(row["repeat"])]] += float(row[name])
    unit, ended = f"{UNIT} per campaign", {p.fate for p in plans}
    return {
        name: Figure(value=0.0, n=len(repeats), unit=unit, word="not exercised")
        if name in FATES and name not in ended and repeats
        else mean(values, unit)
        for name, values in sums.items()
    }


def share_of_priors(plans: Sequence[PlanFact]) -> Figure:
    """Return the share of plans without a prediction; their promise is a prior."""
    return share(sum(p.promised is None for p in plans), len(plans), "share of plans")


def accept_rate(plans: Sequence[PlanFact]) -> Figure:
    """Return the share of confirmed plans that the judge accepted (exact interval).

    A plan that people refused after its verdict counts as accepted.
    """
    judged = [p for p in plans if p.replicates]
    kept = sum(p.fate in ("accepted", "refused") for p in judged)
    return share(kept, len(judged), "share of confirmed plans")


def duplicates(plans: Sequence[PlanFact]) -> dict[int, Figure]:
    """Return number of parallel proposals -> share of plans equal to an earlier plan (exact
    interval).
    """
    widths = sorted({p.parallel for p in plans})
    return {
        w: share(
            sum(p.duplicate for p in plans if p.parallel == w), sum(p.parallel == w for p in plans)
        )
        for w in widths
    }


def efficiency(plans: Sequence[PlanFact], *, around: bool = True) -> dict[str, Figure]:
    """Return E = g y / c as its log change per generation between halves: E, smaller, harder,
    costlier.

    g is the mean verified gain per accept, y accepts per plan, c CPU-seconds per plan, with the
    compute of proposing (`around`) or without. A campaign is halved at its own last generation, so
    the halves lie half of its generations apart. E changes by -(smaller + harder + costlier).
    noisier is the log change of replicates per decision, a part of costlier. Bootstrap over
    repeats. `not exercised` if a half has no accepted gain.
    """
    last = dict[int, int]()
    for p in plans:
        last[p.repeat] = max(p.generation, last.get(p.repeat, 0))
    repeats = sorted(last)
    lived = np.array([last[r] for r in repeats], float)
    table = _halves(plans, repeats, lived, around)
    unit = "log change per generation"
    if (table.sum(axis=2)[:, :4] <= 0).any():
        word: Word = "not exercised" if repeats else "not measured"
        return {name: missing(word, unit, len(repeats)) for name in _LOGS}

    def change(name: str, weights: Floats) -> Floats:
        early, late = (half @ weights.T for half in table)
        apart = weights @ lived / weights.sum(axis=1) / 2
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray((_LOGS[name](late) - _LOGS[name](early)) / apart)

    return {name: bootstrap(partial(change, name), len(repeats), unit) for name in _LOGS}


_LOGS: dict[str, Callable[[Floats], Floats]] = {
    "smaller": lambda s: -np.log(s[0] / s[1]),
    "harder": lambda s: -np.log(s[1] / s[2]),
    "costlier": lambda s: np.log(s[3] / s[2]),
    "noisier": lambda s: np.log(s[4] / s[5]),
    "E": lambda s: np.log(s[0] / s[3]),
}
"""Part of efficiency -> its log from the six sums of a half (`_halves`)."""


def _halves(
    plans: Sequence[PlanFact], repeats: Sequence[int], lived: Floats, around: bool
) -> Floats:
    """Return (half, 6, repeat): gain, accepts, plans, CPU-seconds, replicates, decisions."""
    table, at = np.zeros((2, 6, len(repeats))), {r: i for i, r in enumerate(repeats)}
    for p in plans:
        r = at[p.repeat]
        accepted = p.fate == "accepted" and p.gained is not None
        table[int(2 * p.generation > lived[r]), :, r] += (
            p.gained or 0.0 if accepted else 0.0,
            accepted,
            1,
            (p.cpu_us + around * p.around_cpu_us) / 1e6,
            p.replicates,
            p.replicates > 0,
        )
    return table


def yield_now(plans: Sequence[PlanFact], *, around: bool = True) -> Figure:
    """Return E itself: verified gain per CPU-second of all plans, with proposing (`around`) or
    without.
    """
    repeats = sorted({p.repeat for p in plans})
    gained, spent_us = dict.fromkeys(repeats, 0.0), dict.fromkeys(repeats, 0)
    for p in plans:
        gained[p.repeat] += (p.gained or 0.0) if p.fate == "accepted" else 0.0
        spent_us[p.repeat] += p.cpu_us + around * p.around_cpu_us
    spent = [us / 1e6 for us in spent_us.values()]
    return ratio([*gained.values()], spent, f"{arms.UNIT} per CPU-second", neutral=0.0)
