"""Studies of task `planted`: the whole loop on a world with a known law.

Trainer and proposers are simulated and nothing is trained. Everything else is real: plans, gates,
grants, reservations, ledger, judge and report.
"""

from collections.abc import Mapping

from configs.arms import variant
from configs.build import parse, strict_json
from configs.errors import BadInput
from configs.job import Order, Outcome
from configs.records import Split
from configs.settings.config import Config
from configs.settings.task import SIMULATED
from evals.law import Law
from evals.planted import LAWS
from evals.simulate import World, predict, propose, train
from loop.plan import source
from loop.study.program import bundle_of_program
from sandbox.box.base import STOPPED, Execution, report_failure
from sandbox.canonical import digest

PREDICT_US, PROPOSE_US = 10_000, 100_000
"""Charges of a simulated prediction and proposal; a training is charged its planned compute."""
SOURCE = {"models/train.py": b"# Simulated: nothing of it runs.\n"}
"""The bundle of a study in which nothing of it runs."""


def simulated(config: Config) -> bool:
    """Tell whether a study trains none of its plans: on a planted world, or on a table."""
    return planted(config) or bool(config.task.folds)


def boxes_proposers(config: Config) -> bool:
    """Tell whether a study on a table has arms whose weights or programs propose: of all jobs these
    alone are executed.
    """
    arms = [variant(arm) for arm in config.arms()]
    return bool(config.task.folds) and any(a.proposer == "notebook" or a.programs for a in arms)


def bundle_of(config: Config) -> dict[str, bytes]:
    """Return the bundle given by people: the source of this checkout, their own training program,
    or a stub if nothing runs.
    """
    if config.task.folder:
        return bundle_of_program(config.task)
    stub = simulated(config) and not boxes_proposers(config)
    return SOURCE if stub else source(serves=config.factory.any())


def planted(config: Config) -> bool:
    """Tell whether a study runs on a world with a planted law."""
    return config.task.name == SIMULATED


def law(config: Config) -> Law:
    """Return the law of a study's world."""
    return LAWS[config.task.world]


class SimulatedBox:
    """Box of a simulated study: it answers jobs from a law, in this process.

    Unlike a real box, it knows the split of each question. It isolates nothing, since nothing
    proposed is executed in it. It refuses jobs of other tasks, and `sandbox.run` refuses it for
    them too. Its tier meets no demand. Charges are planned compute, so a run repeats everywhere.
    """

    kind, tier = SIMULATED, "simulated"

    def __init__(self, config: Config) -> None:
        self._world = World(
            law=law(config), start=config.study.start_trials, proposals=config.study.proposals
        )
        self._train_us = config.task.planned_cpu_us
        self._splits: dict[str, Split] = {}
        self._stopped = False

    def learn(self, questions: Mapping[Split, tuple[str, int]]) -> None:
        """Take the digests of the questions of a repeat's splits."""
        self._splits |= {digest: split for split, (digest, _) in questions.items()}

    def run(self, execution: Execution) -> Outcome:
        """Answer a job from the law; a job of another task fails as the box's failure."""
        try:
            order = parse(Order, strict_json(execution.files["job.json"]))
        except (BadInput, KeyError):
            return report_failure("the job's order is malformed")
        if self._stopped:
            return report_failure(STOPPED)
        if order.task.name != SIMULATED:
            return report_failure(f"a simulated box answers no job of task {order.task.name}")
        files, cpu_us = self._answer(order, execution.files)
        return Outcome(
            status="ok",
            detail="exit 0",
            cpu_us=cpu_us,
            startup_cpu_us=0,
            wall_us=cpu_us,
            peak_bytes=0,
            charged_by="plan",
            files=files,
            log=b"",
            log_total=0,
        )

    def stop(self) -> None:
        """Refuse new jobs; no job is left running."""
        self._stopped = True

    def close(self) -> None:
        """Do nothing: the box holds nothing."""

    def _answer(self, order: Order, files: Mapping[str, bytes]) -> tuple[dict[str, bytes], int]:
        """Return the output files of a job and its charge in CPU-microseconds."""
        if order.role == "train":
            return train(self._world, order), self._train_us
        if order.role == "predict":
            split = self._splits[digest(files["questions.safetensors"])]
            return predict(self._world, order, files, split), PREDICT_US
        return propose(self._world, order, files), PROPOSE_US
