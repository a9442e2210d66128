"""Figures of a paper: which claims replicate, and how well reviewers foresaw it."""

from collections.abc import Sequence
from typing import Any

from loop.report.plot import (
    GREY,
    Rows,
    add_legend,
    colour,
    line_style,
    marker,
    new_figure,
    plot_segments,
)


def draw_replicates(_unit: str, _arms: Sequence[str], rows: Rows) -> Any:
    """Draw the share of claims that replicate, a line a kind."""
    shown = [row for row in rows if row[2] is not None]
    if not shown:
        return None
    figure, axis = new_figure(0.8 + 0.3 * len(shown))
    for place, (_, _, value, low, high, *_) in enumerate(shown):
        known = low is not None and high is not None
        if known:
            ends = [((max(low, 0.0), place), (min(high, 1.0), place))]
            plot_segments(axis, ends, color=colour(0), linewidth=1.2)
        fill = "full" if known else "none"
        axis.plot([value], [place], marker(0), color=colour(0), markersize=5, fillstyle=fill)
    axis.set(
        xlabel="share of checked claims that replicate",
        yticks=range(len(shown)),
        yticklabels=[f"{row[1]} ({row[5]})" for row in shown],
        ylim=(len(shown) - 0.5, -0.5),
        xlim=(-0.03, 1.03),
    )
    axis.tick_params(axis="y", length=0)
    return figure


def draw_review(_unit: str, _arms: Sequence[str], rows: Rows) -> Any:
    """Draw the share that replicates over the probability that reviewers gave."""
    if not rows:
        return None
    figure, axis = new_figure(3.2)
    axis.plot([0, 1], [0, 1], color=GREY, linewidth=0.8)
    most = max(row[3] for row in rows)
    for number, name in enumerate(dict.fromkeys(row[0] for row in rows)):
        own = [row for row in rows if row[0] == name]
        axis.plot(
            [row[1] for row in own],
            [row[2] for row in own],
            color=colour(number),
            linestyle=line_style(number),
            linewidth=1,
        )
        for place, (_, said, share, claims) in enumerate(own):
            axis.plot(
                [said],
                [share],
                marker(number),
                color=colour(number),
                markersize=3 + 6 * (claims / most) ** 0.5,
                linestyle="none",
                label=None if place else name,
            )
    axis.set(
        xlabel="probability that the reviewer gave",
        ylabel="share that replicates",
        xlim=(-0.03, 1.03),
        ylim=(-0.03, 1.03),
    )
    return add_legend(figure, axis)
