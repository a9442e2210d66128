"""The instruments on what runs recorded (loop/records.py). `heirloop instruments RUN...`; the
report and an export tell the same figures.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from configs.arms import MORE
from configs.build import plain
from configs.objective import METRICS
from evals.amplify import (
    FEWEST_BUDGETS,
    FEWEST_SEEDS,
    STEPS,
    Reference,
    compute_equivalent,
    decline,
    effects,
    gain_ratio,
    growth,
    rate_ratio,
    rounds_against_one,
)
from evals.arms import ARMS, UNIT, Curve, common, curves, difference, gain
from evals.claims import Study, conditions, warning, words
from evals.closure import (
    BESIDE,
    Effort,
    Event,
    amortised,
    automation,
    autonomy,
    elasticities,
    human_cost,
    limiting,
    provenance,
    run_length,
    self_closure,
    speed_up,
    stage_table,
    stood_in,
)
from evals.intervals import Figure, capped, mean, missing
from evals.loss import (
    assumed,
    calibration,
    duplicates,
    efficiency,
    funnel,
    promised,
    retention,
    yield_now,
)
from loop.instruments.gather import Records, records, records_of
from sandbox.ledger import Ledger

RAISED = {what: arm for arm, what in MORE.items()}
"""Factor of the elasticities -> the arm in which it is raised."""


REFERENCES = ("random", "local", "tpe", "evolve")


WITHOUT = " without oversight and proposing"


PARTS = {"a quarter of the plan": 0.25, "half of the plan": 0.5, "the whole plan": 1.0}
"""Where compute-equivalent gains are told: what a reference needed more compute for can be read off
its curve only before its end.
"""


def measure(folders: Sequence[Path]) -> dict[str, Any]:
    """Return every instrument that the runs can answer: per arm, between arms, words; what they
    cannot says why.
    """
    return measured(records(folders))


def measure_of(named: Sequence[tuple[str, Ledger]]) -> dict[str, Any]:
    """Return the same of ledgers, each with the name that a refusal calls it by."""
    return measured(records_of(named))


def measured(found: Records) -> dict[str, Any]:
    """Return every instrument that records can answer, as plain JSON."""
    all_arms = curves(found.gains)
    arms = {
        arm: curve for arm, curve in all_arms.items() if arm not in MORE
    }  # the others have more to spend
    study, at = _study(found, arms), common(arms)
    between: dict[str, tuple[Figure, str]] = {
        "kappa": (self_closure(arms, at), "scrambled"),
        **{
            f"self minus {other}": (difference(arms, "self", other, at), other)
            for other in ARMS
            if other != "self"
        },
        "rounds against one": (rounds_against_one(arms), "one_shot"),
    }
    told = {
        "study": found.config.study.name,
        "runs": len(found.effort.decisions),
        "equal plan, CPU-seconds": at / 1e6,
        "arms": {
            arm: _arm(found, all_arms, arm, common(all_arms, (arm,)) if arm in MORE else at)
            for arm in found.plans
        },
        "between": {
            **{
                name: _under(found, figure, "self", other)
                for name, (figure, other) in between.items()
            },
            "gain ratio reads": decline(arms),
            **{f"{name} effect": figure for name, figure in _effects(study).items()},
            **_equivalents(found, arms, at),
        },
        "generations per live human act": run_length(found.lived, found.acts),
        "given before": amortised(found.lived, found.effort),
        **_acts(found),
        "speed-up if": _speed(found),
        "beside": {name: automation(events) for name, events in BESIDE.items()},
    }
    if "self" in found.plans:
        told |= {
            "words": words(study),
            "conditions": conditions(study),
            "warning sign": _sign(found),
        }
    share = METRICS[found.config.objective.metric].share
    return dict(plain(told) if share else _units(plain(told), found.config.objective.metric))


def _units(told: Any, metric: str) -> Any:
    """Return figures with their unit's name where the unbounded scale is the metric's own and no
    log-odds.
    """
    if isinstance(told, Mapping):
        return {
            name: value.replace(UNIT, metric) if name == "unit" else _units(value, metric)
            for name, value in told.items()
        }
    return [_units(one, metric) for one in told] if isinstance(told, list) else told


def _under(found: Records, figure: Figure, *arms: str) -> Figure:
    """Return the figure, with `cannot tell` where the last champions of an arm that it rests on
    score within a seed deviation of the ceiling.
    """
    for arm in arms:
        figure = capped(
            figure, found.tops.get(arm, ()), _ceiling(found), found.config.task.seed_deviation
        )
    return figure


def _ceiling(found: Records) -> float | None:
    """Return the best score that a share can show, turned as scores are so that larger is
    better.
    """
    objective = found.config.objective
    return (
        (1.0 if objective.direction == "up" else 0.0) if METRICS[objective.metric].share else None
    )


def _study(found: Records, arms: Mapping[str, Curve]) -> Study:
    """Return the records that the words are said of: those of arm self, its ceiling where the
    metric is a share.
    """
    mine: dict[str, Any] = {
        name: getattr(found, name).get("self", ()) for name in ("events", "plans", "held")
    }
    return Study(
        arms=arms,
        skills=found.skills,
        ceiling=_ceiling(found),
        deviation=found.config.task.seed_deviation,
        scores=found.tops.get("self", ()),
        **mine,
    )


def _effects(study: Study) -> dict[str, Figure]:
    return effects(
        study.skills, ceiling=study.ceiling, deviation=study.deviation, scores=study.scores
    )


def _equivalents(found: Records, arms: Mapping[str, Curve], at: float) -> dict[str, Any]:
    """Return log2 of the compute-equivalent gain at parts of the plan, and the rate ratio, on the
    random arm as reference.

    Its budgets run from where all its first generations have ended to the whole plan: what it
    reached with less is what it reached on the way.
    """
    random, mine = arms.get("random"), arms.get("self")
    lived = int(np.isfinite(random.spent).all(axis=0).sum()) if random else 0
    if (
        random is None
        or mine is None
        or random.repeats != mine.repeats
        or len(mine.repeats) < FEWEST_SEEDS
        or lived < FEWEST_BUDGETS
    ):
        return {
            "compute-equivalent gain": {
                part: missing("not measured", "doublings") for part in PARTS
            },
            "rate ratio": missing("not measured", "ratio"),
        }
    budgets = np.linspace(float(random.spent[:, 0].max()), at, STEPS)
    reference = Reference(
        budgets=budgets,
        scores=np.stack([random.between(budget) for budget in budgets]),
        paired=True,
    )
    ratio, strongest = rate_ratio(arms, REFERENCES, reference)
    return {
        "compute-equivalent gain": {
            part: _under(
                found,
                compute_equivalent(reference, at * of, mine.between(at * of)),
                "self",
                "random",
            )
            for part, of in PARTS.items()
        },
        "rate ratio": _under(found, ratio, "self", "random"),
        "strongest reference": strongest or "cannot tell",
        "rate ratio means": "R >= 2 here does not correspond to a lab's threshold",
    }


def _acts(found: Records) -> dict[str, Figure]:
    acts = sum(sum(one.decisions) for one in found.simulated.values())
    return (
        {"generations per act of simulated reviewers": run_length(found.lived, acts)}
        if acts
        else {}
    )


def _speed(found: Records) -> dict[str, Figure]:
    waiting, computing, total = (np.array([clock[i] for clock in found.clock]) for i in range(3))
    if not (total > 0).all():
        return {
            name: missing("not measured", "times as fast")
            for name in ("people were instant", "compute were instant")
        }
    return speed_up(waiting, computing, total)


def _sign(found: Records) -> dict[str, str]:
    sign = found.config.study.warning
    return warning(sign, found.skills, found.events["self"]) if sign else {"sign": "not registered"}


def _arm(found: Records, arms: Mapping[str, Curve], arm: str, at: float) -> dict[str, Any]:
    plans, vector, stand_in = (
        found.plans[arm],
        automation(found.events[arm]),
        stood_in(found.events[arm]),
    )
    gains = arms[arm].at(at) if arm in arms else np.zeros(0)
    own = found.efforts[arm]
    ends = arms[arm].ends() if arm in arms else gains
    raised = _raised(found, arms, ends) if arm == "self" else {}
    limit = limiting(ends, raised) if len(ends) else "not measured"
    whole = (
        arms[arm].value[:, np.isfinite(arms[arm].spent).all(axis=0)]
        if arm in arms
        else np.zeros((0, 0))
    )  # generations that every repeat reached
    grown = growth(whole) if arm in arms else None
    verified = (
        plans if arm in arms else ()
    )  # while a study runs nobody is told what its accepts gained
    return {
        "gain": gain(arms, arm, at),
        "spent": (
            _spent(arms[arm]) if arm in arms else missing("not measured", "CPU-seconds of the plan")
        ),
        "gain ratio": _under(found, gain_ratio(arms, arm, at), arm),
        "automation": vector,
        "stage": autonomy(vector),
        "stages": stage_table(found.events[arm], limit),
        "limiting factor": limit,
        "provenance": provenance([p.author for p in plans if p.fate == "accepted"]),
        **(
            {"elasticities": elasticities(ends, raised, _rises(found))}
            if len(ends) and arm == "self"
            else {}
        ),
        **(
            {"were reviewers people": _stand_in(stand_in, found.simulated[arm], gains, limit)}
            if stand_in != found.events[arm]
            else {}
        ),
        "human cost": human_cost(own, gains) if len(own.decisions) == len(gains) else {},
        "funnel": funnel(plans),
        "promise": promised(plans) if arm in arms else {},
        "promises that are priors": assumed(plans),
        "calibration": calibration(plans)[1],
        "retention": retention(
            found.held[arm], ceiling=_ceiling(found), deviation=found.config.task.seed_deviation
        ),
        "efficiency": efficiency(verified),
        f"efficiency{WITHOUT}": efficiency(verified, around=False),
        "yield": yield_now(verified),
        f"yield{WITHOUT}": yield_now(verified, around=False),
        "duplicates": duplicates(plans),
        **({"growth": grown} if grown and grown.weights else {}),
    }


def _raised(found: Records, arms: Mapping[str, Curve], ends: ArrayLike) -> dict[str, Any]:
    """Return the gain (R,) at the end of arm self's twins in which one thing is raised, by
    factor.
    """
    twins = {factor: arms[twin] for factor, twin in RAISED.items() if twin in arms}
    raised: dict[str, Any] = {
        factor: twin.ends() for factor, twin in twins.items() if len(twin.repeats) == np.size(ends)
    }
    if raised and not any(
        clock[0] for clock in found.clock
    ):  # what was never waited for changes no gain at equal plan
        raised["reviewer speed"] = ends
    return raised


def _rises(found: Records) -> dict[str, float]:
    """Return by which factor whole numbers let a limit be raised."""
    study = found.config.study
    return {
        "proposals": study.rounds("more_proposals")[1] / study.proposals,
        "replicates": study.replicates("more_replicates") / study.confirm_replicates,
    }


def _spent(curve: Curve) -> Figure:
    """Return what the arm's campaigns spent of their plan on average: less where the rest held no
    whole generation, more where charges outran it.
    """
    return mean(
        np.where(np.isfinite(curve.spent), curve.spent, 0.0).max(axis=1) / 1e6,
        "CPU-seconds of the plan",
        neutral=None,
    )


def _stand_in(
    events: Sequence[Event], effort: Effort, gains: ArrayLike, limit: str
) -> dict[str, Any]:
    """Return what simulated reviewers stood in for: closure and cost as if they had been people."""
    vector = automation(events)
    return {
        "automation": vector,
        "stage": autonomy(vector),
        "stages": stage_table(events, limit),
        "human cost": human_cost(effort, gains) if len(effort.decisions) == np.size(gains) else {},
    }


def flat(found: Mapping[str, Any], at: str = "") -> Iterator[tuple[str, list[Any]]]:
    """Yield every figure of `measure` as (name, value, low, high, n, unit, word), for a table."""
    for name, value in found.items():
        where = f"{at}, {name}" if at else str(name)
        if isinstance(value, Mapping) and "word" in value:
            yield where, [value[k] for k in ("value", "low", "high", "n", "unit", "word")]
        elif isinstance(value, Mapping):
            yield from flat(value, where)
        elif isinstance(value, list):
            yield from (
                (f"{where}, {row['fate']}", [row["plans"], None, None, None, "plans", ""])
                for row in value
                if "fate" in row
            )
            yield from (
                (f"{where}, {row['stage']}", [row["who"], None, None, None, "", ""])
                for row in value
                if "stage" in row
            )
            yield from flat(
                {row["condition"]: row["figure"] for row in value if "condition" in row}, where
            )
        elif isinstance(value, str | int | float):
            yield where, [value, None, None, None, "", ""]
