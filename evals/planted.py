"""Worlds whose truth is known: a simulated trainer and proposer with a stated law, to prove the
instruments on and to show what fools them.

Each world draws a whole study (arms, proposers on fixed parents, decisions, plans, rungs) and
states the true value of every instrument that has one there, and which words are true. Nothing is
trained. A world of your own is one more `World`: draw, truth, words.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from configs.settings.study import Warn
from evals.amplify import Skill, decline
from evals.arms import Curve
from evals.claims import Evidence, warning
from evals.closure import (
    STAGES,
    Actor,
    Effort,
    Event,
    automation,
    autonomy,
    elasticities,
    human_cost,
    limiting,
    run_length,
    speed_up,
)
from evals.equivalents import Reference, compute_equivalent, rate_ratio
from evals.growth import growth
from evals.intervals import Figure, Floats, missing
from evals.law import (
    AROUND,
    CHOSEN,
    CLAIM,
    COMPUTED,
    ELSE,
    GENERATIONS,
    LAWS,
    LEVEL_AT_USED,
    LONG,
    MINUTES,
    PARALLEL,
    PER_BIT,
    PLAN_BAR,
    PLAN_NOISE,
    PLAN_SPREAD,
    QUEUE,
    RATED,
    REFERENCE_BITS,
    REPEATED,
    REPEATS,
    ROUND_US,
    SEEDS,
    SHOWN,
    USED_BITS,
    WIDTHS,
    Law,
    true_words,
    truth,
)
from evals.loss import Held, PlanFact, Rung


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """A study with a known law."""

    name: str
    "its name in WORLDS"
    draw: Callable[[np.random.Generator], tuple[Evidence, Mapping[str, Figure | bool]]]
    """rng -> one study, and what needs more than its records: instruments (run length, human cost),
    and words with whether they are said (the sign)
    """
    truth: Mapping[str, float]
    """instrument -> true value; an instrument that has none here is left out, and no coverage is
    asked of it
    """
    words: frozenset[str] = frozenset()
    "the words that are true of it"


def world(law: Law) -> World:
    """Return the world of a law."""
    return World(
        name=law.name, draw=lambda rng: _draw(law, rng), truth=truth(law), words=true_words(law)
    )


def _noise(law: Law, rng: np.random.Generator, shape: tuple[int, ...]) -> Floats:
    """Return centred noise of deviation about 1."""
    if law.tails == "heavy":
        return np.asarray(rng.standard_t(3, shape) / np.sqrt(3))
    if law.tails == "jumps":
        return np.asarray(
            0.5 * rng.standard_normal(shape) + 6 * 0.5 * ((rng.random(shape) < 0.1) - 0.1)
        )
    return rng.standard_normal(shape)


def _draw(law: Law, rng: np.random.Generator) -> tuple[Evidence, Mapping[str, Figure | bool]]:
    arms, apart = _arms(law, rng), rng.spawn(1)[0]
    plans, acts = _plans(law, rng, apart), int(rng.poisson(law.human * 4 * GENERATIONS * REPEATS))
    study = Evidence(
        arms=arms,
        skills=_proposers(law, rng),
        events=_events(law, rng),
        plans=plans,
        held=_held(law, rng, arms["self"]),
        ceiling=1.0,
        deviation=0.1,
        scores=tuple(1.0 - 0.1 * law.gap + 0.02 * rng.standard_normal(REPEATS)),
    )
    closing = arms["self"].value[:, -1]
    raised = {
        name: closing * (1 + 0.25 * by) + 0.05 * rng.standard_normal(REPEATS)
        for name, by in law.elastic.items()
    }
    reference = _reference(rng)
    found = (
        rate_ratio(arms, RATED, reference)[0]
        if not law.search
        else missing("not measured", "ratio")
    )
    worth = (
        compute_equivalent(reference, 2**USED_BITS, LEVEL_AT_USED + closing)
        if not law.search
        else missing("not measured", "doublings")
    )
    return study, {
        **{
            f"elasticity of {name}": figure
            for name, figure in elasticities(closing, raised).items()
        },
        "generations per live human act": run_length(GENERATIONS * REPEATS, acts),
        "compute-equivalent gain": worth,
        "rate ratio": found,
        **_human(study, closing, apart),
        **_said(law, study, raised, apart),
    }


def _human(study: Evidence, closing: Floats, rng: np.random.Generator) -> dict[str, Figure]:
    """Return what people cost, and how much sooner a campaign would end without waiting for them,
    or for compute.
    """
    decided = np.array(
        [
            sum(e.decisions for e in study.events if (e.actor, e.repeat) == ("person", r))
            for r in range(REPEATS)
        ]
    )
    minutes, queue = (mean * rng.gamma(2 * decided + 1e-9) / 2 for mean in (MINUTES, QUEUE))
    computed, other = (mean * rng.gamma(20, 1 / 20, REPEATS) for mean in (COMPUTED, ELSE))
    effort = Effort(
        decisions=tuple(map(int, decided)), minutes=tuple(minutes), queue_seconds=tuple(queue)
    )
    cost = {f"{name} per gain": figure for name, figure in human_cost(effort, closing).items()}
    return cost | speed_up(queue, computed, queue + computed + other)


SIGN = Warn(
    repeats=8,
    floor=0.1,
    automation={stage: 0.5 for stage in ("propose", "approve", "accept", "promote", "deploy")},
    cpu_seconds=0.05,
)
"""The warning sign that every planted study registers."""


def _said(
    law: Law, study: Evidence, raised: Mapping[str, Floats], rng: np.random.Generator
) -> dict[str, bool]:
    """Return what is said beyond the words: the sign, the stage, how the gain ratio reads, what
    limits, and which law of growth holds.
    """
    read, limit = decline(study.arms), limiting(study.arms["self"].value[:, -1], raised)
    added = law.noise * _noise(law, rng, (REPEATS, LONG)) + law.shared * rng.standard_normal(
        (REPEATS, LONG)
    )
    curves = np.cumsum(law.long() + added * (1 + law.drift) ** np.arange(LONG), axis=1)
    grown, limits, grows = growth(curves).best, law.limit(), law.grows()
    return {
        "sign crossed": warning(SIGN, study.skills, study.events)["sign"] == "crossed",
        "staged": autonomy(automation(study.events)) == law.stage(),
        "slower than its references": read == "falls faster than its references",
        "ahead of its references": (
            read in ("falls less than its references", "grows more than its references")
        ),
        "limited by its limit": limit == limits,
        "limited by another": limit not in (limits, "cannot tell"),
        "grows by its law": grown == grows,
        "grows by another": bool(grows) and grown not in (grows, "cannot tell"),
    }


def _arms(law: Law, rng: np.random.Generator) -> dict[str, Curve]:
    spent = np.tile(ROUND_US * np.arange(1.0, GENERATIONS + 1), (REPEATS, 1))
    if law.search:
        draws = {
            arm: law.step * rng.standard_normal((REPEATS, GENERATIONS * PARALLEL))
            for arm in law.skill
        }
        value = {
            arm: np.maximum.accumulate(d, axis=1)[:, PARALLEL - 1 :: PARALLEL]
            for arm, d in draws.items()
        }
    else:
        spread = (1 + law.drift) ** np.arange(GENERATIONS)
        common = law.shared * rng.standard_normal((REPEATS, GENERATIONS))
        own = {arm: law.noise * _noise(law, rng, (REPEATS, GENERATIONS)) for arm in law.skill}
        if law.mirrored:
            own |= {arm: -own["self"] for arm in ("refit", "scrambled")}
        value = {
            arm: law.means(arm) + np.cumsum((common + own[arm]) * spread, axis=1)
            for arm in law.skill
        }
    return {
        arm: Curve(repeats=tuple(range(REPEATS)), spent=spent, value=v) for arm, v in value.items()
    }


def _proposers(law: Law, rng: np.random.Generator) -> list[Skill]:
    last, parents = GENERATIONS - 1, 0.05 * rng.standard_normal(REPEATS)
    base = 0.0 if law.search else law.step * law.skill["self"]
    cells = {
        (last, last, False): law.step * (law.mechanism + law.data) * last,
        (0, last, False): law.step * law.data * last,
        (0, 0, False): 0.0,
        (last, last, True): (
            law.step * (law.skill["scrambled"] - law.skill["self"]) * (not law.search)
        ),
    }
    noise = {cell: 0.05 * _noise(law, rng, (REPEATS,)) for cell in cells}
    return [
        Skill(
            repeat=r,
            recipe=cell[0],
            history=cell[1],
            scrambled=cell[2],
            value=float(base + mean + parents[r] + noise[cell][r]),
        )
        for cell, mean in cells.items()
        for r in range(REPEATS)
    ]


def _events(law: Law, rng: np.random.Generator) -> list[Event]:
    found = list[Event]()
    for stage in STAGES:
        by_people = (
            rng.binomial(GENERATIONS, law.human, REPEATS)
            if stage in ("propose", "approve", "accept", "promote")
            else np.zeros(REPEATS, int)
        )
        rule: Actor = (
            law.proposer
            if stage == "propose"
            else "fixed program"
            if stage in ("train", "evaluate")
            else "unattended rule"
        )
        for r, k in enumerate(map(int, by_people)):
            sides: tuple[tuple[Actor, int], ...] = (("person", k), (rule, GENERATIONS - k))
            for actor, many in sides:
                charged = many * 1000 * (stage == "approve")
                found += (
                    [
                        Event(
                            stage=stage,
                            actor=actor,
                            cpu_us=many * 1000,
                            repeat=r,
                            decisions=many,
                            charged_us=charged,
                        )
                    ]
                    if many
                    else []
                )
    return found


def _plans(law: Law, rng: np.random.Generator, apart: np.random.Generator) -> list[PlanFact]:
    shape, means = (REPEATS, GENERATIONS), law.plan_means()
    true = means + PLAN_SPREAD * rng.standard_normal(shape)
    promise, feedback, gate, fresh = (
        true + shift + PLAN_NOISE * rng.standard_normal(shape)
        for shift in (CLAIM, law.hack, 0.0, 0.0)
    )
    paid, pairs = ROUND_US * (1 + 0.1 * rng.uniform(-1, 1, shape)), rng.integers(4, 9, shape)
    again = apart.random(shape) < np.array(REPEATED)[np.arange(GENERATIONS) % 2]
    return [
        PlanFact(
            plan=f"{r}.{g}",
            repeat=r,
            generation=g + 1,
            fate="accepted" if gate[r, g] > PLAN_BAR else "no effect",
            cpu_us=int(paid[r, g]),
            around_cpu_us=int(AROUND * ROUND_US),
            promised=float(promise[r, g]),
            feedback=float(feedback[r, g]),
            gate=float(gate[r, g]),
            corrected=float(fresh[r, g]),
            gained=float(fresh[r, g]),
            author=law.proposer,
            replicates=int(pairs[r, g]),
            parallel=WIDTHS[g % 2],
            duplicate=bool(again[r, g]),
        )
        for r in range(REPEATS)
        for g in range(GENERATIONS)
    ]


def _held(law: Law, rng: np.random.Generator, mine: Curve) -> list[Held]:
    closing = mine.value[:, -1]
    means: dict[Rung, Floats] = {
        "feedback": closing + SHOWN + 3 * law.hack,
        "gate": closing + CHOSEN,
        "closing": closing,
        "sealed": law.kept * closing,
    }
    return [
        Held(repeat=r, rung=rung, value=float(v))
        for rung, column in means.items()
        for r, v in enumerate(column + 0.1 * rng.standard_normal(REPEATS))
    ]


def _reference(rng: np.random.Generator) -> Reference:
    """Return a measured reference curve, linear in log2 of compute."""
    means = PER_BIT * (REFERENCE_BITS - REFERENCE_BITS[0])
    return Reference(
        budgets=2.0**REFERENCE_BITS,
        scores=means[:, None] + 0.05 * rng.standard_normal((len(means), SEEDS)),
    )


WORLDS: dict[str, World] = {name: world(law) for name, law in LAWS.items()}
"""Name -> world."""
