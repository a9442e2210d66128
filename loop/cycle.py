"""A generation, always the same way: propose, pass the gate, screen, confirm, promote.

`generation` is the picture of the README as code; the other functions are its words. course.py goes
round it from the baseline to the closing looks.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from configs.arms import CONTENDERS
from configs.build import parse, strict_json
from configs.entries import ChampionEntry, UsedUpEntry
from configs.errors import BadInput
from configs.objective import Objective
from configs.records import Proposal, Scores
from evals.metrics import primary, round_primary
from loop.campaign import Campaign, passes_gate, request_decisions
from loop.facts.places import Invalid
from loop.measure.confirm import confirm
from loop.measure.jobs import Replicate
from loop.measure.replicate import draw_data, measure
from loop.plan import Planned
from loop.propose.ask import UsedUp, Written, ask
from loop.propose.draft import draft_of
from loop.propose.selection import select


@dataclass(frozen=True, slots=True, kw_only=True)
class Screened:
    """A plan and its score on feedback, None after a failed training."""

    planned: Planned
    scores: Scores | None


def generation(campaign: Campaign, number: int) -> None:
    """Run a generation: propose, pass the gate, screen, confirm the best, promote."""
    plans = propose(campaign, number)
    request_decisions(campaign, plans)
    allowed = (plan for plan in plans if passes_gate(campaign, plan))
    screened = campaign.share(partial(screen, planned=plan) for plan in allowed)
    ranked = rank(screened, campaign.running.config.objective)
    successor = find_successor(campaign, number, ranked)
    if successor and passes_gate(campaign, successor, "promote"):
        promote(campaign, successor)
    best = next(iter(ranked), None)
    campaign.say(f"{campaign.arm}, generation {number}: {describe(campaign, best)}")
    campaign.running.checkpoint()


def propose(campaign: Campaign, number: int) -> list[Planned]:
    """Ask for every proposal of a generation; return the plans, without the invalid proposals."""
    plans = [propose_one(campaign, number, index) for index in range(campaign.shape()[1])]
    return [planned for planned in plans if planned]


def propose_one(campaign: Campaign, number: int, index: int) -> Planned | None:
    """Ask for a single proposal and record its plan, or the reason for having no plan."""
    recorded = campaign.facts().at.get((*campaign.key, number, index))
    if recorded is not None:
        return None if isinstance(recorded, Invalid) else campaign.planned(recorded)
    if campaign.key in campaign.facts().spent:
        return None
    written = Written(text="")
    try:
        written = ask(campaign, number, index)
        proposal = parse(Proposal, strict_json(written.text))
        text, asked = written.text, written.asked
        draft = draft_of(campaign, (number, index), "candidate", proposal, text=text, asked=asked)
    except UsedUp as error:
        entry = UsedUpEntry(arm=campaign.arm, repeat=campaign.repeat, reason=str(error)[:300])
        campaign.running.ledger.append(entry)
        return None
    except BadInput as error:
        text = written.text or getattr(error, "text", "")
        campaign.record_invalid(number, index, error, text, written.charge)
        return None
    return campaign.record(draft, charge=written.charge)


def screen(campaign: Campaign, planned: Planned) -> Screened:
    """Train a replicate and score it on feedback, with a counted look."""
    replicate = Replicate(planned=planned, index=0)
    campaign.look("feedback", planned, draw_data(campaign.running, replicate))
    scores = measure(campaign.running, replicate, "feedback", campaign.cpu)
    return Screened(planned=planned, scores=scores)


def find_successor(campaign: Campaign, number: int, ranked: Sequence[Planned]) -> Planned | None:
    """Return the plan that the judge accepts, of the best on feedback; None: the champion stays.

    In a generation that selects on proposing skill the judge takes the best few, each of which must
    be not inferior; of these and the champion the best proposer is chosen.
    """
    selects = campaign.selects(number)
    judged = ranked[: CONTENDERS - 1 if selects else 1]
    able = [planned for planned in judged if confirm(campaign, planned).answer == "accept"]
    return select(campaign, number, able) if selects else next(iter(able), None)


def rank(screened: Sequence[Screened], objective: Objective) -> list[Planned]:
    """Return the plans with a screening score, in the order in which to confirm them.

    The best primary metric on feedback comes first; then fewer weights; then the earlier proposal.
    """
    rows = [
        (primary(objective, row.scores), -row.scores.parameters, -row.planned.plan.index, row)
        for row in screened
        if row.scores is not None
    ]
    finite = [row for row in rows if math.isfinite(row[0])]
    ordered = sorted(finite, key=lambda row: row[:3], reverse=True)
    return [row[3].planned for row in ordered]


def promote(campaign: Campaign, planned: Planned) -> None:
    """Make a plan the champion, once.

    A successor's yes stands in the same transaction, so a kill uses up no decision.
    """
    if planned.digest in campaign.facts().champions.get(campaign.key, []):
        return
    entry = ChampionEntry(
        arm=campaign.arm,
        repeat=campaign.repeat,
        plan=planned.digest,
        generation=planned.plan.generation,
    )
    gate = campaign.running.gate
    with campaign.running.ledger.transaction() as txn:
        gate.refresh(txn)
        if planned.plan.purpose != "baseline":
            gate.decide_within(txn, planned.digest, "promote")
        txn.append(entry)


def describe(campaign: Campaign, best: Planned | None) -> str:
    """Return a line on a generation for people: rounded feedback and the verdict."""
    if best is None:
        return "no candidate finished its training"
    facts = campaign.facts()
    scores, verdict = facts.scores[best.digest, "predict", 0], facts.verdicts[best.digest]
    objective = campaign.running.config.objective
    shown = objective.write_score(round_primary(objective, scores)) if scores else "-"
    text = f"best candidate {best.digest[:8]} has {shown} on feedback; {verdict.answer}"
    if verdict.hidden is None:
        return text
    return (
        f"{text} (by a rule that also accepts {verdict.hidden:.0%} of those that hide a failure in"
        " ten runs)"
    )
