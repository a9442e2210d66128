"""Flaws: why a recorded plan may not run, whatever anybody decided on it.

A plan brings the files that the study root pins, or its parent's with the changes of its class. Its
recipe, its steps and the bundle measured beside it follow from its purpose in the same way.
"""

from collections.abc import Callable, Mapping, Sequence

from configs.arms import AT_LARGER, LARGER, variant
from configs.cost import steps
from configs.recipe import Recipe
from configs.records import ClassName, Plan, Purpose, changes_asked, list_beyond
from configs.tokens import document, layout
from sandbox.decision import list_changes
from sandbox.gate.memory import Memory
from sandbox.store import Store, name_program

FIRST: tuple[Purpose, ...] = ("start", "baseline")
"""Purposes of plans without a parent."""
PROGRAMS: tuple[Purpose, ...] = ("program", "propose", "service")
"""Purposes of plans that add a program, ask one, or serve; none trains anything of its own."""
CLOSING: tuple[Purpose, ...] = ("final", "larger", "unseal")
"""Purposes of plans that measure a champion, as it is, against its campaign's baseline."""
CLASS_OF: dict[Purpose, ClassName] = {
    **dict.fromkeys(FIRST + CLOSING, "recipe"),
    "propose": "propose",
    "program": "proposer",
    "unseal": "unseal",
}
"""Class of the plans of a purpose; a plan of another purpose has the class of its change."""

Find = Callable[[Memory, Store, Plan], str]
"""Return what is wrong with a plan, or an empty string."""


def find_flaw(memory: Memory, store: Store, name: str) -> str:
    """Return why no grant may be given for a recorded plan, or an empty string."""
    return find_first(memory, store, name, (*EVER, *SINCE_2))


def find_first(memory: Memory, store: Store, name: str, finds: Sequence[Find]) -> str:
    """Return the first flaw of a recorded plan, or an empty string."""
    flaws = (find(memory, store, memory.plans[name]) for find in finds)
    return next((f"plan {name[:12]} {flaw}" for flaw in flaws if flaw), "")


def _find_champion(memory: Memory, store: Store, plan: Plan) -> str:
    """Return what is wrong with a plan's parent: it is no champion, contender or program to ask."""
    asks = plan.purpose == "propose" and variant(plan.arm).selects and plan.parent in memory.scored
    is_champion = plan.parent in memory.champions and plan.parent in memory.plans
    wrong = f"starts from {plan.parent[:12]}, which is no champion of this study"
    if plan.purpose in PROGRAMS and (plan.parent, "proposer") in memory.allowed:
        asks = asks or memory.plans[plan.parent].purpose == "program"
    if plan.purpose == "service" and (plan.parent, "release") in memory.allowed:
        asks = memory.plans[plan.parent].purpose == "service"
    return "" if not plan.parent or is_champion or asks else wrong


def _find_change(memory: Memory, store: Store, plan: Plan) -> str:
    """Return what is wrong with a plan's change of its parent's files, or with its program."""
    after, proposer = store.manifest(plan.bundle), memory.rules.config.proposer
    before = store.manifest(memory.plans[plan.parent].bundle) if plan.parent else {}
    known = ("", *proposer.pins(), name_program(before))
    if plan.purpose != "program" and name_program(after) not in known:
        return "brings along a program that the study does not name"
    classes = memory.rules.config.task.may_change
    beyond = list_beyond(plan.change_class, before, after, store.get, classes)
    told = f"changes {', '.join(beyond)}, which its class {plan.change_class} does not cover"
    return told if plan.parent and beyond else ""


def _find_excess(memory: Memory, store: Store, plan: Plan) -> str:
    """Return how a plan passes the study's change limit, or what is wrong with its basis."""
    if flaw := find_basis_flaw(memory, plan.arm, plan.repeat, plan.basis):
        return flaw
    limit = memory.rules.config.study.change_limit(plan.arm)
    if not limit or plan.purpose not in ("candidate", "trial", "skill", "select"):
        return ""
    base = memory.plans[plan.basis or plan.parent]
    before = (changes_asked(plan) and plan.reference_recipe) or base.recipe
    count = len(list_changes(store, (base.bundle, before), (plan.bundle, plan.recipe)))
    return f"changes {count} knobs and regions; at most {limit} may be" if count > limit else ""


def find_basis_flaw(memory: Memory, arm: str, repeat: int, basis: str) -> str:
    """Return why no plan of a campaign may count its changes against a basis; empty: it may."""
    base, wrong = memory.plans.get(basis), ""
    if base is None:
        wrong = "is no plan of this study"
    elif (base.arm, base.repeat) != (arm, repeat):
        wrong = "is a plan of another campaign"
    elif basis not in memory.scored:
        wrong = "has no screening score as a candidate or baseline"
    elif basis in memory.recalled:
        wrong = "is quarantined: it or an ancestor was recalled"
    return f"counts its changes against {basis[:12]}, which {wrong}" if basis and wrong else ""


def _find_place(memory: Memory, store: Store, plan: Plan) -> str:
    """Return what is wrong with a plan's purpose, class, campaign or pinned files."""
    wanted = CLASS_OF.get(plan.purpose, plan.change_class)
    if plan.change_class != wanted:
        return f"is of class {plan.change_class}, and its purpose {plan.purpose} of class {wanted}"
    if bool(plan.parent) == (plan.purpose in FIRST):
        return f"has {'a' if plan.parent else 'no'} parent, unlike any plan of its purpose"
    if not plan.parent:
        files = ", ".join(sorted(_differing(memory.rules.source, store.manifest(plan.bundle))))
        return files and f"brings other files than the study root pins: {files}"
    parent = memory.plans[plan.parent]
    same = (parent.arm, parent.repeat) == (plan.arm, plan.repeat)
    return "" if same else f"starts from {plan.parent[:12]}, the champion of another campaign"


def _differing(before: Mapping[str, str], after: Mapping[str, str]) -> set[str]:
    """Return the names of the differing files of two manifests."""
    return {file for file in before.keys() | after.keys() if before.get(file) != after.get(file)}


def _find_baseline(memory: Memory, store: Store, plan: Plan) -> str:
    """Return what is wrong with a baseline: its campaign has another."""
    if plan.purpose != "baseline":
        return ""
    for name in memory.campaigns[plan.arm, plan.repeat]:
        other = memory.plans[name]
        if other == plan or other.purpose != "baseline":
            continue
        same_place = (other.index, other.version) == (plan.index, plan.version)
        passed = same_place and (name, other.change_class) in memory.allowed
        if passed or name in memory.champions:
            return f"is a second baseline; its campaign has {name[:12]}"
    return ""


def _find_reference(memory: Memory, store: Store, plan: Plan) -> str:
    """Return what is wrong with the bundle and recipe measured beside a plan."""
    reference, right = (plan.reference, plan.reference_recipe), [memory.plans.get(plan.parent)]
    if plan.purpose in CLOSING:
        campaign = [memory.plans[name] for name in memory.campaigns[plan.arm, plan.repeat]]
        right = [other for other in campaign if other.purpose == "baseline"]
    # Proposals that measure skill start from any recipe, and none of them can become champion.
    skill = changes_asked(plan) and plan.reference_recipe
    is_right = any(reference == (other.bundle, skill or other.recipe) for other in right if other)
    if is_right or (reference == ("", None) and plan.purpose in (*FIRST, *PROGRAMS)):
        return ""
    return f"is measured beside {plan.reference[:12] or 'nothing'}, which is not its champion"


def _find_recipe(memory: Memory, store: Store, plan: Plan) -> str:
    """Return what is wrong with a plan's recipe, or with its steps."""
    config, parent = memory.rules.config, memory.plans.get(plan.parent)
    if plan.recipe.notebook and not config.task.notebook:
        return "has a share of the notebook, and the study has none"
    as_it_is = plan.purpose in (*CLOSING, *PROGRAMS)
    if as_it_is and parent and plan.recipe != parent.recipe:
        return "changes the recipe of the champion that it measures"
    compute = config.compute(plan.arm) * (LARGER if plan.purpose in AT_LARGER else 1)
    reads = plan.purpose == "propose" and bool(plan.notebook)
    own = _count_steps(memory, plan.recipe, compute, reads)
    beside = plan.reference_recipe and _count_steps(memory, plan.reference_recipe, compute)
    if (plan.planned_cpu_us, plan.steps, plan.reference_steps) != (compute, own, beside or 0):
        return f"plans other steps than {own}, which the study's compute buys"
    return ""


def _count_steps(memory: Memory, recipe: Recipe, compute: int, reads: bool = False) -> int:
    task = memory.rules.config.task
    lay = layout(task.format(), recipe)
    return steps(recipe, document(lay) if reads else lay, task.cost, compute)


EVER: tuple[Find, ...] = (_find_champion, _find_change)
"""Flaws in every format of the ledger."""
SINCE_2 = (_find_place, _find_excess, _find_baseline, _find_reference, _find_recipe)
"""Flaws since format 2. `heirloop verify` tells of them in older ledgers, and does not fail."""
