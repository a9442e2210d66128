"""A change becomes an exact plan and a bundle.

Edits are applied as text. Nothing proposed is imported or run here. Begin with `apply_proposal`,
then `make_plan`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from configs.arms import AT_LARGER, LARGER
from configs.build import need, parse, plain
from configs.cost import steps
from configs.errors import BadInput
from configs.recipe import Recipe, knob_values
from configs.records import (
    CLASS_OF_FILE,
    SERVE,
    Amount,
    ClassName,
    Edit,
    JobCount,
    Origin,
    Plan,
    PlanRole,
    Proposal,
    Purpose,
    find_class,
    list_changed,
    stage,
)
from configs.records.plan import worst_of
from configs.settings.config import Config
from configs.tokens import document, layout
from sandbox.canonical import digest

LOOKS: dict[Purpose, int] = {
    "start": 1,
    "baseline": 1,
    "candidate": 2,
    "trial": 1,
    "propose": 0,
    "final": 1,
    "larger": 1,
    "skill": 1,
    "select": 1,
    "ablation": 1,
    "program": 0,
    "service": 0,
    "unseal": 1,
    "reference": 1,
    "reference_larger": 1,
}
"""Held-out looks of a plan. A candidate has two: screening and confirmation."""
SPARE_JOBS = (JobCount(role="train", count=1), JobCount(role="predict", count=1))
"""Spare jobs requested by an unseal plan: if one job is killed, its approval is not wasted."""
BOX_WORDS = (
    "__init__",
    "build",
    "cost",
    "errors",
    "history",
    "job",
    "notebook",
    "reader",
    "recipe",
    "tokens",
)
"""Modules of configs/ for code in a box; no other travels into it."""
ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """A recorded plan together with its digest."""

    digest: str
    "digest of the plan; gates decide on it"
    plan: Plan
    "the plan itself"


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """The author's part of a plan; `make_plan` computes the rest."""

    generation: int
    "generation of the plan; the baseline has 0"
    index: int
    "number within the generation"
    purpose: Purpose
    "reason for the plan"
    recipe: Recipe
    "the whole resulting recipe"
    bundle: str
    "digest of the source manifest"
    proposal: Proposal
    "the proposer's hypothesis and claim"
    parent: str = ""
    "digest of its parent plan; empty for a baseline"
    parent_recipe: Recipe | None = None
    "recipe of the parent; the plan's own recipe where nothing changes"
    change_class: ClassName = "recipe"
    "risk class of the change"
    reference: tuple[str, Recipe] | None = None
    "bundle and recipe measured beside it"
    notebook: str = ""
    "digest of the notebook for its trainings"
    asked: str = ""
    "digest of the propose plan behind it"
    text: str = ""
    "digest of the proposer's stored text"
    basis: str = ""
    "digest of the plan against which its changes count; empty: the parent"
    origin: Origin | None = None
    "where its program stands in a database of programs; recorded beside the plan"
    jobs: tuple[JobCount, ...] = ()
    "jobs of a propose plan; other purposes have theirs from the settings"


SERVICE = "models/serve.py"
"""The program of a factory's service; the bundles of other studies do not hold it."""


def source(serves: bool = False) -> dict[str, bytes]:
    """Return the pristine bundle of this checkout: models/*.py and the words imported there.

    Where it `serves`, the service is among them.
    """
    paths = sorted((ROOT / "models").glob("*.py"))
    paths = [path for path in paths if serves or path != ROOT / SERVICE]
    paths += [ROOT / "configs" / f"{name}.py" for name in BOX_WORDS]
    return {str(path.relative_to(ROOT)): path.read_bytes() for path in paths}


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A proposal applied to its parent."""

    change_class: ClassName
    "risk class by the edited files"
    recipe: Recipe
    "the resulting recipe"
    files: dict[str, bytes]
    "the resulting bundle"


def apply_proposal(
    parent: Recipe,
    files: Mapping[str, bytes],
    proposal: Proposal,
    same: bool = False,
    classes: Mapping[str, ClassName] | None = None,
) -> Change:
    """Return a proposal applied to its parent; raise BadInput where it does not fit.

    With `same` it changes nothing: the arm compares like with like. `classes` are those of places
    that may change (regions.py), where a task sets its own.
    """
    recipe = parse(Recipe, {**plain(parent), **proposal.knobs}, "knobs")
    edited = dict(files)
    for number, edit in enumerate(proposal.edits):
        need(edit.file in files, f"edits[{number}].file", edit.file, "a file that may change")
        edited[edit.file] = _apply_edit(edited[edit.file], edit, number)
    touched = {name for name in edited if edited[name] != files[name]}
    if (recipe == parent and not touched) != same:
        right = "it should change none here" if same else "change a knob or a source line"
        raise BadInput(f"the proposal changes {'a knob' if same else 'nothing'}; {right}")
    known = classes or CLASS_OF_FILE
    for place in sorted(list_changed(files, edited, bytes, known)):
        right = f"to change {', '.join(known)} alone"
        need(place in known, "what the edits change", place, right)
    return Change(change_class=find_class(files, edited, known), recipe=recipe, files=edited)


def _apply_edit(data: bytes, edit: Edit, number: int) -> bytes:
    text = data.decode()
    if text.count(edit.search) != 1:
        raise BadInput(
            f"edits[{number}].search occurs {text.count(edit.search)} times in {edit.file}; it"
            " should occur once"
        )
    return text.replace(edit.search, edit.replace).encode()


def make_plan(
    config: Config, draft: Draft, *, study: str, version: int, arm: str, repeat: int
) -> Plan:
    """Return the exact plan of a draft in a campaign of a study."""
    task = config.task.format()
    compute = config.compute(arm) * (LARGER if draft.purpose in AT_LARGER else 1)
    lay = layout(task, draft.recipe)
    if draft.purpose == "propose" and draft.notebook:
        # Proposing weights read the notebook for the compute of a single training.
        lay = document(lay)
    bundle, recipe = draft.reference or ("", None)
    jobs = draft.jobs or _count_jobs(config, draft.purpose, arm)
    spare = SPARE_JOBS if draft.purpose == "unseal" else ()
    return Plan(
        study=study,
        version=version,
        arm=arm,
        repeat=repeat,
        generation=draft.generation,
        index=draft.index,
        purpose=draft.purpose,
        parent=draft.parent,
        change_class=draft.change_class,
        changed=_list_changes(draft.parent_recipe or draft.recipe, draft.recipe),
        recipe=draft.recipe,
        hypothesis=draft.proposal.hypothesis,
        predicted_gain=draft.proposal.predicted_gain,
        bundle=draft.bundle,
        reference=bundle,
        reference_recipe=recipe,
        reference_steps=(
            steps(recipe, layout(task, recipe), config.task.cost, compute) if recipe else 0
        ),
        objective=digest(config.objective),
        steps=steps(draft.recipe, lay, config.task.cost, compute),
        planned_cpu_us=compute,
        jobs=jobs,
        requested=worst_case(config, jobs + spare) + Amount(looks=LOOKS[draft.purpose]),
        notebook=draft.notebook,
        asked=draft.asked,
        proposal=draft.text,
        basis=draft.basis,
    )


def _list_changes(before: Recipe, after: Recipe) -> dict[str, object]:
    old = knob_values(before)
    return {name: value for name, value in knob_values(after).items() if value != old[name]}


def _count_jobs(config: Config, purpose: Purpose, arm: str) -> tuple[JobCount, ...]:
    """Return the number of jobs for plans of a purpose: pairs, and a screening beside them."""
    closing = config.study.final_replicates
    pairs_of: dict[Purpose, int] = {
        "candidate": config.study.replicates(arm),
        "final": closing,
        "larger": config.study.larger_replicates,
        "reference": closing,
        "reference_larger": config.study.larger_replicates,
        "skill": 1,
        "select": 1,
        "ablation": closing,
        "unseal": closing or 4,
    }
    if purpose == "service":
        return (JobCount(role=SERVE, count=count_serving(config)),)
    pairs = pairs_of.get(purpose, 0)
    own = pairs + (purpose in ("start", "baseline", "candidate", "trial"))
    counts: dict[PlanRole, int] = {
        "train": own,
        "predict": own,
        "champion-train": pairs,
        "champion-predict": pairs,
    }
    return tuple(JobCount(role=role, count=count) for role, count in counts.items() if count)


def serve_index(period: int) -> int:
    """Return the number of the first serve job of a plan in a period that it is live in.

    The tests and both halves of the twin come before.
    """
    return 3 + 3 * period


def count_serving(config: Config) -> int:
    """Return the serve jobs of a plan: those of every period, and a spare one for each."""
    return 2 * serve_index(config.study.generations + 1)


def propose_jobs(config: Config, arm: str) -> tuple[JobCount, ...]:
    """Return the jobs of a propose plan in a box: one, and the questions that its agent may ask."""
    calls = config.proposer.door_calls(arm)
    one = JobCount(role="propose", count=1)
    return (one, JobCount(role="ask", count=calls)) if calls else (one,)


def worst_case(config: Config, jobs: tuple[JobCount, ...]) -> Amount:
    """Return the highest cost of all jobs together."""
    return sum((_worst_of(config, job) for job in jobs), Amount())


def _worst_of(config: Config, job: JobCount) -> Amount:
    if job.role == "ask":
        assert config.proposer.llm is not None
        one_try = config.proposer.llm.worst(config.proposer.llm.prompt_bytes)
        return sum([one_try] * job.count * config.proposer.llm.tries, Amount())
    work = stage(job.role)
    return worst_of(getattr(config.budget, work), config.budget.gpu_us(work), job.count)
