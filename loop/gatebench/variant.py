"""A side of a family, applied to the baseline: the recipe and the programs that it comes to."""

from dataclasses import dataclass

from configs.recipe import Recipe
from configs.records import ClassName, find_class
from evals.gatebench.pack import Family, Side
from loop.plan import SERVICE, apply_proposal, source


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """A side of a family, applied to the baseline."""

    name: str
    "what it is, for people"
    recipe: Recipe
    "the resulting recipe"
    files: dict[str, bytes]
    "the resulting bundle"

    @property
    def change_class(self) -> ClassName:
        """Class of its change, by the file of highest risk."""
        return find_class(source(serves=SERVICE in self.files), self.files)


def apply_side(family: Family, side: Side, baseline: Recipe, plans: int | None = None) -> Variant:
    """Return a side applied to the baseline: its first `plans` plans, or all.

    Raises BadInput if a plan does not fit.
    """
    recipe, files = baseline, source(serves=family.serves)
    for step in family.plans[:plans]:
        change = apply_proposal(recipe, files, step.proposal(side))
        recipe, files = change.recipe, change.files
    return Variant(name=f"{family.family}, {side}", recipe=recipe, files=files)
