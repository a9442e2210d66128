"""Which mishaps of production befall a study? The settings of Hydra group `faults`.

Example: `faults=production faults.lost.rate=0.05`. Every fault has a rate and a size. A study on a
planted world or on a table draws them from its secret; a study whose jobs really run has none.
"""

from dataclasses import dataclass, field
from typing import Any, Literal

from configs.arms import variant
from configs.build import need
from configs.reader import later

FaultName = Literal["queued", "preempted", "slow", "lost", "quota", "away", "withdrawn"]
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
class Withdrawn:
    """The generation from which on a support is withdrawn from the arms that lack it; 0: never.

    Other arms keep every support. Nothing is drawn: a withdrawal is what people did.
    """

    data: int = 0
    "outcomes of the campaign's own trials of that generation and later reach no proposer"
    quota: int = 0
    "all planned compute that is left is cut, so no generation begins"
    reviewer: int = 0
    "the simulated reviewer answers nothing: the gate's timer says no"
    model: int = 0
    "the simulated outside model answers nothing: the arm stands still, or a program takes over"
    storage: int = 0
    "nothing can be written for `outage` generations of time; then the campaign goes on"
    operator: int = 0
    "nobody renews the mandate: it lasts for `mandate` more generations, and then nothing runs"
    outage: int = 2
    "storage: generations of time until it is back; those are missing at the campaign's end"
    mandate: int = 2
    "operator: generations that the mandate still lasts"

    def __post_init__(self) -> None:
        for name in ("data", "quota", "reviewer", "model", "storage", "operator"):
            need(getattr(self, name) >= 0, name, getattr(self, name), "a generation, or 0: never")
        need(self.outage >= 1, "outage", self.outage, "at least 1 generation")
        need(self.mandate >= 1, "mandate", self.mandate, "at least 1 generation")

    def since(self, arm: str) -> int:
        """Return the generation from which on an arm lacks its support; 0: it never does."""
        lacks = variant(arm).lacks
        return int(getattr(self, lacks)) if lacks else 0

    def takes(self, arm: str, support: str, generation: int) -> bool:
        """Tell whether an arm lacks this support in a generation."""
        return variant(arm).lacks == support and 0 < self.since(arm) <= generation

    def stops(self, arm: str, generation: int, generations: int) -> bool:
        """Tell whether an arm without its support begins a generation of so many no more.

        A cut quota is not among the reasons: there the plan says so.
        """
        without_model = not variant(arm).falls_back and self.takes(arm, "model", generation)
        late = self.takes(arm, "storage", generation) and generation > generations - self.outage
        ended = self.takes(arm, "operator", generation - self.mandate)
        return without_model or late or ended


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

    withdrawn: Withdrawn = later(Withdrawn())
    "supports that are withdrawn in mid-run from arms `..._without_...`"

    def any(self) -> bool:
        """Tell whether a study has any fault."""
        return self.has_mishaps() or self.withdrawn != Withdrawn()

    def has_mishaps(self) -> bool:
        """Tell whether a study has any fault that befalls all arms that are not spared."""
        rates = (self.queued, self.preempted, self.slow, self.lost, self.quota, self.away)
        return any(one.rate > 0 for one in rates)

    def check_withdrawn(self, study: Any, arms: tuple[str, ...], reviewed: bool) -> None:
        """Refuse arms that lack a support which stays, and supports that no arm lacks.

        `reviewed` tells whether a simulated reviewer decides.
        """
        lacking = {variant(arm).lacks for arm in arms} - {""}
        for support in ("data", "quota", "reviewer", "model", "storage", "operator"):
            since, name = getattr(self.withdrawn, support), f"faults.withdrawn.{support}"
            right = "0 without an arm that lacks it, such as self_without_data"
            need(not since or support in lacking, name, since, right)
            last = study.generations - (self.withdrawn.outage if support == "storage" else 0)
            right = f"a generation, 1 to {last}, for the arm that lacks it"
            need(support not in lacking or 1 <= since <= last, name, since, right)
        plan, right = study.plan_trainings, "0 where storage is withdrawn: time ends a campaign"
        need("storage" not in lacking or plan == 0, "study.plan_trainings", plan, right)
        right = "a simulated one, such as reviewer=scripted, where it is withdrawn"
        need("reviewer" not in lacking or reviewed, "reviewer.policy", "people", right)

    def need_simulated(self, simulated: bool) -> None:
        """Refuse faults in a study whose jobs really run: there they come by themselves."""
        right = "none in a study whose jobs really run; a planted world or a table takes faults"
        need(simulated or not self.any(), "faults", "given", right)
