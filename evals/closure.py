"""How closed the loop is: automation stage by stage, run length, causal self-closure, what people
cost, and what limits the pace.

No single number: automation is a vector without a mean, because a cron job has `1 - human share` =
1 at every stage and improves nothing. Definitions, units and sources: docs/instruments.md. Pure
functions over records; a stage without events is `not exercised`, never 0 or 1.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from configs.build import need
from evals.arms import UNIT, Curve, common, paired
from evals.intervals import Figure, bootstrap, mean, missing, pairs, per_event, proven, ratio, share

Stage = Literal[
    "propose",
    "approve",
    "train",
    "evaluate",
    "accept",
    "promote",
    "deploy",
    "set objective",
    "set budget",
    "amend",
]
STAGES: tuple[Stage, ...] = (
    "propose",
    "approve",
    "train",
    "evaluate",
    "accept",
    "promote",
    "deploy",
)
WITHHELD: tuple[Stage, ...] = ("set objective", "set budget", "amend")
"""What the design keeps for people; shown by name, never counted as automated."""
Actor = Literal[
    "person",
    "standing rule",
    "unattended rule",
    "fixed program",
    "lineage",
    "outside model",
    "simulated reviewer",
]
ACTORS: tuple[Actor, ...] = (
    "person",
    "standing rule",
    "unattended rule",
    "fixed program",
    "lineage",
    "outside model",
    "simulated reviewer",
)
"""standing rule: a mandate that a person signed; unattended rule: one that nobody did; lineage:
weights that the loop itself trained
"""
FACTORS: tuple[str, ...] = ("compute", "proposals", "replicates", "reviewer speed")
RAISE = 1.25
"""Factor by which each twin run raises one limit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Decisions of one actor at one stage, and the compute that they released."""

    stage: Stage
    "what was decided"
    actor: Actor
    "who decided"
    cpu_us: int
    "planned CPU-microseconds that the decisions released"
    repeat: int = 0
    "repeat of the campaign"
    decisions: int = 1
    "how many"
    charged_us: int = 0
    """CPU-microseconds that the plan's jobs were charged; told once a plan, by the decision that
    let them start
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """What people did for a study, repeat by repeat."""

    decisions: tuple[int, ...]
    "live decisions of people on plans (R,)"
    minutes: tuple[float, ...]
    "minutes that they looked (R,)"
    queue_seconds: tuple[float, ...]
    "seconds that requests waited for them (R,)"
    setup_minutes: float = 0.0
    """minutes from the first signature or the study root, whichever came first, to the first job;
    at most so long did people set up
    """
    mandates: int = 0
    "standing rules signed; each stands for the decisions that it replaced"


def automation(events: Iterable[Event]) -> dict[str, Figure]:
    """Return A_s = 1 - C_s(person) / C_s for every stage, the withheld ones included; C is the
    compute that decisions released.

    Interval over repeats by bootstrap; where all repeats agree (nobody or everybody), the exact
    binomial one over decisions; `cannot tell` of a single repeat in which both people and others
    decided.
    """
    listed = list(events)
    return {
        stage: _automated([e for e in listed if e.stage == stage]) for stage in (*STAGES, *WITHHELD)
    }


def stood_in(events: Iterable[Event]) -> tuple[Event, ...]:
    """Return the decisions as if simulated reviewers, who stand in for people, had been people."""
    return tuple(
        replace(e, actor="person") if e.actor == "simulated reviewer" else e for e in events
    )


def _automated(events: Sequence[Event]) -> Figure:
    repeats = sorted({e.repeat for e in events})
    whole = np.array([sum(e.cpu_us for e in events if e.repeat == r) for r in repeats], float)
    human = np.array(
        [sum(e.cpu_us for e in events if e.repeat == r and e.actor == "person") for r in repeats],
        float,
    )
    if not whole.sum():
        return missing("not exercised", "share of compute")
    if human.sum() in (0.0, whole.sum()):
        total, by_people = (
            sum(e.decisions for e in events),
            sum(e.decisions for e in events if e.actor == "person"),
        )
        return share(total - by_people, total, "share of compute")
    if len(repeats) < 2:
        return Figure(
            value=float(1 - human.sum() / whole.sum()),
            n=1,
            unit="share of compute",
            word="cannot tell",
        )
    return bootstrap(
        lambda w: 1 - w @ human / np.maximum(w @ whole, 1),
        len(repeats),
        "share of compute",
        neutral=None,
    )


def actors(events: Iterable[Event]) -> dict[str, dict[str, float]]:
    """Return stage -> actor -> share of the compute released there; stages without compute are left
    out.
    """
    listed = list(events)
    total = {s: sum(e.cpu_us for e in listed if e.stage == s) for s in (*STAGES, *WITHHELD)}
    return {
        s: {
            a: sum(e.cpu_us for e in listed if (e.stage, e.actor) == (s, a)) / total[s]
            for a in ACTORS
        }
        for s in total
        if total[s]
    }


def _scripted(*stages: tuple[Stage, Actor]) -> tuple[Event, ...]:
    return tuple(
        Event(stage=stage, actor=actor, cpu_us=1, decisions=100) for stage, actor in stages
    )


BESIDE: dict[str, tuple[Event, ...]] = {
    "an Optuna study": _scripted(
        ("propose", "fixed program"),
        ("train", "fixed program"),
        ("evaluate", "fixed program"),
        ("accept", "fixed program"),
        ("deploy", "person"),
        ("set objective", "person"),
        ("set budget", "person"),
    ),
    "a nightly cron job": _scripted(
        *((s, "fixed program") for s in STAGES if s not in ("propose", "approve")),
        ("set objective", "person"),
    ),
}
"""Rows printed beside every automation vector: what the same formula says of things that nobody
calls self-improving.
"""


def run_length(generations: int, live_acts: int) -> Figure:
    """Return generations per live human act, exact Poisson interval; no act in n generations: at
    least n / 3.
    """
    return per_event(generations, live_acts, "generations per live human act")


def amortised(generations: int, effort: Effort) -> dict[str, Figure]:
    """Return set-up minutes and mandates per generation: what run length hides, since both were
    given before it began to count.
    """
    per = {"set-up minutes": effort.setup_minutes, "mandates": float(effort.mandates)}
    return {
        name: (
            Figure(value=value / generations, n=generations, unit=f"{name} per generation")
            if generations
            else missing("not exercised", f"{name} per generation")
        )
        for name, value in per.items()
    }


def self_closure(arms: Mapping[str, Curve], cpu_us: float | None = None) -> Figure:
    """Return kappa = (G_self - G_scrambled) / G_self at equal spent plan: the share of the gain
    that hangs on the loop's own outcomes.

    May be negative. `undefined` unless the lower bound of G_self is above 0; `not measured` without
    a scrambled twin. Interval: Fieller.
    """
    if "self" not in arms or "scrambled" not in arms:
        return missing("not measured", "share of the gain")
    at = common(arms, ("self", "scrambled")) if cpu_us is None else cpu_us
    mine, theirs = paired(arms, "self", "scrambled", at)
    if not proven(mine):
        return missing("undefined", "share of the gain", len(mine))
    return ratio(mine - theirs, mine, "share of the gain", neutral=0.0)


def provenance(authors: Sequence[Actor]) -> Figure:
    """Return the share of accepted changes that lineage weights proposed; says who wrote them, not
    why they helped.
    """
    return share(sum(a == "lineage" for a in authors), len(authors), "share of accepted changes")


def human_cost(effort: Effort, gains: ArrayLike) -> dict[str, Figure]:
    """Return what people gave per unit of verified gain (R,): decisions, minutes, seconds that
    requests waited; `undefined` without gain.
    """
    told = {
        "decisions": effort.decisions,
        "minutes": effort.minutes,
        "queue seconds": effort.queue_seconds,
    }
    if not proven(gains):
        return {name: missing("undefined", f"{name} per {UNIT}") for name in told}
    return {
        name: ratio(values, gains, f"{name} per {UNIT}", neutral=None)
        for name, values in told.items()
    }


def speed_up(waiting: ArrayLike, computing: ArrayLike, total: ArrayLike) -> dict[str, Figure]:
    """Return by which factor a campaign would end sooner if people were instant, and if compute
    were (Amdahl 1967); wall seconds (R,) each.
    """
    for part in (waiting, computing):
        need(
            bool((np.asarray(part) <= np.asarray(total)).all()),
            "seconds",
            part,
            "no more than the campaign took",
        )
    sides = {"people were instant": waiting, "compute were instant": computing}
    whole = np.asarray(total, float)
    return {
        name: ratio(whole, whole - np.asarray(part, float), "times as fast", neutral=1.0)
        for name, part in sides.items()
    }


def elasticities(
    base: ArrayLike, raised: Mapping[str, ArrayLike], by: Mapping[str, float] = {}
) -> dict[str, Figure]:
    """Return for each factor (G(raised) - G) / ((raise - 1) G) from paired repeats (R,): per cent
    of gain per per cent of the factor.

    `by` is the factor by which a limit was really raised where whole numbers allowed no RAISE. A
    factor without a twin run is `not measured`; without gain it is `undefined`.
    """
    if not proven(base):
        return {name: missing("undefined", "% per %") for name in FACTORS}
    found = {}
    for name in FACTORS:
        if name not in raised:
            found[name] = missing("not measured", "% per %")
            continue
        low, high = pairs(base, raised[name])
        found[name] = ratio((high - low) / (by.get(name, RAISE) - 1), low, "% per %", neutral=0.0)
    return found


def limiting(base: ArrayLike, raised: Mapping[str, ArrayLike]) -> str:
    """Return the factor with the largest elasticity if its raise gains more than every other
    measured one's, each interval clear of zero.

    Else `cannot tell`; `not measured` while fewer than all factors have a twin run with a gain in
    some repeat.
    """
    if set(raised) != set(FACTORS) or not all(
        np.isfinite(np.asarray(values, float)).any() for values in raised.values()
    ):
        return "not measured"
    first, *others = sorted(
        FACTORS, key=lambda name: -float(np.nanmean(np.asarray(raised[name], float)))
    )
    best = np.asarray(raised[first], float)
    clear = mean(best - np.asarray(base, float), UNIT).over() and all(
        mean(best - np.asarray(raised[o], float), UNIT).over() for o in others
    )
    return first if clear else "cannot tell"


def stage_table(events: Iterable[Event], limit: str) -> list[dict[str, str]]:
    """Return one row per stage: the actors with their shares, who controlled it, and in the last
    row the limiting factor.
    """
    rows = [
        {
            "stage": stage,
            "who": ", ".join(f"{a} {v:.0%}" for a, v in by.items() if v),
            "controlled by": (
                "people"
                if stage in WITHHELD
                else (
                    "people"
                    if by["person"] >= 0.5
                    else "a person's standing rule"
                    if by["standing rule"] >= 0.5
                    else "no person"
                )
            ),
        }
        for stage, by in actors(events).items()
    ]
    return [*rows, {"stage": "limiting factor", "who": limit, "controlled by": ""}]


def autonomy(vector: Mapping[str, Figure]) -> str:
    """Return which stage of development a vector shows: assisted, bounded or autonomous; `not
    exercised` where nothing was trained.

    assisted: people release most of what is approved, trained or accepted; autonomous: people
    release less than half of every stage to deployment, which must have been exercised; bounded:
    what lies between.
    """
    values = {stage: vector[stage].value for stage in STAGES}
    if values["train"] is None or values["accept"] is None:
        return "not exercised"
    if (
        min(v for v in (values["approve"], values["train"], values["accept"]) if v is not None)
        < 0.5
    ):
        return "assisted"
    return (
        "autonomous"
        if all(
            (values[s] or 0.0) > 0.5
            for s in ("propose", "train", "evaluate", "accept", "promote", "deploy")
        )
        else "bounded"
    )
