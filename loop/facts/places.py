"""Places of proposals in a study's facts, and the looks at skill by which something is chosen.

Looks that select are kept apart from everything else: no history, funnel or gain reads them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from configs.entries import ProgramEntry, SelectionEntry
from configs.records import Plan

Slot = tuple[str, str, int]
"""(plan digest, role, index) of a job."""
Campaign = tuple[str, int]
"""(arm, repeat)."""
Place = tuple[str, int, int, int]
"""(arm, repeat, generation, index) of a proposal."""
SELECTING = 10_000
"""Index from which on the plans of a generation belong to its selection on proposing skill."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Invalid:
    """A proposal without a plan."""

    reason: str
    "why it is invalid"


@dataclass(slots=True)
class Selecting:
    """Looks at proposing skill by which champions are chosen, and what they chose."""

    asks: dict[Place, str] = field(default_factory=dict)
    "place of a question to a contender -> digest of its propose plan"
    at: dict[Place, str | Invalid] = field(default_factory=dict)
    "place of a proposal in answer -> digest of its plan, or the reason against it"
    chosen: dict[tuple[str, int, int], SelectionEntry] = field(default_factory=dict)
    "(arm, repeat, generation) -> the selection"

    programs: dict[Campaign, list[ProgramEntry]] = field(default_factory=dict)
    "(arm, repeat) -> the proposer programs of its archive, in order"

    def note(self, fact: SelectionEntry | ProgramEntry) -> None:
        """Add a selection, or a program of an archive."""
        if isinstance(fact, SelectionEntry):
            self.chosen[fact.arm, fact.repeat, fact.generation] = fact
        else:
            self.programs.setdefault((fact.arm, fact.repeat), []).append(fact)

    def add(self, plan: Plan, digest: str) -> None:
        """Add a question, or a proposal in answer."""
        table = self.asks if plan.purpose == "propose" else self.at
        table[plan.arm, plan.repeat, plan.generation, plan.index] = digest

    def reopen(self, last: Mapping[Campaign, int], ended: set[Campaign]) -> None:
        """Forget the selection of each unfinished generation: an amendment repeats it."""
        tables: tuple[dict[Place, str], dict[Place, str | Invalid]] = (self.asks, self.at)
        for table in tables:
            for place in list(table):
                if place[2] == last.get(place[:2]) and place[:2] not in ended:
                    del table[place]
        for arm, repeat, generation in list(self.chosen):
            if generation == last.get((arm, repeat)) and (arm, repeat) not in ended:
                del self.chosen[arm, repeat, generation]


def is_training(role: str, plan: Plan) -> bool:
    """Tell whether a job counts as a training of its generation; to propose is one too."""
    trains = role in ("train", "champion-train", "propose")
    return trains and plan.purpose in ("baseline", "candidate", "trial", "propose", "select")
