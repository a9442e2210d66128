"""Gains that a run recorded: of plans, of campaigns, of the champions' proposers.

Every gain is paired: candidate minus champion on one training seed, averaged over seeds.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from configs.arms import CELLS, variant
from configs.objective import Objective
from configs.recipe import Recipe
from configs.records import CONFIRM, Scores
from evals.amplify import Skill
from evals.arms import Gain
from evals.metrics import floor, primary
from loop.facts.places import Invalid
from loop.instruments.run import Run

KINDS = {
    "self": (True, True, False),
    "refit": (False, True, False),
    "frozen": (False, False, False),
    "scrambled": (True, True, True),
}
"""Cell of the skill measure -> whether its recipe, its history are the last ones, and whether its
history is scrambled.
"""


def read_gains(run: Run) -> Iterator[Gain]:
    """Yield the gain of every campaign after each of its generations; none before the study's end.

    A campaign's gain is the sum of its accepted plans' corrected gains. Its last generation stands
    with the closing look, on fresh seeds.
    """
    for arm, repeat in run.campaigns if run.facts.closed else ():
        yield from _campaign_gains(run, arm, repeat)


def _campaign_gains(run: Run, arm: str, repeat: int) -> Iterator[Gain]:
    allotted = run.config.study.allowance(arm) * run.config.compute(arm)
    champions = set(run.facts.champions[arm, repeat])
    last = run.last_generation(arm, repeat)
    spent = run.planned_us.get((arm, repeat, 0), 0)
    total = 0.0
    for generation in range(1, last + 1):
        spent += run.planned_us.get((arm, repeat, generation), 0)
        candidates = run.candidates.get((arm, repeat, generation), ())
        accepted = [correct_gain(run, digest) for digest in candidates if digest in champions]
        if variant(arm).carry:
            total = total + math.fsum(accepted)
        elif accepted:
            # Each generation starts from the baseline, so an accept replaces the last one.
            total = accepted[-1]
        value = total if generation < last else closing_gain(run, arm, repeat, run.unbounded)
        yield Gain(
            arm=arm,
            repeat=run.base + repeat,
            generation=generation,
            planned_cpu_us=spent,
            value=value,
            allotted_cpu_us=allotted,
        )


def correct_gain(run: Run, digest: str) -> float:
    """Return a plan's gain on the unbounded scale without the winner's curse.

    The verdict corrected the gain in the objective's unit; this gain moves by as much. For a share
    the correction is turned into log-odds by their slope, 1 / (p (1 - p)) at the mean share p.
    """
    verdict = run.facts.verdicts[digest]
    gain = pair_gain(run, digest, run.unbounded)
    if verdict.corrected is None or verdict.gain is None:
        return gain
    shift = verdict.corrected - verdict.gain
    if not shift or run.unbounded == run.config.objective:
        return gain + shift
    scores = [s for side in pair_scores(run, digest).values() for s in side.values()]
    mean = mean_score(run, scores)
    share = mean if run.config.objective.direction == "up" else -mean
    least = 0.5 / scores[0].items
    p = min(max(share, least), 1 - least)
    return gain + shift / (p * (1 - p))


def pair_gain(run: Run, digest: str, objective: Objective) -> float:
    """Return the mean paired gain of a plan's replicates on confirm; NaN without any."""
    sides = pair_scores(run, digest)
    candidate, champion = sides["predict"], sides["champion-predict"]
    gains = [
        primary(objective, candidate[i]) - primary(objective, champion[i])
        for i in candidate.keys() & champion.keys()
    ]
    return sum(gains) / len(gains) if gains else math.nan


def pair_scores(run: Run, digest: str) -> dict[str, dict[int, Scores]]:
    """Return a plan's scores on confirm: role -> number of the pair -> scores."""
    sides: dict[str, dict[int, Scores]] = {"predict": {}, "champion-predict": {}}
    screened = run.facts.plans[digest].purpose == "candidate"
    for role, index, scores in run.scores_of.get(digest, ()):
        if scores.split == CONFIRM and role in sides:
            # A candidate's first prediction is its screening, so its pairs begin at index 1.
            sides[role][index - (role == "predict" and screened)] = scores
    return sides


def read_luck(run: Run, arm: str) -> Iterator[tuple[int, float, float, float]]:
    """Yield the repeat of each plan with pairs, and the sums of squares for `shared_luck`."""
    for digest in run.scores_of:
        plan = run.facts.plans[digest]
        if plan.arm != arm or plan.reference_recipe in (None, plan.recipe):
            continue
        sides = pair_scores(run, digest)
        both = sorted(sides["predict"].keys() & sides["champion-predict"].keys())
        if len(both) < 2:
            continue
        own, other = (
            np.array([primary(run.unbounded, side[i]) for i in both]) for side in sides.values()
        )
        own, other = own - own.mean(), other - other.mean()
        yield run.base + plan.repeat, float(own @ own), float(other @ other), float(own @ other)


def closing_gain(
    run: Run, arm: str, repeat: int, objective: Objective, purpose: str = "final"
) -> float:
    """Return the champion's gain over the baseline in a closing look.

    It is 0 while the baseline is champion, and NaN without such a look.
    """
    if not run.has_new_champion(arm, repeat):
        return 0.0
    final = run.finals.get((arm, repeat, purpose))
    return pair_gain(run, final, objective) if final else math.nan


def baseline_level(run: Run, arm: str, repeat: int, parent: Recipe | None = None) -> float:
    """Return the baseline's mean score beside plans of a campaign, on confirm and unbounded.

    `parent` stands in for the baseline. NaN where the campaign confirmed nothing against it.
    """
    baseline = run.facts.champions[arm, repeat][0]
    recipe = parent or run.facts.plans[baseline].recipe
    scores = [
        score
        for digest in run.scores_of
        if (plan := run.facts.plans[digest]).arm == arm
        and plan.repeat == repeat
        and plan.reference_recipe == recipe
        and plan.purpose in ("candidate", "final", "skill")
        for score in pair_scores(run, digest)["champion-predict"].values()
    ]
    return _level(run, scores)


def longer_gain(run: Run, arm: str, repeat: int) -> tuple[float, float]:
    """Return what a campaign's last champion, and its baseline, gain by four times the compute.

    It is the level in the larger closing look less that in the closing look, unbounded; NaN where
    either is missing.
    """
    names = [run.finals.get((arm, repeat, purpose)) for purpose in ("larger", "final")]
    more, once = (pair_scores(run, name) if name else {} for name in names)
    sides = ("predict", "champion-predict")
    levels = [[_level(run, [*look.get(s, {}).values()]) for s in sides] for look in (more, once)]
    return levels[0][0] - levels[1][0], levels[0][1] - levels[1][1]


def _level(run: Run, scores: Sequence[Scores]) -> float:
    values = [primary(run.unbounded, score) for score in scores]
    return math.fsum(values) / len(values) if values else math.nan


def mean_score(run: Run, scores: Sequence[Scores]) -> float:
    """Return the mean raw score; NaN without any."""
    raw = replace(run.config.objective, scale="raw")
    return math.fsum(primary(raw, s) for s in scores) / len(scores) if scores else math.nan


def read_tops(run: Run, arm: str) -> Iterator[float]:
    """Yield the last champions' mean raw scores in the closing look."""
    for (other, _, purpose), digest in run.finals.items():
        if (other, purpose) == (arm, "final"):
            top = mean_score(run, list(pair_scores(run, digest)["predict"].values()))
            if math.isfinite(top):
                yield top


def read_skills(run: Run, arm: str = "self") -> Iterator[Skill]:
    """Yield Q of every measured cell of an arm: the mean paired gain of its proposals on confirm.

    An unusable proposal counts with the objective's floor less its parent's score, and so does one
    with a failed job. A proposal that reviewers refused says nothing about the weights and is left
    out.
    """
    last = run.config.study.generations
    for _, repeat, cell in list_cells(run, arm):
        recipe, history, scrambled = KINDS[cell]
        worths = [
            worth
            for proposals in read_asks(run, arm, repeat, cell)
            for worth in list_worths(run, arm, repeat, proposals)
        ]
        known = [worth for worth in worths if math.isfinite(worth)]
        yield Skill(
            repeat=run.base + repeat,
            recipe=last * recipe,
            history=last * history,
            scrambled=scrambled,
            value=math.fsum(known) / len(known) if known else math.nan,
        )


def list_cells(run: Run, arm: str = "self") -> Iterator[tuple[str, int, str]]:
    """Yield (arm, repeat, cell) of every cell of an arm's skill that proposals were written for."""
    cells = dict[tuple[str, int, str], None]()
    for (own, repeat, generation), propose_plan in run.facts.asks.items():
        number = generation - run.config.study.skill_generation(0)
        if own == arm and number >= 0 and (propose_plan, "propose", 0) in run.facts.results:
            cells[arm, repeat, list(CELLS)[number // run.config.study.asks()]] = None
    yield from cells


def read_asks(run: Run, arm: str, repeat: int, cell: str) -> Iterator[list[str | Invalid | None]]:
    """Yield the proposals of each ask of a cell that was answered."""
    yield from read_asks_at(run, arm, repeat, list(CELLS).index(cell))


def read_asks_at(
    run: Run, arm: str, repeat: int, number: int
) -> Iterator[list[str | Invalid | None]]:
    """Yield the proposals of each ask of a cell, by its number, that was answered."""
    study = run.config.study
    for ask in range(study.asks()):
        generation = study.skill_generation(number, ask)
        propose_plan = run.facts.asks.get((arm, repeat, generation), "")
        if (propose_plan, "propose", 0) in run.facts.results:
            places = range(study.skill_proposals)
            yield [run.facts.at.get((arm, repeat, generation, index)) for index in places]


def list_worths(
    run: Run, arm: str, repeat: int, proposals: Sequence[str | Invalid | None]
) -> list[float]:
    """Return what each proposal of an ask gained over the ask's parent."""
    lost = math.nan
    if any(is_unusable(run, one) for one in proposals):
        lost = _floor_gain(run, arm, repeat, proposals)
    return [
        pair_gain(run, one, run.unbounded)
        if isinstance(one, str) and not is_unusable(run, one)
        else lost
        for one in proposals
    ]


def is_unusable(run: Run, proposal: str | Invalid | None) -> bool:
    """Tell whether a proposal that measures skill is invalid, missing, or has a failed job."""
    if not isinstance(proposal, str):
        return True
    results = [run.facts.results.get((proposal, role, 0)) for role in ("train", "predict")]
    return any(result and result[0].status != "ok" for result in results)


def _floor_gain(
    run: Run, arm: str, repeat: int, proposals: Sequence[str | Invalid | None]
) -> float:
    """Return the floor less the parent's mean score on confirm; NaN without either.

    Without a score of the parent, the baseline's stands for it: on confirm, else on feedback.
    """
    screened = run.facts.scores.get((run.facts.champions[arm, repeat][0], "predict", 0))
    if screened is None:
        return math.nan
    parents = [run.facts.plans[one].reference_recipe for one in proposals if isinstance(one, str)]
    level = baseline_level(run, arm, repeat, parents[0] if parents else None)
    if math.isnan(level):
        level = baseline_level(run, arm, repeat)
    if math.isnan(level):
        level = primary(run.unbounded, screened)
    return floor(run.unbounded, screened.items) - level
