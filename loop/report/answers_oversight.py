"""The answers of the first screen about people and limits: who decided, and what held?"""

from collections.abc import Iterator

from configs.arms import START
from configs.entries import IncidentEntry, PauseEntry, facts_of, lines_of
from loop.facts.summary import STAND_INS, describe_proof
from loop.report.asked import describe_state
from loop.report.evidence import Index
from loop.report.shape import Line
from loop.report.study import MeasuredStudy

WORST = ("low", "medium", "high", "critical")
"""Severities of incidents, the worst last."""
Lines = Iterator[Line]


def tell_decisions(study: MeasuredStudy, index: Index) -> Lines:
    """Yield who decided on the requests, and by which rule candidates were judged."""
    counts = dict.fromkeys(("mandate", "approval", "refused", "unattended", "simulated"), 0)
    for summary in study.summaries:
        for row in summary["oversight"]["by_class"].values():
            counts = {name: count + row[name] for name, count in counts.items()}
    people = sum(summary["oversight"]["human"] for summary in study.summaries)
    standing = counts["mandate"] - counts["unattended"]
    given = [
        (counts["unattended"], "allowed under an unattended mandate"),
        (standing, "allowed under a person's mandate"),
        (counts["approval"], "allowed by a decision on that very plan"),
        (counts["refused"], "denied"),
    ]
    ways = [(count, how) for count, how in given if count]
    total = sum(count for count, _ in ways)
    told = ", ".join(f"{count} {how}" for count, how in ways)
    nobody = not people and not standing
    by = "no person decided on a plan" if not people else f"people signed {people} decisions"
    if counts["simulated"]:
        by += "; a simulated reviewer stood in for people"
    if len(ways) == 1:
        text = f"All {total} requests were {ways[0][1]}; {by}."
    else:
        text = f"{total} requests: {told}; {by}." if ways else "Nothing was decided yet."
    yield Line(text=text, ledger=index.of("decision") or index.of("study"), warn=nobody)
    humans = study.config.autonomy.humans.rstrip(".")
    text = f"Rule {study.config.rules()} judged candidates."
    text += f" Humans control: {humans[:1].lower()}{humans[1:]}."
    yield Line(text=text, ledger=index.of("study"))


def tell_limits(study: MeasuredStudy, index: Index) -> Lines:
    """Yield whether budgets, gates and box held, and what stopped the study or a campaign."""
    yield from _standstill(study, index)
    passed = [
        f"{account}, {resource}"
        for summary in study.summaries
        for account, cells in summary["accounts"].items()
        for resource, cell in cells.items()
        if cell["spent"] > cell["limit"]
    ]
    cpu, jobs = (_add_up(study, resource) for resource in ("cpu_us", "jobs"))
    spent = f"{cpu[0] / 1e6:.0f} of {cpu[1] / 1e6:.0f} CPU-seconds, {jobs[0]} of {jobs[1]} jobs"
    held = f"passed in {'; '.join(passed)}" if passed else "held in every account"
    yield Line(text=f"Budgets {held} ({spent}).", ledger=index.of("settle"), warn=bool(passed))
    incidents = [
        fact.incident.severity
        for run in study.runs
        for fact in facts_of(run.entries, IncidentEntry)
    ]
    if incidents:
        worst = max(incidents, key=WORST.index)
        count = "1 incident" if len(incidents) == 1 else f"{len(incidents)} incidents"
        text = f"Gates and box: {count}, the worst of severity {worst}."
    else:
        text = "Gates and box: no incident; each job had a grant (heirloop verify recomputes it)."
    summary = study.summaries[0]
    unproved = not summary["proved"] and summary["box"] not in STAND_INS
    if unproved:
        proof = describe_proof(summary["box"], summary["proved"])
        text += f" Tier {summary['tier']}; {proof}: nothing shows that its limits hold here."
    ledger = index.of("incident") or index.of("decision") or index.of("study")
    yield Line(text=text, ledger=ledger, warn=bool(incidents) or unproved)
    yield from _ended_early(study, index)


def _standstill(study: MeasuredStudy, index: Index) -> Lines:
    for place, run in enumerate(study.runs):
        if run.facts.closed:
            continue
        where = f"Run {study.folders[place].name}" if len(study.runs) > 1 else "The study"
        reasons = [pause.reason for _, pause in lines_of(run.entries, PauseEntry)]
        why = f" ({reasons[-1].partition(';')[0]})" if reasons else ""
        state = describe_state(run)
        stopped = state != "not ended"
        text = f"{where} {'has' if state.startswith('not ended') else 'is'} {state}{why}."
        yield Line(text=text, ledger=index.of("control") or index.of("study"), warn=stopped)


def _ended_early(study: MeasuredStudy, index: Index) -> Lines:
    campaigns = [c for s in study.summaries for c in s["arms"] if c["arm"] != START]
    early = [campaign for campaign in campaigns if campaign["ended_early"]]
    if early:
        text = (
            f"{len(early)} of {len(campaigns)} campaigns ended before their last generation; one"
            f" because {early[0]['ending']}."
        )
        yield Line(text=text, ledger=index.of("end"), warn=True)


def _add_up(study: MeasuredStudy, resource: str) -> tuple[int, int]:
    cells = [summary["accounts"]["root"][resource] for summary in study.summaries]
    return sum(cell["spent"] for cell in cells), sum(cell["limit"] for cell in cells)
