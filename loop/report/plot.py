"""How do figures look? Colours, markers, lines, intervals, the legend, and SVG for a page.

Arms differ in colour, marker and line style together, so colour alone never names an arm
(palette: Okabe and Ito 2008).
"""

import io
import re
from collections.abc import Sequence
from typing import Any

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
GREY = "#808080"
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "*", "p", "d", "h", "x")
LINES = ("-", "--", "-.", ":", (0, (5, 1)), (0, (1, 1)))
POINTS = 150
"""Points of a line."""
LEGEND = 75
"""Characters of the page's font in a line of a legend; key and gap of an entry count as five."""
WIDTH_INCHES = 4.9
Rows = Sequence[tuple[Any, ...]]
Point = tuple[float, float]


def new_figure(height_inches: float = 2.8, width_inches: float = WIDTH_INCHES) -> tuple[Any, Any]:
    """Return a figure and its axes."""
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
    figure = Figure(figsize=(width_inches, height_inches), layout="constrained")
    return figure, figure.subplots()


def colour(number: int) -> str:
    """Return the colour of an arm by its number."""
    return COLOURS[number % len(COLOURS)]


def marker(number: int) -> str:
    """Return the marker of an arm by its number."""
    return MARKERS[number % len(MARKERS)]


def line_style(number: int) -> Any:
    """Return the line style of an arm by its number."""
    return LINES[number % len(LINES)]


def with_rows(arms: Sequence[str], *tables: Rows) -> list[tuple[int, str]]:
    """Return (number, arm) of the arms with rows."""
    having = {row[0] for rows in tables for row in rows}
    return [(number, arm) for number, arm in enumerate(arms) if arm in having]


def offset(number: int, arms: Sequence[str]) -> float:
    """Return the x offset of an arm's points, so arms do not overlap."""
    return 0.36 * ((number + 0.5) / len(arms) - 0.5) if len(arms) > 1 else 0.0


def plot_line(axis: Any, number: int, arms: Sequence[str], points: Rows, label: str) -> None:
    """Draw (x, mean, low, high) as a line with its intervals; long lines are thinned."""
    if not points:
        return
    points = _thin(points)
    x = [point[0] + offset(number, arms) for point in points]
    axis.plot(
        x,
        [point[1] for point in points],
        color=colour(number),
        marker=marker(number),
        linestyle=line_style(number),
        markersize=5,
        linewidth=1.6,
        label=label,
    )
    ends = [
        ((place, low), (place, high))
        for place, (_, _, low, high) in zip(x, points, strict=True)
        if low is not None and high is not None
    ]
    plot_segments(axis, ends, color=colour(number), linewidth=1)


def _thin(points: Rows) -> Rows:
    """Return every k-th point and the last."""
    if len(points) <= POINTS:
        return points
    step = -(-len(points) // POINTS)
    return [*points[::step], *points[-1:]]


def plot_segments(axis: Any, ends: Sequence[tuple[Point, Point]], **style: Any) -> None:
    """Draw many lines as a single path."""
    # A point that is no number breaks the line, so one path holds them all.
    gap = (float("nan"), float("nan"))
    points = [point for pair in ends for point in (*pair, gap)]
    if points:
        axis.plot(*zip(*points, strict=True), solid_capstyle="butt", **style)


def add_legend(figure: Any, axis: Any, columns: int = 3) -> Any:
    """Put the legend below the axes, where it covers nothing; return the figure."""
    handles, labels = axis.get_legend_handles_labels()
    if handles:
        longest = max(len(label) for label in labels)
        figure.legend(
            handles,
            labels,
            loc="outside lower center",
            ncols=min(columns, max(1, LEGEND // (longest + 5))),
            fontsize=8,
            frameon=False,
        )
    return figure


def to_svg(figure: Any, name: str) -> str:
    """Return a figure as SVG for the page: small, and in the page's colours."""
    out = io.StringIO()
    figure.savefig(
        out,
        format="svg",
        transparent=True,
        metadata={"Date": None, "Creator": None, "Format": None, "Type": None},
    )
    whole = out.getvalue()
    text = whole[whole.index("<svg") :]
    for pattern, replacement in SVG:
        text = pattern.sub(replacement, text)
    return text.replace("<svg ", f'<svg role="img" class="{name}" ', 1)


def _variable(match: re.Match[str]) -> str:
    return f"var(--{match[1][1:]}, {match[1]})"


SVG: tuple[tuple[re.Pattern[str], Any], ...] = (
    (re.compile(r"<metadata>.*?</metadata>\s*", re.DOTALL), ""),
    (re.compile(r"<!--.*?-->\s*", re.DOTALL), ""),
    (re.compile(r'<g id="[a-z]\w*?_\w*">'), "<g>"),
    (re.compile(r"\n\s*"), "\n"),
    (re.compile(r"#000000"), "currentColor"),
    (re.compile(r"(#[0-9a-f]{6})\b(?=[;\"'])"), _variable),
    (re.compile(r"font: ([\d.]+)px [^;\"]*"), r"font: \1px system-ui, sans-serif"),
)
"""Patterns that make a figure small and let it follow the page.

They take out names that repeat and comments, and turn colours into the page's variables.
"""
