"""Figures with a value per arm: outcomes, and by name the funnel, the rungs, automation."""

from collections.abc import Sequence
from typing import Any

from evals.closure import STAGES
from evals.loss import FATE_WORDS, FATES
from evals.retention import FIRST, name_step, order
from loop.report.plot import (
    GREY,
    Point,
    Rows,
    add_legend,
    colour,
    marker,
    new_figure,
    plot_segments,
    with_rows,
)
from loop.text import write_number

CHANGES = 12
"""Most changes in a figure; the table has all."""
SHARE = (-0.03, 1.03)
"""Ends of an axis for shares."""
OUTCOMES = 24
"""Arms in a figure of outcomes; table Gain of each arm at its end has all."""
OUTCOME_WIDTH_INCHES = 4.0


def draw_funnel(_unit: str, arms: Sequence[str], rows: Rows) -> Any:
    """Draw how each arm's proposals ended."""
    points = [(row[0], row[1], row[3], None, None) for row in rows if row[2]]
    fates = [FATE_WORDS.get(fate, fate) for fate in FATES]
    return _draw_dots(arms, points, fates, "share of the arm's proposals", SHARE)


def draw_rungs(unit: str, arms: Sequence[str], rows: Rows) -> Any:
    """Draw each arm's gain on every rung."""
    points = [row[:5] for row in rows]
    short = {name_step(rung): rung for rung in FIRST}
    names = [name_step(rung) for rung in order(short.get(str(row[1]), str(row[1])) for row in rows)]
    return _draw_dots(arms, points, names, f"gain, {unit}", None)


def draw_automation(_unit: str, arms: Sequence[str], rows: Rows) -> Any:
    """Draw each arm's automation per stage."""
    points = [row[:5] for row in rows]
    return _draw_dots(arms, points, STAGES, "1 - share of compute that people released", SHARE)


def draw_ablation(unit: str, arms: Sequence[str], rows: Rows) -> Any:
    """Draw what each arm's champions lose without each change, the costliest first."""
    points = [(row[0], row[1], *row[5:8]) for row in rows if row[3] is not None]
    totals = dict[str, float]()
    for row in rows:
        if row[3] is not None and row[5] is not None:
            totals[row[1]] = totals.get(row[1], 0.0) + row[3] * row[5]
    names = sorted(totals, key=lambda name: -totals[name])[:CHANGES]
    return _draw_dots(arms, points, names, f"loss without it, {unit}", None)


def draw_outcome(_unit: str, arms: Sequence[str], rows: Rows) -> Any:
    """Draw each arm's gain at its end with its interval; a panel a study."""
    shown = [row for row in rows if row[2] is not None][:OUTCOMES]
    if not shown:
        return None
    studies = list(dict.fromkeys(row[0] for row in shown))
    panels = [[row for row in shown if row[0] == study] for study in studies]
    heights = [len(panel) for panel in panels]
    inches = 0.45 + 0.42 * len(shown) + 0.4 * len(studies)
    figure, _ = new_figure(inches, OUTCOME_WIDTH_INCHES)
    figure.clear()
    axes = figure.subplots(len(studies), 1, squeeze=False, height_ratios=heights).ravel()
    for axis, study, panel in zip(axes, studies, panels, strict=True):
        for y, (_, arm, gain, low, high, *_) in enumerate(panel):
            number = arms.index(arm) if arm in arms else y
            _plot_arm(axis, number, arm, [(y, gain, low, high)], intervals=True)
        unit = panel[0][7]
        _frame_lines(axis, [_label(row) for row in panel], f"gain, {unit}", None)
        axis.set_xlim(*_reach([row for row in shown if row[7] == unit]))
        axis.tick_params(axis="y", labelsize=8.5)
        if len(studies) > 1:
            axis.set_title(study, fontsize=9, loc="left", pad=3)
    return figure


def _reach(rows: Rows) -> tuple[float, float]:
    """Return the ends of the axis for outcomes of a unit: 0 and every interval are on it."""
    ends = [0.0, *(end for row in rows for end in row[2:5] if end is not None)]
    room = 0.06 * (max(ends) - min(ends)) or 1.0
    return min(ends) - room, max(ends) + room


def _label(row: tuple[Any, ...]) -> str:
    """Return an arm's name with its gain below."""
    _, arm, gain, low, high, *_ = row
    ends = ""
    if low is not None and high is not None:
        ends = f" ({write_number(low, '#.3g')} to {write_number(high, '#.3g')})"
    return f"{arm}\n{write_number(gain, '+#.3g')}{ends}"


def _draw_dots(
    arms: Sequence[str],
    rows: Rows,
    names: Sequence[str],
    label: str,
    limits: tuple[float, float] | None,
) -> Any:
    """Draw (arm, name, value, low, high): a line a name, the arms side by side."""
    shown = [row for row in rows if row[2] is not None and row[1] in names]
    if not shown:
        return None
    having = {row[1] for row in shown}
    lines = [name for name in names if name in having]
    drawn_arms = with_rows(arms, shown)
    # Shares of proposals are counts, and have no interval.
    intervals = limits is None or names is STAGES
    figure, axis = new_figure(0.9 + len(lines) * (0.12 + 0.085 * len(drawn_arms)))
    for place, (number, arm) in enumerate(drawn_arms):
        aside = 0.7 * ((place + 0.5) / len(drawn_arms) - 0.5)
        own = [(lines.index(row[1]) + aside, *row[2:5]) for row in shown if row[0] == arm]
        _plot_arm(axis, number, arm, own, intervals)
    _frame_lines(axis, lines, label, limits)
    return add_legend(figure, axis)


def _plot_arm(axis: Any, number: int, arm: str, points: Rows, intervals: bool) -> None:
    """Draw (y, value, low, high) of an arm."""
    ends = [
        ((low, y), (high, y)) for y, _, low, high in points if low is not None and high is not None
    ]
    plot_segments(axis, ends, color=colour(number), linewidth=1.2)
    groups: dict[bool, list[Point]] = {}
    for y, value, low, high in points:
        # A value without an interval is hollow, as the caption says.
        hollow = intervals and low is None and high is None
        groups.setdefault(hollow, []).append((value, y))
    for number_of_group, (hollow, part) in enumerate(groups.items()):
        axis.plot(
            [value for value, _ in part],
            [y for _, y in part],
            marker(number),
            color=colour(number),
            markersize=4.5,
            fillstyle="none" if hollow else "full",
            linestyle="none",
            label=None if number_of_group else arm,
        )


def _frame_lines(
    axis: Any, lines: Sequence[str], label: str, limits: tuple[float, float] | None
) -> None:
    for number in range(len(lines) - 1):
        axis.axhline(number + 0.5, color=GREY, linewidth=0.3)
    axis.set(
        xlabel=label,
        yticks=range(len(lines)),
        yticklabels=lines,
        ylim=(len(lines) - 0.5, -0.5),
        xlim=limits,
    )
    axis.tick_params(axis="y", length=0)
    if limits is None:
        axis.axvline(0, color=GREY, linewidth=0.8)
