"""Studies of task `planted`: the whole loop on a world whose law is known, with trainer and
proposers simulated. Nothing is trained.

Everything else is the real thing: plans, gates, grants, reservations, ledger, judge, report. It
refuses what a world cannot be held with.
"""

from collections.abc import Mapping

import numpy as np

from configs.build import need
from configs.job import Order
from configs.records import SPLITS, Split
from configs.study import Config
from evals.law import LAWS, Law
from evals.simulate import World, predict, propose, train, written
from loop.propose import proposer
from loop.scene import Scene
from sandbox.box.planted import SIMULATED, PlantedBox
from sandbox.canonical import digest

PREDICT_US, PROPOSE_US = 10_000, 100_000
"""What a simulated prediction and a proposal are charged; a training is charged its plan."""
SOURCE = {"models/train.py": b"# Simulated: nothing of it runs.\n"}
"""The bundle of a simulated study."""


def simulated(config: Config) -> bool:
    """Tell whether a study trains nothing."""
    return config.task.name == SIMULATED


def check(config: Config) -> None:
    """Raise BadInput for an unknown world, for arms that need more than a law, and where nobody
    would stand in for a world's people.
    """
    if simulated(config):
        world = config.task.world
        need(world in LAWS, "task.world", world, f"one of {', '.join(LAWS)}")
        waits = config.autonomy.rules.recipe == "approve" and config.reviewer.policy != "people"
        need(
            waits or not law(config).human,
            "autonomy and reviewer",
            [config.autonomy.stage, config.reviewer.policy],
            "autonomy=assisted with a reviewer that stands in, reviewer=scripted or fatigue, in a"
            " world whose people decide",
        )
        for arm in config.arms():
            named = proposer(arm)
            writes = (named.where == "trusted" and arm not in ("evolve", "hostile")) or (
                named.where == "box" and not named.program
            )
            need(
                writes,
                "study.arms",
                arm,
                "planted, random, local, tpe or an arm whose weights propose, in a simulated study",
            )
            need(
                named.where == "trusted" or not law(config).mirrored,
                "study.arms",
                arm,
                "planted, random, local or tpe where arms share their noise: a job that proposes"
                " has a seed of its own",
            )


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


def write(config: Config, arm: str, repeat: int, scene: Scene) -> str:
    """Return what an arm's program proposes by its world's law; where arms mirror each other all
    others get the noise of `planted`, turned.
    """
    champion, world, push = scene.history.champion, law(config), 0.0
    if world.mirrored:
        drawn = np.random.default_rng(
            [config.study.seed, repeat, scene.generation, scene.index]
        ).standard_normal()
        push = world.noise * float(drawn) * (1 if arm == "planted" else -1)
    return written(world, arm, champion, round(1000 * champion.warmup), scene.generation - 1, push)
