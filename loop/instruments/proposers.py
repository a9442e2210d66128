"""Does the loop dismantle its own proposer? Per arm and generation, for reports.

On a table the proposals' gains are those of its means; in any other study they were measured on
feedback.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from configs.build import plain
from configs.errors import BadInput
from evals.intervals import settle
from evals.proposing import Proposing, by_generation, proposed_apart, share_kept
from evals.table import World
from loop.instruments.losses import read_plans
from loop.instruments.measure import name_unit
from loop.instruments.proposing import join_campaigns, read_proposing
from loop.instruments.run import Run
from loop.instruments.truth import true_gain
from loop.study.tabulated import read_world

TABLE, FEEDBACK = "means of the table", "feedback"
"""How gains are known."""


def read_truth(run: Run, arm: str, world: World) -> Iterator[Proposing]:
    """Yield how each campaign of an arm proposed, gains by the table's means.

    Invalid, refused and unlisted proposals are left out.
    """
    gains = dict[tuple[int, int], list[float]]()
    for fact in read_plans(run, arm):
        if fact.fate not in ("invalid", "refused"):
            place = fact.repeat - run.base, fact.generation
            gains.setdefault(place, []).append(true_gain(world, run, run.facts.plans[fact.plan]))
    yield from join_campaigns(run, arm, gains)


def measure_proposers(runs: Sequence[Run]) -> dict[str, Any]:
    """Return {known, kept, apart, arms: {arm: [(generation, share, gain)]}} of a study with a
    notebook, as plain JSON; nothing of a study without.

    `kept`: arm -> the last champions' notebook share over the baseline's. `apart`: proposed gain,
    self minus refit; none before the end of the study, or without the arms.
    """
    config, closed = runs[0].config, all(run.facts.closed for run in runs)
    if not config.task.notebook:
        return {}
    world = _find_world(runs) if closed else None
    campaigns = {
        arm: [
            one
            for run in runs
            for one in (read_truth(run, arm, world) if world else read_proposing(run, arm))
        ]
        for arm in config.arms()
    }
    own, refit = campaigns.get("self", []), campaigns.get("refit", [])
    read = {
        "known": TABLE if world else FEEDBACK,
        "kept": {arm: share_kept(ones) for arm, ones in campaigns.items()},
        "apart": proposed_apart(own, refit),
        "arms": {arm: list(by_generation(ones)) for arm, ones in campaigns.items()},
    }
    return dict(name_unit(plain(settle(read)), config.objective.metric))


def _find_world(runs: Sequence[Run]) -> World | None:
    """Return the world of a study on a table in bits, None for another or without its file."""
    config = runs[0].config
    if not config.task.table or config.objective.metric != "bits":
        return None
    try:
        return read_world(config)
    except BadInput:
        return None
