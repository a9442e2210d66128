"""`heirloop tab build NAME`: train every recipe of a grid, and record a table (docs/table.md).

The trainings run in a real box, side by side, on the pristine source. A row is appended to
`tab/NAME-v1.jsonl` as soon as it is there, so a build goes on where it stopped, or from a file of
some of the rows. The rows are not
entries of a ledger: that would keep a training file and weights for each, a megabyte a training.
A row names its seed and the digest of its weights instead, so anybody can train it again.
"""

import itertools
import json
import random
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save

from configs.build import parse, plain
from configs.cost import steps
from configs.errors import BadInput, NoBox
from configs.job import Limits, Order, Outcome, Role
from configs.notebook import BUCKETS
from configs.recipe import Recipe, grid
from configs.settings.config import Config
from configs.tokens import layout
from evals.data import draw_train, questions, replicate_seed
from evals.datasheet import describe
from evals.folds import draw_pool
from evals.score import inspect_weights, item_bits
from evals.table import PLANNED, Row, Table
from evals.tables import Items
from loop.calibrate.design import Design, Slot, compose_design, list_slots, read_design
from loop.plan import source
from loop.study.launch import make_box
from loop.study.tab_file import (
    bits_as_written,
    read_table,
    secret_of,
    stamp_code,
    write_table,
)
from sandbox.box.base import Box, Execution
from sandbox.canonical import canonical, digest
from sandbox.files import replace_file
from sandbox.run import OUTPUTS

Say = Callable[[str], None]
VERSION = "v1"
TRIES = 3
"""Executions of a training that the box itself lost."""


class Build:
    """A table under way: its design, its settings, and the rows that are there."""

    def __init__(self, name: str, folder: Path, overrides: tuple[str, ...] = ()) -> None:
        self.name, self.design = f"{name}-{VERSION}", read_design(name)
        self.config = compose_design(self.design, overrides)
        self.secret = secret_of(self.name)
        self.log, self.file = folder / f"{self.name}.jsonl", folder / f"{self.name}.parquet"
        self.code = stamp_code()
        self.slots = list(list_slots(self.design, self.config))
        self.rows = self._read_file() | _read_log(self.log, self._header())
        self._lock = threading.Lock()
        self._pool = draw_pool(
            self.config.task.format(), self.secret, self.design.pool, self.design.folds
        )
        self._source = source()

    def left(self) -> list[Slot]:
        """Return the trainings that are still wanted, in their order."""
        return [slot for slot in self.slots if _key(slot) not in self.rows]

    def table(self) -> Table:
        """Return the table of the rows that are there."""
        rows = (self.rows[_key(slot)] for slot in self.slots if _key(slot) in self.rows)
        return Table(
            name=self.name,
            task=self.config.task,
            levels=(PLANNED, *self.design.levels.times),
            folds=self.design.folds,
            slices=self.config.task.format().slices(),
            code=self.code,
            design=digest(self.design),
            complete=not self.left(),
            rows=tuple(rows),
        )

    def add(self, box: Box, slot: Slot, cpu: int | None) -> None:
        """Train a slot and append its row."""
        row = self._train(box, slot, cpu)
        with self._lock:
            fresh = not self.log.exists()
            self.log.parent.mkdir(parents=True, exist_ok=True)
            with self.log.open("a") as file:
                lines = [self._header()] if fresh else []
                file.writelines(json.dumps(part) + "\n" for part in [*lines, plain(row)])
            self.rows[_key(slot)] = row

    def _header(self) -> dict[str, Any]:
        return {"name": self.name, "design": digest(self.design), "code": self.code}

    def _read_file(self) -> dict[tuple[Recipe, float, int], Row]:
        """Return the rows of the table's file, if there is one: a build goes on from it without a
        log.

        Raises BadInput for a table of another design or of other code.
        """
        if not self.file.exists():
            return {}
        table = read_table(str(self.file))
        if (table.name, table.design, table.code) != tuple(self._header().values()):
            raise BadInput(_begun_otherwise(self.file))
        return {_key(row): row for row in table.rows}

    def _train(self, box: Box, slot: Slot, cpu: int | None) -> Row:
        task, settings = self.config.task.format(), self.config.task
        seed = replicate_seed(self.secret, f"table:{slot.level:g}", slot.number)
        count = steps(
            slot.recipe,
            layout(task, slot.recipe),
            settings.cost,
            int(settings.planned_cpu_us * slot.level),
        )
        files = {"data.safetensors": save({"items": draw_train(task, self.secret, seed)})}
        if slot.recipe.notebook:
            files["notebook.safetensors"] = self._chance_notebook()
        trained = self._run(box, "train", slot.recipe, seed, count, files, cpu)
        weights = trained.files.get("weights.safetensors", b"")
        failure = "" if trained.status == "ok" else f"{trained.status}: {trained.detail}"
        failure = failure or inspect_weights(weights, task, slot.recipe)
        bits: tuple[float, ...] = ()
        predict_us = 0
        if not failure:
            asked = np.concatenate(list(self._pool.values()))
            inputs = {
                "weights.safetensors": weights,
                "questions.safetensors": save({"questions": questions(task, asked)}),
            }
            answered = self._run(box, "predict", slot.recipe, seed, count, inputs, cpu)
            predict_us = answered.cpu_us - answered.startup_cpu_us
            scores = self._score(answered, asked, slot.recipe)
            bits, failure = ((), scores) if isinstance(scores, str) else (scores, "")
        return Row(
            recipe=slot.recipe,
            level=slot.level,
            number=slot.number,
            seed=seed,
            failure=failure[:300],
            bits=bits,
            steps=count,
            cpu_us=trained.cpu_us - trained.startup_cpu_us,
            startup_cpu_us=trained.startup_cpu_us,
            predict_cpu_us=predict_us,
            peak_bytes=trained.peak_bytes,
            weights=digest(weights) if weights else "",
        )

    def _run(
        self,
        box: Box,
        role: Role,
        recipe: Recipe,
        seed: int,
        count: int,
        files: Mapping[str, bytes],
        cpu: int | None,
    ) -> Outcome:
        """Run a job, again where the box itself lost it; raise NoBox if that goes on."""
        task = self.config.task.format()
        order = Order(role=role, task=task, recipe=recipe, seed=seed, steps=count)
        execution = Execution(
            role=role,
            files={**self._source, **files, "job.json": canonical(order)},
            limits=_limits(self.config, self.design),
            outputs=OUTPUTS[role],
            cpu=cpu,
            key=f"tab-{seed % 10**6}",
            study=self.name,
        )
        for _ in range(TRIES):
            outcome = box.run(execution)
            if outcome.status != "box":
                return outcome
        raise NoBox(f"the box lost a {role} job {TRIES} times: {outcome.detail}")

    def _score(self, answered: Outcome, asked: Items, recipe: Recipe) -> tuple[float, ...] | str:
        """Return the mean bits of each fold, then of each slice; or why there are none."""
        if answered.status != "ok":
            return f"{answered.status}: {answered.detail}"
        data = answered.files.get("predictions.safetensors", b"")
        bits = item_bits(data, asked, self.config.task.format(), recipe)
        if isinstance(bits, str):
            return bits
        parts = np.split(bits, np.cumsum([len(rows) for rows in self._pool.values()])[:-1])
        folds = parts[0].reshape(self.design.folds, -1).mean(axis=1)
        return bits_as_written([*folds.tolist(), *(float(part.mean()) for part in parts[1:])])

    def _chance_notebook(self) -> bytes:
        """Return a notebook with rows of chance, the same for every training."""
        task, rng = self.config.task, random.Random(f"table:{self.name}")
        book, rows = task.format().book(), []
        for _ in range(self.design.chance_rows):
            drawn = {name: rng.choice(v) for name, v in grid(True, task.grid).items()}
            recipe = replace(task.baseline, **drawn)
            rows.append([rng.randrange(BUCKETS), *book.encode(recipe)])
        return save({"trials": np.array(rows, np.uint8)})


def build(
    name: str,
    *,
    folder: Path = Path("tab"),
    minutes: float | None = None,
    overrides: tuple[str, ...] = (),
    say: Say = lambda _: None,
) -> dict[str, Any]:
    """Train for `minutes`, or until the table is complete; write the table; return its facts."""
    work = Build(name, folder, overrides)
    left, whole = work.left(), len(work.slots)
    say(f"{work.name}: {whole - len(left)} of {whole} trainings are there")
    if left:
        box = make_box(work.config)
        try:
            _train_side_by_side(work, box, left, minutes, say)
        finally:
            box.close()
    table = work.table()
    result: dict[str, Any] = {"trainings": len(table.rows), "of": whole, "file": str(work.file)}
    if table.rows:
        result["digest"] = write_table(table, work.file)
    with suppress(BadInput, ValueError):
        result |= describe(table)
    return result | {"complete": table.complete}


def _train_side_by_side(
    work: Build, box: Box, slots: list[Slot], minutes: float | None, say: Say
) -> None:
    """Train slots in as many threads as jobs may run at a time, until the time is over."""
    started, done = time.monotonic(), itertools.count(1)
    deadline = started + 60 * minutes if minutes is not None else None

    def train(slot: Slot) -> None:
        if deadline and time.monotonic() >= deadline:
            return
        work.add(box, slot, None)
        count, passed = next(done), time.monotonic() - started
        rest = passed / count * (len(slots) - count) / 60
        say(f"{len(work.rows)} of {len(work.slots)} trainings, about {rest:.0f} minutes are left")

    with ThreadPoolExecutor(work.config.box.parallel) as pool:
        for future in [pool.submit(train, slot) for slot in slots]:
            future.result()


def _limits(config: Config, design: Design) -> Limits:
    """Return the limits of a training at the largest level, with room for a busy machine."""
    largest = max((PLANNED, *design.levels.times)) * config.task.planned_cpu_us
    cpu_us = int(4 * largest) + 20_000_000
    return replace(config.budget.train, cpu_us=cpu_us, wall_us=10 * cpu_us)


def _key(slot: Slot | Row) -> tuple[Recipe, float, int]:
    return slot.recipe, slot.level, slot.number


def _begun_otherwise(path: Path) -> str:
    return f"{path} was begun with another design or other code; finish it there, or move it away"


def _read_log(path: Path, header: dict[str, Any]) -> dict[tuple[Recipe, float, int], Row]:
    """Return the rows of a log; a last line that was cut off is dropped.

    Raises BadInput for a log of another design or of other code.
    """
    if not path.exists():
        return {}
    text = path.read_text()
    lines = text.splitlines()
    if text and not text.endswith("\n"):
        lines.pop()
        replace_file(path, "".join(f"{line}\n" for line in lines))
    if not lines:
        path.unlink()
        return {}
    if json.loads(lines[0]) != header:
        raise BadInput(_begun_otherwise(path))
    rows = (parse(Row, json.loads(line), "row") for line in lines[1:])
    return {_key(row): row for row in rows}
