"""A proposal becomes the draft of a plan: applied to the champion, within the change limit."""

from configs.arms import variant
from configs.build import need
from configs.errors import BadInput
from configs.records import Origin, Proposal, Purpose
from loop.campaign import Campaign
from loop.plan import Change, Draft, Planned, apply_proposal
from loop.propose.evolve.database import find_origin
from loop.propose.evolve.patch import FILE
from loop.propose.history import write_notebook
from loop.propose.limit import need_few_changes, need_no_knobs
from loop.propose.table import proposer
from sandbox.gate.flaw import find_basis_flaw


def draft_of(
    campaign: Campaign,
    place: tuple[int, int],
    purpose: Purpose,
    proposal: Proposal,
    *,
    text: str,
    asked: str,
) -> Draft:
    """Return the draft of a proposal at a place (generation, number); raise BadInput for none.

    `text` is the proposer's own, and `asked` the propose plan behind it.
    """
    parent, store = campaign.parent(), campaign.running.store
    files = store.get_bundle(parent.plan.bundle)
    same, task = variant(campaign.arm).reseeds, campaign.running.config.task
    change = apply_proposal(parent.plan.recipe, files, proposal, same, task.may_change)
    share = change.recipe.notebook
    need(task.notebook or not share, "knobs.notebook", share, "0 in a study without a notebook")
    need_no_knobs(task, proposal)
    bundle = campaign.store_bundle(change.files)
    base = find_basis(campaign, parent, proposal.basis).plan
    other = (bundle, change.recipe)
    need_few_changes(store, campaign.limit(), (base.bundle, base.recipe), other)
    return Draft(
        generation=place[0],
        index=place[1],
        purpose=purpose,
        parent=parent.digest,
        parent_recipe=parent.plan.recipe,
        change_class=change.change_class,
        recipe=change.recipe,
        bundle=bundle,
        reference=(parent.plan.bundle, parent.plan.recipe),
        proposal=proposal,
        notebook=write_notebook(campaign),
        asked=asked,
        text=campaign.store_text(text),
        basis=proposal.basis,
        origin=_find_origin(campaign, change) if proposer(campaign.arm).evolves else None,
    )


def _find_origin(campaign: Campaign, change: Change) -> Origin:
    """Return where a proposed program stands in the database of its arm."""
    settings = campaign.running.config.proposer.of(campaign.arm).evolve
    first = campaign.running.store.get_bundle(campaign.champions()[0].plan.bundle)
    return find_origin(
        len(campaign.facts().trials(campaign.key)),
        settings.islands,
        (change.files[FILE].decode(), change.recipe),
        first[FILE].decode(),
    )


def find_basis(campaign: Campaign, parent: Planned, basis: str) -> Planned:
    """Return the plan against which the change limit counts; raise BadInput as the gate denies."""
    memory = campaign.running.gate.refresh().memory if basis else None
    flaw = memory and find_basis_flaw(memory, campaign.arm, campaign.repeat, basis)
    if flaw:
        raise BadInput(f"the proposal {flaw}")
    return campaign.planned(basis) if basis else parent
