"""Studies on a table of recorded trainings: each training was, and one alone is done again.

A study with `task.table` goes through the same gates, grants, ledger, budgets and judge as every
study. Its box looks its jobs up in the table. A table holds no weights, so those that must propose
are trained anew in a real box, as a part of the job in which they propose. The tier of the study is
`T: tabulated`; no figure of it stands beside boxed figures without that name.
"""

from collections.abc import Mapping
from dataclasses import replace

from safetensors.numpy import load, save

from configs.build import parse, strict_json
from configs.errors import BadInput
from configs.job import Order, Outcome
from configs.records import is_own
from configs.settings.config import Config
from configs.tokens import layout
from evals.data import draw_train
from evals.datasheet import check_table
from evals.folds import columns_of, probabilities_of
from evals.score import inspect_weights
from evals.table import UNLISTED, Drawn, Unlisted, World
from loop.study.simulated import bundle_of
from loop.study.tab_file import need_same, read_table, secret_of, stamp_code
from sandbox.box.base import STOPPED, Box, Execution, report_failure
from sandbox.canonical import canonical
from sandbox.run import OUTPUTS

TIER = "T: tabulated"
NO_WEIGHTS = save({})
"""A file of weights without any. The search for copied weights leaves it out."""
_WORLDS: dict[str, World] = {}
"""Digest of a table -> its world, read once a process."""


def read_world(config: Config, *, whole: bool = False) -> World:
    """Return the world of a study's table, or the `whole` table beyond its fixed knobs.

    Raises BadInput for a table that cannot be used.
    """
    task = config.task
    need_same(task)
    if task.table_digest not in _WORLDS:
        table = read_table(task.table)
        check_table(table, stamp_code())
        _WORLDS[task.table_digest] = World(table)
    world = _WORLDS[task.table_digest]
    if world.table.folds != task.folds:
        raise BadInput(
            f"table {task.table} has {world.table.folds} folds and the study pins {task.folds}"
        )
    return world.within(task.fixed) if task.fixed and not whole else world


class TabulatedBox:
    """Box of a study on a table: it answers jobs from recorded trainings, in this process.

    It isolates nothing, since it executes nothing itself: a `propose` job goes to the real box
    `inner`, and is refused without one. It refuses a job without folds and changed code. The table
    enters no job: a job gets no more than its own score.
    """

    kind, tier = "table", TIER

    def __init__(self, config: Config, inner: Box | None = None) -> None:
        self._world = read_world(config)
        self._source = bundle_of(config)
        self._inner, self._stopped = inner, False
        self.fell_back = getattr(inner, "fell_back", "")
        self.proposers_in = f"{inner.kind} box, tier {inner.tier}" if inner else ""

    def run(self, execution: Execution) -> Outcome:
        """Answer a job from the table; a job that is not in it fails as the program's failure."""
        try:
            order = parse(Order, strict_json(execution.files["job.json"]))
        except (BadInput, KeyError):
            return report_failure("the job's order is malformed")
        if self._stopped:
            return report_failure(STOPPED)
        proposes = order.role == "propose"
        if order.task.stand_in() != self.kind or (proposes and self._inner is None):
            return report_failure(f"a table answers no {order.role} job of task {order.task.name}")
        if any(execution.files.get(name) != data for name, data in self._source.items()):
            return _fail(f"{UNLISTED}: the table has no training with changed code")
        if proposes:
            return self._propose(order, execution)
        assert order.seed is not None
        try:
            level = self._world.level(order.recipe, order.steps)
            drawn = self._world.draw(order.recipe, level, order.seed)
        except Unlisted as error:
            return _fail(str(error))
        if order.role == "train":
            return _answer_training(drawn)
        return _answer_questions(order, execution.files, drawn)

    def stop(self) -> None:
        """Kill a job of the real box, and refuse new ones."""
        self._stopped = True
        if self._inner:
            self._inner.stop()

    def close(self) -> None:
        """Release the real box; the table's own holds nothing."""
        if self._inner:
            self._inner.close()

    def _propose(self, order: Order, execution: Execution) -> Outcome:
        """Train the weights that propose, and let them propose: one outcome, charged as both.

        The training is `training.json`, the recorded order of the training that the table answered:
        its recipe, seed, steps and notebook, on a training file of the table's blocks.
        """
        given = execution.files
        if any(map(is_own, given)):
            return self._ask_program(order, execution)
        try:
            training = parse(Order, strict_json(given["training.json"]))
            book = {"notebook.safetensors": given["notebook.safetensors"]}
        except (BadInput, KeyError):
            return report_failure("the order of the training behind a proposal is malformed")
        assert training.seed is not None
        task, secret = replace(order.task, folds=0), secret_of(self._world.table.name)
        data = save({"items": draw_train(task, secret, training.seed)})
        training = replace(training, task=task)
        trained = self._run(training, execution, {"data.safetensors": data, **book})
        weights = trained.files.get("weights.safetensors", b"")
        if trained.status == "ok" and (flaw := inspect_weights(weights, task, training.recipe)):
            trained = replace(trained, status="program", detail=flaw)
        if trained.status == "box":
            return trained
        if trained.status != "ok":
            detail = f"training of the weights that propose: {trained.detail}"[:300]
            return replace(trained, detail=detail, files={})
        limits = replace(
            execution.limits,
            cpu_us=max(1, execution.limits.cpu_us - trained.cpu_us + trained.startup_cpu_us),
            wall_us=max(1, execution.limits.wall_us - trained.wall_us),
        )
        inputs = {"weights.safetensors": weights, "history.json": given["history.json"]}
        asked = self._run(replace(order, task=task), replace(execution, limits=limits), inputs)
        return _join(trained, asked, execution.limits.log_bytes)

    def _ask_program(self, order: Order, execution: Execution) -> Outcome:
        """Let a proposer program or an agent write, without any training."""
        given = execution.files
        inputs = {name: given[name] for name in given if is_own(name) or name == "history.json"}
        order = replace(order, task=replace(order.task, folds=0))
        return self._run(order, execution, inputs, execution.role)

    def _run(
        self, order: Order, execution: Execution, inputs: Mapping[str, bytes], module: str = ""
    ) -> Outcome:
        """Run a part of a propose job in the real box; `module` is an agent's, or its order's.

        Where the kernel counts CPU, no core is named: several studies may share this machine.
        """
        assert self._inner
        source = {name: execution.files[name] for name in self._source}
        part = replace(
            execution,
            role=module or order.role,
            files={**source, **inputs, "job.json": canonical(order)},
            outputs=OUTPUTS[module or order.role],
            cpu=execution.cpu if self._inner.tier == "C" else None,
        )
        return self._inner.run(part)


def _answer_training(drawn: Drawn) -> Outcome:
    """Return a file without weights, for a table holds none, charged as a recorded training."""
    row = drawn.row
    cpu_us, startup = row.cpu_us + row.startup_cpu_us, row.startup_cpu_us
    if row.failure:
        return _outcome("program", row.failure, cpu_us, startup, row.peak_bytes, {})
    files = {"weights.safetensors": NO_WEIGHTS, "claims.json": b"{}"}
    return _outcome("ok", "exit 0", cpu_us, startup, row.peak_bytes, files)


def _answer_questions(order: Order, files: Mapping[str, bytes], drawn: Drawn) -> Outcome:
    """Return predictions with the recorded bits of the folds in the questions."""
    columns = columns_of(load(files["questions.safetensors"])["questions"])
    values = layout(order.task, order.recipe).vocabulary
    predictions = save(probabilities_of(drawn.bits[columns], values))
    cpu_us = drawn.row.predict_cpu_us
    return _outcome("ok", "exit 0", cpu_us, 0, 0, {"predictions.safetensors": predictions})


def _join(first: Outcome, second: Outcome, log_bytes: int) -> Outcome:
    """Return the outcome of two parts of a job, which is the second's, with the charges of both."""
    return replace(
        second,
        cpu_us=first.cpu_us + second.cpu_us,
        startup_cpu_us=first.startup_cpu_us + second.startup_cpu_us,
        wall_us=first.wall_us + second.wall_us,
        peak_bytes=max(first.peak_bytes, second.peak_bytes),
        log=(first.log + second.log)[:log_bytes],
        log_total=first.log_total + second.log_total,
    )


def _fail(reason: str) -> Outcome:
    return _outcome("program", reason[:300], 0, 0, 0, {})


def _outcome(
    status: str, detail: str, cpu_us: int, startup: int, peak: int, files: dict[str, bytes]
) -> Outcome:
    return Outcome(
        status=status,  # type: ignore[arg-type]
        detail=detail,
        cpu_us=cpu_us,
        startup_cpu_us=startup,
        wall_us=cpu_us,
        peak_bytes=peak,
        charged_by="table",
        files=files,
        log=b"",
        log_total=0,
    )
