"""Where do the rows come from? From the entries of the export, in a single pass a table.

It refuses nothing: a cell stays empty where no entry shows its value.
"""

from collections.abc import Iterator, Mapping
from typing import Any, cast

from configs.build import plain
from configs.entries import (
    AnswerEntry,
    ApprovalEntry,
    CallEntry,
    DecisionEntry,
    Entry,
    IncidentAmendedEntry,
    IncidentEntry,
    InvalidEntry,
    JobEntry,
    LookEntry,
    OpeningEntry,
    PlanEntry,
    RequestEntry,
    SessionEntry,
    StartEntry,
    facts_of,
)
from configs.records import Approval, JobResult, ModelReply
from loop.export.redact import Carried
from loop.export.replicates import finite
from loop.export.rows import (
    DecisionRow,
    IncidentRow,
    JobRow,
    LookRow,
    PlanRow,
    StudyRow,
)
from loop.export.tables import InstrumentRow
from loop.facts.facts import Facts
from loop.facts.stages import read_candidates
from loop.instruments.gather import shared_settings
from loop.instruments.measure import flatten, measure_ledgers
from sandbox.canonical import canonical
from sandbox.charges import replay
from sandbox.decision import policy
from sandbox.gate.mandate import computable
from sandbox.ledger import Ledger


def study(carried: Carried, facts: Facts) -> StudyRow:
    """Return the row of a run."""
    entries = carried.entries
    rules, account = policy(entries), replay(entries)["root"]
    first, last, config = entries[0], entries[-1], rules.config
    return StudyRow(
        study=carried.study,
        name=config.study.name,
        version=rules.version,
        task=config.task.name,
        objective=config.objective,
        arms_json=_json(config.arms()),
        shape=config.study,
        tier=carried.root.tier,
        box=carried.root.box,
        began_utc=first.time,
        last_utc=last.time,
        ended=facts.closed,
        entries_count=last.sequence,
        head=last.hash,
        cpu_us=account["cpu_us"]["spent"],
        cpu_limit_us=account["cpu_us"]["limit"],
        jobs_count=account["jobs"]["spent"],
        wall_seconds=float(sum(fact.wall_seconds for fact in facts_of(entries, SessionEntry))),
    )


def plans(carried: Carried, facts: Facts) -> Iterator[PlanRow]:
    """Yield plans and invalid proposals in the order of the ledger."""
    computed = policy(carried.entries).config.task.computed()
    champions = {name for names in facts.champions.values() for name in names}
    baselines = {name: plan for name, plan in facts.plans.items() if plan.purpose == "baseline"}
    seconds = read_candidates(carried.entries)
    for entry in carried.entries:
        if entry.kind not in (PlanEntry.kind, InvalidEntry.kind):
            continue
        match entry.fact:
            case PlanEntry(digest=digest, plan=plan):
                yield PlanRow(
                    study=carried.study,
                    sequence=entry.sequence,
                    plan=digest,
                    arm=plan.arm,
                    repeat=plan.repeat,
                    generation=plan.generation,
                    index=plan.index,
                    purpose=plan.purpose,
                    details=plan,
                    computable=computable(computed, plan, baselines),
                    refused=(digest, plan.change_class) in facts.denied,
                    champion=digest in champions,
                    judged=facts.verdicts.get(digest),
                    invalid_text=None,
                    **_name_seconds(seconds.get(digest, {})),
                )
            case InvalidEntry() as invalid:
                yield _invalid(carried.study, entry.sequence, invalid)


def _name_seconds(seconds: Mapping[str, float]) -> dict[str, float]:
    """Return column -> seconds, to the millisecond of the entries' times."""
    return {f"{stage}_seconds": round(value, 3) + 0.0 for stage, value in seconds.items()}


def _invalid(study: str, sequence: int, invalid: InvalidEntry) -> PlanRow:
    return PlanRow(
        study=study,
        sequence=sequence,
        plan=None,
        arm=invalid.arm,
        repeat=invalid.repeat,
        generation=invalid.generation,
        index=invalid.index,
        purpose="invalid",
        details=None,
        computable=None,
        refused=None,
        champion=None,
        judged=None,
        invalid_text=invalid.reason,
    )


def decisions(carried: Carried) -> Iterator[DecisionRow]:
    """Yield signed decisions of reviewers and decisions of the gate, in the ledger's order."""
    requests = dict[tuple[str, str], float]()
    kinds = (RequestEntry.kind, ApprovalEntry.kind, DecisionEntry.kind)
    for entry in carried.entries:
        # A closed entry of these kinds is about a probe.
        if entry.kind not in kinds or entry.place in carried.closed:
            continue
        match entry.fact:
            case RequestEntry(plan=plan, change_class=change_class, at=at):
                requests.setdefault((plan, change_class), at)
            case ApprovalEntry(approval=approval):
                requested = requests.get((approval.plan, approval.change_class))
                yield _of_reviewer(carried.study, entry, approval, requested)
            case DecisionEntry() as decision:
                requested = requests.get((decision.plan, decision.change_class))
                yield _of_gate(carried.study, entry, decision, requested)


def _of_reviewer(
    study: str, entry: Entry, approval: Approval, requested: float | None
) -> DecisionRow:
    return DecisionRow(
        study=study,
        sequence=entry.sequence,
        decided_utc=entry.time,
        by="reviewer",
        subject=approval.plan,
        change_class=approval.change_class,
        answer=approval.answer,
        how="approval",
        kind=approval.kind,
        reviewer=approval.reviewer,
        reason_text=approval.reason,
        asked_unix_seconds=requested,
        seen_unix_seconds=approval.seen,
        issued_unix_seconds=approval.issued,
        looked_milliseconds=approval.looked_ms,
    )


def _of_gate(
    study: str, entry: Entry, decision: DecisionEntry, requested: float | None
) -> DecisionRow:
    return DecisionRow(
        study=study,
        sequence=entry.sequence,
        decided_utc=entry.time,
        by="gate",
        subject=decision.plan,
        change_class=decision.change_class,
        answer="allow" if decision.allow else "refuse",
        how=decision.how,
        kind=decision.reviewer_kind,
        reviewer=None,
        reason_text=decision.reason,
        asked_unix_seconds=requested,
        seen_unix_seconds=None,
        issued_unix_seconds=None,
        looked_milliseconds=None,
    )


def jobs(carried: Carried) -> Iterator[JobRow]:
    """Yield every result of a job, and every reply of an outside model."""
    started = dict[str, tuple[int, str]]()
    kinds = (StartEntry.kind, CallEntry.kind, JobEntry.kind, AnswerEntry.kind)
    for entry in carried.entries:
        if entry.kind not in kinds:
            continue
        match entry.fact:
            case StartEntry(grant=grant) | CallEntry(grant=grant):
                started[grant.nonce] = (grant.attempt, entry.time)
            case JobEntry(role=role, result=result) as end:
                yield _job(carried.study, entry, end, role, result, started)
            case AnswerEntry(answer=reply) as end:
                yield _job(carried.study, entry, end, "ask", reply, started)


def _job(
    study: str,
    entry: Entry,
    end: JobEntry | AnswerEntry,
    role: str,
    result: JobResult | ModelReply,
    started: Mapping[str, tuple[int, str]],
) -> JobRow:
    attempt, time = started.get(end.nonce, (None, None))
    return JobRow(
        study=study,
        sequence=entry.sequence,
        plan=end.plan,
        role=role,
        index=end.index,
        attempt=attempt,
        started_utc=time,
        ended_utc=entry.time,
        result=result,
    )


def looks(carried: Carried) -> Iterator[LookRow]:
    """Yield every look at a held-out split, and every opening of sealed with its result."""
    for entry in carried.entries:
        if entry.kind not in (LookEntry.kind, OpeningEntry.kind):
            continue
        look = cast(LookEntry | OpeningEntry, entry.fact)
        yield LookRow(
            study=carried.study,
            sequence=entry.sequence,
            looked_utc=entry.time,
            split=look.split if isinstance(look, LookEntry) else "sealed",
            plan=look.plan,
            opened=isinstance(look, OpeningEntry),
            result=look if isinstance(look, OpeningEntry) else None,
        )


def incidents(carried: Carried) -> Iterator[IncidentRow]:
    """Yield every version of every incident."""
    for entry in carried.entries:
        if entry.kind not in (IncidentEntry.kind, IncidentAmendedEntry.kind):
            continue
        match entry.fact:
            case IncidentEntry(incident=version) | IncidentAmendedEntry(incident=version):
                yield IncidentRow(study=carried.study, sequence=entry.sequence, version=version)


def instruments(runs: Mapping[str, Ledger]) -> Iterator[InstrumentRow]:
    """Yield the figures of runs by study root; repeats are measured together."""
    groups: dict[str, list[str]] = {}
    for root, ledger in runs.items():
        config = policy(ledger.entries()).config
        groups.setdefault(_json(shared_settings(config)), []).append(root)
    for number, roots in enumerate(groups.values(), 1):
        figures = measure_ledgers([(root, runs[root]) for root in roots])
        for name, (value, low, high, n, unit, word, sees) in flatten(figures):
            in_words = isinstance(value, str | bool)
            yield InstrumentRow(
                group=number,
                studies_json=_json(roots),
                instrument=name,
                unit=unit,
                value=None if in_words else finite(value),
                low=finite(low),
                high=finite(high),
                n_count=n,
                reads=str(value) if in_words else word,
                sees=finite(sees),
            )


def _json(value: Any) -> str:
    return canonical(plain(value)).decode()
