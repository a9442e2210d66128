"""Forecast: what a study will cost, and how far its plan carries it, from its settings alone.

Example: `forecast(config)` of the quickstart gives at most 424 jobs. A training counts with its
prediction; the trainings of a closing look at a larger compute count as many times.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from configs.arms import CONTENDERS, LARGER, variant
from configs.records import Amount
from configs.settings.config import Config
from evals.judge import spend
from evals.rules import RULES
from loop.propose.table import proposer

JOB_SECONDS = 0.3
"""Wall and CPU of a job beside its planned training: start, data and prediction."""
SERVE_SECONDS = 1.25
"""CPU-seconds of a serve job: it starts cold, for its door is its own (docs/factory.md)."""
RELEASED = 0.7
"""Share of the changes of a service that reach deployment, expected."""
TABLE_JOBS = 18_000
"""Jobs a minute that a process answers from a table: 41 in 137 ms (docs/table.md)."""
CAMPAIGNS = 400
"""Simulated confirmations for the expected pairs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """What one campaign of an arm does, expected or at worst."""

    generations: int
    "generations that the plan pays for"
    trainings: int
    "trainings of this task's planned compute"
    weighted: int
    "the same, a longer training as often as its compute"
    proposals: int
    "jobs or questions for proposals"
    serves: int = 0
    "serve jobs of a factory line"


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """What a whole study does, expected or at worst."""

    jobs: int
    "executions inside a box"
    cpu_seconds: float
    "CPU-seconds: planned trainings, and the other work of each job"
    minutes: float
    "wall minutes with as many jobs at a time as box.parallel"
    money_micros: int
    "millionths of the study's currency, for an outside model"


def forecast(config: Config, worst: bool) -> Forecast:
    """Return what a study needs: expected where a champion changes once, or at worst."""
    weighted, questions, asked = config.study.repeats * config.study.start_trials, 0, 0.0
    jobs, served = 2 * weighted, 0
    for arm in config.arms():
        course = follow(config, arm, worst)
        repeats, where = config.study.repeats, proposer(arm).where
        jobs += repeats * (2 * course.trainings + course.proposals * (where == "box"))
        served += repeats * course.serves
        weighted += repeats * course.weighted
        calls = 1 if where == "outside" else config.proposer.door_calls(arm)
        questions += repeats * course.proposals * calls
        questions += repeats * course.generations * (variant(arm).maker == "model")
        if where == "box":  # on a table a question trains the weights, and they read
            weights = 0 if variant(arm).programs else config.compute(arm) / 1e6
            each = 2 * (weights + JOB_SECONDS)
            asked += repeats * course.proposals * each
    seconds = weighted * config.task.planned_cpu_us / 1e6 + jobs * JOB_SECONDS
    jobs, seconds = jobs + served, seconds + served * SERVE_SECONDS
    if config.box.kind == "planted":
        return Forecast(jobs=jobs, cpu_seconds=seconds, minutes=jobs / 3000, money_micros=0)
    minutes = seconds / config.box.parallel / 60
    if config.task.table:  # only weights that propose are trained
        minutes = jobs / TABLE_JOBS + asked / config.box.parallel / 60
    llm = config.proposer.llm
    price = llm.worst(llm.prompt_bytes) if llm and questions else Amount()
    return Forecast(
        jobs=jobs,
        cpu_seconds=seconds,
        minutes=minutes,
        money_micros=questions * price.money_micros,
    )


def follow(config: Config, arm: str, worst: bool) -> Course:
    """Return the course of a campaign, expected or at worst."""
    if variant(arm).programs:
        return _follow_archive(config, arm)
    if layers := variant(arm).line:
        return _follow_line(config, layers, 1 if worst else RELEASED)
    study, is_boxed = config.study, proposer(arm).where == "box"
    rounds, proposals = study.rounds(arm)
    pairs = study.replicates(arm) if worst else mean_pairs(config, arm)
    reads = study.readings(arm) if is_boxed else 0
    each, spent, number = reads + proposals + 2 * pairs, 1.0, 0
    while number < rounds and _affords(config, arm, spent, number + 1):
        spent, number = spent + each, number + 1
        if worst and config.selects(arm, number):
            spent += (CONTENDERS - 2) * 2 * pairs
    looks = 2 * study.final_replicates
    cells = len(study.cells()) * study.asks() if study.measures_skill(arm) else 0
    chosen = _count_choosing(config, arm, number, worst)
    asks = cells + chosen
    # Each ask trains weights, and each of its proposals is trained beside its parent.
    skills = asks * (1 + 2 * study.skill_proposals)
    # An arm with more compute takes no larger look (loop/course.py).
    size = config.compute(arm) / config.task.planned_cpu_us
    larger = 2 * study.larger_replicates if size == 1 else 0
    trainings = spent - number * reads + looks + larger + skills
    # A champion of one accepted plan has as many changes as a plan may have.
    changes = study.ablate if worst else min(study.ablate, study.change_limit(arm) or study.ablate)
    trainings += changes * looks
    return Course(
        generations=number,
        trainings=round(trainings),
        weighted=round(size * trainings + larger * (LARGER - 1)),
        proposals=number * (reads or proposals) + asks,
    )


def _follow_archive(config: Config, arm: str) -> Course:
    """Return the course of an arm whose programs modify themselves: each is asked, the best and the
    first once more.
    """
    study = config.study
    looks = study.program_looks(arm) + study.skill_looks(arm)
    questions = study.program_questions(arm)
    trainings = 1 + 2 * looks + questions * config.proposer.door_trials(arm)
    return Course(
        generations=study.generations,
        trainings=trainings,
        weighted=trainings,
        proposals=questions,
    )


def _follow_line(config: Config, layers: Sequence[str], released: float) -> Course:
    """Return the course of a factory line: one training, and the serve jobs of its periods."""
    periods, twin = config.study.generations, 2 * ("scenarios" in layers)
    each = 2 + twin + 2 * released * ("canary" in layers)
    serves = round(2 + twin + periods * each)
    return Course(generations=periods, trainings=1, weighted=1, proposals=0, serves=serves)


def _count_choosing(config: Config, arm: str, generations: int, worst: bool) -> int:
    """Return the questions of the selections on proposing skill: one other contender, or the
    most.
    """
    if config.objective.skill is None:
        return 0
    times = sum(config.selects(arm, number) for number in range(1, generations + 1))
    return times * (CONTENDERS if worst else 2) * config.objective.skill.asks


def _affords(config: Config, arm: str, spent: float, generation: int) -> bool:
    study, worst = config.study, config.worst(arm, generation)
    return not study.plan_trainings or spent + worst <= study.allowance(arm)


def mean_pairs(config: Config, arm: str = "") -> float:
    """Return the mean pairs of a confirmation of a candidate without any gain."""
    return _confirm(config, arm, 0.0)[1]


def visible_gain(config: Config) -> float | None:
    """Return the smallest true gain that a confirmation accepts with the objective's power.

    Normal noise of the task's seed deviation; None where no gain up to 1 is accepted so often.
    """
    if _confirm(config, "", 1.0)[0] < config.objective.power:
        return None
    low, high = 0, 100
    while high - low > 1:
        middle = (low + high) // 2
        seen = _confirm(config, "", middle / 100)[0] >= config.objective.power
        low, high = (low, middle) if seen else (middle, high)
    return high / 100


def _confirm(config: Config, arm: str, gain: float) -> tuple[float, float]:
    """Return (share accepted, mean pairs) of simulated confirmations with a true gain."""
    objective, most, deviation = config.objective, config.study.replicates(arm), config.deviation()
    noise = np.random.default_rng(1).normal(0.0, deviation, (2, CAMPAIGNS, most))
    accepted, pairs = RULES[objective.acceptance].play(
        noise[0] - noise[1] + gain,
        level=spend(objective.alpha, config.confirmations(arm), ()),
        effect=objective.minimum_effect,
        deviation=deviation,
        first_look=min(objective.first_look, most),
    )
    return float(accepted.mean()), float(pairs.mean())


def list_payable(config: Config) -> Iterator[tuple[str, int, int]]:
    """Yield each arm, the generations that its plan and the study's jobs pay for, and its rounds.

    The study's jobs are taken as shared by its campaigns alike.
    """
    study = config.study
    campaigns = len(config.arms()) * study.repeats
    share = (config.budget.jobs - 2 * study.start_trials * study.repeats) / campaigns
    for arm in config.arms():
        course = follow(config, arm, worst=False)
        rounds, proposals = study.rounds(arm)
        generation = 2 * (proposals + 2 * mean_pairs(config, arm)) + 1
        yield arm, min(course.generations, max(0, int((share - 2) / generation))), rounds
