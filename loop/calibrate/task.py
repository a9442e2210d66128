"""`heirloop task check TASK|FILE`: measure what a task is worth before anything is concluded from
it, in a study of its own.

The trainings go through the one door (own run folder, budget, mandate, ledger), so the check
resumes where it was and `heirloop verify` checks it. Refuses to train without a mandate. What is
asked of a task is evals/task.py.
"""

import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from safetensors.numpy import load

from configs.build import need, plain
from configs.recipe import Recipe, grid
from configs.settings.config import Config
from evals import task as asked
from evals.data import Items
from loop.calibrate.trainings import opened, scored, train
from loop.plan import Planned
from loop.settings import composed
from loop.study.open import Running
from sandbox.canonical import digest

FRESH = 4
"""Fresh trainings of the best random recipe, so that its luck does not count as headroom."""


def check(
    task: str,
    *,
    trainings: int = 8,
    recipes: int = 12,
    overrides: Sequence[str] = (),
    unattended: bool = False,
    say: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    """Return {task, study, run, rows}: each row of evals/task.py for a task by name, or for a file
    of one's own.

    Trains the baseline `trainings` times, `recipes` random recipes once and the best of them again.
    Raises NeedsHuman without a mandate.
    """
    need(4 <= trainings <= 1000, "--trainings", trainings, "between 4 and 1000")
    need(2 <= recipes <= 1000, "--recipes", recipes, "between 2 and 1000")
    config = settings(task, trainings, recipes, overrides)
    chosen = {
        "baseline": config.task.baseline,
        **{f"random {i}": one for i, one in enumerate(_draws(recipes))},
    }
    counts = {kind: trainings if kind == "baseline" else 1 + FRESH for kind in chosen}
    with opened(config, chosen, counts, unattended) as (running, names):
        train(
            running, names, {kind: trainings if kind == "baseline" else 1 for kind in chosen}, say
        )
        best = max(
            names, key=lambda kind: sum(_scores(running, names, kind)[:1]) - (kind == "baseline")
        )
        train(running, names, {best: 1 + FRESH}, say)
        rows = _rows(running, names, best)
    return {
        "task": config.task.name,
        "study": running.root,
        "run": str(running.folder),
        "rows": [plain(row) for row in rows],
    }


def settings(task: str, trainings: int, recipes: int, overrides: Sequence[str]) -> Config:
    """Return the study that checks a task; budget and caps are what the trainings need."""
    own = task.endswith(".py")
    first = ["task=custom", f"task.file={task}"] if own else [f"task={task}"]
    found = composed([*first, *overrides]).task
    total = max(
        20, trainings + recipes + FRESH
    )  # a study of fewer jobs could not confirm anything, and is refused
    cpu = (
        total * (found.planned_cpu_us // 400_000 + 6) + 60
    )  # a training, its start and its predictions, with room for a busy machine
    name = f"check-{Path(task).stem}-{digest([plain(found), trainings, recipes])[:8]}"
    return composed(
        [
            *first,
            *overrides,
            "study=single",
            f"study.name={name}",
            "autonomy=autonomous",
            f"budget.cpu_seconds={cpu}",
            f"budget.jobs={3 * total}",
            f"budget.wall_seconds={60 * total}",
            f"budget.output_mib={2 * total + 64}",
            f"budget.looks.gate={total}",
            (
                f"gates.unattended={{classes: [recipe], jobs: {3 * total}, cpu_seconds: {cpu},"
                " hours: 24, drift: 40, per_hour: 1000}"
            ),
        ]
    )


def _draws(count: int) -> list[Recipe]:
    rng, found = random.Random(1), list[Recipe]()
    while len(found) < count:
        knobs = {name: rng.choice(values) for name, values in grid(False).items()}
        found += [Recipe(**knobs)] if knobs["width"] % knobs["heads"] == 0 else []
    return found


def _scores(running: Running, names: dict[str, Planned], kind: str) -> list[float]:
    return [row["exact_match"] for row in scored(running, names) if row["kind"] == kind]


def _rows(running: Running, names: dict[str, Planned], best: str) -> list[asked.Row]:
    """Return every row; the items are those that this study's own jobs got, read back from its
    store.
    """
    task, store, facts = (
        running.config.task.format(),
        running.sandbox.store,
        running.archive.facts(),
    )
    files: list[Items] = [load(store.get(blob))["items"] for blob, _ in facts.data.values()]
    questions = [load(store.get(blob))["questions"] for blob, _ in running.asked.values()]
    baseline = _scores(running, names, "baseline")
    failed = sum(
        1
        for (name, _, _), found in facts.scores.items()
        if name == names["baseline"].digest and found is None
    )
    gate = running.splits["gate"]
    return [
        asked.exclusion(task, files, running.splits),
        asked.inputs(task, questions),
        asked.repeats(task, files[0]),
        asked.chance(task, files[0], gate),
        asked.leakage(task, files[0], gate),
        asked.noise(baseline, failed, running.config.task.seed_deviation),
        asked.headroom(baseline, _scores(running, names, best)[1:]),
    ]
