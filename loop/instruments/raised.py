"""What limits the loop: what arm self gains by more of one thing, or of two things at once.

Each arm of MORE is arm self with more of something, and ends at its own plan (configs/arms.py).
Example: four times the compute gain 0.3 more than the 0.5 of arm self, so the elasticity of compute
is 0.3 per doubling of it.
"""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from configs.arms import BOTH, LARGER, LONGER, MORE
from evals.arms import UNIT, Curve
from evals.intervals import Figure, is_positive, missing, ratio, share
from evals.pace import (
    PER_CENT,
    PER_DOUBLING,
    elasticities,
    interaction,
    limiting,
    size_of,
)
from loop.instruments.gather import Records

RAISED = {things[0]: arm for arm, things in MORE.items() if len(things) == 1}
"""Factor of the elasticities -> the arm in which it alone is raised."""


def measure_raised(
    records: Records, arms: Mapping[str, Curve], ends: NDArray[np.float64]
) -> tuple[dict[str, Any], str]:
    """Return the figures of more of something for arm self, and its limiting factor.

    `ends` are the gains (R,) of arm self at the end of its campaigns.
    """
    raised, by = gains_of(records, arms, ends), factors(records)
    doubling = records.config.study.raised is not None
    figures = elasticities(ends, raised, by, doubling)
    limit = limiting(ends, raised, by, doubling)
    square = _square(arms, ends)
    if is_short(records, LONGER):
        figures["compute"] = _at_least(figures["compute"])
        limit = limit if limit in ("compute", "not measured") else "cannot tell"
    if is_short(records, LONGER) or is_short(records, BOTH):
        square = replace(square, word=square.word or "cannot tell")
    return {
        "elasticities": figures,
        "longer training alone": _longer(records, ends),
        "compute x proposals": square,
        **_four_times(records, ends),
    }, limit


def gains_of(
    records: Records, arms: Mapping[str, Curve], ends: NDArray[np.float64]
) -> dict[str, NDArray[np.float64]]:
    """Return factor -> final gains (R,) of the twin of arm self in which it is raised."""
    raised: dict[str, NDArray[np.float64]] = {}
    for factor, twin in RAISED.items():
        if twin in arms and len(arms[twin].repeats) == np.size(ends):
            raised[factor] = arms[twin].ends()
            if twin == LONGER:
                # Its baseline trains longer too, so its gain is read against the common baseline.
                raised[factor] = raised[factor] + _moved(records)
    if raised and not any(clock[0] for clock in records.clock):
        # Nobody was waited for, so faster reviewers change no gain at equal plan.
        raised["reviewer speed"] = ends
    return raised


def factors(records: Records) -> dict[str, float]:
    """Return the factors by which limits were really raised; counts are whole numbers."""
    study = records.config.study
    return {
        "compute": study.factor("compute"),
        "proposals": study.rounds("more_proposals")[1] / study.proposals,
        "replicates": study.replicates("more_replicates") / study.confirm_replicates,
    }


def is_short(records: Records, arm: str) -> bool:
    """Tell whether a table lacked some recipe of an arm at the arm's level of compute."""
    return any(plan.unlisted for plan in records.plans.get(arm, ()))


def _at_least(figure: Figure) -> Figure:
    """Return a figure as a lower bound: its arm lost the proposals that the table does not list."""
    return replace(figure, word=figure.word or "at least", high=None)


def _square(arms: Mapping[str, Curve], ends: ArrayLike) -> Figure:
    """Return the interaction of compute and proposals.

    Both arms with more compute have the same longer trained baseline, so what it gains cancels.
    """
    twins = (LONGER, RAISED["proposals"], BOTH)
    if any(twin not in arms or len(arms[twin].repeats) != np.size(ends) for twin in twins):
        return missing("not measured", UNIT)
    return interaction(ends, *(arms[twin].ends() for twin in twins))


def _moved(records: Records) -> NDArray[np.float64]:
    """Return what the baseline itself gains by more compute (R,)."""
    return np.subtract(records.levels[LONGER], records.levels["self"])


def _longer(records: Records, ends: ArrayLike) -> Figure:
    """Return the part of the elasticity of compute that the baseline has too; the rest is the
    loop's.
    """
    doubling = records.config.study.raised is not None
    unit = PER_DOUBLING if doubling else PER_CENT
    if not records.levels or len(records.levels[LONGER]) != np.size(ends):
        return missing("not measured", unit)
    if not is_positive(ends):
        return missing("undefined", unit, np.size(ends))
    size = size_of(factors(records)["compute"], doubling)
    return ratio(_moved(records) / size, ends, unit, neutral=0.0)


def _four_times(records: Records, ends: ArrayLike) -> dict[str, Any]:
    """Return what the last champion of arm self, and its baseline, gain by training LARGER times as
    long; on a table with the share of champions that it lists so.

    Campaigns without a new champion, or with one that is not listed, are left out.
    """
    if not records.longer or len(records.longer) != np.size(ends):
        return {}
    rows, doublings = np.array(records.longer), math.log2(LARGER)
    sides = dict(zip(("champion", "baseline"), rows.T, strict=True))
    if is_positive(ends):
        told = {
            name: ratio(gained / doublings, ends, PER_DOUBLING, neutral=0.0)
            for name, gained in sides.items()
        }
    else:
        told = {name: missing("undefined", PER_DOUBLING, np.size(ends)) for name in sides}
    if records.config.task.table:
        looks = np.isfinite(rows[:, 1])
        listed = int((looks & np.isfinite(rows[:, 0])).sum())
        told["listed"] = share(listed, int(looks.sum()), "share of champions")
    return {"four times as long": told}
