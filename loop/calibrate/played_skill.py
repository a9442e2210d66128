"""Proposals of a study that is played in memory, measures of its skill, and selections by it.

The steps of loop/propose/question.py stand here once more, without gates, boxes and ledger. The
parents, skills, placebo and choice are the loop's own functions. A program stands in for the
weights (reader.py).
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import replace

from configs.arms import CELLS, Reading, variant
from configs.build import parse, strict_json
from configs.entries import Contender, SelectionEntry
from configs.errors import BadInput
from configs.history import History
from configs.recipe import Recipe
from configs.records import CONFIRM, JobCount, Plan, Proposal, Purpose, Split
from loop.calibrate.played import PLAYED, Played, make_draft, make_result, measure, record
from loop.calibrate.reader import MOST_DRAFTS, write_proposals
from loop.campaign import Campaign
from loop.facts.places import SELECTING, Invalid
from loop.measure.jobs import Replicate
from loop.plan import Planned, apply_proposal
from loop.propose import selection
from loop.propose.ask import pick_line
from loop.propose.history import list_trials, select_trials
from loop.propose.limit import need_near
from loop.propose.skill import SPLITS_OF, list_parents, list_tried


def pick_lines_of(lines: list[str], count: int) -> Iterator[str | BadInput]:
    """Yield the text of each proposal, or the error in its place."""
    for index in range(count):
        try:
            yield pick_line(lines, index)
        except BadInput as error:
            yield error


def count_drafts(played: Played, campaign: Campaign, reader: Planned) -> int:
    """Return the drafts of a reading: by the reader's recipe where a world says so, or doubled by
    every accepted change where recipes learn.
    """
    if played.reads:
        return played.reads(reader.plan.recipe)
    if not played.learns:
        return MOST_DRAFTS
    newer = played.known.champions[campaign.key].index(reader.digest)
    return min(MOST_DRAFTS, 2 << newer)


def record_reading(
    played: Played, campaign: Campaign, reader: Planned, number: int, index: int = 0
) -> Planned:
    """Record that a reader reads the notebook, charged one training of planned compute."""
    jobs = (JobCount(role="propose", count=1),)
    draft = make_draft("propose", number, index, reader.plan.recipe, parent=reader, jobs=jobs)
    asking, config, known = record(played, campaign, draft), played.config, played.known
    if index:
        known.selecting.add(asking.plan, asking.digest)
        known.granted.add(asking.digest)
    else:
        known.asks[*campaign.key, number] = asking.digest
    result = make_result(config.compute(campaign.arm), 0, "ok", "read the notebook")
    known.results[asking.digest, "propose", 0] = result, 0
    if number <= config.study.generations:
        known.trainings[campaign.key][number] += 1
    return asking


def record_proposal(
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
    selects = index >= SELECTING
    try:
        if isinstance(text, BadInput):
            raise text
        made = parse(Proposal, strict_json(text))
        recipe = apply_proposal(before, {}, made, variant(campaign.arm).reseeds).recipe
        need_near(campaign.limit(), (before, ""), (recipe, ""))
    except BadInput as error:
        at = played.known.selecting.at if selects else played.known.at
        at[*campaign.key, number, index] = Invalid(reason=str(error)[:300])
        return None
    purpose: Purpose = "select" if selects else "skill" if asked else "candidate"
    draft = make_draft(purpose, number, index, recipe, parent=parent, beside=parent, proposal=made)
    return record(played, campaign, replace(draft, reference=(PLAYED, before)))


def measure_skill(played: Played, campaign: Campaign, cell: str) -> None:
    """Measure a cell as loop/propose/skill.py does: proposals on each parent, a pair for each."""
    study, champions, arm = played.config.study, campaign.champions(), CELLS[cell]
    reader = champions[0 if arm.weights == "first" else -1]
    written = list[Plan]()
    for ask, parent in enumerate(list_parents(campaign, "measure")):
        generation = study.skill_generation(list(CELLS).index(cell), ask)
        record_reading(played, campaign, reader, generation)
        tried = (*list_tried(played.known, campaign.repeat), *written)
        barred = tried if study.skill_parents else ()
        place, name = (generation, 0), f"{cell}:{campaign.repeat}:{generation}"
        written += _answer(
            played, campaign, reader, place, parent, arm.history, barred, name, CONFIRM
        )


def select(
    played: Played, campaign: Campaign, generation: int, able: Sequence[Planned]
) -> Planned | None:
    """Return the successor of a selection as loop/propose/selection.py does; None: no new one."""
    if not able:
        return None
    known, config, key = played.known, played.config, campaign.key
    contenders, secret = [campaign.champions()[-1], *able], played.of(campaign.repeat).secret
    parents = selection.list_parents(config, known, secret, key, generation)
    tried = tuple(selection.list_tried(known, key, generation))
    for number, contender in enumerate(contenders):
        for ask, parent in enumerate(parents):
            index = SELECTING + number * selection.rule(config).asks + ask
            record_reading(played, campaign, contender, generation, index)
            place = generation, selection.place(config, number, ask)
            history, split = variant(campaign.arm).history, SPLITS_OF["select"]
            name = f"{campaign.arm}:{campaign.repeat}:{generation}:{index}"
            _answer(played, campaign, contender, place, parent, history, tried, name, split)
    skills = [
        selection.read_skill(config, known, key, generation, number)
        for number in range(len(contenders))
    ]
    counted = selection.count(campaign.arm, secret, generation, skills)
    best = contenders[selection.find_best(counted)]
    rows = zip(contenders, skills, counted, strict=True)
    known.selecting.chosen[*key, generation] = SelectionEntry(
        arm=campaign.arm,
        repeat=campaign.repeat,
        generation=generation,
        contenders=tuple(Contender(plan=p.digest, skill=s, counted=c) for p, s, c in rows),
        chosen=best.digest,
    )
    return None if best == contenders[0] else best


def _answer(
    played: Played,
    campaign: Campaign,
    reader: Planned,
    place: tuple[int, int],
    parent: Recipe,
    reading: Reading,
    barred: Sequence[Plan],
    name: str,
    split: Split,
) -> list[Plan]:
    """Let a reader propose on a parent, and measure each proposal; return their plans.

    `place` is the generation of the plans, and the index of the first.
    """
    study, base = played.config.study, campaign.champions()[0]
    trials = select_trials(campaign, list_trials(campaign), reading)
    history = History(
        champion=parent,
        champion_source=PLAYED,
        champion_score=None,
        trials=tuple(trials.values()),
        barred=tuple(dict.fromkeys(plan.recipe for plan in barred)),
        count=study.skill_proposals,
        grid=played.config.task.choices(),
        most_changes=campaign.limit(),
    )
    rng, written = random.Random(f"{study.seed}:{name}"), list[Plan]()
    lines = write_proposals(history, rng, count_drafts(played, campaign, reader))
    for number, text in enumerate(pick_lines_of(lines, study.skill_proposals)):
        index = place[1] + number
        planned = record_proposal(played, campaign, place[0], index, base, text, parent)
        if planned:
            played.known.granted.add(planned.digest)
            written.append(planned.plan)
            for champion in (False, True):
                measure(played, Replicate(planned=planned, index=0, champion=champion), split)
    return written
