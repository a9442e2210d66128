"""Places of proposals in a study's facts, and the looks at skill by which something is chosen.

Looks that select are kept apart from everything else: no history, funnel or gain reads them.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from configs.entries import (
    ChangeEntry,
    ProgramEntry,
    ReleaseEntry,
    ReviewEntry,
    RollbackEntry,
    SelectionEntry,
    ServedEntry,
)
from configs.records import Plan

Slot = tuple[str, str, int]
"""(plan digest, role, index) of a job."""
Campaign = tuple[str, int]
"""(arm, repeat)."""
Place = tuple[str, int, int, int]
"""(arm, repeat, generation, index) of a proposal."""
SELECTING = 10_000
"""Index from which on the plans of a generation belong to its selection on proposing skill."""
REVIEWING = 1_000_000
"""Index of the propose plan by which a model reviews a campaign's claims, after its generations."""


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


LineFact = ServedEntry | ReviewEntry | ReleaseEntry | RollbackEntry | ChangeEntry
OF_LINE = ("served", "review", "release", "rollback", "change")
"""Kinds of entries of a factory line."""


@dataclass(slots=True)
class Line:
    """What happened on the factory lines of a study."""

    served: dict[tuple[str, int], ServedEntry] = field(default_factory=dict)
    "(plan, number of the serve job) -> what its clients got"
    reviews: dict[str, ReviewEntry] = field(default_factory=dict)
    "plan -> its review"
    releases: dict[Campaign, list[ReleaseEntry]] = field(default_factory=dict)
    "(arm, repeat) -> services that went live, in order"
    rollbacks: dict[Campaign, list[RollbackEntry]] = field(default_factory=dict)
    "(arm, repeat) -> services that were taken back, in order"

    changes: dict[Campaign, list[ChangeEntry]] = field(default_factory=dict)
    "(arm, repeat) -> the changes of its finished periods, in order"

    def note(self, fact: LineFact) -> None:
        """Add a fact."""
        match fact:
            case ServedEntry():
                self.served[fact.plan, fact.index] = fact
            case ReviewEntry():
                self.reviews[fact.plan] = fact
            case ReleaseEntry():
                self.releases.setdefault((fact.arm, fact.repeat), []).append(fact)
            case RollbackEntry():
                self.rollbacks.setdefault((fact.arm, fact.repeat), []).append(fact)
            case ChangeEntry():
                self.changes.setdefault((fact.arm, fact.repeat), []).append(fact)

    def list_done(self, act: str, campaign: Campaign) -> list[str]:
        """Return the services of a campaign that went live, or that were taken back."""
        done = self.rollbacks if act == "rollback" else self.releases
        return [one.plan for one in done.get(campaign, ())]

    def live(self, campaign: Campaign, withdrawn: Collection[str] = ()) -> str:
        """Return the live service of a campaign: the newest that was not taken back; empty: none.

        `withdrawn` are plans that people recalled.
        """
        back = {one.plan for one in self.rollbacks.get(campaign, ())} | set(withdrawn)
        left = [one.plan for one in self.releases.get(campaign, ()) if one.plan not in back]
        return left[-1] if left else ""


def is_training(role: str, plan: Plan) -> bool:
    """Tell whether a job counts as a training of its generation; to propose is one too."""
    trains = role in ("train", "champion-train", "propose")
    return trains and plan.purpose in ("baseline", "candidate", "trial", "propose", "select")
