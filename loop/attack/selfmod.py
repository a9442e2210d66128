"""Attacks of a proposer program on what measures and bounds it."""

from collections.abc import Callable
from dataclasses import replace
from itertools import product

from configs.errors import Denied, VerificationFailed
from loop.attack.outcome import try_act, try_each
from loop.attack.suite import IDLE, Suite
from loop.plan import source

PROGRAMS = ("program", "agent/__main__.py")
"""A proposer's own program, and the one that runs of an agent's folder."""


def modify(*files: str) -> Callable[[Suite], str]:
    """Return an attack: approve a program whose bundle changes one of these files beside it."""

    def attack(suite: Suite) -> str:
        study = suite.open_attended()
        store = study.running.sandbox.store

        def approve(pair: tuple[str, str]) -> object:
            program, file = pair
            edited = source().get(file, b"") + b"\n# quieter, longer, kinder\n"
            bundle = store.put_bundle({**source(), program: b"print()\n", file: edited})
            name = study.plan(
                purpose="program",
                risk="proposer",
                bundle=bundle,
                reference="",
                reference_recipe=None,
                reference_steps=0,
            )
            return study.approve(name)

        return try_each(approve, tuple(product(PROGRAMS, files)), Denied)

    return attack


def lengthen_timeout(suite: Suite) -> str:
    """Hand in a granted job whose limits are longer than those of the study."""
    granted = suite.prepare({"models/train.py": IDLE})
    longer = replace(granted.job.limits, wall_us=10 * granted.job.limits.wall_us)
    job = replace(granted.job, limits=longer)
    return try_act(lambda: suite.run(replace(granted, job=job)), VerificationFailed)
