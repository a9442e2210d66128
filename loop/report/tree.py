"""The figure of the lineage: a line a campaign, its champions on the line, its trials below it."""

import itertools
from collections.abc import Sequence
from typing import Any

from loop.report.plot import COLOURS, GREY, Point, Rows, add_legend, new_figure, plot_segments

NODES_DRAWN = 1500
"""Proposals in a lineage beside the accepted ones; of more every k-th."""
LANES = 10
"""Campaigns in a lineage; of more the first repeat of each arm."""
ACCEPTED = "accepted"
CONFIRMED = "confirmed, not accepted"
ENDED = "ended before"
NODES: dict[str, dict[str, Any]] = {
    ACCEPTED: {"marker": "o", "color": COLOURS[0], "markersize": 6},
    CONFIRMED: {"marker": "s", "color": COLOURS[1], "markersize": 4, "fillstyle": "none"},
    ENDED: {"marker": ".", "color": GREY, "markersize": 3},
}
"""Kind of node -> its marker."""
KINDS: dict[str, str] = {
    "baseline": ACCEPTED,
    "accepted": ACCEPTED,
    "no effect": CONFIRMED,
    "inconclusive": CONFIRMED,
    "over budget": CONFIRMED,
    "accepted, not promoted": CONFIRMED,
}
"""Fate of a plan -> kind of node; any other fate ended before the confirmation."""


def draw_lineage(_unit: str, _arms: Sequence[str], rows: Rows) -> Any:
    """Draw the campaigns, each from its baseline on."""
    lanes = _choose_lanes(rows)
    figure, axis = new_figure(0.9 + 0.62 * len(lanes))
    for lane, campaign in enumerate(lanes):
        own = [row for row in rows if (row[0], row[1]) == campaign]
        _plot_campaign(axis, lane, _choose_nodes(own, len(lanes)))
    _frame_lanes(axis, lanes)
    for kind, style in NODES.items():
        axis.plot([], [], linestyle="", label=kind, **style)
    return add_legend(figure, axis, columns=4)


def _choose_lanes(rows: Rows) -> list[tuple[Any, Any]]:
    """Return the drawn campaigns."""
    lanes = list(dict.fromkeys((row[0], row[1]) for row in rows))
    if len(lanes) <= LANES:
        return lanes
    first = dict[Any, tuple[Any, Any]]()
    for arm, repeat in lanes:
        first.setdefault(arm, (arm, repeat))
    return list(first.values())[:LANES]


def _choose_nodes(rows: Rows, lanes: int) -> Rows:
    """Return every accepted plan, and the others thinned."""
    accepted = [row for row in rows if _kind(row) == ACCEPTED]
    others = [row for row in rows if _kind(row) != ACCEPTED]
    step = -(-len(others) * lanes // NODES_DRAWN) or 1
    return [*accepted, *others[::step]]


def _kind(row: tuple[Any, ...]) -> str:
    return KINDS.get(row[5], ENDED)


def _frame_lanes(axis: Any, lanes: Sequence[tuple[Any, Any]]) -> None:
    repeats = {repeat for _, repeat in lanes}
    names = [f"{arm}, {repeat}" if len(repeats) > 1 else arm for arm, repeat in lanes]
    axis.set(
        xlabel="generation",
        yticks=range(len(lanes)),
        yticklabels=names,
        ylim=(len(lanes) - 0.4, -0.6),
    )
    axis.xaxis.get_major_locator().set_params(integer=True)
    axis.spines["left"].set_visible(False)
    axis.tick_params(axis="y", length=0)


def _plot_campaign(axis: Any, lane: int, rows: Rows) -> None:
    """Draw a campaign, each plan tied to its parent."""
    places = _place_nodes(lane, rows)
    others, accepted = list[tuple[Point, Point]](), list[tuple[Point, Point]]()
    for row in rows:
        if row[4] in places:
            edges = accepted if _kind(row) == ACCEPTED else others
            edges.append((places[row[4]], places[row[3]]))
    plot_segments(axis, others, zorder=1, color=GREY, linewidth=0.4, alpha=0.6)
    plot_segments(axis, accepted, zorder=1, color=COLOURS[0], linewidth=1.8)
    for kind, style in NODES.items():
        nodes = [places[row[3]] for row in rows if _kind(row) == kind]
        if nodes:
            axis.plot(*zip(*nodes, strict=True), linestyle="", zorder=2, **style)


def _place_nodes(lane: int, rows: Rows) -> dict[str, Point]:
    """Return plan -> place: champions on the lane, the trials of a generation fanned out below."""
    places: dict[str, Point] = {}
    in_order = sorted(rows, key=lambda row: (row[2], _kind(row) != ACCEPTED))
    for generation, group in itertools.groupby(in_order, key=lambda row: row[2]):
        plans = list(group)
        below = [row[3] for row in plans if _kind(row) != ACCEPTED]
        places |= {row[3]: (generation, lane) for row in plans if _kind(row) == ACCEPTED}
        for number, plan in enumerate(below, 1):
            places[plan] = (generation, lane + 0.16 + 0.42 * number / (len(below) + 1))
    return places
