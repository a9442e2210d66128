"""What does a habit of keeping cost? An agent under a greedy rule and the objective's.

Some of its proposals are placebos: it says beforehand that they gain exactly 0, since they draw
other seeds and change nothing else. A placebo that is kept is a false keep, whatever its score.
Pure functions.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from evals.arms import Curve, difference
from evals.intervals import mean, missing, share
from evals.loss import PlanFact

UNIT = "false keeps of a campaign"


def is_placebo(plan: PlanFact) -> bool:
    """Tell whether a proposer promised a gain of exactly 0."""
    return plan.promised == 0.0


def compare_keeping(
    names: tuple[str, str],
    plans: Mapping[str, Sequence[PlanFact]],
    arms: Mapping[str, Curve],
    cpu_us: float,
) -> dict[str, Any]:
    """Return false keeps and gain of two arms, and their differences paired over repeats.

    `names` are the greedy arm and its twin; the gain is the verified one, at equal spent plan. Kept
    placebos are also told as a share of those that were confirmed.
    """
    greedy, rule = ([p for p in plans.get(name, ()) if is_placebo(p)] for name in names)
    known = sorted(set.intersection(*({p.repeat for p in plans.get(n, ())} for n in names)))
    counts = [Counter(p.repeat for p in own if p.fate == "accepted") for own in (greedy, rule)]
    apart = [counts[0][repeat] - counts[1][repeat] for repeat in known]
    measured = bool(greedy) and bool(rule) and all(name in arms for name in names)
    unknown = missing("not measured", UNIT)
    return {
        "false keeps": {
            **{name: _share(own) for name, own in zip(names, (greedy, rule), strict=True)},
            "greedy minus rule": mean(apart, UNIT) if measured else unknown,
        },
        "gain": {"rule minus greedy": difference(arms, names[1], names[0], cpu_us)},
    }


def _share(placebos: Sequence[PlanFact]) -> Any:
    """Return the share of confirmed placebos that were kept."""
    confirmed = [p for p in placebos if p.gate is not None]
    kept = sum(p.fate == "accepted" for p in confirmed)
    return share(kept, len(confirmed), "share of confirmed placebos")
