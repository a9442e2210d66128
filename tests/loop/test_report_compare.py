"""The comparison of runs: repeats of a study, and studies side by side."""

import json
import sqlite3
from dataclasses import replace

import pytest
from click.testing import CliRunner
from fakes import chained
from reports import Tags, play_two_arms, read_report, rows_of, text_of

from configs.errors import BadInput, VerificationFailed
from evals.arms import Gain
from loop.command import main
from loop.instruments.measure import measure_records
from loop.report import make, study
from loop.report.page import page
from loop.report.tell import report
from sandbox.ledger import Ledger


@pytest.fixture
def done(tmp_path, go, copied):
    """A finished study; the folder of its run."""
    copied(lambda folder: make.again(play_two_arms(folder, go)))
    return tmp_path / "runs" / "t"


def other(done, name, group, field, value):
    """The same run under a root in which one setting has another value, as a ledger beside it."""
    root, *rest = [(e.kind, json.loads(json.dumps(e.body))) for e in Ledger.at(done).entries()]
    root[1]["config"]["study"]["name"], root[1]["config"][group][field] = name, value
    return chained(done.parent / name, [root, *rest], "2026-01-01T00:00:00.000+00:00")


def test_seeds_of_one_study_are_compared_as_repeats_with_intervals(done, tmp_path):
    folders = [done, *(other(done, f"seed-{i}", "study", "seed", i) for i in (2, 3))]
    done = CliRunner().invoke(
        main.cli,
        ["compare", *map(str, folders), "--to", str(tmp_path / "out")],
        catch_exceptions=False,
    )
    found = read_report(tmp_path / "out")
    assert (
        done.exit_code == 0
        and "3 runs of 1 studies" in done.output
        and found.studies == ("t",)
        and not rows_of(found, "differs")
    )
    assert (
        len(rows_of(found, "runs")) == 3
        and {r[5] for r in rows_of(found, "scores")} == {3}
        and all(r[3] is not None for r in rows_of(found, "scores"))
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
    differs = {r[0]: r[1:] for r in rows_of(found, "differs")}
    assert differs == {"task.planned_cpu_us": ("2500000", "900000")}
    assert rows_of(found, "funnel", "t") == rows_of(found, "funnel", "other") and not rows_of(
        found, "funnel"
    )
    asked, methods = text_of(found, "asked"), text_of(found, "methods")
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
    drawn = {r[1]: r[2:] for r in rows_of(found, "gains")}
    assert [drawn[at][0] for at in (1.0, 2.0, 3.0, 4.0)] == [
        1.5,
        2.5,
        3.0,
        3.0,
    ]  # who ended early stands where it ended
    assert {r[3] for r in drawn.values()} == {2} and drawn[min(drawn)][0] == 0
    assert "Verified gain by planned compute" in page(found)


def test_efficiency_stands_by_budget_where_gains_have_one_unit(done, tmp_path, go):
    short, longer = (
        play_two_arms(tmp_path, go, name, "study.repeats=2", f"study.generations={n}")
        for name, n in (("short", 2), ("longer", 4))
    )
    found = rows_of(make.compare([longer, short], tmp_path / "out"), "budgets")
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
    assert not rows_of(
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
