"""Real seed noise for calibration: the same recipes trained over and over through the one door,
each training a line of noise-TASK.jsonl.

It is a study like any other (its own run folder, budget, mandate, ledger), so it resumes where it
was and `heirloop verify` checks it. Refuses to train without a mandate. `heirloop calibrate` and
`heirloop power` call this; the statistics are evals/calibrate.py.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from configs.build import need
from configs.settings.config import Config
from evals.calibrate import Campaigns, campaigns_needed, pairs_needed
from evals.rules import Gains
from loop.calibrate.noise import FIGURES, noise
from loop.settings import composed


def power(
    overrides: Sequence[str],
    *,
    gain: float,
    target: float | None = None,
    deviation: float | None = None,
    folder: Path = FIGURES,
) -> list[dict[str, Any]]:
    """Return what it takes to see a true `gain` with probability `target` in the study that
    overrides compose, per kind of noise.

    `target` is the objective's power if left out.

    Noise: normal at `deviation` (default the task's), and each recipe measured. CPU-seconds are
    planned ones, both sides trained.
    """
    config = composed(overrides)
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
    if (folder / f"noise-{task.name}.jsonl").exists():
        samples |= {kind: np.array(s) for kind, s in noise(task.name, folder).items()}
    plan = Campaigns(
        confirmations=config.confirmations(),
        alpha=objective.alpha,
        most=study.confirm_replicates,
        first_look=objective.first_look,
        deviation=config.deviation(),
    )
    return [_question(kind, sample, config, plan, gain, target) for kind, sample in samples.items()]


def _question(
    kind: str, sample: Gains, config: Config, plan: Campaigns, gain: float, target: float
) -> dict[str, Any]:
    seconds, spread = config.task.planned_cpu_us / 1e6, float(sample.std())
    most, used, idle = pairs_needed(
        config.objective.acceptance, sample, gain - config.objective.minimum_effect, plan, target
    )
    screening = config.study.generations * config.study.proposals + 1
    worst = None if most is None else seconds * (screening + 2 * most * config.study.generations)
    likely = (
        None
        if most is None
        else seconds * (screening + 2 * (used + idle * (config.study.generations - 1)))
    )
    arms = campaigns_needed(gain, max(spread, 1e-3) * 2**0.5, config.objective.alpha, target)
    return {
        "noise": kind,
        "deviation": round(spread, 4),
        "most pairs": most,
        "pairs used": round(used, 1),
        "pairs used without gain": round(idle, 1),
        "CPU-seconds of a campaign, most": worst,
        "likely": None if likely is None else round(likely, 1),
        "campaigns per arm": arms,
    }
