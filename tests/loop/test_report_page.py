"""The page: it stands alone, nothing in it acts, and it stays small on a long ledger."""

import inspect
import re
from dataclasses import fields
from pathlib import Path

import pytest
from fakes import longer
from reports import Tags, play_two_arms, read_report, rows_of

from configs.entries import (
    PlanEntry,
    ScoreEntry,
    facts_of,
)
from loop.export.columns import field_texts
from loop.report import make, study
from loop.report.figures import FIGURES, draw
from loop.report.kinds import TABLES
from loop.report.page import page
from loop.report.rows import csv_text, number
from loop.report.shape import SECTIONS, Answer, Cited, Line, Report, Section, Table, table
from loop.report.tell import report
from sandbox import control, incident
from sandbox.ledger import Ledger

HOSTILE = (
    "<script>alert(1)</script><img src=x onerror=alert(2)>'\"]]>&amp;\x1b[2J\u202e=cmd|' /C"
    " calc'!A0"
)


@pytest.fixture
def done(tmp_path, go, copied):
    """A finished study; the folder of its run."""
    copied(lambda folder: make.again(play_two_arms(folder, go)))
    return tmp_path / "runs" / "t"


def test_the_page_stands_alone_and_every_number_leads_to_ledger_entries(done):
    source = (done / "report.html").read_text()
    tags = Tags(source)
    assert (
        not tags.seen & {"script", "link", "img", "iframe", "object", "embed", "form", "base"}
        and "svg" in tags.seen
    )
    assert {one.partition(":")[0] for one in tags.loads} == {"data"} and not re.search(
        r"url\((?!#)|@import", source
    )
    assert set(tags.links) <= set(tags.ids) and len(tags.links) > 100
    bare = re.findall(
        r"<tr>(?:(?!</tr>).)*?<td class=n>(?!<a )", source
    )  # numbers without entries: what stands beside is no run
    assert bare and all("beside: " in one for one in bare)
    assert (
        len(source) < 3_000_000
        and "prefers-color-scheme:dark" in source
        and "@media print" in source
    )


def test_every_section_is_there_and_every_figure_has_its_data_beside_it(done):
    source, found = (done / "report.html").read_text(), read_report(done)
    assert [s.name for s in found.sections] == list(SECTIONS) and all(
        f"<h2 id={name}>{title}</h2>" in source for name, title in SECTIONS.items()
    )
    names = {t.name for s in found.sections for t in s.tables}
    assert {
        "scores",
        "gains",
        "lineage",
        "burn",
        "funnel",
        "rungs",
        "automation",
        "stages",
        "decisions",
        "arms",
        "looks",
        "rules",
        "budget",
    } <= names
    assert not names & {"factory", "accords"}  # this study has neither
    drawn = {name for name in FIGURES if f'class="{name}"' in source}
    # No proposer of these arms predicts a gain or reads a notebook, no change is taken back, and
    # nobody writes a generation up.
    absent = {"calibration", "proposers", "ablation", "replicates", "review"}
    assert drawn == set(FIGURES) - absent
    assert all(f"download='{name}.csv'" in source for name in drawn)
    assert source.count("<svg ") == len(drawn) and source.count("<text") > 50  # text stays text


@pytest.mark.parametrize("honest", [True, False])
def test_what_others_wrote_is_text_on_the_page(done, monkeypatch, honest):
    """A failed training's reason, an order's, an incident's title. With its ablation: without the
    escape the page holds a script.
    """
    book = Ledger.at(done)
    plans = [e for e in facts_of(book.entries(), PlanEntry) if e.plan.purpose == "candidate"]
    plan = plans[-1].digest
    book.append(
        ScoreEntry(plan=plan, role="predict", index=99, scores=None, reason=HOSTILE, nearest=None)
    )
    control.order(book, "pause", HOSTILE[:100], HOSTILE)
    with book.transaction() as txn:
        incident.report(txn, HOSTILE)
    if not honest:
        monkeypatch.setattr("loop.report.markup.AUTOESCAPE", False)
    make.again(done)
    source, found = (done / "report.html").read_text(), read_report(done)
    assert (
        bool({"script", "img"} & Tags(source).seen if honest else "<script>" in source)
        is not honest
    )
    assert (
        "\x1b" not in source
        and "\u202e" not in source
        and source.count("&lt;script&gt;") == (4 if honest else 0)
    )
    assert (
        rows_of(found, "deviations")[0][2:] == (HOSTILE[:100], HOSTILE)
        and rows_of(found, "incidents")[0][1] == HOSTILE
    )
    assert HOSTILE in "".join(r[8] for r in rows_of(found, "plans"))


def test_a_cell_that_a_spreadsheet_would_run_is_quoted():
    made = table("deviations", [("", "=1+1", "@x", "plain")], "")
    assert csv_text(made, 10).splitlines()[1] == ",'=1+1,'@x,plain,"


def test_a_long_ledger_is_read_once_and_its_page_stays_small(done, tmp_path, monkeypatch):
    """The entries are handed out as often however long the ledger is, so never once per plan, arm
    or campaign.
    """
    lengths, counts, sizes = [], [], []
    for factor in (4, 16):
        folder = longer(
            done,
            tmp_path / f"long-{factor}",
            factor * len(Ledger.at(done).entries()),
        )
        handed, real = list[int](), Ledger.entries_by

        def counted(self, *a, real=real, handed=handed):
            found = real(self, *a)
            handed.append(len(found))
            return found

        monkeypatch.setattr(Ledger, "entries_by", counted)
        make.again(folder)
        monkeypatch.setattr(Ledger, "entries_by", real)
        lengths.append(max(handed))
        counts.append(len(handed))
        sizes.append((folder / "report.html").stat().st_size)
    assert lengths[1] > 3 * lengths[0] and counts[0] == counts[1] <= 12 and sizes[1] < 3_000_000
    found = read_report(tmp_path / "long-16")
    assert sum(a[2] for a in rows_of(found, "funnel")) > 10 * sum(
        a[2] for a in rows_of(read_report(done), "funnel")
    )


@pytest.mark.parametrize("name", ["scores", "gains", "lineage"])
def test_a_figure_of_ten_thousand_generations_stays_small(name):
    made = {
        "scores": [("a", g, 0.5, 0.4, 0.6, 10) for g in range(10_000)],
        "gains": [("a", float(g), 0.5, 0.4, 0.6, 10, "") for g in range(10_000)],
        "lineage": [
            ("a", 0, g, f"p{g}", f"p{g - 1}", "accepted" if g % 100 == 0 else "no effect", 0.5)
            for g in range(10_000)
        ],
    }
    drawn = draw([table(name, made[name], "", unit="exact_match")])
    assert 5_000 < len(drawn) < 300_000


@pytest.mark.parametrize("interval", [(None, None), (0.2, 0.8)])
def test_gains_of_many_arms_are_drawn_in_a_panel_each(interval):
    rows = [(arm, float(x), 0.5, *interval, 10, "") for arm in "abcdefg" for x in (1, 2, 3)]
    few, many = (draw([table("gains", rows[:n], "", unit="log-odds")]) for n in (12, 21))
    assert (
        few.count("<clipPath ") == 1
        and many.count("<clipPath ") == 7
        and all(f">{arm}<" in many for arm in "abcdefg")
    )


def test_numbers_are_written_as_people_read_them():
    assert [number(v) for v in (3, 3.0, 0.123456, 1234.5678, 123456.7, -0.5)] == [
        "3",
        "3",
        "0.1235",
        "1235",
        "123457",
        "-0.5",
    ]


def test_a_page_is_made_of_its_records_alone(done):
    assert page(read_report(done)) == (done / "report.html").read_text()
    assert page(report(study.read_runs([done]))) == (done / "report.html").read_text()


DOC = Path(__file__).parents[2] / "docs" / "report.md"


def reference():
    """The part of docs/report.md that follows from the code."""
    parts = []
    for kind in (Report, Answer, Section, Line, Table, Cited):
        kinds, meant = inspect.get_annotations(kind), field_texts(kind)
        told = {
            f.name: (
                inspect.formatannotation(kinds[f.name])
                .replace("loop.report.shape.", "")
                .replace("typing.", "")
            )
            for f in fields(kind)
        }
        lines = [f"| `{name}` | `{one}` | {meant[name]} |" for name, one in told.items()]
        parts.append(
            f"**{kind.__name__}**\n\n| field | type | meaning |\n|---|---|---|\n" + "\n".join(lines)
        )
    lines = [
        f"| `{name}` | {k.title}{' (figure)' if k.figure else ''} | {'; '.join(k.columns)} |"
        for name, k in TABLES.items()
    ]
    return (
        "\n\n".join(parts) + "\n\n| table | title | columns |\n|---|---|---|\n" + "\n".join(lines)
    )


def test_the_documents_state_the_shape_that_the_code_has():
    assert reference() in DOC.read_text(), f"docs/report.md should hold:\n{reference()}"
