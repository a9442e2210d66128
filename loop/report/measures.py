"""How do the instruments judge each arm? Rows of their own tables."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from configs.metrics import METRICS
from evals.intervals import mean
from evals.loss import FATE_WORDS, UNIT
from evals.retention import name_step, rungs
from loop.instruments.arm import WITHOUT
from loop.report.figures import BESIDE
from loop.report.study import MeasuredStudy, StudyRuns

STOOD_IN = "were reviewers people"
"""Figures of an arm under the assumption that simulated reviewers had been people."""
Row = tuple[Any, ...]
Rows = Iterable[Row]


def unit(study: StudyRuns) -> str:
    """Return the objective's unit in words."""
    goal = study.config.objective
    return f"log-odds of {goal.metric}" if goal.scale == "log_odds" else goal.metric


def scale(study: StudyRuns) -> str:
    """Return the unit of gains in figures: log-odds for shares, else the metric's."""
    return "log-odds" if METRICS[study.config.objective.metric].share else unit(study)


def interval(study: StudyRuns, figure: Mapping[str, Any]) -> Row:
    """Return a figure as the columns INTERVAL, the objective's unit by its name."""
    numbers = [figure[name] for name in ("value", "low", "high", "n")]
    return (*numbers, str(figure["unit"]).replace(UNIT, unit(study)), figure["word"])


def funnel_rows(study: MeasuredStudy) -> Iterator[Row]:
    """Yield how each arm's proposals ended."""
    for arm, fate, *counts in _listed(study, "funnel", ("fate", "plans", "share", "cpu_seconds")):
        yield arm, FATE_WORDS.get(fate, fate), *counts


def promise_rows(study: MeasuredStudy) -> Iterator[Row]:
    """Yield the parts of each arm's promise, zeros left out."""
    parts = _parts(
        study, "promise", lambda figure: any(figure[n] for n in ("value", "low", "high"))
    )
    for arm, part, *cells in parts:
        yield arm, FATE_WORDS.get(part, part), *cells


def retention_rows(study: MeasuredStudy) -> Iterator[Row]:
    """Yield each arm's retention from rung to rung, and its excess loss per rung."""
    for arm, step, *cells in _parts(study, "retention"):
        yield arm, name_step(step), *cells
    for arm, rung, *cells in _parts(study, "excess loss"):
        yield arm, f"excess loss, {rung}", *cells


def rung_rows(study: MeasuredStudy) -> Iterator[Row]:
    """Yield each arm's gain on every rung."""
    for arm, held in study.records.held.items():
        for rung, values in rungs(held).items():
            figure = mean(values, "", neutral=None)
            if figure.value is not None:
                yield arm, name_step(rung), figure.value, figure.low, figure.high, figure.n


def automation_rows(study: MeasuredStudy) -> Iterator[Row]:
    """Yield each arm's automation per stage, and the automation of other loops."""
    yield from _parts(study, "automation")
    arms = study.figures["arms"]
    for arm, figures in arms.items():
        if STOOD_IN in figures:
            for stage, figure in figures[STOOD_IN]["automation"].items():
                yield (f"{arm}, {STOOD_IN}", stage, *interval(study, figure))
    for other, stages in study.figures["beside"].items() if arms else ():
        for stage, figure in stages.items():
            yield (f"{BESIDE}{other}", stage, *interval(study, figure))


def stage_rows(study: MeasuredStudy) -> Iterator[Row]:
    """Yield who did the work of each stage."""
    yield from _listed(study, "stages", ("stage", "who", "controlled by"))
    arms = study.figures["arms"]
    for arm, figures in arms.items():
        yield arm, "stage of development", figures["stage"], ""
    for arm, figures in arms.items():
        if STOOD_IN in figures:
            yield arm, f"stage of development, {STOOD_IN}", figures[STOOD_IN]["stage"], ""


def efficiency_rows(study: MeasuredStudy) -> Iterator[Row]:
    """Yield each arm's efficiency and its parts."""
    for arm, figures in study.figures["arms"].items():
        for suffix in ("", WITHOUT):
            parts = {
                **figures[f"efficiency{suffix}"],
                "gain per CPU-second": figures[f"yield{suffix}"],
            }
            for part, figure in parts.items():
                yield (arm, f"{part}{suffix}", *interval(study, figure))


def calibration_rows(study: MeasuredStudy) -> Iterator[Row]:
    """Yield foretold and shown gain of every screened plan with a prediction."""
    for arm, plans in study.records.plans.items() if study.closed else ():
        for plan in plans:
            if plan.promised is not None and plan.screened is not None:
                yield (arm, plan.plan[:12], plan.promised, plan.screened)


def _listed(study: MeasuredStudy, name: str, keys: tuple[str, ...]) -> Iterator[Row]:
    for arm, figures in study.figures["arms"].items():
        for row in figures[name]:
            yield (arm, *(row[key] for key in keys))


def _parts(
    study: MeasuredStudy, name: str, keep: Callable[[Any], bool] = lambda figure: True
) -> Iterator[Row]:
    for arm, figures in study.figures["arms"].items():
        for part, figure in figures[name].items():
            if keep(figure):
                yield (arm, FATE_WORDS.get(part, part), *interval(study, figure))
