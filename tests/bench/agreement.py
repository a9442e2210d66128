"""Hold a boxed study beside the same study on a table, instrument by instrument.

    heirloop mandate grant --unattended study=agreement task=text study.name=boxed
    heirloop run study=agreement task=text study.name=boxed
    heirloop mandate grant --unattended study=agreement task=table study.name=tabulated
    heirloop run study=agreement task=table study.name=tabulated
    .venv/bin/python tests/bench/agreement.py runs/boxed runs/tabulated

It writes docs/figures/agreement.json and prints the table of docs/table.md. The interval of a
difference is MOVER's (Zou and Donner 2008), from the intervals of both sides. Agreement means that
it holds 0. At 95 % one instrument in twenty differs by chance.
"""

import json
import math
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from loop.instruments.measure import measure  # noqa: E402

BOUND = 1e-9
"""Differences of rounding."""


def figures(told: object, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], dict]]:
    """Yield every measured figure with an interval, by its path."""
    if not isinstance(told, dict):
        return
    if "value" in told:
        if told["value"] is not None and told["low"] is not None and told["n"]:
            yield path, told
        return
    for key, value in told.items():
        yield from figures(value, (*path, key))


def differ(one: dict, other: dict) -> tuple[float, float, float]:
    """The difference of two independent estimates and its interval."""
    gap = one["value"] - other["value"]
    below = math.hypot(one["value"] - one["low"], other["high"] - other["value"])
    above = math.hypot(one["high"] - one["value"], other["value"] - other["low"])
    return gap, gap - below, gap + above


def main(boxed: str, tabulated: str) -> None:
    sides = [dict(figures(measure([Path(run)])["arms"])) for run in (boxed, tabulated)]
    rows = []
    for path in (path for path in sides[0] if path in sides[1]):
        one, other = (side[path] for side in sides)
        if one["low"] == one["high"] and other["low"] == other["high"]:
            continue  # constants
        gap, low, high = differ(one, other)
        rows.append(
            {
                "arm": path[0],
                "instrument": " / ".join(path[1:]),
                "boxed": [one[key] for key in ("value", "low", "high")],
                "tabulated": [other[key] for key in ("value", "low", "high")],
                "difference": [gap, low, high],
                "agrees": low <= BOUND and high >= -BOUND,
                "unit": one["unit"],
            }
        )
    told = json.dumps(rows, indent=1, allow_nan=False)
    (ROOT / "docs" / "figures" / "agreement.json").write_text(told + "\n")
    print("| arm | instrument | boxed | tabulated | boxed minus tabulated | agree |")
    print("|---|---|---|---|---|---|")
    for row in rows:
        cells = [write(row[key]) for key in ("boxed", "tabulated", "difference")]
        agree = "yes" if row["agrees"] else "**no**"
        print("| " + " | ".join([row["arm"], row["instrument"], *cells, agree]) + " |")
    print(f"\n{sum(row['agrees'] for row in rows)} of {len(rows)} agree")


def write(numbers: list[float]) -> str:
    value, low, high = (f"{number:.3g}" for number in numbers)
    return f"{value} ({low} to {high})"


if __name__ == "__main__":
    main(*sys.argv[1:])
