"""How the champions of a run propose: their notebook share, and what their proposals gained."""

import math
from collections.abc import Iterator, Mapping, Sequence

from evals.loss import PlanFact
from evals.proposing import Proposing
from loop.instruments.losses import read_plans
from loop.instruments.run import Run


def read_proposing(run: Run, arm: str) -> Iterator[Proposing]:
    """Yield how each campaign of an arm proposed; gains only of ended studies.

    A gain is that of a screened proposal on feedback over its parent's score there; a failed
    training counts with the objective's floor. Invalid and refused proposals are left out.
    """
    gains = dict[tuple[int, int], list[float]]()
    for fact in read_plans(run, arm):
        if fact.fate not in ("invalid", "refused"):
            place = fact.repeat - run.base, fact.generation
            gains.setdefault(place, []).append(_gain(fact))
    yield from join_campaigns(run, arm, gains)


def _gain(fact: PlanFact) -> float:
    return math.nan if fact.screened is None else fact.screened


def join_campaigns(
    run: Run, arm: str, gains: Mapping[tuple[int, int], Sequence[float]]
) -> Iterator[Proposing]:
    """Yield an arm's campaigns; `gains` maps (repeat, generation) to those of its proposals."""
    base = run.config.task.baseline.notebook
    shares = (base, *run.config.task.choices().get("notebook", ()))
    for _, repeat in [key for key in run.campaigns if key[0] == arm]:
        last = run.last_generation(arm, repeat)
        yield Proposing(
            repeat=run.base + repeat,
            shares=tuple(_share(run, arm, repeat, at) for at in range(last + 1)),
            gains=tuple(_mean(gains.get((repeat, at), ())) for at in range(1, last + 1)),
            range=(min(shares), max(shares)),
        )


def _share(run: Run, arm: str, repeat: int, generation: int) -> float:
    """Return the notebook share of the champion after a generation; the baseline's after 0."""
    plans = [run.facts.plans[name] for name in run.facts.champions[arm, repeat]]
    return [plan for plan in plans if plan.generation <= generation][-1].recipe.notebook


def _mean(values: Sequence[float]) -> float:
    known = [value for value in values if math.isfinite(value)]
    return math.fsum(known) / len(known) if known else math.nan
