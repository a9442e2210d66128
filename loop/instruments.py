"""The instruments on what runs recorded (loop/records.py). `heirloop instruments RUN...`; the report and an export tell the same figures."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from configs.build import plain
from configs.objective import METRICS
from configs.study import MORE
from evals.amplify import (
    FEWEST_BUDGETS,
    FEWEST_SEEDS,
    compute_equivalent,
    decline,
    effects,
    gain_ratio,
    growth,
    in_bits,
    rate_ratio,
    rounds_against_one,
)
from evals.arms import ARMS, Curve, common, curves, difference, gain
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
from evals.intervals import Figure, missing
from evals.loss import calibration, duplicates, efficiency, funnel, promised, retention, yield_now
from loop.records import Records, records, records_of
from sandbox.ledger import Ledger

RAISED = {what: arm for arm, what in MORE.items()}
"""Factor of the elasticities -> the arm in which it is raised."""
REFERENCES = ("random", "local", "tpe", "evolve")


def measure(folders: Sequence[Path]) -> dict[str, Any]:
    """Return every instrument that the runs can answer: per arm, between arms, words; what they cannot says why."""
    return measured(records(folders))


def measure_of(named: Sequence[tuple[str, Ledger]]) -> dict[str, Any]:
    """Return the same of ledgers, each with the name that a refusal calls it by."""
    return measured(records_of(named))


def measured(found: Records) -> dict[str, Any]:
    """Return every instrument that records can answer, as plain JSON."""
    all_arms = curves(found.gains)
    arms = {arm: curve for arm, curve in all_arms.items() if arm not in MORE}  # the others have more to spend
    study = _study(found, arms)
    at, lived = common(arms), sum(int(np.isfinite(c.spent).sum()) for c in all_arms.values())
    told = {
        "study": found.config.study.name, "runs": len(found.effort.decisions), "equal plan, CPU-seconds": at / 1e6,
        "arms": {arm: _arm(found, all_arms, arm, common(all_arms, (arm,)) if arm in MORE else at) for arm in found.plans},
        "between": {"kappa": self_closure(arms, at),
                    **{f"self minus {other}": difference(arms, "self", other, at) for other in ARMS if other != "self"},
                    "rounds against one": rounds_against_one(arms), "gain ratio reads": decline(arms),
                    **{f"{name} effect": figure for name, figure in _effects(study).items()}, **_equivalents(arms, at)},
        "generations per live human act": run_length(lived, sum(found.effort.decisions)),
        "given before": amortised(lived, found.effort),
        **_acts(found, lived),
        "speed-up if": _speed(found),
        "beside": {name: automation(events) for name, events in BESIDE.items()},
    }  # fmt: skip
    if "self" in found.plans:
        told |= {"words": words(study), "conditions": conditions(study, found.config.study.generations), "warning sign": _sign(found)}
    return dict(plain(told))


def _study(found: Records, arms: Mapping[str, Curve]) -> Study:
    """Return the records that the words are said of: those of arm self, its ceiling where the metric is a share."""
    share = METRICS[found.config.objective.metric].share
    mine: dict[str, Any] = {name: getattr(found, name).get("self", ()) for name in ("events", "plans", "held")}
    return Study(arms=arms, skills=found.skills, ceiling=1.0 if share else None, deviation=found.config.task.seed_deviation,
                 scores=found.tops, **mine)  # fmt: skip


def _effects(study: Study) -> dict[str, Figure]:
    return effects(study.skills, ceiling=study.ceiling, deviation=study.deviation, scores=study.scores)


def _equivalents(arms: Mapping[str, Curve], at: float) -> dict[str, Any]:
    """Return log2 of the compute-equivalent gain and the rate ratio, on the random arm as reference, at budgets spread over what all have spent."""
    random, none = arms.get("random"), missing("not measured", "doublings")
    if random is None or "self" not in arms or len(random.repeats) < FEWEST_SEEDS or random.value.shape[1] < FEWEST_BUDGETS:
        return {"compute-equivalent gain": none, "rate ratio": missing("not measured", "ratio")}
    budgets = np.geomspace(at / 2**FEWEST_BUDGETS, at, 2 * FEWEST_BUDGETS)
    scores = np.stack([random.at(budget) for budget in budgets])
    bits = {name: in_bits(curve, budgets, scores.mean(axis=1)) for name, curve in arms.items()}
    found, strongest = rate_ratio(bits, REFERENCES)
    return {"compute-equivalent gain": compute_equivalent(budgets, scores, at, arms["self"].at(at)), "rate ratio": found,
            "strongest reference": strongest, "rate ratio means": "R >= 2 here does not correspond to a lab's threshold"}  # fmt: skip


def _acts(found: Records, lived: int) -> dict[str, Figure]:
    acts = sum(sum(one.decisions) for one in found.simulated.values())
    return {"generations per act of simulated reviewers": run_length(lived, acts)} if acts else {}


def _speed(found: Records) -> dict[str, Figure]:
    waiting, computing, total = (np.array([clock[i] for clock in found.clock]) for i in range(3))
    if not (total > 0).all():
        return {name: missing("not measured", "times as fast") for name in ("people were instant", "compute were instant")}
    return speed_up(waiting, computing, total)


def _sign(found: Records) -> dict[str, str]:
    sign = found.config.study.warning
    return warning(sign, found.skills, found.events["self"]) if sign else {"sign": "not registered"}


def _arm(found: Records, arms: Mapping[str, Curve], arm: str, at: float) -> dict[str, Any]:
    plans, generations, vector = found.plans[arm], found.config.study.generations, automation(found.events[arm])
    gains = arms[arm].at(at) if arm in arms else np.zeros(0)
    own = found.efforts[arm]
    twins = {factor: arms[twin] for factor, twin in RAISED.items() if arm == "self" and twin in arms}
    ends = arms[arm].ends() if arm in arms else gains
    raised = {factor: twin.ends() for factor, twin in twins.items() if len(twin.repeats) == len(ends)}
    if raised and not any(clock[0] for clock in found.clock):  # what was never waited for changes no gain at equal plan
        raised["reviewer speed"] = ends
    limit = limiting(ends, raised) if len(ends) else "not measured"
    whole = arms[arm].value[:, np.isfinite(arms[arm].spent).all(axis=0)] if arm in arms else np.zeros((0, 0))  # generations that every repeat reached
    stand_in = stood_in(found.events[arm])
    grown = growth(whole.mean(axis=0)) if arm in arms else None
    return {
        "gain": gain(arms, arm, at), "gain ratio": gain_ratio(arms, arm, at), "automation": vector, "stage": autonomy(vector),
        "stages": stage_table(found.events[arm], limit), "provenance": provenance([p.author for p in plans if p.fate == "accepted"]),
        **({"elasticities": elasticities(ends, raised)} if len(ends) and arm == "self" else {}),
        **({"were reviewers people": _stand_in(stand_in, found.simulated[arm], gains, limit)} if stand_in != found.events[arm] else {}),
        "human cost": human_cost(own, gains) if len(own.decisions) == len(gains) else {},
        "funnel": funnel(plans), "promise": promised(plans) if arm in arms else {},
        "calibration": calibration(plans)[1],
        "retention": retention(found.held[arm]), "efficiency": efficiency(plans, generations), "yield": yield_now(plans),
        "yield without oversight and proposing": yield_now(plans, around=False),
        "duplicates": duplicates(plans), **({"growth": grown} if grown and grown.weights else {}),
    }  # fmt: skip


def _stand_in(events: Sequence[Event], effort: Effort, gains: ArrayLike, limit: str) -> dict[str, Any]:
    """Return what simulated reviewers stood in for: closure and cost as if they had been people."""
    vector = automation(events)
    return {"automation": vector, "stage": autonomy(vector), "stages": stage_table(events, limit),
            "human cost": human_cost(effort, gains) if len(effort.decisions) == np.size(gains) else {}}  # fmt: skip


def flat(found: Mapping[str, Any], at: str = "") -> Iterator[tuple[str, list[Any]]]:
    """Yield every figure of `measure` as (name, value, low, high, n, unit, word), for a table."""
    for name, value in found.items():
        where = f"{at}, {name}" if at else str(name)
        if isinstance(value, Mapping) and "word" in value:
            yield where, [value[k] for k in ("value", "low", "high", "n", "unit", "word")]
        elif isinstance(value, Mapping):
            yield from flat(value, where)
        elif isinstance(value, list):
            yield from ((f"{where}, {row['fate']}", [row["plans"], None, None, None, "plans", ""]) for row in value if "fate" in row)
            yield from flat({row["condition"]: row["figure"] for row in value if "condition" in row}, where)
        elif isinstance(value, str | int | float):
            yield where, [value, None, None, None, "", ""]
