"""Figures over time or compute: scores, gains, the budget, and promises against results."""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from configs.arms import START
from loop.report.plot import (
    GREY,
    Point,
    Rows,
    add_legend,
    colour,
    line_style,
    marker,
    new_figure,
    offset,
    plot_line,
    plot_segments,
    with_rows,
)

DOTS = 1500
"""Trials that are drawn; of more every k-th."""
CROWD = 300
"""Trials from which on dots are drawn fainter."""
TOGETHER = 4
"""Arms whose gains share one panel; more arms get a panel each."""
PANELS = 3
"""Panels side by side."""
ORIGIN = (0.0, 0.0, None, None)
"""No compute, no gain."""


def draw_scores(unit: str, arms: Sequence[str], rows: Rows, trials: Rows = ()) -> Any:
    """Draw the champion's mean score per generation, and every trial as a dot."""
    if not rows and not trials:
        return None
    figure, axis = new_figure()
    for number, arm in with_rows(arms, rows, trials):
        _plot_trials(axis, number, arms, trials)
        points = [(row[1], *row[2:5]) for row in rows if row[0] == arm]
        plot_line(axis, number, arms, points, f"{arm}: champion")
    name, comma, better = unit.partition(",")
    axis.set(xlabel="generation", ylabel=f"{name} on feedback{comma}{better}")
    values = [row[3] for row in trials] + [row[2] for row in rows]
    if values and min(values) >= 0 and max(values) <= 1:
        axis.set_ylim(-0.03, 1.03)
    axis.xaxis.get_major_locator().set_params(integer=True)
    return add_legend(figure, axis)


def _plot_trials(axis: Any, number: int, arms: Sequence[str], trials: Rows) -> None:
    arm = arms[number]
    step = -(-len(trials) // DOTS) or 1
    dots = [row for row in trials if row[0] == arm][::step]
    axis.plot(
        [row[2] + offset(number, arms) for row in dots],
        [row[3] for row in dots],
        marker(number),
        color=colour(number),
        markersize=3.5,
        alpha=0.5 if len(trials) < CROWD else 0.25,
        markeredgewidth=0,
        label=f"{arm}: trials" if arm == START else None,
    )


def draw_gains(unit: str, arms: Sequence[str], rows: Rows, ends: Rows = ()) -> Any:
    """Draw each arm's mean verified gain by planned compute, and on to its end."""
    equal = max((row[1] for row in rows), default=0.0)
    rows = [*rows, *(row for row in ends if row[1] > _reached(rows, row[0]))]
    shown = with_rows(arms, rows)
    if len(shown) > TOGETHER:
        return _draw_panels(unit, shown, rows, equal)
    figure, axis = new_figure()
    for number, arm in shown:
        own = [row for row in rows if row[0] == arm]
        aside = offset(number, arms) * min(row[1] for row in own)
        points = [ORIGIN, *((row[1] + aside, *row[2:5]) for row in own)]
        plot_line(axis, number, [arm], points, arm)
    axis.axhline(0, color=GREY, linewidth=0.8)
    _mark_equal_plan(axis, rows, equal)
    axis.set(xlabel="planned compute, CPU-seconds", ylabel=f"verified gain, {unit}")
    return add_legend(figure, axis)


def _reached(rows: Rows, arm: str) -> float:
    return max((row[1] for row in rows if row[0] == arm), default=0.0)


def _mark_equal_plan(axis: Any, rows: Rows, equal: float) -> None:
    """Draw a dotted line at the compute that arms share, where an arm spent more."""
    if max(row[1] for row in rows) > equal:
        axis.axvline(equal, color=GREY, linewidth=0.9, linestyle=":")


def _draw_panels(unit: str, shown: Sequence[tuple[int, str]], rows: Rows, equal: float) -> Any:
    """Draw each arm in a panel of its own, in front of the others in grey."""
    points = {arm: [ORIGIN, *(row[1:5] for row in rows if row[0] == arm)] for _, arm in shown}
    down = -(-len(shown) // PANELS)
    figure, _ = new_figure(0.7 + 1.25 * down)
    figure.clear()
    panels = figure.subplots(down, PANELS, sharex=True, sharey=True, squeeze=False).ravel()
    for panel, (number, arm) in zip(panels, shown, strict=False):
        _draw_panel(panel, number, arm, points)
        _mark_equal_plan(panel, rows, equal)
    for panel in panels[len(shown) :]:
        panel.set_axis_off()
    figure.supxlabel("planned compute, CPU-seconds", fontsize=9)
    figure.supylabel(f"verified gain, {unit}", fontsize=9)
    return figure


def _draw_panel(panel: Any, number: int, arm: str, points: Mapping[str, Rows]) -> None:
    others = list[tuple[Point, Point]]()
    for line in points.values():
        others += itertools.pairwise([(point[0], point[1]) for point in line])
    plot_segments(panel, others, color=GREY, linewidth=0.5, alpha=0.6)
    own = points[arm]
    band = [(x, low, high) for x, _, low, high in own if low is not None and high is not None]
    if band:
        panel.fill_between(*zip(*band, strict=True), color=colour(number), alpha=0.2, linewidth=0)
    panel.plot(
        [point[0] for point in own],
        [point[1] for point in own],
        color=colour(number),
        linewidth=1.8,
    )
    panel.set_title(arm, fontsize=8.5, loc="left", pad=2)


def draw_burn(_unit: str, _arms: Sequence[str], rows: Rows) -> Any:
    """Draw the CPU time left of each run."""
    figure, axis = new_figure(2.6)
    runs = dict.fromkeys(row[0] for row in rows)
    for number, run in enumerate(runs):
        points = [row[1:] for row in rows if row[0] == run]
        axis.plot(
            *zip(*points, strict=True),
            color=colour(number),
            linestyle=line_style(number),
            label=run,
        )
    # A line of little slope would lie on the upper edge, half of it cut off.
    top = 1.05 * max((row[2] for row in rows), default=0.0) or 1.0
    axis.set(xlabel="ledger entry", ylabel="CPU-seconds left", ylim=(0, top))
    axis.ticklabel_format(axis="y", style="plain")
    return add_legend(figure, axis) if len(runs) > 1 else figure


def draw_calibration(unit: str, arms: Sequence[str], rows: Rows) -> Any:
    """Draw the gain on feedback of screened plans against the foretold gain."""
    figure, axis = new_figure(3.4)
    values = [value for row in rows for value in row[2:4]]
    ends = [min(values), max(values)]
    for number, arm in with_rows(arms, rows):
        own = [row for row in rows if row[0] == arm]
        axis.plot(
            [row[2] for row in own],
            [row[3] for row in own],
            marker(number),
            color=colour(number),
            alpha=0.6,
            markersize=4,
            label=arm,
        )
    axis.plot(ends, ends, "--", color=GREY, linewidth=1, label="foretold = shown")
    axis.set(xlabel=f"foretold gain, {unit}", ylabel="shown on feedback")
    return add_legend(figure, axis)
