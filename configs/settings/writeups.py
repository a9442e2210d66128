"""What do write-ups of generations claim, and how is it checked? Setting `study.writeups`."""

from dataclasses import dataclass, field
from typing import Any

from configs.build import need
from configs.reader import later
from configs.settings.task import TaskSetup


@dataclass(frozen=True, slots=True, kw_only=True)
class Writeups:
    """Each judged generation of a study on a table has a write-up (docs/scientist.md)."""

    pairs: int = 64
    "fresh paired replicates by which a claim is checked"
    elsewhere: dict[str, Any] = field(default_factory=dict, hash=False)
    "knob -> other value at which a write-up predicts its finding; the study fixes the knob"
    levels: tuple[float, ...] = ()
    "multiples of the planned compute at which a write-up predicts its finding"
    model: int = later(0)
    """most claims of each campaign that the outside model `proposer.llm` reviews before the study
    ends, and so before any check; 0: none
    """
    people: int = later(0)
    """most claims of each campaign that people review at the inbox when the study has ended; no
    check is told until they end their review; 0: none
    """

    def __post_init__(self) -> None:
        need(4 <= self.pairs <= 1000, "pairs", self.pairs, "between 4 and 1000")
        fit = len(self.levels) <= 8 and all(0 < one <= 64 and one != 1 for one in self.levels)
        need(fit, "levels", list(self.levels), "at most 8 numbers above 0, none of them 1")
        once = len(set(self.levels)) == len(self.levels)
        need(once, "levels", list(self.levels), "a list without repetition")
        for name in ("model", "people"):
            need(0 <= getattr(self, name) <= 1000, name, getattr(self, name), "between 0 and 1000")


def check_writeups(writeups: Writeups | None, task: TaskSetup, metric: str) -> None:
    """Refuse write-ups whose claims cannot be checked: off a table, in another metric than bits,
    or at a value of a knob that the study does not fix.
    """
    if writeups is None:
        return
    right = "given with task.table, where a replication costs nothing"
    need(bool(task.table), "study.writeups", writeups, right)
    need(metric == "bits", "objective.metric", metric, "bits in a study with study.writeups")
    for knob, value in writeups.elsewhere.items():
        fixed = task.fixed or {}
        right = f"a knob that task.fixed holds: {', '.join(sorted(fixed)) or 'none'}"
        need(knob in fixed, "study.writeups.elsewhere", knob, right)
        here = f"study.writeups.elsewhere.{knob}"
        need(value != fixed[knob], here, value, f"another value than task.fixed's {fixed[knob]}")
