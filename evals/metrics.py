"""Metrics of scores under an objective: the primary metric on its scale, and conditions.

A number that is missing or not finite is NaN, and a condition on NaN never holds.
"""

import math
from collections.abc import Mapping, Sequence

from configs.metrics import METRICS
from configs.objective import Constraint, Objective
from configs.records import Scores

Pairs = Sequence[tuple[Scores, Scores]]


def read_metric(
    scores: Scores, metric: str, slice: str = "", weights: Mapping[str, float] | None = None
) -> float:
    """Return one metric of a replicate in its own units; NaN if the scores do not hold it."""
    if slice and metric == "bits":
        return (scores.slice_bits or {}).get(slice, math.nan)
    if slice:
        return scores.slices.get(slice, math.nan)
    if metric == "robustness":
        return min(scores.slices.values(), default=math.nan)
    if metric == "weighted":
        good = {m: read_metric(scores, m) for m in weights or {}}
        return (
            sum(
                w * (good[m] if METRICS[m].better == "up" else 1 - good[m])
                for m, w in (weights or {}).items()
            )
            if weights
            else math.nan
        )
    value = getattr(scores, metric)
    return math.nan if value is None else float(value)


def primary(objective: Objective, scores: Scores) -> float:
    """Return the primary metric on the objective's scale, turned so that larger is better.

    On the log-odds scale a share s of n items becomes ln((sn + 1/2) / (n - sn + 1/2)), finite at 0
    and 1.
    """
    value = read_metric(scores, objective.metric, weights=objective.weights)
    if objective.scale == "log_odds":
        value = log_odds(value, scores.items)
    return value if objective.direction == "up" else -value


def floor(objective: Objective, items: int) -> float:
    """Return what a training without a score is worth, on the scale of `primary`; NaN without it.

    It is the objective's own floor, else the worst share.
    """
    raw = objective.floor
    if raw is None and METRICS[objective.metric].share:
        raw = 0.0 if objective.direction == "up" else 1.0
    if raw is None:
        return math.nan
    value = log_odds(raw, items) if objective.scale == "log_odds" else raw
    return value if objective.direction == "up" else -value


def log_odds(share: float, items: int) -> float:
    """Return ln((sn + 1/2) / (n - sn + 1/2)) of a share of n items; NaN outside 0 to 1."""
    return (
        math.log((share * items + 0.5) / (items - share * items + 0.5))
        if 0 <= share <= 1
        else math.nan
    )


def round_primary(objective: Objective, scores: Scores) -> float:
    """Return the primary metric in its own units, rounded to two digits for people."""
    return round(read_metric(scores, objective.metric, weights=objective.weights), 2)


def holds(condition: Constraint, pairs: Pairs, objective: Objective) -> tuple[bool, float, float]:
    """Return (whether it holds, value, bound) of a condition over (candidate, champion) pairs."""
    if condition.metric == "spread":
        value = spread([primary(objective, candidate) for candidate, _ in pairs])
    else:
        candidate, champion = (
            [read_metric(pair[side], condition.metric, condition.slice) for pair in pairs]
            for side in (0, 1)
        )
        value = _mean(candidate)
        if condition.no_loss is not None:
            sign = 1 if METRICS[condition.metric].better == "up" else -1
            value = sign * (_mean(candidate) - _mean(champion))
            return value >= -condition.no_loss, value, -condition.no_loss
    bound = condition.at_least if condition.at_least is not None else condition.at_most
    assert bound is not None
    return (value >= bound if condition.at_least is not None else value <= bound), value, bound


def spread(values: Sequence[float]) -> float:
    """Return the sample standard deviation over seeds; NaN for fewer than two."""
    if len(values) < 2:
        return math.nan
    mean = _mean(values)
    return math.sqrt(sum((v - mean) ** 2 for v in values) / (len(values) - 1))


def skill(predicted: Sequence[float], gains: Sequence[float]) -> float | None:
    """Return Spearman's rank correlation of predicted and measured gains, with mean ranks for ties.

    None below 3 pairs or without variance.
    """
    if len(predicted) < 3 or len(set(predicted)) == 1 or len(set(gains)) == 1:
        return None
    # Imported here, because it takes a second and `heirloop status` needs it only after 3 pairs.
    from scipy.stats import spearmanr

    return float(spearmanr(predicted, gains).statistic)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else math.nan
