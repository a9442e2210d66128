"""Do the parts of an evolving database act? Parents by island, cells, duplicates.

Example: of twelve proposals eleven change the champion. Then islands and grid exist on paper alone.
Figures are of campaigns and paired over repeats. From generation 2 on: before that the baseline is
the only parent there is. Definitions: docs/instruments.md. Pure functions over records.
"""

from collections.abc import Mapping, Sequence

from configs.arms import EVOLVE
from evals.arms import UNIT, Curve, pair_gains
from evals.intervals import Figure, mean, missing
from evals.loss import PlanFact

FIRST = 2
"""First generation with more than one program to change."""
UNITS = {
    "champion as parent": "share of plans",
    "parents": "programs",
    "cells": "cells",
    "duplicates": "share of plans",
}
"""Measure of a database of programs -> its unit."""


def measure_programs(plans: Sequence[PlanFact]) -> dict[str, dict[int, float]]:
    """Return measure -> repeat -> value of an arm; nothing without programs that evolve.

    `champion as parent`: share of plans that change the champion. `parents`: programs that were
    changed at least once. `cells`: cells of the grid that proposed programs stand in. `duplicates`:
    plans equal to an earlier plan. The first two need a change limit, under which a plan names its
    parent.
    """
    found = {measure: dict[int, float]() for measure in UNITS}
    for repeat, own in _by_repeat(plans).items():
        found["cells"][repeat] = len({plan.origin.cell for plan in own if plan.origin})
        found["duplicates"][repeat] = sum(plan.duplicate for plan in own) / len(own)
        later = [plan for plan in own if plan.generation >= FIRST and plan.parent]
        if later:
            found["champion as parent"][repeat] = sum(p.of_champion for p in later) / len(later)
            found["parents"][repeat] = len({plan.parent for plan in later})
    return found


def _by_repeat(plans: Sequence[PlanFact]) -> dict[int, list[PlanFact]]:
    """Return repeat -> its plans of programs that evolve, repeats ascending."""
    own = [plan for plan in plans if plan.origin]
    repeats = sorted({plan.repeat for plan in own})
    return {repeat: [plan for plan in own if plan.repeat == repeat] for repeat in repeats}


def describe_programs(plans: Sequence[PlanFact]) -> dict[str, Figure]:
    """Return the measures of an arm over its repeats, and its parents by island.

    `parents of island 0` counts the programs that were changed when it was that island's turn.
    Nothing without programs that evolve.
    """
    campaigns = _by_repeat(plans)
    if not campaigns:
        return {}
    figures = {
        measure: _mean(values, UNITS[measure])
        for measure, values in measure_programs(plans).items()
    }
    origins = [plan.origin for own in campaigns.values() for plan in own if plan.origin]
    for island in sorted({origin.island for origin in origins}):
        figures[f"parents of island {island}"] = _mean(
            {
                repeat: len(parents)
                for repeat, own in campaigns.items()
                if (parents := _list_parents(own, island))
            },
            UNITS["parents"],
        )
    return figures


def _list_parents(plans: Sequence[PlanFact], island: int) -> set[str]:
    """Return the parents of a campaign that were drawn on an island, from generation 2 on."""
    return {
        plan.parent
        for plan in plans
        if plan.origin and plan.origin.island == island and plan.generation >= FIRST and plan.parent
    }


def _mean(values: Mapping[int, float], unit: str) -> Figure:
    if not values:
        return missing("not measured", unit)
    return mean(list(values.values()), unit, neutral=None)


def compare_databases(
    plans: Mapping[str, Sequence[PlanFact]], arms: Mapping[str, Curve], cpu_us: float
) -> dict[str, dict[str, Figure]]:
    """Return measure -> `minus ARM` -> figure: arm evolve less each other arm, paired over repeats.

    `gain` is at `cpu_us` of spent plan, and is there for every other arm; the measures of the
    database for arms that evolve programs. Nothing without programs that evolve.
    """
    if not _by_repeat(plans.get(EVOLVE, ())):
        return {}
    own, found = measure_programs(plans[EVOLVE]), dict[str, dict[str, Figure]]()
    for other in [arm for arm in plans if arm != EVOLVE]:
        if EVOLVE in arms and other in arms:
            gains = pair_gains(arms, EVOLVE, other, cpu_us)
            found.setdefault("gain", {})[f"minus {other}"] = mean(gains[0] - gains[1], UNIT)
        for measure, values in measure_programs(plans[other]).items():
            both = sorted(own[measure].keys() & values.keys())
            if both:
                apart = [own[measure][repeat] - values[repeat] for repeat in both]
                figures = found.setdefault(measure, {})
                figures[f"minus {other}"] = mean(apart, UNITS[measure])
    return found
