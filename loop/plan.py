"""A change becomes a plan and a bundle. Edits are applied as text; nothing proposed is imported or
run here.
"""

from collections.abc import Mapping
from pathlib import Path

from configs.arms import LARGER
from configs.build import parse, plain
from configs.cost import steps
from configs.errors import BadInput
from configs.job import Limits
from configs.recipe import Recipe
from configs.records import Amount, ChangeClass, Edit, JobCount, Plan, Proposal, stage
from configs.settings.config import Config
from configs.tokens import document, layout
from sandbox.canonical import digest

LOOKS = {
    "start": 1,
    "baseline": 1,
    "candidate": 2,
    "propose": 0,
    "final": 1,
    "larger": 1,
    "skill": 1,
    "unseal": 1,
}
"""Looks at held-out splits that a plan asks for: a candidate is screened on feedback and may be
confirmed on gate.
"""
SPARE = {True: (JobCount(role="train", count=1), JobCount(role="predict", count=1)), False: ()}
"""What an opening of sealed asks for besides, so that being killed once does not cost its
signature.
"""
ROOT = Path(__file__).resolve().parent.parent


def source() -> dict[str, bytes]:
    """Return the pristine bundle: models/*.py and configs/*.py of this checkout."""
    return {
        str(path.relative_to(ROOT)): path.read_bytes()
        for folder in ("models", "configs")
        for path in sorted((ROOT / folder).glob("*.py"))
    }


def change(
    parent: Recipe, files: Mapping[str, bytes], proposal: Proposal
) -> tuple[ChangeClass, Recipe, dict[str, bytes]]:
    """Return (class, recipe, bundle files) of a proposal on a parent; raise BadInput if it cannot
    be applied.
    """
    recipe = parse(Recipe, {**plain(parent), **proposal.knobs}, "knobs")
    edited = dict(files)
    for number, edit in enumerate(proposal.edits):
        edited[edit.file] = _apply(edited[edit.file], edit, number)
    touched = {name for name in edited if edited[name] != files[name]}
    if recipe == parent and not touched:
        raise BadInput("the proposal changes nothing; change a knob or a source line")
    files_of = (
        ("models/propose.py", "proposer"),
        ("models/net.py", "structural"),
        ("models/train.py", "patch"),
    )
    risk = next((name for file, name in files_of if file in touched), "recipe")
    return risk, recipe, edited  # type: ignore[return-value]


def _apply(data: bytes, edit: Edit, number: int) -> bytes:
    text = data.decode()
    if text.count(edit.search) != 1:
        raise BadInput(
            f"edits[{number}].search occurs {text.count(edit.search)} times in {edit.file}; it"
            " should occur once"
        )
    return text.replace(edit.search, edit.replace).encode()


def make(
    config: Config,
    *,
    study: str,
    version: int,
    place: tuple[str, int, int, int],
    purpose: str,
    parent: str,
    parent_recipe: Recipe,
    risk: ChangeClass,
    recipe: Recipe,
    bundle: str,
    reference: tuple[str, Recipe] | None,
    proposal: Proposal,
    notebook: str = "",
    asked: str = "",
    text: str = "",
    jobs: tuple[JobCount, ...] = (),
) -> Plan:
    """Return the exact plan; `place` is (arm, repeat, generation, index), `reference` what is
    measured beside it, `text` the stored proposal, `jobs` those of a propose plan.
    """
    arm, repeat, generation, index = place
    closing = config.study.final_replicates
    pairs = {
        "candidate": config.study.replicates(arm),
        "final": closing,
        "larger": config.study.larger_replicates,
        "skill": 1,
        "unseal": closing or 4,
    }.get(purpose, 0)
    own = pairs + (purpose in ("start", "baseline", "candidate"))
    counts = (
        ("train", own),
        ("predict", own),
        ("champion-train", pairs),
        ("champion-predict", pairs),
    )
    jobs = jobs or tuple(JobCount(role=role, count=count) for role, count in counts if count)  # type: ignore[arg-type]
    task, compute = (
        config.task.format(),
        config.compute(arm) * (LARGER if purpose == "larger" else 1),
    )
    before, after, lay = plain(parent_recipe), plain(recipe), layout(task, recipe)
    read = (
        document(lay) if purpose == "propose" and notebook else lay
    )  # weights that propose read the notebook for one training's compute
    return Plan(
        study=study,
        version=version,
        arm=arm,
        repeat=repeat,
        generation=generation,
        index=index,
        purpose=purpose,  # type: ignore[arg-type]
        parent=parent,
        change_class=risk,
        changed={k: v for k, v in after.items() if v != before[k]},
        recipe=recipe,
        hypothesis=proposal.hypothesis,
        predicted_gain=proposal.predicted_gain,
        bundle=bundle,
        reference=reference[0] if reference else "",
        reference_recipe=reference[1] if reference else None,
        reference_steps=(
            steps(reference[1], layout(task, reference[1]), config.task.cost, compute)
            if reference
            else 0
        ),
        objective=digest(config.objective),
        steps=steps(recipe, read, config.task.cost, compute),
        planned_cpu_us=compute,
        jobs=jobs,
        requested=requested(config, jobs + SPARE[purpose == "unseal"])
        + Amount(looks=LOOKS[purpose]),
        notebook=notebook,
        asked=asked,
        proposal=text,
    )


def requested(config: Config, jobs: tuple[JobCount, ...]) -> Amount:
    """Return the worst case of all jobs together."""
    total = Amount()
    for job in jobs:
        if job.role == "ask":
            assert config.proposer.llm is not None
            total = sum(
                [config.proposer.llm.worst(config.proposer.llm.prompt_bytes)]
                * job.count
                * config.proposer.llm.tries,
                total,
            )
            continue
        limits: Limits = getattr(config.budget, stage(job.role))
        total += Amount(
            cpu_us=limits.cpu_us * job.count,
            wall_us=limits.wall_us * job.count,
            jobs=job.count,
            output_bytes=limits.output_bytes * job.count,
        )
    return total
