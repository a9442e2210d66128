"""Effects of three preconditions on verified gain, over the two runs of study=preconditions-v1.

Use: python tests/bench/preconditions.py CLEAR NOISY
"""

import sys
from pathlib import Path

from evals.arms import UNIT, common, curves
from evals.factorial import effects
from loop.instruments.gather import read_records
from loop.terminal import print_table

FACTORS = ("own data", "calm", "clear")
ARMS = {"self": (1, 0), "scrambled": (0, 0), "self_spared": (1, 1), "scrambled_spared": (0, 1)}
"""Arm -> levels of the first two factors."""


def read_cells(clear, noisy):
    """Return levels -> verified gain (R,) at the whole plan; repeats are paired over all."""
    cells, repeats = {}, set()
    for level, folder in ((1, clear), (0, noisy)):
        records = read_records([folder])
        arms = curves(records.gains)
        if not set(ARMS) <= set(arms) or not records.ended:
            raise SystemExit(f"{folder} has not ended, or lacks one of {', '.join(ARMS)}")
        for arm, levels in ARMS.items():
            repeats.add(arms[arm].repeats)
            cells[*levels, level] = arms[arm].at(common(arms))
    if len(repeats) > 1:
        raise SystemExit("the runs have other repeats; both should be of the same study and seed")
    return cells


def main(clear, noisy):
    """Print every cell, and every effect with its interval."""
    cells = read_cells(Path(clear), Path(noisy))
    rows = [[*cell, f"{values.mean():.3f}", len(values)] for cell, values in sorted(cells.items())]
    print_table(rows, [*FACTORS, "gain", "n"], False)
    found = effects(FACTORS, cells, UNIT)
    rows = [
        [name, f"{one.value:.3f}", f"{one.low:.3f} to {one.high:.3f}", one.n, one.word]
        for name, one in found.items()
        if one.low is not None
    ]
    print_table(rows, ["effect", UNIT, "95 %", "n", "reads"], False)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        raise SystemExit(__doc__)
    main(*sys.argv[1:])
