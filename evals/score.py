"""Scores from predictions alone. Ill-formed predictions and ill-fitting weights are refused.

A file holds exactly the expected tensors, with a strict header. Probabilities are finite, from 0 to
1, and add up to 1 within TOLERANCE; within it they are re-normalised. Beyond it, and if a token is
not the most probable, the file is refused.
"""

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load

from configs.build import strict_json
from configs.cost import parameters
from configs.errors import BadInput
from configs.recipe import Recipe
from configs.records import Scores, Split
from configs.tokens import SIMULATED_WEIGHTS, Task, layout
from evals.data import answers
from evals.tables import Items

TOLERANCE = 1e-3
"""Largest distance of a sum of probabilities from 1: float32 sums of 253 terms stay below 1e-5."""
LEAST_PROBABILITY = 1e-6
"""Floor of a probability in the likelihood, so that a confident mistake costs 13.8 nats and not
infinity.
"""
BINS = 15
Array = NDArray[np.float64]


def tensors(data: bytes, name: str) -> dict[str, NDArray[np.generic]] | str:
    """Return the tensors of a file, or the reason for its refusal.

    A header is refused if it is large, repeats a key or holds metadata; so is a broken file.
    """
    try:
        size = int.from_bytes(data[:8], "little")
        if "__metadata__" in strict_json(data[8 : 8 + min(size, 200_000)], limit=100_000):
            return f"{name} holds metadata; tensors alone are taken"
        return dict(load(data))
    except (BadInput, SafetensorError, ValueError, KeyError, TypeError) as error:
        return f"{name} is malformed: {str(error)[:120]}"


def inspect_weights(data: bytes, task: Task, recipe: Recipe) -> str:
    """Return the reason for refusing weights, or an empty string.

    Refused are malformed files, metadata, other types than float32, a wrong size, and non-finite
    values.
    """
    weights = tensors(data, "weights.safetensors")
    if isinstance(weights, str):
        return weights
    expected = parameters(recipe, layout(task, recipe))
    if task.stand_in():  # a table holds no weights, and a law a few numbers
        expected = 0 if task.folds else SIMULATED_WEIGHTS
    count = sum(tensor.size for tensor in weights.values())
    if any(tensor.dtype != np.float32 for tensor in weights.values()):
        return "weights.safetensors holds tensors that are not float32"
    if count != expected:
        return f"weights.safetensors holds {count} weights; the net has {expected}"
    if not all(np.isfinite(tensor).all() for tensor in weights.values()):
        return "weights.safetensors holds NaN or infinity"
    return ""


def flat(data: bytes) -> Array | None:
    """Return weights as one vector, tensors in the order of their names.

    None for a file that holds no weights: it may be hostile.
    """
    weights = tensors(data, "weights.safetensors")
    if (
        isinstance(weights, str)
        or not weights
        or any(t.dtype != np.float32 or not np.isfinite(t).all() for t in weights.values())
    ):
        return None
    return np.concatenate([weights[name].astype(np.float64).ravel() for name in sorted(weights)])


def distance(one: Array | None, other: Array | None) -> float | None:
    """Return |a - b| / sqrt(|a|^2 + |b|^2): 0 for a copy, about 1 for independent weights.

    None for different sizes.
    """
    if one is None or other is None or one.shape != other.shape:
        return None
    size = math.sqrt(float(one @ one + other @ other))
    return float(np.linalg.norm(one - other)) / size if size else 0.0


def score(
    data: bytes,
    items: Items,
    task: Task,
    recipe: Recipe,
    split: Split,
    planned_cpu_us: int,
    measured_cpu_us: int,
    inference_cpu_us: int = 0,
    slices: Mapping[str, Items] | None = None,
) -> Scores | str:
    """Return the scores of predictions on held-out items and on each slice, or why they are
    refused.

    The slices' rows follow the items. nll: mean -ln p of the right token, floored at
    LEAST_PROBABILITY. Calibration error: mean over BINS bins of equal width of |share right - mean
    confidence|, weighted by items (Guo et al. 2017). The confidence in a whole answer is the
    product over its tokens.
    """
    parts = {"": items, **(slices or {})}
    rows = np.concatenate(list(parts.values()))
    lay = layout(task, recipe)
    predictions = _read(data, (len(rows), lay.answer, lay.vocabulary))
    if isinstance(predictions, str):
        return predictions
    tokens, probabilities = predictions
    expected = answers(task, rows)
    right = tokens == expected
    n, whole = len(items), right.all(axis=1)
    k, ends = int(whole[:n].sum()), np.cumsum([len(part) for part in parts.values()])
    truth = np.take_along_axis(probabilities, expected[:, :, None].astype(np.int64), axis=2)
    nats = -np.log(np.maximum(truth, LEAST_PROBABILITY))
    of_slices = {
        name: slice(end - len(part), end)
        for (name, part), end in zip(parts.items(), ends, strict=True)
        if name and len(part)
    }
    bits = task.name == "text"
    own = np.take_along_axis(probabilities[:n], tokens[:n, :, None].astype(np.int64), axis=2)[
        :, :, 0
    ].prod(axis=1)
    return Scores(
        split=split,
        items=n,
        exact_match=k / n,
        token_accuracy=float(right[:n].mean()),
        log_odds=math.log((k + 0.5) / (n - k + 0.5)),
        parameters=parameters(recipe, lay),
        planned_cpu_us=planned_cpu_us,
        measured_cpu_us=measured_cpu_us,
        inference_cpu_us=inference_cpu_us,
        nll=float(nats[:n].mean()),
        calibration_error=calibration_error(own, whole[:n]),
        slices={name: float(whole[at].mean()) for name, at in of_slices.items()},
        bits=float(nats[:n].mean()) / math.log(2) if bits else None,
        slice_bits=(
            {name: float(nats[at].mean()) / math.log(2) for name, at in of_slices.items()}
            if bits
            else None
        ),
    )


def item_bits(data: bytes, items: Items, task: Task, recipe: Recipe) -> Array | str:
    """Return -log2 of the probability of each item's right answer, or why there is none."""
    lay = layout(task, recipe)
    predictions = _read(data, (len(items), lay.answer, lay.vocabulary))
    if isinstance(predictions, str):
        return predictions
    expected = answers(task, items)[:, :, None].astype(np.int64)
    right = np.take_along_axis(predictions[1], expected, axis=2)[:, :, 0].prod(axis=1)
    return np.asarray(-np.log2(np.maximum(right, LEAST_PROBABILITY)))


def calibration_error(confidence: Array, right: NDArray[np.bool_]) -> float:
    """Return the expected calibration error over BINS bins of equal width (Guo et al. 2017,
    equation 3).
    """
    bins = np.minimum((confidence * BINS).astype(np.int64), BINS - 1)
    gaps = np.bincount(bins, weights=right - confidence, minlength=BINS)
    return float(np.abs(gaps).sum() / len(right))


def _read(data: bytes, shape: tuple[int, int, int]) -> tuple[NDArray[np.uint8], Array] | str:
    outputs = tensors(data, "predictions.safetensors")
    if isinstance(outputs, str):
        return outputs
    if set(outputs) != {"tokens", "probabilities"}:
        return (
            f"predictions hold {', '.join(sorted(outputs))[:80] or 'nothing'}; they should hold"
            " tokens and probabilities alone"
        )
    tokens, given = outputs["tokens"], outputs["probabilities"]
    for name, have, right in (
        ("tokens", tokens, ("uint8", shape[:2])),
        ("probabilities", given, ("float32", shape)),
    ):
        if (str(have.dtype), have.shape) != right:
            return (
                f"{name} of predictions are {have.dtype} {have.shape}; they should be {right[0]}"
                f" {right[1]}"
            )
    probabilities = given.astype(np.float64)
    if (
        not np.isfinite(probabilities).all()
        or (probabilities < 0).any()
        or (probabilities > 1 + TOLERANCE).any()
    ):
        return "probabilities of predictions are not finite or not between 0 and 1"
    total = probabilities.sum(axis=2, keepdims=True)
    if (np.abs(total - 1) > TOLERANCE).any():
        return (
            "probabilities of predictions add up to"
            f" {float(total.flat[np.abs(total - 1).argmax()]):.4f}; they should add up to 1"
        )
    whole = tokens.astype(np.int64)[:, :, None]
    if (whole >= shape[2]).any() or (
        np.take_along_axis(given, whole, axis=2)[:, :, 0] < given.max(axis=2)
    ).any():
        return "tokens of predictions are not the most probable ones"
    return tokens.astype(np.uint8), probabilities / total
