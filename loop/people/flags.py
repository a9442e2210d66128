"""Flags: each asks a reviewer for care in a sentence. They come from the bytes and never from a
claim.

No flag tells a canary from a plan.
"""

from collections.abc import Iterator

from configs.records import CHANGE_CLASSES, Plan, list_beyond, list_changed
from loop.people.shown import SubjectView
from loop.text import confusables, hidden
from sandbox import own
from sandbox.gate import Gate

LARGE_BYTES, LARGE_LINES = 20_000, 200
"""A plan beyond either is marked as large."""


def list_flags(gate: Gate, view: SubjectView, plan: Plan | None) -> tuple[str, ...]:
    """Return the flags of a subject; `plan` is None for an amendment and an order."""
    flags = [_flag_budget(view), _flag_size(view)]
    if plan is None:
        flags.append(_flag_amendment(view))
    else:
        flags += [
            _flag_own_refusal(gate, view),
            *_flag_code(gate, view, plan),
            _flag_computable(gate, plan),
            _flag_drift(gate, view, plan),
            _flag_denied(gate, view, plan),
            _flag_version(gate, plan),
        ]
    flags += _flag_text(view)
    return tuple(flag for flag in flags if flag)


def _flag_budget(view: SubjectView) -> str:
    short = [name for name, asks in view.requested.items() if asks > view.remaining[name]]
    return f"asks for more than is left of {', '.join(short)}" if short else ""


def _flag_size(view: SubjectView) -> str:
    lines = sum(difference.added + difference.removed for difference in view.diffs)
    if view.size <= LARGE_BYTES and lines <= LARGE_LINES:
        return ""
    return f"large: {view.size} bytes, {lines} changed lines"


def _flag_amendment(view: SubjectView) -> str:
    if view.what != "amendment":
        return ""
    return "changes what people decided: every unused grant and older mandate dies"


def _flag_own_refusal(gate: Gate, view: SubjectView) -> str:
    if not own.known(gate.memory.rules.config.gates.file_digest):
        return ""
    refusal = gate.own_refusal(view.digest, view.change_class)
    return f"the study's own gate says no: {refusal}" if refusal else ""


def _flag_code(gate: Gate, view: SubjectView, plan: Plan) -> Iterator[str]:
    """Yield flags for changed files and classed regions, a net of its own, and what is beyond."""
    files = sorted({difference.file_raw for difference in view.parent_diff})
    if files:
        yield f"changes code: {', '.join(files)}"
    if plan.change_class == "structural":
        yield "structural: predictions come from its own net.py, not from the trusted copy"
    if not plan.parent or CHANGE_CLASSES[plan.change_class].covers is None:
        return
    manifest, classes = gate.store.manifest, gate.memory.rules.config.task.may_change
    bundles = manifest(gate.memory.plans[plan.parent].bundle), manifest(plan.bundle)
    if classes and files:
        changed = sorted(list_changed(*bundles, gate.store.get, classes))
        named = [f"{at} ({classes.get(at, 'no class')})" for at in changed]
        yield f"by class: {', '.join(named)}"
    if beyond := list_beyond(plan.change_class, *bundles, gate.store.get, classes):
        names = ", ".join(beyond)
        yield f"changes files that its class {plan.change_class} does not cover: {names}"


def _flag_computable(gate: Gate, plan: Plan) -> str:
    if not gate.computable(plan):
        return ""
    return "computable: code could compute the answers of this task, so a gain proves little"


def _flag_drift(gate: Gate, view: SubjectView, plan: Plan) -> str:
    mandates = gate.live_mandates().values()
    caps = [m.caps.drift for m in mandates if plan.change_class in m.caps.classes]
    if not caps or view.drift <= max(caps):
        return ""
    return f"has drifted {view.drift} changes, beyond the mandate's {max(caps)}"


def _flag_denied(gate: Gate, view: SubjectView, plan: Plan) -> str:
    """Return a flag where the same change was denied before, under another digest."""
    for name, _ in gate.memory.refused:
        other = gate.memory.plans.get(name)
        if other is None or name == view.digest:
            continue
        if (other.bundle, other.recipe) == (plan.bundle, plan.recipe):
            return f"was denied before, as plan {name[:12]}"
    return ""


def _flag_version(gate: Gate, plan: Plan) -> str:
    objective = gate.memory.rules.objective
    if (plan.objective, plan.version) == (objective, gate.memory.rules.version):
        return ""
    return "was made under an earlier version of the study; it cannot run"


def _flag_text(view: SubjectView) -> list[str]:
    """Return flags for the proposer's invisible or easily mistaken characters."""
    new_lines = [
        line[1:]
        for difference in view.parent_diff
        for line in difference.lines_raw[2:]
        if line[:1] == "+"
    ]
    values = [value for change in view.settings_raw for value in change]
    text = "\n".join([view.hypothesis_raw, *values, *new_lines])
    flags = [f"look-alikes: {warning}" for warning in confusables(text)]
    points = hidden(text)
    if points:
        flags.insert(0, f"holds characters that do not show themselves: {', '.join(points)}")
    return flags
