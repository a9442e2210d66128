"""The first screen: five questions, their answers in a sentence or two, and a figure.

A terminal shows the same answers without the figure.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from loop.report.shape import QUESTIONS, Answer, Report, Table

GOAL = "Better means"
"""Begin of the sentence with the objective."""
WITH_TRIALS = {"scores": "trials"}
"""Figure -> the table whose rows it draws as dots."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FirstScreen:
    """The first screen of a report."""

    goal: tuple[str, ...]
    "what counts as better, in the words of each study"
    answers: tuple[Answer, ...]
    "questions with their answers"
    figure: tuple[Table, ...]
    "tables that the figure is drawn from; empty: there is nothing to draw"


def sum_up(report: Report) -> FirstScreen:
    """Return the first screen of a report."""
    asked = [
        line for section in report.sections if section.name == "asked" for line in section.lines
    ]
    return FirstScreen(
        goal=tuple(line.text for line in asked if GOAL in line.text),
        answers=report.answers,
        figure=tuple(_choose_figure(report)),
    )


def write_answers(report: Report) -> Iterator[tuple[str, str]]:
    """Yield each question with its answer as a paragraph."""
    for answer in report.answers:
        yield QUESTIONS[answer.question].title, " ".join(line.text for line in answer.lines)


def _choose_figure(report: Report) -> Iterator[Table]:
    """Yield the gain at the end of each arm; before there is a gain, scores on feedback."""
    tables = [table for section in report.sections for table in section.tables]
    gained = [table for table in tables if table.name == "outcome" and _has_accepts(table)]
    scores = [table for table in tables if table.name == "scores"]
    for first in (gained or scores)[:1]:
        yield first
        for table in tables:
            if (table.name, table.study) == (WITH_TRIALS.get(first.name), first.study):
                yield table


def _has_accepts(table: Table) -> bool:
    place = table.columns.index("accepted")
    return any(row[place] for row in table.rows)
