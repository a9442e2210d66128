"""`heirloop power`: pairs, compute and repeats needed to see a true gain.

Pairs of a confirmation follow from the noise of a training: normal, or measured. Repeats of a study
follow from the spread between campaigns, which other runs have measured. The statistics are
evals/calibrate.py.
"""

from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from configs.build import need
from configs.errors import BadInput
from configs.settings.config import Config
from evals.calibrate import Campaigns, campaigns_needed, pairs_needed
from evals.rules import Gains
from loop.calibrate.noise import FIGURES, noise_of
from loop.instruments.gains import read_gains
from loop.instruments.gather import shared_settings
from loop.instruments.run import Run
from loop.settings import compose_settings
from sandbox.heads import open_ledger

LEAST_REPEATS = 3
"""Repeats without which a spread between campaigns is not told."""


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


def list_repeats(
    folders: Sequence[Path], *, gain: float, target: float | None = None
) -> list[dict[str, Any]]:
    """Return one row per two arms of ended runs: the repeats that see `gain` between them.

    The spread is that of the difference between two campaigns of a repeat, as measured. No number
    of repeats follows (None) where all differences are equal. Raises BadInput for runs that have
    not ended, or of fewer than two arms or three repeats.
    """
    runs = [Run(number, open_ledger(folder)) for number, folder in enumerate(folders)]
    if any(shared_settings(run.config) != shared_settings(runs[0].config) for run in runs):
        raise BadInput("these runs differ in more than name and seed; name repeats of one study")
    objective, arms = runs[0].config.objective, runs[0].config.arms()
    target = objective.power if target is None else target
    need(gain > 0 and 0 < target < 1, "--gain/--target", (gain, target), "above 0; a probability")
    ends = {(row.arm, row.repeat): row.value for run in runs for row in read_gains(run)}
    rows = list[dict[str, Any]]()
    for one, other in combinations(arms, 2):
        both = [
            ends[one, repeat] - ends[other, repeat]
            for arm, repeat in ends
            if arm == one and (other, repeat) in ends
        ]
        known = [gap for gap in both if np.isfinite(gap)]
        spread = float(np.std(known, ddof=1)) if len(known) > 1 else 0.0
        needed = campaigns_needed(gain, spread, objective.alpha, target) if spread else None
        rows.append(
            {
                "difference": f"{one} minus {other}",
                "repeats seen": len(known),
                "deviation": round(spread, 4),
                "repeats needed": needed,
            }
        )
    if not rows or min(row["repeats seen"] for row in rows) < LEAST_REPEATS:
        raise BadInput(
            f"--like names runs with too little: at least {LEAST_REPEATS} ended repeats of two"
            " arms tell a spread"
        )
    return rows


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
    }
    if most is None:
        return row
    seconds = config.task.planned_cpu_us / 1e6
    screening = generations * config.study.proposals + 1
    worst = seconds * (screening + 2 * most * generations)
    # Likely: one generation has the gain, and the others confirm a candidate without any.
    likely = seconds * (screening + 2 * (used + idle * (generations - 1)))
    return {**row, "CPU-seconds of a campaign, most": worst, "likely": round(likely, 1)}
