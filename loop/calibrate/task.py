"""`heirloop task check TASK|FILE`: measure a task's worth before studies rest on it.

The trainings are a study of their own, with its run folder, budget, mandate and ledger. So the
check resumes where it stopped, and `heirloop verify` checks it. Without a mandate nothing is
trained. The rows of a check are evals/task.py.
"""

import math
import random
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from safetensors.numpy import load

from configs.build import need, plain
from configs.errors import BadInput
from configs.metrics import METRICS
from configs.recipe import Recipe, grid
from configs.records import CONFIRM
from configs.settings.config import Config
from configs.settings.task import TaskSetup
from evals import task as rows
from evals.tables import Items
from loop.calibrate.trainings import budget_for, open_trainings, read_scores, train
from loop.plan import Planned
from loop.settings import compose_settings
from loop.study.running import Running
from sandbox.canonical import digest

FRESH = 4
"""Fresh trainings of the best random recipe, so that its luck does not count as headroom."""


def check_task(
    task: str,
    *,
    trainings: int = 8,
    recipes: int = 12,
    overrides: Sequence[str] = (),
    unattended: bool = False,
    say: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    """Return {task, study, run, rows} for a built-in task, or for a Python file with a task.

    Trains the baseline `trainings` times, `recipes` random recipes once, and the best of them
    again. Raises NeedsHuman without a mandate.
    """
    need(4 <= trainings <= 1000, "--trainings", trainings, "between 4 and 1000")
    need(2 <= recipes <= 1000, "--recipes", recipes, "between 2 and 1000")
    config = check_settings(task, trainings, recipes, overrides)
    chosen = {"baseline": config.task.baseline}
    chosen |= {
        f"random {i}": recipe for i, recipe in enumerate(_draw_recipes(config.task, recipes))
    }
    first = {kind: range(trainings if kind == "baseline" else 1) for kind in chosen}
    counts = {kind: trainings if kind == "baseline" else 1 + FRESH for kind in chosen}
    with open_trainings(config, chosen, counts, unattended) as (running, plans):
        train(running, plans, first, say)
        best = _best(running, plans)
        train(running, plans, {best: range(1 + FRESH)}, say)
        tried = read_metric(running, plans, best)[1:]
        checked = check_rows(running, plans["baseline"], tried)
    return {
        "task": config.task.name,
        "study": running.root,
        "run": str(running.folder),
        "rows": [plain(row) for row in checked],
    }


def check_settings(task: str, trainings: int, recipes: int, overrides: Sequence[str]) -> Config:
    """Return the study of a task check, with a budget for its trainings."""
    own_file = task.endswith(".py")
    chosen = ["task=custom", f"task.file={task}"] if own_file else [f"task={task}"]
    return compose_check([*chosen, *overrides], Path(task).stem, (trainings, recipes))


def compose_check(
    chosen: Sequence[str],
    name: str,
    counts: tuple[int, int],
    classes: str = "recipe",
    further: Sequence[str] = (),
) -> Config:
    """Return the study of a check, with a budget for its trainings.

    `counts` are the trainings of the baseline and those of the changes; `classes` may be trained.
    """
    settings = compose_settings(chosen).task
    # A study of fewer jobs could not confirm anything, and is refused.
    total = max(20, sum(counts) + FRESH)
    # A training, its start and its predictions, with room for a busy machine.
    cpu = total * (settings.planned_cpu_us // 400_000 + 6) + 60
    tag = digest([plain(settings), *counts])[:8]
    return compose_settings(
        [
            *chosen,
            "study=single",
            *further,
            f"study.name=check-{name}-{tag}",
            "autonomy=autonomous",
            *budget_for(total, cpu_seconds=cpu, classes=classes),
            f"budget.looks.confirm={total}",
        ]
    )


def _draw_recipes(task: TaskSetup, count: int) -> list[Recipe]:
    rng, recipes = random.Random(1), list[Recipe]()
    while len(recipes) < count:
        knobs = {name: rng.choice(values) for name, values in grid(False, task.grid).items()}
        with suppress(BadInput):  # the heads do not divide the width
            recipes.append(replace(task.baseline, **{"notebook": 0.0, **knobs}))
    return recipes


def read_metric(running: Running, plans: Mapping[str, Planned], kind: str) -> list[float]:
    """Return the scores of a kind's trainings, in the task's metric."""
    metric = running.config.task.metric()
    return [row[metric] for row in read_scores(running, plans) if row["kind"] == kind]


def _best(running: Running, plans: Mapping[str, Planned]) -> str:
    """Return the kind with the best first score, of those that are not the baseline."""
    better = METRICS[running.config.task.metric()].better

    def rank(kind: str) -> float:
        scores = read_metric(running, plans, kind)[:1]
        if kind == "baseline" or not scores:
            return -math.inf
        return scores[0] if better == "up" else -scores[0]

    return max(plans, key=rank)


def check_rows(
    running: Running, planned: Planned, tried: Sequence[float], what: str = "random recipe"
) -> list[rows.Row]:
    """Return every row; the items come from the inputs of this study's own jobs.

    `planned` is the baseline; `tried` are fresh scores of the best of what was drawn at random.
    """
    task, store, facts = running.config.task.format(), running.sandbox.store, running.facts()
    files: list[Items] = [load(store.get(blob))["items"] for blob, _ in facts.data.values()]
    items_asked, held_out = running.items.questions(0), running.items.of(0).splits
    questions = [load(store.get(blob))["questions"] for blob, _ in items_asked.values()]
    baseline = read_metric(running, {"baseline": planned}, "baseline")
    failed = sum(
        scores is None for (plan, _, _), scores in facts.scores.items() if plan == planned.digest
    )
    gate, metric = held_out[CONFIRM], running.config.task.metric()
    return [
        rows.exclusion(task, files, held_out),
        rows.inputs(task, questions),
        rows.repeats(task, files[0]),
        rows.chance(task, files[0], gate),
        rows.leakage(task, files[0], gate),
        rows.noise(baseline, failed, running.config.task.seed_deviation),
        rows.headroom(baseline, tried, METRICS[metric].better, what),
    ]
