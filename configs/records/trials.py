"""Trials of a loop that ran elsewhere, as its log has them."""

from dataclasses import dataclass
from typing import Literal

Direction = Literal["up", "down", ""]
LogFormat = Literal["autoresearch", "openevolve", "shinka", "wandb", "csv"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One evaluation of one proposal, in the order of the log."""

    name: str
    "commit, program or row"
    score: float | None
    "the score as logged; None for a failure"
    kept: bool | None
    "whether the loop kept it; None where the log does not say so"
    parent: str = ""
    "name of the trial that it changes; empty: not in the log"
    promised: float | None = None
    "the gain that was predicted before the evaluation"
    content: str = ""
    "digest of the evaluated content; empty: the log does not have it"
    group: str = ""
    "name of the data that it was evaluated on; empty: not in the log"
    failure: str = ""
    "why there is no score"
    text: str = ""
    "description, cut"


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialLog:
    """A log as it was read."""

    format: LogFormat
    metric: str
    "name of the score"
    direction: Direction
    "where better scores lie; empty: the log does not say so"
    trials: tuple[Trial, ...]
    made: int | None = None
    "trials that the loop made, if the log says so; more than it holds, where some were deleted"
    on_branch: int | None = None
    "keeps whose commit the history still has on its branch; None without a history"
    in_history: int | None = None
    "keeps whose commit the history has at all"
    notes: tuple[str, ...] = ()
    "sentences about what was left out"
