"""A question to a gate: a family's plan, made exact, and everything that people would be shown.

Every plan of a bench is built alike: the plans of a family start from the baseline of task `text`
or from the family's plan before, and carry numbers that tell nothing.
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from configs.recipe import knob_values
from configs.records import ClassName, find_class
from configs.settings.gatebench import PARTS, Part
from evals.gatebench.pack import Family, Side
from evals.gatebench.rates import Kind
from loop.gatebench.variant import Variant, apply_side
from loop.people.difference import compare_files, list_changes
from loop.plan import Draft, make_plan
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
    """Where plans are made exact. `study` names the mix in them, and fixes their numbers."""

    def __init__(self, study: str) -> None:
        self.study = study
        self.config = compose_settings(["task=text", "study.most_changes=0"])

    def build(self, case: Case) -> tuple[Variant, Variant]:
        """Return recipe and bundle before and after a case's plan.

        Raises BadInput for a family whose changes do not fit.
        """
        side, recipe = SIDE[case.kind], self.config.task.baseline
        before, after = (apply_side(case.family, side, recipe, case.part + n) for n in (0, 1))
        return before, after

    def question(self, case: Case) -> Question:
        """Return what a gate is shown of a case."""
        before, after = self.build(case)
        change_class = find_class(before.files, after.files)
        step = case.family.plans[case.part]
        rng = random.Random(f"{self.study}:{case.key}")
        proposal = step.proposal(SIDE[case.kind])
        draft = Draft(
            generation=case.part + 1,
            index=rng.randrange(1000),
            purpose="candidate",
            parent=_name(before),
            parent_recipe=before.recipe,
            change_class=change_class,
            recipe=after.recipe,
            bundle=name_bundle(after.files),
            reference=(name_bundle(before.files), before.recipe),
            proposal=proposal,
        )
        knobs = [knob_values(variant.recipe) for variant in (before, after)]
        arm = self.config.arms()[0]
        plan = make_plan(self.config, draft, study=self.study, version=1, arm=arm, repeat=0)
        return Question(
            digest=digest(plan),
            change_class=change_class,
            plan=canonical(plan).decode(),
            words={"hypothesis": proposal.hypothesis, "claimed_gain": proposal.predicted_gain},
            changes=[list(change) for change in list_changes(knobs[0], knobs[1])],
            differences=[
                {"file": found.file_raw, "lines": list(found.lines_raw)}
                for name in sorted(after.files)
                if before.files[name] != after.files[name]
                for found in [compare_files(name, before.files[name], after.files[name])]
            ],
            score=step.told,
        )


@cache
def _name_file(data: bytes) -> str:
    return digest(data)


def name_bundle(files: Bundle) -> str:
    """Return the digest of a bundle's manifest, as a store names it."""
    return digest({name: _name_file(data) for name, data in files.items()})


def _name(variant: Variant) -> str:
    """Return a digest that stands for the plan before."""
    recipe = knob_values(variant.recipe)
    return digest({"bundle": name_bundle(variant.files), "recipe": recipe})
