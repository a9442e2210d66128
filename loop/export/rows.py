"""Which columns do the observations have? A row is a run, a plan, a score, a decision ...

A column is a field of these rows. Where a row holds a record, `spread` names the record's fields.
The string under a field is its meaning in the data dictionary. To add a column, add an optional
field: exports without it still verify.
"""

from dataclasses import dataclass, field

from configs.entries import OpeningEntry
from configs.objective import Objective
from configs.records import Incident, JobResult, ModelReply, Plan, Verdict
from configs.settings.study import Study
from loop.export.columns import spread


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyRow:
    """A run."""

    study: str
    "digest of the study root; the key of every other table"
    name: str
    "study.name"
    version: int
    "version of the study root in force: 1, and one more per amendment"
    task: str
    "task.name"
    objective: Objective = field(
        metadata=spread(
            metric=("metric", "primary metric of the objective"),
            direction=("direction", "the better way, up or down"),
            scale=("scale", "raw or log_odds: of every column in units of the objective"),
            minimum_effect_metric=("minimum_effect", "what a gain must exceed"),
        )
    )
    arms_json: str
    "arms, in order"
    shape: Study = field(
        metadata=spread(
            repeats_count=("repeats", "repeats per arm"),
            generations_count=("generations", "generations per campaign"),
            proposals_count=("proposals", "proposals per generation"),
            proposer_seed=(
                "seed",
                "study.seed; seeds of trainings come from the study secret and are nowhere in an"
                " export",
            ),
        )
    )
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
    """A plan, or an invalid proposal (without a digest)."""

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
    details: Plan | None = field(
        metadata=spread(
            parent=("parent", "plan that it starts from"),
            change_class="change_class",
            changed_json="changed",
            recipe_json="recipe",
            hypothesis_text="hypothesis",
            predicted_gain_metric=("predicted_gain", "the proposer's claim; never judged"),
            steps_count="steps",
            planned_cpu_us="planned_cpu_us",
            requested_cpu_us=("requested.cpu_us", "worst case of all its jobs"),
        )
    )
    computable: bool | None
    "whether code that a model wrote could compute the answers"
    refused: bool | None
    "whether its own class was decided against"
    champion: bool | None
    "whether it became champion"
    judged: Verdict | None = field(
        metadata=spread(
            verdict=("answer", "accept, reject or inconclusive; empty: never judged"),
            rule="rule",
            replicates_count="replicates",
            gain_metric=("gain", "mean paired difference; empty while the study runs"),
            gain_low_metric=("low", "lower end of its interval"),
            gain_high_metric=("high", "upper end of its interval"),
            level_p="level",
            evidence_p=(
                "evidence",
                "bound on the p-value against a gain of at most the minimum effect",
            ),
            corrected_gain_metric=("corrected", "accept: gain without the winner's curse"),
            corrected_low_metric="corrected_low",
            corrected_high_metric="corrected_high",
        )
    )
    invalid_text: str | None
    "why the proposal was invalid"
    propose_seconds: float | None = None
    "screened candidate: from the entry before it in its campaign to its plan"
    turn_seconds: float | None = None
    "the same: waiting for its turn, before its gate and before a worker took it"
    gate_seconds: float | None = None
    "the same: from the request to people to the decision"
    reserve_seconds: float | None = None
    "the same: bytes checked, budget reserved and entries written before its jobs"
    start_seconds: float | None = None
    "the same: the box's start, before any byte of the bundle ran"
    train_seconds: float | None = None
    "the same: the training in the box"
    collect_seconds: float | None = None
    "the same: outputs read, stored and settled"
    predict_seconds: float | None = None
    "the same: its predict job, whole"
    score_seconds: float | None = None
    "the same: predictions scored"
    unaccounted_seconds: float | None = None
    "the same: the rest up to its score, such as a lost attempt at a job or a pause"


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionRow:
    """A decision: signed by a reviewer, or taken by the gate on such decisions."""

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
    """An execution in a box, or a call of an outside model (role ask)."""

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
    result: JobResult | ModelReply = field(
        metadata=spread(
            status=(
                "status",
                "who ended it: ok, program, limit, box; of a call: ok or what went wrong",
            ),
            detail_text=("detail?", "one clause"),
            box="box",
            charged_by=("charged_by", "what the charge rests on"),
            cpu_us=("charged.cpu_us", "CPU charged"),
            startup_cpu_us=("startup_cpu_us", "part of it before any byte of the bundle ran"),
            wall_us=("charged.wall_us", "wall time charged"),
            output_bytes="charged.output_bytes",
            peak_memory_bytes=("peak_bytes", "largest memory that the kernel saw; 0 if unread"),
            tokens_count="charged.tokens",
            money_micros=("charged.money_micros", "price of outside models"),
        )
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class LookRow:
    """A look at a held-out split; an opening of sealed has a row of its own with its result."""

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
    result: OpeningEntry | None = field(
        metadata=spread(
            gain_metric=("gain", "opening: mean paired difference, champion against baseline"),
            gain_low_metric=("low", "lower end of its 95 % interval"),
            gain_high_metric=("high", "upper end"),
            replicates_count=("replicates", "pairs that counted"),
        )
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class IncidentRow:
    """A version of an incident; an amendment is a row more."""

    study: str
    "study root"
    sequence: int
    "ledger entry"
    version: Incident = field(
        metadata=spread(
            incident=("id", "I-1, I-2 ... within the study"),
            amended_from=("amended_from", "ledger entry of the version before; 0: none"),
            title_text=("title", "what happened"),
            kind=("kind", "incident, near miss or hazard"),
            severity=("severity", "low, medium, high or critical"),
            detector=("detector", "part that saw it"),
            reporter=("reporter?", "who reported it"),
            plan=("plan?", "plan concerned"),
            detected_utc=("detected_at", "when it was detected"),
            occurred_start_utc=("occurred_start?", "when it began"),
            occurred_end_utc=("occurred_end?", "when it ended; empty while it lasts"),
            harm_actual=("harm_actual", "harm that did occur"),
            harm_potential_text="harm_potential?",
            root_cause_text="root_cause?",
            containment_text="containment?",
            corrective_action_text=("corrective_action?", "what was changed"),
            notification_due_utc=("notification_due_at?", "until when a law asks for notice"),
        )
    )
