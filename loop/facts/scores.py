"""Open scores: rounded feedback, and confirm after a closing look."""

import math
from typing import Any

from configs.metrics import METRICS, ON_TABLE
from configs.objective import Objective
from configs.settings.config import Config
from evals.metrics import primary, read_metric, round_primary, spread
from loop.facts.facts import Facts
from loop.facts.places import Campaign


def feedback_score(facts: Facts, digest: str, objective: Objective) -> float | None:
    """Return a plan's rounded score on feedback, as people see it; None without any.

    A look by which a champion is chosen for its proposing is no score of a trial.
    """
    scores = facts.scores.get((digest, "predict", 0))
    if scores is None or scores.split != "feedback" or facts.plans[digest].purpose == "select":
        return None
    value = round_primary(objective, scores)
    return value if math.isfinite(value) else None


def best_champion(facts: Facts, config: Config) -> str:
    """Return the study's champion: the last champion with the best feedback score.

    Of equals it is that of the first repeat, and of the first arm as the study lists them.
    """
    objective, arms = config.objective, config.arms()
    sign = 1 if objective.direction == "up" else -1

    def rank(digest: str) -> tuple[float, int]:
        score = feedback_score(facts, digest, objective)
        generation = facts.plans[digest].generation
        return (-math.inf if score is None else sign * score), generation

    def place(campaign: Campaign) -> tuple[int, int]:
        arm, repeat = campaign
        return repeat, arms.index(arm) if arm in arms else len(arms)

    campaigns = sorted(list(facts.champions), key=place)
    last = [facts.champions[key][-1] for key in campaigns if facts.champions[key]]
    return max(last, key=rank, default="")


def open_scores(facts: Facts, digest: str, config: Config, final: bool = False) -> dict[str, Any]:
    """Return the scores of a plan for people, by split and metric.

    `final` adds confirm, from a closing look; `gate` is its older name.
    """
    scores: dict[str, Any] = {}
    feedback = feedback_score(facts, digest, config.objective)
    if feedback is not None:
        scores["feedback"] = {config.objective.metric: feedback}
    if not final:
        return scores
    for other, plan in facts.plans.items():
        if plan.purpose != "final":
            continue
        baseline, champion = closing_scores(facts, other, config)
        if plan.parent == digest:
            scores["confirm"] = scores["gate"] = champion
        elif facts.champions[plan.arm, plan.repeat][0] == digest:
            scores["confirm"] = scores["gate"] = baseline
    return scores


def closing_scores(
    facts: Facts, look: str, config: Config
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the scores of (baseline, champion) in a closing look, by the digest of its plan.

    Its plan is the last champion measured once more, so the role `predict` is the champion's, and
    `champion-predict` is the baseline's.
    """
    baseline = _closing_scores(facts, look, "champion-predict", config)
    return baseline, _closing_scores(facts, look, "predict", config)


def _closing_scores(facts: Facts, digest: str, role: str, config: Config) -> dict[str, Any]:
    """Return means of a closing look over its replicates: each metric that means something in the
    study, and each slice.

    `spread` is the deviation of the primary metric over seeds.
    """
    objective, tabulated = config.objective, bool(config.task.table)
    # A mean's last bits hang on the order of its terms, which is not that in which jobs ended.
    found = sorted(slot for slot in facts.scores if slot[:2] == (digest, role))
    replicates = [scores for slot in found if (scores := facts.scores[slot])]
    if not replicates:
        return {}
    count = len(replicates)
    left_out = {"weighted", "spread", *({"robustness"} if objective.metric == "bits" else ())}
    names = [name for name in METRICS if name not in left_out]
    if tabulated:
        names = [name for name in names if name in ON_TABLE]
    if objective.metric == "weighted":
        names.append("weighted")
    means = {
        name: sum(read_metric(s, name, weights=objective.weights) for s in replicates) / count
        for name in names
    }
    means["spread"] = spread([primary(objective, s) for s in replicates])
    slices = {
        name: sum(s.slices.get(name, math.nan) for s in replicates) / count
        for name in (() if tabulated else replicates[0].slices)
    }
    bits = {
        name: sum(read_metric(s, "bits", name) for s in replicates) / count
        for name in replicates[0].slice_bits or {}
    }
    in_bits = {"slice_bits": _finite(bits)} if bits else {}
    return {**_finite(means), "slices": _finite(slices), **in_bits, "replicates": count}


def _finite(values: dict[str, float]) -> dict[str, float]:
    return {name: value for name, value in values.items() if math.isfinite(value)}
