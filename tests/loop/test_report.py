"""What a report says of one study, and what it does not."""

import json
from dataclasses import replace

import pytest
from reports import cut_from, play_two_arms, read_report, rows_of, text_of

from configs.build import parse
from configs.entries import (
    AmendedEntry,
    PauseEntry,
    StudyEntry,
    facts_of,
)
from configs.errors import BadInput
from loop.report import make, shape
from loop.report.kinds import TABLES
from loop.report.shape import Report
from sandbox import control
from sandbox.ledger import Ledger


@pytest.fixture
def done(tmp_path, go, copied):
    """A finished study; the folder of its run."""
    copied(lambda folder: make.again(play_two_arms(folder, go)))
    return tmp_path / "runs" / "t"


def test_report_json_is_what_its_records_say_and_holds_what_the_page_shows(done):
    found, book = read_report(done), Ledger.at(done).entries()
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
    assert all(line.ledger in found.evidence for one in found.answers for line in one.lines)
    for one in found.evidence.values():
        assert one.entries >= 1 and all(
            1 <= a <= b <= len(book) and run == 0 for run, a, b in one.spans
        )
        assert all(
            (", ".join(e.kind for e in book if e.sequence == at), pin)
            == (kind, next(e.hash[:12] for e in book if e.sequence == at))
            for _, at, kind, pin in one.listed
        )
    accepted = next(r for r in rows_of(found, "plans") if r[6] == "accept")
    cited = {
        kind
        for s in found.sections
        for t in s.tables
        if t.name == "plans"
        for r, at in zip(t.rows, t.ledger, strict=True)
        if r == accepted
        for _, _, kinds, _ in found.evidence[at].listed
        for kind in kinds.split(", ")
    }
    assert {"plan", "score", "verdict", "decision"} <= cited
    broken = json.loads((done / "report.json").read_text()) | {"extra": 1}
    with pytest.raises(BadInput, match="unknown key extra"):
        parse(Report, broken)


def test_numbers_are_the_ledger_s(done):
    found, whole = read_report(done), json.loads((done / "summary.json").read_text())
    gates = {a["arm"]: a["gate"] or dict.fromkeys(("gain", "low", "high")) for a in whole["arms"]}
    assert {r[0]: r[5:8] for r in rows_of(found, "arms")} == {
        arm: (g["gain"], g["low"], g["high"]) for arm, g in gates.items()
    }
    root = whole["accounts"]["root"]["cpu_us"]
    assert rows_of(found, "burn")[-1][2] == pytest.approx((root["limit"] - root["spent"]) / 1e6)
    assert sum(r[2] for r in rows_of(found, "funnel")) == 2 * 2 * 2
    champions = {r[0]: r[2] for r in rows_of(found, "scores") if r[1] == 2}
    assert champions == {a["arm"]: a["feedback"]["champion"] for a in whole["arms"]}
    assert "alpha 0.05" in text_of(found, "methods") and "Nothing deviated" in text_of(
        found, "methods"
    )
    assert "unattended mandate" in text_of(
        found, "allowed"
    ) and "is better than the baseline on confirm" in text_of(found, "believed")


def test_what_is_not_known_is_said_in_words_and_never_as_a_number(done):
    found = read_report(done)
    missing = {(r[0], r[1]) for r in rows_of(found, "missing")}
    assert ("kappa", "not measured") in missing and ("self effect", "not measured") in missing
    assert all(r[2] == "cannot tell" or r[-1] for r in rows_of(found, "retention"))
    assert "amplifying, lossy, self-closed: not shown" in text_of(
        found, "unbelieved"
    ) and "may be called" not in text_of(found, "believed")
    assert not {r[0] for r in rows_of(found, "figures") if r[1] is None and r[2] is None}


def test_a_study_that_has_not_ended_tells_rounded_feedback_and_nothing_of_gate(done):
    whole = read_report(done)
    cut_from(done, "end")
    make.again(done)
    found = read_report(done)
    assert any(r[5] is not None for r in rows_of(whole, "arms")) and not any(
        r[5] is not None for r in rows_of(found, "arms")
    )
    for name in ("gains", "rungs", "closing", "calibration", "promise"):
        assert not rows_of(found, name), name
    assert (
        rows_of(found, "scores")
        and rows_of(found, "funnel")
        and all(r[3] == round(r[3], 2) for r in rows_of(found, "trials"))
    )
    assert (
        "has not ended" in text_of(found, "happened")
        and "No gain" in text_of(found, "unbelieved")
        and rows_of(found, "runs")[0][4] == "not ended"
    )


def test_a_study_in_which_nothing_began_is_told_as_empty(done):
    cut_from(done, "plan")
    make.again(done)
    found = read_report(done)
    assert (
        "no campaign has begun" in text_of(found, "unbelieved")
        and not rows_of(found, "scores")
        and rows_of(found, "runs")[0][4] == "not ended"
    )
    assert "<svg" not in (done / "report.html").read_text()


def test_a_study_without_an_accept_gained_nothing_and_says_so(tmp_path, go):
    folder = play_two_arms(tmp_path, go, quality=lambda order: 0.5)
    make.again(folder)
    found = read_report(folder)
    assert "no change was accepted in any campaign" in text_of(
        found, "unbelieved"
    ) and "Nothing:" not in text_of(found, "unbelieved")
    assert {r[2] for r in rows_of(found, "gains")} == {0.0} and not any(
        r[5] is not None for r in rows_of(found, "arms")
    )


def test_what_deviated_is_told_with_its_entry(done):
    book = Ledger.at(done)
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
    found = read_report(done)
    assert [r[1:] for r in rows_of(found, "deviations")] == [
        ("order: pause", "ada", "tea"),
        ("interrupted: a limit of the budget ended it", "", "a reservation passes the limit"),
        ("amended: objective.alpha: 0.05 to 0.01", "ada", ""),
    ]
    assert "Nothing deviated" not in text_of(found, "methods")
    cut_from(done, "end")
    Ledger.at(done).append(PauseEntry(reason="spent", exit_code=4))
    make.again(done)
    assert "nothing here is claimed to be reproducible" in text_of(read_report(done), "methods")


def test_a_campaign_that_ends_early_says_why(tmp_path, go):
    """By its plan of trainings, and by a limit of the budget: the report's words."""
    plan = ["study.generations=9", "study.plan_trainings=40"]
    folder = play_two_arms(tmp_path, go, "early", *plan)
    make.again(folder)
    whole = json.loads((folder / "summary.json").read_text())
    found = read_report(folder)
    for campaign in whole["arms"]:
        lived = campaign["generations"]
        why = f"its plan of 40 trainings is used up after {lived} of 9 generations"
        assert lived < 9 and campaign["ended_early"] and campaign["ending"] == why
        assert f"Arm {campaign['arm']}, 1 campaign ended early: {why}." in text_of(
            found, "happened"
        )
    assert "of 9 (" in text_of(found, "methods")


def test_a_limit_that_interrupts_a_study_stands_with_its_reason(done):
    cut_from(done, "end")
    Ledger.at(done).append(PauseEntry(reason="account root has 0 jobs left", exit_code=4))
    make.again(done)
    found = read_report(done)
    reason = "interrupted: a limit of the budget ended it"
    assert rows_of(found, "runs")[0][4] == reason
    assert f"it is {reason} (account root has 0 jobs left)" in text_of(found, "happened")
