"""Studies on a table of recorded trainings: nothing is trained, and each training was.

A study with `task.table` goes through the same gates, grants, ledger, budgets and judge as every
study. Its box looks its jobs up in the table. Its tier is `T: tabulated`; no figure of it stands
beside boxed figures without that name.
"""

from collections.abc import Mapping

from safetensors.numpy import load, save

from configs.build import parse, strict_json
from configs.errors import BadInput
from configs.job import Order, Outcome
from configs.settings.config import Config
from configs.tokens import layout
from evals.folds import columns_of, probabilities_of
from evals.table import Drawn, Unlisted, World, check_table
from loop.study.simulated import SOURCE
from loop.study.tab_file import need_same, read_table, stamp_code
from sandbox.box.base import Execution, report_failure

TIER = "T: tabulated"
NO_WEIGHTS = save({})
"""A file of weights without any. The search for copied weights leaves it out."""
_WORLDS: dict[str, World] = {}
"""Digest of a table -> its world, read once a process."""


def read_world(config: Config) -> World:
    """Return the world of a study's table; raise BadInput for a table that cannot be used."""
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
    return world


class TabulatedBox:
    """Box of a study on a table: it answers jobs from recorded trainings, in this process.

    It isolates nothing, since nothing is executed in it. It refuses a job without folds, changed
    code, and a proposal by weights. The table enters no job: a job gets no more than its own score.
    """

    kind, tier = "table", TIER

    def __init__(self, config: Config) -> None:
        self._world = read_world(config)
        self._stopped = False

    def run(self, execution: Execution) -> Outcome:
        """Answer a job from the table; a job that is not in it fails as the program's failure."""
        try:
            order = parse(Order, strict_json(execution.files["job.json"]))
        except (BadInput, KeyError):
            return report_failure("the job's order is malformed")
        if self._stopped:
            return report_failure("stopped")
        if order.task.stand_in() != self.kind or order.role == "propose":
            return report_failure(f"a table answers no {order.role} job of task {order.task.name}")
        if any(execution.files.get(name) != data for name, data in SOURCE.items()):
            return _fail("unlisted: the table has no training with changed code")
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
        """Refuse new jobs; no job is left running."""
        self._stopped = True

    def close(self) -> None:
        """Do nothing: the box holds nothing."""


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
