"""Scores of replicates as rows of an export: the columns, and where they come from."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from typing import Any, cast

from configs.entries import ScoreEntry
from configs.records import Scores
from evals.metrics import round_primary
from loop.export.columns import spread
from loop.export.redact import Carried, ClosedScore, closed_score
from sandbox.decision import policy


@dataclass(frozen=True, slots=True, kw_only=True)
class TabulatedScores:
    """Scores of a study on a table; an item is a fold, so shares of right answers mean nothing."""

    items: int
    "folds asked"
    bits: float | None
    "mean bits of the folds"
    slice_bits: dict[str, float] | None
    "bits of each slice"
    nll: float | None
    "the bits in nats"
    parameters: int
    "weights of the net"
    planned_cpu_us: int
    "planned compute of the training"
    measured_cpu_us: int
    "recorded charge of the training, start-up excluded"
    inference_cpu_us: int
    "recorded charge of the predict job, start-up excluded"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicateRow:
    """A score of a replicate, or its failure."""

    study: str
    "study root"
    sequence: int
    "ledger entry"
    plan: str
    "plan digest"
    role: str
    "predict: the candidate; champion-predict: the champion measured beside it"
    index: int
    "number within the role"
    failed_text: str | None
    "why there is no score"
    split: str | None
    "held-out items that were asked; every score names them"
    rounded_metric: float | None
    "primary metric on feedback, rounded; the only score that a running study shows"
    scores: Scores | TabulatedScores | None = field(
        metadata=spread(
            items_count=("items", "items asked"),
            exact_match_share=("exact_match", "whole answers right"),
            token_accuracy_share=("token_accuracy", "answer tokens right"),
            exact_match_log_odds=("log_odds", "ln((k + 1/2) / (n - k + 1/2)) of exact match"),
            answer_token_nats=("nll", "mean negative log-likelihood of a right answer token"),
            calibration_error_share=(
                "calibration_error",
                "expected calibration error of whole answers",
            ),
            slices_json=("slices", "exact match per slice of the task"),
            character_bits=(
                "bits",
                "mean -log2 of the right character's probability, lower is better",
            ),
            slice_bits_json=("slice_bits", "the same bits per slice of the task, lower is better"),
            parameters_count="parameters",
            planned_cpu_us="planned_cpu_us",
            measured_cpu_us="measured_cpu_us",
            inference_cpu_us="inference_cpu_us",
        )
    )


def replicates(carried: Carried) -> Iterator[ReplicateRow]:
    """Yield every score; a closed score names its split, and on feedback the rounded value."""
    config = policy(carried.entries).config
    for entry in carried.entries:
        if entry.kind != ScoreEntry.kind:
            continue
        score: ClosedScore | ScoreEntry
        split, value, scores = None, None, None
        if entry.place in carried.closed:
            score = closed_score(entry)
            split, value = score.split, score.rounded
        else:
            score = cast(ScoreEntry, entry.fact)
            scores = score.scores
            if scores:
                split = scores.split
                value = (
                    finite(round_primary(config.objective, scores)) if split == "feedback" else None
                )
        yield ReplicateRow(
            study=carried.study,
            sequence=entry.sequence,
            plan=score.plan,
            role=score.role,
            index=score.index,
            failed_text=score.reason,
            split=split,
            rounded_metric=value,
            scores=_tabulated(scores) if scores and config.task.table else scores,
        )


def _tabulated(scores: Scores) -> TabulatedScores:
    """Return the scores that mean something where an item is a fold of a table."""
    names = [part.name for part in fields(TabulatedScores)]
    return TabulatedScores(**{name: getattr(scores, name) for name in names})


def finite(value: Any) -> float | None:
    return None if value is None or not math.isfinite(value) else float(value)
