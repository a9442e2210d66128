"""The last champions of a run, each with its changes and with what is lost without each."""

import math
from collections.abc import Iterator

from configs.recipe import Recipe, knob_values
from configs.records import Plan
from evals.ablation import Champion, Taken
from loop.instruments.gains import closing_gain, pair_gain
from loop.instruments.run import Run
from loop.propose.ablation import TAKES_BACK
from loop.propose.limit import list_different
from loop.text import write_number


def read_champions(run: Run, arm: str) -> Iterator[Champion]:
    """Yield the last champions of an arm, as measured; none before the study's end.

    Losses are those of the plans that took a change back; without such a plan NaN.
    """
    for _, repeat in [key for key in run.campaigns if key[0] == arm and run.facts.closed]:
        names = run.facts.champions[arm, repeat]
        base, best = (run.facts.plans[names[at]] for at in (0, -1))
        yield Champion(
            repeat=run.base + repeat,
            gain=closing_gain(run, arm, repeat, run.unbounded),
            changes=tuple(_read_changes(run, names[-1], base, best)),
        )


def _read_changes(run: Run, name: str, base: Plan, best: Plan) -> Iterator[Taken]:
    """Yield the changes of a champion with the losses of its plans of purpose `ablation`."""
    changes = dict.fromkeys(list_different(base.recipe, best.recipe), "")
    if base.bundle != best.bundle:
        changes["source"] = ""
    for digest, plan in run.facts.plans.items():
        if plan.purpose == "ablation" and plan.parent == name:
            change = next(iter(plan.changed), plan.hypothesis.removeprefix(TAKES_BACK))
            changes[change] = digest
            if not plan.changed:
                changes.pop("source", None)
    for change, digest in changes.items():
        scales = (run.config.objective, run.unbounded)
        losses = [-pair_gain(run, digest, scale) if digest else math.nan for scale in scales]
        yield name_change(change, best.recipe, *losses)


def name_change(name: str, best: Recipe, loss: float, unbounded: float) -> Taken:
    """Return a change with the champion's value in words."""
    value = knob_values(best).get(name, "changed")
    text = write_number(value, ".6g") if isinstance(value, float) else str(value)
    return Taken(change=name, value=text, loss=loss, unbounded=unbounded)
