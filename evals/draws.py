"""Draws of a planted study: each function draws one kind of record by the law of a world.

The order of draws from a generator is part of a world: another order gives other studies.
"""

import numpy as np

from evals.amplify import Skill
from evals.arms import Curve
from evals.closure import STAGES, Actor, Event, Stage
from evals.equivalents import Reference
from evals.intervals import Floats
from evals.law import (
    AROUND,
    CHOSEN,
    CLAIM,
    GENERATIONS,
    MEASURED,
    PARALLEL,
    PER_BIT,
    PLAN_BAR,
    PLAN_NOISE,
    PLAN_SPREAD,
    REFERENCE_BITS,
    REFERENCES,
    REPEATED,
    REPEATS,
    ROUND_US,
    SEEDS,
    SHOWN,
    TWINS,
    WIDTHS,
    Law,
)
from evals.loss import PlanFact
from evals.retention import Held


def draw_noise(law: Law, rng: np.random.Generator, shape: tuple[int, ...]) -> Floats:
    """Return centred noise with a deviation of about 1."""
    if law.tails == "heavy":
        return np.asarray(rng.standard_t(3, shape) / np.sqrt(3))
    if law.tails == "jumps":
        small = 0.5 * rng.standard_normal(shape)
        return np.asarray(small + 6 * 0.5 * ((rng.random(shape) < 0.1) - 0.1))
    return rng.standard_normal(shape)


def draw_arms(law: Law, rng: np.random.Generator, apart: np.random.Generator) -> dict[str, Curve]:
    """Return every arm's gain after each generation, at the same spent plan.

    The noise of TWINS comes from the generator `apart`, so that they change no other draw.
    """
    spent = np.tile(ROUND_US * np.arange(1.0, GENERATIONS + 1), (REPEATS, 1))
    values = (_searched_gains if law.search else _added_gains)(law, rng, apart)
    repeats = tuple(range(REPEATS))
    return {arm: Curve(repeats=repeats, spent=spent, value=v) for arm, v in values.items()}


def _searched_gains(
    law: Law, rng: np.random.Generator, apart: np.random.Generator
) -> dict[str, Floats]:
    """Return arm -> gains (R, G) of random search: the best of all draws so far."""
    shape = (REPEATS, GENERATIONS * PARALLEL)
    draws = {
        arm: law.step * (apart if arm in TWINS else rng).standard_normal(shape) for arm in law.skill
    }
    return {
        arm: np.maximum.accumulate(draw, axis=1)[:, PARALLEL - 1 :: PARALLEL]
        for arm, draw in draws.items()
    }


def _added_gains(
    law: Law, rng: np.random.Generator, apart: np.random.Generator
) -> dict[str, Floats]:
    """Return arm -> gains (R, G) that add up over generations, on common random numbers."""
    shape = (REPEATS, GENERATIONS)
    spread = (1 + law.drift) ** np.arange(GENERATIONS)
    common = law.shared * rng.standard_normal(shape)
    own = {
        arm: law.noise * draw_noise(law, apart if arm in TWINS else rng, shape) for arm in law.skill
    }
    if law.mirrored:
        own |= {arm: -own["self"] for arm in ("refit", "scrambled")}
    return {
        arm: law.means(arm) + np.cumsum((common + own[arm]) * spread, axis=1) for arm in law.skill
    }


def draw_skills(law: Law, rng: np.random.Generator) -> list[Skill]:
    """Return Q of every cell; all cells of a repeat share the luck of their parents."""
    last, parents = GENERATIONS - 1, 0.05 * rng.standard_normal(REPEATS)
    base = 0.0 if law.search else law.step * law.skill["self"]
    scrambled = law.skill["scrambled"] - law.skill["self"]
    cells = {
        (last, last, False): law.step * (law.mechanism + law.data) * last,
        (0, last, False): law.step * law.data * last,
        (0, 0, False): 0.0,
        (last, last, True): law.step * scrambled * (not law.search),
    }
    noise = {cell: 0.05 * draw_noise(law, rng, (REPEATS,)) for cell in cells}
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


def draw_events(law: Law, rng: np.random.Generator) -> list[Event]:
    """Return the decisions of people and of rules at every stage."""
    events = list[Event]()
    for stage in STAGES:
        if stage in ("propose", "approve", "accept", "promote"):
            by_people = rng.binomial(GENERATIONS, law.human, REPEATS)
        else:
            by_people = np.zeros(REPEATS, int)
        rule = _rule(law, stage)
        for repeat, count in enumerate(map(int, by_people)):
            sides: tuple[tuple[Actor, int], ...] = (
                ("person", count),
                (rule, GENERATIONS - count),
            )
            events += [_event(stage, actor, repeat, n) for actor, n in sides if n]
    return events


def _rule(law: Law, stage: Stage) -> Actor:
    """Return who decides at a stage where no person does."""
    if stage == "propose":
        return law.proposer
    return "fixed program" if stage in ("train", "evaluate") else "unattended rule"


def _event(stage: Stage, actor: Actor, repeat: int, decisions: int) -> Event:
    cpu_us = decisions * 1000
    return Event(
        stage=stage,
        actor=actor,
        cpu_us=cpu_us,
        repeat=repeat,
        decisions=decisions,
        charged_us=cpu_us * (stage == "approve"),
    )


def draw_plans(law: Law, rng: np.random.Generator, apart: np.random.Generator) -> list[PlanFact]:
    """Return one plan per generation with its promise and its measurements.

    Duplicates come from the generator `apart`, so that they change no other draw.
    """
    shape = (REPEATS, GENERATIONS)
    true = law.plan_means() + PLAN_SPREAD * rng.standard_normal(shape)
    promise, feedback, gate, fresh = (
        true + shift + PLAN_NOISE * rng.standard_normal(shape)
        for shift in (CLAIM, law.hack, 0.0, 0.0)
    )
    paid = ROUND_US * (1 + 0.1 * rng.uniform(-1, 1, shape))
    pairs = rng.integers(4, 9, shape)
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


def draw_rungs(law: Law, rng: np.random.Generator, curve: Curve) -> list[Held]:
    """Return the self arm's gains on each rung; `curve` is its own."""
    closing = curve.value[:, -1]
    means = {
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


def draw_far(law: Law, rng: np.random.Generator, curve: Curve) -> list[Held]:
    """Return the self arm's gains outside the training distribution and with more compute."""
    closing = curve.value[:, -1]
    return [
        Held(repeat=r, rung=rung, value=float(v))
        for rung, by in law.loses.items()
        for r, v in enumerate(
            (1 - by - law.beyond.get(rung, 0.0)) * closing + 0.1 * rng.standard_normal(REPEATS)
        )
    ]


def draw_changes(law: Law, rng: np.random.Generator) -> list[Held]:
    """Return the gains of reference changes on each rung, round the gain of the self arm.

    Each loses its share by `law.loses`, and something of its own.
    """
    middle = max(float(law.means("self")[-1]), law.step, 0.1)
    gains = middle * np.linspace(0.3, 1.7, REFERENCES)
    own = {rung: 0.05 * rng.standard_normal(REFERENCES) for rung in law.loses}
    return [
        Held(repeat=r, rung=rung, change=f"change {k}", value=float(v))
        for rung, by in {"closing": 0.0, **law.loses}.items()
        for k, gain in enumerate(gains)
        for r, v in enumerate(
            (1 - by) * gain
            - (own[rung][k] if rung in own else 0.0)
            + 0.1 * rng.standard_normal(MEASURED)
        )
    ]


def draw_reference(rng: np.random.Generator) -> Reference:
    """Return a measured reference curve, linear in log2 of compute."""
    means = PER_BIT * (REFERENCE_BITS - REFERENCE_BITS[0])
    scores = means[:, None] + 0.05 * rng.standard_normal((len(means), SEEDS))
    return Reference(budgets=2.0**REFERENCE_BITS, scores=scores)


def draw_siblings(law: Law, rng: np.random.Generator) -> list[PlanFact]:
    """Return the screened plans of generations with several: foretold, and shown on feedback.

    Plans of a generation share the parent's luck. Within it what is shown follows what is foretold
    by `law.foretells`.
    """
    shape = (REPEATS, GENERATIONS, PARALLEL)
    ahead, luck, noise = rng.standard_normal((3, *shape))
    foretold = PLAN_SPREAD * ahead
    shown = law.foretells * foretold + PLAN_SPREAD / 2 * luck + PLAN_NOISE * noise
    shown += 3 * PLAN_NOISE * rng.standard_normal(shape[:2])[:, :, None] + law.hack
    return [
        PlanFact(
            plan=f"sibling:{r}:{g}:{index}",
            repeat=r,
            generation=g + 1,
            fate="superseded",
            promised=float(foretold[r, g, index] + CLAIM),
            screened=float(shown[r, g, index]),
        )
        for r, g, index in np.ndindex(shape)
    ]
