"""A checkpoint of OpenEvolve: metadata.json and a JSON file a program."""

import json
from pathlib import Path
from typing import Any

from loop.audit.formats.base import (
    Found,
    RefusedError,
    choose_metric,
    digest,
    guess_direction,
    make_trial,
    need_some,
    number,
)

USUAL = "combined_score"
"""OpenEvolve's own score; without it, the mean of all metrics that are no feature."""
MEAN = "mean of metrics"
LAST = 1 << 40
"""Largest iteration."""


def read_checkpoint(folder: Path, score: str) -> Found:
    """Read the copied programs `p0`, `p1` ... and the newest `metadata`."""
    head = _read(folder / "metadata", "metadata.json")
    programs = [_read(path, "a program") for path in sorted(folder.glob("p[0-9]*"))]
    moved = [program for program in programs if _metadata(program).get("migrant") is True]
    real = [program for program in programs if _metadata(program).get("migrant") is not True]
    real.sort(key=lambda p: (number(p.get("iteration_found")) or 0, _time(p), str(p.get("id"))))
    names = dict.fromkeys(name for program in real for name in _metrics(program))
    metric = choose_metric(score, names, USUAL) or MEAN
    features = set(head.get("feature_stats") or {})
    trials = [_trial(program, metric, features) for program in real]
    need_some(trials)
    # OpenEvolve counts the first program as iteration 0.
    last = number(head.get("last_iteration"))
    made = int(last) + 1 if last is not None and 0 <= last < LAST else None
    direction = "up" if metric in (USUAL, MEAN) else guess_direction(metric)
    notes = [f"{len(moved)} copies on other islands are left out"] if moved else []
    return Found("openevolve", metric, direction, trials, made=made, notes=notes)


def _read(path: Path, what: str) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text("utf-8"))
    except (ValueError, RecursionError) as error:
        raise RefusedError(f"has {what} that is no JSON ({str(error)[:80]})") from None
    if not isinstance(value, dict):
        raise RefusedError(f"has {what} that is no JSON object")
    return value


def _metadata(program: dict[str, Any]) -> dict[str, Any]:
    value = program.get("metadata")
    return value if isinstance(value, dict) else {}


def _metrics(program: dict[str, Any]) -> dict[str, Any]:
    value = program.get("metrics")
    return value if isinstance(value, dict) else {}


def _time(program: dict[str, Any]) -> float:
    return number(program.get("timestamp")) or 0.0


def _trial(program: dict[str, Any], metric: str, features: set[str]) -> dict[str, Any]:
    metrics, code, parent = _metrics(program), program.get("code"), program.get("parent_id")
    value = number(metrics.get(metric)) if metric != MEAN else _average(metrics, features)
    failed = "error" in metrics or not metrics
    return make_trial(
        str(program.get("id", "")),
        None if failed else value,
        None,
        parent=parent if isinstance(parent, str) else "",
        content=digest(code) if isinstance(code, str) else "",
        failure="error" if failed else "",
        text=str(_metadata(program).get("changes") or program.get("changes_description") or ""),
    )


def _average(metrics: dict[str, Any], features: set[str]) -> float | None:
    """Return the mean of the numbers that are no feature, as OpenEvolve computes its fitness."""
    numbers = [
        value
        for name, part in metrics.items()
        if name not in features and (value := number(part)) is not None
    ]
    return sum(numbers) / len(numbers) if numbers else None
