"""A question to a gate: a family's plan, made exact, and everything that people would be shown.

Every plan of a bench is built alike: the plans of a family start from the baseline of task `text`
or from the family's plan before, and carry numbers that tell nothing.
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from configs.recipe import Recipe, knob_values
from configs.records import ClassName
from configs.settings.gatebench import PARTS, Part
from evals.gatebench.pack import Family, Side
from evals.gatebench.rates import Kind
from loop.people.difference import compare_files, list_changes
from loop.plan import Draft, apply_proposal, make_plan, source
from loop.settings import compose_settings
from sandbox.canonical import canonical, digest

Bundle = Mapping[str, bytes]
SIDE: dict[Kind, Side] = {"attack": "attack", "twin": "twin", "ordinary": "twin"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A plan to be shown: one of a family's, from one of its sides."""

    family: Family
    "the family"
    kind: Kind
    "attack, its twin, or ordinary work"
    part: int
    "number of the plan in its family, from 0"

    @property
    def key(self) -> tuple[str, Kind, int]:
        """Its place among the cases of a bench."""
        return self.family.family, self.kind, self.part


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What a gate is shown of a case."""

    digest: str
    "sha256 of `plan`; an answer names it"
    change_class: ClassName
    "class of the plan"
    plan: str
    "canonical bytes of the plan, as text"
    words: dict[str, Any]
    "{hypothesis, claimed_gain}"
    changes: list[list[str]]
    "[knob, before, after] against the plan before, values as JSON"
    differences: list[dict[str, Any]]
    "{file, lines}: the unified difference of each changed file"
    score: float | None
    "told score, bits; None: not measured yet"

    def shown(self, sees: Sequence[Part] = PARTS) -> bytes:
        """Return the canonical bytes of the parts that a member sees, with digest and class."""
        parts = {name: getattr(self, name) for name in PARTS if name in sees}
        return canonical({"digest": self.digest, "class": self.change_class, **parts})


def list_cases(families: Sequence[Family]) -> list[Case]:
    """Return every plan of every side of families, in their order."""
    cases = []
    for family in families:
        kinds: tuple[Kind, ...] = ("attack", "twin") if family.hostile else ("ordinary",)
        for kind in kinds:
            cases += [
                Case(family=family, kind=kind, part=part) for part in range(len(family.plans))
            ]
    return cases


class Desk:
    """Where plans are made exact. `study` names the bench in them; `seed` fixes their numbers."""

    def __init__(self, study: str, seed: int) -> None:
        self.study, self.seed = study, seed
        self.config = compose_settings(["task=text", "study.most_changes=0"])
        self.base = (self.config.task.baseline, source())

    def build(self, case: Case) -> tuple[Recipe, Bundle, Recipe, Bundle, ClassName]:
        """Return recipe and bundle before and after a case's plan, and its class.

        Raises BadInput for a family whose changes do not fit.
        """
        after, side, change_class = self.base, SIDE[case.kind], "recipe"
        for step in case.family.plans[: case.part + 1]:
            before = after
            change = apply_proposal(before[0], before[1], step.proposal(side))
            after, change_class = (change.recipe, change.files), change.change_class
        return *before, *after, change_class  # type: ignore[return-value]

    def question(self, case: Case) -> Question:
        """Return what a gate is shown of a case."""
        recipe, files, recipe_after, files_after, change_class = self.build(case)
        step = case.family.plans[case.part]
        rng = random.Random(f"{self.study}:{self.seed}:{case.key}")
        proposal = step.proposal(SIDE[case.kind])
        draft = Draft(
            generation=case.part + 1,
            index=rng.randrange(1000),
            purpose="candidate",
            parent=_name(files, recipe),
            parent_recipe=recipe,
            change_class=change_class,
            recipe=recipe_after,
            bundle=name_bundle(files_after),
            reference=(name_bundle(files), recipe),
            proposal=proposal,
        )
        arm = self.config.arms()[0]
        plan = make_plan(self.config, draft, study=self.study, version=1, arm=arm, repeat=0)
        return Question(
            digest=digest(plan),
            change_class=change_class,
            plan=canonical(plan).decode(),
            words={"hypothesis": proposal.hypothesis, "claimed_gain": proposal.predicted_gain},
            changes=[list(c) for c in list_changes(knob_values(recipe), knob_values(recipe_after))],
            differences=[
                {"file": found.file_raw, "lines": list(found.lines_raw)}
                for name in sorted(files.keys() | files_after.keys())
                if files.get(name) != files_after.get(name)
                for found in [compare_files(name, files.get(name), files_after.get(name))]
            ],
            score=step.told,
        )


@cache
def _name_file(data: bytes) -> str:
    return digest(data)


def name_bundle(files: Bundle) -> str:
    """Return the digest of a bundle's manifest, as a store names it."""
    return digest({name: _name_file(data) for name, data in files.items()})


def _name(files: Bundle, recipe: Recipe) -> str:
    """Return a digest that stands for the plan before."""
    return digest({"bundle": name_bundle(files), "recipe": knob_values(recipe)})
