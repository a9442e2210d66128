"""Measured beside true: the losses of a campaign on a table, and the same by the table's means.

Example: a campaign accepts two plans. The judge measured 0.10 and 0.06; on the table they gain 0.09
and -0.01. So the second accept is false, and the winner's curse is 0.08. All gains are in bits, and
larger is better. Pure functions.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from evals.intervals import Figure, mean, missing, share

UNIT = "bits"


@dataclass(frozen=True, slots=True, kw_only=True)
class TruePlan:
    """A candidate of a campaign, measured and true."""

    accepted: bool
    "whether it became champion"
    confirmed: bool
    "whether it was measured on confirm"
    promised: float | None
    "gain that its proposer predicted"
    feedback: float | None
    "gain on feedback over its parent"
    gate: float | None
    "mean paired gain on confirm"
    corrected: float | None
    "the same without the winner's curse, as the judge corrected it"
    true: float
    "gain of its recipe over its parent's by the table's means; NaN where a recipe is unlisted"


@dataclass(frozen=True, slots=True, kw_only=True)
class TrueCampaign:
    """A campaign, measured and true."""

    repeat: int
    "its repeat"
    plans: tuple[TruePlan, ...]
    "its candidates"
    closing: float
    "gain of the last champion over the baseline in the closing look"
    true: float
    "the same by the table's means, over all folds"
    on_folds: float
    "the same by the table's means, over the folds of confirm in its repeat"
    regret: float
    "true score that the best recipe of the grid has beyond the last champion's"


@dataclass(frozen=True, slots=True, kw_only=True)
class TrueSkill:
    """Proposing skill Q of a cell of a repeat, measured and true."""

    cell: str
    "its cell: whose recipe, which history (docs/instruments.md)"
    repeat: int
    "its repeat"
    measured: float
    "mean measured gain of its proposals over their parents"
    true: float
    "the same by the table's means"


def hold_skills(skills: Sequence[TrueSkill]) -> dict[str, dict[str, Figure]]:
    """Return {`Q, cell`: {measured, true}}, and the self effect of both, paired over repeats."""
    cells = dict.fromkeys(skill.cell for skill in skills)
    held = {
        f"Q, {cell}": {
            "measured": _mean([s.measured for s in skills if s.cell == cell]),
            "true": _mean([s.true for s in skills if s.cell == cell]),
        }
        for cell in cells
    }
    own, first = ({s.repeat: s for s in skills if s.cell == cell} for cell in ("self", "refit"))
    pairs = [(own[repeat], first[repeat]) for repeat in own if repeat in first]
    if pairs:
        held["self effect"] = {
            "measured": _mean([one.measured - other.measured for one, other in pairs]),
            "true": _mean([one.true - other.true for one, other in pairs]),
        }
    return held


def hold(campaigns: Sequence[TrueCampaign], least: float) -> dict[str, dict[str, Figure]]:
    """Return instrument -> {measured, true} of an arm, per campaign.

    `least` is the smallest gain that people want: an accept of less is false, and a better plan
    that was confirmed and not accepted was missed.
    """
    return {
        "gain": {
            "measured": _mean([c.closing for c in campaigns]),
            "true": _mean([c.true for c in campaigns]),
        },
        "gain on its own folds": {
            "measured": _mean([c.closing for c in campaigns]),
            "true": _mean([c.on_folds for c in campaigns]),
        },
        "sum of accepted gains": {
            "measured": _mean([_sum(c, _corrected) for c in campaigns]),
            "true": _mean([_sum(c, _true) for c in campaigns]),
        },
        "over-claim": _beside(campaigns, _over_claim, _true_over_claim),
        "proxy gap": _beside(campaigns, _gap, _true_gap),
        "winner's curse": _beside(campaigns, _curse, _true_curse),
        "retention": {
            "measured": _ratio([(c.closing, _sum(c, _gate)) for c in campaigns]),
            "true": _ratio([(c.true, _sum(c, _gate)) for c in campaigns]),
        },
        "false accepts": {"true": _share(campaigns, least, accepted=True)},
        "missed accepts": {"true": _share(campaigns, least, accepted=False)},
        "proposed gain": {"true": _proposed(campaigns)},
        "regret": {"true": _mean([c.regret for c in campaigns])},
    }


Read = Callable[[TruePlan], float]


def _corrected(plan: TruePlan) -> float:
    return _number(plan.corrected if plan.corrected is not None else plan.gate)


def _gate(plan: TruePlan) -> float:
    return _number(plan.gate)


def _true(plan: TruePlan) -> float:
    return plan.true


def _over_claim(plan: TruePlan) -> float:
    return _number(plan.promised) - _number(plan.feedback)


def _true_over_claim(plan: TruePlan) -> float:
    return _number(plan.promised) - plan.true


def _gap(plan: TruePlan) -> float:
    return _number(plan.feedback) - _number(plan.gate)


def _true_gap(plan: TruePlan) -> float:
    return _number(plan.feedback) - plan.true


def _curse(plan: TruePlan) -> float:
    return _number(plan.gate) - _number(plan.corrected)


def _true_curse(plan: TruePlan) -> float:
    return _number(plan.gate) - plan.true


def _number(value: float | None) -> float:
    return math.nan if value is None else value


def _sum(campaign: TrueCampaign, read: Read) -> float:
    return math.fsum(read(plan) for plan in campaign.plans if plan.accepted)


def _beside(campaigns: Sequence[TrueCampaign], measured: Read, true: Read) -> dict[str, Figure]:
    """Return both means over campaigns, each campaign by the mean of its accepted plans."""
    return {
        "measured": _mean([_average(campaign, measured) for campaign in campaigns]),
        "true": _mean([_average(campaign, true) for campaign in campaigns]),
    }


def _average(campaign: TrueCampaign, read: Read) -> float:
    values = [read(plan) for plan in campaign.plans if plan.accepted]
    known = [value for value in values if math.isfinite(value)]
    return math.fsum(known) / len(known) if known else math.nan


def _mean(values: Sequence[float]) -> Figure:
    """Return the mean over campaigns with a number."""
    known = [value for value in values if math.isfinite(value)]
    return mean(known, UNIT) if known else missing("not measured", UNIT)


def _ratio(pairs: Sequence[tuple[float, float]]) -> Figure:
    """Return the share of what was accepted that held, over all campaigns together."""
    known = [(top, below) for top, below in pairs if math.isfinite(top) and math.isfinite(below)]
    total = math.fsum(below for _, below in known)
    if total <= 0:
        return missing("not measured", "ratio", len(known))
    value = math.fsum(top for top, _ in known) / total
    return Figure(value=value, low=None, high=None, n=len(known), unit="ratio")


def _share(campaigns: Sequence[TrueCampaign], least: float, *, accepted: bool) -> Figure:
    """Return the share of accepts that gain too little, or of worthwhile plans not accepted."""
    plans = [
        plan
        for campaign in campaigns
        for plan in campaign.plans
        if plan.confirmed and math.isfinite(plan.true)
    ]
    if accepted:
        chosen = [plan for plan in plans if plan.accepted]
        return share(sum(plan.true <= least for plan in chosen), len(chosen), "share of accepts")
    good = [plan for plan in plans if plan.true > least]
    unit = "share of confirmed plans that gain"
    return share(sum(not plan.accepted for plan in good), len(good), unit)


def _proposed(campaigns: Sequence[TrueCampaign]) -> Figure:
    """Return the mean true gain of a proposal over its parent: the skill of proposing."""
    values = [
        [plan.true for plan in campaign.plans if math.isfinite(plan.true)] for campaign in campaigns
    ]
    return _mean([math.fsum(own) / len(own) for own in values if own])
