"""The tables of an export, filled from the entries that it carries and from nothing else, in one
pass each.

It refuses nothing: what an entry does not show is an empty cell.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from configs.build import parse, plain
from configs.entries import Entry
from configs.records import Incident, Plan, Scores
from evals.metrics import rounded
from loop.export.tables import (
    CLIP,
    Decision,
    IncidentRow,
    Instrument,
    JobRow,
    Look,
    PlanRow,
    Redaction,
    Replicate,
    Study,
    columns,
    filled,
    shown,
)
from loop.facts.facts import Facts
from loop.instruments.gather import shared_settings
from loop.instruments.measure import flatten, measure_ledgers
from sandbox.budget import replay
from sandbox.canonical import canonical
from sandbox.decision import policy
from sandbox.gate.mandate import computable
from sandbox.ledger import Ledger


def study(entries: Sequence[Entry], facts: Facts) -> Study:
    """Return the row of one run."""
    rules, root, first, last = (
        policy(list(entries)),
        replay(entries)["root"],
        entries[0],
        entries[-1],
    )
    config, objective = rules.config, rules.config.objective
    return Study(
        study=first.hash,
        name=config.study.name,
        version=rules.version,
        task=config.task.name,
        metric=objective.metric,
        direction=objective.direction,
        scale=objective.scale,
        minimum_effect_metric=float(objective.minimum_effect),
        arms_json=_json(config.arms()),
        repeats_count=config.study.repeats,
        generations_count=config.study.generations,
        proposals_count=config.study.proposals,
        proposer_seed=config.study.seed,
        tier=first.body["tier"],
        box=first.body["box"],
        began_utc=first.time,
        last_utc=last.time,
        ended=facts.closed,
        entries_count=len(entries),
        head=last.hash,
        cpu_us=root["cpu_us"]["spent"],
        cpu_limit_us=root["cpu_us"]["limit"],
        jobs_count=root["jobs"]["spent"],
        wall_seconds=float(sum(e.body["wall_seconds"] for e in entries if e.kind == "session")),
    )


def plans(entries: Sequence[Entry], facts: Facts) -> Iterator[PlanRow]:
    """Yield plans and invalid proposals in the order of the ledger."""
    root, task = entries[0].hash, policy(list(entries)).config.task.name
    kept = {name for names in facts.champions.values() for name in names}
    baselines = {name: plan for name, plan in facts.plans.items() if plan.purpose == "baseline"}
    for entry in entries:
        if entry.kind == "plan":
            yield _plan(
                root,
                entry,
                facts.plans[entry.body["digest"]],
                facts,
                kept,
                computable(task, facts.plans[entry.body["digest"]], baselines),
            )
        elif entry.kind == "invalid":
            place = {name: entry.body[name] for name in ("arm", "repeat", "generation", "index")}
            yield filled(
                PlanRow,
                **place,
                study=root,
                sequence=entry.sequence,
                purpose="invalid",
                invalid_text=entry.body["reason"],
            )


def _plan(
    root: str, entry: Entry, plan: Plan, facts: Facts, kept: set[str], flagged: bool
) -> PlanRow:
    name = entry.body["digest"]
    verdict = facts.verdicts.get(name)
    told: dict[str, Any] = (
        {}
        if verdict is None
        else {
            "verdict": verdict.answer,
            "rule": verdict.rule,
            "replicates_count": verdict.replicates,
            "gain_metric": verdict.gain,
            "gain_low_metric": verdict.low,
            "gain_high_metric": verdict.high,
            "level_p": verdict.level,
            "evidence_p": verdict.evidence,
            "corrected_gain_metric": verdict.corrected,
            "corrected_low_metric": verdict.corrected_low,
            "corrected_high_metric": verdict.corrected_high,
        }
    )
    return filled(
        PlanRow,
        **told,
        **{
            n: getattr(plan, n)
            for n in ("arm", "repeat", "generation", "index", "purpose", "parent", "change_class")
        },
        study=root,
        sequence=entry.sequence,
        plan=name,
        changed_json=_json(plan.changed),
        recipe_json=_json(plan.recipe),
        hypothesis_text=plan.hypothesis,
        predicted_gain_metric=plan.predicted_gain,
        steps_count=plan.steps,
        planned_cpu_us=plan.planned_cpu_us,
        requested_cpu_us=plan.requested.cpu_us,
        computable=flagged,
        refused=(name, plan.change_class) in facts.denied,
        champion=name in kept,
    )


def replicates(entries: Sequence[Entry]) -> Iterator[Replicate]:
    """Yield every score; one that is closed names its split, and on feedback the rounded value."""
    root, objective = entries[0].hash, policy(list(entries)).config.objective
    for entry in (e for e in entries if e.kind == "score"):
        body, found = entry.body, entry.body["scores"]
        told: dict[str, Any] = {"failed_text": body["reason"]}
        if found and len(found) <= 2:
            told |= {"split": found["split"], "rounded_metric": found.get("rounded")}
        elif found:
            s = parse(Scores, found)
            told |= {
                "split": s.split,
                "rounded_metric": _finite(rounded(objective, s)) if s.split == "feedback" else None,
                "items_count": s.items,
                "exact_match_share": s.exact_match,
                "token_accuracy_share": s.token_accuracy,
                "exact_match_log_odds": s.log_odds,
                "answer_token_nats": s.nll,
                "calibration_error_share": s.calibration_error,
                "slices_json": _json(s.slices),
                "parameters_count": s.parameters,
                "planned_cpu_us": s.planned_cpu_us,
                "measured_cpu_us": s.measured_cpu_us,
                "inference_cpu_us": s.inference_cpu_us,
            }
        yield filled(
            Replicate,
            **told,
            study=root,
            sequence=entry.sequence,
            plan=body["plan"],
            role=body["role"],
            index=body["index"],
        )


def decisions(entries: Sequence[Entry]) -> Iterator[Decision]:
    """Yield signed decisions of reviewers and decisions of the gate, in the order of the ledger."""
    root, asked = entries[0].hash, dict[tuple[str, str], float]()
    for entry in (e for e in entries if e.body):
        body = entry.body
        if entry.kind == "request":
            asked.setdefault((body["plan"], body["class"]), body["at"])
        elif entry.kind == "approval":
            a = body["approval"]
            yield filled(
                Decision,
                study=root,
                sequence=entry.sequence,
                decided_utc=entry.time,
                by="reviewer",
                subject=a["plan"],
                change_class=a["change_class"],
                answer=a["answer"],
                how="approval",
                kind=a["kind"],
                reviewer=a["reviewer"],
                reason_text=a["reason"],
                asked_unix_seconds=asked.get((a["plan"], a["change_class"])),
                seen_unix_seconds=a["seen"],
                issued_unix_seconds=a["issued"],
                looked_milliseconds=a["looked_ms"],
            )
        elif entry.kind == "decision":
            yield filled(
                Decision,
                study=root,
                sequence=entry.sequence,
                decided_utc=entry.time,
                by="gate",
                subject=body["plan"],
                change_class=body["class"],
                answer="allow" if body["allow"] else "refuse",
                how=body["how"],
                kind=body["kind"],
                reason_text=body["reason"],
                asked_unix_seconds=asked.get((body["plan"], body["class"])),
            )


def jobs(entries: Sequence[Entry]) -> Iterator[JobRow]:
    """Yield every result of a job, and every answer of an outside model."""
    root, began = entries[0].hash, dict[str, tuple[int, str]]()
    for entry in entries:
        body = entry.body
        if entry.kind in ("start", "call"):
            began[body["grant"]["nonce"]] = (body["grant"]["attempt"], entry.time)
        elif entry.kind in ("job", "answer"):
            found = body["result" if entry.kind == "job" else "answer"]
            attempt, started = began.get(body["nonce"], (None, None))
            charged = found["charged"]
            yield JobRow(
                study=root,
                sequence=entry.sequence,
                plan=body["plan"],
                role=body.get("role", "ask"),
                index=body["index"],
                attempt=attempt,
                started_utc=started,
                ended_utc=entry.time,
                status=found["status"],
                detail_text=found["detail"],
                box=found.get("box"),
                charged_by=found["charged_by"],
                cpu_us=charged["cpu_us"],
                startup_cpu_us=found.get("startup_cpu_us"),
                wall_us=charged["wall_us"],
                output_bytes=charged["output_bytes"],
                peak_memory_bytes=found.get("peak_bytes"),
                tokens_count=charged["tokens"],
                money_micros=charged["money_micros"],
            )


def looks(entries: Sequence[Entry]) -> Iterator[Look]:
    """Yield every look at a held-out split, and every opening of sealed with what it showed."""
    for entry in (e for e in entries if e.kind in ("look", "opening")):
        body, opened = entry.body, entry.kind == "opening"
        yield Look(
            study=entries[0].hash,
            sequence=entry.sequence,
            looked_utc=entry.time,
            split=body.get("split", "sealed"),
            plan=body["plan"],
            opened=opened,
            gain_metric=body.get("gain"),
            gain_low_metric=body.get("low"),
            gain_high_metric=body.get("high"),
            replicates_count=body.get("replicates"),
        )


def incidents(entries: Sequence[Entry]) -> Iterator[IncidentRow]:
    """Yield every version of every incident."""
    for entry in (e for e in entries if e.kind in ("incident", "incident-amended")):
        i = parse(Incident, entry.body)
        yield IncidentRow(
            study=entries[0].hash,
            sequence=entry.sequence,
            incident=i.id,
            amended_from=i.amended_from,
            title_text=i.title,
            kind=i.kind,
            severity=i.severity,
            detector=i.detector,
            reporter=i.reporter,
            plan=i.plan,
            detected_utc=i.detected_at,
            occurred_start_utc=i.occurred_start,
            occurred_end_utc=i.occurred_end,
            harm_actual=i.harm_actual,
            harm_potential_text=i.harm_potential,
            root_cause_text=i.root_cause,
            containment_text=i.containment,
            corrective_action_text=i.corrective_action,
            notification_due_utc=i.notification_due_at,
        )


def instruments(runs: Mapping[str, Ledger]) -> Iterator[Instrument]:
    """Yield the figures of runs by study root; those that differ in nothing that decides a result
    are measured together, as repeats.
    """
    groups: dict[str, list[str]] = {}
    for root, ledger in runs.items():
        config = policy(ledger.entries()).config
        groups.setdefault(_json(shared_settings(config)), []).append(root)
    for number, roots in enumerate(groups.values(), 1):
        for name, (value, low, high, n, unit, word) in flatten(
            measure_ledgers([(root, runs[root]) for root in roots])
        ):
            told, said = (None, str(value)) if isinstance(value, str | bool) else (value, word)
            yield Instrument(
                group=number,
                studies_json=_json(roots),
                instrument=name,
                unit=unit,
                value=_finite(told),
                low=_finite(low),
                high=_finite(high),
                n_count=n,
                reads=said,
            )


def clipped(tables: Mapping[str, Sequence[Any]]) -> Iterator[Redaction]:
    """Yield how many cells of each column of text are clipped, and how many show a text otherwise
    than it was written.
    """
    for table, rows in tables.items():
        for column in (
            name
            for name, (kind, _) in (columns(type(rows[0])).items() if rows else ())
            if kind is str
        ):
            texts = [text for row in rows if (text := getattr(row, column))]
            long = sum(len(text) > CLIP for text in texts) if column.endswith("_text") else 0
            changed = sum(shown(text, "") != text for text in texts)
            for what, count, why in (
                (f"text after {CLIP} characters", long, "entries-*.jsonl holds it whole"),
                (
                    "what does not show itself, or begins a formula",
                    changed,
                    "stands as ⟨U+202E⟩, or behind a '",
                ),
            ):
                if count:
                    yield Redaction(
                        study=None,
                        where=f"{table}, {column}",
                        what=what,
                        left_out_count=count,
                        why=why,
                    )


def _finite(value: Any) -> float | None:
    return None if value is None or not math.isfinite(value) else float(value)


def _json(value: Any) -> str:
    return canonical(plain(value)).decode()
