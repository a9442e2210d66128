"""What people are shown of a subject, the same on every surface: one record, made from the very
bytes that its digest is over.

Nothing is cut, nothing prints as something else, no markup is read. What is too large to be read is
refused, so it can only be denied. Fields whose name ends in `_raw` hold text that a model may have
written; `visible` makes it fit to be shown.
"""

import difflib
import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from configs.build import parse, plain
from configs.errors import BadInput, VerificationFailed
from configs.objective import objective_text
from configs.records import CHANGE_CLASSES, Plan
from configs.settings.config import Config
from configs.settings.gates import Quorum
from loop.text import confusables, hidden, visible
from sandbox import budget, own
from sandbox.canonical import canonical, digest
from sandbox.decision import Subject
from sandbox.gate import Gate
from sandbox.store import Store

SHOWN_BYTES = 200_000
"""A subject of more bytes than this, differences included, is not shown, and so cannot be approved.
"""


LARGE_BYTES, LARGE_LINES = 20_000, 200
"""A plan beyond either is marked as large."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FileDiff:
    """How one file differs, whole."""

    file_raw: str
    "its name in the bundle"
    lines_raw: tuple[str, ...]
    "unified diff, line by line, without line ends"
    added: int
    "lines that are new"
    removed: int
    "lines that are gone"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ancestor:
    """One plan of the lineage."""

    plan: str
    "digest"
    generation: int
    "depth"
    change_class: str
    "class of what it altered"
    changed_raw: str
    "knobs that it changed, as JSON"
    decided: str
    "how it was let pass, and by what kind: mandate or approval"


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """One decision that was given so far."""

    reviewer: str
    "name of the key"
    kind: str
    "person, simulated or external"
    answer: str
    "approve, deny or escalate"
    reason_raw: str
    "why, in the reviewer's words"
    issued: int
    "unix seconds"


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """Everything that a reviewer is shown of one subject."""

    digest: str
    "what is signed: sha256 of `canonical_raw`, recomputed when this record is made"
    change_class: str
    "class that is decided on"
    what: str
    "plan, amendment or order"
    canonical_raw: str
    "all bytes that the digest is over, as text"
    size: int
    "number of those bytes"
    flags: tuple[str, ...]
    "what asks for care, a sentence each; it never tells a canary from a plan"
    proposer: str
    "arm that proposed it; empty: a person"
    hypothesis_raw: str
    "the proposer's claim why it should help"
    predicted_gain: float | None
    "the proposer's claim by how much, in the objective's metric"
    requested: dict[str, int]
    "worst case of all its jobs, per resource"
    remaining: dict[str, int]
    "what is left of the study's budget, per resource"
    lineage: tuple[Ancestor, ...]
    "its parents, down to the baseline"
    settings_raw: tuple[tuple[str, str, str], ...]
    """(name, before, after) of every setting that differs: knobs against the parent, or what an
    amendment changes
    """
    parent_diff: tuple[FileDiff, ...]
    "source against the parent"
    approved: str
    "last plan of the campaign that a person approved before, or the baseline"
    approved_settings_raw: tuple[tuple[str, str, str], ...]
    "(name, before, after) of every knob that differs from that plan"
    approved_diff: tuple[FileDiff, ...]
    "source against that plan"
    drift: int
    "changed knobs + changed source lines against that plan"
    objective: tuple[str, ...]
    "the objective that it is judged by, in sentences"
    objective_raw: str
    "the same as JSON"
    expires: float | None
    "unix seconds at which the request is denied by itself; None where nobody asked"
    seconds_left: int | None
    "seconds until then, 0 if it passed"
    decisions: tuple[Said, ...]
    "decisions on it so far"
    quorum: int
    "distinct people who must say yes"
    quorum_of: str
    "whose yes counts"
    wait_seconds: int
    "cooling-off after the last yes"
    own_raw: tuple[tuple[str, str, str, str], ...]
    """(field, path, digest, code) of the people's own files that the study names: code that is
    trusted, not the proposer's
    """


def diff(store: Store, before: str | None, after: str) -> tuple[FileDiff, ...]:
    """Return how each file of bundle `after` differs from `before` (None: no bundle), complete;
    equal files are left out.
    """
    old, new = (store.get_bundle(name) if name else {} for name in (before, after))
    return tuple(
        _file(name, old.get(name), new.get(name))
        for name in sorted(old.keys() | new.keys())
        if old.get(name) != new.get(name)
    )


def _file(name: str, old: bytes | None, new: bytes | None) -> FileDiff:
    """Return one file's difference; lines end at line feeds alone, and bytes that are no UTF-8 stay
    as lone surrogates.
    """
    a, b = (
        data.decode(errors="surrogateescape").split("\n") if data is not None else []
        for data in (old, new)
    )
    lines = tuple(difflib.unified_diff(a, b, "before", "after", lineterm=""))
    if not lines:  # an empty file came or went
        lines = ("--- before", "+++ after") if old is None else ("--- before", "+++ /dev/null")
    return FileDiff(
        file_raw=name,
        lines_raw=lines,
        added=sum(one[:1] == "+" for one in lines[2:]),
        removed=sum(one[:1] == "-" for one in lines[2:]),
    )


def body_of(gate: Gate, name: str) -> dict[str, Any]:
    """Return what a subject's digest is the digest of, as the ledger recorded it; raises BadInput
    where it is not there.
    """
    for entry in gate.ledger.entries():
        if entry.kind in ("plan", "probe") and entry.body["digest"] == name:
            return dict(entry.body["plan"])
        if entry.kind == "amendment" and entry.body["digest"] == name:
            return dict(entry.body["amendment"])
        if entry.kind == "control" and entry.hash == name:
            return {field: value for field, value in plain(entry).items() if field != "hash"}
    raise BadInput(f"{name[:12]} is not in the ledger")


def facts(gate: Gate, subject: Subject, change_class: str = "") -> Facts:
    """Return what a reviewer is shown of a subject, all of it from the bytes that its digest is
    over.

    `change_class` is the class that is decided on; empty: the subject's own. Raises
    VerificationFailed where bytes and digest differ, BadInput for what is too large to be read (it
    cannot be approved) and for a class that it does not have.
    """
    what = change_class or subject.classes[0]
    if what not in subject.classes:
        raise BadInput(f"the class is {what!r}; it should be one of {', '.join(subject.classes)}")
    data = canonical(body_of(gate, subject.digest))
    if digest(data) != subject.digest:
        raise VerificationFailed(
            f"what is recorded of {subject.digest[:12]} does not match its digest; nothing of it is"
            " shown"
        )
    _small(subject.digest, len(data))
    whole = json.loads(data)
    plan = parse(Plan, whole) if "bundle" in whole else None
    made = _of_plan(gate, subject.digest, plan) if plan else _of_act(gate, whole)
    left = {
        name: cell["limit"] - cell["spent"] - cell["reserved"]
        for name, cell in gate.ledger.read(budget.balances)["root"].items()
    }
    asked = gate.requests.get((subject.digest, what))
    quorum = gate.wanted(what)
    diffs = [
        line for one in (*made["parent_diff"], *made["approved_diff"]) for line in one.lines_raw
    ]
    _small(
        subject.digest,
        len(data) + sum(len(line.encode(errors="surrogateescape")) for line in diffs),
    )
    text, judged = data.decode(), _config(gate, whole).objective
    found = Facts(
        digest=digest(data),
        change_class=what,
        canonical_raw=text,
        size=len(data),
        flags=(),
        requested=plain(subject.requested),
        remaining=left,
        objective=tuple(objective_text(judged)),
        objective_raw=canonical(judged).decode(),
        expires=asked.expires if asked else None,
        seconds_left=max(0, int(asked.expires - gate.now())) if asked else None,
        decisions=_said(gate, subject.digest, what),
        quorum=quorum.of,
        quorum_of=_who(quorum),
        wait_seconds=quorum.wait_seconds,
        own_raw=own_files(gate.store, _config(gate, whole)),
        **made,
    )
    return _flagged(gate, found, plan)


class TooLarge(BadInput):
    """A subject of more bytes than people are shown: it can be denied or escalated, never
    approved.
    """


def _small(name: str, size: int) -> None:
    if size > SHOWN_BYTES:
        raise TooLarge(
            f"{name[:12]} has {size} bytes, more than the {SHOWN_BYTES} that people are shown;"
            " deny it"
        )


def _of_plan(gate: Gate, name: str, plan: Plan) -> dict[str, Any]:
    parent, approved = gate.plans.get(plan.parent), gate.approved_before(name)
    last, store, by = gate.plans[approved], gate.store, gate.subjects[name].by
    before = plain(parent.recipe) if parent else {}
    return {
        "what": "plan",
        "proposer": plan.arm + (f", handed in by {by}" if by else ""),
        "hypothesis_raw": plan.hypothesis,
        "predicted_gain": plan.predicted_gain,
        "lineage": _lineage(gate, plan),
        "settings_raw": differing(before, plain(plan.recipe)),
        "parent_diff": diff(store, parent.bundle, plan.bundle) if parent else (),
        "approved": approved,
        "approved_settings_raw": differing(plain(last.recipe), plain(plan.recipe)),
        "approved_diff": diff(store, last.bundle, plan.bundle),
        "drift": gate.drift(name),
    }


def _of_act(gate: Gate, whole: dict[str, Any]) -> dict[str, Any]:
    changes: tuple[tuple[str, str, str], ...] = ()
    if "config" in whole:
        old = {"config": plain(gate.rules.config), "reviewers": list(gate.rules.reviewers)}
        changes = differing(old, {name: whole[name] for name in old})
    why = str(whole.get("body", whole).get("why", ""))
    return {
        "what": "amendment" if changes else "order",
        "proposer": "",
        "hypothesis_raw": why,
        "predicted_gain": None,
        "lineage": (),
        "settings_raw": changes,
        "parent_diff": (),
        "approved": "",
        "approved_settings_raw": (),
        "approved_diff": (),
        "drift": 0,
    }


def differing(before: Any, after: Any, where: str = "") -> tuple[tuple[str, str, str], ...]:
    """Return (name, before, after) of every leaf in which two trees differ, values as JSON; a
    missing one is empty.
    """
    if isinstance(before, dict) and isinstance(after, dict):
        names = sorted(before.keys() | after.keys())
        return tuple(
            row
            for n in names
            for row in differing(
                before.get(n, _GONE), after.get(n, _GONE), f"{where}.{n}" if where else n
            )
        )
    old, new = ("" if value is _GONE else canonical(value).decode() for value in (before, after))
    return () if old == new else ((where, old, new),)


_GONE = object()


def _lineage(gate: Gate, plan: Plan) -> tuple[Ancestor, ...]:
    found, at = list[Ancestor](), plan.parent
    passed = {
        (decision.plan, decision.change_class): f"{decision.how} ({decision.reviewer_kind})"
        for decision, _ in gate.memory.decisions
        if decision.allow
    }
    while at in gate.plans and len(found) < 10_000:
        one = gate.plans[at]
        found.append(
            Ancestor(
                plan=at,
                generation=one.generation,
                change_class=one.change_class,
                changed_raw=canonical(one.changed).decode(),
                decided=passed.get((at, one.change_class), ""),
            )
        )
        at = one.parent
    return tuple(found)


def own_files(store: Store, config: Config) -> tuple[tuple[str, str, str, str], ...]:
    """Return (field, path, digest, code) of the people's own files that a study names, the code as
    it was stored when they were named.
    """
    return tuple(
        (field, path, pin, store.get(pin).decode()) for field, (path, pin) in config.files().items()
    )


def _config(gate: Gate, whole: dict[str, Any]) -> Config:
    return parse(Config, whole["config"]) if "config" in whole else gate.rules.config


def _said(gate: Gate, name: str, change_class: str) -> tuple[Said, ...]:
    mine = [a for a in gate.approvals.values() if (a.plan, a.change_class) == (name, change_class)]
    return tuple(
        Said(
            reviewer=a.reviewer, kind=a.kind, answer=a.answer, reason_raw=a.reason, issued=a.issued
        )
        for a in mine
    )


def _who(quorum: Quorum) -> str:
    return " or ".join(quorum.reviewers) or f"any {quorum.role or 'pinned'} reviewer"


def _flagged(gate: Gate, found: Facts, plan: Plan | None) -> Facts:
    return replace(
        found, flags=tuple(one for one in (*_risks(gate, found, plan), *_odd(found)) if one)
    )


def _risks(gate: Gate, found: Facts, plan: Plan | None) -> Iterable[str]:
    short = [name for name, asked in found.requested.items() if asked > found.remaining[name]]
    yield f"asks for more than is left of {', '.join(short)}" if short else ""
    lines = sum(one.added + one.removed for one in (*found.parent_diff, *found.approved_diff))
    yield (
        f"large: {found.size} bytes, {lines} changed lines"
        if found.size > LARGE_BYTES or lines > LARGE_LINES
        else ""
    )
    if plan is None:
        yield (
            "changes what people decided: every unused grant and older mandate dies"
            if found.what == "amendment"
            else ""
        )
        return
    known = own.known(gate.rules.config.gates.file_digest)
    said = gate.own_refusal(found.digest, found.change_class) if known else ""
    yield f"the study's own gate says no: {said}" if said else ""
    files = sorted({one.file_raw for one in found.parent_diff})
    yield f"changes code: {', '.join(files)}" if files else ""
    yield (
        "structural: predictions come from its own net.py, not from the trusted copy"
        if plan.change_class == "structural"
        else ""
    )
    covers = CHANGE_CLASSES[plan.change_class].covers
    beyond = set() if covers is None else set(files) - covers
    yield (
        f"changes files that its class {plan.change_class} does not cover:"
        f" {', '.join(sorted(beyond))}"
        if beyond
        else ""
    )
    yield (
        "computable: code could compute the answers of this task, so a gain proves little"
        if gate.computable(plan)
        else ""
    )
    caps = [
        m.caps.drift for m in gate.live_mandates().values() if plan.change_class in m.caps.classes
    ]
    yield (
        f"has drifted {found.drift} changes, beyond the mandate's {max(caps)}"
        if caps and found.drift > max(caps)
        else ""
    )
    denied = {
        name: gate.plans[name]
        for name, _ in gate.refused
        if name in gate.plans and name != found.digest
    }
    same = [
        name
        for name, one in denied.items()
        if (one.bundle, one.recipe) == (plan.bundle, plan.recipe)
    ]
    yield f"was denied before, as plan {same[0][:12]}" if same else ""
    stale = (
        plan.objective != digest(gate.rules.config.objective) or plan.version != gate.rules.version
    )
    yield "was made under an earlier version of the study; it cannot run" if stale else ""


def _odd(found: Facts) -> Iterable[str]:
    """Yield what the proposer's own text holds that people would not see or would take for
    something else.
    """
    new = [line[1:] for one in found.parent_diff for line in one.lines_raw[2:] if line[:1] == "+"]
    text = "\n".join(
        [found.hypothesis_raw, *(value for row in found.settings_raw for value in row), *new]
    )
    points = hidden(text)
    yield f"holds characters that do not show themselves: {', '.join(points)}" if points else ""
    yield from (f"look-alikes: {one}" for one in confusables(text))


def rows(found: Facts) -> list[tuple[str, str]]:
    """Return the record as (name, text) for a terminal or a file; every text is visible, lines stay
    lines, nothing is left out.
    """
    told = [
        ("digest", found.digest),
        ("class", found.change_class),
        ("what", found.what),
        ("bytes", str(found.size)),
    ]
    told += [("look", flag) for flag in found.flags]
    told += [("asked by", found.proposer or "a person")]
    told += (
        [("claimed by the proposer, not checked: gain", str(found.predicted_gain))]
        if found.proposer
        else []
    )
    told += [
        (
            "claimed by the proposer, not checked: reason" if found.proposer else "reason given",
            found.hypothesis_raw,
        )
    ]
    told += [
        (f"asks for {name}", f"{asked}, left {found.remaining[name]}")
        for name, asked in found.requested.items()
    ]
    told += [("judged by", text) for text in (*found.objective, found.objective_raw)]
    told += [
        (
            f"parent, generation {one.generation}",
            f"{one.plan} {one.change_class} {one.changed_raw} {one.decided}",
        )
        for one in found.lineage
    ]
    told += [
        ("changes", f"{name}: {before or 'nothing'} -> {after or 'nothing'}")
        for name, before, after in found.settings_raw
    ]
    told += (
        [("last approved by a person", f"{found.approved}, {found.drift} changes away")]
        if found.approved
        else []
    )
    told += [
        ("against that", f"{name}: {before or 'nothing'} -> {after or 'nothing'}")
        for name, before, after in found.approved_settings_raw
    ]
    told += [
        ("said", f"{one.answer} by {one.reviewer} ({one.kind}): {one.reason_raw}")
        for one in found.decisions
    ]
    told += [
        (
            "needs",
            f"{found.quorum} of {found.quorum_of}"
            + (f", then {found.wait_seconds} s" if found.wait_seconds else ""),
        )
    ]
    told += [
        ("seconds left", "nobody asked" if found.seconds_left is None else str(found.seconds_left))
    ]
    told += [("all bytes", found.canonical_raw)]
    mine = [
        (f"the study's own {field} {path}, trusted code", f"{pin}\n{visible(code, lines=True)}")
        for field, path, pin, code in found.own_raw
    ]
    return (
        [(name, visible(text)) for name, text in told]
        + mine
        + _files("changes", found.parent_diff)
        + _files("against that", found.approved_diff)
    )


def _files(name: str, files: tuple[FileDiff, ...]) -> list[tuple[str, str]]:
    return [
        (name, "\n".join(visible(line) for line in (one.file_raw, *one.lines_raw))) for one in files
    ]


__all__ = [
    "SHOWN_BYTES",
    "Ancestor",
    "Facts",
    "FileDiff",
    "Said",
    "TooLarge",
    "body_of",
    "confusables",
    "diff",
    "facts",
    "hidden",
    "rows",
    "visible",
]
