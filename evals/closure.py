"""How closed the loop is: who decides, stage by stage, and how much of the gain needs the loop.

Example: people approved a quarter of the compute that was released at `approve`, so automation is
0.75 there. Automation is a vector without a mean: a cron job scores 1 at every stage and improves
nothing. A stage without events is `not exercised`, never 0 or 1. Definitions, units and sources:
docs/instruments.md. Pure functions over records.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from evals.arms import UNIT, Curve, average_apart, common, pair_gains
from evals.intervals import Figure, bootstrap, constant, is_positive, mean, missing, ratio, share

AVERAGED = f"{UNIT}, mean over generations"

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
"""Stages kept for people by design; shown by name, never counted as automated."""
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
"""standing rule: a mandate signed by a person; unattended rule: a mandate signed by nobody;
lineage: weights trained by the loop itself
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Decisions of one actor at one stage, and the compute released by them."""

    stage: Stage
    "stage of the decisions"
    actor: Actor
    "who decided"
    cpu_us: int
    "planned CPU-microseconds released by the decisions"
    repeat: int = 0
    "repeat of the campaign"
    decisions: int = 1
    "number of decisions"
    charged_us: int = 0
    """CPU-microseconds charged to the plan's jobs; once a plan, at the decision that let them start
    """


BUILT_IN = frozenset[Actor]({"fixed program", "lineage", "outside model"})
"""Actors that the settings put at a stage; nothing is sampled where one of them decides alone."""


def automation(events: Iterable[Event]) -> dict[str, Figure]:
    """Return A_s = 1 - C_s(person) / C_s for every stage; C is the compute released by decisions.

    Withheld stages are included. The interval is a bootstrap over repeats. If all repeats agree
    (nobody or everybody), it is the exact binomial interval over decisions. A stage that one of
    BUILT_IN decides alone is a constant. A single repeat with decisions of people and of others is
    `cannot tell`.
    """
    listed = list(events)
    return {
        stage: _automated([e for e in listed if e.stage == stage]) for stage in (*STAGES, *WITHHELD)
    }


def as_people(events: Iterable[Event]) -> tuple[Event, ...]:
    """Return the decisions as if simulated reviewers had been people."""
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
    actors = {e.actor for e in events}
    if len(actors) == 1 and actors <= BUILT_IN:
        return constant(1.0, sum(e.decisions for e in events), "share of compute")
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
    """Return stage -> actor -> share of the compute released there; empty stages are left out."""
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


COMPARISONS: dict[str, tuple[Event, ...]] = {
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
"""Rows printed beside every automation vector: the same formula on things that nobody calls
self-improving.
"""


def self_closure(arms: Mapping[str, Curve], cpu_us: float | None = None) -> Figure:
    """Return kappa = (G_self - G_scrambled) / G_self: the share of the gain due to real outcomes.

    The start's outcomes count in it; `reading` tells the loop's own apart. Both arms are read at
    equal spent plan. It may be negative, and its interval is Fieller's. `undefined` unless the
    lower bound of G_self is above 0; `not measured` without a scrambled twin.
    """
    if "self" not in arms or "scrambled" not in arms:
        return missing("not measured", "share of the gain")
    at = common(arms, ("self", "scrambled")) if cpu_us is None else cpu_us
    own, scrambled = pair_gains(arms, "self", "scrambled", at)
    if not is_positive(own):
        return missing("undefined", "share of the gain", len(own))
    return ratio(own - scrambled, own, "share of the gain", neutral=0.0)


def reading(arms: Mapping[str, Curve]) -> dict[str, Figure]:
    """Return what the proposer's reading of outcomes adds: differences to its twins.

    Gains are averaged over generations, since every arm has caught up at the end of a long plan.
    Gate and champion use true outcomes in every twin. own effect: self less the twin whose own
    outcomes are deranged; own effect, left out: less the twin with rows of the start in their
    place; start effect: less the twin whose outcomes of the start are permuted; interaction: the
    own effect, less the same where the start is permuted too; kappa own: the own effect as a share
    of the gain of self (Fieller), `undefined` unless that gain is proven.
    """
    return {
        "own effect": _apart(arms, "self", "scrambled_own"),
        "own effect, left out": _apart(arms, "self", "no_own"),
        "start effect": _apart(arms, "self", "scrambled_start"),
        "interaction": _interaction(arms),
        "kappa own": _own_share(arms),
    }


def _apart(arms: Mapping[str, Curve], one: str, other: str) -> Figure:
    if one not in arms or other not in arms:
        return missing("not measured", AVERAGED)
    first, second = average_apart(arms, one, other)
    return mean(first - second, AVERAGED)


def _interaction(arms: Mapping[str, Curve]) -> Figure:
    names = ("self", "scrambled_own", "scrambled_start", "scrambled")
    if any(name not in arms for name in names):
        return missing("not measured", AVERAGED)
    whole, own, start, both = average_apart(arms, *names)
    return mean((whole - own) - (start - both), AVERAGED)


def _own_share(arms: Mapping[str, Curve]) -> Figure:
    if "self" not in arms or "scrambled_own" not in arms:
        return missing("not measured", "share of the gain")
    own, scrambled = average_apart(arms, "self", "scrambled_own")
    if not is_positive(own):
        return missing("undefined", "share of the gain", len(own))
    return ratio(own - scrambled, own, "share of the gain", neutral=0.0)


def provenance(authors: Sequence[Actor], proposed: Sequence[Actor] = ()) -> Figure:
    """Return the share of accepted changes proposed by lineage weights: their author, not their
    cause.

    `proposed` holds the authors of all proposals: where they are one, the share is a constant.
    """
    unit, count = "share of accepted changes", sum(a == "lineage" for a in authors)
    if authors and len(set(proposed)) == 1:
        return constant(count / len(authors), len(authors), unit)
    return share(count, len(authors), unit)


def stage_table(events: Iterable[Event], limit: str) -> list[dict[str, str]]:
    """Return a row per stage: its actors with shares, and who controlled it.

    The last row is the limiting factor.
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
    """Return the stage of development of a vector: assisted, bounded or autonomous.

    assisted: people release most of the approved, trained or accepted compute. autonomous: people
    release less than half at every stage to deployment, and deployment was exercised. bounded:
    between the two. `not exercised` if nothing was trained.
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
