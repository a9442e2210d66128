"""Choose a champion on proposing skill: the arms `self_skill` and `skill_placebo`.

In a generation that `objective.skill` names, the champion and the candidates that are not inferior
on the task contend. Weights are trained anew by the recipe of each, read the campaign's history,
and propose on parents drawn by the repeat's secret from the half of the grid that never measures.
The highest mean gain on feedback wins. What was looked at so enters no history, and is no result:
it was chosen for being high.
"""

import hmac
import math
from collections.abc import Iterable, Iterator, Sequence
from functools import partial

from configs.arms import START, variant
from configs.entries import Contender, SelectionEntry
from configs.objective import Selection
from configs.recipe import Recipe
from configs.records import Plan
from configs.settings.config import Config
from evals.metrics import floor, primary
from loop.campaign import Campaign
from loop.facts.facts import Facts
from loop.facts.places import SELECTING, Invalid
from loop.facts.places import Campaign as Key
from loop.plan import Planned
from loop.propose.question import Question, measure_answers
from loop.propose.skill import SPLITS_OF, draw_parents, has_room


def select(campaign: Campaign, generation: int, able: Sequence[Planned]) -> Planned | None:
    """Return the successor that a selection chooses, recorded once; None: the champion stays.

    `able` are the candidates that are not inferior, the best on feedback first. Without any there
    is nothing to choose, and nobody is asked.
    """
    recorded = campaign.facts().selecting.chosen.get((*campaign.key, generation))
    if recorded is None:
        champion = campaign.champions()[-1]
        others = [one for one in able if one.digest != champion.digest]
        recorded = _hold(campaign, generation, [champion, *others]) if others else None
    if recorded is None or recorded.chosen == recorded.contenders[0].plan:
        return None
    return campaign.planned(recorded.chosen)


def _hold(campaign: Campaign, generation: int, contenders: Sequence[Planned]) -> SelectionEntry:
    """Ask every contender, choose, and record it."""
    config, secret = campaign.running.config, campaign.running.items.of(campaign.repeat).secret
    parents = list_parents(config, campaign.facts(), secret, campaign.key, generation)
    for number, contender in enumerate(contenders):
        for ask, parent in enumerate(parents):
            _ask(campaign, generation, number, ask, contender, parent)
    measured = [
        read_skill(config, campaign.facts(), campaign.key, generation, number)
        for number in range(len(contenders))
    ]
    counted = count(campaign.arm, secret, generation, measured)
    rows = zip(contenders, measured, counted, strict=True)
    entry = SelectionEntry(
        arm=campaign.arm,
        repeat=campaign.repeat,
        generation=generation,
        contenders=tuple(
            Contender(plan=one.digest, skill=skill, counted=shown) for one, skill, shown in rows
        ),
        chosen=contenders[find_best(counted)].digest,
    )
    campaign.running.ledger.append(entry)
    return entry


def _ask(
    campaign: Campaign,
    generation: int,
    number: int,
    ask: int,
    contender: Planned,
    parent: Recipe,
) -> None:
    config = campaign.running.config
    first = place(config, number, ask)
    question = Question(
        purpose="select",
        generation=generation,
        number=SELECTING + number * rule(config).asks + ask,
        first=first,
        asked=contender,
        history=variant(campaign.arm).history,
        parent=parent,
        hypothesis=(
            f"selects on proposing skill: contender {number + 1}, question {ask + 1} of"
            f" {rule(config).asks}"
        ),
    )
    barred = partial(_list_barred, campaign, generation, first)
    measure_answers(campaign, question, SPLITS_OF["select"], barred)


def rule(config: Config) -> Selection:
    """Return the settings of selections, which a study with such an arm has."""
    assert config.objective.skill is not None
    return config.objective.skill


def place(config: Config, contender: int, ask: int) -> int:
    """Return the index of the first proposal of a question."""
    return SELECTING + (contender * rule(config).asks + ask) * config.study.skill_proposals


def list_tried(facts: Facts, key: Key, generation: int) -> Iterator[Plan]:
    """Yield the trials that a campaign knows in a generation: of the start, and its own.

    Other arms run meanwhile, so what they tried depends on the hour and is left out.
    """
    for name in facts.proposed.get((START, key[1]), ()):
        yield facts.plans[name]
    for name in facts.proposed.get(key, ()):
        plan = facts.plans[name]
        if plan.purpose in ("baseline", "candidate") and plan.generation <= generation:
            yield plan


def _list_barred(campaign: Campaign, generation: int, first: int, number: int) -> Iterator[Plan]:
    """Yield what a proposal may not repeat: the trials, and the question's earlier proposals."""
    facts = campaign.facts()
    yield from list_tried(facts, campaign.key, generation)
    for index in range(first, first + number):
        recorded = facts.selecting.at.get((*campaign.key, generation, index))
        if isinstance(recorded, str):
            yield facts.plans[recorded]


def list_parents(
    config: Config, facts: Facts, secret: bytes, key: Key, generation: int
) -> list[Recipe]:
    """Return the parents of a selection's questions: the same for all contenders.

    They come from the half of the grid that selects, and each generation draws its own.
    """
    tried = (plan.recipe for plan in list_tried(facts, key, generation))
    room, occasion = has_room(config, key[0], tried), f":{generation}"
    return draw_parents(config.task, secret, "select", rule(config).asks, room, occasion)


def read_skill(
    config: Config, facts: Facts, key: Key, generation: int, contender: int
) -> float | None:
    """Return the mean gain of a contender's proposals over their parents, on feedback.

    In the objective's unit, larger is better. An unusable proposal counts with the objective's
    floor less its parent's score, and so does one that failed. What reviewers refused is left out.
    None without any gain.
    """
    gains = list[float]()
    for ask in range(rule(config).asks):
        asking = facts.selecting.asks.get(
            (*key, generation, SELECTING + contender * rule(config).asks + ask), ""
        )
        if asking not in facts.granted:
            continue
        first = place(config, contender, ask)
        indices = range(first, first + config.study.skill_proposals)
        answers = [facts.selecting.at.get((*key, generation, index)) for index in indices]
        gains += list_gains(config, facts, key, answers)
    known = [gain for gain in gains if math.isfinite(gain)]
    return math.fsum(known) / len(known) if known else None


def list_gains(
    config: Config, facts: Facts, key: Key, answers: Sequence[str | Invalid | None]
) -> Iterator[float]:
    """Yield what each answer to a question gained over its parent, on feedback.

    An unusable answer yields the objective's floor less the parent's score, and so does one that
    failed; what reviewers refused yields nothing.
    """
    level = _parent_level(config, facts, key, answers)
    for answer in answers:
        scores = [
            facts.scores.get((answer, role, 0)) if isinstance(answer, str) else None
            for role in ("predict", "champion-predict")
        ]
        if isinstance(answer, str) and answer not in facts.granted:
            continue
        if scores[0] and scores[1]:
            yield primary(config.objective, scores[0]) - primary(config.objective, scores[1])
        elif not isinstance(answer, str) or scores[0] is None:
            yield floor(config.objective, level[1]) - level[0]


def _parent_level(
    config: Config, facts: Facts, key: Key, answers: Iterable[str | Invalid | None]
) -> tuple[float, int]:
    """Return the mean score of a question's parent on feedback and the items behind it.

    The baseline's screening stands for a parent without a score.
    """
    own = [
        facts.scores.get((one, "champion-predict", 0)) for one in answers if isinstance(one, str)
    ]
    known = [scores for scores in own if scores]
    if not known:
        baseline = facts.scores.get((facts.champions[key][0], "predict", 0))
        known = [baseline] if baseline else []
    if not known:
        return math.nan, 1
    values = [primary(config.objective, scores) for scores in known]
    return math.fsum(values) / len(values), known[0].items


def count(
    arm: str, secret: bytes, generation: int, measured: Sequence[float | None]
) -> list[float | None]:
    """Return the skills that contenders are chosen by: their own, or permuted by the secret."""
    if variant(arm).selects != "placebo":
        return list(measured)

    def lot(number: int) -> bytes:
        name = f"placebo of skill:{generation}:{number}".encode()
        return hmac.digest(secret, name, "sha256")

    return [measured[number] for number in sorted(range(len(measured)), key=lot)]


def find_best(counted: Sequence[float | None]) -> int:
    """Return the contender with the highest skill, the earliest of equals; one without loses."""
    values = [-math.inf if one is None else one for one in counted]
    return max(range(len(values)), key=lambda number: (values[number], -number))
