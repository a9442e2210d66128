"""A view as lines for a terminal or a file; every character is visible, and nothing is left out."""

from collections.abc import Iterable

from loop.people.difference import Change, FileDiff
from loop.people.shown import SubjectView
from loop.text import visible

Line = tuple[str, str]
"""(label, text)."""


def list_lines(view: SubjectView) -> list[Line]:
    """Return a view as (label, text); a text of several lines is code or a difference."""
    short = [
        *_list_head(view),
        *_list_claims(view),
        *_list_history(view),
        *_list_rules(view),
        ("all bytes", view.canonical_raw),
    ]
    return [
        *((label, visible(text)) for label, text in short),
        *_list_own_files(view),
        *_list_files("changes", view.parent_diff),
        *_list_files("against that", view.approved_diff),
    ]


def _list_head(view: SubjectView) -> Iterable[Line]:
    yield "digest", view.digest
    yield "class", view.change_class
    yield "what", view.what
    yield "bytes", str(view.size)
    for flag in view.flags:
        yield "look", flag
    yield "asked by", view.proposer or "a person"


def _list_claims(view: SubjectView) -> Iterable[Line]:
    """Yield the proposer's unchecked claims, and the amounts requested by the plan."""
    if view.proposer:
        yield "claimed by the proposer, not checked: gain", str(view.predicted_gain)
        yield "claimed by the proposer, not checked: reason", view.hypothesis_raw
    else:
        yield "reason given", view.hypothesis_raw
    for name, amount in view.requested.items():
        yield f"asks for {name}", f"{amount}, left {view.remaining[name]}"
    for text in (*view.objective, view.objective_raw):
        yield "judged by", text


def _list_history(view: SubjectView) -> Iterable[Line]:
    """Yield the lineage and the changed settings."""
    for ancestor in view.lineage:
        words = (ancestor.plan, ancestor.change_class, ancestor.changed_raw, ancestor.decided)
        yield f"parent, generation {ancestor.generation}", " ".join(words)
    yield from _list_changes("changes", view.settings_raw)
    if view.approved and view.approved_by_person:
        yield "last approved by a person", f"{view.approved}, {_count_changes(view.drift)} away"
    elif view.approved and view.approved != view.digest:
        text = f"none before; the baseline {view.approved} is {_count_changes(view.drift)} away"
        yield "last approved by a person", text
    elif view.approved:
        yield "last approved by a person", "none before; this is the campaign's baseline"
    yield from _list_changes("against that", view.approved_settings_raw)


def _count_changes(number: int) -> str:
    return "1 change" if number == 1 else f"{number} changes"


def _list_rules(view: SubjectView) -> Iterable[Line]:
    """Yield the decisions so far, the quorum and the time left."""
    for given in view.decisions:
        signer = f"{given.reviewer} ({given.kind})"
        yield "said", f"{given.answer} by {signer}: {given.reason_raw}"
    if view.denied_raw:
        yield "denied", view.denied_raw
    wait = f", then {view.wait_seconds} s" if view.wait_seconds else ""
    yield "needs", f"{view.quorum} of {view.quorum_of}{wait}"
    yield "seconds left", "nobody asked" if view.seconds_left is None else str(view.seconds_left)


def _list_changes(label: str, changes: Iterable[Change]) -> Iterable[Line]:
    for name, before, after in changes:
        yield label, f"{name}: {before or 'nothing'} -> {after or 'nothing'}"


def _list_own_files(view: SubjectView) -> Iterable[Line]:
    for field, path, pin, code in view.own_raw:
        label = f"the study's own {field} {path}, trusted code"
        yield label, f"{pin}\n{visible(code, lines=True)}"


def _list_files(label: str, differences: Iterable[FileDiff]) -> Iterable[Line]:
    for difference in differences:
        texts = (difference.file_raw, *difference.lines_raw)
        yield label, "\n".join(visible(text) for text in texts)
