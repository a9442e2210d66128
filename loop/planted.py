"""Studies of task `planted`: the whole loop on a world whose law is known, with trainer and proposers simulated. Nothing is trained.

Everything else is the real thing: plans, gates, grants, reservations, ledger, judge, report. It refuses worlds that the loop cannot express.
"""

from collections.abc import Mapping

from configs.build import need
from configs.job import Order
from configs.records import SPLITS, Split
from configs.study import Config
from evals.planted import LAWS, Law
from evals.simulate import World, predict, propose, train, written
from loop.propose import proposer
from loop.scene import Scene
from sandbox.box.planted import SIMULATED, PlantedBox
from sandbox.canonical import digest

PREDICT_US, PROPOSE_US = 10_000, 100_000
"""What a simulated prediction and a proposal are charged; a training is charged its plan."""
SOURCE = {"models/train.py": b"# Simulated: nothing of it runs.\n"}
"""The bundle of a simulated study."""
WITHHELD = {
    "human-bottlenecked": "a decision of no person is marked as simulated, so that no simulation can stand for people",
    "correlated arms": "a training's noise comes from its own plan's seed, which no other arm shares",
}
"""World -> why the real loop cannot express it."""


def simulated(config: Config) -> bool:
    """Tell whether a study trains nothing."""
    return config.task.name == SIMULATED


def check(config: Config) -> None:
    """Raise BadInput for a world that is unknown or that the loop cannot express, and for arms that need more than a law."""
    if simulated(config):
        world = config.task.world
        need(world not in WITHHELD, "task.world", world, f"another world: {WITHHELD.get(world)}")
        for arm in config.arms():
            named = proposer(arm)
            writes = (named.where == "trusted" and arm not in ("evolve", "hostile")) or (named.where == "box" and not named.program)
            need(writes, "study.arms", arm, "planted, random, local, tpe or an arm whose weights propose, in a simulated study")
        need(world in LAWS, "task.world", world, f"one of {', '.join(name for name in LAWS if name not in WITHHELD)}")


def law(config: Config) -> Law:
    """Return the law of a study's world."""
    return LAWS[config.task.world]


class Planted(PlantedBox):
    """The simulated box of one study. It is told which questions are of which split, which no real box ever is."""

    def __init__(self, config: Config) -> None:
        super().__init__(self._of)
        self._world = World(law=law(config), start=config.study.start_trials, proposals=config.study.proposals)
        self._train_us = config.task.planned_cpu_us
        self.splits: dict[str, Split] = {}

    def learn(self, questions: Mapping[str, tuple[str, int]]) -> None:
        """Take the digests of each split's questions."""
        self.splits = {questions[split][0]: split for split in SPLITS}

    def _of(self, order: Order, files: Mapping[str, bytes]) -> tuple[dict[str, bytes], int]:
        if order.role == "train":
            return train(self._world, order), self._train_us
        if order.role == "predict":
            return predict(self._world, order, files, self.splits[digest(files["questions.safetensors"])]), PREDICT_US
        return propose(self._world, order, files), PROPOSE_US


def write(config: Config, arm: str, scene: Scene) -> str:
    """Return what an arm's program proposes by its world's law."""
    champion = scene.history.champion
    return written(law(config), arm, champion, round(1000 * champion.warmup), scene.generation - 1)
