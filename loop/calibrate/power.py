"""`heirloop power`: pairs, compute and campaigns needed to see a true gain.

The noise is normal, or measured noise of a recipe. The statistics are evals/calibrate.py.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from configs.build import need
from configs.settings.config import Config
from evals.calibrate import Campaigns, campaigns_needed, pairs_needed
from evals.rules import Gains
from loop.calibrate.noise import FIGURES, noise_of
from loop.settings import compose_settings


def power(
    overrides: Sequence[str],
    *,
    gain: float,
    target: float | None = None,
    deviation: float | None = None,
    folder: Path = FIGURES,
) -> list[dict[str, Any]]:
    """Return one row per kind of noise: the cost of seeing `gain` with probability `target`.

    The overrides compose the study. `target` is the objective's power by default, `deviation` the
    task's. CPU-seconds are planned and cover both sides of a pair.
    """
    config = compose_settings(overrides)
    target = config.objective.power if target is None else target
    need(
        0 < gain <= 1 and 0 < target < 1,
        "--gain/--target",
        (gain, target),
        "a gain above 0, at most 1, and a probability between 0 and 1",
    )
    study, objective, task = config.study, config.objective, config.task
    spread = deviation or config.deviation()
    samples = {"normal": np.random.default_rng(1).normal(0.5, spread, 2000)}
    samples |= {kind: np.array(scores) for kind, scores in noise_of(task, folder).items()}
    plan = Campaigns(
        confirmations=config.confirmations(),
        alpha=objective.alpha,
        pairs=study.confirm_replicates,
        first_look=objective.first_look,
        deviation=config.deviation(),
    )
    return [_row(kind, sample, config, plan, gain, target) for kind, sample in samples.items()]


def _row(
    kind: str, sample: Gains, config: Config, plan: Campaigns, gain: float, target: float
) -> dict[str, Any]:
    objective, generations = config.objective, config.study.generations
    above = gain - objective.minimum_effect
    most, used, idle = pairs_needed(objective.acceptance, sample, above, plan, target)
    spread = float(sample.std())
    row = {
        "noise": kind,
        "deviation": round(spread, 4),
        "most pairs": most,
        "pairs used": round(used, 1),
        "pairs used without gain": round(idle, 1),
        "CPU-seconds of a campaign, most": None,
        "likely": None,
        "campaigns per arm": campaigns_needed(
            gain, max(spread, 1e-3) * 2**0.5, objective.alpha, target
        ),
    }
    if most is None:
        return row
    seconds = config.task.planned_cpu_us / 1e6
    screening = generations * config.study.proposals + 1
    worst = seconds * (screening + 2 * most * generations)
    # Likely: one generation has the gain, and the others confirm a candidate without any.
    likely = seconds * (screening + 2 * (used + idle * (generations - 1)))
    return {**row, "CPU-seconds of a campaign, most": worst, "likely": round(likely, 1)}
