"""Worlds whose truth is known: a simulated trainer and proposer with a stated law, to prove the instruments on and to show what fools them.

Each world draws a whole study (arms, proposers on fixed parents, decisions, plans, rungs) and states the true value of every instrument that has
one there, and which words are true. Nothing is trained. A world of your own is one more `World`: draw, truth, words.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Literal

import numpy as np
from scipy.integrate import quad
from scipy.stats import binom, norm

from configs.build import need
from configs.study import Warn
from evals.amplify import STEPS, Reference, Skill, compute_equivalent, decline, effects, gain_ratio, growth, rate_ratio, rounds_against_one
from evals.arms import Curve, difference, gain
from evals.claims import Study, warning, words
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
    provenance,
    run_length,
    self_closure,
    speed_up,
)
from evals.intervals import LEVEL, Figure, Floats, missing
from evals.loss import Held, PlanFact, Rung, calibration, duplicates, efficiency, promised, retention, yield_now

WRONG = 0.05
"""Most studies of any world that may be called by a word that is not true of it."""
GENERATIONS, REPEATS, PARALLEL = 8, 12, 4
ROUND_US = 60_000_000
"""Planned compute of one generation, in every arm."""
REFERENCE_BITS, SEEDS, PER_BIT = np.arange(16.0, 48.0, 4.0), 10, 0.25
"""Budgets of the measured reference curve, log2 of CPU-microseconds; its seeds; what a doubling of compute is worth there, in log-odds."""
USED_BITS = 24.0
"""Compute with which the self arm reached its end, for the compute-equivalent gain."""


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """A study with a known law."""

    name: str
    "its name in WORLDS"
    draw: Callable[[np.random.Generator], tuple[Study, Mapping[str, Figure | bool]]]
    "rng -> one study, and what needs more than its records: instruments (run length, human cost), and words with whether they are said (the sign)"
    truth: Mapping[str, float]
    "instrument -> true value; an instrument that has none here is left out, and no coverage is asked of it"
    words: frozenset[str] = frozenset()
    "the words that are true of it"


@dataclass(frozen=True, slots=True, kw_only=True)
class Law:
    """The law of the built-in worlds: each arm's mean gain a generation is step x skill x decay^g, plus noise, in log-odds."""

    name: str
    "name of the world"
    step: float = 0.25
    "mean gain of a generation at skill 1"
    noise: float = 0.12
    "deviation of one generation's gain, own to each arm"
    shared: float = 0.1
    "deviation that all arms of a repeat share: common random numbers"
    skill: Mapping[str, float] = field(default_factory=lambda: {"self": 1.0, "frozen": 1.0, "refit": 1.0, "scrambled": 0.4, "random": 0.4,
                                                                "local": 0.6, "tpe": 0.8, "one_shot": 0.7})  # fmt: skip
    "arm -> skill in the first generation"
    mechanism: float = 0.0
    "skill that each newer recipe of its own adds to self"
    data: float = 0.0
    "skill that each generation of history adds to self and refit"
    decay: float = 1.0
    "factor on every arm's step per generation: headroom used up"
    kept: float = 1.0
    "share of a gain on gate that is there on sealed"
    hack: float = 0.0
    "gain that plans show on feedback alone"
    tails: Literal["normal", "heavy", "jumps"] = "normal"
    "noise: normal, Student t with 3 degrees of freedom, or rare jumps (1 in 10 generations, six deviations)"
    drift: float = 0.0
    "growth of the noise's deviation per generation"
    mirrored: bool = False
    "whether refit and scrambled get the self arm's own noise with its sign turned"
    search: bool = False
    "whether every arm is random search on one fixed landscape: the best of all draws so far"
    human: float = 0.0
    "chance that a person, not a rule, decides at propose, approve, accept, promote"
    proposer: Actor = "lineage"
    "who proposes in the self arm"
    elastic: Mapping[str, float] = field(default_factory=lambda: {"compute": 0.6, "proposals": 0.2, "replicates": 0.1, "reviewer speed": 0.0})
    "factor -> per cent of gain per per cent of it"
    gap: float = 10.0
    "distance of the last champions' scores from the ceiling, in seed deviations"
    words: frozenset[str] = frozenset()
    "true words"


def world(law: Law) -> World:
    """Return the world of a law."""
    return World(name=law.name, draw=lambda rng: _draw(law, rng), truth=_truth(law), words=_words(law))


def _skills(law: Law, arm: str) -> Floats:
    """Return an arm's skill in each generation (G,)."""
    g = np.arange(GENERATIONS)
    return law.skill[arm] + law.mechanism * g * (arm == "self") + law.data * g * (arm in ("self", "refit"))


def _means(law: Law, arm: str) -> Floats:
    """Return an arm's mean cumulative gain after each generation (G,)."""
    if law.search:
        return np.array([law.step * best_of(PARALLEL * (g + 1)) for g in range(GENERATIONS)])
    return np.asarray(np.cumsum(law.step * _skills(law, arm) * law.decay ** np.arange(GENERATIONS)))


@cache
def best_of(draws: int) -> float:
    """Return the mean of the largest of so many standard normals."""
    return float(quad(lambda x: x * draws * norm.pdf(x) * norm.cdf(x) ** (draws - 1), -8, 10)[0])


def _noise(law: Law, rng: np.random.Generator, shape: tuple[int, ...]) -> Floats:
    """Return centred noise of deviation about 1."""
    if law.tails == "heavy":
        return np.asarray(rng.standard_t(3, shape) / np.sqrt(3))
    if law.tails == "jumps":
        return np.asarray(0.5 * rng.standard_normal(shape) + 6 * 0.5 * ((rng.random(shape) < 0.1) - 0.1))
    return rng.standard_normal(shape)


def _draw(law: Law, rng: np.random.Generator) -> tuple[Study, Mapping[str, Figure | bool]]:
    arms, apart = _arms(law, rng), rng.spawn(1)[0]
    plans, acts = _plans(law, rng, apart), int(rng.poisson(law.human * 4 * GENERATIONS * REPEATS))
    study = Study(arms=arms, skills=_proposers(law, rng), events=_events(law, rng), plans=plans, held=_held(law, rng, arms["self"]),
                  ceiling=1.0, deviation=0.1, scores=tuple(1.0 - 0.1 * law.gap + 0.02 * rng.standard_normal(REPEATS)))  # fmt: skip
    closing = arms["self"].value[:, -1]
    raised = {name: closing * (1 + 0.25 * by) + 0.05 * rng.standard_normal(REPEATS) for name, by in law.elastic.items()}
    reference = _reference(rng)
    found = rate_ratio(arms, RATED, reference)[0] if not law.search else missing("not measured", "ratio")
    worth = compute_equivalent(reference, 2**USED_BITS, LEVEL_AT_USED + closing) if not law.search else missing("not measured", "doublings")
    return study, {**{f"elasticity of {name}": figure for name, figure in elasticities(closing, raised).items()},
                   "generations per live human act": run_length(GENERATIONS * REPEATS, acts),
                   "compute-equivalent gain": worth, "rate ratio": found,
                   **_human(study, closing, apart), **_said(law, study, raised, apart)}  # fmt: skip


MINUTES, QUEUE, COMPUTED, ELSE = 2.0, 300.0, 900.0, 300.0
"""Mean minutes and seconds of waiting per decision of a person; wall seconds a campaign computes, and does neither."""


def _human(study: Study, closing: Floats, rng: np.random.Generator) -> dict[str, Figure]:
    """Return what people cost, and how much sooner a campaign would end without waiting for them, or for compute."""
    decided = np.array([sum(e.decisions for e in study.events if (e.actor, e.repeat) == ("person", r)) for r in range(REPEATS)])
    minutes, queue = (mean * rng.gamma(2 * decided + 1e-9) / 2 for mean in (MINUTES, QUEUE))
    computed, other = (mean * rng.gamma(20, 1 / 20, REPEATS) for mean in (COMPUTED, ELSE))
    effort = Effort(decisions=tuple(map(int, decided)), minutes=tuple(minutes), queue_seconds=tuple(queue))
    cost = {f"{name} per gain": figure for name, figure in human_cost(effort, closing).items()}
    return cost | speed_up(queue, computed, queue + computed + other)


SIGN = Warn(repeats=8, floor=0.1, automation={stage: 0.5 for stage in ("propose", "approve", "accept", "promote", "deploy")}, cpu_seconds=0.05)
"""The warning sign that every planted study registers."""
LONG = 40
"""Generations of the curve that growth is read off."""


def _said(law: Law, study: Study, raised: Mapping[str, Floats], rng: np.random.Generator) -> dict[str, bool]:
    """Return what is said beyond the words: the sign, the stage, how the gain ratio reads, what limits, and which law of growth holds."""
    read, limit = decline(study.arms), limiting(study.arms["self"].value[:, -1], raised)
    added = law.noise * _noise(law, rng, (REPEATS, LONG)) + law.shared * rng.standard_normal((REPEATS, LONG))
    curves = np.cumsum(_long(law) + added * (1 + law.drift) ** np.arange(LONG), axis=1)
    grown, limits, grows = growth(curves).best, _limit(law), _grows(law)
    return {
        "sign crossed": warning(SIGN, study.skills, study.events)["sign"] == "crossed", "staged": autonomy(automation(study.events)) == _stage(law),
        "slower than its references": read == "falls faster than its references",
        "ahead of its references": read in ("falls less than its references", "grows more than its references"),
        "limited by its limit": limit == limits, "limited by another": limit not in (limits, "cannot tell"),
        "grows by its law": grown == grows, "grows by another": bool(grows) and grown not in (grows, "cannot tell"),
    }  # fmt: skip


def _long(law: Law) -> Floats:
    """Return what LONG generations add to the self arm on average (LONG,)."""
    g = np.arange(LONG)
    if law.search:
        return np.diff([law.step * best_of(PARALLEL * (k + 1)) for k in g], prepend=0.0)
    return np.asarray(law.step * (law.skill["self"] + (law.mechanism + law.data) * g) * law.decay**g)


def _grows(law: Law) -> str:
    """Return the model of growth that a law follows; empty where it is none of evals/amplify.py. The unbent ones are never named (SURE)."""
    if law.search or law.mechanism or law.data:
        return ""
    return "none" if not law.step else "saturating" if law.decay < 1 else "linear"


def _limit(law: Law) -> str:
    return max(law.elastic, key=law.elastic.__getitem__) if law.step else ""


def _stage(law: Law) -> str:
    return "assisted" if law.human > 0.5 else "autonomous" if not law.human else "bounded"


def _arms(law: Law, rng: np.random.Generator) -> dict[str, Curve]:
    spent = np.tile(ROUND_US * np.arange(1.0, GENERATIONS + 1), (REPEATS, 1))
    if law.search:
        draws = {arm: law.step * rng.standard_normal((REPEATS, GENERATIONS * PARALLEL)) for arm in law.skill}
        value = {arm: np.maximum.accumulate(d, axis=1)[:, PARALLEL - 1 :: PARALLEL] for arm, d in draws.items()}
    else:
        spread = (1 + law.drift) ** np.arange(GENERATIONS)
        common = law.shared * rng.standard_normal((REPEATS, GENERATIONS))
        own = {arm: law.noise * _noise(law, rng, (REPEATS, GENERATIONS)) for arm in law.skill}
        if law.mirrored:
            own |= {arm: -own["self"] for arm in ("refit", "scrambled")}
        value = {arm: _means(law, arm) + np.cumsum((common + own[arm]) * spread, axis=1) for arm in law.skill}
    return {arm: Curve(repeats=tuple(range(REPEATS)), spent=spent, value=v) for arm, v in value.items()}


def _proposers(law: Law, rng: np.random.Generator) -> list[Skill]:
    last, parents = GENERATIONS - 1, 0.05 * rng.standard_normal(REPEATS)
    base = 0.0 if law.search else law.step * law.skill["self"]
    cells = {(last, last, False): law.step * (law.mechanism + law.data) * last, (0, last, False): law.step * law.data * last,
             (0, 0, False): 0.0, (last, last, True): law.step * (law.skill["scrambled"] - law.skill["self"]) * (not law.search)}  # fmt: skip
    noise = {cell: 0.05 * _noise(law, rng, (REPEATS,)) for cell in cells}
    return [Skill(repeat=r, recipe=cell[0], history=cell[1], scrambled=cell[2], value=float(base + mean + parents[r] + noise[cell][r]))
            for cell, mean in cells.items() for r in range(REPEATS)]  # fmt: skip


def _events(law: Law, rng: np.random.Generator) -> list[Event]:
    found = list[Event]()
    for stage in STAGES:
        by_people = rng.binomial(GENERATIONS, law.human, REPEATS) if stage in ("propose", "approve", "accept", "promote") else np.zeros(REPEATS, int)
        rule: Actor = law.proposer if stage == "propose" else "fixed program" if stage in ("train", "evaluate") else "unattended rule"
        for r, k in enumerate(map(int, by_people)):
            sides: tuple[tuple[Actor, int], ...] = (("person", k), (rule, GENERATIONS - k))
            for actor, many in sides:
                charged = many * 1000 * (stage == "approve")
                found += [Event(stage=stage, actor=actor, cpu_us=many * 1000, repeat=r, decisions=many, charged_us=charged)] if many else []
    return found


PLAN_SPREAD, PLAN_NOISE, PLAN_BAR, CLAIM, AROUND = 0.2, 0.1, 0.15, 0.3, 0.05
"""True gains of plans, noise of each of their measurements, what gate asks, and what proposers promise beyond the mean."""


def _plan_means(law: Law) -> Floats:
    skill = np.zeros(GENERATIONS) if law.search else _skills(law, "self")
    return np.asarray(law.step * skill * law.decay ** np.arange(GENERATIONS))


WIDTHS, REPEATED = (4, 8), (0.05, 0.15)
"""Parallel proposals of a generation, in turn, and the share of them that repeats an earlier plan."""


def _plans(law: Law, rng: np.random.Generator, apart: np.random.Generator) -> list[PlanFact]:
    shape, means = (REPEATS, GENERATIONS), _plan_means(law)
    true = means + PLAN_SPREAD * rng.standard_normal(shape)
    promise, feedback, gate, fresh = (true + shift + PLAN_NOISE * rng.standard_normal(shape) for shift in (CLAIM, law.hack, 0.0, 0.0))
    paid, pairs = ROUND_US * (1 + 0.1 * rng.uniform(-1, 1, shape)), rng.integers(4, 9, shape)
    again = apart.random(shape) < np.array(REPEATED)[np.arange(GENERATIONS) % 2]
    return [PlanFact(plan=f"{r}.{g}", repeat=r, generation=g + 1, fate="accepted" if gate[r, g] > PLAN_BAR else "no effect", cpu_us=int(paid[r, g]),
                     around_cpu_us=int(AROUND * ROUND_US), promised=float(promise[r, g]), feedback=float(feedback[r, g]), gate=float(gate[r, g]),
                     corrected=float(fresh[r, g]), gained=float(fresh[r, g]), author=law.proposer, replicates=int(pairs[r, g]),
                     parallel=WIDTHS[g % 2], duplicate=bool(again[r, g]))
            for r in range(REPEATS) for g in range(GENERATIONS)]  # fmt: skip


SHOWN, CHOSEN = 0.4, 0.2
"""What accepted plans show too much on feedback and on gate, since both chose them."""


def _held(law: Law, rng: np.random.Generator, mine: Curve) -> list[Held]:
    closing = mine.value[:, -1]
    means: dict[Rung, Floats] = {"feedback": closing + SHOWN + 3 * law.hack, "gate": closing + CHOSEN, "closing": closing,
                                 "sealed": law.kept * closing}  # fmt: skip
    return [Held(repeat=r, rung=rung, value=float(v)) for rung, column in means.items()
            for r, v in enumerate(column + 0.1 * rng.standard_normal(REPEATS))]  # fmt: skip


RATED = ("random", "local", "tpe")
"""Arms that the rate ratio is taken against."""
LEVEL_AT_USED = PER_BIT * (USED_BITS - REFERENCE_BITS[0])


def _reference(rng: np.random.Generator) -> Reference:
    """Return a measured reference curve, linear in log2 of compute."""
    means = PER_BIT * (REFERENCE_BITS - REFERENCE_BITS[0])
    return Reference(budgets=2.0**REFERENCE_BITS, scores=means[:, None] + 0.05 * rng.standard_normal((len(means), SEEDS)))


def _truth(law: Law) -> dict[str, float]:
    """Return the instruments' true values, by the law's own arithmetic."""
    mean = {arm: _means(law, arm) for arm in law.skill}
    total, last = {arm: float(m[-1]) for arm, m in mean.items()}, GENERATIONS - 1
    half, waited = float(mean["self"][GENERATIONS // 2 - 1]), GENERATIONS * 4 * law.human * QUEUE
    found = {
        "gain of self": total["self"], "self minus refit": total["self"] - total["refit"], "self minus random": total["self"] - total["random"],
        **({"rounds against one": total["self"] - total["one_shot"]} if "one_shot" in total else {}),
        "self effect": law.step * law.mechanism * last, "data effect": law.step * law.data * last,
        "placebo effect": law.step * (law.mechanism + law.data) * last + law.step * (law.skill["self"] - law.skill["scrambled"]) * (not law.search),
        "people were instant": 1 + waited / (COMPUTED + ELSE), "compute were instant": 1 + COMPUTED / (waited + ELSE),
        **{f"duplicates of {width}": by for width, by in zip(WIDTHS, REPEATED, strict=True)},
        "automation of accept": 1 - law.human, "provenance": float(law.proposer == "lineage"), **_plan_truth(law),
    }  # fmt: skip
    if total["self"] > 0:
        feedback, gate = (total["self"] + by for by in (SHOWN + 3 * law.hack, CHOSEN))
        found |= {f"{name} per gain": GENERATIONS * 4 * law.human * by / total["self"]
                  for name, by in (("decisions", 1.0), ("minutes", MINUTES), ("queue seconds", QUEUE))}  # fmt: skip
        found |= {"kappa": 1 - total["scrambled"] / total["self"], "gain ratio": (total["self"] - half) / half, "loss in transfer": 1 - law.kept,
                  "feedback to gate": gate / feedback, "gate to closing": total["self"] / gate, "closing to sealed": law.kept,
                  "loss": 1 - law.kept * total["self"] / feedback,
                  **{f"elasticity of {name}": by for name, by in law.elastic.items()}}  # fmt: skip
    if law.human:
        found["generations per live human act"] = 1 / (4 * law.human)
    if not law.search and total["self"] > 0:
        ended = np.linspace(1, GENERATIONS, STEPS)
        slope = {arm: float(np.polyfit(ended, np.interp(ended, np.arange(1, GENERATIONS + 1), mean[arm]), 1)[0]) for arm in law.skill}
        found |= {"compute-equivalent gain": total["self"] / PER_BIT, "rate ratio": slope["self"] / max(slope[a] for a in RATED)}
    return found


def _plan_truth(law: Law) -> dict[str, float]:
    """Return the parts of the promise per campaign, and the log changes of efficiency, from the normal law of plans."""
    means, spread = _plan_means(law), float(np.hypot(PLAN_SPREAD, PLAN_NOISE))
    far = (PLAN_BAR - means) / spread
    chance, push = norm.sf(far), norm.pdf(far)  # P(accept); E[above the mean; accept] = spread x density
    curse, verified = push * PLAN_NOISE**2 / spread, means * chance + push * PLAN_SPREAD**2 / spread
    parts = {"over-claim": (CLAIM - law.hack) * chance, "proxy gap": law.hack * chance - curse, "winner's curse": curse, "verified gain": verified}
    away = PLAN_SPREAD**2 / spread
    accepted, within = means + away * push / chance, away**2 * (1 - push / chance * (push / chance - far)) + (PLAN_SPREAD * PLAN_NOISE / spread) ** 2
    true = float(within @ chance + (accepted - accepted @ chance / chance.sum()) ** 2 @ chance) / float(chance.sum())  # variance among accepts
    halves = [slice(0, GENERATIONS // 2), slice(GENERATIONS // 2, GENERATIONS)]
    early, late = ((float(verified[h].sum()), float(chance[h].sum())) for h in halves)
    per = GENERATIONS / 2
    logs = {"smaller": -np.log(late[0] / late[1] * early[1] / early[0]) / per, "harder": -np.log(late[1] / early[1]) / per}
    paid = GENERATIONS * ROUND_US * (1 + AROUND) / 1e6
    return {**{name: float(v.sum()) for name, v in parts.items()}, **{name: float(v) for name, v in logs.items()}, "costlier": 0.0, "noisier": 0.0,
            "calibration": true / (true + PLAN_NOISE**2),
            "yield": float(verified.sum()) / paid, "yield without oversight and proposing": float(verified.sum()) / paid * (1 + AROUND)}  # fmt: skip


def _words(law: Law) -> frozenset[str]:
    """Return a law's true words, with those of `_said` that follow from it."""
    follows = {"staged": True, "sign crossed": law.mechanism > 0 and not law.human, "ahead of its references": law.mechanism > 0,
               "limited by its limit": law.step > 0, "grows by its law": _grows(law) == "saturating"}  # fmt: skip
    return law.words | {word for word, true in follows.items() if true}


_CLOSED = frozenset({"amplifying", "self-closed"})
_SEES_MORE = Law(name="", data=0.12, skill={**Law(name="").skill, "scrambled": 0.3})
LAWS: dict[str, Law] = {law.name: law for law in (
    Law(name="null", step=0.0),
    Law(name="linear"),
    Law(name="compounding", mechanism=0.15, data=0.05, words=_CLOSED),
    Law(name="lossy", kept=0.5, decay=0.9, words=frozenset({"lossy"})),
    Law(name="saturating", decay=0.7, step=0.5, gap=0.5),
    Law(name="hacking", hack=0.6),
    Law(name="human-bottlenecked", mechanism=0.15, human=0.7, words=frozenset({"amplifying"}),
        elastic={"compute": 0.1, "proposals": 0.1, "replicates": 0.0, "reviewer speed": 0.8}),
    Law(name="fixed-search", search=True, proposer="fixed program", skill=dict.fromkeys(("self", "frozen", "refit", "scrambled", "random"), 1.0)),
    replace(_SEES_MORE, name="data-only"),
    Law(name="cron", skill=dict.fromkeys(Law(name="").skill, 1.0), proposer="fixed program"),
    Law(name="heavy tails", tails="heavy"),
    Law(name="drifting noise", drift=0.2),
    Law(name="rare jumps", tails="jumps"),
    Law(name="correlated arms", mirrored=True, shared=0.0),
)}  # fmt: skip
"""Name -> law."""
WORLDS: dict[str, World] = {name: world(law) for name, law in LAWS.items()}
"""Name -> world."""


def instruments(study: Study, beside: Mapping[str, Figure | bool]) -> dict[str, Figure]:
    """Return every instrument that a world may know the truth of, measured on one study."""
    shown, bins = effects(study.skills), promised(study.plans)
    kept, change, vector = retention(study.held), efficiency(study.plans), automation(study.events)
    return {
        "gain of self": gain(study.arms, "self"), "self minus refit": difference(study.arms, "self", "refit"),
        "self minus random": difference(study.arms, "self", "random"), "rounds against one": rounds_against_one(study.arms),
        **{f"{name} effect": shown[name] for name in ("self", "data", "placebo")},
        "kappa": self_closure(study.arms), "gain ratio": gain_ratio(study.arms, "self"),
        **{name: kept[name] for name in ("feedback to gate", "gate to closing", "closing to sealed", "loss", "loss in transfer")},
        "automation of accept": vector["accept"], "provenance": provenance([p.author for p in study.plans if p.fate == "accepted"]),
        **{name: bins[name] for name in ("over-claim", "proxy gap", "winner's curse", "verified gain")},
        **{name: change[name] for name in ("smaller", "harder", "costlier", "noisier")}, "yield": yield_now(study.plans),
        "yield without oversight and proposing": yield_now(study.plans, around=False), "calibration": calibration(study.plans)[1],
        **{f"duplicates of {width}": figure for width, figure in duplicates(study.plans).items()},
        **{name: figure for name, figure in beside.items() if isinstance(figure, Figure)},
    }  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One instrument on one world."""

    world: str
    "name of the world"
    instrument: str
    "name of the instrument"
    truth: float | None
    "true value; None where the world has none"
    mean: float | None
    "mean of the values over the studies that gave one"
    coverage: float | None
    "share of intervals that hold the truth, of the studies that gave a bounded or one-sided interval"
    n: int
    "studies that gave one"

    def holds(self) -> bool:
        """Tell whether so few misses can be chance at 95 % (binomial, one in 1,000 per row); true where no coverage is asked."""
        return self.coverage is None or self.coverage * self.n >= binom.ppf(0.001, self.n, LEVEL) - 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Called:
    """One word on one world."""

    world: str
    "name of the world"
    word: str
    "amplifying, lossy, self-closed, or what else the world's draw says or not"
    true: bool
    "whether it is true there"
    called: int
    "studies in which it was said"
    n: int
    "studies"

    def holds(self) -> bool:
        """Tell whether the word was said wrongly in at most 5 % of the studies; true where it is right."""
        return self.true or self.called <= WRONG * self.n


def validate(one: World, studies: int, seed: int = 1) -> tuple[list[Row], list[Called]]:
    """Return coverage of every instrument and how often each word was said, over `studies` drawn from a world."""
    need(1 <= studies <= 100_000, "studies", studies, "between 1 and 100000")
    rng, figures, counts = np.random.default_rng([seed, *one.name.encode()]), dict[str, list[Figure]](), dict[str, int]()
    for _ in range(studies):
        study, beside = one.draw(rng)
        for name, figure in instruments(study, beside).items():
            figures.setdefault(name, []).append(figure)
        for word, said in (words(study) | {name: said for name, said in beside.items() if isinstance(said, bool)}).items():
            counts[word] = counts.get(word, 0) + said
    rows = [_row(one, name, found) for name, found in figures.items()]
    return rows, [Called(world=one.name, word=w, true=w in one.words, called=many, n=studies) for w, many in counts.items()]


def _row(one: World, name: str, figures: list[Figure]) -> Row:
    truth, values = one.truth.get(name), [f.value for f in figures if f.value is not None]
    ends = [f for f in figures if f.low is not None or f.high is not None]
    held = [(f.low is None or truth is None or f.low <= truth) and (f.high is None or truth is None or truth <= f.high) for f in ends]
    return Row(world=one.name, instrument=name, truth=truth, mean=float(np.mean(values)) if values else None,
               coverage=float(np.mean(held)) if held and truth is not None else None, n=len(ends))  # fmt: skip
