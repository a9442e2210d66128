"""How is a report put together? Section by section, study by study, each sentence once."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from loop.instruments.arm import WITHOUT
from loop.instruments.run import Run
from loop.report.allowed import describe_allowed
from loop.report.answers import answer
from loop.report.asked import describe_asked
from loop.report.believed import describe_believed
from loop.report.evidence import Index
from loop.report.happened import describe_happened
from loop.report.measures import interval
from loop.report.methods import describe_methods
from loop.report.outcome import tabulate_outcomes
from loop.report.shape import QUESTIONS, Answer, Line, Part, Report, Section, Table, table
from loop.report.study import MeasuredStudy, differs

COUNTED = {
    "everything": "yield",
    "without proposing and oversight": f"yield{WITHOUT}",
}
"""Compute that an efficiency counts -> figure of the instruments."""


def report(studies: Sequence[MeasuredStudy]) -> Report:
    """Return the whole report of the studies."""
    index = _index(studies)
    many = len(studies) > 1
    lines, tables = dict[str, list[tuple[str, Line]]](), dict[str, list[Table]]()
    if many:
        heads = ("setting", *(study.name for study in studies))
        differences = table("differs", differs(studies), index.of("study"), columns=heads)
        tables["asked"] = [differences]
    for study in studies:
        name = study.name if many else ""
        for section, (sentences, parts) in _describe(study, index, name).items():
            lines.setdefault(section, []).extend((name, line) for line in sentences)
            tables.setdefault(section, []).extend(parts)
    tables["happened"].insert(0, tabulate_outcomes(studies, index))
    if many:
        tables["happened"].append(table("budgets", _budgets(studies), index.of("settle")))
    sections = [
        Section(
            name=name,
            lines=tuple(_once(lines[name], len(studies))),
            tables=tuple(part for part in tables[name] if part.rows),
        )
        for name in tables
    ]
    return Report(
        title=_title(studies),
        studies=tuple(study.name for study in studies),
        answers=tuple(_answers(studies, index, tables["believed"])),
        sections=tuple(sections),
        evidence=index.cited,
        instruments={study.name: study.figures for study in studies},
    )


def _index(studies: Sequence[MeasuredStudy]) -> Index:
    """Return the index of all runs, in the order of their numbers."""
    runs = dict[int, Run]()
    for study in studies:
        runs |= dict(zip(study.numbers, study.runs, strict=True))
    return Index([runs[number] for number in sorted(runs)])


def _title(studies: Sequence[MeasuredStudy]) -> str:
    if len(studies) > 1:
        return f"{len(studies)} studies side by side"
    runs = len(studies[0].runs)
    return f"Study {studies[0].name}" + (f", {runs} runs" if runs > 1 else "")


def _describe(study: MeasuredStudy, index: Index, name: str) -> dict[str, Part]:
    """Return the sections of a study, in the page's order."""
    # The index cites sets in the order of these calls, and the page lists them so.
    believed, unbelieved = describe_believed(study, index, name)
    return {
        "asked": describe_asked(study, index, name),
        "allowed": describe_allowed(study, index, name),
        "happened": describe_happened(study, index, name),
        "believed": believed,
        "unbelieved": unbelieved,
        "methods": describe_methods(study, index, name),
    }


def _answers(
    studies: Sequence[MeasuredStudy], index: Index, tables: Sequence[Table]
) -> Iterator[Answer]:
    """Yield the questions of the first screen with their answers; of several studies the first
    sentence of each, and those that warn.
    """
    many = len(studies) > 1
    truth = {table.study: table for table in tables if table.name == "truth"}
    told = {
        study.name: answer(study, index, truth.get(study.name if many else "")) for study in studies
    }
    for question in QUESTIONS:
        lines = [
            (name if many else "", line)
            for name, answers in told.items()
            for number, line in enumerate(answers[question])
            if not many or number == 0 or line.warn
        ]
        yield Answer(question=question, lines=tuple(_once(lines, len(studies))))


def _once(lines: Sequence[tuple[str, Line]], studies: int) -> Iterator[Line]:
    """Yield each sentence with its study's name; a sentence of all studies once and without."""
    count = Counter(line.text for _, line in lines)
    common = set[str]()
    for name, line in lines:
        if count[line.text] < studies or studies == 1:
            yield replace(line, text=f"{name}: {line.text}" if name else line.text)
        elif line.text not in common:
            common.add(line.text)
            yield line


def _budgets(studies: Sequence[MeasuredStudy]) -> Iterator[tuple[Any, ...]]:
    """Yield the efficiency of every arm, studies by the compute of a campaign.

    There is nothing to compare where gains have no common unit or budgets do not differ.
    """
    closed = [study for study in studies if study.closed]
    seconds = {study.name: study.figures["equal plan, CPU-seconds"] for study in closed}
    smallest = min(seconds.values(), default=0)
    if len(set(seconds.values())) < 2 or not smallest or not _comparable(studies):
        return
    for study in sorted(closed, key=lambda study: seconds[study.name]):
        spent = seconds[study.name]
        for arm, figures in study.figures["arms"].items():
            for counted, name in COUNTED.items():
                cells = interval(study, figures[name])
                yield (study.name, round(spent / smallest, 2), spent, arm, counted, *cells)


def _comparable(studies: Sequence[MeasuredStudy]) -> bool:
    first = studies[0].config
    return all(
        (study.config.task, study.config.objective) == (first.task, first.objective)
        for study in studies
    )
