"""A proposer's view: the champion's recipe and its own campaign's trials, and nothing else.

It crosses into the box as JSON.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from configs.build import need
from configs.notebook import BUCKETS, Notebook
from configs.reader import later
from configs.recipe import Recipe


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """A trial, as a proposer sees it."""

    recipe: Recipe
    "the trained recipe"
    outcome: Literal["first", "better", "not better", "failed", "scored", "waiting"]
    "released part of its feedback score (evals/ladder.py); waiting: not measured yet"
    score: float | None = None
    """rounded feedback score in the objective's metric, larger is better; None unless first, better
    or scored
    """
    verdict: Literal["", "accept", "reject", "inconclusive"] = ""
    "the campaign's own verdict on it, empty where it was not confirmed"
    source: str = ""
    "digest of its bundle"
    failure: str = ""
    "why its training failed, at most 300 characters; empty otherwise"
    plan: str = later("")
    """digest of its plan, where a study has a change limit and a proposal may name it as its basis;
    empty: it may not
    """

    def __post_init__(self) -> None:
        need(len(self.failure) <= 300, "failure", self.failure, "at most 300 characters")


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """Everything that a proposer sees."""

    champion: Recipe
    "recipe to improve"
    champion_source: str
    "digest of the champion's bundle"
    champion_score: float | None
    "released part of the feedback score"
    trials: tuple[Trial, ...]
    "the notebook shared by every arm at its start, then the campaign's own trials, in order"
    grid: dict[str, tuple[Any, ...]]
    "values per knob, in order of size; a knob without values stays as it is"
    count: int
    "proposals wanted"
    barred: tuple[Recipe, ...] = ()
    "recipes tried without a shown outcome (arms frozen, no_carry); weights do not write them again"
    most_changes: int = later(0)
    """most knobs and source regions that a proposal may change, against the champion or the trial
    that it names as its basis; 0: any
    """

    def __post_init__(self) -> None:
        need(1 <= self.count <= 1000, "count", self.count, "between 1 and 1000")


def buckets(trials: Sequence[Trial]) -> list[int]:
    """Return the outcome token of each trial: its quarter by rank of the released score, 0 the
    worst.

    Ties share the middle of their ranks. A failed trial is among the worst; a trial `not better`
    lies under all trials with a score. A waiting trial has no outcome: -1.
    """
    known = [i for i, t in enumerate(trials) if t.outcome != "waiting"]
    values = {i: trials[i].score if trials[i].score is not None else float("-inf") for i in known}
    result = [-1] * len(trials)
    for i in known:
        below = sum(values[j] < values[i] for j in known)  # type: ignore[operator]
        same = sum(values[j] == values[i] for j in known)
        share = (below + (same - 1) / 2) / len(known)
        result[i] = 0 if trials[i].score is None else min(BUCKETS - 1, int(share * BUCKETS))
    return result


def notebook(trials: Sequence[Trial], book: Notebook) -> list[list[int]]:
    """Return the rows of a notebook: a row for each trial with an outcome.

    A row has 1 + knobs tokens: outcome, then a pair token per knob.
    """
    return [
        [bucket, *book.encode(t.recipe)]
        for bucket, t in zip(buckets(trials), trials, strict=True)
        if bucket >= 0
    ]
