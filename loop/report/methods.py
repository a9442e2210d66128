"""Section `methods`: a paragraph, and the list of deviations."""

from collections.abc import Iterator
from typing import Any, cast

from configs.build import plain
from configs.entries import (
    AmendedEntry,
    ControlEntry,
    DecisionEntry,
    DrillEntry,
    Fact,
    JobEntry,
    PauseEntry,
    RecallEntry,
    StudyEntry,
    facts_of,
)
from configs.errors import BudgetExhausted
from configs.settings.config import Config
from configs.settings.study import Study
from loop.instruments.run import Run
from loop.people.difference import list_changes
from loop.report.asked import describe_ending
from loop.report.evidence import Index
from loop.report.shape import Line, Part, table
from loop.report.study import MeasuredStudy

DEPARTURES = (PauseEntry.kind, ControlEntry.kind, RecallEntry.kind, DrillEntry.kind)
"""Kinds of entries that depart from the registered study, beside amendments."""
REASONS = 5
"""Reasons of denials in the list of deviations; table Plans has all."""
Deviation = tuple[tuple[Any, ...], str]
"""Columns of one deviation, and the entries that it rests on."""


def describe_methods(study: MeasuredStudy, index: Index, name: str) -> Part:
    """Return the section's sentences and tables of a study."""
    root = index.of("study")
    deviations = list[Deviation]()
    for number, run in zip(study.numbers, study.runs, strict=True):
        deviations += _deviations(run, number, index)
    lines = [Line(text=_paragraph(study), ledger=index.of("look") or root)]
    if not study.closed and any(_was_cut(run) for run in study.runs):
        text = (
            "A limit of the budget ended it before its plan was done. What measured limits"
            " cut off depends on the machine: nothing here is claimed to be reproducible."
        )
        lines.append(Line(text=text, ledger=index.of("control"), warn=True))
    if not deviations:
        text = (
            "Nothing deviated from what was registered: no amendment, no order, no denial,"
            " no lost job."
        )
        lines.append(Line(text=text, ledger=root))
    rows, ledger = [row for row, _ in deviations], [at for _, at in deviations]
    return lines, [table("deviations", rows, ledger, name)]


def _was_cut(run: Run) -> bool:
    """Tell whether a limit of the budget paused a run."""
    pauses = facts_of(run.entries, PauseEntry)
    return any(pause.exit_code == BudgetExhausted.exit_code for pause in pauses)


def _paragraph(study: MeasuredStudy) -> str:
    settings, tiers = study.config.study, sorted({s["tier"] for s in study.summaries})
    seconds = study.figures["equal plan, CPU-seconds"]
    parts = [
        _shape(study),
        _confirmation(study),
        _closing(settings),
        f"Looks spent: {_looks(study)}.",
        f"{_comparison(settings)} ({seconds:.3g} CPU-seconds).",
        f"Jobs ran in a box of tier {' and '.join(tiers)}.",
        "Intervals are 95 % over repeats; fewer than 10 decide nothing.",
    ]
    return " ".join(parts)


def _shape(study: MeasuredStudy) -> str:
    config, runs = study.config, study.runs
    settings, task = config.study, config.task
    seconds = task.planned_cpu_us / 1e6
    seeds = ", ".join(str(run.config.study.seed) for run in runs)
    start = ""
    if settings.start_trials:
        start = f", from a common start of {settings.start_trials} random trials"
    return (
        f"Arms: {', '.join(config.arms())}. Repeats of each: {len(runs) * settings.repeats}, in"
        f" {_count(len(runs), 'run')} of {settings.repeats}, seeds {seeds}. Planned:"
        f" {_count(settings.generations, 'generation')} of"
        f" {_count(settings.proposals, 'proposal')} on task {task.name}, {seconds:g} planned"
        f" CPU-seconds a training{start}. {_lived(study)}"
    )


def _count(number: int, name: str) -> str:
    return f"{number} {name}" if number == 1 else f"{number} {name}s"


def _lived(study: MeasuredStudy) -> str:
    """Return how many generations the campaigns began, of those planned for their arm."""
    settings = study.config.study
    counts: dict[str, list[str]] = {}
    for run in study.runs:
        for arm, repeat in run.campaigns:
            lived = f"{run.last_generation(arm, repeat)} of {settings.rounds(arm)[0]}"
            arms = counts.setdefault(lived, [])
            if arm not in arms:
                arms.append(arm)
    parts = [f"{lived} ({', '.join(arms)})" for lived, arms in counts.items()]
    return f"Lived by the campaigns: {'; '.join(parts) or 'none has begun'}."


def _confirmation(study: MeasuredStudy) -> str:
    config = study.config
    goal = config.objective
    return (
        "Every proposal is trained once and scored on feedback; the best of a generation is"
        " confirmed on split confirm in pairs with the champion under shared seeds, at most"
        f" {config.study.confirm_replicates} pairs, by rule {config.rules()}, minimum effect"
        f" {goal.minimum_effect:g} on {goal.metric} ({goal.scale}), alpha {goal.alpha:g} per"
        f" campaign shared by {config.confirmations()} confirmations."
    )


def _closing(settings: Study) -> str:
    pairs = settings.final_replicates
    if not pairs:
        return "No closing look."
    return f"The closing look pairs champion and baseline on {pairs} fresh seeds."


def _comparison(settings: Study) -> str:
    if settings.plan_trainings:
        return (
            f"Every campaign was given {settings.plan_trainings} trainings of planned compute and"
            " arms are compared when it is used"
        )
    return (
        "Generations alone ended campaigns, so arms are compared at their ends; if one ended early,"
        " at the most planned compute that all of them spent"
    )


def _looks(study: MeasuredStudy) -> str:
    parts = []
    for split in study.summaries[0]["looks"]:
        cells = [summary["looks"][split] for summary in study.summaries]
        spent, limit = (sum(cell[side] for cell in cells) for side in ("spent", "limit"))
        parts.append(f"{split} {spent} of {limit}")
    return "; ".join(parts)


def _deviations(run: Run, number: int, index: Index) -> Iterator[Deviation]:
    """Yield each departure from the registered study: an amendment, an order, a denial ..."""
    config = next(facts_of(run.entries, StudyEntry)).config
    for entry in run.entries:
        if entry.kind == AmendedEntry.kind:
            amended = cast(AmendedEntry, entry.fact)
            row = (entry.time[:19], *_amendment(config, amended))
            config = amended.config
            yield row, index.entry(number, entry.sequence, "amendment")
        elif entry.kind in DEPARTURES:
            row = (entry.time[:19], *_departure(entry.fact))
            yield row, index.entry(number, entry.sequence, entry.kind)
    whys = [fact.reason for fact in facts_of(run.entries, DecisionEntry) if not fact.allow]
    denied, reasons = len(whys), "; ".join(list(dict.fromkeys(whys))[:REASONS])
    if denied:
        what = "1 request was denied" if denied == 1 else f"{denied} requests were denied"
        row = ("", what, "gates and reviewers", reasons)
        yield row, index.of("decision", number)
    lost = sum(fact.result.status == "box" for fact in facts_of(run.entries, JobEntry))
    if lost:
        row = ("", f"{lost} jobs were lost by the box and charged", "", "")
        yield row, index.of("job", number)


def _amendment(config: Config, amended: AmendedEntry) -> tuple[str, str, str]:
    changes = [
        f"{setting}: {old or 'nothing'} to {new or 'nothing'}"
        for setting, old, new in list_changes(plain(config), plain(amended.config))
    ]
    return f"amended: {', '.join(changes) or 'reviewers'}", ", ".join(amended.by)[:60], ""


def _departure(fact: Fact) -> tuple[str, str, str]:
    """Return (what, who, why) of an interruption, an order, a recall or a drill."""
    match fact:
        case PauseEntry(exit_code=exit_code, reason=reason):
            return f"interrupted: {describe_ending(exit_code)}", "", reason
        case ControlEntry(what=order, who=who, why=why):
            return f"order: {order}", who, why
        case RecallEntry(plans=plans, who=who, why=why):
            return f"recalled {len(plans)} plans", who, why
        case DrillEntry(who=who):
            return "drill", who, ""
    raise AssertionError(fact.kind)
