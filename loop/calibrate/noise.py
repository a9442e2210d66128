"""Real seed noise for calibration: the same recipes trained over and over through the one door,
each training a line of noise-TASK.jsonl.

It is a study like any other (its own run folder, budget, mandate, ledger), so it resumes where it
was and `heirloop verify` checks it. Refuses to train without a mandate. `heirloop calibrate` and
`heirloop power` call this; the statistics are evals/calibrate.py.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from configs.build import parse, plain, strict_json
from configs.errors import BadInput
from configs.recipe import Recipe
from configs.settings.config import Config
from loop.calibrate.trainings import opened, scored, train
from loop.plan import ROOT, Planned
from loop.settings import composed
from loop.study.open import Running

FIGURES = ROOT / "docs" / "figures"


RUNS = {"baseline": 60, "reference": 16, "slow": 60, "bimodal": 80}
"""Trainings of each recipe: what a study starts from, its ceiling, one that is still rising, one
that learns or does not.
"""


ENOUGH = 200
"""Scores from which on nothing is trained any more; a failed training leaves none."""


def recipes(config: Config) -> dict[str, Recipe]:
    """Return the recipes whose noise is measured."""
    reference = parse(
        Recipe,
        strict_json((ROOT / "evals" / "reference" / f"{config.task.name}.json").read_bytes()),
    )
    learner = replace(
        config.task.baseline, learning_rate=0.002, loss="answer", answer_order="reversed"
    )
    return {
        "baseline": config.task.baseline,
        "reference": reference,
        "slow": replace(reference, learning_rate=0.001),
        "bimodal": learner,
    }


def settings(task: str, runs: Mapping[str, int]) -> Config:
    """Return the study that measures a task's noise; budget and caps are what the trainings
    need.
    """
    total = sum(runs.values())
    cpu = 8 * total + 60
    return composed(
        [
            "study=single",
            f"study.name=noise-{task}",
            f"task={task}",
            "autonomy=autonomous",
            f"budget.cpu_seconds={cpu}",
            f"budget.jobs={3 * total}",
            f"budget.wall_seconds={60 * total}",
            f"budget.output_mib={2 * total + 64}",
            (
                f"gates.unattended={{classes: [recipe], jobs: {3 * total}, cpu_seconds: {cpu},"
                " hours: 24, drift: 40, per_hour: 1000}"
            ),
        ]
    )


def measure(
    task: str,
    out: Path,
    *,
    unattended: bool,
    runs: Mapping[str, int] = RUNS,
    say: Callable[[str], None] = lambda _: None,
) -> list[dict[str, Any]]:
    """Train what is missing and return every row: kind, number, exact_match, cpu_us. Interrupt it
    at will; the same call goes on.

    `unattended` signs the mandate that it needs; raises NeedsHuman where none was given,
    BudgetExhausted where the study's end is reached.
    """
    config = settings(task, runs)
    with opened(config, recipes(config), runs, unattended) as (running, plans):
        train(running, plans, runs, say, lambda: _write(running, plans, out))
    return _write(running, plans, out)


def real_scores(
    task: str, folder: Path, *, unattended: bool, say: Callable[[str], None]
) -> dict[str, list[float]]:
    """Return the measured scores, after training what is missing."""
    known = noise(task, folder) if (folder / f"noise-{task}.jsonl").exists() else {}
    if sum(map(len, known.values())) < ENOUGH:
        measure(task, folder / f"noise-{task}.jsonl", unattended=unattended, say=say)
    return noise(task, folder)


def noise(task: str, folder: Path = FIGURES) -> dict[str, list[float]]:
    """Return the measured scores of a task, recipe by recipe; raise BadInput where there are
    none.
    """
    path = folder / f"noise-{task}.jsonl"
    if not path.exists():
        raise BadInput(
            f"TASK is {task!r}, whose seed noise was not measured yet; run `heirloop calibrate"
            f" {task} --null real --unattended` first"
        )
    found: dict[str, list[float]] = {}
    for line in path.read_text().splitlines()[1:]:
        row = json.loads(line)
        found.setdefault(row["kind"], []).append(row["exact_match"])
    return found


def _write(running: Running, plans: Mapping[str, Planned], out: Path) -> list[dict[str, Any]]:
    rows = list(scored(running, plans))
    command = f"heirloop calibrate {running.config.task.name} --null real --unattended"
    head = {
        "command": command,
        "study": running.root,
        "recipes": {kind: plain(r) for kind, r in recipes(running.config).items()},
    }
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text("".join(json.dumps(line) + "\n" for line in [head, *rows]))
    return rows
