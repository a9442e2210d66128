"""Which mishaps of production befall a study? The settings of Hydra group `faults`.

Example: `faults=production faults.lost.rate=0.05`. Every fault has a rate and a size. A study on a
planted world or on a table draws them from its secret; a study whose jobs really run has none.
"""

from dataclasses import dataclass, field
from typing import Literal

from configs.build import need

FaultName = Literal["queued", "preempted", "slow", "lost", "quota", "away"]
OF_JOBS: tuple[FaultName, ...] = ("queued", "preempted", "slow", "lost")
"""Faults that are drawn for each try of a job."""
LOSING: tuple[FaultName, ...] = ("preempted", "lost")
"""Faults by which the box loses a job."""


def _need_rate(rate: float) -> None:
    need(0 <= rate <= 1, "rate", rate, "a probability from 0 to 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Queued:
    """A job waits for a free node. It pays wall time, and no CPU."""

    rate: float = 0.0
    "probability per try of a job"
    seconds: float = 60.0
    "mean of the exponential wait; no wait goes beyond the job's wall limit"

    def __post_init__(self) -> None:
        _need_rate(self.rate)
        need(0 < self.seconds <= 86_400, "seconds", self.seconds, "above 0, at most a day (86400)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Preempted:
    """A job is taken off its node before its end: the box loses it, and it is tried again."""

    rate: float = 0.0
    "probability per try of a job"
    done: float = 1.0
    "largest share of the job that is done and charged by then; the share is uniform below it"

    def __post_init__(self) -> None:
        _need_rate(self.rate)
        need(0 < self.done <= 1, "done", self.done, "a share above 0, at most 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Slow:
    """A job runs on a slow node. It pays more wall time, and no more CPU."""

    rate: float = 0.0
    "probability per try of a job"
    factor: float = 3.0
    "its wall time as a multiple; never beyond the job's wall limit"

    def __post_init__(self) -> None:
        _need_rate(self.rate)
        need(1 < self.factor <= 100, "factor", self.factor, "above 1, at most 100")


@dataclass(frozen=True, slots=True, kw_only=True)
class Lost:
    """A job ends and its result is lost: it is charged in full, and tried again."""

    rate: float = 0.0
    "probability per try of a job"
    tries: int = 1
    "tries in a row that are lost"

    def __post_init__(self) -> None:
        _need_rate(self.rate)
        need(1 <= self.tries <= 3, "tries", self.tries, "1, 2 or 3")


@dataclass(frozen=True, slots=True, kw_only=True)
class Quota:
    """An arm loses a part of its account, and the campaign as much of its planned compute."""

    rate: float = 0.0
    "probability per generation of a campaign, before it begins"
    share: float = 0.1
    "part of the campaign's whole plan that is cut each time"

    def __post_init__(self) -> None:
        _need_rate(self.rate)
        need(0 < self.share <= 1, "share", self.share, "a share above 0, at most 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Away:
    """A simulated reviewer answers late; after `gates.expire_hours` the gate's timer says no."""

    rate: float = 0.0
    "probability per question about a candidate; people and canaries have none"
    hours: float = 12.0
    "mean of the exponential delay; told, not waited"

    def __post_init__(self) -> None:
        _need_rate(self.rate)
        need(0 < self.hours <= 8760, "hours", self.hours, "above 0, at most a year (8760)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Faults:
    """The faults of a study; with every rate at 0 there is none."""

    queued: Queued = field(default_factory=Queued)
    "queue delays"
    preempted: Preempted = field(default_factory=Preempted)
    "preempted jobs"
    slow: Slow = field(default_factory=Slow)
    "slow nodes"
    lost: Lost = field(default_factory=Lost)
    "lost results"
    quota: Quota = field(default_factory=Quota)
    "quota cuts"
    away: Away = field(default_factory=Away)
    "a reviewer who is away"
    spare_third: bool = True
    """no fault loses the third try of a job. With false a job may lose all three, and the study
    then ends waiting for people, as after three losses of a real box
    """

    def any(self) -> bool:
        """Tell whether a study has any fault."""
        rates = (self.queued, self.preempted, self.slow, self.lost, self.quota, self.away)
        return any(one.rate > 0 for one in rates)

    def need_simulated(self, simulated: bool) -> None:
        """Refuse faults in a study whose jobs really run: there they come by themselves."""
        right = "none in a study whose jobs really run; a planted world or a table takes faults"
        need(simulated or not self.any(), "faults", "given", right)
