"""The rows of a task check: pure functions over a task's items and measured scores.

Exclusion, repeats, chance and leakage come from the items; noise and headroom from trainings. Each
row has a measured value, a bound, and whether it holds. A task may be run although a row fails; the
failure then holds for every study on it.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import chi2

from configs.tokens import Task
from evals import text
from evals.data import answers, overlap, questions
from evals.tables import Items

CEILING = 0.98
"""A baseline above this leaves nothing to find."""
CHANCE = 0.5
"""Highest score of a single answer for everything, or of a copied column."""
CHANCE_BITS, LEAKAGE_BITS = 4.0, 3.0
"""Fewest bits a character by the frequencies of characters, and by those after another character.
Below them a text says too little.
"""
REPEATS = 0.01
"""Largest share of items whose question has a second answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A line of `heirloop task check`."""

    check: str
    "name of the check"
    passed: bool
    "whether it holds"
    value: float
    "measured value"
    bound: float
    "bound of the value"
    text: str
    "one clause for people"


def exclusion(task: Task, files: Sequence[Items], splits: Mapping[str, Items]) -> Row:
    """Check that no training item asks a held-out question, and no two splits share a question."""
    out = np.concatenate(list(splits.values()))
    overlaps = sum(overlap(task, rows, out) for rows in files)
    what = f"runs of {text.GRAM} characters" if task.name == "text" else "questions"
    shared = len(out) - len(np.unique(questions(task, out), axis=0))
    return Row(
        check="exclusion",
        passed=overlaps + shared == 0 and bool(files),
        value=overlaps + shared,
        bound=0,
        text=f"held-out {what} in {len(files)} training files, and between the splits",
    )


def repeats(task: Task, train: Items) -> Row:
    """Check that a question has one answer.

    The value is the share of different training items with a second answer to their question.
    """
    rows = np.unique(train, axis=0)
    _, count = np.unique(questions(task, rows), axis=0, return_counts=True)
    share = float(count[count > 1].sum() / len(rows))
    return Row(
        check="repeats",
        passed=share <= REPEATS,
        value=share,
        bound=REPEATS,
        text="share of items whose question has two answers",
    )


def chance(task: Task, train: Items, out: Items) -> Row:
    """Check the most frequent answer of a training file, given to every held-out question.

    text: the bits of the frequencies of characters.
    """
    if task.name == "text":
        bits = text.frequency_bits(train, out, pairs=False)
        return Row(
            check="chance",
            passed=bits >= CHANCE_BITS,
            value=bits,
            bound=CHANCE_BITS,
            text="bits of a held-out character by the frequencies of characters, a reference point",
        )
    distinct, count = np.unique(answers(task, train), axis=0, return_counts=True)
    share = float((answers(task, out) == distinct[count.argmax()]).all(axis=1).mean())
    return Row(
        check="chance",
        passed=share <= CHANCE,
        value=share,
        bound=CHANCE,
        text="exact match of the most frequent answer",
    )


def leakage(task: Task, train: Items, out: Items) -> Row:
    """Check the best table from one question column to each answer column.

    It is learned from a training file; the value is its exact match on held-out items. text: the
    bits of the frequencies of pairs of characters.
    """
    if task.name == "text":
        bits = text.frequency_bits(train, out, pairs=True)
        return Row(
            check="leakage",
            passed=bits >= LEAKAGE_BITS,
            value=bits,
            bound=LEAKAGE_BITS,
            text="bits by a table over the character before, a reference point",
        )
    train_questions, train_answers = questions(task, train), answers(task, train)
    test_questions, test_answers = questions(task, out), answers(task, out)
    guesses = np.stack(
        [
            _best(train_questions, train_answers[:, j], test_questions)
            for j in range(train_answers.shape[1])
        ],
        axis=1,
    )
    share = float((guesses == test_answers).all(axis=1).mean())
    return Row(
        check="leakage",
        passed=share <= CHANCE,
        value=share,
        bound=CHANCE,
        text="exact match by a table over one question column per answer column",
    )


def _best(train_questions: Items, train_answers: Items, test_questions: Items) -> Items:
    """Return the answers of the question column that says most about an answer column."""
    tables = [np.zeros((256, 256), np.int64) for _ in range(train_questions.shape[1])]
    for table, column in zip(tables, train_questions.T, strict=True):
        np.add.at(table, (column, train_answers), 1)
    best = max(range(len(tables)), key=lambda i: tables[i].max(axis=1).sum())
    return np.asarray(tables[best].argmax(axis=1)[test_questions[:, best]], np.uint8)


def inputs(task: Task, inputs_of: Sequence[Items]) -> Row:
    """Check that a predict job gets the question's columns alone."""
    columns = questions(task, np.zeros((1, 512), np.uint8)).shape[1]
    beyond = max(rows.shape[1] - columns for rows in inputs_of)
    return Row(
        check="inputs",
        passed=beyond == 0,
        value=beyond,
        bound=0,
        text="columns beyond the question in what a box is asked with",
    )


def noise(scores: Sequence[float], failed: int, configured: float) -> Row:
    """Check the baseline's deviation over seeds against the configured deviation.

    The configured one may not lie below the 95 % interval (normal theory).
    """
    n, measured = len(scores), float(np.std(scores, ddof=1)) if len(scores) > 1 else math.nan
    low, high = (
        measured * math.sqrt((n - 1) / chi2.ppf(q, n - 1)) if n > 1 else math.nan
        for q in (0.975, 0.025)
    )
    words = (
        f"seed deviation of {n} trainings, 95 % {low:.4f} to {high:.4f}; task.seed_deviation is"
        f" {configured:g}, {failed} trainings failed"
    )
    return Row(
        check="noise",
        passed=failed == 0 and configured >= low,
        value=measured,
        bound=configured,
        text=words,
    )


def headroom(
    baseline: Sequence[float],
    best: Sequence[float],
    better: str = "up",
    what: str = "random recipe",
) -> Row:
    """Check the gain of the best random recipe over the baseline, on fresh seeds.

    It should be at least 2 standard errors of the difference. `better` is the better direction, and
    `what` was drawn at random.
    """
    n, k = len(baseline), len(best)
    gain = float(np.mean(best) - np.mean(baseline)) if n and k else math.nan
    gain = gain if better == "up" else -gain
    error = (
        math.sqrt(float(np.var(baseline, ddof=1)) / n + float(np.var(best, ddof=1)) / k)
        if min(n, k) > 1
        else math.nan
    )
    bound = 2 * error if error > 0 else 0.0
    words = (
        f"best {what} against the baseline's {np.mean(baseline):.3f}, {k} fresh seeds"
        f" against {n}; bound: two standard errors"
    )
    return Row(
        check="headroom",
        passed=gain > bound and (better == "down" or float(np.mean(baseline)) < CEILING),
        value=gain,
        bound=bound,
        text=words,
    )
