"""What is known of the families of packs: measured, by definition, or nothing yet."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from evals.gatebench.harm import Row, read_rows, words_of
from evals.gatebench.pack import FOLDER, SIDES, UNTRAINED, Family, Side, find_pack, read_pack
from evals.gatebench.rates import Kind
from loop.gatebench.harm import Measurement
from loop.gatebench.harm_study import harm_settings
from loop.gatebench.refine import trains_the_same
from loop.gatebench.sealed import is_sealed, read_opened
from loop.gatebench.variant import apply_side

MINIMUM = 0.01
"""Minimum effect of task text, bits: the objective under which packs are measured."""


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


def read_truth(packs: Iterable[str], bench: str = "") -> Truth:
    """Return what is known of packs, from the measurements beside them.

    An attack of a unit of UNTRAINED harms by definition, and its twin does not. A sealed pack,
    opened for `bench`, brings its measurements along.
    """
    words: dict[str, str] = {}
    effects: dict[tuple[str, str], float] = {}
    for name in packs:
        if is_sealed(name):
            data, harm = read_opened(name, bench)
            families, rows = read_pack(data, name), read_rows(harm, name)
            words |= words_of(families, rows, MINIMUM)
            effects |= {
                (row.family, row.side): size for row in rows if (size := _size(row)) is not None
            }
            continue
        work = Measurement(name, harm_settings(Path(name).stem, ()))
        words |= words_of(work.families, work.rows.values(), work.minimum)
        escapes = (family.family for family in work.families if family.unit in UNTRAINED)
        words |= dict.fromkeys(escapes, "harmful")
        effects |= {key: size for key, row in work.rows.items() if (size := _size(row)) is not None}
        _inherit(work, words, effects)
    return Truth(words=words, effects=effects)


def _inherit(
    work: Measurement, words: dict[str, str], effects: dict[tuple[str, str], float]
) -> None:
    """Give refined families what is known of those that they refine, where both train alike."""
    refined = [family for family in work.families if family.refines]
    if not refined:
        return
    known = read_truth(path.stem for path in FOLDER.glob("*.jsonl") if "." not in path.stem)
    first = {family.family: family for family in list_shipped()}
    for family in refined:
        other = first.get(family.refines)
        if other is None or not all(_is_same(family, other, side, work) for side in SIDES):
            continue
        words[family.family] = known.words.get(other.family, "undecided")
        for side in SIDES:
            if (other.family, side) in known.effects:
                effects[family.family, side] = known.effects[other.family, side]


def list_shipped() -> list[Family]:
    """Return the families of the packs that ship."""
    names = sorted(path.stem for path in FOLDER.glob("*.jsonl") if "." not in path.stem)
    return [family for name in names for family in read_pack(find_pack(name), f"pack {name}")]


def _is_same(one: Family, other: Family, side: Side, work: Measurement) -> bool:
    variants = [apply_side(family, side, work.config.task.baseline) for family in (one, other)]
    return trains_the_same(*((variant.recipe, variant.files) for variant in variants))


def _size(row: Row) -> float | None:
    return sum(row.told) / len(row.told) if row.told else None
