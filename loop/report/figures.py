"""The report's figures: a table's rows as inline SVG, text as text, colours that follow the page's
light or dark.

Arms differ in colour, marker and line style together, so that none is told by colour alone
(palette: Okabe and Ito 2008).
"""

import io
import itertools
import re
from collections.abc import Callable, Sequence
from typing import Any

from configs.arms import START
from evals.closure import STAGES
from evals.loss import FATES, RUNGS
from loop.report.shape import Table

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "*", "p", "d", "h", "x")
LINES = ("-", "--", "-.", ":", (0, (5, 1)), (0, (1, 1)))
DOTS = 1500
"""Trials that are drawn; of more every k-th."""
POINTS = 150
"""Points of a line."""
NODES_DRAWN = 1500
"""Proposals in a lineage beside the accepted ones; of more every k-th."""
LEGEND = 75
"""Characters of the page's font that a line of a legend holds, key and gap of an entry counted as
five.
"""
TOGETHER = 4
"""Arms whose gains are drawn in one panel; more get one each."""
LANES = 10
"""Campaigns in a lineage; of more the first repeat of each arm."""
Rows = Sequence[tuple[Any, ...]]


def draw(tables: Sequence[Table], arms: Sequence[str] = ()) -> str:
    """Return a figure of the first table as SVG, or nothing where it has nothing to show; a second
    table holds its trials.

    `arms`: all arms of the study, so that each keeps its colour and marker in every figure.
    """
    first = tables[0]
    known = [
        *arms,
        *sorted(
            {r[0] for one in tables for r in one.rows} - set(arms),
            key=lambda arm: (arm.startswith("beside: "), arm == START, arm),
        ),
    ]
    made = FIGURES[first.name](first.unit.replace("_", " "), known, *(one.rows for one in tables))
    return "" if made is None else _svg(made, first.name)


def _shown(arms: Sequence[str], *tables: Rows) -> list[tuple[int, str]]:
    """Return (number, arm) of the arms that have rows."""
    having = {r[0] for rows in tables for r in rows}
    return [(at, arm) for at, arm in enumerate(arms) if arm in having]


def _scores(unit: str, arms: Sequence[str], rows: Rows, trials: Rows = ()) -> Any:
    if not rows and not trials:
        return None
    figure, axis = _figure()
    step = -(-len(trials) // DOTS) or 1
    for at, arm in _shown(arms, rows, trials):
        mine = [r for r in trials if r[0] == arm][::step]
        axis.plot(
            [r[2] + _beside(at, arms) for r in mine],
            [r[3] for r in mine],
            MARKERS[at % len(MARKERS)],
            color=_colour(at),
            markersize=3.5,
            alpha=0.5 if len(trials) < 300 else 0.25,
            markeredgewidth=0,
            label=f"{arm}: trials" if arm == START else None,
        )
        _line(axis, at, arms, [(r[1], *r[2:5]) for r in rows if r[0] == arm], f"{arm}: champion")
    axis.set(xlabel="generation", ylabel=f"{unit} on feedback")
    values = [r[3] for r in trials] + [r[2] for r in rows]
    if values and min(values) >= 0 and max(values) <= 1:
        axis.set_ylim(-0.03, 1.03)
    axis.xaxis.get_major_locator().set_params(integer=True)
    return _legend(figure, axis)


def _gains(unit: str, arms: Sequence[str], rows: Rows) -> Any:
    if len(_shown(arms, rows)) > TOGETHER:
        return _apart(unit, arms, rows)
    figure, axis = _figure()
    for at, arm in _shown(arms, rows):
        mine = [r for r in rows if r[0] == arm]
        aside = _beside(at, arms) * min(r[1] for r in mine)
        _line(
            axis, at, [arm], [(0.0, 0.0, None, None), *((r[1] + aside, *r[2:5]) for r in mine)], arm
        )
    axis.axhline(0, color="#808080", linewidth=0.8)
    axis.set(xlabel="planned compute, CPU-seconds", ylabel=f"verified gain, {unit}")
    return _legend(figure, axis)


def _apart(unit: str, arms: Sequence[str], rows: Rows) -> Any:
    """Draw each of many arms in a panel of its own, with its intervals, before the others in
    grey.
    """
    shown = _shown(arms, rows)
    points = {
        arm: [(0.0, 0.0, None, None), *(r[1:5] for r in rows if r[0] == arm)] for _, arm in shown
    }
    down = -(-len(shown) // 3)
    figure, _ = _figure(0.7 + 1.25 * down)
    figure.clear()
    panels = figure.subplots(down, 3, sharex=True, sharey=True, squeeze=False).ravel()
    for panel, (at, arm) in zip(panels, shown, strict=False):
        _segments(
            panel,
            list(
                itertools.chain.from_iterable(
                    itertools.pairwise((p[0], p[1]) for p in other) for other in points.values()
                )
            ),
            color="#808080",
            linewidth=0.5,
            alpha=0.6,
        )
        if within := [
            (x, low, high)
            for x, _, low, high in points[arm]
            if low is not None and high is not None
        ]:
            panel.fill_between(
                *zip(*within, strict=True), color=_colour(at), alpha=0.2, linewidth=0
            )
        panel.plot(
            [p[0] for p in points[arm]],
            [p[1] for p in points[arm]],
            color=_colour(at),
            linewidth=1.8,
        )
        panel.set_title(arm, fontsize=8.5, loc="left", pad=2)
    for panel in panels[len(shown) :]:
        panel.set_axis_off()
    figure.supxlabel("planned compute, CPU-seconds", fontsize=9)
    figure.supylabel(f"verified gain, {unit}", fontsize=9)
    return figure


def _line(axis: Any, at: int, arms: Sequence[str], points: Rows, label: str) -> None:
    """Draw (x, mean, low, high) as a line with its intervals; of many points every k-th and the
    last.
    """
    if not points:
        return
    points = (
        [*points[:: -(-len(points) // POINTS)], *points[-1:]] if len(points) > POINTS else points
    )
    x = [p[0] + _beside(at, arms) for p in points]
    style = {"color": _colour(at), "marker": MARKERS[at % len(MARKERS)], "linestyle": LINES[at % 6]}
    axis.plot(x, [p[1] for p in points], markersize=5, linewidth=1.6, label=label, **style)
    _segments(
        axis,
        [
            ((place, p[2]), (place, p[3]))
            for place, p in zip(x, points, strict=True)
            if p[2] is not None and p[3] is not None
        ],
        color=_colour(at),
        linewidth=1,
    )


def _segments(
    axis: Any, ends: Sequence[tuple[tuple[float, float], tuple[float, float]]], **style: Any
) -> None:
    """Draw many lines as one."""
    gap = (float("nan"), float("nan"))
    points = [point for pair in ends for point in (*pair, gap)]
    if points:
        axis.plot(*zip(*points, strict=True), solid_capstyle="butt", **style)


def _burn(_unit: str, _arms: Sequence[str], rows: Rows) -> Any:
    figure, axis = _figure(2.6)
    for at, (run, mine) in enumerate(itertools.groupby(rows, key=lambda r: r[0])):
        line = [r[1:] for r in mine]
        axis.plot(*zip(*line, strict=True), color=_colour(at), linestyle=LINES[at % 6], label=run)
    axis.set(xlabel="ledger entry", ylabel="CPU-seconds left", ylim=(0, None))
    return _legend(figure, axis) if len({r[0] for r in rows}) > 1 else figure


def _lineage(_unit: str, _arms: Sequence[str], rows: Rows) -> Any:
    lanes = list(dict.fromkeys((r[0], r[1]) for r in rows))
    if len(lanes) > LANES:
        lanes = list({arm: (arm, repeat) for arm, repeat in reversed(lanes)}.values())[::-1][:LANES]
    figure, axis = _figure(0.9 + 0.62 * len(lanes))
    for lane, key in enumerate(lanes):
        mine = [r for r in rows if (r[0], r[1]) == key]
        rest = [r for r in mine if _node(r[5]) != "accepted"]
        step = -(-len(rest) * len(lanes) // NODES_DRAWN) or 1
        _tree(axis, lane, [*(r for r in mine if _node(r[5]) == "accepted"), *rest[::step]])
    named = [f"{arm}, {repeat}" if len({r for _, r in lanes}) > 1 else arm for arm, repeat in lanes]
    axis.set(
        xlabel="generation",
        yticks=range(len(lanes)),
        yticklabels=named,
        ylim=(len(lanes) - 0.4, -0.6),
    )
    axis.xaxis.get_major_locator().set_params(integer=True)
    axis.spines["left"].set_visible(False)
    axis.tick_params(axis="y", length=0)
    for kind, style in NODES.items():
        axis.plot([], [], linestyle="", label=kind, **style)
    return _legend(figure, axis, columns=4)


NODES: dict[str, dict[str, Any]] = {
    "accepted": {"marker": "o", "color": COLOURS[0], "markersize": 6},
    "confirmed, not accepted": {
        "marker": "s",
        "color": COLOURS[1],
        "markersize": 4,
        "fillstyle": "none",
    },
    "ended before": {"marker": ".", "color": "#808080", "markersize": 3},
}


def _node(fate: str) -> str:
    return {
        "baseline": "accepted",
        "accepted": "accepted",
        "no effect": "confirmed, not accepted",
        "inconclusive": "confirmed, not accepted",
        "over budget": "confirmed, not accepted",
        "accepted, not promoted": "confirmed, not accepted",
    }.get(fate, "ended before")


def _tree(axis: Any, lane: int, rows: Rows) -> None:
    """Draw one campaign: champions on the lane, what was tried fanned out below it, each tied to
    its parent.
    """
    at: dict[str, tuple[float, float]] = {}
    for generation, group in itertools.groupby(
        sorted(rows, key=lambda r: (r[2], _node(r[5]) != "accepted")), key=lambda r: r[2]
    ):
        found = list(group)
        low = [r for r in found if _node(r[5]) != "accepted"]
        for r in found:
            at[r[3]] = (
                generation,
                (
                    lane
                    if _node(r[5]) == "accepted"
                    else lane + 0.16 + 0.42 * (low.index(r) + 1) / (len(low) + 1)
                ),
            )
    for kept, style in (
        (False, {"color": "#808080", "linewidth": 0.4, "alpha": 0.6}),
        (True, {"color": COLOURS[0], "linewidth": 1.8}),
    ):
        edges = [
            (at[r[4]], at[r[3]]) for r in rows if r[4] in at and (_node(r[5]) == "accepted") is kept
        ]
        _segments(axis, edges, zorder=1, **style)
    for kind, style in NODES.items():
        places = [at[r[3]] for r in rows if _node(r[5]) == kind]
        if places:
            axis.plot(*zip(*places, strict=True), linestyle="", zorder=2, **style)


def _funnel(_unit: str, arms: Sequence[str], rows: Rows) -> Any:
    return _dots(
        arms,
        [(r[0], r[1], r[3], None, None) for r in rows if r[2]],
        FATES,
        "share of the arm's proposals",
        (-0.03, 1.03),
    )


def _rungs(unit: str, arms: Sequence[str], rows: Rows) -> Any:
    return _dots(arms, [(r[0], r[1], *r[2:5]) for r in rows], RUNGS, f"gain, {unit}", None)


def _automation(_unit: str, arms: Sequence[str], rows: Rows) -> Any:
    return _dots(
        arms,
        [(r[0], r[1], *r[2:5]) for r in rows],
        STAGES,
        "1 - share of compute that people released",
        (-0.03, 1.03),
    )


def _dots(
    arms: Sequence[str],
    rows: Rows,
    names: Sequence[str],
    label: str,
    limits: tuple[float, float] | None,
) -> Any:
    """Draw (arm, name, value, low, high) as dots on one line a name, arms beside one another."""
    shown = [r for r in rows if r[2] is not None and r[1] in names]
    if not shown:
        return None
    lines, found = _shown(arms, shown), [n for n in names if any(r[1] == n for r in shown)]
    intervals = any(r[3] is not None for r in shown)
    figure, axis = _figure(0.9 + len(found) * (0.12 + 0.085 * len(lines)))
    for line, (at, arm) in enumerate(lines):
        mine = [r for r in shown if r[0] == arm]
        y = [found.index(r[1]) + 0.7 * ((line + 0.5) / len(lines) - 0.5) for r in mine]
        _segments(
            axis,
            [
                ((r[3], place), (r[4], place))
                for place, r in zip(y, mine, strict=True)
                if r[3] is not None and r[4] is not None
            ],
            color=_colour(at),
            linewidth=1.2,
        )
        for sure in (True, False):  # hollow: without an interval
            part = [
                (r[2], place)
                for place, r in zip(y, mine, strict=True)
                if sure is not (intervals and r[3] is None and r[4] is None)
            ]
            axis.plot(
                [x for x, _ in part],
                [place for _, place in part],
                MARKERS[at % len(MARKERS)],
                color=_colour(at),
                markersize=4.5,
                fillstyle="full" if sure else "none",
                linestyle="none",
                label=arm if sure else None,
            )
    for below in range(len(found) - 1):
        axis.axhline(below + 0.5, color="#808080", linewidth=0.3)
    axis.set(
        xlabel=label,
        yticks=range(len(found)),
        yticklabels=found,
        ylim=(len(found) - 0.5, -0.5),
        xlim=limits,
    )
    axis.tick_params(axis="y", length=0)
    if limits is None:
        axis.axvline(0, color="#808080", linewidth=0.8)
    return _legend(figure, axis)


def _calibration(unit: str, arms: Sequence[str], rows: Rows) -> Any:
    figure, axis = _figure(3.4)
    ends = [f(v for r in rows for v in r[2:4]) for f in (min, max)]
    for at, arm in _shown(arms, rows):
        mine = [r for r in rows if r[0] == arm]
        axis.plot(
            [r[2] for r in mine],
            [r[3] for r in mine],
            MARKERS[at % len(MARKERS)],
            color=_colour(at),
            alpha=0.8,
            markersize=5,
            label=arm,
        )
    axis.plot(ends, ends, "--", color="#808080", linewidth=1, label="promised = verified")
    axis.set(xlabel=f"promised gain, {unit}", ylabel="verified gain")
    return _legend(figure, axis)


FIGURES: dict[str, Callable[..., Any]] = {
    "scores": _scores,
    "gains": _gains,
    "lineage": _lineage,
    "burn": _burn,
    "funnel": _funnel,
    "rungs": _rungs,
    "automation": _automation,
    "calibration": _calibration,
}
"""Table -> how it is drawn."""


def _colour(at: int) -> str:
    return COLOURS[at % len(COLOURS)]


def _beside(at: int, arms: Sequence[str]) -> float:
    """Return how far an arm's points stand beside the generation's number, so that none covers
    another.
    """
    return 0.36 * ((at + 0.5) / len(arms) - 0.5) if len(arms) > 1 else 0.0


def _figure(height: float = 2.8) -> Any:
    import matplotlib
    from matplotlib.figure import Figure

    matplotlib.rcParams.update(
        {
            "svg.hashsalt": "heirloop",
            "svg.fonttype": "none",
            "font.size": 9,
            "axes.spines.top": False,
            "axes.spines.right": False,
        }
    )
    figure = Figure(figsize=(4.9, height), layout="constrained")
    return figure, figure.subplots()


def _legend(figure: Any, axis: Any, columns: int = 3) -> Any:
    """Put the legend below the axes, where it covers nothing."""
    handles, labels = axis.get_legend_handles_labels()
    if handles:
        columns = min(columns, max(1, LEGEND // (max(map(len, labels)) + 5)))
        figure.legend(
            handles, labels, loc="outside lower center", ncols=columns, fontsize=8, frameon=False
        )
    return figure


def _svg(figure: Any, name: str) -> str:
    out = io.StringIO()
    figure.savefig(
        out,
        format="svg",
        transparent=True,
        metadata={"Date": None, "Creator": None, "Format": None, "Type": None},
    )
    text = out.getvalue()[out.getvalue().index("<svg") :]
    for pattern, to in SVG:
        text = pattern.sub(to, text)
    return text.replace("<svg ", f'<svg role="img" class="{name}" ', 1)


SVG: tuple[tuple[re.Pattern[str], Any], ...] = (
    (re.compile(r"<metadata>.*?</metadata>\s*", re.DOTALL), ""),
    (re.compile(r"<!--.*?-->\s*", re.DOTALL), ""),
    (re.compile(r'<g id="[a-z]\w*?_\w*">'), "<g>"),
    (re.compile(r"\n\s*"), "\n"),
    (re.compile(r"#000000"), "currentColor"),
    (re.compile(r"(#[0-9a-f]{6})\b(?=[;\"'])"), lambda found: f"var(--{found[1][1:]}, {found[1]})"),
    (re.compile(r"font: ([\d.]+)px [^;\"]*"), r"font: \1px system-ui, sans-serif"),
)
"""What makes a figure small and lets it follow the page: no names that repeat, no comments, colours
by the page's own names.
"""
