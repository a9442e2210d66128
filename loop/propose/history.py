"""How proposals are got: written by a program on the trusted side, or asked of weights in a box by
way of a propose plan.

A propose plan is decided on, paid for and recorded like any other; one stands for all proposals of
a generation.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from configs.history import History, Trial
from configs.recipe import grid
from configs.records import Plan
from evals.ladder import Told, told
from loop.facts.facts import Facts
from loop.propose.scene import Scene
from loop.propose.table import proposer, variant
from sandbox.canonical import canonical

if TYPE_CHECKING:
    from loop.cycle import Campaign


def show(c: Campaign, name: str, history: History) -> None:
    """Record once what a propose plan is shown."""
    if name not in c.running.archive.facts().shown:
        c.running.ledger.append(
            "history", {"plan": name, "digest": c.running.sandbox.store.put(canonical(history))}
        )


def scene_of(c: Campaign, generation: int, index: int) -> Scene:
    """Return what a program on the trusted side is shown."""
    history, config = history_of(c, 1), c.running.config
    store, bundles = (
        c.running.sandbox.store,
        {history.champion_source, *(t.source for t in history.trials)},
    )
    sources = {name: store.get_bundle(name)["models/train.py"].decode() for name in bundles}
    rng = random.Random(f"{config.study.seed}:{c.arm}:{c.repeat}:{generation}:{index}")
    return Scene(
        history=history,
        sources=sources,
        settings=config.proposer,
        rng=rng,
        generation=generation,
        index=index,
    )


def history_of(c: Campaign, count: int) -> History:
    """Return all that a campaign's proposer may see: recipes, what is told of their feedback
    scores, own verdicts, failures of trainings.
    """
    trials, champion = {} if proposer(c.arm).blind else trials_of(c), c.parent()
    shown, best = seen(c, trials), c.plan(champion)
    score = trials[champion].score if trials else None
    return History(
        champion=best.recipe,
        champion_source=best.bundle,
        champion_score=score,
        trials=tuple(shown.values()),
        barred=tuple(t.recipe for name, t in trials.items() if name not in shown),
        count=count,
        grid=grid(c.running.config.task.notebook),
    )


def seen(c: Campaign, trials: Mapping[str, Trial], how: str = "") -> dict[str, Trial]:
    """Return what an arm's variant (or `how`) shows of trials and learns from: all, those before
    generation 1, or all with outcomes permuted.
    """
    facts, how = c.running.archive.facts(), how or variant(c.arm).history
    if how == "first":
        return {name: t for name, t in trials.items() if facts.plans[name].purpose != "candidate"}
    if how == "scrambled":
        known = [name for name, t in trials.items() if t.outcome != "waiting"]
        given = [trials[name] for name in known]
        random.Random(f"scrambled:{c.running.config.study.seed}:{c.repeat}:{len(known)}").shuffle(
            given
        )
        return {
            **trials,
            **{
                name: replace(
                    trials[name],
                    outcome=t.outcome,
                    score=t.score,
                    verdict=t.verdict,
                    failure=t.failure,
                )
                for name, t in zip(known, given, strict=True)
            },
        }
    return dict(trials)


def trials_of(c: Campaign) -> dict[str, Trial]:
    """Return the trials of the start and of a campaign, as its proposer is told of them, by
    plan.
    """
    config, facts = c.running.config, c.running.archive.facts()
    plans = facts.trials((c.arm, c.repeat))
    measured = {
        name: facts.scores[name, "predict", 0]
        for name in plans
        if (name, "predict", 0) in facts.scores
    }
    said = told(
        list(measured.values()),
        config.objective,
        looks=config.trials(c.arm),
        deviation=config.deviation(),
    )
    known = dict(zip(measured, said, strict=True))
    waits = Told(outcome="waiting", score=None)
    return {name: _trial(facts, name, plan, known.get(name, waits)) for name, plan in plans.items()}


def _trial(facts: Facts, name: str, plan: Plan, told: Told) -> Trial:
    verdict = facts.verdicts.get(name)
    answer = verdict.answer if verdict and verdict.answer != "continue" else ""
    result = facts.results.get((name, "train", 0))
    failed = result is not None and result[0].status != "ok"
    return Trial(
        recipe=plan.recipe,
        outcome=told.outcome,
        score=told.score,
        verdict=answer,
        source=plan.bundle,
        failure=f"{result[0].status}: {result[0].detail}"[:300] if result and failed else "",
    )
