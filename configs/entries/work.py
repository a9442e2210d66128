"""Entries of the loop's work: from a proposal to a plan, its scores, verdict and champion."""

from dataclasses import dataclass
from typing import ClassVar

from configs.reader import later
from configs.records import (
    Nearest,
    Origin,
    Plan,
    PlanRole,
    Scores,
    Verdict,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class NotebookEntry:
    """A notebook of trials, from which nets learn to propose, was stored."""

    kind: ClassVar[str] = "notebook"
    digest: str
    "digest of its tokens in the store"
    trials: int
    "number of trials in it"


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryEntry:
    """The history in a propose plan was stored."""

    kind: ClassVar[str] = "history"
    plan: str
    "digest of the propose plan"
    digest: str
    "digest of the history in the store"


@dataclass(frozen=True, slots=True, kw_only=True)
class InvalidEntry:
    """A proposal could not become a plan; it is charged all the same."""

    kind: ClassVar[str] = "invalid"
    arm: str
    "arm of the proposal"
    repeat: int
    "campaign of the arm, from 0"
    generation: int
    "generation"
    index: int
    "number of the proposal within its generation"
    reason: str
    "the mistake, at most 300 characters"
    proposal: str
    "digest of its text in the store; empty: no text"


@dataclass(frozen=True, slots=True, kw_only=True)
class UsedUpEntry:
    """The recorded proposals of a campaign are used up, so it ends early."""

    kind: ClassVar[str] = "used-up"
    arm: str
    "the arm"
    repeat: int
    "campaign of the arm, from 0"
    reason: str
    "why there are no more, at most 300 characters"


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanEntry:
    """A plan was recorded; gates decide on its digest."""

    kind: ClassVar[str] = "plan"
    digest: str
    "digest of the plan"
    plan: Plan
    "the plan"
    origin: Origin | None = later(None)
    "where its program stands in a database of programs; absent: its arm evolves none"


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreEntry:
    """A replicate was scored, or failed. An export closes some scores or all but a rounded one."""

    kind: ClassVar[str] = "score"
    plan: str
    "digest of the plan"
    role: PlanRole
    "role of the predicting job"
    index: int
    "number of the replicate"
    scores: Scores | None
    "the scores; null: it failed"
    reason: str
    "why it failed; empty: it did not"
    nearest: Nearest | None
    "the other training with the nearest weights; null: no weights came out"


@dataclass(frozen=True, slots=True, kw_only=True)
class VerdictEntry:
    """The judge decided on a candidate by paired replicates on the confirm split."""

    kind: ClassVar[str] = "verdict"
    plan: str
    "digest of the plan"
    verdict: Verdict
    "the verdict; an export of a running study closes its figures"


@dataclass(frozen=True, slots=True, kw_only=True)
class ChampionEntry:
    """A plan became the champion of its campaign."""

    kind: ClassVar[str] = "champion"
    arm: str
    "arm of the campaign"
    repeat: int
    "campaign of the arm, from 0"
    plan: str
    "digest of the plan"
    generation: int
    "its generation; 0 is the baseline"


@dataclass(frozen=True, slots=True, kw_only=True)
class Contender:
    """A plan that contends for the place of champion by its proposing skill."""

    plan: str
    "digest of the plan"
    skill: float | None
    """mean gain of its weights' fresh proposals over their parents, on feedback, larger is better;
    null: none has a score. An export of a running study closes it
    """
    counted: float | None
    "the skill that it was chosen by; in arm skill_placebo another contender's or its own"


@dataclass(frozen=True, slots=True, kw_only=True)
class SelectionEntry:
    """A generation chose its champion on proposing skill; the figures are no result."""

    kind: ClassVar[str] = "selection"
    arm: str
    "arm of the campaign"
    repeat: int
    "campaign of the arm, from 0"
    generation: int
    "the generation"
    contenders: tuple[Contender, ...]
    "the champion first, then each candidate that is not inferior on the task, best feedback first"
    chosen: str
    "digest of the contender with the highest counted skill, the earliest of equals"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgramEntry:
    """A proposer program joined the archive of its campaign; the figures are no result."""

    kind: ClassVar[str] = "program"
    arm: str
    "arm of the campaign"
    repeat: int
    "campaign of the arm, from 0"
    generation: int
    "number of the program; 0 is the first, which people gave"
    plan: str
    "digest of its plan; empty: it could not become one"
    parent: int
    "number of the program that it was made from; -1 for the first"
    edits: tuple[str, ...]
    "what was changed, in words"
    skill: float | None
    """mean gain of its proposals over their parents, on feedback, larger is better; null: it was
    not asked, or none has a score. An export of a running study closes it
    """
    asked: int
    "proposals wanted of it"
    usable: int
    "those that became a plan"
    gained: int | None
    "those that scored above their parent on feedback; null: an export of a running study closed it"


@dataclass(frozen=True, slots=True, kw_only=True)
class CampaignEndEntry:
    """A campaign reached its end."""

    kind: ClassVar[str] = "campaign-end"
    arm: str
    "arm of the campaign"
    repeat: int
    "campaign of the arm, from 0"


@dataclass(frozen=True, slots=True, kw_only=True)
class OpeningEntry:
    """Sealed was opened for a champion. Only the effect and its interval leave, no single score."""

    kind: ClassVar[str] = "opening"
    plan: str
    "digest of the unseal plan"
    champion: str
    "digest of the champion"
    metric: str
    "primary metric of the objective"
    gain: float | None
    "mean gain of the champion over the baseline, on the objective's scale; null: a pair is missing"
    low: float | None
    "lower end of its 95 % interval"
    high: float | None
    "upper end"
    replicates: int
    "pairs measured"
    of: int
    "pairs planned"
    champion_mean: float | None
    "mean metric of the champion"
    baseline_mean: float | None
    "mean metric of the baseline"
    spread: float | None
    "standard deviation over seeds of the champion's metric; null under two pairs"
    computable: bool
    "whether code could compute the answers, so that a gain proves little"
