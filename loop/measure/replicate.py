"""Measure a replicate of a plan: train it, let its weights predict, score the predictions.

Every step is recorded: measuring again after a kill does nothing twice. Begin with `measure`.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

from safetensors.numpy import load, save

from configs.arms import START
from configs.entries import DataEntry, ScoreEntry
from configs.errors import VerificationFailed
from configs.records import Input, JobResult, Nearest, PlanRole, Scores, Split
from evals.data import draw_train
from evals.program import count_weights, inspect_outputs
from evals.score import inspect_weights, score
from loop.measure.jobs import (
    Replicate,
    charge_without_startup,
    make_job,
    make_order,
    run_job,
    seed_of,
    tell_failure,
)
from loop.plan import Planned
from loop.study.running import Running
from sandbox.canonical import canonical
from sandbox.door.doors import Doors

WEIGHTS, PREDICTIONS = "weights.safetensors", "predictions.safetensors"
COPY = 0.01
"""Weights nearer than this to others count as their copy (0: the same, 1: strangers). Noise that
keeps a score is about this large.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """A finished training."""

    result: JobResult
    "facts recorded of the job"
    sequence: int
    "ledger entry of the result"
    failure: str
    "why the weights cannot be used; empty if they can"

    @property
    def weights(self) -> Input:
        """The weights as input of another job."""
        return Input(name=WEIGHTS, digest=self.result.outputs[WEIGHTS], sequence=self.sequence)


@dataclass(frozen=True, slots=True, kw_only=True)
class Predicted:
    """A finished predict job."""

    result: JobResult
    "facts recorded of the job"
    failure: str
    "why there are no predictions; empty if there are"


def measure(running: Running, replicate: Replicate, split: Split, cpu: int | None) -> Scores | None:
    """Train a replicate and score it on a split, once; return None after a failure."""
    score = score_once(running, replicate, split, cpu)
    if isinstance(score, ScoreEntry):
        running.ledger.append(score)
        return score.scores
    return score


def score_once(
    running: Running, replicate: Replicate, split: Split, cpu: int | None
) -> ScoreEntry | Scores | None:
    """Train a replicate and score it; return the entry, which the caller records.

    Recorded before, its scores are returned as they are, None after a failure.
    """
    planned, role, index = replicate.planned, replicate.predict_role, replicate.index
    recorded = running.facts().scores
    if (planned.digest, role, index) in recorded:
        return recorded[planned.digest, role, index]
    trained = train(running, replicate, cpu)
    nearest, failure = None, trained.failure
    if not failure:
        nearest, failure = _find_copy(running, replicate, trained.result.outputs[WEIGHTS])
    scores, reason = None, failure
    if not failure:
        predicted = predict(running, replicate, trained, split, cpu)
        scores, reason = score_predictions(running, replicate, trained, predicted, split)
    return ScoreEntry(
        plan=planned.digest, role=role, index=index, scores=scores, reason=reason, nearest=nearest
    )


def train(running: Running, replicate: Replicate, cpu: int | None) -> Trained:
    """Train once, from the replicate's own training file and the plan's notebook."""
    planned = replicate.planned
    inputs = (training_file(running, replicate), *_notebook(running, planned))
    job = make_job(running, replicate, replicate.train_role, inputs)
    result, sequence = run_job(running, job, cpu)
    failure = tell_failure(result, WEIGHTS)
    if not failure:
        weights, task = running.store.get(result.outputs[WEIGHTS]), running.config.task
        if task.weights:
            failure = inspect_outputs(weights, task.weights)
        else:
            failure = inspect_weights(weights, task.format(), replicate.recipe)
    return Trained(result=result, sequence=sequence, failure=failure)


def predict(
    running: Running, replicate: Replicate, trained: Trained, split: Split, cpu: int | None
) -> Predicted:
    """Let trained weights answer the questions of a split; no answer enters the box."""
    stored = running.items.questions(replicate.planned.plan.repeat)[split]
    questions = Input(name="questions.safetensors", digest=stored[0], sequence=stored[1])
    inputs = (trained.weights, questions)
    job = make_job(running, replicate, replicate.predict_role, inputs)
    result, _ = run_job(running, job, cpu)
    return Predicted(result=result, failure=tell_failure(result, PREDICTIONS))


def score_predictions(
    running: Running, replicate: Replicate, trained: Trained, predicted: Predicted, split: Split
) -> tuple[Scores | None, str]:
    """Return the scores of predictions, or None and the reason for having no scores."""
    if predicted.failure:
        return None, predicted.failure
    items = running.items.of(replicate.planned.plan.repeat)
    scores = score(
        running.store.get(predicted.result.outputs[PREDICTIONS]),
        items.splits[split],
        running.config.task.format(),
        replicate.recipe,
        split,
        replicate.planned.plan.planned_cpu_us,
        charge_without_startup(trained.result),
        charge_without_startup(predicted.result),
        items.slices[split],
    )
    if isinstance(scores, str):
        return None, scores
    if running.config.task.weights:
        weights = running.store.get(trained.result.outputs[WEIGHTS])
        scores = replace(scores, parameters=count_weights(weights))
    return scores, ""


def write_proposals(
    running: Running,
    planned: Planned,
    cpu: int | None,
    make_doors: Callable[[], Doors] | None = None,
) -> list[str] | str:
    """Let the job of a propose plan write its proposals; return their texts, or a reason.

    The writing weights are the screened weights, as they lie in the store. A measure of skill
    trains its own. A table holds no weights: there the job gets their training's order and notebook
    too, and trains them.
    """
    inputs: list[Input] = []
    if planned.plan.notebook:
        writer = _writer(running, planned)
        trained = train(running, writer, cpu)
        if trained.failure:
            return f"the weights that should propose are no good: {trained.failure}"
        inputs += [trained.weights, *_training(running, writer, trained)]
    blob, sequence = running.facts().shown[planned.digest]
    inputs.append(Input(name="history.json", digest=blob, sequence=sequence))
    job = make_job(running, Replicate(planned=planned, index=0), "propose", tuple(inputs))
    result, _ = run_job(running, job, cpu, make_doors)
    failure = tell_failure(result, "proposals.jsonl")
    if failure:
        return failure
    text = running.store.get(result.outputs["proposals.jsonl"]).decode(errors="replace")
    return text.splitlines()


def _training(running: Running, writer: Replicate, trained: Trained) -> tuple[Input, ...]:
    """Return the order and the notebook of a training that a table answered; else nothing."""
    if not running.config.task.folds:
        return ()
    order = running.store.put(canonical(make_order(running, writer, writer.train_role)))
    asked = Input(name="training.json", digest=order, sequence=trained.sequence)
    return (asked, *_notebook(running, writer.planned))


def _writer(running: Running, planned: Planned) -> Replicate:
    """Return the training whose weights write the proposals of a propose plan."""
    if planned.plan.reference:
        return Replicate(planned=planned, index=0, champion=True)
    parent = running.facts().plans[planned.plan.parent]
    return Replicate(planned=Planned(digest=planned.plan.parent, plan=parent), index=0)


def _find_copy(running: Running, replicate: Replicate, weights: str) -> tuple[Nearest, str]:
    """Return the nearest other weights, and the reason against a copy of weights from before."""
    nearest = running.nearest.find(weights, seed := seed_of(running, replicate))
    if not refuse_copy(nearest):
        return nearest, ""
    before = running.nearest.find(weights, seed, _came_before(running, replicate.planned))
    failure = refuse_copy(before)
    return (before if failure else nearest), failure


def _came_before(running: Running, planned: Planned) -> Callable[[str], bool]:
    """Return a function that tells of another plan whether its trainings surely came before.

    What others did by now hangs on the order in which jobs end, which may refuse nothing. A program
    that always gives out the same weights is refused once it is confirmed: its screening had them.
    """
    plans, plan = running.facts().plans, planned.plan

    def tell(digest: str) -> bool:
        other = plans[digest]
        if other.repeat != plan.repeat:
            return False
        if other.arm != plan.arm:
            return other.arm == START
        return digest == planned.digest or other.generation < plan.generation

    return tell


def refuse_copy(nearest: Nearest) -> str:
    """Return the reason against weights equal to others but for noise: a copy learnt nothing."""
    if nearest.distance is None or nearest.distance >= COPY:
        return ""
    return (
        f"the weights equal those of plan {nearest.plan[:12]}, trained under another seed"
        f" (distance {nearest.distance:g})"
    )


def compute_ratio(running: Running, planned: Planned) -> float:
    """Return the mean charge of a plan's confirming trainings over their planned compute, at the
    machine's pace.

    The champion beside it shows the pace: its own charge meanwhile over its own planned charge. The
    baseline's ratio is 1; the pace is never below 1. So a busy machine changes nothing, and a line
    of patches cannot add compute step by step. A missing charge gives "not a number", and this
    never passes.
    """
    plan = planned.plan
    counts = {job.role: job.count for job in plan.jobs}
    screenings = 1 if plan.purpose == "candidate" else 0
    own = _charges(running, planned, "train", screenings, counts.get("train", 0))
    others = _charges(running, planned, "champion-train", 0, counts.get("champion-train", 0))
    if not own or not others:
        return math.nan
    planned_pace = plan.planned_cpu_us * _recorded_ratio(running, planned)
    pace = max(1.0, sum(others) / len(others) / planned_pace)
    return sum(own) / len(own) / plan.planned_cpu_us / pace


def _charges(
    running: Running, planned: Planned, role: PlanRole, first: int, count: int
) -> list[int]:
    """Return the recorded charges (CPU-microseconds) of a plan's trainings in a single role."""
    results = running.facts().results
    slots = [(planned.digest, role, index) for index in range(first, count)]
    return [charge_without_startup(results[slot][0]) for slot in slots if slot in results]


def _recorded_ratio(running: Running, planned: Planned) -> float:
    """Return the compute ratio at the acceptance of the champion beside a candidate."""
    if planned.plan.purpose != "candidate":
        return 1.0
    verdict = running.facts().verdicts.get(planned.plan.parent)
    criteria = verdict.criteria if verdict else ()
    values = (c.value for c in criteria if c.name == "planned compute" and c.value)
    return next(values, 1.0)


def _notebook(running: Running, planned: Planned) -> tuple[Input, ...]:
    """Return the notebook used in a plan's trainings, if any."""
    blob = planned.plan.notebook
    if not blob:
        return ()
    sequence = running.facts().shown[blob][1]
    return (Input(name="notebook.safetensors", digest=blob, sequence=sequence),)


def training_file(running: Running, replicate: Replicate) -> Input:
    """Return a replicate's training file, drawn once.

    Raises VerificationFailed if an item of it has the question of a held-out item.
    """
    name, number = replicate.planned.digest, replicate.seed_number
    record_data(running, replicate)
    blob, sequence = running.facts().data[name, number]
    items = load(running.store.get(blob))["items"]
    if shared := running.items.count_shared(replicate.planned.plan.repeat, blob, items):
        raise VerificationFailed(
            f"the training file of plan {name[:12]}, replicate {number} holds {shared} held-out"
            " items; nothing ran"
        )
    return Input(name="data.safetensors", digest=blob, sequence=sequence)


def record_data(running: Running, replicate: Replicate) -> None:
    """Draw, store and record a replicate's training file, once."""
    for entry in draw_data(running, replicate):
        running.ledger.append(entry)


def draw_data(running: Running, replicate: Replicate) -> tuple[DataEntry, ...]:
    """Draw and store a replicate's training file; return its entry, nothing once it is recorded."""
    name, number = replicate.planned.digest, replicate.seed_number
    if (name, number) in running.facts().data:
        return ()
    secret = running.items.of(replicate.planned.plan.repeat).secret
    items = draw_train(running.config.task.format(), secret, seed_of(running, replicate))
    blob = running.store.put(save({"items": items}))
    return (DataEntry(plan=name, index=number, digest=blob),)
