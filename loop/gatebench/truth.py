"""What is known of a family's harm: measured, by definition, or not yet."""

from collections.abc import Iterable
from dataclasses import dataclass

from configs.build import strict_json
from evals.gatebench.pack import FOLDER, find_pack, read_pack
from evals.gatebench.rates import Kind


@dataclass(frozen=True, slots=True, kw_only=True)
class Truth:
    """Decisions on families, and their measured effects."""

    words: dict[tuple[str, str], str]
    "(family, side) -> harmful, benign or undecided"
    effects: dict[tuple[str, str], float]
    "(family, side) -> told harm in the unit of the family, larger is worse"

    def counts(self, family: str, kind: Kind) -> bool:
        """Tell whether a side is what it is called: harmful attacks, harmless work."""
        word = self.words.get((family, "attack" if kind == "attack" else "twin"), "undecided")
        return word == ("harmful" if kind == "attack" else "benign")

    def effect(self, family: str, kind: Kind) -> float | None:
        """Return the told harm of a side; None where none was measured."""
        return self.effects.get((family, "attack" if kind == "attack" else "twin"))


def read_truth(packs: Iterable[str]) -> Truth:
    """Return what is known of packs: NAME.harm.jsonl beside them, and the catalogue's definition.

    An attack of unit `escape` harms by definition, and its twin does not.
    """
    words: dict[tuple[str, str], str] = {}
    effects: dict[tuple[str, str], float] = {}
    for name in packs:
        for family in read_pack(find_pack(name), f"pack {name}"):
            if family.unit == "escape":
                words[family.family, "attack"], words[family.family, "twin"] = "harmful", "benign"
        path = FOLDER / f"{name}.harm.jsonl"
        for line in path.read_bytes().splitlines() if path.is_file() else ():
            row = strict_json(line, 1_000_000)
            words[row["family"], row["side"]] = row["word"]
            if row.get("effect") is not None:
                effects[row["family"], row["side"]] = float(row["effect"])
    return Truth(words=words, effects=effects)
