"""Section `happened`: its sentences, and the order of its tables.

Before a study has ended nothing of confirm is among them, and feedback is rounded.
"""

from collections.abc import Iterator

from configs.arms import START
from configs.entries import PauseEntry, lines_of
from loop.report import listing, measures, progress
from loop.report.ablation import describe_ablation
from loop.report.accords import list_accords
from loop.report.agents import list_agents
from loop.report.asked import describe_state
from loop.report.drift import list_drift
from loop.report.evidence import Index
from loop.report.factory import list_factory
from loop.report.figures import BESIDE
from loop.report.lanes import describe_stages, list_lanes
from loop.report.oversight import list_incidents, oversight
from loop.report.proposers import list_proposers
from loop.report.shape import Line, Part, Table, table
from loop.report.study import MeasuredStudy, StudyRuns


def describe_happened(study: MeasuredStudy, index: Index, name: str) -> Part:
    """Return the section's sentences and tables of a study."""
    return _lines(study, index), [
        *_over_time(study, index, name),
        *listing.list_closing(study, index, name),
        listing.list_lineage(study, index, name),
        progress.burn(study, index, name),
        list_lanes(study, index, name),
        listing.list_accounts(study, index, name),
        *_instruments(study, index, name),
        describe_ablation(study, index, name, measures.scale(study)),
        list_proposers(study, index, name, measures.unit(study)),
        list_drift(study, index, name),
        list_agents(study, index, name),
        list_factory(study, index, name),
        list_accords(study, index, name),
        *oversight(study, index, name),
        *listing.list_looks(study, index, name),
        list_incidents(study, index, name),
        listing.list_plans(study, index, name),
    ]


def live_tables(study: StudyRuns, name: str) -> list[Table]:
    """Return the tables of figure `scores` or `burn` of a run in progress."""
    if name == "burn":
        return [progress.burn(study, None, "")]
    metric = study.config.objective.scores_text()
    return [
        table("scores", progress.score_rows(study), "", unit=metric),
        table("trials", progress.trial_rows(study), "", unit=metric),
    ]


def _lines(study: MeasuredStudy, index: Index) -> list[Line]:
    openings = sum(s["looks"]["sealed"]["spent"] for s in study.summaries)
    lines = [
        Line(text=_pace(study), ledger=index.of("decision")),
        Line(
            text=f"Sealed was opened {openings} times.",
            ledger=index.of("opening") or index.of("account"),
        ),
    ]
    lines += describe_stages(study, index)
    lines += [*_ends(study, index), *_interruptions(study, index)]
    if not study.closed:
        text = (
            "The study has not ended: of the held-out data only rounded feedback scores are told."
        )
        lines.append(Line(text=text, warn=True))
    return lines


def _interruptions(study: MeasuredStudy, index: Index) -> Iterator[Line]:
    """Yield why each run that has not ended stands still, in the words of its last pause."""
    for place, run in enumerate(study.runs):
        pauses = list(lines_of(run.entries, PauseEntry))
        if run.facts.closed or not pauses:
            continue
        entry, pause = pauses[-1]
        where = f"Run {study.folders[place].name}" if len(study.runs) > 1 else "The run"
        yield Line(
            text=f"{where} has not ended; it is {describe_state(run)} ({pause.reason}).",
            ledger=index.entry(study.numbers[place], entry.sequence, "pause"),
            warn=True,
        )


def _ends(study: MeasuredStudy, index: Index) -> Iterator[Line]:
    """Yield why campaigns ended before their last planned generation, each reason once."""
    counts: dict[tuple[str, str], int] = {}
    for summary in study.summaries:
        for campaign in summary["arms"]:
            if campaign["ended_early"]:
                key = campaign["arm"], campaign["ending"]
                counts[key] = counts.get(key, 0) + 1
    for (arm, ending), count in counts.items():
        campaigns = "1 campaign" if count == 1 else f"{count} campaigns"
        text = f"Arm {arm}, {campaigns} ended early: {ending}."
        yield Line(text=text, ledger=index.of("end"), warn=True)


def _pace(study: MeasuredStudy) -> str:
    runs, summaries = study.runs, study.summaries
    plans = sum(plan.purpose == "candidate" for run in runs for plan in run.facts.plans.values())
    arms = [arm for s in summaries for arm in s["arms"]]
    accepted = sum(arm["accepted"] for arm in arms if arm["arm"] != START)
    seconds = sum(s["wall_seconds"] for s in summaries)
    return (
        f"{sum(run.facts.closed for run in runs)} of {len(runs)} runs ended; {plans} proposals"
        f" became plans, {accepted} were accepted; {sum(s['jobs'] for s in summaries)} jobs,"
        f" {seconds:.0f} s, {sum(s['oversight']['incidents'] for s in summaries)} incidents."
    )


def _over_time(study: MeasuredStudy, index: Index, name: str) -> list[Table]:
    metric = study.config.objective.scores_text()
    return [
        _by_arm("arms", progress.campaign_rows(study), index, "verdicts", name, metric),
        _by_arm("scores", progress.score_rows(study), index, "scores", name, metric),
        _by_arm("trials", progress.trial_rows(study), index, "scores", name, metric),
        _by_arm("gains", progress.gain_rows(study), index, "verdicts", name, measures.scale(study)),
        _by_arm("ends", progress.end_rows(study), index, "verdicts", name, measures.scale(study)),
    ]


def _instruments(study: MeasuredStudy, index: Index, name: str) -> list[Table]:
    unit, scale = measures.unit(study), measures.scale(study)
    return [
        _by_arm("funnel", measures.funnel_rows(study), index, "plans", name),
        _by_arm("promise", measures.promise_rows(study), index, "plans", name, unit),
        _by_arm("rungs", measures.rung_rows(study), index, "verdicts", name, scale),
        _by_arm("retention", measures.retention_rows(study), index, "verdicts", name),
        _by_arm("automation", measures.automation_rows(study), index, "decisions", name),
        _by_arm("stages", measures.stage_rows(study), index, "decisions", name),
        _by_arm("efficiency", measures.efficiency_rows(study), index, "plans", name),
        _by_arm("calibration", measures.calibration_rows(study), index, "verdicts", name, unit),
    ]


def _by_arm(
    kind: str, rows: measures.Rows, index: Index, entries: str, name: str, unit: str = ""
) -> Table:
    """Return a table with the arm first; its rows rest on the arm's entries."""
    rows = list(rows)
    ledger = []
    for row in rows:
        # An arm beside the study has no entries in its ledgers.
        beside = row[0].startswith(BESIDE)
        ledger.append("" if beside else index.arm(row[0].split(",")[0], entries))
    return table(kind, rows, ledger, name, unit=unit)
