"""Figures about champions over generations: how they propose, and how their behaviour drifts."""

from collections.abc import Sequence
from typing import Any

from loop.report.plot import GREY, Rows, add_legend, new_figure, plot_line, with_rows

PROPOSING = (("notebook share\nof the champion", 2, 0), ("gain of a proposal,\n{}", 5, 1))
"""Label of the axis, first of three columns, first generation with a value; above and below."""

ACROSS, MOST = 2, 6
"""Panels side by side, and most panels; the table has every quantity."""
TOGETHER = 4
"""Most arms in a figure; the table has every arm."""
FIRST = ("self", "refit", "random", "local")
"""Arms that are drawn before others."""


def draw_proposers(unit: str, arms: Sequence[str], rows: Rows) -> Any:
    """Draw notebook share and proposed gain per generation, one above the other."""
    rows = _choose_arms(rows)
    figure, _ = new_figure(4.2)
    figure.clear()
    panels = figure.subplots(2, 1, sharex=True)
    for panel, (label, first, least) in zip(panels, PROPOSING, strict=True):
        for number, arm in with_rows(arms, rows):
            own = [row for row in rows if row[0] == arm and row[1] >= least]
            points = [(row[1], *row[first : first + 3]) for row in own if row[first] is not None]
            plot_line(panel, number, arms, points, arm)
        panel.set_ylabel(label.format(unit))
    panels[0].set_ylim(bottom=0)
    panels[1].axhline(0, color=GREY, linewidth=0.8)
    panels[1].set_xlabel("generation")
    panels[1].xaxis.get_major_locator().set_params(integer=True)
    return add_legend(figure, panels[0])


def draw_drift(_unit: str, arms: Sequence[str], rows: Rows) -> Any:
    """Draw the drift of each quantity in a panel of its own, the first ones alone."""
    rows = _choose_arms(rows)
    names = list(dict.fromkeys(row[1] for row in rows))[:MOST]
    if not names:
        return None
    across = min(ACROSS, len(names))
    down = -(-len(names) // across)
    figure, _ = new_figure(0.9 + 1.7 * down)
    figure.clear()
    panels = figure.subplots(down, across, sharex=True, squeeze=False).ravel()
    for panel, name in zip(panels, names, strict=False):
        for number, arm in with_rows(arms, rows):
            own = [row for row in rows if row[:2] == (arm, name)]
            points = [(row[2], *row[3:6]) for row in own if row[3] is not None]
            plot_line(panel, number, arms, points, arm)
        panel.axhline(0, color=GREY, linewidth=0.8)
        better = next(row[8] for row in rows if row[1] == name)
        panel.set_title(f"{name}, {better} is better", fontsize=8.5, loc="left", pad=3)
        panel.xaxis.get_major_locator().set_params(integer=True)
    for panel in panels[len(names) :]:
        panel.set_axis_off()
    for panel in panels[: len(names)][-across:]:
        panel.set_xlabel("generation")
        panel.tick_params(labelbottom=True)
    figure.supylabel("champion less baseline", fontsize=9)
    return add_legend(figure, panels[0])


def _choose_arms(rows: Rows) -> Rows:
    """Return the rows of the arms that are drawn."""
    arms = dict.fromkeys(row[0] for row in rows)
    order = [*(arm for arm in FIRST if arm in arms), *(arm for arm in arms if arm not in FIRST)]
    return [row for row in rows if row[0] in order[:TOGETHER]]
