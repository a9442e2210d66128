"""The tables of an export, column by column: one row an observation, units in column names.
`loop/tabulate.py` fills them.

A string under each field is its meaning; the data dictionary is made of them. Text that a model or
a person wrote is made visible, clipped and kept from being read as a formula.
"""

import ast
import inspect
import types
from dataclasses import dataclass
from itertools import pairwise
from textwrap import dedent
from typing import Any, TypeVar, get_args, get_type_hints

from loop.text import visible

Row = TypeVar("Row")


CLIP = 300
"""Characters of free text that a cell shows; the entries hold it whole, as JSON."""


FORMULA = ("=", "+", "-", "@", "\t", "\r", "'")
"""What a spreadsheet may read as a formula, and the mark that keeps it from that."""


UNITS = {
    "_us": "microseconds",
    "_bytes": "bytes",
    "_utc": "UTC, ISO 8601",
    "_unix_seconds": "seconds since 1970",
    "_seconds": "seconds",
    "_milliseconds": "milliseconds",
    "_share": "share, 0 to 1",
    "_count": "count",
    "_metric": "the objective's (studies.metric and scale)",
    "_micros": "millionths of the study's currency",
    "_nats": "nats",
    "_log_odds": "log-odds",
    "_p": "probability",
    "_json": "JSON",
    "_text": "text, made visible and clipped",
}
"""Ending of a column -> its unit; an integer without one is a number that orders or names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    """One run."""

    study: str
    "digest of the study root; the key of every other table"
    name: str
    "study.name"
    version: int
    "version of the study root in force: 1, and one more per amendment"
    task: str
    "task.name"
    metric: str
    "primary metric of the objective"
    direction: str
    "the better way, up or down"
    scale: str
    "raw or log_odds: of every column in units of the objective"
    minimum_effect_metric: float
    "what a gain must exceed"
    arms_json: str
    "arms, in order"
    repeats_count: int
    "repeats per arm"
    generations_count: int
    "generations per campaign"
    proposals_count: int
    "proposals per generation"
    proposer_seed: int
    "study.seed; seeds of trainings come from the study secret and are nowhere in an export"
    tier: str
    "what the box proved"
    box: str
    "kind of box"
    began_utc: str
    "time of the first entry"
    last_utc: str
    "time of the last entry"
    ended: bool
    "whether every campaign ended; where not, scores stay closed"
    entries_count: int
    "entries of the ledger"
    head: str
    "hash of the last entry"
    cpu_us: int
    "CPU charged at the root"
    cpu_limit_us: int
    "CPU that people allowed"
    jobs_count: int
    "jobs charged at the root"
    wall_seconds: float
    "wall time of its sessions"


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanRow:
    """One plan, or one proposal that was invalid (without a digest)."""

    study: str
    "study root"
    sequence: int
    "ledger entry"
    plan: str | None
    "plan digest"
    arm: str
    "variant of the loop"
    repeat: int
    "independent run of the arm, from 0"
    generation: int
    "depth; 0 is the baseline"
    index: int
    "number within its generation"
    purpose: str
    "start, baseline, candidate, propose, final, larger, skill, unseal; or invalid"
    parent: str | None
    "plan that it starts from"
    change_class: str | None
    "risk class of what it alters"
    changed_json: str | None
    "knobs that differ from the parent's recipe"
    recipe_json: str | None
    "the whole resulting recipe"
    hypothesis_text: str | None
    "the proposer's reason"
    predicted_gain_metric: float | None
    "the proposer's claim; never judged"
    steps_count: int | None
    "training steps that the planned compute buys"
    planned_cpu_us: int | None
    "planned compute of one training"
    requested_cpu_us: int | None
    "worst case of all its jobs"
    computable: bool | None
    "whether code that a model wrote could compute the answers"
    refused: bool | None
    "whether its own class was decided against"
    champion: bool | None
    "whether it became champion"
    verdict: str | None
    "accept, reject or inconclusive; empty: never judged"
    rule: str | None
    "acceptance rule"
    replicates_count: int | None
    "pairs that counted"
    gain_metric: float | None
    "mean paired difference; empty while the study runs"
    gain_low_metric: float | None
    "lower end of its interval"
    gain_high_metric: float | None
    "upper end of its interval"
    level_p: float | None
    "one-sided level that was used"
    evidence_p: float | None
    "bound on the p-value against a gain of at most the minimum effect"
    corrected_gain_metric: float | None
    "accept: gain without the winner's curse"
    corrected_low_metric: float | None
    "lower end of its 90 % interval"
    corrected_high_metric: float | None
    "upper end"
    invalid_text: str | None
    "why the proposal was invalid"


@dataclass(frozen=True, slots=True, kw_only=True)
class Replicate:
    """One score of one replicate, or its failure."""

    study: str
    "study root"
    sequence: int
    "ledger entry"
    plan: str
    "plan digest"
    role: str
    "predict: the candidate; champion-predict: the champion measured beside it"
    index: int
    "number within the role"
    failed_text: str | None
    "why there is no score"
    split: str | None
    "held-out items that were asked; every score names them"
    rounded_metric: float | None
    "primary metric on feedback, rounded; the only score that a running study shows"
    items_count: int | None
    "items asked"
    exact_match_share: float | None
    "whole answers right"
    token_accuracy_share: float | None
    "answer tokens right"
    exact_match_log_odds: float | None
    "ln((k + 1/2) / (n - k + 1/2)) of exact match"
    answer_token_nats: float | None
    "mean negative log-likelihood of a right answer token"
    calibration_error_share: float | None
    "expected calibration error of whole answers"
    slices_json: str | None
    "exact match per slice of the task"
    parameters_count: int | None
    "weights of the net"
    planned_cpu_us: int | None
    "planned compute of the training"
    measured_cpu_us: int | None
    "charge of the training, start-up excluded"
    inference_cpu_us: int | None
    "charge of the predict job, start-up excluded"


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """One decision: of a reviewer, signed, or of the gate, which counts them."""

    study: str
    "study root"
    sequence: int
    "ledger entry"
    decided_utc: str
    "when it was recorded"
    by: str
    "reviewer or gate"
    subject: str
    "digest of what was decided on: a plan, an amendment, a stop"
    change_class: str
    "class that was decided on"
    answer: str
    "reviewer: approve, deny, escalate; gate: allow, refuse"
    how: str | None
    "gate: mandate or approval"
    kind: str | None
    "person, simulated, external or unattended"
    reviewer: str | None
    "name of the key"
    reason_text: str | None
    "why, in the reviewer's or the gate's words"
    asked_unix_seconds: float | None
    "when the request was put"
    seen_unix_seconds: float | None
    "when the reviewer first saw it"
    issued_unix_seconds: float | None
    "when the reviewer signed"
    looked_milliseconds: int | None
    "for how long it was in view"


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRow:
    """One execution in a box, or one call of an outside model (role ask)."""

    study: str
    "study root"
    sequence: int
    "ledger entry of the result"
    plan: str
    "plan digest"
    role: str
    "what it did, and for whom"
    index: int
    "number within the role"
    attempt: int | None
    "0, or higher where an earlier one was lost"
    started_utc: str | None
    "when its grant was consumed"
    ended_utc: str
    "when its result was recorded"
    status: str
    "who ended it: ok, program, limit, box; of a call: ok or what went wrong"
    detail_text: str | None
    "one clause"
    box: str | None
    "kind of box"
    charged_by: str
    "what the charge rests on"
    cpu_us: int
    "CPU charged"
    startup_cpu_us: int | None
    "part of it before any byte of the bundle ran"
    wall_us: int
    "wall time charged"
    output_bytes: int
    "bytes collected and printed"
    peak_memory_bytes: int | None
    "largest memory that the kernel saw; 0 if unread"
    tokens_count: int
    "tokens of outside models"
    money_micros: int
    "price of outside models"


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """One look at a held-out split; an opening of sealed stands as a row of its own with what it
    showed.
    """

    study: str
    "study root"
    sequence: int
    "ledger entry"
    looked_utc: str
    "when"
    split: str
    "feedback, gate or sealed"
    plan: str
    "plan that was looked at"
    opened: bool
    "whether this row is what an opening of sealed showed"
    gain_metric: float | None
    "opening: mean paired difference, champion against baseline"
    gain_low_metric: float | None
    "lower end of its 95 % interval"
    gain_high_metric: float | None
    "upper end"
    replicates_count: int | None
    "pairs that counted"


@dataclass(frozen=True, slots=True, kw_only=True)
class IncidentRow:
    """One version of an incident; an amendment is a row more."""

    study: str
    "study root"
    sequence: int
    "ledger entry"
    incident: str
    "I-1, I-2 ... within the study"
    amended_from: int
    "ledger entry of the version before; 0: none"
    title_text: str
    "what happened"
    kind: str
    "incident, near miss or hazard"
    severity: str
    "low, medium, high or critical"
    detector: str
    "part that saw it"
    reporter: str | None
    "who reported it"
    plan: str | None
    "plan concerned"
    detected_utc: str
    "when it was detected"
    occurred_start_utc: str | None
    "when it began"
    occurred_end_utc: str | None
    "when it ended; empty while it lasts"
    harm_actual: str
    "harm that did occur"
    harm_potential_text: str | None
    "what it could have done"
    root_cause_text: str | None
    "why it could happen"
    containment_text: str | None
    "what stopped it"
    corrective_action_text: str | None
    "what was changed"
    notification_due_utc: str | None
    "until when a law asks for notice"


@dataclass(frozen=True, slots=True, kw_only=True)
class Instrument:
    """One figure of the instruments (docs/instruments.md), over the runs of one study."""

    group: int
    "runs with the same task and objective, from 1"
    studies_json: str
    "study roots of the group: its repeats"
    instrument: str
    "its name"
    unit: str | None
    "unit of value, low and high"
    value: float | None
    "estimate, in `unit`; empty where none can be given"
    low: float | None
    "lower end of the 95 % interval, in `unit`"
    high: float | None
    "upper end, in `unit`"
    n_count: int | None
    "observations that it rests on"
    reads: str | None
    "what it may be read as: cannot tell, not measured, ...; or a value that is a word"


@dataclass(frozen=True, slots=True, kw_only=True)
class Redaction:
    """One kind of thing that was left out, or shown otherwise than it was written."""

    study: str | None
    "study root; empty: the whole export"
    where: str
    "file, or table and column"
    what: str
    "what is not there"
    left_out_count: int
    "how often"
    why: str
    "reason"


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One line of the data dictionary."""

    table: str
    "file name without its ending"
    column: str
    "column"
    kind: str
    "str, int, float or bool"
    unit: str | None
    "unit of its values"
    may_be_empty: bool
    "whether a cell may be empty"
    meaning: str
    "what it says"


TABLES: dict[str, type[Any]] = {
    "studies": Study,
    "plans": PlanRow,
    "replicates": Replicate,
    "decisions": Decision,
    "jobs": JobRow,
    "looks": Look,
    "incidents": IncidentRow,
    "instruments": Instrument,
    "redactions": Redaction,
    "dictionary": Column,
}
"""File name without its ending -> its row."""


def columns(row: type[Any]) -> dict[str, tuple[type, bool]]:
    """Return column -> (str, int, float or bool; whether it may be empty)."""
    return COLUMNS[row]


def _columns(row: type[Any]) -> dict[str, tuple[type, bool]]:
    found = {}
    for name, hint in get_type_hints(row).items():
        kinds = get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
        found[name] = (next(k for k in kinds if k is not type(None)), type(None) in kinds)
    return found


COLUMNS: dict[type[Any], dict[str, tuple[type, bool]]] = {
    row: _columns(row) for row in TABLES.values()
}


def filled(row: type[Row], **told: Any) -> Row:
    """Return a row whose columns that nothing is told of are empty."""
    return row(**{**dict.fromkeys(columns(row)), **told})


def unit(column: str) -> str | None:
    """Return the unit that a column's name ends with: the longest ending that is known."""
    return (
        UNITS[max(found, key=len)]
        if (found := [end for end in UNITS if column.endswith(end)])
        else None
    )


def dictionary() -> list[Column]:
    """Return the data dictionary: every column of every table, its meaning from the string under
    its field.
    """
    told = list[Column]()
    for table, row in TABLES.items():
        body = ast.parse(dedent(inspect.getsource(row))).body[0]
        assert isinstance(body, ast.ClassDef)
        said = {
            a.target.id: b.value.value
            for a, b in pairwise(body.body)
            if isinstance(a, ast.AnnAssign)
            and isinstance(a.target, ast.Name)
            and isinstance(b, ast.Expr)
            and isinstance(b.value, ast.Constant)
        }
        told += [
            Column(
                table=table,
                column=name,
                kind=kind.__name__,
                unit=unit(name),
                may_be_empty=empty,
                meaning=str(said[name]),
            )
            for name, (kind, empty) in columns(row).items()
        ]
    return told


def cells(row: Any) -> list[Any]:
    """Return a row as cells: text made visible, free text clipped, nothing that a spreadsheet
    computes; empty text is an empty cell.
    """
    return [_cell(getattr(row, name), name, kind) for name, (kind, _) in columns(type(row)).items()]


def _cell(value: Any, column: str, kind: type) -> Any:
    return (
        shown(value, column)
        if isinstance(value, str)
        else float(value)
        if kind is float and value is not None
        else value
    )


def shown(text: str, column: str) -> str | None:
    """Return a text as a cell shows it."""
    if not text:
        return None
    kept = text[:CLIP] if column.endswith("_text") else text
    told = visible(kept) + (f"… ({len(text)} characters)" if len(kept) < len(text) else "")
    return "'" + told if told.startswith(FORMULA) else told
