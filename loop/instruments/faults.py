"""The faults of a run, campaign by campaign: how many, and what they took.

And what campaigns did from whose arm a support was withdrawn.
"""

from collections import Counter
from collections.abc import Iterator

from configs.arms import variant
from configs.entries import JobEntry, StartEntry, facts_of
from configs.settings.faults import FaultName
from evals.faults import Befallen, Bereft
from loop.facts.ending import describe_end
from loop.instruments.run import Run
from loop.study.faults import HOUR, LOST_BY, befalls, count_whole, expect_wall, is_too_late

NAMES: tuple[FaultName, ...] = ("queued", "preempted", "slow", "lost", "quota", "away")


def read_faults(run: Run, arm: str) -> Iterator[Befallen]:
    """Yield the faults of each campaign of an arm, in the order of repeats; none if it is spared.

    A withdrawal takes effect by them where it is of quota or reviewer.

    The arm `start`, whose trials all arms share, is left out.
    """
    by_them = run.config.faults.has_mishaps() or variant(arm).lacks in ("quota", "reviewer")
    if by_them and befalls(run.config, arm):
        charges = _charges(run, arm)
        for repeat in sorted(other for name, other in run.campaigns if name == arm):
            yield _read(run, arm, repeat, charges.get(repeat, Counter()))


def read_bereft(run: Run, arm: str) -> Iterator[Bereft]:
    """Yield what each campaign did from the withdrawal of its support on, in order of repeats.

    A campaign that never came so far, and one without a withdrawal, is left out.
    """
    facts = run.facts
    due = {f.repeat: f.generation for f in facts.faults if (f.fault, f.arm) == ("withdrawn", arm)}
    for repeat, since in sorted(due.items()):
        last, champions = run.last_generation(arm, repeat), facts.champions[arm, repeat]
        crowned = [facts.plans[name].generation for name in champions]
        yield Bereft(
            since=since,
            lived=max(0, last - since + 1),
            promoted=sum(generation >= since for generation in crowned),
            planned_us=sum(
                run.planned_us.get((arm, repeat, generation), 0)
                for generation in range(since, last + 1)
            ),
            ending=describe_end(facts, (arm, repeat), run.config),
        )


def _read(run: Run, arm: str, repeat: int, charges: Counter[str]) -> Befallen:
    config = run.config
    faults = [f for f in run.facts.faults if (f.arm, f.repeat) == (arm, repeat)]
    away = [f for f in faults if f.fault == "away"]
    expire = config.gates.expire_hours * HOUR
    cut = sum(f.size for f in faults if f.fault == "quota")
    return Befallen(
        counts={name: sum(f.fault == name for f in faults) for name in NAMES},
        cpu_us=charges["cpu"],
        lost_cpu_us=charges["lost cpu"],
        wall_us=charges["wall"],
        lost_wall_us=charges["lost wall"],
        cut=min(1.0, cut / (count_whole(config, arm) * config.compute(arm))),
        hours_away=sum(min(f.size, expire) for f in away) / HOUR,
        silences=sum(is_too_late(config, f) for f in away),
    )


def _charges(run: Run, arm: str) -> dict[int, Counter[str]]:
    """Return repeat -> microseconds charged to an arm's jobs, and those that faults took."""
    totals = dict[int, Counter[str]]()
    limits = {s.grant.nonce: s.job.limits for s in facts_of(run.entries, StartEntry)}
    for job in facts_of(run.entries, JobEntry):
        plan, result = run.facts.plans[job.plan], job.result
        if plan.arm != arm:
            continue
        total = totals.setdefault(plan.repeat, Counter())
        cpu_us, wall_us = result.charged.cpu_us, result.charged.wall_us
        total["cpu"] += cpu_us
        total["wall"] += wall_us
        if result.detail in LOST_BY.values():
            total["lost cpu"] += cpu_us
            total["lost wall"] += wall_us
        elif result.charged_by in ("plan", "table"):
            total["lost wall"] += wall_us - expect_wall((), cpu_us, limits[job.nonce])
    return totals
