"""The reviewer's record of a single subject, the same on every surface.

`view.py` makes it, `lines.py` writes it for a terminal, and the inbox shows it as a page. Fields
with names in `_raw` may hold a model's text; `loop.text.visible` makes it fit to be shown.
"""

from dataclasses import dataclass

from loop.people.difference import Change, FileDiff


@dataclass(frozen=True, slots=True, kw_only=True)
class Ancestor:
    """A plan of the lineage."""

    plan: str
    "digest"
    generation: int
    "depth"
    change_class: str
    "class of its change"
    changed_raw: str
    "changed knobs, as JSON"
    decided: str
    "how it passed, and by which kind: mandate or approval"


@dataclass(frozen=True, slots=True, kw_only=True)
class GivenDecision:
    """A decision given so far."""

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
class SubjectView:
    """Everything shown to a reviewer about a single subject."""

    digest: str
    "what is signed: sha256 of `canonical_raw`, recomputed when this record is made"
    change_class: str
    "class of the decision"
    what: str
    "plan, amendment or order"
    canonical_raw: str
    "all bytes under the digest, as text"
    size: int
    "number of these bytes"
    flags: tuple[str, ...] = ()
    "what asks for care, a sentence each; it never tells a canary from a plan"
    proposer: str = ""
    "arm of the proposal; empty: a person"
    hypothesis_raw: str = ""
    "the proposer's claim why it should help"
    predicted_gain: float | None = None
    "the proposer's claim by how much, in the objective's metric"
    requested: dict[str, int]
    "worst case of all its jobs, per resource"
    remaining: dict[str, int]
    "rest of the study's budget, per resource"
    lineage: tuple[Ancestor, ...] = ()
    "its parents, down to the baseline"
    settings_raw: tuple[Change, ...] = ()
    """(name, before, after) of every setting that differs: knobs against the parent, or the fields
    that an amendment changes
    """
    parent_diff: tuple[FileDiff, ...] = ()
    "source against the parent"
    approved: str = ""
    "last plan of the campaign approved by a person before, or the baseline"
    approved_settings_raw: tuple[Change, ...] = ()
    "(name, before, after) of every knob unlike this plan"
    approved_diff: tuple[FileDiff, ...] = ()
    "source against this plan"
    approved_by_person: bool = False
    "whether a person approved that plan; else it is the baseline, and nobody approved any before"
    drift: int = 0
    "changed knobs + changed source lines against this plan"
    objective: tuple[str, ...]
    "the objective of its judgement, in sentences"
    objective_raw: str
    "the same as JSON"
    expires: float | None
    "unix seconds of the request's denial by itself; None without a request"
    seconds_left: int | None
    "seconds until then, 0 if it passed"
    decisions: tuple[GivenDecision, ...]
    "decisions on it so far"
    denied_raw: str = ""
    "why the gate denied it: a reviewer's, a rule's or the study's own gate's reason"
    quorum: int
    "distinct people who must say yes"
    quorum_of: str
    "people with a counting yes"
    wait_seconds: int
    "cooling-off after the last yes"
    own_raw: tuple[tuple[str, str, str, str], ...]
    """(field, path, digest, code) of the people's own files named in the study; their code is
    trusted, unlike the proposer's
    """

    @property
    def diffs(self) -> tuple[FileDiff, ...]:
        """All differences of files: against the parent, then against the approved plan."""
        return (*self.parent_diff, *self.approved_diff)
