"""How is a table drawn? FIGURES names the functions; `draw` gives inline SVG, with text as text.

Its colours follow the page's light or dark.
"""

from collections.abc import Callable, Sequence
from typing import Any

from configs.arms import START
from loop.report.curves import draw_burn, draw_calibration, draw_gains, draw_scores
from loop.report.curves_champions import draw_drift, draw_proposers
from loop.report.dots import (
    draw_ablation,
    draw_automation,
    draw_funnel,
    draw_outcome,
    draw_rungs,
)
from loop.report.lanes import draw_lanes
from loop.report.paper_figures import draw_replicates, draw_review
from loop.report.plot import to_svg
from loop.report.shape import Table
from loop.report.tree import draw_lineage

FIGURES: dict[str, Callable[..., Any]] = {
    "outcome": draw_outcome,
    "scores": draw_scores,
    "gains": draw_gains,
    "lineage": draw_lineage,
    "burn": draw_burn,
    "lanes": draw_lanes,
    "funnel": draw_funnel,
    "rungs": draw_rungs,
    "ablation": draw_ablation,
    "proposers": draw_proposers,
    "drift": draw_drift,
    "automation": draw_automation,
    "calibration": draw_calibration,
    "replicates": draw_replicates,
    "review": draw_review,
}
"""Table -> function that draws it."""
BESIDE = "beside: "
"""What begins the name of an arm that is no arm of the study."""


def draw(tables: Sequence[Table], arms: Sequence[str] = ()) -> str:
    """Return a figure of the first table as SVG, or nothing where it has nothing to show.

    A second table holds its trials. `arms`: all arms of the study; each keeps its colour and marker
    in every figure.
    """
    first = tables[0]
    others = {row[0] for table in tables for row in table.rows} - set(arms)
    all_arms = [*arms, *sorted(others, key=_order)]
    unit = first.unit.replace("_", " ")
    figure = FIGURES[first.name](unit, all_arms, *(table.rows for table in tables))
    return "" if figure is None else to_svg(figure, first.name)


def _order(arm: str) -> tuple[bool, bool, str]:
    return arm.startswith(BESIDE), arm == START, arm
