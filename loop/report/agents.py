"""What did an agent use in each generation, and what did it leave unused? A table."""

from collections.abc import Iterator
from typing import Any

from configs.entries import AnswerEntry, DoorEntry, facts_of
from configs.records import AGENT, Amount, module_of
from loop.instruments.run import Run
from loop.report.evidence import Index
from loop.report.shape import Table, table
from loop.report.study import MeasuredStudy

SECOND = 1_000_000
"""Microseconds."""


def list_agents(study: MeasuredStudy, index: Index, name: str) -> Table:
    """Return time, questions and trials of each agent's generation; empty without agents."""
    rows = [row for run in study.runs for row in _rows_of(run)]
    ledger = [index.arm(row[0], "plans") for row in rows]
    return table("agents", rows, ledger, name)


def _rows_of(run: Run) -> Iterator[tuple[Any, ...]]:
    facts, settings, limits = run.facts, run.config.proposer, run.config.budget.propose
    paid, refused = dict[str, Amount](), dict[str, int]()
    for answer in facts_of(run.entries, AnswerEntry):
        paid[answer.plan] = paid.get(answer.plan, Amount()) + answer.answer.charged
    asked = [(answer.plan, answer.index) for answer in facts_of(run.entries, AnswerEntry)]
    for door in facts_of(run.entries, DoorEntry):
        turned = door.outside + door.full + door.cut + door.malformed + door.late
        refused[door.plan] = refused.get(door.plan, 0) + turned
    for digest, plan in facts.plans.items():
        ended = facts.results.get((digest, "propose", 0))
        if ended is None or plan.purpose != "propose" or module_of(plan, "propose") != AGENT:
            continue
        used = ended[0].charged
        trials = [p for p in facts.plans.values() if p.purpose == "trial" and p.asked == digest]
        calls = sum(name == digest for name, _ in set(asked))
        money = paid.get(digest, Amount())
        yield (
            plan.arm,
            plan.repeat + run.base,
            plan.generation,
            used.wall_us / SECOND,
            max(0, limits.wall_us - used.wall_us) / SECOND,
            used.cpu_us / SECOND,
            max(0, limits.cpu_us - used.cpu_us) / SECOND,
            len(trials),
            settings.trials - len(trials),
            calls,
            settings.calls - calls,
            money.tokens,
            money.money_micros / 1e6,
            refused.get(digest, 0),
        )
