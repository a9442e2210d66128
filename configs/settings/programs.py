"""How does an archive of proposer programs grow? Setting `study.programs` (docs/proposers.md)."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from configs.arms import variant
from configs.build import need
from configs.settings.task import TaskSetup


@dataclass(frozen=True, slots=True, kw_only=True)
class Programs:
    """Settings of the arms `programs_...`: how a program is measured, and what no selection sees.

    A generation makes a program. `study.skill_proposals` and `study.skill_parents` say how the best
    one is compared with the first at the end.
    """

    asks: int = 4
    "parents that each program is asked to improve while the archive grows; the same for all"
    edits: int = 3
    "most operators between a program and its child"
    held_out: dict[str, Any] = field(default_factory=dict, hash=False)
    """knob -> value at which the last comparison holds it; no selection sees a recipe with any of
    these values. Empty: the last comparison has other parents in the same landscape
    """

    def __post_init__(self) -> None:
        need(1 <= self.asks <= 100, "asks", self.asks, "between 1 and 100")
        need(1 <= self.edits <= 20, "edits", self.edits, "between 1 and 20")

    def seen(self, task: TaskSetup) -> TaskSetup:
        """Return the task with the part of its grid that selections may look at."""
        values = {
            name: tuple(one for one in values if self.held_out.get(name) != one)
            for name, values in task.choices().items()
        }
        return replace(task, grid={**(task.grid or {}), **values})

    def unseen(self, task: TaskSetup) -> TaskSetup:
        """Return the task where the last comparison takes place: held-out knobs are fixed."""
        fixed = {**(task.fixed or {}), **self.held_out}
        return replace(task, fixed=fixed, baseline=replace(task.baseline, **self.held_out))


def check_programs(
    programs: Programs | None, task: TaskSetup, arms: Sequence[str], study: Any
) -> None:
    """Refuse arms of evolving programs without their settings, or a grid too small for them.

    `study` is the record of group study.
    """
    evolving = [arm for arm in arms if variant(arm).programs]
    right = "given in a study with an arm `programs_...`, such as {asks: 4}, and null without"
    need(bool(evolving) == bool(programs), "study.programs", programs, right)
    if programs is None:
        return
    need(not task.folder, "study.arms", evolving[0], "another arm with task program")
    asking = [arm for arm in evolving if variant(arm).maker == "model"]
    right = f"1 with arm {asking[0]}: a generation is one question" if asking else ""
    need(not asking or study.proposals == 1, "study.proposals", study.proposals, right)
    need(study.skill_proposals > 0, "study.skill_proposals", 0, f"above 0 with arm {evolving[0]}")
    need(study.skill_parents > 0, "study.skill_parents", 0, f"above 0 with arm {evolving[0]}")
    for knob, value in programs.held_out.items():
        known = task.choices().get(knob, ())
        values = [one for one in known if one != getattr(task.baseline, knob)]
        right = f"one of {values}: the grid of task {task.name} without its baseline"
        need(value in values, f"study.programs.held_out.{knob}", value, right)
    for name, count, choices in (
        ("study.programs.asks", programs.asks, programs.seen(task).choices()),
        ("study.skill_parents", study.skill_parents, programs.unseen(task).choices()),
    ):
        recipes = math.prod(map(len, choices.values()))
        need(8 * count <= recipes, name, count, f"at most an eighth of its {recipes} recipes")
