"""Studies of task `planted`: the whole loop on a world whose law is known, with trainer and
proposers simulated. Nothing is trained.

Everything else is the real thing: plans, gates, grants, reservations, ledger, judge, report. It
refuses what a world cannot be held with.
"""

from collections.abc import Callable, Mapping

from configs.build import parse, strict_json
from configs.errors import BadInput
from configs.job import Order, Outcome
from configs.records import SPLITS, Split
from configs.settings.config import Config
from configs.settings.task import SIMULATED
from evals.law import LAWS, Law
from evals.simulate import World, predict, propose, train
from sandbox.box.base import Execution, failed
from sandbox.canonical import digest

Answer = Callable[[Order, Mapping[str, bytes]], tuple[dict[str, bytes], int]]


class PlantedBox:
    """A box whose jobs are a function: order and inputs in, output files and charged
    CPU-microseconds out.
    """

    kind, tier = SIMULATED, "simulated"

    def __init__(self, answer: Answer) -> None:
        self._answer, self._stopped = answer, False

    def run(self, execution: Execution) -> Outcome:
        """Answer one job from the law; a job of another task is refused, as a failure of the
        box.
        """
        try:
            order = parse(Order, strict_json(execution.files["job.json"]))
        except (BadInput, KeyError):
            return failed("the job's order is malformed")
        if order.task.name != SIMULATED or self._stopped:
            return failed(
                f"a simulated box answers no job of task {order.task.name}"
                if not self._stopped
                else "stopped"
            )
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
        """Refuse new jobs; none lasts."""
        self._stopped = True

    def close(self) -> None:
        """Nothing is held."""


PREDICT_US, PROPOSE_US = 10_000, 100_000
"""What a simulated prediction and a proposal are charged; a training is charged its plan."""


SOURCE = {"models/train.py": b"# Simulated: nothing of it runs.\n"}
"""The bundle of a simulated study."""


def simulated(config: Config) -> bool:
    """Tell whether a study trains nothing."""
    return config.task.name == SIMULATED


def law(config: Config) -> Law:
    """Return the law of a study's world."""
    return LAWS[config.task.world]


class Planted(PlantedBox):
    """The simulated box of one study. It is told which questions are of which split, which no real
    box ever is.
    """

    def __init__(self, config: Config) -> None:
        super().__init__(self._of)
        self._world = World(
            law=law(config), start=config.study.start_trials, proposals=config.study.proposals
        )
        self._train_us = config.task.planned_cpu_us
        self.splits: dict[str, Split] = {}

    def learn(self, questions: Mapping[str, tuple[str, int]]) -> None:
        """Take the digests of each split's questions."""
        self.splits = {questions[split][0]: split for split in SPLITS}

    def _of(self, order: Order, files: Mapping[str, bytes]) -> tuple[dict[str, bytes], int]:
        if order.role == "train":
            return train(self._world, order), self._train_us
        if order.role == "predict":
            return (
                predict(
                    self._world, order, files, self.splits[digest(files["questions.safetensors"])]
                ),
                PREDICT_US,
            )
        return propose(self._world, order, files), PROPOSE_US
