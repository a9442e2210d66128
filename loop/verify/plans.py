"""Recorded plans, made again from the proposer's own part of them.

Jobs, requested compute and changed knobs follow from the settings, as `loop.plan` computes them.
"""

from dataclasses import fields

from configs.arms import variant
from configs.recipe import Recipe
from configs.records import AGENT, JobCount, Plan, Proposal, changes_asked, module_of
from loop.facts.places import REVIEWING
from loop.plan import Draft, make_plan, propose_jobs
from loop.verify.inputs import measures_noise, measures_proposing
from sandbox.gate.memory import Memory

CHANGING = ("candidate", "trial", "skill", "select", "ablation", "reference", "reference_larger")
"""Purposes of plans that change their parent."""


def find_flaw(memory: Memory, plan: Plan) -> str:
    """Return what is wrong with the computed part of a plan, or an empty string."""
    if measures_noise(plan):
        return ""
    config = memory.rules.config
    draft = Draft(
        generation=plan.generation,
        index=plan.index,
        purpose=plan.purpose,
        recipe=plan.recipe,
        bundle=plan.bundle,
        proposal=Proposal(hypothesis=plan.hypothesis, knobs={}, predicted_gain=plan.predicted_gain),
        parent=plan.parent,
        parent_recipe=_find_base(memory, plan),
        change_class=plan.change_class,
        reference=(plan.reference, plan.reference_recipe) if plan.reference_recipe else None,
        notebook=plan.notebook,
        asked=plan.asked,
        text=plan.proposal,
        basis=plan.basis,
        jobs=plan.jobs if plan.purpose == "propose" or measures_proposing(plan) else (),
    )
    again = make_plan(
        config, draft, study=plan.study, version=plan.version, arm=plan.arm, repeat=plan.repeat
    )
    wrong = [f.name for f in fields(Plan) if getattr(again, f.name) != getattr(plan, f.name)]
    own_jobs = plan.purpose == "propose" or measures_proposing(plan)
    if own_jobs and not _may_propose(memory, plan):
        wrong.append("jobs")
    if plan.purpose == "ablation" and not _takes_back(memory, plan):
        wrong.append("changed")
    return f"its {', '.join(wrong)} is not what the settings give" if wrong else ""


def _find_base(memory: Memory, plan: Plan) -> Recipe | None:
    """Return the recipe that a plan's changed knobs are told against; None: its own."""
    if plan.purpose == "start":
        return memory.rules.config.task.baseline
    if changes_asked(plan):
        return plan.reference_recipe
    return memory.plans[plan.parent].recipe if plan.purpose in CHANGING else None


def _takes_back(memory: Memory, plan: Plan) -> bool:
    """Tell whether a plan takes a single change of its champion back: a knob, or source alone."""
    campaign = (memory.plans[name] for name in memory.campaigns[plan.arm, plan.repeat])
    base = next(other for other in campaign if other.purpose == "baseline").recipe
    knobs = [name for name, value in plan.changed.items() if value == getattr(base, name)]
    return len(plan.changed) == len(knobs) <= 1 and bool(knobs) == (plan.bundle == plan.reference)


def _may_propose(memory: Memory, plan: Plan) -> bool:
    """Tell whether a propose plan has the jobs of a box, of a measure of skill or of questions."""
    one = JobCount(role="propose", count=1)
    if module_of(plan, "propose") == AGENT and plan.purpose == "propose":
        asks_for_child = (JobCount(role="ask", count=1),)
        makes = variant(plan.arm).maker == "model" and plan.jobs == asks_for_child
        return makes or plan.jobs == propose_jobs(memory.rules.config, plan.arm)
    if plan.purpose == "candidate":
        return plan.jobs == (JobCount(role="train", count=1), one)
    if plan.index == REVIEWING:
        writeups = memory.rules.config.study.writeups
        most = writeups.model if writeups else 0
        return plan.jobs in [(JobCount(role="ask", count=count),) for count in range(1, most + 1)]
    questions = JobCount(role="ask", count=memory.rules.config.study.rounds(plan.arm)[1])
    return plan.jobs in ((one,), (JobCount(role="champion-train", count=1), one), (questions,))
