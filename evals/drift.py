"""Drift in behaviour: what else changes while a lineage gets better at its objective.

Example: three accepted changes each cost 0.01 of exact match on a slice, and the constraint allows
0.02 against the champion beside it. So each step holds, and the lineage has lost 0.03. Pure
functions.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from evals.intervals import Figure, mean


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """How far a campaign's champions have moved from its baseline in one quantity."""

    repeat: int
    "repeat of the campaign"
    quantity: str
    "metric, or metric and slice"
    steps: tuple[float, ...]
    "champion less baseline after generation 0, 1, ..., in the metric's own unit; NaN if unknown"
    looked: bool
    "whether the last step is of the closing look; else all are sums over accepted plans"


def at_end(drifts: Iterable[Drift]) -> dict[str, Figure]:
    """Return quantity -> mean difference of the last champions from their baselines."""
    groups = _by_quantity(drifts)
    return {name: mean([one.steps[-1] for one in own], name) for name, own in groups.items()}


def by_generation(drifts: Iterable[Drift]) -> Iterator[tuple[str, int, Figure, bool]]:
    """Yield (quantity, generation, mean difference, whether all campaigns had their closing look).

    A campaign that has ended keeps its last difference.
    """
    for name, own in _by_quantity(drifts).items():
        for generation in range(max(len(one.steps) for one in own)):
            steps = [one.steps[min(generation, len(one.steps) - 1)] for one in own]
            looked = all(one.looked and generation >= len(one.steps) - 1 for one in own)
            yield name, generation, mean(steps, name), looked


def _by_quantity(drifts: Iterable[Drift]) -> dict[str, Sequence[Drift]]:
    groups: dict[str, list[Drift]] = {}
    for one in drifts:
        groups.setdefault(one.quantity, []).append(one)
    return dict(groups)
