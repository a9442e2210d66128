"""The course of a campaign: baseline, generations, closing looks.

A killed campaign goes on where it stood. Begin with `run_campaign`.
"""

import random

from configs.arms import LARGER, MORE, REFERENCE, START, variant
from configs.entries import CampaignEndEntry
from configs.errors import Denied, NoBaseline
from configs.recipe import Recipe
from configs.records import Proposal, Purpose
from configs.settings.accord import last_round
from configs.settings.config import Config
from loop.campaign import Campaign, passes_gate, request_decision
from loop.cycle import generation, promote, screen
from loop.factory.line import run_line
from loop.measure.confirm import confirm
from loop.plan import Draft, Planned
from loop.propose.ablation import take_back_changes
from loop.propose.history import write_notebook
from loop.propose.programs.archive import compare_with_first, grow_archive
from loop.propose.skill import measure_skill
from loop.propose.view import draw
from loop.study.faults import befall

CLOSING: dict[Purpose, str] = {
    "final": "closing look",
    "larger": f"closing look at {LARGER} times the planned compute",
}
"""Closing looks of a campaign, in order: purpose -> hypothesis of its plan."""


def run_campaign(campaign: Campaign) -> None:
    """Run an arm of a single repeat: baseline, generations, closing looks.

    A campaign at its end stays as it is. `finish_campaign` ends an arm whose skill is measured.
    """
    if campaign.key in campaign.facts().ended:
        return
    run_baseline(campaign)
    arm = campaign.arm
    if variant(arm).line:
        run_line(campaign)
    if variant(arm).programs:
        grow_archive(campaign)
    if variant(arm).programs or variant(arm).line:
        return
    config = campaign.running.config
    for number in range(campaign.reached(), last_round(config.study, arm) + 1):
        befall(campaign.running, *campaign.key, number)
        if campaign.key in campaign.facts().spent or not campaign.affords(number):
            break
        if config.faults.withdrawn.stops(arm, number, config.study.generations):
            break
        generation(campaign, number)
    close(campaign)


def run_start_trial(campaign: Campaign, number: int) -> None:
    """Run a trial of the notebook shared by all arms of a repeat: a uniform draw from the grid."""
    config, facts = campaign.running.config, campaign.facts()
    place = (*campaign.key, 0, number)
    if (facts.at.get(place), "predict", 0) in facts.scores:
        return
    draft = Draft(
        generation=0,
        index=number,
        purpose="start",
        parent_recipe=config.task.baseline,
        recipe=draw_start(config, campaign.repeat, number),
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


def draw_start(config: Config, repeat: int, number: int) -> Recipe:
    """Return the recipe of a trial of the start: the same in every run of the study."""
    rng = random.Random(f"{config.study.seed}:{START}:{repeat}:0:{number}")
    return draw(rng, config.task.baseline, config.task.choices())


def run_baseline(campaign: Campaign) -> None:
    """Run generation 0: the unchanged recipe given by people is the first champion.

    A campaign has a single baseline, though the notebook has grown since it was recorded.
    """
    if campaign.champions():
        return
    planned = campaign.recorded("baseline") or _record_baseline(campaign)
    if not passes_gate(campaign, planned):
        refused = campaign.running.gate.refresh().memory.refused
        reason = refused.get((planned.digest, "recipe"), "it was recalled")
        raise Denied(f"without a baseline nothing can be proposed: {reason}")
    if screen(campaign, planned).scores is None:
        raise NoBaseline(_tell_failed_baseline(campaign, planned))
    promote(campaign, planned)


def _tell_failed_baseline(campaign: Campaign, planned: Planned) -> str:
    reasons = campaign.facts().failures.get(planned.digest, ["it failed"])
    return (
        f"the baseline of arm {campaign.arm}, repeat {campaign.repeat}, left no score"
        f" ({reasons[-1]}), so the campaign ends; task.baseline should be a recipe that trains"
    )


def _record_baseline(campaign: Campaign) -> Planned:
    draft = Draft(
        generation=0,
        index=0,
        purpose="baseline",
        recipe=campaign.running.config.task.baseline,
        bundle=campaign.pristine_bundle(),
        proposal=Proposal(hypothesis="the recipe that people gave", knobs={}),
        notebook=write_notebook(campaign),
    )
    return campaign.record(draft)


def close(campaign: Campaign) -> None:
    """Take the study's own looks at a campaign's end, and take the champion's changes back.

    A closing look measures the last champion against the baseline on fresh seeds.
    """
    study = campaign.running.config.study
    counts = {"final": study.final_replicates, "larger": study.larger_replicates}
    for number, purpose in enumerate(CLOSING, 1):
        if purpose == "larger" and "compute" in MORE.get(campaign.arm, ()):
            continue  # it trained with more all along
        at = study.generations + number
        if counts[purpose] and campaign.arm == REFERENCE:
            look_once_more(campaign, _draft_reference(campaign, purpose, at))
        elif counts[purpose] and campaign.champions()[-1] != campaign.champions()[0]:
            look_once_more(campaign, _draft_closing(campaign, purpose, at))
    if study.ablate:
        take_back_changes(campaign)
    if not study.measures_skill(campaign.arm):
        _end(campaign)


def finish_campaign(campaign: Campaign) -> None:
    """Measure the skill of a campaign's last weights, once every campaign has had its looks.

    So no proposal of the measure repeats a recipe that another arm tries later.
    """
    if campaign.key in campaign.facts().ended:
        return
    if variant(campaign.arm).programs:
        compare_with_first(campaign)
    elif not variant(campaign.arm).line:
        for cell in campaign.running.config.study.cells():
            measure_skill(campaign, cell)
    _end(campaign)


def _end(campaign: Campaign) -> None:
    entry = CampaignEndEntry(arm=campaign.arm, repeat=campaign.repeat)
    campaign.running.ledger.append(entry)


def look_once_more(campaign: Campaign, draft: Draft) -> None:
    """Measure the draft of a closing look against the baseline, once."""
    facts = campaign.facts()
    looks = [n for n in facts.proposed[campaign.key] if facts.plans[n].purpose == draft.purpose]
    if any(name in facts.verdicts for name in looks):
        return
    planned = campaign.record(draft)
    if passes_gate(campaign, planned):
        confirm(campaign, planned)


def _draft_closing(campaign: Campaign, purpose: Purpose, number: int) -> Draft:
    """Return the draft of a closing look at the last champion, under generation `number`."""
    best, base = campaign.champions()[-1], campaign.champions()[0]
    return Draft(
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


def _draft_reference(campaign: Campaign, purpose: Purpose, number: int) -> Draft:
    """Return the draft of the same look at the repeat's reference change; it promotes nothing."""
    base, beyond = campaign.champions()[0], purpose == "larger"
    hypothesis = f"reference change given by people, {CLOSING[purpose]}"
    return Draft(
        generation=number,
        index=0,
        purpose="reference_larger" if beyond else "reference",
        parent=base.digest,
        parent_recipe=base.plan.recipe,
        recipe=campaign.running.config.reference(campaign.repeat),
        bundle=base.plan.bundle,
        reference=(base.plan.bundle, base.plan.recipe),
        proposal=Proposal(hypothesis=hypothesis, knobs={}),
        notebook=base.plan.notebook,
    )
