"""How did the campaigns go? Scores by generation, gains by compute, the budget left."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from configs.arms import MORE
from evals.arms import Curve, common, curves
from evals.intervals import Floats, mean
from loop.facts.scores import feedback_score
from loop.instruments.run import Run
from loop.report.evidence import Index
from loop.report.shape import Table, table
from loop.report.study import MeasuredStudy, StudyRuns
from sandbox.charges import settlements

BURN_POINTS = 400
"""Points of a burn-down; it is straight between two of them."""
BUDGETS = 12
"""Budgets at which gains are drawn."""
NO_GAIN = {"gain": None, "low": None, "high": None}
Row = tuple[Any, ...]


def name_repeat(study: StudyRuns, place: int, repeat: int) -> str | int:
    """Return the name of a repeat: its number, with the run's folder where there are several."""
    return repeat if len(study.runs) == 1 else f"{study.folders[place].name}, {repeat}"


def name_flag(row: Mapping[str, Any]) -> str:
    """Return the flag of a plan or campaign."""
    return "computable" if row["computable"] else ""


def campaign_rows(study: MeasuredStudy) -> Iterator[Row]:
    """Yield each campaign with its closing look."""
    for place, summary in enumerate(study.summaries):
        for campaign in summary["arms"]:
            look = campaign["confirm"]
            gain = look if study.closed and look and look["gain"] is not None else NO_GAIN
            yield (
                campaign["arm"],
                name_repeat(study, place, campaign["repeat"]),
                campaign["accepted"],
                campaign["feedback"]["baseline"],
                campaign["feedback"]["champion"],
                gain["gain"],
                gain["low"],
                gain["high"],
                name_flag(campaign),
                campaign["skill"]["rank_correlation"],
                campaign["skill"]["claims"],
            )


def score_rows(study: StudyRuns) -> Iterator[Row]:
    """Yield the champion's mean score per arm and generation, with its interval over repeats."""
    scores: dict[tuple[str, int], list[float]] = {}
    for run in study.runs:
        last = _last_generations(run)
        for arm, repeat in run.campaigns:
            champions = _champion_scores(run, arm, repeat)
            best = None
            for generation in range(last.get((arm, repeat), 0) + 1):
                best = champions.get(generation, best)
                if best is not None:
                    scores.setdefault((arm, generation), []).append(best)
    for (arm, generation), values in sorted(scores.items()):
        figure = mean(values, "", neutral=None)
        yield arm, generation, figure.value, figure.low, figure.high, len(values)


def _last_generations(run: Run) -> dict[tuple[str, int], int]:
    """Return (arm, repeat) -> last generation in the ledger."""
    last: dict[tuple[str, int], int] = {}
    for arm, repeat, generation, _ in run.facts.at:
        reached = max(generation, last.get((arm, repeat), 0))
        last[arm, repeat] = min(reached, run.config.study.generations)
    return last


def _champion_scores(run: Run, arm: str, repeat: int) -> dict[int, float | None]:
    """Return generation -> score of its new champion."""
    facts, objective = run.facts, run.config.objective
    return {
        facts.plans[plan].generation: feedback_score(facts, plan, objective)
        for plan in facts.champions[arm, repeat]
    }


def trial_rows(study: StudyRuns) -> Iterator[Row]:
    """Yield the score of every trial."""
    for place, summary in enumerate(study.summaries):
        for generation in summary["generations"]:
            repeat = name_repeat(study, place, generation["repeat"])
            for plan in generation["plans"]:
                tried = plan["purpose"] in ("start", "baseline", "candidate", "trial")
                if tried and plan["shown"] is not None:
                    yield generation["arm"], repeat, generation["index"], plan["shown"]


def gain_rows(study: MeasuredStudy) -> Iterator[Row]:
    """Yield each arm's mean verified gain up to the equal plan, at the same budgets for all.

    Every repeat counts at each budget.
    """
    arms = curves(study.records.gains)
    for arm, curve in arms.items():
        if arm in MORE:
            seconds = common(arms, (arm,)) / 1e6
        else:
            seconds = study.figures["equal plan, CPU-seconds"]
        for step in range(1, BUDGETS + 1):
            budget = seconds * step / BUDGETS
            figure = mean(curve.at(budget * 1e6), "", neutral=None)
            if figure.value is not None:
                cells = (figure.value, figure.low, figure.high, figure.n)
                yield arm, budget, *cells, _ground(curve, budget * 1e6)


def end_rows(study: MeasuredStudy) -> Iterator[Row]:
    """Yield each arm's mean verified gain when all of its campaigns have ended."""
    for arm, curve in curves(study.records.gains).items():
        figure = mean(curve.ends(), "", neutral=None)
        if figure.value is not None:
            spent_us = float(_last_spent(curve).max())
            cells = (figure.value, figure.low, figure.high, figure.n)
            yield arm, spent_us / 1e6, *cells, _ground(curve, spent_us)


def _ground(curve: Curve, cpu_us: float) -> str:
    """Return the ground of an arm's gain at a budget: accepted plans, or closing looks."""
    ended, count = int((_last_spent(curve) <= cpu_us).sum()), len(curve.repeats)
    if ended == count:
        return "closing looks"
    return f"closing looks of {ended} of {count}" if ended else "accepted plans"


def _last_spent(curve: Curve) -> Floats:
    """Return the planned CPU-microseconds (R,) that each campaign spent in all."""
    return np.asarray(np.where(np.isfinite(curve.spent), curve.spent, 0.0).max(axis=1))


def burn(study: StudyRuns, index: Index | None, name: str) -> Table:
    """Return the CPU time left in each run's root account."""
    rows, ledger = list[Row](), list[str]()
    for place, run in enumerate(study.runs):
        folder = study.folders[place].name
        points = _thin(_cpu_left(run, study.summaries[place]))
        # The last point may be the first or a k-th too.
        of_run = dict.fromkeys((folder, sequence, left / 1e6) for sequence, left in points)
        rows += of_run
        ledger += [index.of("settle", study.numbers[place]) if index else ""] * len(of_run)
    return table("burn", rows, ledger, name)


def _cpu_left(run: Run, summary: dict[str, Any]) -> list[tuple[int, int]]:
    """Return (sequence, CPU-microseconds left) after every charge of the root account."""
    left = summary["accounts"]["root"]["cpu_us"]["limit"]
    points = list[tuple[int, int]]()
    for entry, charge in settlements(run.entries):
        if "root" in charge.accounts:
            left -= charge.spent.cpu_us
            points.append((entry.sequence, left))
    return points


def _thin(points: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return the first, every k-th and the last point."""
    step = -(-len(points) // BURN_POINTS) or 1
    return [*points[:1], *points[step - 1 :: step], *points[-1:]]
