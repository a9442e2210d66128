"""`heirloop ablate RUN`: what each change of the last champions carries, arm by arm.

On a table the losses are read from its means, at no cost. In any other study they were measured at
its end, if `study.ablate` said so. Without either only the champions with each change are counted.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from configs.build import plain
from configs.errors import BadInput
from configs.recipe import Recipe
from evals.ablation import Champion, ablate
from evals.intervals import missing, settle
from evals.table import World
from loop.instruments.champions import name_change, read_champions
from loop.instruments.gather import shared_settings
from loop.instruments.measure import name_unit
from loop.instruments.run import Run
from loop.instruments.truth import true_score
from loop.propose.limit import list_different
from loop.study.tabulated import read_world

TABLE, LOOK, COUNT = "means of the table", "closing pairs", "not measured"
"""How the losses are known."""
UNCHANGED = "no last champion differs from its baseline, so there is no gain to explain"
NOT_MEASURED = (
    "no change was taken back in this study; in a new one study.ablate=N measures up to N changes"
    " of each last champion at its end, within the same budget"
)


def read_truth(run: Run, arm: str, world: World) -> Iterator[Champion]:
    """Yield the same by the table's means; NaN where a recipe is unlisted or cannot be."""
    for _, repeat in [key for key in run.campaigns if key[0] == arm]:
        names = run.facts.champions[arm, repeat]
        base, best = (run.facts.plans[names[at]].recipe for at in (0, -1))
        changes = [
            name_change(name, best, *2 * (_lose(world, base, best, name),))
            for name in list_different(base, best)
        ]
        gain = true_score(world, base) - true_score(world, best)
        yield Champion(repeat=run.base + repeat, gain=gain, changes=tuple(changes))


def _lose(world: World, base: Recipe, best: Recipe, name: str) -> float:
    """Return the bits that a recipe loses with a knob of the baseline."""
    try:
        without = replace(best, **{name: getattr(base, name)})
    except BadInput:
        return math.nan
    return true_score(world, without) - true_score(world, best)


def _read(run: Run, arm: str, world: World | None) -> Iterator[Champion]:
    return read_truth(run, arm, world) if world else read_champions(run, arm)


def measure_ablation(runs: Sequence[Run]) -> dict[str, Any]:
    """Return {study, known, note, arms: {arm: evals.ablation.ablate}} of ended runs of one study,
    as plain JSON.

    `known` says how the losses are known. Raises BadInput for runs of several studies, for a study
    that has not ended, and for a table that is not there any more.
    """
    config = runs[0].config
    if any(shared_settings(run.config) != shared_settings(config) for run in runs):
        raise BadInput("these runs differ in more than name and seed; name repeats of one study")
    if not all(run.facts.closed for run in runs):
        raise BadInput("the study has not ended; what made its gain is read after the end")
    on_table = bool(config.task.table) and config.objective.metric == "bits"
    world = read_world(config) if on_table else None
    known = TABLE if world else LOOK if config.study.ablate else COUNT
    read: dict[str, Any] = {
        "study": config.study.name,
        "known": known,
        "note": NOT_MEASURED if known == COUNT else "",
        "arms": {
            arm: ablate(
                [one for run in runs for one in _read(run, arm, world)],
                same_scale=runs[0].unbounded == config.objective,
            )
            for arm in config.arms()
        },
    }
    if not any(parts["changes"] for parts in read["arms"].values()):
        read["note"] = UNCHANGED
    return dict(name_unit(plain(settle(read)), config.objective.metric))


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A change of an arm's champions, or the whole gain of the arm, for a table."""

    arm: str
    "arm"
    change: str
    "knob or region; or what the figure is"
    values: str = ""
    "its values in the champions, with counts"
    having: int | None = None
    "champions that have it; None: a figure of all champions"
    champions: int
    "champions in all"
    loss: dict[str, Any]
    "figure: the loss without it; the gain itself where the row is of all champions"
    share: dict[str, Any]
    "figure: its loss over the gain"


def list_ablation(read: dict[str, Any]) -> Iterator[Row]:
    """Yield the rows of each arm with a changed champion: the whole gain, then its changes."""
    nothing = plain(missing(""))
    for arm, parts in read["arms"].items():
        changes = parts["changes"]
        if not changes:
            continue
        champions = next(iter(changes.values()))["champions"]["n"]
        for name, text in (("gain", "whole gain"), ("beyond", "beyond single changes")):
            yield Row(arm=arm, change=text, champions=champions, loss=parts[name], share=nothing)
        for change, own in changes.items():
            yield Row(
                arm=arm,
                change=change,
                values=own["values"],
                having=round(own["champions"]["value"] * champions),
                champions=champions,
                loss=own["loss"],
                share=own["share"],
            )
