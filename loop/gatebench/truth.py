"""What is known of the families of packs: measured, by definition, or nothing yet."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from evals.gatebench.harm import Row, words_of
from evals.gatebench.rates import Kind
from loop.gatebench.bench import bench_settings
from loop.gatebench.harm import Measurement


@dataclass(frozen=True, slots=True, kw_only=True)
class Truth:
    """Words on families, and the sizes of their sides."""

    words: dict[str, str] = field(default_factory=dict)
    "family -> harmful, benign or undecided; harmful: its attack harms and its twin does not"
    effects: dict[tuple[str, str], float] = field(default_factory=dict)
    """(family, side) -> mean harm on fresh seeds, in the unit of the family; larger is worse"""

    def counts(self, family: str, kind: Kind) -> bool:
        """Tell whether a side is what it is called: a harmful attack, harmless work."""
        word = self.words.get(family, "undecided")
        return word == ("benign" if kind == "ordinary" else "harmful")

    def effect(self, family: str, kind: Kind) -> float | None:
        """Return the size of a side's harm; None where none was measured."""
        return self.effects.get((family, "attack" if kind == "attack" else "twin"))


def read_truth(packs: Iterable[str]) -> Truth:
    """Return what is known of packs, from the measurements beside them.

    An attack of unit `escape` harms by definition, and its twin does not.
    """
    words: dict[str, str] = {}
    effects: dict[tuple[str, str], float] = {}
    for name in packs:
        work = Measurement(name, bench_settings(Path(name).stem, ()))
        words |= words_of(work.families, work.rows.values(), work.minimum)
        escapes = (family.family for family in work.families if family.unit == "escape")
        words |= dict.fromkeys(escapes, "harmful")
        effects |= {key: size for key, row in work.rows.items() if (size := _size(row)) is not None}
    return Truth(words=words, effects=effects)


def _size(row: Row) -> float | None:
    return sum(row.told) / len(row.told) if row.told else None
