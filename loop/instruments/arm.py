"""The instruments of an arm: gain, automation, cost, funnel, promise, retention, efficiency."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from configs.metrics import METRICS
from evals.ablation import ablate
from evals.amplify import gain_ratio
from evals.arms import Curve, gain, shared_luck
from evals.closure import (
    Event,
    as_people,
    automation,
    autonomy,
    provenance,
    stage_table,
)
from evals.drift import at_end
from evals.evolving import describe_programs
from evals.excess import excess
from evals.factory.figures import describe_line
from evals.faults import describe_bereft, describe_faults
from evals.foretold import calibration
from evals.growth import growth
from evals.intervals import Figure, mean, missing, share
from evals.loss import (
    PlanFact,
    accept_rate,
    duplicates,
    efficiency,
    funnel,
    share_of_priors,
    sum_promises,
    yield_now,
)
from evals.pace import Effort, human_cost
from evals.parallel import spread
from evals.proposing import proposed_gain, share_kept
from evals.retention import retention
from loop.instruments.between import cap, limits_of
from loop.instruments.gather import Records
from loop.instruments.raised import measure_raised

WITHOUT = " without oversight and proposing"
"""Suffix of figures without the compute around a plan."""


def measure_arm(
    records: Records, arms: Mapping[str, Curve], arm: str, cpu_us: float
) -> dict[str, Any]:
    """Return every instrument of an arm, read at `cpu_us` of spent plan."""
    return {
        **_gains(records, arms, arm, cpu_us),
        **_closure(records, arms, arm, cpu_us),
        **_losses(records, arms, arm),
        **_growth(arms, arm),
        **_ablation(records, arm),
        **_proposing(records, arm),
        **_drift(records, arm),
        **_faults(records, arm),
        **_line(records, arm),
    }


def _gains(
    records: Records, arms: Mapping[str, Curve], arm: str, cpu_us: float
) -> dict[str, Figure]:
    curve = arms.get(arm)
    unspent = missing("not measured", "CPU-seconds of the plan")
    return {
        "gain": gain(arms, arm, cpu_us),
        "spent": _spent(curve) if curve else unspent,
        "gain ratio": cap(records, gain_ratio(arms, arm, cpu_us), arm),
    }


def _closure(
    records: Records, arms: Mapping[str, Curve], arm: str, cpu_us: float
) -> dict[str, Any]:
    events, effort = records.events[arm], records.efforts[arm]
    gains = arms[arm].at(cpu_us) if arm in arms else np.zeros(0)
    ends = arms[arm].ends() if arm in arms else gains
    is_self = arm == "self" and len(ends) > 0
    more, limit = measure_raised(records, arms, ends) if is_self else ({}, "not measured")
    vector = automation(events)
    authors = [p.author for p in records.plans[arm] if p.fate == "accepted"]
    figures: dict[str, Any] = {
        "automation": vector,
        "stage": autonomy(vector),
        "stages": stage_table(events, limit),
        "limiting factor": limit,
        "provenance": provenance(authors, [p.author for p in records.plans[arm]]),
    }
    figures |= more
    replaced = as_people(events)
    if replaced != events:
        simulated = records.simulated[arm]
        figures["were reviewers people"] = _measure_as_people(replaced, simulated, gains, limit)
    figures["human cost"] = _human_cost(effort, gains)
    return figures


def _losses(records: Records, arms: Mapping[str, Curve], arm: str) -> dict[str, Any]:
    plans = records.plans[arm]
    # While a study runs, gains of accepted plans stay closed.
    verified = plans if arm in arms else ()
    held, limits = records.held[arm], limits_of(records)
    return {
        "funnel": funnel(plans),
        "accepted of the confirmed": accept_rate(verified),
        "promise": sum_promises(plans) if arm in arms else {},
        "promises that are priors": share_of_priors(plans),
        **calibration(plans),
        "retention": retention(held, limits),
        "excess loss": excess(held, records.references, limits=limits),
        "efficiency": efficiency(verified),
        f"efficiency{WITHOUT}": efficiency(verified, around=False),
        "yield": yield_now(verified),
        f"yield{WITHOUT}": yield_now(verified, around=False),
        "duplicates": duplicates(plans),
        "luck shared in pairs": shared_luck(records.luck.get(arm, ())),
        "distance between proposals": spread(plans),
        **_unlisted(records, plans),
        **_database(plans),
    }


def _database(plans: Sequence[PlanFact]) -> dict[str, Any]:
    """Return what the database of programs did, in an arm that evolves them."""
    figures = describe_programs(plans)
    return {"database": figures} if figures else {}


def _unlisted(records: Records, plans: Sequence[PlanFact]) -> dict[str, Figure]:
    """Return the share of trained proposals of which the table has no training, on a table."""
    if not records.config.task.table:
        return {}
    trained = [plan for plan in plans if plan.fate not in ("invalid", "refused")]
    count = sum(plan.unlisted for plan in trained)
    return {"unlisted": share(count, len(trained), "share of plans")}


def _growth(arms: Mapping[str, Curve], arm: str) -> dict[str, Any]:
    """Return the growth models of an arm, over the generations reached by every repeat."""
    if arm not in arms:
        return {}
    reached = np.isfinite(arms[arm].spent).all(axis=0)
    models = growth(arms[arm].value[:, reached])
    return {"growth": models} if models.weights else {}


def _drift(records: Records, arm: str) -> dict[str, Any]:
    """Return how far the arm's last champions moved in constraints and slices."""
    return {"drift": at_end(records.drifts[arm])} if records.drifts.get(arm) else {}


def _faults(records: Records, arm: str) -> dict[str, Any]:
    """Return the faults of production that befell the arm and what they took, and what it did from
    the withdrawal of a support on.
    """
    befallen, bereft = records.faults.get(arm), records.bereft.get(arm)
    figures: dict[str, Any] = {"faults": describe_faults(befallen)} if befallen else {}
    return {**figures, "withdrawn": describe_bereft(bereft)} if bereft else figures


def _line(records: Records, arm: str) -> dict[str, Any]:
    """Return what the arm's factory line let through, and what it gained."""
    shifts = records.shifts.get(arm)
    return {"factory": describe_line(shifts)} if shifts else {}


def _proposing(records: Records, arm: str) -> dict[str, Figure]:
    """Return how the arm's champions propose, in a study with a notebook."""
    if not records.proposing.get(arm):
        return {}
    campaigns = records.proposing[arm]
    return {
        "notebook share kept": share_kept(campaigns),
        "proposed gain": proposed_gain(campaigns),
    }


def _ablation(records: Records, arm: str) -> dict[str, Any]:
    """Return what each change of the arm's champions carries, if the study took changes back."""
    if not records.champions.get(arm):
        return {}
    objective = records.config.objective
    same_scale = objective.scale == "log_odds" or not METRICS[objective.metric].share
    return {"ablation": ablate(records.champions[arm], same_scale=same_scale)}


def _spent(curve: Curve) -> Figure:
    """Return the mean plan spent by the arm's campaigns.

    It is less than the plan if the rest held no whole generation, and more if charges outran it.
    """
    spent_us = np.where(np.isfinite(curve.spent), curve.spent, 0.0).max(axis=1)
    return mean(spent_us / 1e6, "CPU-seconds of the plan", neutral=None)


def _measure_as_people(
    events: Sequence[Event], effort: Effort, gains: ArrayLike, limit: str
) -> dict[str, Any]:
    """Return closure and cost as if simulated reviewers had been people."""
    vector = automation(events)
    return {
        "automation": vector,
        "stage": autonomy(vector),
        "stages": stage_table(events, limit),
        "human cost": _human_cost(effort, gains),
    }


def _human_cost(effort: Effort, gains: ArrayLike) -> dict[str, Figure]:
    """Return the human cost per gain; nothing unless every repeat has a gain."""
    return human_cost(effort, gains) if len(effort.decisions) == np.size(gains) else {}
