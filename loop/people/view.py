"""The view of a subject, made from the very bytes under its digest.

Nothing is cut. An unreadably large subject is refused: people can only deny it.
"""

import json
from dataclasses import replace
from typing import Any

from configs.build import parse, plain
from configs.entries import ControlEntry, unflatten
from configs.errors import BadInput, VerificationFailed
from configs.objective import objective_text
from configs.recipe import Recipe, knob_values
from configs.records import Plan
from configs.settings.config import Config
from configs.settings.gates import Quorum
from loop.people.difference import Change, compare_bundles, list_changes
from loop.people.flags import list_flags
from loop.people.shown import Ancestor, GivenDecision, SubjectView
from sandbox import budget
from sandbox.canonical import canonical, digest
from sandbox.decision import Subject
from sandbox.gate import Gate
from sandbox.store import Store

SHOWN_BYTES = 200_000
"""A larger subject, differences included, is not shown, and so cannot be approved."""
LONGEST_LINEAGE = 10_000


class TooLarge(BadInput):
    """A subject of more bytes than people are shown: it can be denied or escalated, never
    approved.
    """


def view_subject(gate: Gate, subject: Subject, change_class: str = "") -> SubjectView:
    """Return the view of a subject, for a decision of its own class or of `change_class`.

    Raises VerificationFailed for bytes unlike the digest, TooLarge, and BadInput for a wrong class.
    """
    class_name = change_class or subject.classes[0]
    if class_name not in subject.classes:
        raise BadInput(
            f"the class is {class_name!r}; it should be one of {', '.join(subject.classes)}"
        )
    data = canonical(read_subject(gate, subject.digest))
    if digest(data) != subject.digest:
        raise VerificationFailed(
            f"what is recorded of {subject.digest[:12]} does not match its digest; nothing of it is"
            " shown"
        )
    _need_small(subject.digest, len(data))
    content = json.loads(data)
    view = _view_common(gate, subject, class_name, data)
    plan = parse(Plan, content) if "bundle" in content else None
    if plan:
        view = _add_plan(gate, view, subject, plan)
    elif "config" in content:
        view = _add_amendment(gate, view, content)
    else:
        view = replace(view, what="order", hypothesis_raw=_reason_of_order(content))
    lines = [line for difference in view.diffs for line in difference.lines_raw]
    size = sum(len(line.encode(errors="surrogateescape")) for line in lines)
    _need_small(subject.digest, len(data) + size)
    return replace(view, flags=list_flags(gate, view, plan))


def read_subject(gate: Gate, name: str) -> dict[str, Any]:
    """Return the content under a subject's digest, as the ledger recorded it.

    Raises BadInput where the ledger does not have it.
    """
    # The body stays as it is on the wire: a decoded record could differ from the bytes signed.
    entries = gate.ledger.entries()
    for entry in entries:
        if entry.kind in ("plan", "probe") and entry.body["digest"] == name:
            return dict(entry.body["plan"])
        if entry.kind == "amendment" and entry.body["digest"] == name:
            return dict(entry.body["amendment"])
        if entry.kind == "control" and entry.hash == name:
            return unflatten([fact for fact in entries if fact.sequence == entry.sequence])
    raise BadInput(f"{name[:12]} is not in the ledger")


def read_own_files(store: Store, config: Config) -> tuple[tuple[str, str, str, str], ...]:
    """Return (field, path, digest, code) of the people's own files named in a study.

    The code was stored when the study named the file.
    """
    folder, files = config.proposer.folder_digest, list[tuple[str, str, str]]()
    for field, (path, pin) in config.files().items():
        inside = store.manifest(pin) if pin == folder else {"": pin}
        files += [(field, path + name.removeprefix("agent"), one) for name, one in inside.items()]
    return tuple((*file, store.get(file[2]).decode()) for file in files)


def _need_small(name: str, size: int) -> None:
    if size > SHOWN_BYTES:
        raise TooLarge(
            f"{name[:12]} has {size} bytes, more than the {SHOWN_BYTES} that people are shown;"
            " deny it"
        )


def _view_common(gate: Gate, subject: Subject, class_name: str, data: bytes) -> SubjectView:
    """Return the part of a view shared by plans, amendments and orders."""
    content = json.loads(data)
    config = parse(Config, content["config"]) if "config" in content else gate.memory.rules.config
    request = gate.memory.requests.get((subject.digest, class_name))
    quorum = gate.wanted(class_name)
    return SubjectView(
        digest=digest(data),
        change_class=class_name,
        what="plan",
        canonical_raw=data.decode(),
        size=len(data),
        requested=plain(subject.requested),
        remaining=_remaining(gate),
        objective=tuple(objective_text(config.objective)),
        objective_raw=canonical(config.objective).decode(),
        expires=request.expires if request else None,
        seconds_left=max(0, int(request.expires - gate.now())) if request else None,
        decisions=_list_decisions(gate, subject.digest, class_name),
        denied_raw=gate.memory.refused.get((subject.digest, class_name), ""),
        quorum=quorum.of,
        quorum_of=_name_quorum(quorum),
        wait_seconds=quorum.wait_seconds,
        own_raw=read_own_files(gate.store, config),
    )


def _remaining(gate: Gate) -> dict[str, int]:
    """Return the rest of the study's budget, per resource."""
    root = gate.ledger.read(budget.balances)["root"]
    return {name: cell["limit"] - cell["spent"] - cell["reserved"] for name, cell in root.items()}


def _list_decisions(gate: Gate, name: str, class_name: str) -> tuple[GivenDecision, ...]:
    return tuple(
        GivenDecision(
            reviewer=approval.reviewer,
            kind=approval.kind,
            answer=approval.answer,
            reason_raw=approval.reason,
            issued=approval.issued,
        )
        for approval in gate.memory.approvals.values()
        if (approval.plan, approval.change_class) == (name, class_name)
    )


def _name_quorum(quorum: Quorum) -> str:
    return " or ".join(quorum.reviewers) or f"any {quorum.role or 'pinned'} reviewer"


def _compare(before: Recipe, after: Recipe) -> tuple[Change, ...]:
    return list_changes(knob_values(before), knob_values(after))


def _add_plan(gate: Gate, view: SubjectView, subject: Subject, plan: Plan) -> SubjectView:
    """Return a view with the plan's claim, lineage and differences."""
    parent = gate.memory.plans.get(plan.parent)
    approved = gate.approved_before(subject.digest)
    last = gate.memory.plans[approved]
    recipe = plan.recipe
    return replace(
        view,
        proposer=plan.arm + (f", handed in by {subject.by}" if subject.by else ""),
        hypothesis_raw=plan.hypothesis,
        predicted_gain=plan.predicted_gain,
        lineage=_list_ancestors(gate, plan),
        settings_raw=_compare(parent.recipe, recipe) if parent else list_changes({}, plain(recipe)),
        parent_diff=compare_bundles(gate.store, parent.bundle, plan.bundle) if parent else (),
        approved=approved,
        approved_by_person=approved in gate.memory.human,
        approved_settings_raw=_compare(last.recipe, recipe),
        approved_diff=compare_bundles(gate.store, last.bundle, plan.bundle),
        drift=gate.drift(subject.digest),
    )


def _list_ancestors(gate: Gate, plan: Plan) -> tuple[Ancestor, ...]:
    """Return the lineage of a plan, its parent first."""
    ancestors: list[Ancestor] = []
    name = plan.parent
    while name in gate.memory.plans and len(ancestors) < LONGEST_LINEAGE:
        parent = gate.memory.plans[name]
        ancestors.append(
            Ancestor(
                plan=name,
                generation=parent.generation,
                change_class=parent.change_class,
                changed_raw=canonical(parent.changed).decode(),
                decided=_describe_pass(gate, name, parent.change_class),
            )
        )
        name = parent.parent
    return tuple(ancestors)


def _describe_pass(gate: Gate, name: str, class_name: str) -> str:
    """Return how a plan was let pass, such as `mandate (person)`; empty where it was not."""
    decision = gate.memory.allowed.get((name, class_name))
    return f"{decision.how} ({decision.reviewer_kind})" if decision else ""


def _add_amendment(gate: Gate, view: SubjectView, content: dict[str, Any]) -> SubjectView:
    """Return a view with the fields of an amendment, and with its reason."""
    before = {
        "config": plain(gate.memory.rules.config),
        "reviewers": [plain(half) for half in gate.memory.rules.reviewers],
    }
    after = {name: content[name] for name in before}
    changes = list_changes(before, after)
    what = "amendment" if changes else "order"
    reason = str(content.get("why", ""))
    return replace(view, what=what, hypothesis_raw=reason, settings_raw=changes)


def _reason_of_order(content: dict[str, Any]) -> str:
    """Return the reason of an order, the only one in its entry."""
    body = content["body"]
    (order,) = [f["body"] for f in body.get("facts", [content]) if f["kind"] == ControlEntry.kind]
    return str(order["why"])
