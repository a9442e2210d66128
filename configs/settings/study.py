"""Which arms run, for how long, and with which measures? The settings of Hydra group `study`."""

import math
import re
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from configs.arms import (
    CELLS,
    MORE,
    ONE_SHOT,
    PROGRAM_CELLS,
    RAISE,
    REFERENCE,
    START,
    variant,
)
from configs.build import need
from configs.reader import later
from configs.settings.accord import Pause, check_pause
from configs.settings.claims import Claim
from configs.settings.programs import Programs
from configs.settings.writeups import Writeups


@dataclass(frozen=True, slots=True, kw_only=True)
class Warn:
    """The warning sign, registered in the study root before the first generation: crossed, it
    pauses the study and opens an incident.
    """

    repeats: int
    "k: repeats with a self effect above `floor`, needed for the sign"
    floor: float
    """log-odds per proposal: the smallest effect that a repeat can tell from noise, two deviations
    of the placebo in an earlier study
    """
    automation: dict[str, float]
    "stage -> least automation; deploy among them"
    cpu_seconds: float
    "c_min: CPU-seconds at the root, released by the loop itself"

    def __post_init__(self) -> None:
        need(self.repeats >= 1, "repeats", self.repeats, "at least 1")
        need(
            "deploy" in self.automation,
            "automation",
            sorted(self.automation),
            "a vector that includes deploy",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    """The shape of the experiment."""

    name: str
    "folder under runs/; letters, digits, dot, dash, underscore"
    seed: int = 1
    "seed of the proposers; replicate seeds come from the study secret instead"
    arms: tuple[str, ...] = ()
    "proposers side by side; empty: the proposer of group `proposer`"
    repeats: int = 1
    "independent campaigns per arm, each with items, seeds and start trials of its own"
    start_trials: int = 0
    """random trials of each repeat at the start of its arms' notebooks, charged to the study; at
    least 8 where weights propose
    """
    generations: int = 3
    "generations per campaign, the baseline not counted"
    proposals: int = 4
    "proposals per generation"
    proposers: int = later(1)
    """proposers at work at once in the arms `parallel_...`; each writes as many of a generation's
    proposals, and reading the notebook counts as a training for each
    """
    most_changes: int = later(0)
    """the change limit: most knobs and source regions that a plan may change against its basis,
    which is its parent or a screened plan of its campaign; absent or 0: any
    """
    confirm_replicates: int = 12
    "most paired replicates of a confirmation on `confirm`; the rule stops earlier where it can"
    final_replicates: int = 4
    "pairs of replicates of the closing look (champion against baseline); 0 leaves it out"
    larger_replicates: int = 0
    """paired replicates of the same look with four times the planned compute a training; 0 leaves
    it out
    """
    skill_proposals: int = 0
    """proposals by the last weights on each parent, each measured on confirm once, and as many by
    each of their twins, in arm self and in arms that select on proposing skill; 0: no measure
    """
    skill_parents: int = later(0)
    """parents of a measure of skill, drawn from the grid by the repeat's secret, each with weights
    trained anew; without a table the first is the baseline. Absent or 0: the baseline alone
    """
    skill_cells: tuple[str, ...] = later(())
    "cells of skill that are measured (docs/instruments.md); absent or empty: all"
    programs: Programs | None = later(None)
    "how an archive of proposer programs grows, in the arms `programs_...`; null: none of them"
    pause: Pause | None = later(None)
    "how long the arms `..._paused` and `..._resumed` stand still; null: none of them"
    writeups: Writeups | None = later(None)
    "what write-ups of judged generations claim, and how it is checked; null: there are none"
    ablate: int = later(0)
    """most changes of an arm's last champion that are taken back, each alone, and measured as the
    closing look is: the knobs in their order, then source regions; absent or 0: none
    """
    plan_trainings: int = 0
    """planned compute of a campaign, in trainings. Screening and confirming count; reading the
    notebook counts as a training. A generation starts only if its worst case fits; 0: bounded by
    generations alone
    """
    accept_short: bool = later(False)
    "begin though the plan or the jobs pay for less than half of the generations; absent: false"
    raised: dict[str, float] | None = later(None, hash=False)
    """compute, proposals, replicates -> factor by which the arms `more_...` have more of it, such
    as 4 for a table's level of four times the compute; elasticities are then told per doubling. A
    thing without a factor: a quarter more. Null: so for all, and elasticities in % per %
    """
    references: tuple[dict[str, Any], ...] = later((), hash=False)
    """reference changes for the excess loss (docs/instruments.md): knobs with other values than the
    baseline's; arm reference measures number r modulo their count in repeat r
    """
    warning: Warn | None = None
    "the warning sign (docs/instruments.md); null: not registered"
    claims: tuple[Claim, ...] = later(())
    "primary claims, said in advance and decided on as a family; absent: none"
    claim_runs: int = later(1)
    "runs of the study, each of another seed, on which the claims are decided: no fewer, no more"

    def __post_init__(self) -> None:
        need(
            bool(re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", self.name)),
            "name",
            self.name,
            "a plain folder name",
        )
        need(0 <= self.seed < 2**53, "seed", self.seed, "a whole number from 0")
        need(
            len(set(self.arms)) == len(self.arms) and START not in self.arms,
            "arms",
            self.arms,
            f"a list without repetition and without {START!r}",
        )
        need(1 <= self.repeats <= 1000, "repeats", self.repeats, "between 1 and 1000")
        need(
            0 <= self.start_trials <= 10_000,
            "start_trials",
            self.start_trials,
            "between 0 and 10000",
        )
        need(
            1 <= self.generations <= 10_000, "generations", self.generations, "between 1 and 10000"
        )
        need(0 <= self.most_changes <= 10_000, "most_changes", self.most_changes, "0 to 10000")
        need(1 <= self.proposals <= 1000, "proposals", self.proposals, "between 1 and 1000")
        need(
            1 <= self.confirm_replicates <= 1000,
            "confirm_replicates",
            self.confirm_replicates,
            "between 1 and 1000",
        )
        for name in ("final_replicates", "larger_replicates"):
            count = getattr(self, name)
            need(count == 0 or 4 <= count <= 1000, name, count, "0, or between 4 and 1000")
        for name in ("skill_proposals", "skill_parents"):
            count = getattr(self, name)
            need(0 <= count <= 100, name, count, "between 0 and 100")
        self._check_raised()
        check_pause(self.pause, self)
        cells = set(self.skill_cells)
        known = cells <= set(CELLS) and len(cells) == len(self.skill_cells)
        need(
            not cells or (known and {"self", "refit"} <= cells),
            "skill_cells",
            self.skill_cells,
            f"empty, or self, refit and others of {', '.join(CELLS)}",
        )
        need(1 <= self.claim_runs <= 1000, "claim_runs", self.claim_runs, "between 1 and 1000")
        need(0 <= self.ablate <= 100, "ablate", self.ablate, "between 0 and 100")
        need(
            not self.ablate or self.final_replicates > 0,
            "ablate",
            self.ablate,
            "0 in a study without a closing look (final_replicates is 0)",
        )
        self._check_proposers()
        need(
            len(self.references) <= 64 and bool(self.references) == (REFERENCE in self.arms),
            "references",
            list(self.references),
            "at most 64 changes with arm reference, and none without it",
        )
        least = 1 + self.worst("")
        need(
            self.plan_trainings == 0 or least <= self.plan_trainings <= 10**6,
            "plan_trainings",
            self.plan_trainings,
            f"0, or at least {least}: the baseline and the worst case of one generation",
        )

    def _check_raised(self) -> None:
        things = [thing for more in MORE.values() for thing in more]
        for name, factor in (self.raised or {}).items():
            need(name in things, "raised", name, f"one of {', '.join(dict.fromkeys(things))}")
            need(1 < factor <= 64, f"raised.{name}", factor, "above 1, at most 64")

    def _check_proposers(self) -> None:
        together = [arm for arm in self.arms if variant(arm).notes]
        least = 2 if together else 1
        need(
            least <= self.proposers and self.proposals % self.proposers == 0,
            "proposers",
            self.proposers,
            f"at least {least} and a divisor of the {self.proposals} proposals of a generation",
        )

    def rounds(self, arm: str = "") -> tuple[int, int]:
        """Return (generations, proposals of each) of an arm.

        `one_shot` spends its whole round on proposals, except for the confirmations. An arm that
        does not screen has one.
        """
        if arm == REFERENCE:
            return 0, 1
        if variant(arm).programs:
            return self.generations, 1
        if arm in ONE_SHOT:
            fit = self.plan_trainings - 2 - 2 * self.confirm_replicates
            return 1, min(1000, fit if self.plan_trainings else self.generations * self.proposals)
        wanted = self.proposals if variant(arm).screens else 1
        return self.generations, self.more(wanted, arm, "proposals")

    def change_limit(self, arm: str) -> int:
        """Return the most changes of a plan of an arm, 0 for any."""
        return self.most_changes if variant(arm).limited else 0

    def measures_skill(self, arm: str) -> bool:
        """Tell whether the skill of an arm's last weights is measured."""
        one = variant(arm)
        return (arm == "self" or bool(one.selects or one.programs)) and self.skill_proposals > 0

    def cells(self, arm: str = "self") -> tuple[str, ...]:
        """Return the cells of skill that are measured."""
        if variant(arm).programs:
            return PROGRAM_CELLS
        return tuple(cell for cell in CELLS if cell in self.skill_cells or not self.skill_cells)

    def skill_looks(self, arm: str) -> int:
        """Return how many proposals of an arm's cells are looked at; 0 where it has none."""
        return self.measures_skill(arm) * len(self.cells(arm)) * self.asks() * self.skill_proposals

    def program_looks(self, arm: str) -> int:
        """Return the most proposals of an arm's programs that selections look at."""
        if self.programs is None or not variant(arm).programs:
            return 0
        return (1 + self.generations) * self.programs.asks * self.skill_proposals

    def program_questions(self, arm: str) -> int:
        """Return the most questions that an arm puts to its programs."""
        return (self.program_looks(arm) + self.skill_looks(arm)) // max(1, self.skill_proposals)

    def asks(self) -> int:
        """Return how many parents a measure of skill asks about, each by weights of its own."""
        return self.skill_parents or 1

    def skill_generation(self, number: int, ask: int = 0) -> int:
        """Return the generation number under which an ask of a measure of skill is recorded.

        It lies after those of the closing looks.
        """
        return self.generations + 3 + number * self.asks() + ask

    def replicates(self, arm: str) -> int:
        """Return the most paired replicates of a confirmation of an arm."""
        return self.more(self.confirm_replicates, arm, "replicates")

    def worst(self, arm: str) -> int:
        """Return the most trainings of a generation of an arm; reading the notebook counts as a
        training.
        """
        return self.readings(arm) + self.rounds(arm)[1] + 2 * self.replicates(arm)

    def readings(self, arm: str) -> int:
        """Return how often a notebook is read for a generation of an arm: once a proposer."""
        one = variant(arm)
        return self.proposers if one.notes and one.proposer == "notebook" else 1

    def author(self, arm: str, index: int) -> int:
        """Return the number of the proposer who writes a generation's proposal number `index`."""
        return index // self.written(arm)

    def written(self, arm: str) -> int:
        """Return how many of a generation's proposals each proposer of an arm writes."""
        return self.rounds(arm)[1] // (self.proposers if variant(arm).notes else 1)

    def allowance(self, arm: str) -> int:
        """Return the planned compute of a campaign in trainings, 0 where generations alone bound
        it.

        An arm with more of something gets it on top.
        """
        extra = self.worst(arm) - self.worst("") if arm in MORE else 0
        return (
            self.plan_trainings
            and self.plan_trainings + self.plan_trainings * extra // self.worst("")
        )

    def factor(self, thing: str) -> float:
        """Return the factor by which an arm of MORE has more of a thing."""
        return (self.raised or {}).get(thing, RAISE)

    def more(self, count: int, arm: str, thing: str) -> int:
        """Return the count of a thing in an arm: more where the arm raises it, rounded up."""
        if thing not in MORE.get(arm, ()):
            return count
        return math.ceil(count * Fraction(str(self.factor(thing))))
