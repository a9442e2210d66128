"""A program that reads a notebook and writes proposals as weights would (models/propose.py).

It counts, knob by knob, the outcomes with which each value was tried: naive Bayes, instead of a
net. Its decoding is that of the weights: drafts within the change limit for a good outcome, ranked
by the outcome that it foresees, and nothing that was tried before. It stands in for weights in
studies on a table, where nothing is trained (loop/calibrate/table_worlds.py).
"""

import random
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from configs.history import History, buckets
from configs.notebook import BUCKETS
from configs.recipe import Recipe
from evals.intervals import Floats
from loop.propose.view import write_text

MOST_DRAFTS = 64
"""Recipes drawn for a proposal by a reader at its best, as by weights."""
TEMPERATURES = (1.0, 2.0, 4.0, 16.0)
"""Of the draws, in turn while all of them repeat trials."""
Tokens = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Belief:
    """Everything that the counts say."""

    values: Floats
    "log of P(value | outcome) per outcome, knob and value; minus infinity beyond a knob's values"
    outcomes: Floats
    "log of P(outcome)"
    worth: Floats
    "mean score of each outcome; an outcome without a score counts as the least"


def write_proposals(history: History, rng: random.Random, drafts: int) -> list[str]:
    """Return the texts of up to `history.count` proposals, each the best of `drafts` fresh drafts.

    Every fourth asks for the outcome below the best. Fewer come back where no fresh draft is found.
    """
    belief, generator = count_outcomes(history), np.random.default_rng(rng.getrandbits(64))
    now = _places(history, history.champion)
    seen = (history.champion, *history.barred, *(trial.recipe for trial in history.trials))
    tried, texts = {_places(history, recipe) for recipe in seen}, list[str]()
    for number in range(history.count):
        outcome = BUCKETS - 1 - (number % 4 == 3)
        for temperature in TEMPERATURES:
            drawn = _draft(belief, history, now, outcome, temperature, drafts, generator)
            worths = foresee(belief, drawn)
            rows = drawn.tolist()
            ranked = ((tuple(rows[i]), worths[i]) for i in np.argsort(-worths))
            best = next(((draft, worth) for draft, worth in ranked if draft not in tried), None)
            if best:
                tried.add(best[0])
                texts.append(_write(history, best[0], float(best[1])))
                break
    return texts


def count_outcomes(history: History) -> Belief:
    """Return the counts of a notebook, each begun at 1."""
    known = [(b, t) for b, t in zip(buckets(history.trials), history.trials, strict=True) if b >= 0]
    sizes = [len(values) for values in history.grid.values()]
    counts = np.zeros((BUCKETS, len(sizes), max(sizes)))
    for knob, size in enumerate(sizes):
        counts[:, knob, :size] = 1.0
    for bucket, trial in known:
        counts[bucket, np.arange(len(sizes)), _places(history, trial.recipe)] += 1.0
    with np.errstate(divide="ignore"):
        values = np.log(counts) - np.log(counts.sum(axis=2, keepdims=True))
    each = [[t.score for b, t in known if b == k and t.score is not None] for k in range(BUCKETS)]
    least = min((score for scores in each for score in scores), default=0.0)
    worth = np.array([sum(scores) / len(scores) if scores else least for scores in each])
    sums = 1.0 + np.bincount([bucket for bucket, _ in known], minlength=BUCKETS)
    return Belief(values=values, outcomes=np.log(sums / sums.sum()), worth=worth)


def foresee(belief: Belief, drafts: Tokens) -> Floats:
    """Return the expected score (N,) of drafts (N, knobs) by naive Bayes."""
    knobs = np.arange(drafts.shape[1])
    logs = belief.values[:, knobs, drafts].sum(axis=2) + belief.outcomes[:, None]
    chances = np.exp(logs - logs.max(axis=0))
    return np.asarray(belief.worth @ (chances / chances.sum(axis=0)))


def _draft(
    belief: Belief,
    history: History,
    now: tuple[int, ...],
    outcome: int,
    temperature: float,
    count: int,
    generator: np.random.Generator,
) -> Tokens:
    """Draw recipes (count, knobs) given an outcome; a random choice of knobs is free to change."""
    chances = np.exp(belief.values[outcome] / temperature)
    ends = np.cumsum(chances, axis=1)[:, :-1] / chances.sum(axis=1, keepdims=True)
    luck = generator.random((2, count, len(now)))
    drawn = np.asarray((luck[0][:, :, None] > ends).sum(axis=2))
    if 0 < history.most_changes < len(now):
        free = np.partition(luck[1], history.most_changes, axis=1)
        drawn = np.where(luck[1] < free[:, [history.most_changes]], drawn, np.array(now))
    return np.asarray(drawn)


def _places(history: History, recipe: Recipe) -> tuple[int, ...]:
    """Return the place of each knob's value in the grid; a value off the grid counts as the
    first.
    """
    places = []
    for name, values in history.grid.items():
        value = getattr(recipe, name)
        places.append(values.index(value) if value in values else 0)
    return tuple(places)


def _write(history: History, draft: tuple[int, ...], foretold: float) -> str:
    changed = dict[str, object]()
    for (name, values), place in zip(history.grid.items(), draft, strict=True):
        if values[place] != getattr(history.champion, name):
            changed[name] = values[place]
    before = history.champion_score
    gain = None if before is None else round(foretold - before, 4)
    return write_text("foreseen best by counts of the notebook", changed, predicted_gain=gain)
