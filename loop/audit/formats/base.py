"""Words of every reader: a refusal, a trial, a number, a direction."""

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

MOST_TRIALS = 5_000
LARGEST = 1e30
"""Largest number; its square and its sums are finite."""
CUT = 160
"""Most characters of a name or a description."""
LOWER = ("loss", "bpb", "rmse", "mse", "mae", "err", "error", "perplexity", "ppl", "bits", "nll")
HIGHER = ("acc", "accuracy", "score", "reward", "f1", "auc", "fitness", "sharpe", "return", "wins")


class RefusedError(Exception):
    """A log that cannot be read; the sentence says why, without a subject."""


@dataclass(slots=True)
class Found:
    """What a reader found. `trials` are records of configs/records/trials.py as plain values."""

    format: str
    metric: str
    direction: str
    trials: list[dict[str, Any]]
    made: int | None = None
    on_branch: int | None = None
    in_history: int | None = None
    notes: list[str] = field(default_factory=list)


def make_trial(name: str, score: float | None, kept: bool | None, **more: Any) -> dict[str, Any]:
    """Return a trial; a score that is no finite number is a failure."""
    failure = str(more.pop("failure", ""))
    if score is None or not math.isfinite(score):
        score, failure = None, failure or "no score"
    texts = {key: cut(value) if isinstance(value, str) else value for key, value in more.items()}
    return {"name": cut(name), "score": score, "kept": kept, "failure": cut(failure), **texts}


def cut(text: str) -> str:
    """Return text that can be written: at most CUT characters, and no half of a pair."""
    return text[:CUT].encode("utf-8", "replace").decode()


def number(value: Any) -> float | None:
    """Return a value as a number up to LARGEST; None for anything else, as for a truth value."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    if isinstance(value, str) and "_" in value:  # Python reads 1_0 as ten
        return None
    try:
        result = float(value)
    except (ValueError, OverflowError):
        return None
    return result if abs(result) <= LARGEST else None


def digest(*parts: str) -> str:
    """Return a digest of texts."""
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()


def guess_direction(metric: str) -> str:
    """Return where better scores lie, by the name of the score; empty if the name does not say."""
    words = set(metric.lower().replace("/", "_").replace(".", "_").replace("-", "_").split("_"))
    down, up = bool(words & set(LOWER)), bool(words & set(HIGHER))
    return "" if down == up else "down" if down else "up"


def need_some(trials: list[dict[str, Any]]) -> None:
    """Raise RefusedError for no trial, or too many."""
    if not trials:
        raise RefusedError("holds no trial; it should hold one at least")
    if len(trials) > MOST_TRIALS:
        raise RefusedError(f"holds more than {MOST_TRIALS} trials; it should hold at most so many")


def choose_metric(asked: str, names: Mapping[str, Any], usual: str) -> str:
    """Return the name of the score: the asked one, the usual one, or empty."""
    if asked and asked not in names:
        known = ", ".join(cut(name) for name in list(names)[:20]) or "none"
        raise RefusedError(f"has no score {cut(asked)}; --score should be one of: {known}")
    return asked or (usual if usual in names else "")
