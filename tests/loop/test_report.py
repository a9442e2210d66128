"""The report and the comparison of runs: what they hold, that they stand alone, that nothing in
them acts, and what they cost on a long ledger.
"""

import ast
import inspect
import itertools
import json
import re
import sqlite3
import textwrap
from dataclasses import fields, replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from click.testing import CliRunner
from fakes import FakeBox, chained, longer
from studies import better, config, mandate, publishing

from configs.build import parse
from configs.entries import (
    AmendedEntry,
    PauseEntry,
    PlanEntry,
    ScoreEntry,
    StudyEntry,
    facts_of,
)
from configs.errors import BadInput, VerificationFailed
from evals.arms import Gain
from loop.command import main
from loop.instruments.measure import measure_records
from loop.report import make, shape, study
from loop.report.figures import FIGURES, draw
from loop.report.kinds import TABLES
from loop.report.page import page
from loop.report.rows import csv_text, number
from loop.report.shape import SECTIONS, Cited, Line, Report, Section, Table, table
from loop.report.tell import report
from sandbox import control, incident
from sandbox.ledger import Ledger

DOC = Path(__file__).parents[2] / "docs" / "report.md"
HOSTILE = (
    "<script>alert(1)</script><img src=x onerror=alert(2)>'\"]]>&amp;\x1b[2J\u202e=cmd|' /C"
    " calc'!A0"
)


def play(tmp_path, go, name="t", *more, quality=better):
    cfg = config(
        tmp_path, f"study.name={name}", "study.generations=2", "study.arms=[local, random]", *more
    )
    mandate(cfg)
    go(cfg, FakeBox(quality), publishing)
    return tmp_path / "runs" / name


def cut(folder, kind):
    """Take the first entry of a kind and all that follow it from a ledger."""
    book = Ledger.file(folder / "ledger.sqlite")
    at = next(e.sequence for e in book.entries() if e.kind == kind)
    book.close()
    with sqlite3.connect(folder / "ledger.sqlite") as db:
        db.execute("delete from entries where sequence >= ?", (at,))


def told(folder):
    """report.json, read back through its own records."""
    return parse(Report, json.loads((folder / "report.json").read_text()))


def rows(found, name, study=""):
    return [
        row
        for s in found.sections
        for t in s.tables
        if (t.name, t.study) == (name, study)
        for row in t.rows
    ]


def text(found, section):
    return " ".join(one.text for s in found.sections if s.name == section for one in s.lines)


class Tags(HTMLParser):
    """What a browser would make of a page."""

    def __init__(self, source):
        super().__init__()
        self.seen, self.ids, self.links, self.loads = set(), [], [], []
        self.feed(source)

    def handle_starttag(self, tag, attrs):
        self.seen.add(tag)
        for name, value in attrs:
            assert not name.startswith("on"), (tag, name)
            if name == "id":
                self.ids.append(value)
            elif name in ("href", "xlink:href") and value.startswith("#"):
                self.links.append(value[1:])
            elif name in (
                "href",
                "xlink:href",
                "src",
                "srcset",
                "action",
                "data",
                "poster",
                "background",
            ):
                self.loads.append(value)


@pytest.fixture
def done(tmp_path, go, copied):
    """A finished study; the folder of its run."""
    copied(lambda folder: play(folder, go))
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
    source, found = (done / "report.html").read_text(), told(done)
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
    drawn = {name for name in FIGURES if f'class="{name}"' in source}
    assert drawn == set(FIGURES) - {"calibration"}  # no proposer of these arms predicts a gain
    assert all(f"download='{name}.csv'" in source for name in drawn)
    assert source.count("<svg ") == len(drawn) and source.count("<text") > 50  # text stays text


def test_report_json_is_what_its_records_say_and_holds_what_the_page_shows(done):
    found, book = told(done), Ledger.file(done / "ledger.sqlite").entries()
    assert (
        found.version == shape.VERSION
        and found.studies == ("t",)
        and found.instruments["t"]["runs"] == 1
    )
    for section in found.sections:
        for one in section.tables:
            assert (
                one.columns == TABLES[one.name].columns
                and len(one.ledger) == len(one.rows)
                and all(len(r) == len(one.columns) for r in one.rows)
            )
            assert all(at in found.evidence for at in one.ledger if at), one.name
        assert all(one.ledger in found.evidence for one in section.lines if one.ledger)
    for one in found.evidence.values():
        assert one.entries >= 1 and all(
            1 <= a <= b <= len(book) and run == 0 for run, a, b in one.spans
        )
        assert all(
            (book[at - 1].kind, book[at - 1].hash[:12]) == (kind, pin)
            for _, at, kind, pin in one.listed
        )
    accepted = next(r for r in rows(found, "plans") if r[6] == "accept")
    cited = {
        kind
        for s in found.sections
        for t in s.tables
        if t.name == "plans"
        for r, at in zip(t.rows, t.ledger, strict=True)
        if r == accepted
        for _, _, kind, _ in found.evidence[at].listed
    }
    assert {"plan", "score", "verdict", "decision"} <= cited
    broken = json.loads((done / "report.json").read_text()) | {"extra": 1}
    with pytest.raises(BadInput, match="unknown key extra"):
        parse(Report, broken)


def test_numbers_are_the_ledger_s(done):
    found, whole = told(done), json.loads((done / "summary.json").read_text())
    gates = {a["arm"]: a["gate"] or dict.fromkeys(("gain", "low", "high")) for a in whole["arms"]}
    assert {r[0]: r[5:8] for r in rows(found, "arms")} == {
        arm: (g["gain"], g["low"], g["high"]) for arm, g in gates.items()
    }
    root = whole["accounts"]["root"]["cpu_us"]
    assert rows(found, "burn")[-1][2] == pytest.approx((root["limit"] - root["spent"]) / 1e6)
    assert sum(r[2] for r in rows(found, "funnel")) == 2 * 2 * 2
    champions = {r[0]: r[2] for r in rows(found, "scores") if r[1] == 2}
    assert champions == {a["arm"]: a["feedback"]["champion"] for a in whole["arms"]}
    assert "alpha 0.05" in text(found, "methods") and "Nothing deviated" in text(found, "methods")
    assert "unattended mandate" in text(
        found, "allowed"
    ) and "is better than the baseline on gate" in text(found, "believed")


def test_what_is_not_known_is_said_in_words_and_never_as_a_number(done):
    found = told(done)
    missing = {(r[0], r[1]) for r in rows(found, "missing")}
    assert ("kappa", "not measured") in missing and ("self effect", "not measured") in missing
    assert all(r[2] == "cannot tell" or r[-1] for r in rows(found, "retention"))
    assert "amplifying, lossy, self-closed: not shown" in text(
        found, "unbelieved"
    ) and "may be called" not in text(found, "believed")
    assert not {r[0] for r in rows(found, "figures") if r[1] is None and r[2] is None}


@pytest.mark.parametrize("honest", [True, False])
def test_what_others_wrote_is_text_on_the_page(done, monkeypatch, honest):
    """A failed training's reason, an order's, an incident's title. With its ablation: without the
    escape the page holds a script.
    """
    book = Ledger.file(done / "ledger.sqlite")
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
    source, found = (done / "report.html").read_text(), told(done)
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
        rows(found, "deviations")[0][2:] == (HOSTILE[:100], HOSTILE)
        and rows(found, "incidents")[0][1] == HOSTILE
    )
    assert HOSTILE in "".join(r[8] for r in rows(found, "plans"))


def test_a_cell_that_a_spreadsheet_would_run_is_quoted():
    made = table("deviations", [("", "=1+1", "@x", "plain")], "")
    assert csv_text(made, 10).splitlines()[1] == ",'=1+1,'@x,plain,"


def test_a_study_that_has_not_ended_tells_rounded_feedback_and_nothing_of_gate(done):
    whole = told(done)
    cut(done, "end")
    make.again(done)
    found = told(done)
    assert any(r[5] is not None for r in rows(whole, "arms")) and not any(
        r[5] is not None for r in rows(found, "arms")
    )
    for name in ("gains", "rungs", "closing", "calibration", "promise"):
        assert not rows(found, name), name
    assert (
        rows(found, "scores")
        and rows(found, "funnel")
        and all(r[3] == round(r[3], 2) for r in rows(found, "trials"))
    )
    assert (
        "has not ended" in text(found, "happened")
        and "No gain" in text(found, "unbelieved")
        and rows(found, "runs")[0][4] == "not ended"
    )


def test_a_study_in_which_nothing_began_is_told_as_empty(done):
    cut(done, "plan")
    make.again(done)
    found = told(done)
    assert (
        "no campaign has begun" in text(found, "unbelieved")
        and not rows(found, "scores")
        and rows(found, "runs")[0][4] == "not ended"
    )
    assert "<svg" not in (done / "report.html").read_text()


def test_a_study_without_an_accept_gained_nothing_and_says_so(tmp_path, go):
    found = told(play(tmp_path, go, quality=lambda order: 0.5))
    assert "no change was accepted in any campaign" in text(
        found, "unbelieved"
    ) and "Nothing:" not in text(found, "unbelieved")
    assert {r[2] for r in rows(found, "gains")} == {0.0} and not any(
        r[5] is not None for r in rows(found, "arms")
    )


def test_what_deviated_is_told_with_its_entry(done):
    book = Ledger.file(done / "ledger.sqlite")
    control.order(book, "pause", "ada", "tea")
    book.append(PauseEntry(reason="a reservation passes the limit", exit_code=4))
    root = next(facts_of(book.entries(), StudyEntry))
    stricter = replace(root.config, objective=replace(root.config.objective, alpha=0.01))
    book.append(
        AmendedEntry(
            config=stricter,
            decided=root.decided,
            reviewers=root.reviewers,
            version=2,
            amendment="0" * 64,
            by=("ada",),
        )
    )
    make.again(done)
    found = told(done)
    assert [r[1:] for r in rows(found, "deviations")] == [
        ("order: pause", "ada", "tea"),
        ("interrupted: a limit of the budget ended it", "", "a reservation passes the limit"),
        ("amended: objective.alpha: 0.05 to 0.01", "ada", ""),
    ]
    assert "Nothing deviated" not in text(found, "methods")
    cut(done, "end")
    Ledger.file(done / "ledger.sqlite").append(PauseEntry(reason="spent", exit_code=4))
    make.again(done)
    assert "nothing here is claimed to be reproducible" in text(told(done), "methods")


def other(done, name, group, field, value):
    """The same run under a root in which one setting has another value, as a ledger beside it."""
    root, *rest = [
        (e.kind, json.loads(json.dumps(e.body)))
        for e in Ledger.file(done / "ledger.sqlite").entries()
    ]
    root[1]["config"]["study"]["name"], root[1]["config"][group][field] = name, value
    return chained(done.parent / name, [root, *rest], "2026-01-01T00:00:00.000+00:00")


def test_seeds_of_one_study_are_compared_as_repeats_with_intervals(done, tmp_path):
    folders = [done, *(other(done, f"seed-{i}", "study", "seed", i) for i in (2, 3))]
    done = CliRunner().invoke(
        main.cli,
        ["compare", *map(str, folders), "--to", str(tmp_path / "out")],
        catch_exceptions=False,
    )
    found = told(tmp_path / "out")
    assert (
        done.exit_code == 0
        and "3 runs of 1 studies" in done.output
        and found.studies == ("t",)
        and not rows(found, "differs")
    )
    assert (
        len(rows(found, "runs")) == 3
        and {r[5] for r in rows(found, "scores")} == {3}
        and all(r[3] is not None for r in rows(found, "scores"))
    )
    assert found.instruments["t"]["arms"]["local"]["gain"]["n"] == 3
    assert {run for one in found.evidence.values() for run, _, _ in one.spans} == {0, 1, 2}
    tags = Tags((tmp_path / "out" / "report.html").read_text())
    assert set(tags.links) <= set(tags.ids)


def test_different_studies_stand_side_by_side_and_what_differs_is_named(done, tmp_path):
    found = make.compare(
        [done, other(done, "other", "task", "planned_cpu_us", 900_000)], tmp_path / "out"
    )
    assert found.studies == ("t", "other") and found.title == "2 studies side by side"
    differs = {r[0]: r[1:] for r in rows(found, "differs")}
    assert differs == {"task.planned_cpu_us": ("2500000", "900000")}
    assert rows(found, "funnel", "t") == rows(found, "funnel", "other") and not rows(
        found, "funnel"
    )
    asked, methods = text(found, "asked"), text(found, "methods")
    assert (
        asked.count("Better means") == 1
        and "t: Better" not in asked
        and methods.count("t: Arms: ") == methods.count("other: Arms: ") == 1
    )
    source = (tmp_path / "out" / "report.html").read_text()
    assert "Funnel: other" in source and set(Tags(source).links) <= set(Tags(source).ids)


def test_gains_are_drawn_at_the_same_budgets_over_all_repeats(done):
    whole = study.read_runs([done])[0]
    gains = tuple(
        Gain(
            arm="local",
            repeat=r,
            generation=g,
            planned_cpu_us=g * 10**6,
            value=g + r,
            allotted_cpu_us=4 * 10**6,
        )
        for r, last in ((0, 2), (1, 3))
        for g in range(1, last + 1)
    )
    records = replace(whole.records, gains=gains)
    found = report(
        [replace(whole, records=records, figures=study.finite(measure_records(records)))]
    )
    drawn = {r[1]: r[2:] for r in rows(found, "gains")}
    assert [drawn[at][0] for at in (1.0, 2.0, 3.0, 4.0)] == [
        1.5,
        2.5,
        3.0,
        3.0,
    ]  # who ended early stands where it ended
    assert {r[3] for r in drawn.values()} == {2} and drawn[min(drawn)][0] == 0
    assert "Verified gain at equal planned compute" in page(found)


def test_efficiency_stands_by_budget_where_gains_have_one_unit(done, tmp_path, go):
    short, longer = (
        play(tmp_path, go, name, "study.repeats=2", f"study.generations={n}")
        for name, n in (("short", 2), ("longer", 4))
    )
    found = rows(make.compare([longer, short], tmp_path / "out"), "budgets")
    assert (
        [r[0] for r in found] == ["short"] * 4 + ["longer"] * 4
        and {r[1] for r in found[:4]} == {1.0}
        and 1.2 < found[4][1] == found[7][1]
    )
    assert {(r[3], r[4]) for r in found} == {
        (a, c)
        for a in ("local", "random")
        for c in ("everything", "without proposing and oversight")
    }
    told = study.read_runs([longer])[0].figures["arms"]
    for arm, key, row in (
        ("local", "yield", found[4]),
        ("local", "yield without oversight and proposing", found[5]),
    ):
        assert row[5] == told[arm][key]["value"] > 0
    assert not rows(
        make.compare(
            [done, other(done, "other", "task", "planned_cpu_us", 900_000)], tmp_path / "out"
        ),
        "budgets",
    )


def test_what_cannot_be_compared_or_reported_is_refused(done, tmp_path):
    missing = tmp_path / "nowhere"
    for verb in ("report", "compare"):
        with pytest.raises(VerificationFailed, match="there is no ledger"):
            CliRunner().invoke(
                main.cli, [verb, str(missing)], catch_exceptions=False, standalone_mode=False
            )
    with pytest.raises(BadInput, match="name each run once"):
        make.compare([done, done], tmp_path / "out")
    with pytest.raises(BadInput, match="a run, whose own report would be lost"):
        make.compare([done], done)
    with sqlite3.connect(done / "ledger.sqlite") as db:
        db.execute("update entries set bytes = replace(bytes, 'study', 'studx') where sequence = 1")
    with pytest.raises(VerificationFailed, match="entry 1 has wrong bytes"):
        make.again(done)


def test_a_long_ledger_is_read_once_and_its_page_stays_small(done, tmp_path, monkeypatch):
    """The entries are handed out as often however long the ledger is, so never once per plan, arm
    or campaign.
    """
    lengths, counts, sizes = [], [], []
    for factor in (4, 16):
        folder = longer(
            done,
            tmp_path / f"long-{factor}",
            factor * len(Ledger.file(done / "ledger.sqlite").entries()),
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
    found = told(tmp_path / "long-16")
    assert sum(a[2] for a in rows(found, "funnel")) > 10 * sum(
        a[2] for a in rows(told(done), "funnel")
    )


@pytest.mark.parametrize("name", ["scores", "gains", "lineage"])
def test_a_figure_of_ten_thousand_generations_stays_small(name):
    made = {
        "scores": [("a", g, 0.5, 0.4, 0.6, 10) for g in range(10_000)],
        "gains": [("a", float(g), 0.5, 0.4, 0.6, 10) for g in range(10_000)],
        "lineage": [
            ("a", 0, g, f"p{g}", f"p{g - 1}", "accepted" if g % 100 == 0 else "no effect", 0.5)
            for g in range(10_000)
        ],
    }
    drawn = draw([table(name, made[name], "", unit="exact_match")])
    assert 5_000 < len(drawn) < 300_000


@pytest.mark.parametrize("interval", [(None, None), (0.2, 0.8)])
def test_gains_of_many_arms_are_drawn_in_a_panel_each(interval):
    rows = [(arm, float(x), 0.5, *interval, 10) for arm in "abcdefg" for x in (1, 2, 3)]
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
    assert page(told(done)) == (done / "report.html").read_text()
    assert page(report(study.read_runs([done]))) == (done / "report.html").read_text()


def strings(kind):
    """Return field -> the string below it in the source."""
    body = ast.parse(textwrap.dedent(inspect.getsource(kind))).body[0].body
    return {
        a.target.id: b.value.value
        for a, b in itertools.pairwise(body)
        if isinstance(a, ast.AnnAssign) and isinstance(b, ast.Expr)
    }


def reference():
    """The part of docs/report.md that follows from the code."""
    parts = []
    for kind in (Report, Section, Line, Table, Cited):
        kinds, meant = inspect.get_annotations(kind), strings(kind)
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
