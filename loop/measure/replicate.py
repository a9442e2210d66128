"""Measure a plan: train replicates and ask them held-out questions, through the one door. Every
step is resumable.
"""

import math
from typing import Any

import numpy as np
from safetensors.numpy import load, save

from configs.build import plain
from configs.errors import Stopped, VerificationFailed
from configs.job import Order
from configs.recipe import Recipe
from configs.records import Grant, Input, Job, JobResult, Plan, PlanRole, Scores, Split, stage
from evals.data import draw_train, overlap, replicate_seed
from evals.score import inspect_weights, score
from loop.study.open import Running
from sandbox.gate import Halted
from sandbox.run import KILLED, run

_TRAINED: tuple[PlanRole, ...] = ("train", "champion-train")


COPY = 0.01
"""Weights nearer than this to others (0: the same, 1: strangers) count as their copy; noise that
keeps a score is about this large.
"""


def replicate(
    r: Running, name: str, index: int, split: Split, cpu: int | None, champion: bool = False
) -> Scores | None:
    """Train replicate `index` of a plan (or of the champion beside it) and score it on a split;
    None if it failed.
    """
    plan = r.archive.facts().plans[name]
    train_role: PlanRole = "champion-train" if champion else "train"
    predict_role: PlanRole = "champion-predict" if champion else "predict"
    facts = r.archive.facts()
    if (name, predict_role, index) in facts.scores:
        return facts.scores[name, predict_role, index]
    result, sequence, reason = trained(r, name, train_role, index, cpu)
    weights, nearest = result.outputs.get("weights.safetensors", ""), None
    if not reason:
        nearest = r.nearest.find(
            weights, replicate_seed(r.secret, name, seed_number(plan, index, champion))
        )
        reason = _copied(nearest)
    scores = reason or _predict(
        r, name, predict_role, index, cpu, (split, weights, sequence), _used(result)
    )
    found = None if isinstance(scores, str) else scores
    body = {
        "plan": name,
        "role": predict_role,
        "index": index,
        "scores": plain(found),
        "reason": "" if found else scores,
        "nearest": nearest,
    }
    r.ledger.append("score", body)
    return found


def trained(
    r: Running, name: str, role: PlanRole, index: int, cpu: int | None
) -> tuple[JobResult, int, str]:
    """Train once and return the result, its ledger sequence, and why its weights are no good, or
    nothing.
    """
    plan, champion = r.archive.facts().plans[name], role.startswith("champion")
    inputs = (_data(r, name, seed_number(plan, index, champion)), *_notebook(r, plan))
    result, sequence = _job(r, _order(r, name, plan, role, index), inputs, name, role, index, cpu)
    reason = _failure(result, "weights.safetensors")
    if not reason:
        found = r.sandbox.store.get(result.outputs["weights.safetensors"])
        reason = inspect_weights(found, r.config.task.format(), _recipe(plan, champion))
    return result, sequence, reason


def proposed(r: Running, name: str, cpu: int | None) -> list[str] | str:
    """Let a propose plan's job write its proposals; return their texts in order, or why there are
    none.
    """
    facts, inputs = r.archive.facts(), []
    plan = facts.plans[name]
    # the weights that were screened, as they lie in the store; or, in a measure of skill, those
    # trained for it
    if plan.notebook:
        result, sequence, reason = (
            trained(r, name, "champion-train", 0, cpu)
            if plan.reference
            else trained(r, plan.parent, "train", 0, cpu)
        )
        if reason:
            return f"the weights that should propose are no good: {reason}"
        inputs.append(
            Input(
                name="weights.safetensors",
                digest=result.outputs["weights.safetensors"],
                sequence=sequence,
            )
        )
    shown = facts.shown[name]
    inputs.append(Input(name="history.json", digest=shown[0], sequence=shown[1]))
    wrote, _ = _job(r, _order(r, name, plan, "propose", 0), tuple(inputs), name, "propose", 0, cpu)
    reason = _failure(wrote, "proposals.jsonl")
    return (
        reason
        or r.sandbox.store.get(wrote.outputs["proposals.jsonl"])
        .decode(errors="replace")
        .splitlines()
    )


def _notebook(r: Running, plan: Plan) -> tuple[Input, ...]:
    """Return the notebook that a plan's trainings learn from, if it has one."""
    if not plan.notebook:
        return ()
    return (
        Input(
            name="notebook.safetensors",
            digest=plan.notebook,
            sequence=r.archive.facts().shown[plan.notebook][1],
        ),
    )


def _predict(
    r: Running,
    name: str,
    role: PlanRole,
    index: int,
    cpu: int | None,
    given: tuple[Split, str, int],
    used: int,
) -> Scores | str:
    """Let trained weights answer the questions of a split; return their scores, or why there are
    none.
    """
    split, weights, sequence = given
    plan, asked = r.archive.facts().plans[name], r.asked[split]
    inputs = (
        Input(name="weights.safetensors", digest=weights, sequence=sequence),
        Input(name="questions.safetensors", digest=asked[0], sequence=asked[1]),
    )
    order = _order(r, name, plan, role, index)
    predicted, _ = _job(r, order, inputs, name, role, index, cpu)
    reason = _failure(predicted, "predictions.safetensors")
    if reason:
        return reason
    said = r.sandbox.store.get(predicted.outputs["predictions.safetensors"])
    return score(
        said,
        r.splits[split],
        r.config.task.format(),
        order.recipe,
        split,
        plan.planned_cpu_us,
        used,
        _used(predicted),
        r.slices[split],
    )


def compute_ratio(r: Running, name: str) -> float:
    """Return the mean charge of a plan's confirming trainings over their plan, at the pace of the
    machine.

    The pace is what the champion beside it was charged at the same time over what its own plan and
    ratio foresee (the baseline's ratio is 1), and never below 1. So a busy or slower machine
    changes nothing, and a line of patches cannot add to its compute step by step. Not a number,
    which never passes, where a charge is missing.
    """
    facts = r.archive.facts()
    plan = facts.plans[name]
    verdict = facts.verdicts.get(plan.parent) if plan.purpose == "candidate" else None
    beside = (
        next((c.value for c in verdict.criteria if c.name == "planned compute" and c.value), 1.0)
        if verdict
        else 1.0
    )
    counts = {job.role: job.count for job in plan.jobs}
    mine, theirs = (
        [
            _used(found[0])
            for index in range(role == "train" and plan.purpose == "candidate", counts.get(role, 0))
            if (found := facts.results.get((name, role, index)))
        ]
        for role in _TRAINED
    )
    if not mine or not theirs:
        return math.nan
    pace = max(1.0, sum(theirs) / len(theirs) / plan.planned_cpu_us / beside)
    return sum(mine) / len(mine) / plan.planned_cpu_us / pace


def _used(result: JobResult) -> int:
    return result.charged.cpu_us - result.startup_cpu_us


def _recipe(plan: Plan, champion: bool) -> Recipe:
    recipe = plan.reference_recipe if champion else plan.recipe
    assert recipe is not None
    return recipe


def seed_number(plan: Plan, index: int, champion: bool) -> int:
    """Return which of the plan's seeds a job uses: pairs share one, and a screening seed never
    confirms.
    """
    return index + 1 if champion and plan.purpose == "candidate" else index


def _order(r: Running, name: str, plan: Plan, role: PlanRole, index: int) -> Order:
    champion = role.startswith("champion")
    return Order(
        role=stage(role),
        task=r.config.task.format(),
        recipe=_recipe(plan, champion),
        seed=replicate_seed(r.secret, name, seed_number(plan, index, champion)),
        steps=plan.reference_steps if champion else plan.steps,
    )


def _data(r: Running, name: str, index: int) -> Input:
    """Return a replicate's training file, drawn once; raise VerificationFailed if it asks what a
    held-out item asks.
    """
    facts, task = r.archive.facts(), r.config.task.format()
    if (name, index) not in facts.data:
        items = draw_train(task, r.secret, replicate_seed(r.secret, name, index))
        entry = r.ledger.append(
            "data",
            {"plan": name, "index": index, "digest": r.sandbox.store.put(save({"items": items}))},
        )
        blob, sequence = entry.body["digest"], entry.sequence
    else:
        blob, sequence = facts.data[name, index]
        items = load(r.sandbox.store.get(blob))["items"]
    if found := overlap(task, items, np.concatenate(list(r.splits.values()))):
        raise VerificationFailed(
            f"the training file of plan {name[:12]}, replicate {index} holds {found} held-out"
            " items; nothing ran"
        )
    return Input(name="data.safetensors", digest=blob, sequence=sequence)


def _job(
    r: Running,
    order: Order,
    inputs: tuple[Input, ...],
    name: str,
    role: PlanRole,
    index: int,
    cpu: int | None,
) -> tuple[JobResult, int]:
    """Run a job once, however often this is called; a job that the box lost is granted anew, at
    most three times.
    """
    plan = r.archive.facts().plans[name]
    limits = getattr(r.config.budget, order.role)
    bundle = plan.reference if role.startswith("champion") else plan.bundle
    job = Job(
        plan=name, role=role, index=index, bundle=bundle, order=order, inputs=inputs, limits=limits
    )
    while True:
        facts = r.archive.facts()
        found = facts.results.get((name, role, index))
        if found and found[0].status != "box":
            return found
        if r.stopped:
            raise Stopped("the study was stopped; the same command goes on where it was")
        grant: Grant = facts.grants[name, role, index]
        if grant.nonce in facts.started:
            grant = r.gate.regrant(
                grant, counted=found is None or not found[0].detail.startswith(KILLED)
            )
        r.watch()
        try:
            run(r.sandbox, job, grant, cpu)
        except Halted as held:
            r.wait(held)


def _copied(nearest: dict[str, Any]) -> str:
    """Return why weights are refused that equal others but for noise: they were not trained
    here.
    """
    if nearest["distance"] is None or nearest["distance"] >= COPY:
        return ""
    return (
        f"the weights equal those of plan {nearest['plan'][:12]}, trained under another seed"
        f" (distance {nearest['distance']:g})"
    )


def _failure(result: JobResult, output: str) -> str:
    if result.status != "ok":
        return f"{result.status}: {result.detail}"
    return "" if output in result.outputs else f"program: it wrote no {output}"
