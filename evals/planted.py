"""Worlds of known truth: a simulated trainer and proposer with a stated law.

They prove the instruments, and show how they can be fooled. Each world draws a whole study: arms,
proposers on fixed parents, decisions, plans, rungs. It states the true value of every instrument
with a truth there, and the true words. Nothing is trained. A world of your own is another `World`:
draw, truth, words.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from configs.settings.study import Warn
from evals.amplify import decline
from evals.arms import Curve
from evals.claims import Evidence, warning
from evals.closure import automation, autonomy
from evals.draws import (
    draw_arms,
    draw_changes,
    draw_events,
    draw_far,
    draw_noise,
    draw_plans,
    draw_reference,
    draw_rungs,
    draw_siblings,
    draw_skills,
)
from evals.equivalents import Reference, compute_equivalent, rate_ratio
from evals.foretold import calibration
from evals.growth import growth
from evals.intervals import Figure, Floats, missing
from evals.law import (
    COMPUTED,
    ELSE,
    GENERATIONS,
    LEVEL_AT_USED,
    LONG,
    MINUTES,
    QUEUE,
    RATED,
    REPEATS,
    TWINS,
    USED_BITS,
    Law,
    true_words,
    truth,
)
from evals.pace import (
    Effort,
    elasticities,
    human_cost,
    interaction,
    limiting,
    run_length,
    speed_up,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """A study with a known law."""

    name: str
    "its name in WORLDS"
    draw: Callable[[np.random.Generator], tuple[Evidence, Mapping[str, Figure | bool]]]
    """rng -> a study, with the figures (run length, human cost) and words (the sign) that need more
    than its records
    """
    truth: Mapping[str, float]
    """instrument -> true value; an instrument without any is left out, and no coverage is asked of
    it
    """
    words: frozenset[str] = frozenset()
    "its true words"


TOGETHER: dict[str, float] = {"compounding": 0.2, "saturating": -0.15}
"""World -> log-odds that more compute and more proposals gain beyond the sum of each alone."""


def world(law: Law) -> World:
    """Return the world of a law."""
    together = {"compute x proposals": TOGETHER.get(law.name, 0.0)}
    return World(
        name=law.name,
        draw=lambda rng: _draw(law, rng),
        truth=truth(law) | together,
        words=true_words(law),
    )


def _draw(law: Law, rng: np.random.Generator) -> tuple[Evidence, Mapping[str, Figure | bool]]:
    """Return a study, and the figures and words that need more than its records.

    The order of the draws is part of the world.
    """
    apart = rng.spawn(1)[0]
    twins, kin, square, far = apart.spawn(4)
    arms = draw_arms(law, rng, twins)
    plans = draw_plans(law, rng, apart)
    acts = int(rng.poisson(law.human * 4 * GENERATIONS * REPEATS))
    study = Evidence(
        arms=arms,
        skills=draw_skills(law, rng),
        events=draw_events(law, rng),
        plans=plans,
        held=(*draw_rungs(law, rng, arms["self"]), *draw_far(law, far, arms["self"])),
        references=draw_changes(law, far),
        ceiling=1.0,
        deviation=0.1,
        scores=tuple(1.0 - 0.1 * law.gap + 0.02 * rng.standard_normal(REPEATS)),
    )
    closing = arms["self"].value[:, -1]
    raised = {
        name: closing * (1 + 0.25 * by) + 0.05 * rng.standard_normal(REPEATS)
        for name, by in law.elastic.items()
    }
    figures = {f"elasticity of {name}": f for name, f in elasticities(closing, raised).items()}
    figures["compute x proposals"] = _square(law, closing, raised, square)
    figures["generations per live human act"] = run_length(GENERATIONS * REPEATS, acts)
    figures |= calibration(draw_siblings(law, kin))
    figures |= _equivalents(law, arms, draw_reference(rng))
    figures |= _human(study, closing, apart)
    return study, {**figures, **_further_words(law, study, raised, apart)}


def _square(
    law: Law, closing: Floats, raised: Mapping[str, Floats], rng: np.random.Generator
) -> Figure:
    """Return the interaction of compute and proposals; both together have noise of their own."""
    more = sum(law.elastic[name] for name in ("compute", "proposals"))
    both = closing * (1 + 0.25 * more) + TOGETHER.get(law.name, 0.0)
    both = both + 0.05 * rng.standard_normal(REPEATS)
    return interaction(closing, raised["compute"], raised["proposals"], both)


def _equivalents(law: Law, arms: Mapping[str, Curve], reference: Reference) -> dict[str, Figure]:
    """Return the compute-equivalent gain and the rate ratio; a searched landscape has none."""
    if law.search:
        return {
            "compute-equivalent gain": missing("not measured", "doublings"),
            "rate ratio": missing("not measured", "ratio"),
        }
    reached = LEVEL_AT_USED + arms["self"].value[:, -1]
    return {
        "compute-equivalent gain": compute_equivalent(reference, 2**USED_BITS, reached),
        "rate ratio": rate_ratio(arms, RATED, reference)[0],
    }


def _human(study: Evidence, closing: Floats, rng: np.random.Generator) -> dict[str, Figure]:
    """Return the human cost per gain, and the speed-up without waits for people or for compute."""
    decided = np.zeros(REPEATS, int)
    for event in study.events:
        if event.actor == "person":
            decided[event.repeat] += event.decisions
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
"""The warning sign of every planted study."""


def _further_words(
    law: Law, study: Evidence, raised: Mapping[str, Floats], rng: np.random.Generator
) -> dict[str, bool]:
    """Return whether each further word is said of a study.

    These are the sign, the stage, the reading of the gain ratio, the limit, and the law of growth.
    """
    reading = decline(study.arms)
    limit = limiting(study.arms["self"].value[:, -1], raised)
    grown = growth(_long_curves(law, rng)).best
    limits, grows = law.limit(), law.grows()
    return {
        "sign crossed": warning(SIGN, study.skills, study.events)["sign"] == "crossed",
        "staged": autonomy(automation(study.events)) == law.stage(),
        "slower than its references": reading == "falls faster than its references",
        "ahead of its references": (
            reading in ("falls less than its references", "grows more than its references")
        ),
        "limited by its limit": limit == limits,
        "limited by another": limit not in (limits, "cannot tell"),
        "grows by its law": grown == grows,
        "grows by another": bool(grows) and grown not in (grows, "cannot tell"),
    }


def _long_curves(law: Law, rng: np.random.Generator) -> Floats:
    """Return gain curves (R, LONG), long enough to read growth off them."""
    own = law.noise * draw_noise(law, rng, (REPEATS, LONG))
    added = own + law.shared * rng.standard_normal((REPEATS, LONG))
    return np.asarray(np.cumsum(law.long() + added * (1 + law.drift) ** np.arange(LONG), axis=1))


_CLOSED = frozenset({"amplifying", "self-closed"})
_SEES_MORE = Law(name="", data=0.12, skill={**Law(name="").skill, "scrambled": 0.3})
LAWS: dict[str, Law] = {
    law.name: law
    for law in (
        Law(name="null", step=0.0, foretells=0.0),
        Law(name="linear"),
        Law(name="compounding", mechanism=0.15, data=0.05, words=_CLOSED),
        Law(name="lossy", kept=0.5, decay=0.9, words=frozenset({"lossy"})),
        Law(name="brittle", beyond={"away": 0.4}, words=frozenset({"lossy"})),
        Law(name="undertrained baseline", loses={"away": 0.6, "large": 0.8}),
        Law(name="saturating", decay=0.7, step=0.5, gap=0.5),
        Law(name="hacking", hack=0.6, foretells=0.5),
        Law(
            name="human-bottlenecked",
            mechanism=0.15,
            human=0.7,
            words=frozenset({"amplifying"}),
            elastic={"compute": 0.1, "proposals": 0.1, "replicates": 0.0, "reviewer speed": 0.8},
        ),
        Law(
            name="fixed-search",
            search=True,
            proposer="fixed program",
            skill=dict.fromkeys(("self", "frozen", "refit", "scrambled", "random", *TWINS), 1.0),
        ),
        replace(_SEES_MORE, name="data-only"),
        Law(name="cron", skill=dict.fromkeys(Law(name="").skill, 1.0), proposer="fixed program"),
        Law(name="heavy tails", tails="heavy"),
        Law(name="drifting noise", drift=0.2),
        Law(name="rare jumps", tails="jumps"),
        Law(name="correlated arms", mirrored=True, shared=0.0),
    )
}
"""Name -> law."""


WORLDS: dict[str, World] = {name: world(law) for name, law in LAWS.items()}
"""Name -> world."""
