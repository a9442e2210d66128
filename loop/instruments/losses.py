"""What became of a run's proposals, and how much of a gain holds on each rung."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

from configs.arms import variant
from configs.entries import OpeningEntry
from configs.objective import Objective
from configs.recipe import Recipe
from configs.records import Plan, Scores
from evals.loss import Fate, PlanFact
from evals.metrics import floor, log_odds, primary
from evals.parallel import distances
from evals.retention import Held
from evals.table import UNLISTED
from loop.facts.places import Invalid
from loop.instruments.closure import writer
from loop.instruments.gains import (
    correct_gain,
    mean_score,
    pair_gain,
    pair_scores,
)
from loop.instruments.run import Run

Look = tuple[float, float, float]
"""Gain on the unbounded scale, the champion's raw score, the baseline's raw score."""
UNKNOWN = (math.nan, math.nan, math.nan)
UNMOVED = (0.0, math.nan, math.nan)
"""A rung where the baseline is champion still."""


def read_rungs(run: Run, arm: str) -> Iterator[Held]:
    """Yield an arm's gains per rung, on the unbounded scale; none before the study's end.

    Example: accepted plans gained 0.9 on feedback, 0.7 on confirm, and the closing look shows 0.6.
    Where the baseline is champion still, every rung after gate is 0.
    """
    openings = [(plan.repeat, opening) for plan, opening in _openings(run) if plan.arm == arm]
    for _, repeat in [key for key in run.campaigns if key[0] == arm and run.facts.closed]:
        accepted = _accepted(run, arm, repeat)
        gained = math.fsum(feedback_gain(run, p.plan, run.unbounded) for p in accepted)
        proven = math.fsum(pair_gain(run, p.plan, run.unbounded) for p in accepted)
        rungs: dict[str, Look] = {
            "feedback": (gained, math.nan, math.nan),
            "gate": (proven, math.nan, math.nan),
            "closing": _closing_look(run, arm, repeat, "final"),
            **_slice_rungs(run, arm, repeat),
        }
        if run.config.study.larger_replicates:
            rungs["large"] = _closing_look(run, arm, repeat, "larger")
        own = [opening for at, opening in openings if at == repeat]
        if own:
            rungs["sealed"] = _opened_gain(run, own[0])
        elif openings and not run.has_new_champion(arm, repeat):
            # The arm was opened, and this campaign had no champion to open.
            rungs["sealed"] = UNMOVED
        for rung, look in rungs.items():
            yield hold(run.base + repeat, rung, look)


def hold(repeat: int, rung: str, look: Look, change: str = "") -> Held:
    """Return a look as the gain on a rung."""
    value, score, beside = look
    return Held(repeat=repeat, rung=rung, value=value, score=score, beside=beside, change=change)


SLICED = ("exact_match", "bits")
"""Metrics that are measured on slices, too."""


def _openings(run: Run) -> Iterator[tuple[Plan, OpeningEntry]]:
    for digest, opening in run.facts.openings.items():
        yield run.facts.plans[digest], opening


def _accepted(run: Run, arm: str, repeat: int) -> list[PlanFact]:
    """Return a campaign's accepted plans; the last one alone where nothing is carried on."""
    accepted = [
        p for p in read_plans(run, arm) if p.repeat == run.base + repeat and p.fate == "accepted"
    ]
    if variant(arm).carry:
        return accepted
    # Each generation starts from the baseline, so accepted plans are alternatives.
    return sorted(accepted, key=lambda p: p.generation)[-1:]


def _closing_look(run: Run, arm: str, repeat: int, purpose: str) -> Look:
    final = run.finals.get((arm, repeat, purpose))
    if final and run.has_new_champion(arm, repeat):
        return paired_look(run, final)
    return UNKNOWN if run.has_new_champion(arm, repeat) else UNMOVED


def paired_look(run: Run, digest: str) -> Look:
    """Return what the pairs of a closing look show on confirm."""
    sides = pair_scores(run, digest).values()
    champion, baseline = (mean_score(run, list(side.values())) for side in sides)
    return pair_gain(run, digest, run.unbounded), champion, baseline


def _slice_rungs(run: Run, arm: str, repeat: int) -> dict[str, Look]:
    """Return the rung of each slice outside the task's distribution, if the campaign has it."""
    names = run.config.task.format().slices() if run.config.objective.metric in SLICED else ()
    if not run.has_new_champion(arm, repeat):
        return dict.fromkeys(names, UNMOVED)
    final = run.finals.get((arm, repeat, "final"))
    return dict(slice_looks(run, final)) if final else {}


def slice_looks(run: Run, digest: str) -> Iterator[tuple[str, Look]]:
    """Yield each slice and the closing look of a plan on it, where it was measured."""
    names = run.config.task.format().slices() if run.config.objective.metric in SLICED else ()
    for name in names:
        look = _slice_look(run, digest, name)
        if math.isfinite(look[0]):
            yield name, look


def _slice_look(run: Run, digest: str, name: str) -> Look:
    """Return a closing look on one slice: its exact match, or its bits."""
    sides = [
        [_on_slice(scores, name) for scores in side.values() if name in scores.slices]
        for side in pair_scores(run, digest).values()
    ]
    if not all(sides):
        return UNKNOWN
    champion, baseline = (_mean_unbounded(run, side) for side in sides)
    return champion - baseline, mean_score(run, sides[0]), mean_score(run, sides[1])


def _on_slice(scores: Scores, name: str) -> Scores:
    bits = (scores.slice_bits or {}).get(name)
    return replace(scores, exact_match=scores.slices[name], bits=bits)


def _mean_unbounded(run: Run, scores: Sequence[Scores]) -> float:
    return math.fsum(primary(run.unbounded, s) for s in scores) / len(scores)


def _opened_gain(run: Run, opening: OpeningEntry) -> Look:
    """Return an opening of sealed.

    It rests on the means in the opening, since single scores never leave the run. NaN where a pair
    is missing.
    """
    champion, baseline = opening.champion_mean, opening.baseline_mean
    if opening.gain is None or champion is None or baseline is None:
        return UNKNOWN
    sign = 1 if run.config.objective.direction == "up" else -1
    if run.unbounded == run.config.objective:
        return opening.gain, sign * champion, sign * baseline
    # All held-out splits hold as many items.
    items = next((s.items for s in run.facts.scores.values() if s), 0)
    gain = sign * (log_odds(champion, items) - log_odds(baseline, items))
    return gain, sign * champion, sign * baseline


def feedback_gain(run: Run, digest: str, objective: Objective) -> float:
    """Return a plan's gain on feedback over its parent's screening score; NaN without both."""
    own = run.facts.scores.get((digest, "predict", 0))
    parent = run.facts.scores.get((run.facts.plans[digest].parent, "predict", 0))
    return primary(objective, own) - primary(objective, parent) if own and parent else math.nan


def read_plans(run: Run, arm: str) -> list[PlanFact]:
    """Return the fate of every proposal of an arm, invalid ones included."""
    if arm not in run.plan_facts:
        run.plan_facts[arm] = list(_read_plans(run, arm))
    return run.plan_facts[arm]


def _read_plans(run: Run, arm: str) -> Iterator[PlanFact]:
    parallel = run.config.study.rounds(arm)[1]
    apart, limited = _distances(run, arm), run.config.study.change_limit(arm) > 0
    seen = set[tuple[int, str, Recipe]]()
    for (_, repeat, generation, index), proposal in run.proposals_of(arm):
        around_us = run.planned_us.get((arm, repeat, -generation), 0) // parallel
        fact = PlanFact(
            plan=f"{arm}:{repeat}:{generation}:{index}",
            fate="invalid",
            repeat=run.base + repeat,
            generation=generation,
            author=writer(arm),
            parallel=parallel,
            around_cpu_us=around_us,
        )
        if isinstance(proposal, Invalid):
            yield fact
            continue
        plan = run.facts.plans[proposal]
        change = repeat, plan.bundle, plan.recipe
        known = replace(
            fact,
            plan=proposal,
            duplicate=change in seen,
            apart=apart.get(proposal),
            parent=(plan.basis or plan.parent) if limited else "",
            of_champion=plan.basis in ("", plan.parent),
            origin=run.origins.get(proposal),
        )
        yield _measured(run, known, plan)
        seen.add(change)


def _distances(run: Run, arm: str) -> dict[str, float]:
    """Return plan -> mean distance to the other plans of its generation, where it has others."""
    knobs = [name for name, values in run.config.task.choices().items() if len(values) > 1]
    apart = dict[str, float]()
    for (other, _, generation), names in run.candidates.items():
        if other == arm and generation <= run.config.study.generations:
            recipes = [run.facts.plans[name].recipe for name in names]
            values = distances([[getattr(recipe, knob) for knob in knobs] for recipe in recipes])
            apart |= {n: v for n, v in zip(names, values, strict=True) if math.isfinite(v)}
    return apart


def _measured(run: Run, fact: PlanFact, plan: Plan) -> PlanFact:
    """Return a plan's fact with its fate and its gains; gains only of studies that ended."""
    digest = fact.plan
    fact = replace(
        fact,
        fate=_fate(run, digest, plan),
        unlisted=_is_unlisted(run, digest),
        cpu_us=run.charged_us.get(digest, 0),
        promised=plan.predicted_gain,
    )
    if not run.facts.closed:
        return fact
    feedback = feedback_gain(run, digest, run.config.objective)
    lost = fact.fate == "crashed" and math.isnan(feedback)
    screened = _floor_gain(run, digest) if lost else feedback
    fact = replace(fact, feedback=_finite(feedback), screened=_finite(screened))
    verdict = run.facts.verdicts.get(digest)
    if verdict is None:
        return fact
    return replace(
        fact,
        gate=verdict.gain,
        corrected=verdict.corrected,
        gained=correct_gain(run, digest),
        replicates=verdict.replicates,
    )


def _is_unlisted(run: Run, digest: str) -> bool:
    result = run.facts.results.get((digest, "train", 0))
    return result is not None and result[0].detail.startswith(UNLISTED)


def _floor_gain(run: Run, digest: str) -> float:
    """Return the objective's floor less the parent's score on feedback; NaN without either."""
    objective = run.config.objective
    parent = run.facts.scores.get((run.facts.plans[digest].parent, "predict", 0))
    return floor(objective, parent.items) - primary(objective, parent) if parent else math.nan


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _fate(run: Run, digest: str, plan: Plan) -> Fate:
    verdict = run.facts.verdicts.get(digest)
    accepted = verdict is not None and verdict.answer == "accept"
    denied = (digest, plan.change_class) in run.facts.denied
    if denied or (accepted and (digest, "promote") in run.facts.denied):
        return "refused"
    failed = bool(run.facts.failures.get(digest))
    if verdict is None:
        return "crashed" if failed else "superseded"
    if accepted:
        chosen = digest in run.facts.crowned or not variant(plan.arm).selects
        return "accepted" if chosen else "superseded"
    if any(c.name == "planned compute" and not c.passed for c in verdict.criteria):
        return "over budget"
    if verdict.answer == "inconclusive":
        return "inconclusive"
    return "crashed" if failed else "no effect"
