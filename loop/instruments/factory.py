"""The factory lines of a run, campaign by campaign: changes, defects, requests, hours, minutes."""

from collections.abc import Iterator

from configs.entries import ServedEntry
from evals.factory.figures import Shift
from loop.facts.places import Campaign
from loop.instruments.run import Run

HALF, WHOLE = 0.5, 1.0
"""Parts of a period: before and after the canary, or all of it."""


def read_shifts(run: Run, arm: str) -> Iterator[Shift]:
    """Yield each campaign of an arm that ended, in the order of repeats."""
    for key in sorted(run.facts.ended):
        if key[0] == arm and run.facts.line.changes.get(key):
            yield _read(run, key)


def _read(run: Run, key: Campaign) -> Shift:
    line, factory = run.facts.line, run.config.factory
    changes, own = line.changes[key], set(run.facts.proposed[key])
    jobs = [job for (plan, _), job in line.served.items() if plan in own and job.requests]
    periods = [[job for job in jobs if job.period == at] for at in range(len(changes) + 1)]
    minutes = sum(one.minutes for plan, one in line.reviews.items() if plan in own)
    period_hours = factory.period_minutes / 60
    lived = sum(_count_lived(run, key, period) for period in periods)
    last = next(job for job in periods[-1] if job.what == "live")
    return Shift(
        repeat=run.base + key[1],
        planted=tuple(one.fate for one in changes if one.planted),
        clean=tuple(one.fate for one in changes if not one.planted),
        hours=len(periods) * period_hours + minutes / 60,
        defect_hours=lived * period_hours,
        left=len(_list_planted(run, key, line.live(key))),
        requests=sum(job.requests for job in jobs),
        harmed=sum(job.harmed for job in jobs),
        right=tuple(_share_right(period) for period in periods),
        minutes=minutes,
        rollbacks=len(line.rollbacks.get(key, ())),
        met=(last.clients - len(last.unmet), last.clients),
    )


def _share_right(jobs: list[ServedEntry]) -> float:
    return sum(job.right for job in jobs) / sum(job.requests for job in jobs)


def _count_lived(run: Run, key: Campaign, jobs: list[ServedEntry]) -> float:
    """Return the periods that planted defects were live in a period, each counted by itself."""
    beside = [job.plan for job in jobs if job.what in ("canary", "beside")]
    early = {name for plan in beside for name in _list_planted(run, key, plan)}
    late = [job.plan for job in jobs if job.what == "live"]
    planted = sum(len(_list_planted(run, key, plan)) for plan in late)
    return HALF * (len(early) + planted) if beside else WHOLE * planted


def _list_planted(run: Run, key: Campaign, plan: str) -> list[str]:
    """Return the planted changes that a service holds, by digest."""
    planted = {one.plan for one in run.facts.line.changes[key] if one.planted}
    held, plans = list[str](), run.facts.plans
    while plan in plans and plans[plan].purpose == "service":
        held.append(plan)
        plan = plans[plan].parent
    return [name for name in held if name in planted]
