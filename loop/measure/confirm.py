"""Confirm a plan on held-out data: fresh replicates of it and of the champion, paired; a verdict.

The acceptance rule decides after each pair whether another is needed. A closing look estimates, and
takes all its pairs.
"""

from configs.entries import VerdictEntry
from configs.records import CONFIRM, Scores, Verdict
from evals.judge import judge
from loop.campaign import Campaign
from loop.measure.jobs import Replicate
from loop.measure.replicate import compute_ratio, measure
from loop.plan import Planned

Pairs = tuple[list[Scores | None], list[Scores | None]]
"""Scores of the plan and of the champion beside it, pair by pair; None for a failed replicate."""


def confirm(campaign: Campaign, planned: Planned) -> Verdict:
    """Return the verdict on a plan, measured once with a counted look."""
    recorded = campaign.facts().verdicts.get(planned.digest)
    if recorded is not None:
        return recorded
    campaign.look(CONFIRM, planned)
    verdict = _judge_pairs(campaign, planned)
    campaign.running.ledger.append(VerdictEntry(plan=planned.digest, verdict=verdict))
    return verdict


def _judge_pairs(campaign: Campaign, planned: Planned) -> Verdict:
    running, level = campaign.running, campaign.level(planned.plan)
    estimates, limit = planned.plan.purpose != "candidate", _most_pairs(campaign, planned)
    pairs: Pairs = ([], [])
    while True:
        _measure_pair(campaign, planned, pairs)
        if estimates and len(pairs[0]) < limit:
            continue
        verdict = judge(
            *pairs,
            running.config.objective,
            level=level,
            seed_deviation=running.config.deviation(),
            compute=compute_ratio(running, planned),
            most=limit,
        )
        if verdict.answer != "continue":
            return verdict


def _measure_pair(campaign: Campaign, planned: Planned, pairs: Pairs) -> None:
    """Add the scores of the next pair with its shared seed."""
    index = len(pairs[0])
    # Replicate 0 of a candidate was its screening; its seed never confirms.
    first = 1 if planned.plan.purpose == "candidate" else 0
    own = Replicate(planned=planned, index=index + first)
    champion = Replicate(planned=planned, index=index, champion=True)
    for scores, replicate in zip(pairs, (own, champion), strict=True):
        scores.append(measure(campaign.running, replicate, CONFIRM, campaign.cpu))


def _most_pairs(campaign: Campaign, planned: Planned) -> int:
    """Return the highest number of pairs for a confirmation of this purpose."""
    study = campaign.running.config.study
    closing = {"final": study.final_replicates, "larger": study.larger_replicates}
    return closing.get(planned.plan.purpose) or study.replicates(campaign.arm)
