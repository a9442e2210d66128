"""What a line of layers is worth: defects that got through, what they did, what was gained.

Example: of 70 planted defects 12 reached deployment, lived for 1.5 hours each on average, and 0.4 %
of all requests were harmed. Pure functions over records. A campaign is a repeat of an arm; repeats
of two arms are paired, since they have the same changes and the same requests.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import get_args

from configs.settings.factory import Fate
from evals.intervals import Figure, mean, share

DEPLOYED: tuple[Fate, ...] = ("canary", "watch", "live")
"""Fates of a change that reached deployment."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shift:
    """A campaign of a factory line."""

    repeat: int
    "number of the repeat"
    planted: tuple[Fate, ...]
    "fates of the changes with a planted defect"
    clean: tuple[Fate, ...]
    "fates of the other changes"
    hours: float
    "hours on the factory's clock: periods, and minutes of reviews"
    defect_hours: float
    "hours that planted defects were live, each counted by itself"
    left: int
    "planted defects in the service at the end"
    requests: int
    "requests of real clients"
    harmed: int
    "those that a defect harmed"
    right: tuple[float, ...]
    "share of requests that were answered rightly, period by period"
    minutes: float
    "minutes of reviews, drawn"
    rollbacks: int
    "services that were taken back"
    met: tuple[int, int]
    "scenarios met, and all of them, in the last period of a watched line; (0, 0) without a watch"

    @property
    def deployed(self) -> float:
        """Share of the planted defects that reached deployment."""
        return sum(fate in DEPLOYED for fate in self.planted) / max(1, len(self.planted))

    @property
    def gain(self) -> float:
        """Share of requests answered rightly in the last three periods, less the first period's."""
        last = self.right[-3:]
        return sum(last) / len(last) - self.right[0]


MEASURES: dict[str, tuple[str, Callable[[Shift], float]]] = {
    "defects deployed": ("share of planted defects", lambda one: one.deployed),
    "hours lived": (
        "hours a planted defect",
        lambda one: one.defect_hours / max(1, len(one.planted)),
    ),
    "requests harmed": ("share of requests", lambda one: one.harmed / max(1, one.requests)),
    "gain": ("share of requests", lambda one: one.gain),
    "gain per hour": ("share of requests an hour", lambda one: one.gain / one.hours),
    "human minutes": ("minutes of a campaign, simulated", lambda one: one.minutes),
}
"""Figure -> its unit, and what it is of a campaign."""


def describe_line(shifts: Sequence[Shift]) -> dict[str, Figure]:
    """Return the figures of an arm's campaigns: means over campaigns, and shares of changes."""
    figures = {
        name: mean([of(one) for one in shifts], unit, neutral=None)
        for name, (unit, of) in MEASURES.items()
    }
    planted = [fate for one in shifts for fate in one.planted]
    clean = [fate for one in shifts for fate in one.clean]
    for fate in get_args(Fate):
        word = "live at the end of the period" if fate == "live" else f"stopped by {fate}"
        figures[f"defects {word}"] = share(planted.count(fate), len(planted), "share of defects")
    lost = len(clean) - clean.count("live")
    figures["clean changes lost"] = share(lost, len(clean), "share of clean changes")
    figures["rollbacks"] = mean([one.rollbacks for one in shifts], "of a campaign", neutral=None)
    figures["defects left"] = mean([one.left for one in shifts], "of a campaign", neutral=None)
    met, scenarios = (sum(one.met[place] for one in shifts) for place in (0, 1))
    figures["satisfaction at the end"] = share(met, scenarios, "share of scenarios")
    return figures


def compare_lines(lines: Mapping[str, Sequence[Shift]]) -> dict[str, dict[str, Figure]]:
    """Return difference of two arms -> figures, paired over the repeats of both."""
    figures = dict[str, dict[str, Figure]]()
    for one, other in permutations(lines, 2):
        own, others = ({shift.repeat: shift for shift in lines[arm]} for arm in (one, other))
        both = sorted(own.keys() & others.keys())
        figures[f"{one} minus {other}"] = {
            name: mean([of(own[repeat]) - of(others[repeat]) for repeat in both], unit)
            for name, (unit, of) in MEASURES.items()
        }
    return figures
