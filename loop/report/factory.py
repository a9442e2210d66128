"""What did each arm of a factory let through, and what did it take back? A table."""

from collections.abc import Iterator, Sequence
from typing import Any

from evals.factory.figures import DEPLOYED, Shift
from evals.intervals import share
from loop.report.evidence import Index
from loop.report.shape import Table, table
from loop.report.study import MeasuredStudy


def list_factory(study: MeasuredStudy, index: Index, name: str) -> Table:
    """Return a row of each arm with a factory line; empty without one."""
    shifts = {arm: campaigns for arm, campaigns in study.records.shifts.items() if campaigns}
    rows = [(arm, *_count(campaigns)) for arm, campaigns in shifts.items()]
    return table("factory", rows, [index.of(f"services of {arm}") for arm in shifts], name)


def _count(campaigns: Sequence[Shift]) -> Iterator[Any]:
    """Yield the cells of an arm: sums over its campaigns, and satisfaction with its interval."""
    met, scenarios = (sum(one.met[place] for one in campaigns) for place in (0, 1))
    planted = [fate for one in campaigns for fate in one.planted]
    changes = [*planted, *(fate for one in campaigns for fate in one.clean)]
    satisfied = share(met, scenarios, "share of scenarios")
    yield len(campaigns)
    yield from (satisfied.value, satisfied.low, satisfied.high) if scenarios else (None,) * 3
    yield scenarios or None
    yield sum(fate in DEPLOYED for fate in changes)
    yield sum(one.rollbacks for one in campaigns)
    yield len(planted)
    yield sum(fate in DEPLOYED for fate in planted)
    yield sum(one.requests for one in campaigns)
    yield sum(one.harmed for one in campaigns)
    yield sum(one.minutes for one in campaigns)
