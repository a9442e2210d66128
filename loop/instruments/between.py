"""The instruments between arms: differences, self-closure, compute-equivalent gains, ceilings."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from configs.arms import (
    ACCORD_FIGURES,
    EVOLVE,
    FREE,
    KEEPING,
    PARALLEL,
    SELECTING,
    SPARED,
    STANDING,
    WITHDRAWN,
)
from configs.metrics import METRICS
from configs.tokens import FIRST_VALUE, layout
from evals.accord import compare_paused
from evals.amplify import both, decline, effect_apart, effects, rounds_against_one
from evals.arms import ARMS, Curve, difference
from evals.claims import Evidence, skill_effects
from evals.closure import reading, self_closure
from evals.equivalents import (
    FEWEST_BUDGETS,
    FEWEST_SEEDS,
    STEPS,
    Reference,
    compute_equivalent,
    rate_ratio,
)
from evals.evolving import compare_databases
from evals.factory.figures import compare_lines
from evals.faults import compare_bereft, compare_spared
from evals.intervals import Figure, cap_at_ceiling, missing
from evals.keeping import compare_keeping
from evals.parallel import compare_teams
from evals.programs import compare_programs
from evals.proposing import proposed_apart
from evals.retention import Guard
from loop.instruments.gather import Records
from loop.instruments.writeups import measure_writeups

REFERENCES = ("random", "local", "tpe", "evolve")
OPTIONAL = (
    *FREE.values(),
    *SPARED.values(),
    *STANDING,
    *WITHDRAWN,
    "outside",
    *(arm for names in PARALLEL.values() for arm in names[:2]),
)
"""Arms that few studies have; without them nothing is said of them."""
PARTS = {"a quarter of the plan": 0.25, "half of the plan": 0.5, "the whole plan": 1.0}
"""Parts of the plan at which compute-equivalent gains are read.

A reference curve ends with the plan, so its need of more compute shows only before its end.
"""


def claim_evidence(records: Records, arms: Mapping[str, Curve]) -> Evidence:
    """Return the evidence for the words: the records of arm self."""
    return Evidence(
        arms=arms,
        skills=records.skills,
        events=records.events.get("self", ()),
        plans=records.plans.get("self", ()),
        held=records.held.get("self", ()),
        references=records.references,
        ceiling=ceiling_of(records),
        best=best_of(records),
        floor=floor_of(records),
        deviation=records.config.task.seed_deviation,
        scores=records.tops.get("self", ()),
        start_trials=records.config.study.start_trials,
    )


def compare_arms(records: Records, evidence: Evidence, cpu_us: float) -> dict[str, Any]:
    """Return every instrument that compares arms, at equal spent plan."""
    arms = evidence.arms
    kappa = self_closure(arms, cpu_us)
    figures: dict[str, Any] = {"kappa": cap(records, kappa, "self", "scrambled")}
    figures |= {name: cap(records, figure, "self") for name, figure in reading(arms).items()}
    for other in dict.fromkeys((*ARMS, *(arms if "self" in arms else ()))):
        if other != "self" and (other in arms or other not in OPTIONAL):
            apart = difference(arms, "self", other, cpu_us)
            figures[f"self minus {other}"] = cap(records, apart, "self", other)
    rounds = rounds_against_one(arms)
    figures["rounds against one"] = cap(records, rounds, "self", "one_shot")
    figures |= reach(records, arms, cpu_us)
    figures |= teams(records, arms, cpu_us)
    figures |= evolving(records, arms, cpu_us)
    figures |= keeping(records, arms, cpu_us)
    figures["gain ratio reads"] = decline(arms)
    own, refit = (records.proposing.get(arm, ()) for arm in ("self", "refit"))
    if own:
        figures["proposed gain, self minus refit"] = proposed_apart(own, refit)
    for name, figure in skill_effects(evidence).items():
        figures[f"{name} effect"] = figure
    figures |= amplify(records, arms, cpu_us)
    if spared := compare_spared(arms, cpu_us):
        figures["faults"] = spared
    if bereft := compare_bereft(arms, records.bereft, cpu_us):
        for arm, told in bereft.items():
            told["cost"] = cap(records, told["cost"], arm, WITHDRAWN[arm][0])
        figures["withdrawn"] = bereft
    if paused := compare_paused(arms, cpu_us):
        figures["accord"] = {
            name: cap(records, figure, *ACCORD_FIGURES[name]) for name, figure in paused.items()
        }
    if any(records.shifts.values()):
        figures["factory"] = compare_lines(records.shifts)
    if records.programs:
        figures["programs"] = compare_programs(records.programs)
    if records.claims:
        figures["scientist"] = measure_writeups(records.claims, records.novelty)
    return {**figures, **equivalents(records, arms, cpu_us)}


def amplify(records: Records, arms: Mapping[str, Curve], cpu_us: float) -> dict[str, Any]:
    """Return what arms that select on proposing skill became, where a study has them.

    Of each: its effects, its gain beside `refit` at equal plan, and `amplifying`, the smaller of
    self effect and that gain. Then the differences of self effects.
    """
    found = dict[str, Any]()
    for arm, skills in records.selected.items():
        own = effects(
            skills,
            ceiling=best_of(records),
            deviation=records.config.task.seed_deviation,
            scores=records.tops.get(arm, ()),
        )
        ahead = cap(records, difference(arms, arm, "refit", cpu_us), arm, "refit")
        found[arm] = {
            **{f"{name} effect": figure for name, figure in own.items()},
            "gain minus refit": ahead,
            "amplifying": both(own["self"], ahead),
        }
    known = {**records.selected, "self": records.skills}
    for one, other in (SELECTING, *((arm, "self") for arm in SELECTING)):
        if known.get(one) and known.get(other):
            apart = cap(records, effect_apart(known[one], known[other]), one, other)
            found[f"{one} minus {other}"] = {"self effect": apart}
    return {"amplify": found} if records.selected else {}


def reach(records: Records, arms: Mapping[str, Curve], cpu_us: float) -> dict[str, Any]:
    """Return how much more arms gain without the change limit, where a study has both twins."""
    return {
        f"reach, {bound}": cap(records, difference(arms, free, bound, cpu_us), free, bound)
        for bound, free in FREE.items()
        if free in arms
    }


def teams(records: Records, arms: Mapping[str, Curve], cpu_us: float) -> dict[str, Any]:
    """Return the figures of several proposers at once, where a study has such arms."""
    found = dict[str, Any]()
    for name, names in PARALLEL.items():
        if any(arm in records.plans for arm in names[:2]):
            figures = compare_teams(names, records.plans, records.planned, arms, cpu_us)
            gains = figures["gain"].items()
            figures["gain"] = {pair: cap(records, figure, *names) for pair, figure in gains}
            found[name] = figures
    return found


def evolving(records: Records, arms: Mapping[str, Curve], cpu_us: float) -> dict[str, Any]:
    """Return arm evolve beside each other arm, where a study has it."""
    figures = compare_databases(records.plans, arms, cpu_us)
    if "gain" in figures:
        figures["gain"] = {
            name: cap(records, figure, EVOLVE, name.removeprefix("minus "))
            for name, figure in figures["gain"].items()
        }
    return {EVOLVE: figures} if figures else {}


def keeping(records: Records, arms: Mapping[str, Curve], cpu_us: float) -> dict[str, Any]:
    """Return what a greedy rule keeps beside the study's, where a study has both arms."""
    if KEEPING[0] not in records.plans:
        return {}
    figures = compare_keeping(KEEPING, records.plans, arms, cpu_us)
    gains = figures["gain"].items()
    figures["gain"] = {pair: cap(records, figure, *KEEPING) for pair, figure in gains}
    return {"keeping": figures}


def equivalents(records: Records, arms: Mapping[str, Curve], cpu_us: float) -> dict[str, Any]:
    """Return log2 compute-equivalent gains at parts of the plan, and the rate ratio.

    The random arm is the reference. Its budgets run from the end of its first generations to the
    whole plan: a campaign's gain on its way is the gain of less compute.
    """
    reference = _reference(arms, cpu_us)
    if reference is None:
        unknown = missing("not measured", "doublings")
        return {
            "compute-equivalent gain": dict.fromkeys(PARTS, unknown),
            "rate ratio": missing("not measured", "ratio"),
        }
    gains = {}
    for part, share in PARTS.items():
        reached = arms["self"].between(cpu_us * share)
        worth = compute_equivalent(reference, cpu_us * share, reached)
        gains[part] = cap(records, worth, "self", "random")
    ratio, strongest = rate_ratio(arms, REFERENCES, reference)
    return {
        "compute-equivalent gain": gains,
        "rate ratio": cap(records, ratio, "self", "random"),
        "strongest reference": strongest or "cannot tell",
        "rate ratio means": "R >= 2 here does not correspond to a lab's threshold",
    }


def _reference(arms: Mapping[str, Curve], cpu_us: float) -> Reference | None:
    """Return the random arm as a reference curve; None if it is too short or not paired."""
    random, own = arms.get("random"), arms.get("self")
    if random is None or own is None or random.repeats != own.repeats:
        return None
    reached = int(np.isfinite(random.spent).all(axis=0).sum())
    if len(own.repeats) < FEWEST_SEEDS or reached < FEWEST_BUDGETS:
        return None
    budgets = np.linspace(float(random.spent[:, 0].max()), cpu_us, STEPS)
    scores = np.stack([random.between(budget) for budget in budgets])
    return Reference(budgets=budgets, scores=scores, paired=True)


def cap(records: Records, figure: Figure, *arms: str) -> Figure:
    """Return the figure, `saturated` if the last champions of one of its arms score as the best."""
    best, deviation = best_of(records), records.config.task.seed_deviation
    for arm in arms:
        figure = cap_at_ceiling(figure, records.tops.get(arm, ()), best, deviation)
    return figure


def best_of(records: Records) -> float | None:
    """Return the best known score, turned so that larger is better; else the ceiling of a share.

    It was pinned with the task. Studies that began before tasks knew it have the ceiling alone.
    """
    objective, task = records.config.objective, records.config.task
    if task.best_known is None or objective.metric != task.metric():
        return ceiling_of(records)
    return task.best_known if objective.direction == "up" else -task.best_known


def limits_of(records: Records) -> Guard:
    """Return the raw scores near which a gain on a rung says nothing."""
    deviation = records.config.task.seed_deviation
    return Guard(ceiling=ceiling_of(records), floor=floor_of(records), deviation=deviation)


def floor_of(records: Records) -> float | None:
    """Return the score of a net that has learned nothing, turned so that larger is better.

    It is the objective's floor; else, for exact match, the share that guessing answers hits. A
    simulated task has none: nobody guesses there.
    """
    objective, task = records.config.objective, records.config.task
    raw = objective.floor
    guesses = objective.metric == "exact_match" and task.format().stand_in() != "planted"
    if raw is None and guesses:
        lay = layout(task.format(), task.baseline)
        raw = float(lay.vocabulary - FIRST_VALUE) ** -lay.answer
    return raw if raw is None or objective.direction == "up" else -raw


def ceiling_of(records: Records) -> float | None:
    """Return the best score of a share, turned so that larger is better; None for other metrics."""
    objective = records.config.objective
    if not METRICS[objective.metric].share:
        return None
    return 1.0 if objective.direction == "up" else 0.0
