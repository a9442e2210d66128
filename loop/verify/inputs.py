"""Inputs of recorded jobs: each is what the ledger recorded for this very plan before.

A predict job that reads another plan's weights, or questions without a look, does not pass.
"""

from dataclasses import dataclass, field

from configs.entries import (
    DataEntry,
    Fact,
    HistoryEntry,
    JobEntry,
    LookEntry,
    NotebookEntry,
    QuestionsEntry,
    StartEntry,
)
from configs.records import CONFIRM, NOTES, SERVE, Job, Plan, PlanRole, Split, name_split, stage
from loop.measure.jobs import seed_number
from sandbox.canonical import digest

WEIGHTS, NOTEBOOK, ORDER = "weights.safetensors", "notebook.safetensors", "training.json"


@dataclass(slots=True, kw_only=True)
class Recorded:
    """The bytes that a ledger recorded up to an entry, and the looks taken."""

    data: dict[tuple[str, int], str] = field(default_factory=dict)
    "(plan, number of the seed) -> digest of the training file"
    histories: dict[str, str] = field(default_factory=dict)
    "propose plan -> digest of its history"
    notebooks: set[str] = field(default_factory=set)
    "digests of notebooks"
    questions: dict[tuple[int, str], str] = field(default_factory=dict)
    "(repeat, split) -> digest of its questions; format 1 has those of repeat 0 alone"
    weights: dict[tuple[str, str, int], str] = field(default_factory=dict)
    "(plan, role, index) of a training -> digest of its weights"
    trainings: dict[tuple[str, str, int], Job] = field(default_factory=dict)
    "(plan, role, index) of a training on a table -> its job, by which its weights can be trained"
    notes: dict[str, str] = field(default_factory=dict)
    "propose plan -> digest of the notes that its agent left"
    looks: set[tuple[str, str]] = field(default_factory=set)
    "(plan, split) of every look"

    def note(self, fact: Fact) -> None:
        """Add a fact; most kinds record no bytes."""
        match fact:
            case DataEntry():
                self.data[fact.plan, fact.index] = fact.digest
            case HistoryEntry():
                self.histories[fact.plan] = fact.digest
            case NotebookEntry():
                self.notebooks.add(fact.digest)
            case QuestionsEntry():
                self.questions[fact.repeat, name_split(fact.split)] = fact.digest
            case LookEntry():
                self.looks.add((fact.plan, name_split(fact.split)))
            case StartEntry() if fact.job.order.task.folds and stage(fact.job.role) == "train":
                self.trainings[fact.job.plan, fact.job.role, fact.job.index] = fact.job
            case JobEntry() if NOTES in fact.result.outputs:
                self.notes[fact.plan] = fact.result.outputs[NOTES]
            case JobEntry() if WEIGHTS in fact.result.outputs:
                self.weights[fact.plan, fact.role, fact.index] = fact.result.outputs[WEIGHTS]


NOTED = ("data", "history", "notebook", "questions", "look", "start", "job")
"""Kinds of entries that `Recorded.note` reads."""


def find_flaw(recorded: Recorded, plan: Plan, job: Job, base: str) -> str:
    """Return what is wrong with a job's inputs, or an empty string.

    `base` is the baseline of its campaign, whose weights a service serves.
    """
    split = _split_of(plan, job)
    looks = (job.plan, split) in recorded.looks or measures_noise(plan) or job.role == SERVE
    if stage(job.role) == "predict" and not looks:
        return f"it answers the questions of {split} without a look at it"
    serves = [(WEIGHTS, recorded.weights.get((base, "train", 0)))]
    needed = serves if job.role == SERVE else _list_inputs(recorded, plan, job, split)
    wanted = {name: digest or "" for name, digest in needed}
    given = {one.name: one.digest for one in job.inputs}
    wrong = sorted(name for name in wanted | given if wanted.get(name) != given.get(name))
    if plan.notebook and plan.notebook not in recorded.notebooks:
        return "its notebook was recorded nowhere"
    return f"its {wrong[0]} is not what was recorded for its plan" if wrong else ""


def _split_of(plan: Plan, job: Job) -> Split:
    """Return the split of a predict job: its purpose and its number fix it."""
    if plan.purpose == "unseal":
        return "sealed"
    if plan.purpose == "select":
        return "feedback"
    screens = plan.purpose in ("start", "baseline", "candidate", "trial") and not measures_noise(
        plan
    )
    return "feedback" if screens and (job.role, job.index) == ("predict", 0) else CONFIRM


def measures_noise(plan: Plan) -> bool:
    """Tell whether a plan trains a recipe again and again for `heirloop calibrate`.

    It proposes nothing, so its scores are no looks.
    """
    return plan.purpose == "baseline" and any(job.count > 1 for job in plan.jobs)


def measures_proposing(plan: Plan) -> bool:
    """Tell whether a plan lets the weights of a change propose, for `heirloop gatebench harm`."""
    return plan.purpose == "candidate" and any(job.role == "propose" for job in plan.jobs)


def _list_inputs(
    recorded: Recorded, plan: Plan, job: Job, split: Split
) -> list[tuple[str, str | None]]:
    """Return name and digest of each input that a job must have."""
    is_champion = job.role.startswith("champion")
    trained: PlanRole = "champion-train" if is_champion else "train"
    match stage(job.role):
        case "train":
            number = seed_number(plan, job.index, is_champion)
            data = ("data.safetensors", recorded.data.get((job.plan, number)))
            notebook = [(NOTEBOOK, plan.notebook)] if plan.notebook else []
            return [data, *notebook]
        case "predict":
            weights = recorded.weights.get((job.plan, trained, job.index))
            shared = recorded.questions.get((0, split))
            questions = recorded.questions.get((plan.repeat, split), shared)
            return [(WEIGHTS, weights), ("questions.safetensors", questions)]
    history = ("history.json", recorded.histories.get(job.plan))
    if not plan.notebook:
        return [history]
    writer = (job.plan, "champion-train", 0) if plan.reference else (plan.parent, "train", 0)
    if measures_proposing(plan):
        writer = (job.plan, "train", 0)
    again = _list_order(job, recorded.trainings.get(writer))
    return [history, (WEIGHTS, recorded.weights.get(writer)), *again]


def _list_order(job: Job, training: Job | None) -> list[tuple[str, str | None]]:
    """Return the inputs by which a training on a table can be done: its order and its notebook.

    An export may have closed the training's seed; then the order given to the job stands.
    """
    if training is None:
        return []
    given = {one.name: one.digest for one in job.inputs}
    is_closed = training.order.seed is None
    order = given.get(ORDER) if is_closed else digest(training.order)
    book = [(one.name, one.digest) for one in training.inputs if one.name == NOTEBOOK]
    return [(ORDER, order), *((name, blob or given.get(name)) for name, blob in book)]
