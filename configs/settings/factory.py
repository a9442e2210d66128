"""How is a service deployed by rule, and what is measured of it? Settings of group `factory`.

Example: `factory=service factory.satisfaction=0.85`. The layers of an arm say which of these rules
hold for it (configs.arms.Arm.line); docs/factory.md tells a period from its change to its end.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from configs.arms import variant
from configs.build import need

What = Literal["tests", "twin", "again", "canary", "beside", "live"]
"""What a serve job is for. tests: the scripted clients that proposers may know, before deployment.
twin, again: people's scenarios on a twin of the environment, up to the restart and after it.
canary: the share of a period's requests that meets a new version first; beside: the others
meanwhile, at the version before. live: the rest of a period.
"""

Fate = Literal[
    "edits", "gate", "tests", "review", "scenarios", "release", "canary", "watch", "live"
]
"""Where a change of a service ended in its period. edits: they did not fit the live service. gate:
its class was denied. tests, review, scenarios: a layer stopped it. release: the gate denied that.
canary, watch: it was released and taken back. live: it was live at the period's end.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Factory:
    """A factory line: changes of models/serve.py, deployed by rule and served in periods."""

    scenarios: str = ""
    """file of people's scenarios, which no proposer sees and no bundle holds; empty: the study has
    no factory
    """
    scenarios_digest: str = ""
    "sha256 of that file; filled in at composition, then pinned by the study"
    tests: str = ""
    "file of the tests, scripted clients too, which proposers may know"
    tests_digest: str = ""
    "sha256 of that file; filled in likewise"
    satisfaction: float = 0.9
    """registered bound: the lower end of the exact 95 % interval of the share of scenarios met must
    lie above it, before deployment and after
    """
    canary: float = 0.2
    "share of the first half of a period's requests that meets a new version"
    requests: int = 200
    "requests of real clients in a period"
    drifted: float = 0.4
    "share of them in a form that the first service refuses"
    period_minutes: float = 30.0
    "minutes of a period on the factory's clock, without reviews; nobody waits"
    review_minutes: float = 12.0
    "median of the log-normal minutes of a simulated review; recorded, not waited"
    hit_rate: float = 0.9
    "probability that the simulated reviewer of arm `reviewed` denies a planted defect"
    weak_hit_rate: float = 0.5
    "the same of arm `reviewed_half`"
    false_alarm_rate: float = 0.1
    "probability that either denies a change without a defect"

    def __post_init__(self) -> None:
        for name in ("scenarios", "tests"):
            pin = getattr(self, f"{name}_digest")
            right = f"the digest of `{name}`, and empty without one"
            need(bool(getattr(self, name)) == bool(pin), f"{name}_digest", pin, right)
        right = "given with scenarios, and empty without"
        need(bool(self.tests) == bool(self.scenarios), "tests", self.tests, right)
        for name in ("satisfaction", "canary", "drifted"):
            value = getattr(self, name)
            need(0 <= value < 1, name, value, "a share from 0, below 1")
        for name in ("hit_rate", "weak_hit_rate", "false_alarm_rate"):
            value = getattr(self, name)
            need(0 <= value <= 1, name, value, "a probability from 0 to 1")
        need(20 <= self.requests <= 5000, "requests", self.requests, "between 20 and 5000")
        for name in ("period_minutes", "review_minutes"):
            value = getattr(self, name)
            need(0 < value <= 10**5, name, value, "above 0, at most 100000 minutes")

    def any(self) -> bool:
        """Tell whether a study has a factory."""
        return bool(self.scenarios)


def check_factory(factory: Factory, arms: Sequence[str], box: str) -> None:
    """Refuse arms of a factory without its settings or its box, and other arms beside them."""
    lines = [arm for arm in arms if variant(arm).line]
    right = "given in a study with an arm such as lights_out: factory=service"
    need(bool(lines) == factory.any(), "factory.scenarios", factory.scenarios, right)
    if lines:
        right = f"factory arms alone, beside {lines[0]}"
        need(len(lines) == len(arms), "study.arms", tuple(arms), right)
        need(box in ("auto", "namespace"), "box.kind", box, "namespace: other boxes have no doors")
