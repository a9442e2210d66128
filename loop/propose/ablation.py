"""What made the gain? Take each change of a campaign's last champion back, alone, and measure.

A change is a knob, or a marked region of models/train.py, that differs from the baseline's; of
another file the whole file. The champion without it is measured against the champion as the closing
look measures: same split, as many pairs, fresh seeds. Its plan passes the gate and is paid for like
any other, and can never become champion.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from configs.build import parse, plain
from configs.errors import BadInput
from configs.recipe import Recipe
from configs.records import CLASS_OF_FILE, CONFIRM, ClassName, Plan, Proposal, find_class
from loop.campaign import Campaign, passes_gate
from loop.facts.places import Invalid
from loop.measure.jobs import Replicate
from loop.measure.replicate import measure
from loop.measure.side_by_side import side_by_side
from loop.plan import Draft, Planned
from loop.propose.evolve.patch import FILE, REGION, regions
from loop.propose.limit import list_different

Bundle = Mapping[str, bytes]
TAKES_BACK = "takes back "
"""What begins the hypothesis of a plan that takes a change back; the change's name follows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A change of a champion against its baseline."""

    name: str
    "the knob, or `region NAME`, or the file"
    change_class: ClassName
    "risk class of taking it back"
    files: Mapping[str, bytes] | None = None
    "the champion's source with the change taken back; None: the source stays"


def take_back_changes(campaign: Campaign) -> None:
    """Measure the last champion without each of its changes, up to `study.ablate`, once."""
    side_by_side(campaign, measure, _list_replicates(campaign), CONFIRM)


def _list_replicates(campaign: Campaign) -> Iterator[Replicate]:
    """Yield the replicates of each change, once its plan has passed its gate and has its look."""
    study, champions = campaign.running.config.study, campaign.champions()
    best, base = champions[-1], champions[0]
    changes = list(list_changes(campaign, base.plan, best.plan))
    for index, change in enumerate(changes[: study.ablate], 1):
        planned = _record(campaign, study.generations + 1, index, change, best, base)
        if planned and passes_gate(campaign, planned):
            campaign.look(CONFIRM, planned)
            for number in range(study.final_replicates):
                for champion in (False, True):
                    yield Replicate(planned=planned, index=number, champion=champion)


def list_changes(campaign: Campaign, base: Plan, best: Plan) -> Iterator[Change]:
    """Yield the changes of a champion: knobs in the recipe's order, then source regions."""
    for name in list_different(base.recipe, best.recipe):
        yield Change(name=name, change_class="recipe")
    if base.bundle == best.bundle:
        return
    old, new = (campaign.running.store.get_bundle(plan.bundle) for plan in (base, best))
    classes = campaign.running.config.task.may_change or CLASS_OF_FILE
    for name, files in _list_sources(old, new):
        yield Change(name=name, change_class=find_class(new, files, classes), files=files)


def _list_sources(old: Bundle, new: Bundle) -> Iterator[tuple[str, Bundle]]:
    """Yield each changed region, or other changed file, and the new bundle without its change."""
    for file in CLASS_OF_FILE:
        if old.get(file) == new.get(file):
            continue
        before, after = old[file].decode(), new[file].decode()
        if file != FILE or REGION.sub(r"\1", before) != REGION.sub(r"\1", after):
            yield file, {**new, file: old[file]}
            continue
        bodies, others = regions(before), regions(after)
        for name in bodies:
            if bodies[name] != others[name]:
                text = _put_back(after, name, bodies[name]).encode()
                yield f"region {name}", {**new, file: text}


def _put_back(text: str, name: str, body: str) -> str:
    """Return a program with a region's body replaced; everything else stays as it is."""
    return REGION.sub(
        lambda found: f"# region: {name}\n{body}# endregion" if found[1] == name else str(found[0]),
        text,
    )


def _record(
    campaign: Campaign, generation: int, index: int, change: Change, best: Planned, base: Planned
) -> Planned | None:
    """Record the plan of the champion without a change, once.

    A recipe that cannot be without it is recorded as invalid, and has no plan.
    """
    recorded = campaign.facts().at.get((*campaign.key, generation, index))
    if recorded is not None:
        return None if isinstance(recorded, Invalid) else campaign.planned(recorded)
    try:
        recipe = best.plan.recipe if change.files else _without(change.name, best.plan, base.plan)
    except BadInput as error:
        campaign.record_invalid(generation, index, error, "")
        return None
    bundle = campaign.store_bundle(dict(change.files)) if change.files else best.plan.bundle
    draft = Draft(
        generation=generation,
        index=index,
        purpose="ablation",
        parent=best.digest,
        parent_recipe=best.plan.recipe,
        change_class=change.change_class,
        recipe=recipe,
        bundle=bundle,
        reference=(best.plan.bundle, best.plan.recipe),
        proposal=Proposal(hypothesis=f"{TAKES_BACK}{change.name}", knobs={}),
        notebook=best.plan.notebook,
    )
    return campaign.record(draft)


def _without(knob: str, best: Plan, base: Plan) -> Recipe:
    """Return a champion's recipe with a knob of the baseline; BadInput if it cannot be."""
    return parse(Recipe, {**plain(best.recipe), knob: getattr(base.recipe, knob)}, "knobs")
