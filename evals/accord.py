"""What a pause costs, of one party, of both, and where one breaks it: differences of arms.

Example: two loops agree to stand still for 4 of 12 rounds. The first had gained 0.9 log-odds after
8 rounds and gains 1.3 in 12: the pause costs it 0.4. Pure functions over records.
"""

from collections.abc import Mapping

import numpy as np

from configs.arms import ACCORD_FIGURES
from evals.arms import UNIT, Curve, pair_gains
from evals.intervals import Figure, mean


def compare_paused(arms: Mapping[str, Curve], cpu_us: float) -> dict[str, Figure]:
    """Return each figure of an accord whose arms a study has, paired over repeats."""
    figures = {}
    for name, names in ACCORD_FIGURES.items():
        if all(arm in arms for arm in names):
            pairs = zip(names[::2], names[1::2], strict=True)
            leads = [np.subtract(*pair_gains(arms, *pair, cpu_us)) for pair in pairs]
            figures[name] = mean(leads[0] - sum(leads[1:]), UNIT)
    return figures
