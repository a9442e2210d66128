"""Every instrument on recorded runs: `heirloop instruments RUN...`.

Reports and exports show the same figures. Example: `measure([Path("runs/a")])["between"]["kappa"]`
is a figure with a value, an interval, and a word where the value alone would mislead.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from configs.arms import MORE
from configs.build import plain
from configs.metrics import METRICS
from evals.arms import UNIT, Curve, common, curves
from evals.claims import conditions, warning, words
from evals.closure import COMPARISONS, automation
from evals.intervals import Figure, missing, settle
from evals.pace import amortise, run_length, speed_up
from loop.instruments.arm import measure_arm
from loop.instruments.between import claim_evidence, compare_arms
from loop.instruments.claims import decide_claims, flatten_claims
from loop.instruments.gather import Records, read_ledgers, read_records
from sandbox.ledger import Ledger


def measure(folders: Sequence[Path]) -> dict[str, Any]:
    """Return every instrument of the runs, as plain JSON: per arm, between arms, and words.

    An instrument that the runs cannot answer says why.
    """
    return measure_records(read_records(folders))


def measure_ledgers(named: Sequence[tuple[str, Ledger]]) -> dict[str, Any]:
    """Return the same of ledgers; a refusal names a ledger by the name given with it."""
    return measure_records(read_ledgers(named))


def measure_records(records: Records, cpu_us: float | None = None) -> dict[str, Any]:
    """Return every instrument of a study's records, as plain JSON.

    Arms are compared at `cpu_us` of spent plan, by default at the plan common to all.
    """
    all_arms = curves(records.gains)
    # Arms of MORE have more to spend, so they are not compared with the others at equal plan.
    arms = {arm: curve for arm, curve in all_arms.items() if arm not in MORE}
    evidence, at = claim_evidence(records, arms), cpu_us or common(arms)
    figures = {
        "study": records.config.study.name,
        "runs": len(records.effort.decisions),
        "equal plan, CPU-seconds": at / 1e6,
        "arms": {
            arm: measure_arm(records, all_arms, arm, _plan_of(all_arms, arm, at))
            for arm in records.plans
        },
        "between": compare_arms(records, evidence, at),
        "generations per live human act": run_length(records.lived, records.acts),
        "given before": amortise(records.lived, records.effort),
        **_simulated_acts(records),
        "speed-up if": _speed_up(records),
        "beside": {name: automation(events) for name, events in COMPARISONS.items()},
    }
    if records.config.study.claims:
        figures = {"claims": decide_claims(records, figures), **figures}
    if records.config.task.table:
        figures["tier"] = "T: tabulated"
    if "self" in records.plans:
        figures |= {
            "words": words(evidence),
            "conditions": conditions(evidence),
            "warning sign": _warning(records),
        }
    metric = records.config.objective.metric
    return dict(name_unit(plain(settle(figures)), metric))


def _plan_of(arms: Mapping[str, Curve], arm: str, equal: float) -> float:
    """Return the plan in CPU-microseconds at which an arm is read."""
    return common(arms, (arm,)) if arm in MORE else equal


def name_unit(figures: Any, metric: str) -> Any:
    """Return plain figures in the metric's own unit, where it is not turned into log-odds."""
    return figures if METRICS[metric].share else _rename_unit(figures, metric)


def _rename_unit(figures: Any, metric: str) -> Any:
    if isinstance(figures, Mapping):
        return {
            name: value.replace(UNIT, metric) if name == "unit" else _rename_unit(value, metric)
            for name, value in figures.items()
        }
    if isinstance(figures, list):
        return [_rename_unit(item, metric) for item in figures]
    return figures


def _simulated_acts(records: Records) -> dict[str, Figure]:
    acts = sum(sum(effort.decisions) for effort in records.simulated.values())
    if not acts:
        return {}
    return {"generations per act of simulated reviewers": run_length(records.lived, acts)}


def _speed_up(records: Records) -> dict[str, Figure]:
    waiting, computing, total = (np.array([clock[i] for clock in records.clock]) for i in range(3))
    if (total > 0).all():
        return speed_up(waiting, computing, total)
    return {
        name: missing("not measured", "times as fast")
        for name in ("people were instant", "compute were instant")
    }


def _warning(records: Records) -> dict[str, str]:
    sign = records.config.study.warning
    if sign is None:
        return {"sign": "not registered"}
    return warning(sign, records.skills, records.events["self"])


FIGURE = ("value", "low", "high", "n", "unit", "word", "sees")
"""Parts of a figure, in the order of `flatten`."""


def flatten(figures: Mapping[str, Any], at: str = "") -> Iterator[tuple[str, list[Any]]]:
    """Yield every figure of `measure` for a table: its name, and its parts as in FIGURE.

    Example: `{"arms": {"self": {"gain": ...}}}` yields the name `arms, self, gain`.
    """
    for name, value in figures.items():
        where = f"{at}, {name}" if at else str(name)
        if isinstance(value, Mapping) and "word" in value:
            yield where, [value.get(k) for k in FIGURE]
        elif isinstance(value, Mapping):
            yield from flatten(value, where)
        elif where == "claims":
            yield from flatten_claims(value)
        elif isinstance(value, list):
            yield from _flatten_rows(value, where)
        elif isinstance(value, str | int | float):
            yield where, _bare(value)


def _flatten_rows(rows: Sequence[Any], where: str) -> Iterator[tuple[str, list[Any]]]:
    """Yield the figures of a funnel, of a table of stages, or of the conditions."""
    for row in rows:
        if "fate" in row:
            yield f"{where}, {row['fate']}", _bare(row["plans"], "plans")
    for row in rows:
        if "stage" in row:
            yield f"{where}, {row['stage']}", _bare(row["who"])
    by_condition = {row["condition"]: row["figure"] for row in rows if "condition" in row}
    yield from flatten(by_condition, where)


def _bare(value: Any, unit: str = "") -> list[Any]:
    return [value, None, None, None, unit, "", None]
