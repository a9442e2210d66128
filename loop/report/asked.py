"""Section `asked`: objective, runs, task and shape, budget."""

from collections.abc import Iterator
from dataclasses import Field, fields
from typing import Any

from configs.entries import ControlEntry, PauseEntry
from configs.errors import BudgetExhausted, VerificationFailed
from configs.reader import written_fields
from loop.facts.summary import STAND_INS
from loop.instruments.run import Run
from loop.report.evidence import Index
from loop.report.shape import Line, Part, table
from loop.report.study import MeasuredStudy

RESOURCES: dict[str, tuple[str, float]] = {
    "cpu_us": ("CPU-seconds", 1e6),
    "wall_us": ("wall seconds of jobs", 1e6),
    "jobs": ("jobs", 1),
    "output_bytes": ("MiB", 2**20),
    "tokens": ("tokens", 1),
    "money_micros": ("units of money", 1e6),
    "looks": ("looks", 1),
    "gpu_us": ("GPU-seconds", 1e6),
}
"""Resource -> its unit on the page, and the size of that unit."""
ENDINGS: dict[int, str] = {
    BudgetExhausted.exit_code: "a limit of the budget ended it",
    3: "it waited for people",
    5: "it was paused or stopped",
    VerificationFailed.exit_code: "it found broken records",
}
"""Exit code of a pause -> its reason in words."""


def describe_asked(study: MeasuredStudy, index: Index, name: str) -> Part:
    """Return the section's sentences and tables of a study."""
    root = index.of("study")
    lines = [Line(text=text, ledger=root) for text in study.summaries[0]["objective"]["text"]]
    sessions = [
        index.of("session", number) or index.entry(number, 1, "study root")
        for number in study.numbers
    ]
    return lines, [
        table("runs", _runs(study), sessions, name),
        table("task", _task(study), root, name),
        table("budget", _budget(study), index.of("account"), name),
    ]


def describe_ending(exit_code: int) -> str:
    """Return in words why a study paused."""
    return ENDINGS.get(exit_code, "it failed")


def _runs(study: MeasuredStudy) -> Iterator[tuple[Any, ...]]:
    for place, (run, summary) in enumerate(zip(study.runs, study.summaries, strict=True)):
        proof = f", proved {summary['proved']}" if summary["proved"] else ", not proved"
        if summary["box"] in STAND_INS:
            proof = ""
        yield (
            study.name,
            study.numbers[place],
            study.folders[place].name,
            run.config.study.seed,
            describe_state(study.runs[place]),
            f"{summary['tier']}{proof}",
            summary["entries"],
            summary["jobs"],
            round(summary["wall_seconds"], 1),
            summary["root"][:12],
        )


def describe_state(run: Run) -> str:
    """Return how a run stands, such as `ended` or `interrupted: it waited for people`."""
    if run.facts.closed:
        return "ended"
    for entry in reversed(run.entries):
        if entry.kind in (PauseEntry.kind, ControlEntry.kind):
            match entry.fact:
                case ControlEntry(what=order):
                    return f"not ended: order {order}"
                case PauseEntry(exit_code=exit_code):
                    return f"interrupted: {describe_ending(exit_code)}"
    return "not ended"


def _task(study: MeasuredStudy) -> Iterator[tuple[str, Any]]:
    """Yield the task's name, the study's shape, and the task's settings beside its defaults."""
    config = study.config
    yield "task", config.task.name
    for name in written_fields(config.study) or ():
        if name not in ("name", "seed"):
            yield f"study.{name}", _short(getattr(config.study, name))
    for field in fields(config.task):
        if field.name not in ("name", "cost", "baseline") and _is_set(config.task, field):
            yield f"task.{field.name}", _short(getattr(config.task, field.name))


def _is_set(task: Any, field: "Field[Any]") -> bool:
    return bool(getattr(task, field.name) != field.default)


def _short(value: Any) -> Any:
    if isinstance(value, tuple):
        return ", ".join(map(str, value))
    if isinstance(value, bool):
        return "yes" if value else "no"
    return value


def _budget(study: MeasuredStudy) -> Iterator[tuple[Any, ...]]:
    for resource, (unit, size) in RESOURCES.items():
        roots = [summary["accounts"]["root"] for summary in study.summaries]
        cells = [root[resource] for root in roots if resource in root]
        limit, spent = (sum(cell[side] for cell in cells) / size for side in ("limit", "spent"))
        if limit or spent:
            yield resource.rsplit("_", 1)[0], limit, spent, unit
