"""What came out, arm by arm? The verified gain at the end, with its interval.

The first screen draws it and its sentences tell it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from evals.arms import curves
from evals.intervals import mean
from loop.report.evidence import Index
from loop.report.measures import scale, unit
from loop.report.shape import Table, table
from loop.report.study import MeasuredStudy
from loop.text import write_number

ONE = "a closing look"
NONE = "no change accepted"
LOST = "no closing look"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The gain of an arm over its baseline, on confirm, when all of its campaigns have ended."""

    arm: str
    "name of the arm"
    gain: float | None
    "mean over campaigns; of a single campaign its closing look; None: there was none"
    low: float | None
    "lower end of the interval; None: there is none"
    high: float | None
    "upper end"
    campaigns: int
    "number of campaigns"
    accepted: int
    "changes that they accepted"
    unit: str
    "unit of the gain"
    ground: str
    "measurement below the gain"
    word: str
    "empty, or `cannot tell`"

    def write(self) -> str:
        """Return the gain with its sign, unit and interval."""
        assert self.gain is not None
        text = f"{write_number(self.gain, '+#.3g')} {self.unit}"
        return f"{text} {write_interval(self.low, self.high)}".strip()


def write_interval(low: float | None, high: float | None) -> str:
    """Return an interval in brackets; nothing where there is none."""
    if low is None or high is None:
        return ""
    return f"({write_number(low, '#.3g')} to {write_number(high, '#.3g')})"


def list_outcomes(study: MeasuredStudy) -> list[Outcome]:
    """Return the outcome of each arm of an ended study, the lead arm first; else nothing."""
    if not study.closed:
        return []
    found = [_read_outcome(study, arm) for arm in curves(study.records.gains)]
    return sorted(found, key=lambda one: (one.arm != lead(study), -(one.gain or 0.0)))


def lead(study: MeasuredStudy) -> str:
    """Return the arm that the study is about: self, or else the first in its settings."""
    arms = list(study.figures["arms"])
    named = [arm for arm in ("self", *study.config.study.arms) if arm in arms]
    return next(iter([*named, *arms]), "")


def _read_outcome(study: MeasuredStudy, arm: str) -> Outcome:
    campaigns = [c for summary in study.summaries for c in summary["arms"] if c["arm"] == arm]
    accepted = sum(campaign["accepted"] for campaign in campaigns)
    if len(campaigns) == 1:
        return _read_single(study, arm, campaigns[0])
    figure = mean(curves(study.records.gains)[arm].ends(), "")
    return Outcome(
        arm=arm,
        gain=figure.value,
        low=figure.low if accepted else None,
        high=figure.high if accepted else None,
        campaigns=len(campaigns),
        accepted=accepted,
        unit=scale(study),
        ground=f"closing looks of {len(campaigns)} campaigns" if accepted else NONE,
        word=figure.word,
    )


def _read_single(study: MeasuredStudy, arm: str, campaign: dict[str, Any]) -> Outcome:
    look, accepted = campaign["confirm"] or {}, campaign["accepted"]
    gain, low, high = (look.get(name) for name in ("gain", "low", "high"))
    ground = ONE if gain is not None else LOST if accepted else NONE
    decides = low is not None and high is not None and not low <= 0 <= high
    return Outcome(
        arm=arm,
        gain=gain if gain is not None or accepted else 0.0,
        low=low,
        high=high,
        campaigns=1,
        accepted=accepted,
        unit=unit(study),
        ground=ground,
        word="" if decides else "cannot tell",
    )


def tabulate_outcomes(studies: Sequence[MeasuredStudy], index: Index) -> Table:
    """Return the outcomes of all ended studies as a table."""
    rows = [(study.name, outcome) for study in studies for outcome in list_outcomes(study)]
    ledger = [index.arm(outcome.arm, "verdicts") for _, outcome in rows]
    return table("outcome", list(_cells(rows)), ledger)


def _cells(rows: Sequence[tuple[str, Outcome]]) -> Iterator[tuple[Any, ...]]:
    for study, one in rows:
        counts = (one.campaigns, one.accepted, one.unit, one.ground)
        yield (study, one.arm, one.gain, one.low, one.high, *counts)
