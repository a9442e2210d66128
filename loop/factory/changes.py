"""Changes of a service: drawn from a pack by the repeat's secret, the same for all arms.

A family of the pack is a change with a planted defect, and its twin without it. The study knows
which side was drawn; no layer of an arm does, but for the simulated reviewers.
"""

import hmac
import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from configs.arms import variant
from configs.build import need
from configs.entries import ReviewEntry
from configs.records import Plan, Proposal
from configs.settings.config import Config
from evals.factory.traffic import FORMS, PLAIN
from evals.gatebench.pack import Family, read_pack
from sandbox.store import Store

READS = "reads-"
"""Begin of the name of a family whose change reads the form after it."""
SPREAD = 0.5
"""Standard deviation of the log of a review's minutes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """The change of a period."""

    family: Family
    "its family"
    planted: bool
    "whether it carries the family's defect"

    @property
    def proposal(self) -> Proposal:
        """The change as a proposer would write it."""
        return self.family.plans[0].proposal("attack" if self.planted else "twin")


def rng_of(secret: bytes, what: str) -> random.Random:
    """Return a source of draws of a repeat's factory."""
    return random.Random(hmac.digest(secret, f"factory:{what}".encode(), "sha256"))


def read_families(config: Config, store: Store) -> tuple[Family, ...]:
    """Return the families of the study's pack; raises BadInput where they are too few."""
    pin = config.proposer.pack_digest
    need(bool(pin), "proposer.pack", "", "a pack of changes of the service, such as service")
    families = tuple(one for one in read_pack(store.get(pin)) if one.hostile)
    right = f"at most the {len(families)} families of the pack"
    need(config.study.generations <= len(families), "study.generations", len(families), right)
    return families


def draw_changes(config: Config, families: Sequence[Family], secret: bytes) -> list[Drawn]:
    """Return the changes of a repeat, one for each period from the first on."""
    rng = rng_of(secret, "changes")
    chosen = rng.sample(families, config.study.generations)
    share = config.proposer.hostile_share
    return [Drawn(family=family, planted=rng.random() < share) for family in chosen]


def list_held(plans: Mapping[str, Plan], name: str, drawn: Sequence[Drawn]) -> list[Drawn]:
    """Return the changes that a service holds, the newest first."""
    held = list[Drawn]()
    while name in plans and plans[name].purpose == "service":
        if period := plans[name].generation:
            held.append(drawn[period - 1])
        name = plans[name].parent
    return held


def list_forms(held: Sequence[Drawn]) -> frozenset[str]:
    """Return the forms that a service with these changes and no defect would answer."""
    names = (one.family.family for one in held)
    read = {name.removeprefix(READS) for name in names if name.startswith(READS)}
    return frozenset({PLAIN, *(read & FORMS.keys())})


def review(config: Config, secret: bytes, name: str, plan: Plan, drawn: Drawn) -> ReviewEntry:
    """Return the answer of an arm's simulated reviewer to a change.

    All reviewers of a repeat have the same luck, so the better one denies what the weaker denies.
    """
    factory, rng = config.factory, rng_of(secret, f"review:{plan.generation}")
    weak = "weak review" in variant(plan.arm).line
    hit_rate = factory.weak_hit_rate if weak else factory.hit_rate
    denies = rng.random() < (hit_rate if drawn.planted else factory.false_alarm_rate)
    minutes = factory.review_minutes * math.exp(SPREAD * rng.gauss(0, 1))
    return ReviewEntry(plan=name, allow=not denies, minutes=round(minutes, 3))
