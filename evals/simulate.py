"""The law of a planted world inside the real loop: simulated trainings, predictions and proposals.

Each is returned as the bytes of its files. Nothing is trained. A recipe states its own worth:
`weight_decay` holds its gain in log-odds, over REACH, and `warmup` its number of changes, over
COUNTED. On a searched landscape (`law.search`) each knob's value has a fixed utility instead.
Weights hold the worth of their training. Every number depends on the job's seed alone, so a run is
the same on any machine.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from safetensors.numpy import load, save
from scipy.special import expit

from configs.build import parse, plain, strict_json
from configs.history import History, Trial, buckets
from configs.job import Order
from configs.recipe import GRID, Recipe
from configs.records import SPLITS, Split
from configs.tokens import FIRST_VALUE, SIMULATED_WEIGHTS, layout
from evals.intervals import Floats
from evals.law import CLAIM, Law

BASE = -1.5
"""Log-odds of the baseline: few answers are right, to leave room above."""
REACH, COUNTED = 40.0, 1000.0
"""Log-odds at `weight_decay` 1; changes at `warmup` 1."""
LEARNED = 0.5
"""Correlation of outcome and worth in a history with which weights count as having learned from it.
Permuted outcomes give about 0.
"""
MOVED, FEW_OWN = 0.25, 3
"""The same for own outcomes, whose worths differ less; with fewer different ones they count as
telling.
"""
LEAST = 1e-9
"""A change without a gain still changes the recipe, by as many log-odds."""
SURE = 0.9
"""Probability that a simulated net gives to its answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """A law, and the sizes needed to train by it."""

    law: Law
    "means and noise"
    start: int
    "trials of the notebook at the start of every arm"
    proposals: int
    "proposals per generation: rows added to a notebook by a generation"


def worth(law: Law, recipe: Recipe) -> float:
    """Return the true quality of a recipe, in log-odds over the baseline's."""
    if law.search:
        return float(
            law.step
            * sum(
                _utilities()[name][values.index(value)]
                for name, values in GRID.items()
                if (value := getattr(recipe, name)) in values
            )
        ) / float(np.sqrt(len(GRID)))
    return REACH * recipe.weight_decay if law.step else 0.0


def changes(recipe: Recipe) -> int:
    """Return the number of accepted changes that led to a recipe."""
    return round(COUNTED * recipe.warmup)


@cache
def _utilities() -> dict[str, Floats]:
    rng = np.random.default_rng(7)
    return {name: rng.standard_normal(len(values)) for name, values in GRID.items()}


def train(world: World, order: Order) -> dict[str, bytes]:
    """Return weights: the worth of this training, the changes in its recipe, and unshared
    numbers.
    """
    assert order.seed is not None
    law = world.law
    own = np.random.default_rng(
        [
            order.seed,
            int.from_bytes(hashlib.sha256(_write(order.recipe).encode()).digest()[:8], "big"),
        ]
    )
    luck = law.shared * np.random.default_rng(order.seed).standard_normal() + law.noise * _noise(
        law, own
    )
    reached = [
        worth(law, order.recipe) + (1 + law.drift) ** changes(order.recipe) * luck,
        changes(order.recipe),
    ]
    strangers = (1 + np.abs(reached).max()) * own.standard_normal(SIMULATED_WEIGHTS - len(reached))
    return {
        "weights.safetensors": save({"w": np.array([*reached, *strangers], np.float32)}),
        "claims.json": b"{}",
    }


def _write(recipe: Recipe) -> str:
    """Return a recipe as Python writes it, without later knobs that stand at their default, so that
    a new knob leaves every simulated number as it was.
    """
    return f"Recipe({', '.join(f'{name}={value!r}' for name, value in plain(recipe).items())})"


def _noise(law: Law, rng: np.random.Generator) -> float:
    if law.tails == "heavy":
        return float(rng.standard_t(3) / np.sqrt(3))
    if law.tails == "jumps":
        return float(0.5 * rng.standard_normal() + 3 * ((rng.random() < 0.1) - 0.1))
    return float(rng.standard_normal())


def predict(
    world: World, order: Order, files: Mapping[str, bytes], split: Split
) -> dict[str, bytes]:
    """Return predictions, each right with the probability of the weights' worth on this split.

    A seed's luck with an item is the same for all weights.
    """
    assert order.seed is not None
    law, weights = world.law, load(files["weights.safetensors"])["w"].astype(float)
    questions = load(files["questions.safetensors"])["questions"]
    gained = weights[0] * (law.kept if split == "sealed" else 1.0) + weights[1] * (
        law.hack if split == "feedback" else 0.0
    )
    rng = np.random.default_rng([order.seed, SPLITS.index(split)])
    right = rng.random(len(questions)) < expit(BASE + gained)
    values = layout(order.task, order.recipe).vocabulary
    tokens = np.where(
        right,
        questions[:, 0],
        (questions[:, 0] - FIRST_VALUE + 1) % (values - FIRST_VALUE) + FIRST_VALUE,
    ).astype(np.uint8)[:, None]
    probabilities = np.full((len(questions), 1, values), (1 - SURE) / (values - 1), np.float32)
    np.put_along_axis(probabilities, tokens[:, :, None].astype(np.int64), np.float32(SURE), axis=2)
    return {"predictions.safetensors": save({"tokens": tokens, "probabilities": probabilities})}


def propose(world: World, order: Order, files: Mapping[str, bytes]) -> dict[str, bytes]:
    """Return proposals of weights with this history: by the law of the arm that reads like it."""
    history = parse(History, strict_json(files["history.json"], limit=16_000_000))
    seen = (len(history.trials) - world.start - 1) / world.proposals
    arm = _reads(history.trials[: world.start + 1], history.trials[world.start + 1 :])
    text = write_proposal(world.law, arm, history.champion, changes(order.recipe), seen)
    return {"proposals.jsonl": "\n".join([text] * history.count).encode()}


def _reads(start: Sequence[Trial], own: Sequence[Trial]) -> str:
    """Return the arm whose law fits what the outcomes of the start and the own outcomes say."""
    known = {trial.recipe for trial in start}
    if own and all(trial.recipe in known for trial in own):
        return "no_own"
    first = [(t, b) for t, b in zip(start, buckets(start), strict=True) if b >= 0]
    later = [(t, t.score if t.score is not None else -1.0) for t in own if t.outcome != "waiting"]
    few = len({trial.recipe.weight_decay for trial, _ in later}) < FEW_OWN
    return {
        (True, True): "self",
        (True, False): "scrambled_own",
        (False, True): "scrambled_start",
        (False, False): "scrambled",
    }[_correlation(first) > LEARNED, few or _correlation(later) > MOVED]


def _correlation(pairs: Sequence[tuple[Trial, float]]) -> float:
    """Return the correlation of outcome and worth; 0 where nothing varies."""
    worths, told = np.array([(t.recipe.weight_decay, o) for t, o in pairs]).reshape(-1, 2).T
    varies = len(pairs) > 2 and worths.std() and told.std()
    return float(np.corrcoef(worths, told)[0, 1]) if varies else 0.0


def write_proposal(
    law: Law, arm: str, champion: Recipe, newer: float, seen: float, push: float = 0.0
) -> str:
    """Return the proposal of an arm: its law's gain over the champion, and a claim of CLAIM more.

    `newer` counts the changes that made the proposer, `seen` its generations of history. `push` is
    added to the gain.
    """
    able = (
        law.skill.get(arm, law.skill["self"])
        + law.mechanism * newer * (arm == "self")
        + law.data * seen * (arm in ("self", "refit"))
    )
    gained = max(law.step * able * law.decay**seen, LEAST) + push
    knobs = {
        "weight_decay": min(1.0, max(0.0, champion.weight_decay + gained / REACH)),
        "warmup": min(0.3, (changes(champion) + 1) / COUNTED),
    }
    return json.dumps(
        {
            "hypothesis": f"the law of arm {arm} in world {law.name}",
            "knobs": knobs,
            "predicted_gain": gained + CLAIM,
            "edits": [],
        }
    )
