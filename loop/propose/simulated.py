"""Proposals of a simulated study: the law of its world writes in place of a program."""

import numpy as np

from configs.arms import variant, without_twin
from configs.settings.config import Config
from evals.simulate import write_proposal
from loop.propose.view import ProposerView
from loop.study.simulated import law


def write(config: Config, arm: str, repeat: int, view: ProposerView) -> str:
    """Return the proposal of an arm's program by its world's law.

    Where arms mirror each other, arm `planted` gets some noise and all others its opposite. A
    simulated outside model that is withdrawn is replaced by the program that the arm names.
    """
    champion, world, push = view.history.champion, law(config), 0.0
    if world.mirrored:
        seed = [config.study.seed, repeat, view.generation, view.index]
        noise = world.noise * float(np.random.default_rng(seed).standard_normal())
        push = noise if arm == "planted" else -noise
    step, reads = round(1000 * champion.warmup), without_twin(arm)
    if config.faults.withdrawn.takes(arm, "model", view.generation):
        reads = variant(arm).falls_back
    return write_proposal(world, reads, champion, step, view.generation - 1, push)
