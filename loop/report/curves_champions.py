"""Figures about champions over generations: how they propose."""

from collections.abc import Sequence
from typing import Any

from loop.report.plot import GREY, Rows, add_legend, new_figure, plot_line, with_rows

PANELS = (("notebook share\nof the champion", 2, 0), ("gain of a proposal,\n{}", 5, 1))
"""Label of the axis, first of three columns, first generation with a value; above and below."""


def draw_proposers(unit: str, arms: Sequence[str], rows: Rows) -> Any:
    """Draw notebook share and proposed gain per generation, one above the other."""
    figure, _ = new_figure(4.2)
    figure.clear()
    panels = figure.subplots(2, 1, sharex=True)
    for panel, (label, first, least) in zip(panels, PANELS, strict=True):
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
