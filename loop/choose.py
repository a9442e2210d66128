"""Which screened plan is confirmed: the best primary metric on feedback, then fewer weights, then
the earlier one.
"""

import math
from collections.abc import Sequence

from configs.objective import Objective
from configs.records import Plan, Scores
from evals.metrics import primary


def choose(screened: Sequence[tuple[str, Plan, Scores | None]], objective: Objective) -> str | None:
    """Return the digest of the plan to confirm, or None if no screening gave a score."""
    scored = [
        (name, plan, s)
        for name, plan, s in screened
        if s is not None and math.isfinite(primary(objective, s))
    ]
    if not scored:
        return None
    return max(
        scored, key=lambda row: (primary(objective, row[2]), -row[2].parameters, -row[1].index)
    )[0]
