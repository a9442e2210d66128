"""Studies of task `planted`: the whole loop on a world whose law is known, with trainer and
proposers simulated. Nothing is trained.

Everything else is the real thing: plans, gates, grants, reservations, ledger, judge, report. It
refuses what a world cannot be held with.
"""

import numpy as np

from configs.settings.config import Config
from evals.simulate import written
from loop.propose.scene import Scene
from loop.study.simulated import law


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
