"""A study on a table, played in memory: the loop's campaigns without gates, boxes and ledger.

Example: `play_study(0, config, world)` gives what a ledger of the same study would give, in a
fiftieth of the time. Proposers, histories, seeds, dealt folds, judge, levels and choices are the
loop's own functions. Only the way through gate, box and record is left out, and the steps of
loop/cycle.py and course.py stand here once more; a test plays a study both ways.

Arms whose weights propose are played by a program that reads the notebook as weights would
(reader.py). Their reading is charged one training of planned compute.
"""

import random
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from configs.arms import CELLS, START, variant
from configs.build import parse, strict_json
from configs.entries import OpeningEntry
from configs.errors import BadInput, NoBaseline
from configs.history import History, Trial
from configs.recipe import Recipe
from configs.records import CONFIRM, JobCount, Proposal, Purpose
from configs.settings.config import Config
from evals.metrics import primary
from evals.table import World
from loop.calibrate.played import (
    PLAYED,
    Played,
    confirm,
    make_draft,
    make_result,
    measure,
    record,
    screen,
)
from loop.calibrate.reader import MOST_DRAFTS, write_proposals
from loop.campaign import Campaign
from loop.course import draw_start
from loop.cycle import choose
from loop.facts.facts import Invalid
from loop.instruments.run import Run
from loop.measure.jobs import Replicate
from loop.plan import Planned, apply_proposal
from loop.propose.ask import pick_line
from loop.propose.history import history_of, list_trials, select_trials
from loop.propose.limit import need_near
from loop.propose.skill import list_parents, list_tried
from loop.propose.table import proposer
from loop.propose.view import ProposerView
from loop.study.simulated import PROPOSE_US

OPENING_PAIRS = 4
"""Pairs of an opening of sealed in a study without closing looks."""


def play_study(
    number: int, config: Config, world: World, *, learns: bool = False, cautions: bool = True
) -> Run:
    """Return a whole study as the instruments read it, sealed opened for every champion.

    `number` tells it from other studies that are measured together. `learns` lets the newer recipe
    of arms `self` and `scrambled` read better. Raises BadInput for an arm that is neither a program
    nor of weights, NoBaseline for a baseline that fails.
    """
    played = Played(config=config, world=world, learns=learns, cautions=cautions)
    played.recipes.update({row.recipe: row.recipe for row in world.table.rows})
    for repeat in range(config.study.repeats):
        for trial in range(config.study.start_trials):
            _play_start(played, repeat, trial)
        for arm in config.arms():
            _play_campaign(played, arm, repeat)
        for arm in config.arms():
            for cell in CELLS if config.study.measures_skill(arm) else ():
                _measure_skill(played, played.campaign(arm, repeat), cell)
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
    best = choose([screen(played, planned) for planned in plans], played.config.objective)
    if best and confirm(played, campaign, best).answer == "accept":
        played.known.champions[campaign.key].append(best.digest)


# Proposals


def _propose(played: Played, campaign: Campaign, number: int) -> list[Planned]:
    """Return the plans of a generation; an invalid proposal leaves its reason."""
    plans, parent = list[Planned](), campaign.parent()
    for index, text in enumerate(_texts(played, campaign, number)):
        planned = _record_proposal(played, campaign, number, index, parent, text)
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
    _record_reading(played, campaign, best, number)
    rng = random.Random(f"{played.config.study.seed}:{campaign.arm}:{campaign.repeat}:{number}")
    lines = write_proposals(history_of(campaign, count), rng, _drafts(played, campaign, best))
    yield from _pick_lines(lines, count)


def _pick_lines(lines: list[str], count: int) -> Iterator[str | BadInput]:
    for index in range(count):
        try:
            yield pick_line(lines, index)
        except BadInput as error:
            yield error


def _drafts(played: Played, campaign: Campaign, reader: Planned) -> int:
    """Return the drafts of a reading: doubled by every accepted change, where recipes learn."""
    newer = played.known.champions[campaign.key].index(reader.digest)
    return min(MOST_DRAFTS, 2 ** (newer + 1)) if played.learns else MOST_DRAFTS


def _record_reading(played: Played, campaign: Campaign, reader: Planned, number: int) -> Planned:
    jobs = (JobCount(role="propose", count=1),)
    draft = make_draft("propose", number, 0, reader.plan.recipe, parent=reader, jobs=jobs)
    asking, config = record(played, campaign, draft), played.config
    played.known.asks[*campaign.key, number] = asking.digest
    result = make_result(config.compute(campaign.arm), 0, "ok", "read the notebook")
    played.known.results[asking.digest, "propose", 0] = result, 0
    if number <= config.study.generations:
        played.known.trainings[campaign.key][number] += 1
    return asking


def _record_proposal(
    played: Played,
    campaign: Campaign,
    number: int,
    index: int,
    parent: Planned,
    text: str | BadInput,
    asked: Recipe | None = None,
) -> Planned | None:
    """Record the plan of a proposal, or the reason for having none.

    A proposal that measures skill starts from the recipe `asked` about instead of the parent's.
    """
    before = asked or parent.plan.recipe
    try:
        if isinstance(text, BadInput):
            raise text
        made = parse(Proposal, strict_json(text))
        recipe = apply_proposal(before, {}, made, variant(campaign.arm).reseeds).recipe
        need_near(campaign.limit(), (before, ""), (recipe, ""))
    except BadInput as error:
        played.known.at[*campaign.key, number, index] = Invalid(reason=str(error)[:300])
        return None
    purpose: Purpose = "skill" if asked else "candidate"
    draft = make_draft(purpose, number, index, recipe, parent=parent, beside=parent, proposal=made)
    return record(played, campaign, replace(draft, reference=(PLAYED, before)))


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


def _measure_skill(played: Played, campaign: Campaign, cell: str) -> None:
    """Measure a cell as loop/propose/skill.py does: proposals on each parent, a pair for each."""
    study, champions, arm = played.config.study, campaign.champions(), CELLS[cell]
    reader = champions[0 if arm.weights == "first" else -1]
    written = list[Recipe]()
    for ask, parent in enumerate(list_parents(campaign, "measure")):
        generation = study.skill_generation(list(CELLS).index(cell), ask)
        _record_reading(played, campaign, reader, generation)
        trials = select_trials(campaign, list_trials(campaign), arm.history)
        tried = [plan.recipe for plan in list_tried(played.known, campaign.repeat)]
        barred = dict.fromkeys((*tried, *written)) if study.skill_parents else ()
        history = History(
            champion=parent,
            champion_source=PLAYED,
            champion_score=None,
            trials=tuple(trials.values()),
            barred=tuple(barred),
            count=study.skill_proposals,
            grid=played.config.task.choices(),
            most_changes=campaign.limit(),
        )
        rng = random.Random(f"{study.seed}:{cell}:{campaign.repeat}:{generation}")
        lines = write_proposals(history, rng, _drafts(played, campaign, reader))
        for index, text in enumerate(_pick_lines(lines, study.skill_proposals)):
            planned = _record_proposal(
                played, campaign, generation, index, champions[0], text, parent
            )
            if planned:
                written.append(planned.plan.recipe)
                for champion in (False, True):
                    measure(played, Replicate(planned=planned, index=0, champion=champion), CONFIRM)
