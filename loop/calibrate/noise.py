"""Seed noise of a task: the same recipes trained again and again, each score one line of a file.

Example: `heirloop calibrate addition --null real --unattended` writes noise-addition.jsonl. It is a
study like any other, with its own run folder, budget, mandate and ledger. So it resumes where it
stopped, and `heirloop verify` checks it. Without a mandate nothing is trained.
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
from configs.settings.task import TaskSetup
from loop.calibrate.trainings import budget_for, open_trainings, read_scores, train
from loop.plan import ROOT, Planned
from loop.settings import compose_settings
from loop.study.running import Running
from sandbox.files import replace_file

FIGURES = ROOT / "docs" / "figures"
RUNS = {"baseline": 60, "reference": 16, "slow": 60, "bimodal": 80}
"""Trainings of each recipe.

A study starts from the baseline, and the reference is its ceiling. The slow recipe is still rising;
the bimodal recipe learns or does not.
"""
STUDY = "noise-"
"""Begin of the name of a study of noise; the task follows."""
ENOUGH = 200
"""Scores with which no more is trained. A failed training leaves no score."""


def noise_recipes(task: str, config: Config) -> dict[str, Recipe]:
    """Return the recipes with measured noise, by kind."""
    path = ROOT / "evals" / "reference" / f"{task}.json"
    if not path.exists():
        raise BadInput(f"TASK is {task!r}, which has no reference recipe in {path.name}")
    reference = parse(Recipe, strict_json(path.read_bytes()))
    baseline = config.task.baseline
    return {
        "baseline": baseline,
        "reference": reference,
        "slow": replace(reference, learning_rate=0.001),
        "bimodal": replace(baseline, learning_rate=0.002, loss="answer", answer_order="reversed"),
    }


def noise_settings(task: str, runs: Mapping[str, int]) -> Config:
    """Return the study of a task's noise, with a budget for its trainings."""
    total = sum(runs.values())
    return compose_settings(
        [
            "study=single",
            f"study.name={STUDY}{task}",
            f"task={task}",
            "autonomy=autonomous",
            *budget_for(total, cpu_seconds=8 * total + 60),
        ]
    )


def measure_noise(
    task: str,
    out: Path,
    *,
    unattended: bool,
    runs: Mapping[str, int] = RUNS,
    say: Callable[[str], None] = lambda _: None,
) -> list[dict[str, Any]]:
    """Train the missing runs; return every row: kind, number, exact_match, cpu_us.

    It may be interrupted at will: the same call goes on. `unattended` signs the mandate for it.
    Raises NeedsHuman without a mandate, BudgetExhausted at the study's end.
    """
    config = noise_settings(task, runs)
    recipes = noise_recipes(task, config)
    with open_trainings(config, recipes, runs, unattended) as (running, plans):
        wanted = {kind: range(count) for kind, count in runs.items()}
        train(running, plans, wanted, say, lambda: _write(running, plans, out))
    return _write(running, plans, out)


def real_scores(
    task: str, folder: Path, *, unattended: bool, say: Callable[[str], None]
) -> dict[str, list[float]]:
    """Return the measured scores by kind, after training the missing runs."""
    path = folder / f"noise-{task}.jsonl"
    scores = read_noise(task, folder) if path.exists() else {}
    if sum(map(len, scores.values())) < ENOUGH:
        measure_noise(task, path, unattended=unattended, say=say)
    return read_noise(task, folder)


def read_noise(task: str, folder: Path = FIGURES) -> dict[str, list[float]]:
    """Return the measured scores of a task by kind; raise BadInput where there are none."""
    path = folder / f"noise-{task}.jsonl"
    if not path.exists():
        raise BadInput(
            f"TASK is {task!r}, whose seed noise was not measured yet; run `heirloop calibrate"
            f" {task} --null real --unattended` first"
        )
    scores: dict[str, list[float]] = {}
    for line in path.read_text().splitlines()[1:]:
        row = json.loads(line)
        # Noise alone is read from these, and bits should fall.
        score = -row["bits"] if "bits" in row else row["exact_match"]
        scores.setdefault(row["kind"], []).append(score)
    return scores


def noise_of(task: TaskSetup, folder: Path = FIGURES) -> dict[str, list[float]]:
    """Return the measured scores of the task with this baseline, by kind; empty if there are none.

    Tasks of one format differ by baseline, so the format's name alone does not find them.
    """
    for path in sorted(folder.glob(f"noise-{task.name}*.jsonl")):
        head = strict_json(path.read_bytes().partition(b"\n")[0])
        if parse(Recipe, head["recipes"]["baseline"]) == task.baseline:
            return read_noise(path.stem.removeprefix("noise-"), folder)
    return {}


def _write(running: Running, plans: Mapping[str, Planned], out: Path) -> list[dict[str, Any]]:
    """Write the rows so far, below a line with their command; return them."""
    rows = list(read_scores(running, plans))
    task = running.config.study.name.removeprefix(STUDY)
    head = {
        "command": f"heirloop calibrate {task} --null real --unattended",
        "study": running.root,
        "recipes": {kind: plain(r) for kind, r in noise_recipes(task, running.config).items()},
    }
    out.parent.mkdir(parents=True, exist_ok=True)
    replace_file(out, "".join(json.dumps(line) + "\n" for line in [head, *rows]))
    return rows
