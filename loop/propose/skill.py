"""How well weights propose, measured in the loop: train them anew on a history, let them read it,
and measure each of their proposals on gate.

Q(theta(r, h)) of docs/instruments.md for the cells of loop.propose.CELLS, on one fixed parent, the
baseline, with fresh seeds. Its plans pass the gate and are paid like any other; none of them can
become champion.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from configs.arms import CELLS
from configs.build import parse, strict_json
from configs.errors import BadInput
from configs.history import History
from configs.recipe import grid
from configs.records import JobCount, Proposal
from configs.settings.study import Study
from loop.measure.replicate import proposed, replicate
from loop.plan import change
from loop.propose.ask import line
from loop.propose.history import seen, show, trials_of

if TYPE_CHECKING:
    from loop.cycle import Campaign


def place(study: Study, number: int) -> int:
    """Return the generation number under which the cell of that number is recorded: after the
    closing looks.
    """
    return study.generations + 3 + number


JOBS = (JobCount(role="champion-train", count=1), JobCount(role="propose", count=1))
"""Of a measure's propose plan: the weights that propose are its reference's."""


def skill(c: Campaign, at: int, cell: str) -> None:
    """Measure one cell under generation number `at`: one propose plan, then a plan for each
    proposal; what was done already is kept.
    """
    asked = _asked(c, at, cell)
    if not c.allowed(asked):
        return
    c.admit(asked)
    lines = proposed(c.running, asked, c.cpu)
    for index in range(c.running.config.study.skill_proposals):
        name = _plan(c, at, index, asked, lines)
        if name and c.allowed(name):
            c.admit(name)
            c.look("gate", name)
            replicate(c.running, name, 0, "gate", c.cpu)
            replicate(c.running, name, 0, "gate", c.cpu, champion=True)


def _asked(c: Campaign, at: int, cell: str) -> str:
    """Record the propose plan of a cell: it trains the cell's weights by the cell's recipe, which
    then read the cell's history and write.
    """
    known = c.running.archive.facts().asks.get((c.arm, c.repeat, at))
    if known:
        return known
    count, base = c.running.config.study.skill_proposals, c.plan(c.champions()[0])
    parent = c.champions()[0 if CELLS[cell].weights == "first" else -1]
    best, shown = c.plan(parent), tuple(seen(c, trials_of(c), CELLS[cell].history).values())
    name = c.record(
        (at, 0),
        "propose",
        parent,
        best.recipe,
        "propose",
        best.recipe,
        best.bundle,
        (best.bundle, best.recipe),
        Proposal(
            hypothesis=f"measures skill, cell {cell}: {count} proposals on the baseline", knobs={}
        ),
        notebook=c.notebook(CELLS[cell].history),
        jobs=JOBS,
    )
    show(
        c,
        name,
        History(
            champion=base.recipe,
            champion_source=base.bundle,
            champion_score=None,
            trials=shown,
            count=count,
            grid=grid(True),
        ),
    )
    return name


def _plan(c: Campaign, at: int, index: int, asked: str, lines: list[str] | str) -> str:
    """Record the plan that measures one proposal against the baseline; an unusable one is a
    recorded invalid proposal, and no plan.
    """
    where = (c.arm, c.repeat, at, index)
    known = c.running.archive.facts().at.get(where)
    if known is not None:
        return "" if known.startswith("!") else known
    parent = c.champions()[0]
    base, text = c.plan(parent), ""
    try:
        text = line(lines, index)
        proposal = parse(Proposal, strict_json(text))
        risk, recipe, files = change(
            base.recipe, c.running.sandbox.store.get_bundle(base.bundle), proposal
        )
    except BadInput as error:
        c.invalid(where, error, text)
        return ""
    return c.record(
        (at, index),
        "skill",
        parent,
        base.recipe,
        risk,
        recipe,
        c.bundle(files),
        (base.bundle, base.recipe),
        proposal,
        notebook=base.notebook,
        asked=asked,
        text=c.kept(text),
    )
