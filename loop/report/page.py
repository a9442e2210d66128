"""report.html from a report's records: a page for a screen, a phone and paper, light and dark.

The page runs and loads nothing. Its markup stands in `templates/report.html`.
"""

import urllib.parse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from markupsafe import Markup

from loop.report.figures import FIGURES, draw
from loop.report.kinds import TABLES
from loop.report.markup import render
from loop.report.rows import Grid, choose_rows, csv_text, lay_out
from loop.report.shape import QUESTIONS, SECTIONS, Answer, Cited, Line, Report, Section, Table
from loop.report.short import sum_up

BESIDE = {"trials": "scores", "ends": "gains"}
"""Table -> the figure that it is drawn in too."""
ELSEWHERE = ("trials", "outcome")
"""Tables that are drawn in another figure, or on the first screen."""
CSV_ROWS = 3000
"""Rows of a figure's CSV on the page."""
LONG = 30
"""Rows above which a table stands folded."""
LONGEST = 100
"""The same for the truth of a table, for which such a study is run."""
SHORT = 12
"""The same for the tables of FOLDED."""
FOLDED = frozenset(
    {
        "accounts",
        "deviations",
        "efficiency",
        "incidents",
        "missing",
        "plans",
        "promise",
        "retention",
        "signed",
        "stages",
        "task",
    }
)
"""Tables that few readers need."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Download:
    """A link with a table as CSV."""

    name: str
    "name of the table"
    address: str
    "the CSV, as a data address"
    more: str
    "how many rows it leaves out"


@dataclass(frozen=True, slots=True, kw_only=True)
class TableView:
    """A table as the page shows it."""

    title: str
    "heading"
    note: str
    "how to read it"
    rows: int
    "rows of the whole table"
    grid: Grid
    "rows on the page"
    folded: bool
    "whether the rows stand folded; below a figure: whether they stand there at all"
    svg: str = ""
    "the figure as markup; empty: there is none"
    downloads: tuple[Download, ...] = ()
    "the figure's data"
    files: tuple[tuple[Any, ...], ...] = ()
    "the study's own files, where the table is of them"


@dataclass(frozen=True, slots=True, kw_only=True)
class SectionView:
    """A section as the page shows it."""

    name: str
    "place on the page"
    title: str
    "heading"
    lines: tuple[Line, ...]
    "sentences"
    tables: tuple[TableView, ...]
    "tables and figures"


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerView:
    """A question of the first screen, with its answer."""

    title: str
    "the question"
    section: str
    "name of the section with the whole answer"
    lines: tuple[Line, ...]
    "sentences"


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryView:
    """An entry, or a span of entries."""

    text: str
    "sequence and kind, or first and last sequence"
    pin: str = ""
    "start of its hash"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunView:
    """The entries of a run, as the page lists them."""

    name: str
    "number of the run, where there are several"
    entries: tuple[EntryView, ...]
    "entries"


@dataclass(frozen=True, slots=True, kw_only=True)
class CitedView:
    """A set of entries as the page lists it."""

    name: str
    "its name"
    title: str
    "kind of entries, and their number"
    runs: tuple[RunView, ...]
    "entries by run"


def page(report: Report) -> str:
    """Return a report as an HTML page."""
    many = len({run for cited in report.evidence.values() for run, _, _ in cited.spans}) > 1
    linked = set(_linked_plans(report))
    evidence, plans = list[CitedView](), list[CitedView]()
    for name, cited in report.evidence.items():
        if not name.startswith("plan "):
            evidence.append(view_cited(name, cited, many))
        elif name in linked:
            plans.append(view_cited(name, cited, many))
    sections = [section for section in report.sections if section.lines or section.tables]
    first = sum_up(report)
    return render(
        "report.html",
        title=f"Heirloop: {report.title}",
        report=report,
        goal=first.goal,
        answers=[_view_answer(answer) for answer in first.answers],
        figure=_view_first(report, first.figure),
        sections=[_view_section(section) for section in sections],
        evidence=evidence,
        plans=plans,
    )


def _view_answer(answer: Answer) -> AnswerView:
    question = QUESTIONS[answer.question]
    return AnswerView(title=question.title, section=question.section, lines=answer.lines)


def _view_first(report: Report, tables: Sequence[Table]) -> TableView | None:
    """Return the figure of the first screen; None where there is nothing to draw."""
    if not tables:
        return None
    every = [table for section in report.sections for table in section.tables]
    arms = sorted({row[0] for table in every if table.name == "arms" for row in table.rows})
    view = view_table(tables[0], arms, tables[1] if len(tables) > 1 else None)
    return replace(view, folded=False) if view.svg else None


def _view_section(section: Section) -> SectionView:
    beside = {(BESIDE[t.name], t.study): t for t in section.tables if t.name in BESIDE}
    arms = {t.study: sorted({r[0] for r in t.rows}) for t in section.tables if t.name == "arms"}
    views = []
    for table in section.tables:
        if table.name not in ELSEWHERE:
            other = beside.get((table.name, table.study))
            views.append(view_table(table, arms.get(table.study, []), other))
    return SectionView(
        name=section.name,
        title=SECTIONS[section.name],
        lines=section.lines,
        tables=tuple(views),
    )


def view_table(table: Table, arms: Sequence[str], other: Table | None = None) -> TableView:
    kind = TABLES[table.name]
    title = f"{kind.title}: {table.study}" if table.study else kind.title
    drawn = [table, other] if other else [table]
    svg = draw(drawn, arms) if table.name in FIGURES else ""
    down = table.unit.endswith("lower is better") and not svg
    return TableView(
        title=title,
        note=f"{kind.note} Scores on feedback: {table.unit}.".strip() if down else kind.note,
        rows=len(table.rows),
        grid=lay_out(table),
        folded=_needs_table(table) if svg else _is_folded(table),
        svg=Markup(svg) if svg else "",
        downloads=tuple(map(_link_csv, drawn)) if svg else (),
        files=table.rows if table.name == "files" else (),
    )


def _needs_table(table: Table) -> bool:
    """Tell whether a figure leaves out words or counts."""
    if table.columns[-1] != "reads":
        return table.name in ("funnel", "proposers")
    return any(isinstance(row[-1], str) and row[-1] for row in table.rows)


def _is_folded(table: Table) -> bool:
    limit = SHORT if table.name in FOLDED else LONGEST if table.name == "truth" else LONG
    return len(table.rows) > limit or (table.name == "oversight" and bool(table.study))


def _link_csv(table: Table) -> Download:
    rows = len(table.rows)
    return Download(
        name=table.name,
        address=f"data:text/csv;charset=utf-8,{urllib.parse.quote(csv_text(table, CSV_ROWS))}",
        more=f", the first {CSV_ROWS} of {rows} rows" if rows > CSV_ROWS else "",
    )


def _linked_plans(report: Report) -> Iterator[str]:
    """Yield the sets of single plans with a link on the page."""
    for section in report.sections:
        for table in section.tables:
            if table.name == "plans":
                rows = list(zip(table.rows, table.ledger, strict=True))
                yield from (ledger for _, ledger in choose_rows(table, rows))


def view_cited(name: str, cited: Cited, many: bool) -> CitedView:
    runs: dict[int, list[EntryView]] = {}
    for run, sequence, kind, pin in cited.listed:
        runs.setdefault(run, []).append(EntryView(text=f"{sequence} {kind}", pin=pin))
    for run, first, last in () if cited.listed else cited.spans:
        text = f"{first} to {last}" if last > first else str(first)
        runs.setdefault(run, []).append(EntryView(text=text))
    return CitedView(
        name=name,
        title=f"{cited.what}, {cited.entries}",
        runs=tuple(
            RunView(name=f"run {run}: " if many else "", entries=tuple(entries))
            for run, entries in runs.items()
        ),
    )
