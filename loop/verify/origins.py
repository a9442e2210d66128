"""Where evolved programs stand in their database, computed again from stored bytes."""

from collections.abc import Mapping

from configs.errors import VerificationFailed
from configs.records import Origin
from configs.settings.config import Config
from loop.facts.facts import Facts
from loop.propose.evolve.database import find_origin
from loop.verify.recompute import read_training
from sandbox.store import Store


def check_origins(
    store: Store, facts: Facts, config: Config, origins: Mapping[str, Origin]
) -> None:
    """Raise VerificationFailed for a plan whose recorded island or cell is another's.

    `origins` holds plan digest -> the recorded place. Ledgers of earlier versions hold none.
    """
    for name, origin in origins.items():
        plan = facts.plans[name]
        campaign = facts.trials((plan.arm, plan.repeat))
        first = next(other for other in campaign.values() if other.purpose == "baseline")
        again = find_origin(
            list(campaign).index(name),
            config.proposer.of(plan.arm).evolve.islands,
            (read_training(store, plan), plan.recipe),
            read_training(store, first),
        )
        if again != origin:
            raise VerificationFailed(
                f"plan {name[:12]} is recorded on island {origin.island} in cell {origin.cell}; it"
                f" stands on island {again.island} in cell {again.cell}"
            )
