"""A study on a table, played in memory: the loop's campaigns without gates, boxes and ledger.

Example: `play_study(0, config, world)` gives what a ledger of the same study would give, in a
fiftieth of the time. Proposers, histories, seeds, dealt folds, judge, levels and choices are the
loop's own functions. Only the way through gate, box and record is left out, and the steps of
loop/cycle.py and course.py stand here once more; a test plays a study both ways.

Arms whose weights propose are played by a program that reads the notebook as weights would
(reader.py). Their reading is charged one training of planned compute.
"""

import random
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np

from configs.arms import CONTENDERS, START, variant
from configs.entries import OpeningEntry
from configs.errors import BadInput, NoBaseline
from configs.history import History, Trial
from configs.recipe import Recipe
from configs.settings.config import Config
from evals.metrics import primary
from evals.table import World
from loop.calibrate.played import (
    Played,
    confirm,
    make_draft,
    measure,
    record,
    screen,
)
from loop.calibrate.played_skill import (
    count_drafts,
    measure_skill,
    pick_lines_of,
    record_proposal,
    record_reading,
    select,
)
from loop.calibrate.reader import write_proposals
from loop.campaign import Campaign
from loop.course import draw_start
from loop.cycle import rank
from loop.facts.places import Invalid
from loop.instruments.run import Run
from loop.measure.jobs import Replicate
from loop.plan import Planned
from loop.propose.history import history_of
from loop.propose.table import proposer
from loop.propose.view import ProposerView
from loop.study.simulated import PROPOSE_US

OPENING_PAIRS = 4
"""Pairs of an opening of sealed in a study without closing looks."""


def play_study(
    number: int,
    config: Config,
    world: World,
    *,
    learns: bool = False,
    reads: Callable[[Recipe], int] | None = None,
    cautions: bool = True,
) -> Run:
    """Return a whole study as the instruments read it, sealed opened for every champion.

    `number` tells it from other studies that are measured together. `learns` lets the newer recipe
    of arms `self` and `scrambled` read better; with `reads` its recipe alone decides how well a
    reader reads. Raises BadInput for an arm that is neither a program
    nor of weights, NoBaseline for a baseline that fails.
    """
    played = Played(config=config, world=world, learns=learns, reads=reads, cautions=cautions)
    played.recipes.update({row.recipe: row.recipe for row in world.table.rows})
    for repeat in range(config.study.repeats):
        for trial in range(config.study.start_trials):
            _play_start(played, repeat, trial)
        for arm in config.arms():
            _play_campaign(played, arm, repeat)
        for arm in config.arms():
            for cell in config.study.cells() if config.study.measures_skill(arm) else ():
                measure_skill(played, played.campaign(arm, repeat), cell)
    played.known.closed = True
    return Run.of_facts(number, config, played.known, played.proposing_us)


def _play_start(played: Played, repeat: int, number: int) -> None:
    recipe = draw_start(played.config, repeat, number)
    campaign = played.campaign(START, repeat)
    planned = record(played, campaign, make_draft("start", 0, number, recipe))
    screen(played, planned)


def _play_campaign(played: Played, arm: str, repeat: int) -> None:
    campaign, known = played.campaign(arm, repeat), played.known
    baseline = make_draft("baseline", 0, 0, played.config.task.baseline)
    first = record(played, campaign, baseline)
    if screen(played, first).scores is None:
        raise NoBaseline(f"the baseline of arm {arm}, repeat {repeat}, left no score")
    known.champions[campaign.key].append(first.digest)
    for number in range(1, campaign.shape()[0] + 1):
        if not campaign.affords(number):
            break
        _play_generation(played, campaign, number)
    _close(played, campaign)
    known.ended.add(campaign.key)


def _play_generation(played: Played, campaign: Campaign, number: int) -> None:
    plans = _propose(played, campaign, number)
    ranked = rank([screen(played, planned) for planned in plans], played.config.objective)
    selects = campaign.selects(number)
    judged = ranked[: CONTENDERS - 1 if selects else 1]
    able = [one for one in judged if confirm(played, campaign, one).answer == "accept"]
    successor = select(played, campaign, number, able) if selects else next(iter(able), None)
    if successor:
        played.known.champions[campaign.key].append(successor.digest)
        played.known.crowned.add(successor.digest)


# Proposals


def _propose(played: Played, campaign: Campaign, number: int) -> list[Planned]:
    """Return the plans of a generation; an invalid proposal leaves its reason."""
    plans, parent = list[Planned](), campaign.parent()
    for index, text in enumerate(_texts(played, campaign, number)):
        planned = record_proposal(played, campaign, number, index, parent, text)
        if planned:
            plans.append(planned)
    return plans


def _texts(played: Played, campaign: Campaign, number: int) -> Iterator[str | BadInput]:
    """Yield the text of each proposal of a generation, or the error in its place.

    A program writes one at a time, and sees its earlier proposals of the generation as waiting.
    """
    way, count = proposer(campaign.arm), campaign.shape()[1]
    if way.where == "box":
        yield from _read_notebook(played, campaign, number, count)
        return
    if way.write is None:
        raise BadInput(f"arm {campaign.arm} cannot be played; it should be a program or weights")
    history = history_of(campaign, 1)
    for index in range(count):
        played.proposing_us[*campaign.key, number, index] = PROPOSE_US
        yield way.write(_view(played, campaign, history, number, index))
        if not way.blind:
            waiting = _last_recipe(played, campaign, number, index)
            trials = (*history.trials, *waiting)
            history = replace(history, trials=trials)


def _view(
    played: Played, campaign: Campaign, history: History, number: int, index: int
) -> ProposerView:
    place = f"{campaign.arm}:{campaign.repeat}:{number}:{index}"
    return ProposerView(
        history=history,
        sources={},
        settings=played.config.proposer,
        rng=random.Random(f"{played.config.study.seed}:{place}"),
        generation=number,
        index=index,
    )


def _last_recipe(played: Played, campaign: Campaign, number: int, index: int) -> tuple[Trial, ...]:
    """Return the trial of a proposal that was just recorded, still waiting; none if invalid."""
    name = played.known.at[*campaign.key, number, index]
    if isinstance(name, Invalid):
        return ()
    plan = played.known.plans[name]
    return (Trial(recipe=plan.recipe, outcome="waiting", source=plan.bundle),)


def _read_notebook(
    played: Played, campaign: Campaign, number: int, count: int
) -> Iterator[str | BadInput]:
    """Yield the proposals of the weights' stand-in, and charge its reading."""
    best = campaign.champions()[0 if variant(campaign.arm).weights == "first" else -1]
    record_reading(played, campaign, best, number)
    rng = random.Random(f"{played.config.study.seed}:{campaign.arm}:{campaign.repeat}:{number}")
    lines = write_proposals(history_of(campaign, count), rng, count_drafts(played, campaign, best))
    yield from pick_lines_of(lines, count)


# The end of a campaign


def _close(played: Played, campaign: Campaign) -> None:
    """Take the closing look, and open sealed."""
    study, champions = played.config.study, campaign.champions()
    base, best = champions[0], champions[-1]
    if best.digest != base.digest:
        if study.final_replicates:
            number = study.generations + 1
            draft = make_draft("final", number, 0, best.plan.recipe, parent=best, beside=base)
            confirm(played, campaign, record(played, campaign, draft))
        _open_sealed(played, campaign, base, best)


def _open_sealed(played: Played, campaign: Campaign, base: Planned, best: Planned) -> None:
    """Open sealed for a champion: fresh pairs beside the baseline."""
    objective, pairs = played.config.objective, played.config.study.final_replicates
    number = played.config.study.generations + 1
    draft = make_draft("unseal", number, 1, best.plan.recipe, parent=best, beside=base)
    opening = record(played, campaign, draft)
    own, beside = list[float](), list[float]()
    for index in range(pairs or OPENING_PAIRS):
        sides = [
            measure(played, Replicate(planned=opening, index=index, champion=champion), "sealed")
            for champion in (False, True)
        ]
        if sides[0] and sides[1]:
            own.append(primary(objective, sides[0]))
            beside.append(primary(objective, sides[1]))
    whole = len(own) == (pairs or OPENING_PAIRS)
    played.known.openings[opening.digest] = OpeningEntry(
        plan=opening.digest,
        champion=best.digest,
        metric=objective.metric,
        gain=float(np.mean(own) - np.mean(beside)) if whole else None,
        low=None,
        high=None,
        replicates=len(own),
        of=pairs or OPENING_PAIRS,
        champion_mean=-float(np.mean(own)) if own else None,
        baseline_mean=-float(np.mean(beside)) if own else None,
        spread=None,
        computable=False,
    )
