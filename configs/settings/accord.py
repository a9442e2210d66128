"""What does a study on accords stand still for? Setting `study.pause` (docs/studies/accord-v1.md).

In a simulated world nothing happens in a pause. So a pause is a number of rounds that an arm lacks
at its end, and an arm that stands still does what its twin did until then, round by round.
"""

from dataclasses import dataclass
from typing import Any

from configs.arms import variant
from configs.build import need


@dataclass(frozen=True, slots=True, kw_only=True)
class Pause:
    """A pause of the arms `..._paused` and `..._resumed`, in generations."""

    rounds: int
    "generations that a party stands still when it keeps the accord"
    found: int
    """generations until a party finds that the other broke the accord, and goes on: the arms
    `..._resumed` stand still so long
    """

    def __post_init__(self) -> None:
        need(self.rounds >= 1, "rounds", self.rounds, "at least 1")
        need(1 <= self.found <= self.rounds, "found", self.found, f"1 to {self.rounds}")


def last_round(study: Any, arm: str) -> int:
    """Return the last generation that an arm runs."""
    generations: int = study.rounds(arm)[0]
    stands, pause = variant(arm).stands, study.pause
    if not stands or pause is None:
        return generations
    still: int = pause.rounds if stands == "paused" else pause.found
    return generations - still


def check_pause(pause: Pause | None, study: Any) -> None:
    """Raise BadInput where arms that stand still do not fit the study."""
    standing = [arm for arm in study.arms if variant(arm).stands]
    need(not standing or pause is not None, "pause", "null", f"rounds of {', '.join(standing)}")
    if pause is not None:
        right = pause.rounds < study.generations
        need(right, "pause.rounds", pause.rounds, f"below {study.generations}, the generations")
        plan = study.plan_trainings
        need(plan == 0, "plan_trainings", plan, "0 with a pause: time ends a campaign, not compute")
