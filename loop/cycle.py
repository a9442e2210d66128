"""A generation, always the same way: propose, pass the gate, screen, confirm, promote.

`generation` is the picture of the README as code. `run_campaign` goes round it from the baseline to
the closing looks. A killed campaign goes on where it stood.
"""

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass

from configs.arms import CELLS, LARGER, START
from configs.build import need, parse, strict_json
from configs.entries import CampaignEndEntry, ChampionEntry, UsedUpEntry
from configs.errors import BadInput, Denied
from configs.objective import Objective
from configs.recipe import grid
from configs.records import Proposal, Purpose, Scores
from evals.metrics import primary, round_primary
from loop.campaign import Campaign, passes_gate, request_decision, request_decisions
from loop.facts.facts import Invalid
from loop.measure.confirm import confirm
from loop.measure.jobs import Replicate
from loop.measure.replicate import measure
from loop.plan import Draft, Planned, apply_proposal
from loop.propose.ask import UsedUp, ask
from loop.propose.history import write_notebook
from loop.propose.skill import measure_skill
from loop.propose.view import draw

CLOSING: dict[Purpose, str] = {
    "final": "closing look",
    "larger": f"closing look at {LARGER} times the planned compute",
}
"""Closing looks of a campaign, in order: purpose -> hypothesis of its plan."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Screened:
    """A plan and its score on feedback, None after a failed training."""

    planned: Planned
    scores: Scores | None


def run_campaign(campaign: Campaign) -> None:
    """Run an arm of a single repeat: baseline, generations, closing looks."""
    if campaign.arm == START:
        run_start_trial(campaign)
        return
    run_baseline(campaign)
    for number in range(campaign.reached(), campaign.shape()[0] + 1):
        if campaign.key in campaign.facts().spent or not campaign.affords(number):
            break
        generation(campaign, number)
    close(campaign)


def generation(campaign: Campaign, number: int) -> None:
    """Run a generation: propose, pass the gate, screen, confirm the best, promote."""
    plans = propose(campaign, number)
    request_decisions(campaign, plans)
    screened = [screen(campaign, plan) for plan in plans if passes_gate(campaign, plan)]
    best = choose(screened, campaign.running.config.objective)
    accepted = best and confirm(campaign, best).answer == "accept"
    if best and accepted and passes_gate(campaign, best, "promote"):
        promote(campaign, best)
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
    parent, text = campaign.parent(), ""
    try:
        text, asked = ask(campaign, number, index)
        proposal = parse(Proposal, strict_json(text))
        files = campaign.running.store.get_bundle(parent.plan.bundle)
        change = apply_proposal(parent.plan.recipe, files, proposal)
        share, task = change.recipe.notebook, campaign.running.config.task
        need(task.notebook or not share, "knobs.notebook", share, "0 in a study without a notebook")
    except UsedUp as error:
        entry = UsedUpEntry(arm=campaign.arm, repeat=campaign.repeat, reason=str(error)[:300])
        campaign.running.ledger.append(entry)
        return None
    except BadInput as error:
        campaign.record_invalid(number, index, error, text or getattr(error, "text", ""))
        return None
    draft = Draft(
        generation=number,
        index=index,
        purpose="candidate",
        parent=parent.digest,
        parent_recipe=parent.plan.recipe,
        change_class=change.change_class,
        recipe=change.recipe,
        bundle=campaign.store_bundle(change.files),
        reference=(parent.plan.bundle, parent.plan.recipe),
        proposal=proposal,
        notebook=write_notebook(campaign),
        asked=asked,
        text=campaign.store_text(text),
    )
    return campaign.record(draft)


def screen(campaign: Campaign, planned: Planned) -> Screened:
    """Train a replicate and score it on feedback, with a counted look."""
    campaign.look("feedback", planned)
    replicate = Replicate(planned=planned, index=0)
    scores = measure(campaign.running, replicate, "feedback", campaign.cpu)
    return Screened(planned=planned, scores=scores)


def choose(screened: Sequence[Screened], objective: Objective) -> Planned | None:
    """Return the plan to confirm, or None without any screening score.

    The best primary metric on feedback wins; then fewer weights; then the earlier proposal.
    """
    rows = [
        (primary(objective, row.scores), -row.scores.parameters, -row.planned.plan.index, row)
        for row in screened
        if row.scores is not None
    ]
    finite = [row for row in rows if math.isfinite(row[0])]
    return max(finite, key=lambda row: row[:3])[3].planned if finite else None


def promote(campaign: Campaign, planned: Planned) -> None:
    """Make a plan the champion, once."""
    if planned.digest not in campaign.facts().champions.get(campaign.key, []):
        entry = ChampionEntry(
            arm=campaign.arm,
            repeat=campaign.repeat,
            plan=planned.digest,
            generation=planned.plan.generation,
        )
        campaign.running.ledger.append(entry)


def run_start_trial(campaign: Campaign) -> None:
    """Run a trial of the notebook shared by all arms: a uniform draw from the grid."""
    config = campaign.running.config
    rng = random.Random(f"{config.study.seed}:{START}:{campaign.repeat}")
    base = config.task.baseline
    draft = Draft(
        generation=0,
        index=0,
        purpose="start",
        parent_recipe=base,
        recipe=draw(rng, base, grid(config.task.notebook)),
        bundle=campaign.pristine_bundle(),
        proposal=Proposal(
            hypothesis="uniform draw for the notebook that every arm starts from", knobs={}
        ),
        notebook=write_notebook(campaign),
    )
    planned = campaign.record(draft)
    request_decision(campaign, planned)
    if passes_gate(campaign, planned):
        screen(campaign, planned)


def run_baseline(campaign: Campaign) -> None:
    """Run generation 0: the unchanged recipe given by people is the first champion."""
    draft = Draft(
        generation=0,
        index=0,
        purpose="baseline",
        recipe=campaign.running.config.task.baseline,
        bundle=campaign.pristine_bundle(),
        proposal=Proposal(hypothesis="the recipe that people gave", knobs={}),
        notebook=write_notebook(campaign),
    )
    planned = campaign.record(draft)
    if not passes_gate(campaign, planned):
        refused = campaign.running.gate.refresh().refused[planned.digest, "recipe"]
        raise Denied(f"without a baseline nothing can be proposed: {refused}")
    screen(campaign, planned)
    if not campaign.champions():
        promote(campaign, planned)


def close(campaign: Campaign) -> None:
    """Take the study's own looks at a campaign's end, then measure its last weights' skill.

    A closing look measures the last champion against the baseline on fresh seeds.
    """
    study = campaign.running.config.study
    counts = {"final": study.final_replicates, "larger": study.larger_replicates}
    for number, purpose in enumerate(CLOSING, 1):
        if counts[purpose] and campaign.champions()[-1] != campaign.champions()[0]:
            look_once_more(campaign, purpose, study.generations + number)
    if campaign.arm == "self" and study.skill_proposals:
        for number, cell in enumerate(CELLS):
            measure_skill(campaign, study.skill_generation(number), cell)
    if campaign.key not in campaign.facts().ended:
        entry = CampaignEndEntry(arm=campaign.arm, repeat=campaign.repeat)
        campaign.running.ledger.append(entry)


def look_once_more(campaign: Campaign, purpose: Purpose, number: int) -> None:
    """Measure the last champion against the baseline under generation `number`."""
    best, base = campaign.champions()[-1], campaign.champions()[0]
    draft = Draft(
        generation=number,
        index=0,
        purpose=purpose,
        parent=best.digest,
        recipe=best.plan.recipe,
        bundle=best.plan.bundle,
        reference=(base.plan.bundle, base.plan.recipe),
        proposal=Proposal(hypothesis=CLOSING[purpose], knobs={}),
        notebook=best.plan.notebook,
    )
    planned = campaign.record(draft)
    if passes_gate(campaign, planned):
        confirm(campaign, planned)


def describe(campaign: Campaign, best: Planned | None) -> str:
    """Return a line on a generation for people: rounded feedback and the verdict."""
    if best is None:
        return "no candidate finished its training"
    facts = campaign.facts()
    scores, verdict = facts.scores[best.digest, "predict", 0], facts.verdicts[best.digest]
    shown = round_primary(campaign.running.config.objective, scores) if scores else "-"
    text = f"best candidate {best.digest[:8]} has {shown} on feedback; {verdict.answer}"
    if verdict.hidden is None:
        return text
    return (
        f"{text} (by a rule that also accepts {verdict.hidden:.0%} of those that hide a failure in"
        " ten runs)"
    )
