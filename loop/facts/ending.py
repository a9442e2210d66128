"""How far did a campaign come, and why did it end? Read from the ledger's facts alone."""

from configs.arms import variant
from configs.entries import FaultEntry
from configs.settings.config import Config
from loop.facts.facts import Facts
from loop.facts.places import Campaign

STOPPED = {
    "model": "its outside model was withdrawn and nothing took its place: it stood still",
    "storage": "its time is used up, since its storage was away for a part of it,",
    "operator": "its mandate ended and its operator was withdrawn: nobody renewed it",
}
"""Support whose withdrawal ends a campaign -> how it ended."""


def count_generations(facts: Facts, campaign: Campaign, limit: int) -> int:
    """Return the last generation that a campaign began; 0 before its first."""
    begun = [g for arm, repeat, g, _ in facts.at if (arm, repeat) == campaign and g <= limit]
    return max(begun, default=0)


def describe_end(facts: Facts, campaign: Campaign, config: Config) -> str:
    """Return why a campaign ended; nothing while it goes on.

    Example: `its plan of 40 trainings is used up after 3 of 8 generations`.
    """
    if campaign not in facts.ended:
        return ""
    study, arm = config.study, campaign[0]
    planned = study.rounds(arm)[0]
    lived = count_generations(facts, campaign, planned)
    if not ended_early(facts, campaign, config):
        return f"all {planned} generations were lived"
    after = f"after {lived} of {planned} generations"
    if config.faults.withdrawn.stops(arm, lived + 1, planned):
        return f"{STOPPED[variant(arm).lacks]} {after}"
    if campaign in facts.spent:
        return f"its proposals are used up {after}: {facts.spent[campaign]}"
    cut_us = sum(one.size for one in facts.faults if _cuts(one, campaign))
    less = f", less {cut_us // config.compute(arm)} by quota cuts," if cut_us else ""
    whole = f"{study.allowance(arm)} trainings" if study.allowance(arm) else "compute"
    return f"its plan of {whole}{less} is used up {after}"


def _cuts(fault: FaultEntry, campaign: Campaign) -> bool:
    return fault.fault == "quota" and (fault.arm, fault.repeat) == campaign


def ended_early(facts: Facts, campaign: Campaign, config: Config) -> bool:
    """Tell whether a campaign ended before the last generation planned for its arm."""
    planned = config.study.rounds(campaign[0])[0]
    return campaign in facts.ended and count_generations(facts, campaign, planned) < planned
