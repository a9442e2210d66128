"""The first screen: what was asked, what happened, and what came of it, in a few sentences.

Every sentence stands in its section too, with the tables behind it.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from loop.report.shape import Line, Report

MOST = 4
"""Sentences of a part; the section has the others."""
GOAL = "Better means"
"""Begin of the sentence with the objective."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShortPart:
    """A part of the first screen."""

    title: str
    "the question that it answers"
    section: str
    "name of the section with the whole"
    lines: tuple[Line, ...]
    "its sentences"
    more: int = 0
    "sentences that the section has besides"


def sum_up(report: Report) -> list[ShortPart]:
    """Return the parts of the first screen; a part without sentences is left out."""
    lines = {section.name: section.lines for section in report.sections}
    asked = [line for line in lines.get("asked", ()) if GOAL in line.text]
    answer = [*lines.get("believed", ()), *_list_doubts(lines.get("unbelieved", ()))]
    happened = sorted(lines.get("happened", ()), key=lambda line: not line.warn)
    warned = [line for line in lines.get("allowed", ()) if line.warn]
    parts = [
        _cut("Asked", "asked", asked),
        _cut("Happened", "happened", happened),
        _cut("Answer", "believed", answer),
        _cut("Caution", "allowed", warned),
    ]
    return [part for part in parts if part.lines]


def _list_doubts(lines: tuple[Line, ...]) -> Iterator[Line]:
    """Yield the first doubt, and those that warn."""
    for number, line in enumerate(lines):
        if number == 0 or line.warn:
            yield line


def _cut(title: str, section: str, lines: list[Line]) -> ShortPart:
    more = max(0, len(lines) - MOST)
    return ShortPart(title=title, section=section, lines=tuple(lines[:MOST]), more=more)
