"""Gates side by side: gates.csv, pairs.csv, and one frontier of harm let through against gain kept.

Two gates that were shown the same plans in the same order are compared family by family.
"""

import io
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

from evals.gatebench import rates
from evals.registered import holm
from loop.gatebench.figures import list_counted, measure, write_csv
from loop.gatebench.play import read_sheet
from loop.report.plot import colour, marker, new_figure
from sandbox.files import replace_file

SMALLEST, LARGEST = 25.0, 400.0
"""Areas of a marker, in square points: no minutes, and the most minutes of people."""


PAIR = (
    *("gate", "other", "escapes_one", "escapes_other", "escapes_p", "escapes_p_family"),
    *("blocks_one", "blocks_other", "blocks_p", "blocks_p_family"),
)
"""Columns of pairs.csv."""


def compare(folders: Sequence[Path], to: Path) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Measure benches; write gates.csv, pairs.csv and frontier.svg into a folder.

    Return the figures of each bench, and the rows of pairs.csv.
    """
    told, pairs = [measure(folder) for folder in folders], list_pairs(folders)
    to.mkdir(parents=True, exist_ok=True)
    rows = [row for one in told for row in one["rows"] if row["pack"] == "all"]
    replace_file(to / "gates.csv", write_csv(rows))
    replace_file(to / "pairs.csv", write_csv(pairs, PAIR))
    replace_file(to / "frontier.svg", draw_frontier(told))
    return told, pairs


def list_pairs(folders: Sequence[Path]) -> list[dict[str, Any]]:
    """Return how each two gates differ on the same plans, p values also over all pairs (Holm)."""
    sides = [(read_sheet(folder), list_counted(folder)) for folder in folders]
    rows: list[dict[str, Any]] = [
        {"gate": one.bench.gate.name, "other": other.bench.gate.name, **rates.compare(mine, theirs)}
        for (one, mine), (other, theirs) in combinations(sides, 2)
        if one.mix == other.mix
    ]
    for name in ("escapes", "blocks"):
        for row, p in zip(rows, holm([row[f"{name}_p"] for row in rows]), strict=True):
            row[f"{name}_p_family"] = p
    return rows


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
    if axis.collections:
        figure.legend(
            loc="outside lower center", ncols=3, fontsize=8, frameon=False, markerscale=0.6
        )
    out = io.StringIO()
    figure.savefig(out, format="svg", metadata={"Date": None})
    return out.getvalue()
