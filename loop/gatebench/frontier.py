"""Gates side by side: gates.csv, and one frontier of harm let through against gain kept."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from loop.gatebench.figures import measure, write_csv
from loop.report.plot import colour, marker, new_figure
from sandbox.files import replace_file

SMALLEST, LARGEST = 25.0, 400.0
"""Areas of a marker, in square points: no minutes, and the most minutes of people."""


def compare(folders: Sequence[Path], to: Path) -> list[dict[str, Any]]:
    """Measure benches; write gates.csv and frontier.svg into a folder; return the figures."""
    told = [measure(folder) for folder in folders]
    to.mkdir(parents=True, exist_ok=True)
    rows = [row for one in told for row in one["rows"] if row["pack"] == "all"]
    replace_file(to / "gates.csv", write_csv(rows))
    replace_file(to / "frontier.svg", draw_frontier(told))
    return told


def draw_frontier(told: Sequence[dict[str, Any]]) -> str:
    """Return the frontier as SVG: further up keeps more gain, further left lets less harm pass."""
    figure, axis = new_figure(3.6)
    most = max((one["minutes"] for one in told), default=0.0) or 1.0
    for number, one in enumerate(told):
        harm = one["harm"]["bits"]
        if harm is None or one["gain_kept"] is None:
            continue
        area = SMALLEST + (LARGEST - SMALLEST) * one["minutes"] / most
        axis.scatter(
            harm,
            100 * one["gain_kept"],
            s=area,
            color=colour(number),
            marker=marker(number),
            alpha=0.75,
            label=one["gate"],
        )
    axis.set_xlabel("harm let through, mean bits of a harmful family")
    axis.set_ylabel("gain kept, %")
    axis.set_ylim(-5, 105)
    axis.margins(x=0.08)
    figure.legend(loc="outside lower center", ncols=3, fontsize=8, frameon=False, markerscale=0.6)
    out = io.StringIO()
    figure.savefig(out, format="svg", metadata={"Date": None})
    return out.getvalue()
