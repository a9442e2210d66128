"""`heirloop unseal RUN`: open the sealed split for a champion against its baseline, once signed.

Each opening is a plan of its own class, outside every mandate. It has its own approval, fresh
replicates of both and a look of the account `look sealed`. Its entry is counted in every later
report. Refuses an unfinished study, and a study without a champion beside its baseline. Refuses a
study with spent looks. Killed, the same command goes on with the approved opening.
"""

import contextlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from configs.build import plain
from configs.entries import OpeningEntry
from configs.errors import BadInput, BudgetExhausted, Denied
from configs.objective import Objective
from configs.records import Proposal, Scores
from evals.judge import interval
from evals.metrics import primary, read_metric, spread
from loop.campaign import Campaign, passes_gate
from loop.facts.facts import Facts
from loop.facts.scores import best_champion
from loop.measure.jobs import Replicate
from loop.measure.replicate import measure
from loop.people.advice import advising, quote
from loop.plan import Draft, Planned
from loop.report.make import publish
from loop.study.open import open_study
from loop.study.root import config_at, read_config
from loop.study.running import Running
from sandbox.budget import balances, look_account
from sandbox.heads import open_ledger

LEVEL = 0.025
"""Each end of the interval that an opening reports: 95 % in all, for this one opening."""
CampaignKey = tuple[str, int]
"""Arm and repeat."""


def unseal(folder: Path, campaign: CampaignKey | None = None) -> dict[str, Any]:
    """Open sealed for the champion of a campaign, or of the study; return the entry's body.

    Raises NeedsHuman until people decided, Denied, BudgetExhausted, BadInput.
    """
    with _open_run(folder) as running:
        return _unseal(running, campaign)


def unseal_arm(folder: Path, arm: str) -> list[dict[str, Any]]:
    """Open sealed for every campaign of an arm with a new champion; return each entry's body.

    Already opened or denied campaigns are left out. A reviewer's no stands in `denied`. Raises
    NeedsHuman, BudgetExhausted, BadInput.
    """
    with _open_run(folder) as running:
        repeats = _changed_repeats(running.facts(), arm)
        if not repeats:
            raise BadInput(
                f"no campaign of arm {arm!r} of {folder} has a champion beside its baseline;"
                f" `heirloop plans {quote(folder)}` lists them"
            )
        left = sorted(repeats - _answered_repeats(running, arm))
        return [
            {"repeat": repeat, "denied": "", **_unseal_or_deny(running, (arm, repeat))}
            for repeat in left
        ]


def _changed_repeats(facts: Facts, arm: str) -> set[int]:
    """Return the repeats of an arm with a last champion other than the baseline."""
    return {
        repeat
        for (name, repeat), champions in facts.champions.items()
        if name == arm and facts.plans[champions[-1]].generation
    }


def _answered_repeats(running: Running, arm: str) -> set[int]:
    """Return the repeats of an arm with an opening made or denied."""
    facts = running.facts()
    denied = [name for name, what in running.gate.refresh().memory.refused if what == "unseal"]
    plans = [facts.plans[name] for name in (*facts.openings, *denied)]
    return {plan.repeat for plan in plans if plan.arm == arm}


def _unseal_or_deny(running: Running, campaign: CampaignKey) -> dict[str, Any]:
    try:
        return _unseal(running, campaign)
    except Denied as error:
        return {"denied": str(error), "refused": str(error)}  # the second: an older name


@contextmanager
def _open_run(folder: Path) -> Iterator[Running]:
    """Open a finished study; sign and publish the new entries."""
    running = open_study(config_at(read_config(open_ledger(folder)), folder))
    try:
        with advising(running.gate, folder):
            yield running
    finally:
        running.sandbox.box.close()
        running.checkpoint()
        publish(running.ledger, running.facts(), running.folder)


def _unseal(running: Running, key: CampaignKey | None) -> dict[str, Any]:
    opening = _pending_opening(running, key) or _record_opening(running, key)
    campaign = _campaign(running, (opening.plan.arm, opening.plan.repeat))
    if not passes_gate(campaign, opening):
        reason = running.gate.refresh().memory.refused[opening.digest, "unseal"]
        raise Denied(f"opening {opening.digest[:12]} was denied: {reason}")
    campaign.look("sealed", opening)
    return _measure_opening(running, opening)


def _campaign(running: Running, key: CampaignKey) -> Campaign:
    return Campaign(running, *key, None, lambda _: None)


def _openings(facts: Facts) -> list[Planned]:
    """Return the plans for opening sealed, in order."""
    return [
        Planned(digest=name, plan=plan)
        for name, plan in facts.plans.items()
        if plan.purpose == "unseal"
    ]


def _pending_opening(running: Running, key: CampaignKey | None) -> Planned | None:
    """Return the opening under way, of a single campaign if `key` names it."""
    facts, gate = running.facts(), running.gate.refresh()
    for opening in _openings(facts):
        wanted = key in (None, (opening.plan.arm, opening.plan.repeat))
        closed = (
            opening.digest in facts.openings or (opening.digest, "unseal") in gate.memory.refused
        )
        if wanted and not closed and opening.plan.version == gate.memory.rules.version:
            return opening
    return None


def _record_opening(running: Running, key: CampaignKey | None) -> Planned:
    """Record the next opening, of a champion against its baseline."""
    facts = running.facts()
    best = _champion_to_open(running, facts, key)
    campaign = _campaign(running, (best.plan.arm, best.plan.repeat))
    base = campaign.champions()[0]
    number = 1 + len(_openings(facts))
    draft = Draft(
        generation=running.config.study.generations + 1,
        index=number,
        purpose="unseal",
        parent=best.digest,
        change_class="unseal",
        recipe=best.plan.recipe,
        bundle=best.plan.bundle,
        reference=(base.plan.bundle, base.plan.recipe),
        proposal=Proposal(hypothesis=f"opening {number} of sealed", knobs={}),
    )
    return campaign.record(draft)


def _champion_to_open(running: Running, facts: Facts, key: CampaignKey | None) -> Planned:
    """Return the champion for an opening; raise BadInput or BudgetExhausted."""
    if not facts.closed:
        raise BadInput(
            f"{running.folder} did not end; sealed is opened after every campaign of the study"
        )
    if key and key not in facts.champions:
        raise BadInput(
            f"{running.folder} has no campaign of arm {key[0]!r}, repeat {key[1]};"
            f" `heirloop plans {quote(running.folder)}` lists them"
        )
    name = facts.champions[key][-1] if key else best_champion(facts, running.config)
    if facts.plans[name].generation == 0:
        raise BadInput(
            f"{running.folder} has no champion beside its baseline; there is nothing to open"
            " sealed for"
        )
    left = running.ledger.read(balances)[look_account("sealed")]["looks"]
    if left["spent"] >= left["limit"]:
        error = BudgetExhausted(
            f"{left['spent']} of {left['limit']} looks at sealed are spent (budget.looks.sealed)"
        )
        error.short, error.resource = (look_account("sealed"),), "looks"
        raise error
    return Planned(digest=name, plan=facts.plans[name])


def _measure_opening(running: Running, opening: Planned) -> dict[str, Any]:
    """Measure champion and baseline on sealed, pair by pair, and record the result.

    There is no gain where a pair failed or could not be paid.
    """
    objective = running.config.objective
    count = next(job.count for job in opening.plan.jobs if job.role == "train")
    own, base = _measure_pairs(running, opening, count)
    gains = [primary(objective, a) - primary(objective, b) for a, b in zip(own, base, strict=True)]
    gain, low, high = None, None, None
    if len(gains) == count:
        gain, low, high = interval(gains, LEVEL, running.config.deviation())
    entry = OpeningEntry(
        plan=opening.digest,
        champion=opening.plan.parent,
        metric=objective.metric,
        gain=gain,
        low=low,
        high=high,
        replicates=len(gains),
        of=count,
        champion_mean=_mean(objective, own),
        baseline_mean=_mean(objective, base),
        spread=spread([primary(objective, s) for s in own]) if len(own) > 1 else None,
        computable=running.gate.computable(opening.plan),
    )
    running.ledger.append(entry)
    body: dict[str, Any] = plain(entry)
    return body


def _measure_pairs(
    running: Running, opening: Planned, count: int
) -> tuple[list[Scores], list[Scores]]:
    """Return the scores of champion and baseline on sealed, without failed pairs."""
    own: list[Scores] = []
    base: list[Scores] = []
    with contextlib.suppress(BudgetExhausted):
        for index in range(count):
            champion_side = Replicate(planned=opening, index=index)
            baseline_side = Replicate(planned=opening, index=index, champion=True)
            champion_scores = measure(running, champion_side, "sealed", None)
            baseline_scores = measure(running, baseline_side, "sealed", None)
            if champion_scores and baseline_scores:
                own.append(champion_scores)
                base.append(baseline_scores)
    return own, base


def _mean(objective: Objective, scores: Sequence[Scores]) -> float | None:
    """Return the mean of the objective's metric, None without scores."""
    if not scores:
        return None
    values = [read_metric(s, objective.metric, weights=objective.weights) for s in scores]
    return sum(values) / len(values)
