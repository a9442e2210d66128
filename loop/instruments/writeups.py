"""The write-ups of a study on a table: claims from a template over facts, and their checks.

A write-up follows from the ledger: what a judged plan changed, why its proposer said so, what its
pairs showed, and what that predicts elsewhere. Its checks look recipes up in the table, on seeds
that no campaign drew. They cost nothing, and neither proposer, gate nor reviewer sees them.
"""

import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from configs.entries import ReviewedEntry, ReviewsEndEntry, facts_of
from configs.errors import BadInput
from configs.recipe import Recipe
from configs.records import Plan
from evals.intervals import Floats
from evals.review import measure_review
from evals.table import PLANNED, Unlisted, World
from evals.writeups import (
    REVIEWERS,
    Claim,
    Kind,
    Novelty,
    Said,
    Stated,
    collect_reviews,
    find_novelty,
)
from loop.instruments.closure import writer
from loop.instruments.losses import feedback_gain
from loop.instruments.run import Run
from loop.propose.limit import list_different
from loop.propose.outside.claim import show_claim
from loop.study.tabulated import read_world
from sandbox.canonical import digest as name_bytes

Sides = tuple[Recipe, Recipe]
"""Recipe with a change, and without."""


Place = tuple[str, int]
"""Plan of a write-up, and the number of a claim in it."""
WHO: dict[str, Literal["model", "people", "simulated people"]] = {
    "model": "model",
    "person": "people",
    "external": "people",
    "simulated": "simulated people",
}
"""Kind of reviewer in the ledger -> reviewer in the figures."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A claim, and what is trained to check it."""

    stated: Stated
    sides: Sides
    level: float


def read_claims(run: Run) -> list[Claim]:
    """Return the claims of all write-ups of a study that has ended, with their checks.

    Nothing in a study without `study.writeups`, while people review its claims, and where its
    table is not there any more.
    """
    writeups = run.config.study.writeups
    if writeups is None or not run.facts.closed or is_blind(run):
        return []
    try:  # predictions at another value of a fixed knob need the whole table
        world = read_world(run.config, whole=True)
    except BadInput:
        return []
    reviews = _read_reviews(run)
    return [
        _check(run, world, (digest, number), asked, reviews)
        for digest, plan in list_judged(run)
        for number, asked in enumerate(_write(run, digest, plan))
    ]


def is_blind(run: Run) -> bool:
    """Tell whether people still may review claims, so that no check is told."""
    writeups = run.config.study.writeups
    people = writeups.people if writeups else 0
    return people > 0 and next(facts_of(run.entries, ReviewsEndEntry), None) is None


def draw_claims(run: Run, most: int) -> dict[tuple[str, int], dict[Place, Stated]]:
    """Return campaign -> the claims that are put to a reviewer, at most so many of each.

    The digests of their plans draw them, so that no gain does.
    """
    drawn = dict[tuple[str, int], dict[Place, Stated]]()
    for digest, plan in list_judged(run):
        own = drawn.setdefault((plan.arm, plan.repeat), {})
        for number, asked in enumerate(_write(run, digest, plan)):
            own[digest, number] = asked.stated
    return {
        campaign: {place: own[place] for place in sorted(own, key=_draw_place)[:most]}
        for campaign, own in sorted(drawn.items())
    }


def _draw_place(place: Place) -> str:
    return hashlib.sha256(f"review:{place[0]}:{place[1]}".encode()).hexdigest()


def _read_reviews(run: Run) -> dict[tuple[Place, str], list[Said]]:
    """Return (claim, digest of what was shown) -> its recorded reviews."""
    found = dict[tuple[Place, str], list[Said]]()
    for fact in facts_of(run.entries, ReviewedEntry):
        said = Said(reviewer=WHO[fact.by], probability=fact.said)
        found.setdefault(((fact.plan, fact.number), fact.shown), []).append(said)
    return found


def list_judged(run: Run) -> Iterator[tuple[str, Plan]]:
    """Yield each plan with a write-up: it was judged on pairs, and changes knobs alone."""
    for names in run.candidates.values():
        for digest in names:
            plan, verdict = run.facts.plans[digest], run.facts.verdicts.get(digest)
            known = verdict and verdict.replicates and verdict.gain is not None
            if known and plan.reference_recipe and plan.bundle == plan.reference:
                yield digest, plan


def read_novelty(run: Run) -> Iterator[Novelty]:
    """Yield the novelty of each write-up, campaign by campaign."""
    knobs = [name for name, values in run.config.task.choices().items() if len(values) > 1]
    plans = dict[tuple[str, int], list[tuple[int, str, Plan]]]()
    for digest, plan in list_judged(run):
        plans.setdefault((plan.arm, plan.repeat), []).append((plan.generation, digest, plan))
    base = tuple(getattr(run.config.task.baseline, knob) for knob in knobs)
    for (_, repeat), own in plans.items():
        rows = [
            (digest, tuple(getattr(plan.recipe, knob) for knob in knobs), tuple(_changes(plan)))
            for _, digest, plan in sorted(own, key=lambda row: row[0])
        ]
        yield from find_novelty(rows, base, run.base + repeat)


def _changes(plan: Plan) -> Iterator[str]:
    assert plan.reference_recipe
    for knob in list_different(plan.reference_recipe, plan.recipe):
        old, new = (getattr(recipe, knob) for recipe in (plan.reference_recipe, plan.recipe))
        yield f"{knob}: {old} to {new}"


def _write(run: Run, digest: str, plan: Plan) -> Iterator[Asked]:
    """Yield the claims of a write-up, its finding first."""
    config, verdict, before = run.config, run.facts.verdicts[digest], plan.reference_recipe
    writeups = config.study.writeups
    assert writeups and before and verdict.gain is not None
    bound, changes = config.objective.minimum_effect, tuple(_changes(plan))
    above = verdict.gain > bound
    found = f"{', '.join(changes)} gains {'more than' if above else 'at most'} {bound:g} bits"
    deviation = math.sqrt(2) * config.task.seed_deviation
    stated = Stated(
        kind="gain",
        says=found,
        changed=changes,
        why="" if writer(plan.arm) == "fixed program" else plan.hypothesis,
        above=above,
        bound=bound,
        estimate=verdict.gain,
        error=deviation / math.sqrt(verdict.replicates),
        pairs=verdict.replicates,
        tried=len(run.candidates[plan.arm, plan.repeat, plan.generation]),
        screened=feedback_gain(run, digest, config.objective),
    )
    whole = plan.recipe, before
    yield Asked(stated, whole, PLANNED)
    knobs = list_different(before, plan.recipe)
    for knob, change in zip(knobs, changes, strict=True):
        if above and len(knobs) > 1 and (without := _turn(plan.recipe, knob, before)):
            part = replace(
                stated,
                kind="part",
                says=f"{found}; without {change} some of it is lost",
                bound=0.0,
                estimate=verdict.gain / len(knobs),
            )
            yield Asked(part, (plan.recipe, without), PLANNED)
    for knob, value in writeups.elsewhere.items():
        sides = [_set(recipe, knob, value) for recipe in whole]
        if sides[0] and sides[1]:
            says = f"{found} at {knob} {value}, too"
            yield Asked(_predict(stated, "elsewhere", says), (sides[0], sides[1]), PLANNED)
    for level in writeups.levels:
        says = f"{found} at {level:g} times the compute, too"
        yield Asked(_predict(stated, "compute", says), whole, level)


def _predict(stated: Stated, kind: Kind, says: str) -> Stated:
    return replace(stated, kind=kind, says=says)


def _turn(recipe: Recipe, knob: str, before: Recipe) -> Recipe | None:
    return _set(recipe, knob, getattr(before, knob))


def _set(recipe: Recipe, knob: str, value: Any) -> Recipe | None:
    """Return a recipe with another value of a knob; None where it cannot be."""
    try:
        return replace(recipe, **{knob: value})
    except BadInput:
        return None


def _check(
    run: Run,
    world: World,
    place: Place,
    asked: Asked,
    reviews: Mapping[tuple[Place, str], Sequence[Said]],
) -> Claim:
    """Return a claim with its checks, and its reviews by those who were shown this very claim."""
    (digest, number), writeups = place, run.config.study.writeups
    assert writeups
    plan, pairs = run.facts.plans[digest], writeups.pairs
    shown = name_bytes(show_claim(asked.stated)) if reviews else ""
    fresh, error, law = replicate(world, asked.sides, asked.level, f"{digest}:{number}", pairs)
    return Claim(
        plan=digest,
        arm=plan.arm,
        repeat=run.base + plan.repeat,
        generation=plan.generation,
        accepted=run.facts.verdicts[digest].answer == "accept",
        stated=asked.stated,
        fresh=fresh,
        fresh_error=error,
        law=law,
        reviews=tuple(reviews.get((place, shown), ())),
    )


def replicate(
    world: World, sides: Sides, level: float, name: str, pairs: int
) -> tuple[float, float, float]:
    """Return (mean gain of fresh pairs, its standard error, gain by the table's means), in bits
    saved; NaN where the table lacks a side at this level, or a training of it failed.

    The seeds follow from `name`, and from no secret of the study.
    """
    nothing = math.nan, math.nan, math.nan
    try:
        law = world.score(sides[1], level) - world.score(sides[0], level)
        means = np.array(
            [[_draw(world, recipe, level, name, pair) for recipe in sides] for pair in range(pairs)]
        )
    except Unlisted:
        return nothing
    gains = means[:, 1] - means[:, 0]
    if not math.isfinite(law) or not np.isfinite(gains).all():
        return nothing
    return float(gains.mean()), float(gains.std(ddof=1) / math.sqrt(pairs)), law


def _draw(world: World, recipe: Recipe, level: float, name: str, pair: int) -> float:
    key = hashlib.sha256(f"replication:{name}:{pair}".encode()).digest()
    bits = world.draw(recipe, level, int.from_bytes(key[:6], "big")).bits
    return float(bits[: world.table.folds].mean()) if len(bits) else math.nan


def measure_writeups(claims: Sequence[Claim], novelty: Sequence[Novelty]) -> dict[str, Any]:
    """Return the figures of the write-ups of a study, reviewed blind by every rule, and by the
    model and the people who were asked.
    """
    return measure_review(claims, review_all(claims), novelty)


def review_all(claims: Sequence[Claim]) -> dict[str, Floats]:
    """Return reviewer -> probabilities (N,), NaN where it was not asked."""
    shown = [claim.stated for claim in claims]
    return {
        **{name: review(shown) for name, review in REVIEWERS.items()},
        **collect_reviews(claims),
    }
