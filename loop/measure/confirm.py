"""Confirm a plan on held-out data: fresh replicates of it and of the champion, paired; a verdict.

The acceptance rule decides after each pair whether another is needed. A closing look estimates, and
takes all its pairs.
"""

from collections.abc import Sequence

from configs.arms import AT_LARGER
from configs.entries import Fact, ScoreEntry, VerdictEntry
from configs.records import CONFIRM, Scores, Verdict
from evals.judge import judge
from loop.campaign import Campaign
from loop.measure.jobs import Replicate
from loop.measure.replicate import compute_ratio, draw_data, measure, score_once
from loop.measure.side_by_side import Act, side_by_side
from loop.plan import Planned
from loop.study.running import Running

Pairs = tuple[list[Scores | None], list[Scores | None]]
"""Scores of the plan and of the champion beside it, pair by pair; None for a failed replicate."""


def confirm(campaign: Campaign, planned: Planned) -> Verdict:
    """Return the verdict on a plan, measured once with a counted look."""
    recorded = campaign.facts().verdicts.get(planned.digest)
    if recorded is not None:
        return recorded
    first = _pair(planned, 0)[0]
    campaign.look(CONFIRM, planned, draw_data(campaign.running, first))
    return _judge_pairs(campaign, planned)


def _judge_pairs(campaign: Campaign, planned: Planned) -> Verdict:
    running, level = campaign.running, campaign.level(planned.plan)
    estimates, limit = planned.plan.purpose != "candidate", _most_pairs(campaign, planned)
    pairs: Pairs = ([], [])
    while True:
        # An estimate takes all its pairs, so they run side by side and each records its own score.
        act, more = (measure, limit) if estimates else (score_once, 1)
        scores = _measure_pairs(campaign, planned, pairs, act, more)
        verdict = judge(
            *pairs,
            running.config.objective_of(campaign.arm),
            level=level,
            seed_deviation=running.config.deviation(),
            compute=compute_ratio(running, planned),
            most=limit,
            effect=campaign.effect(planned.plan),
        )
        if verdict.answer != "continue":
            _record(running, [*scores, VerdictEntry(plan=planned.digest, verdict=verdict)])
            return verdict
        _record(running, scores)


def _measure_pairs(
    campaign: Campaign,
    planned: Planned,
    pairs: Pairs,
    act: Act[ScoreEntry | Scores | None],
    more: int,
) -> list[ScoreEntry]:
    """Add the scores of so many more pairs; return those to be recorded."""
    numbers = range(len(pairs[0]), len(pairs[0]) + more)
    replicates = [replicate for number in numbers for replicate in _pair(planned, number)]
    entries = list[ScoreEntry]()
    for place, score in enumerate(side_by_side(campaign, act, replicates, CONFIRM)):
        if isinstance(score, ScoreEntry):
            entries.append(score)
            score = score.scores
        pairs[place % 2].append(score)
    return entries


def _record(running: Running, facts: Sequence[Fact]) -> None:
    """Record the facts of a pair together: they came about with its last job."""
    if facts:
        with running.ledger.transaction() as txn:
            txn.extend(facts)


def _pair(planned: Planned, index: int) -> tuple[Replicate, Replicate]:
    """Return a pair of replicates: the plan's own and the champion beside it, with one seed."""
    # Replicate 0 of a candidate was its screening; its seed never confirms.
    first = 1 if planned.plan.purpose == "candidate" else 0
    own = Replicate(planned=planned, index=index + first)
    champion = Replicate(planned=planned, index=index, champion=True)
    return own, champion


def _most_pairs(campaign: Campaign, planned: Planned) -> int:
    """Return the highest number of pairs for a confirmation of this purpose."""
    study = campaign.running.config.study
    if planned.plan.purpose in AT_LARGER:
        return study.larger_replicates
    closing = planned.plan.purpose in ("final", "reference") and study.final_replicates
    return closing or study.replicates(campaign.arm)
