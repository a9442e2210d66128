"""Scores from predictions alone. Refuses predictions of another shape, dtype or range, and weights that do not fit."""

import math

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load

from configs.build import strict_json
from configs.cost import parameters
from configs.errors import BadInput
from configs.recipe import Recipe
from configs.records import Scores, Split
from configs.tokens import Task, layout
from evals.data import Items, answers


def inspect_weights(data: bytes, task: Task, recipe: Recipe) -> str:
    """Return why weights are refused (malformed, metadata, not float32, wrong size, not finite), or an empty string."""
    try:
        size = int.from_bytes(data[:8], "little")
        if "__metadata__" in strict_json(data[8 : 8 + min(size, 200_000)], limit=100_000):
            return "weights.safetensors holds metadata; tensors alone are taken"
        tensors = load(data)
    except (BadInput, SafetensorError, ValueError, KeyError, TypeError) as error:
        return f"weights.safetensors is malformed: {str(error)[:120]}"
    expected = parameters(recipe, layout(task, recipe))
    count = sum(tensor.size for tensor in tensors.values())
    if any(tensor.dtype != np.float32 for tensor in tensors.values()):
        return "weights.safetensors holds tensors that are not float32"
    if count != expected:
        return f"weights.safetensors holds {count} weights; the net has {expected}"
    if not all(np.isfinite(tensor).all() for tensor in tensors.values()):
        return "weights.safetensors holds NaN or infinity"
    return ""


def score(
    data: bytes, items: Items, task: Task, recipe: Recipe, split: Split, planned_cpu_us: int, measured_cpu_us: int
) -> Scores | str:
    """Return the scores of predictions on held-out items, or why the predictions are refused."""
    expected = answers(task, items)
    try:
        tokens = load(data)["tokens"]
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        return f"predictions.safetensors is malformed: {str(error)[:120]}"
    if tokens.dtype != np.uint8 or tokens.shape != expected.shape:
        return f"predictions are {tokens.dtype} {tokens.shape}; they should be uint8 {expected.shape}"
    right = tokens == expected
    n, k = len(items), int(right.all(axis=1).sum())
    return Scores(
        split=split,
        items=n,
        exact_match=k / n,
        token_accuracy=float(right.mean()),
        log_odds=math.log((k + 0.5) / (n - k + 0.5)),
        parameters=parameters(recipe, layout(task, recipe)),
        planned_cpu_us=planned_cpu_us,
        measured_cpu_us=measured_cpu_us,
    )
