"""A proposer's view of its campaign: recipes, coarse feedback scores, verdicts and failures.

Begin with `history_of`. The notebook is the same trials as training rows of the weights.
"""

import random
import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from safetensors.numpy import save

from configs.arms import START, variant, without_twin
from configs.build import plain
from configs.entries import NotebookEntry
from configs.history import History, Trial, notebook
from configs.notebook import BUCKETS
from configs.recipe import Recipe
from configs.records import Plan
from evals.ladder import Feedback, release_feedback
from loop.campaign import Campaign
from loop.facts.facts import Facts
from loop.propose.table import proposer
from loop.propose.view import ProposerView, draw
from sandbox.canonical import canonical

CHANCE_ROWS = 16
"""Rows of chance in a study without trials at its start."""
_NOTEBOOKS = threading.Lock()


def store_history(campaign: Campaign, history: History) -> str:
    """Store the history for a propose plan's job; return its digest."""
    return campaign.running.store.put(write_history(history))


def write_history(history: History) -> bytes:
    """Return a history as a program reads it: every recipe has every knob of the grid.

    Recorded bytes leave out what was added to recipes later and stands at its default.
    """

    def whole(recipe: Recipe, fields: dict[str, Any]) -> dict[str, Any]:
        return {**{name: getattr(recipe, name) for name in history.grid}, **fields}

    fields = plain(history)
    fields["champion"] = whole(history.champion, fields["champion"])
    for trial, row in zip(history.trials, fields["trials"], strict=True):
        row["recipe"] = whole(trial.recipe, row["recipe"])
    fields["barred"] = [
        whole(one, row) for one, row in zip(history.barred, fields["barred"], strict=True)
    ]
    return canonical(fields)


def write_notebook(campaign: Campaign, how: str = "") -> str:
    """Record the notebook as it stands; return its digest, or nothing without a notebook.

    `how` overrides the arm's own way to show trials.
    """
    if not campaign.running.config.task.notebook:
        return ""
    rows = []
    if variant(campaign.arm).notes == "separate":
        how = "first"  # weights are common to all, and carry nobody's own trials to the others
    if campaign.arm != START:
        trials = select_trials(campaign, list_trials(campaign), how)
        rows = notebook(tuple(trials.values()), campaign.running.config.task.format().book())
    rows = rows or _chance_rows(campaign)
    blob = campaign.running.store.put(save({"trials": np.array(rows, np.uint8)}))
    with _NOTEBOOKS:
        if blob not in campaign.facts().shown:
            campaign.running.ledger.append(NotebookEntry(digest=blob, trials=len(rows)))
            campaign.facts()
    return blob


def _chance_rows(campaign: Campaign) -> list[list[int]]:
    """Return rows of chance, for trainings before any trial has an outcome.

    So the notebook's share already costs and disturbs these trainings as much as later trainings.
    """
    config = campaign.running.config
    book, rng = config.task.format().book(), random.Random(f"{config.study.seed}:{START}")
    rows = []
    for _ in range(config.study.start_trials or CHANCE_ROWS):
        bucket = rng.randrange(BUCKETS)
        recipe = draw(rng, config.task.baseline, config.task.choices())
        rows.append([bucket, *book.encode(recipe)])
    return rows


def view_of(campaign: Campaign, generation: int, index: int) -> ProposerView:
    """Return the full view of a program on the trusted side for a single proposal."""
    config = campaign.running.config
    author = config.study.author(campaign.arm, index)
    history = history_of(campaign, 1, (generation, author))
    bundles = {history.champion_source, *(trial.source for trial in history.trials)}
    store = campaign.running.store
    sources = {name: store.get_bundle(name)["models/train.py"].decode() for name in bundles}
    place = f"{without_twin(campaign.arm)}:{campaign.repeat}:{generation}:{index}"
    return ProposerView(
        history=history,
        sources=sources,
        settings=config.proposer.of(campaign.arm),
        rng=random.Random(f"{config.study.seed}:{place}"),
        generation=generation,
        index=index,
    )


def history_of(campaign: Campaign, count: int, place: tuple[int, int] = (0, 0)) -> History:
    """Return a proposer's full view of its campaign, for a request of `count` proposals.

    `place` is the generation and the number of the proposer, where several work at once.
    """
    champion, task = campaign.parent(), campaign.running.config.task
    trials: Mapping[str, Trial] = {} if proposer(campaign.arm).blind else list_trials(campaign)
    withheld = not trials or _is_withheld(campaign, champion.digest)
    champion_score = None if withheld else trials[champion.digest].score
    trials = _list_known(campaign, trials, *place)
    visible = select_trials(campaign, trials)
    return History(
        champion=champion.plan.recipe,
        champion_source=champion.plan.bundle,
        champion_score=champion_score,
        trials=tuple(visible.values()),
        barred=tuple(
            trial.recipe
            for name, trial in trials.items()
            if name not in visible or visible[name].recipe != trial.recipe
        ),
        count=count,
        grid=task.choices(),
        most_changes=campaign.limit(),
    )


def _is_withheld(campaign: Campaign, name: str) -> bool:
    """Tell whether the outcome of a trial reaches no proposer: the feed of data is withdrawn."""
    plan, withdrawn = campaign.facts().plans[name], campaign.running.config.faults.withdrawn
    own = plan.purpose == "candidate"
    return own and withdrawn.takes(campaign.arm, "data", plan.generation)


def _list_known(
    campaign: Campaign, trials: Mapping[str, Trial], generation: int, author: int
) -> Mapping[str, Trial]:
    """Return the trials that a proposer knows who works with others at once.

    Nobody sees what the others propose in the same generation. With separate histories nobody sees
    any trial of the others.
    """
    notes = variant(campaign.arm).notes
    plans, study = campaign.facts().plans, campaign.running.config.study

    def is_known(name: str) -> bool:
        plan = plans[name]
        if plan.purpose != "candidate" or study.author(campaign.arm, plan.index) == author:
            return True
        return notes == "shared" and plan.generation < generation

    return {name: trial for name, trial in trials.items() if is_known(name)} if notes else trials


def select_trials(
    campaign: Campaign, trials: Mapping[str, Trial], how: str = ""
) -> dict[str, Trial]:
    """Return the trials for an arm (or `how`) to show and learn from, by plan digest.

    `how` is one of configs.arms.Reading. An own trial is a candidate of this campaign.
    """
    how = how or variant(campaign.arm).history
    plans = campaign.facts().plans
    trials = {name: one for name, one in trials.items() if not _is_withheld(campaign, name)}
    own = [name for name in trials if plans[name].purpose == "candidate"]
    start = [name for name in trials if name not in own]
    if how == "first":
        return {name: trials[name] for name in start}
    if how == "no_own":
        return _replace_own(trials, own, start)
    moved = {"scrambled": list(trials), "scrambled_own": own, "scrambled_start": start}
    if how not in moved:
        return dict(trials)
    study = campaign.running.config.study
    finished = [name for name in moved[how] if trials[name].outcome != "waiting"]
    rng = random.Random(f"{how}:{study.seed}:{campaign.repeat}:{len(finished)}")
    outcomes = [trials[name] for name in finished]
    if how == "scrambled":
        rng.shuffle(outcomes)
    else:
        _derange(rng, outcomes)
    return {**trials, **_give_outcomes(trials, finished, outcomes)}


def _derange(rng: random.Random, outcomes: list[Trial]) -> None:
    """Shuffle in place into a single cycle (Sattolo 1986): nothing stays where it was."""
    for last in range(len(outcomes) - 1, 0, -1):
        other = rng.randrange(last)
        outcomes[last], outcomes[other] = outcomes[other], outcomes[last]


def _give_outcomes(
    trials: Mapping[str, Trial], names: Sequence[str], outcomes: Sequence[Trial]
) -> dict[str, Trial]:
    return {
        name: replace(
            trials[name],
            outcome=other.outcome,
            score=other.score,
            verdict=other.verdict,
            failure=other.failure,
        )
        for name, other in zip(names, outcomes, strict=True)
    }


def _replace_own(
    trials: Mapping[str, Trial], own: Sequence[str], start: Sequence[str]
) -> dict[str, Trial]:
    """Return the trials with a row of the start in the place of each finished own trial."""
    known = [trials[name] for name in start if trials[name].outcome != "waiting"]
    finished = [name for name in own if trials[name].outcome != "waiting"]
    if not known:
        return {name: trial for name, trial in trials.items() if name not in finished}
    shown = {
        name: replace(known[number % len(known)], plan="") for number, name in enumerate(finished)
    }
    return {**trials, **shown}


def list_trials(campaign: Campaign) -> dict[str, Trial]:
    """Return the trials of the start and of a campaign, by plan digest.

    Scores are coarse, as released by the ladder (evals/ladder.py).
    """
    config, facts = campaign.running.config, campaign.facts()
    plans = facts.trials(campaign.key)
    slots = {name: (name, "predict", 0) for name in plans}
    measured = {name: facts.scores[slot] for name, slot in slots.items() if slot in facts.scores}
    released = release_feedback(
        list(measured.values()),
        config.objective,
        looks=config.trials(campaign.arm),
        deviation=config.deviation(),
    )
    outcomes = dict(zip(measured, released, strict=True))
    waiting = Feedback(outcome="waiting", score=None)
    recalled = campaign.running.gate.refresh().memory.recalled

    def is_basis(name: str) -> bool:
        own = campaign.limit() and plans[name].purpose in ("baseline", "candidate")
        return bool(own and measured.get(name) and name not in recalled)

    return {
        name: _trial(facts, name, plan, outcomes.get(name, waiting), name if is_basis(name) else "")
        for name, plan in plans.items()
    }


def _trial(facts: Facts, name: str, plan: Plan, feedback: Feedback, basis: str) -> Trial:
    verdict = facts.verdicts.get(name)
    answer = verdict.answer if verdict and verdict.answer != "continue" else ""
    result = facts.results.get((name, "train", 0))
    failed = result is not None and result[0].status != "ok"
    return Trial(
        recipe=plan.recipe,
        outcome=feedback.outcome,
        score=feedback.score,
        verdict=answer,
        source=plan.bundle,
        plan=basis,
        failure=f"{result[0].status}: {result[0].detail}"[:300] if result and failed else "",
    )
