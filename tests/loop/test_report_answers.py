"""The first screen: five questions, answered from the facts, and one figure."""

import json
import tempfile
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner
from fakes import FakeBox
from reports import cut_from, play_two_arms, read_report
from studies import better, config, mandate

from configs.entries import PauseEntry
from evals.retention import FIRST as RUNGS
from loop.command.main import cli
from loop.command.run import run_and_show
from loop.report import make, study
from loop.report.answers import answer
from loop.report.dots import draw_outcome
from loop.report.evidence import Index
from loop.report.outcome import Outcome, list_outcomes
from loop.report.outcome import _read_outcome as read_outcome
from loop.report.shape import QUESTIONS, table
from loop.report.short import sum_up
from loop.report.tell import report
from sandbox import control, incident
from sandbox.ledger import Ledger

FIRST = "study.arms=[random, local]"
"""Arm random, which accepts a change here, is the lead arm."""
LINES = 24
"""Lines of a terminal."""


@pytest.fixture
def done(tmp_path, go, copied):
    """A finished study; the folder of its run."""
    copied(lambda folder: make.again(play_two_arms(folder, go, "t", FIRST)))
    return tmp_path / "runs" / "t"


def told(measured, truth=None):
    """Return question -> answer of a measured study."""
    found = answer(measured, Index(measured.runs), truth)
    return {question: " ".join(line.text for line in lines) for question, lines in found.items()}


def measured(folder):
    return study.read_runs([folder])[0]


def with_summary(one, change):
    """Return a study whose summary was changed."""
    summaries = deepcopy(one.summaries)
    change(summaries[0])
    return replace(one, summaries=summaries)


def first_screen(folder):
    return (folder / "report.html").read_text().split("<nav>")[0]


def test_the_page_begins_with_five_answers_and_one_figure(done):
    first, found = first_screen(done), read_report(done)
    assert [one.question for one in found.answers] == list(QUESTIONS)
    places = [first.index(f">{question.title}<") for question in QUESTIONS.values()]
    assert places == sorted(places) and first.count("<svg ") == 1 and 'class="outcome"' in first
    assert "Better means: " in first and all(one.lines for one in found.answers)
    assert all(line.ledger for one in found.answers for line in one.lines)


def test_a_gain_is_told_with_the_interval_of_its_closing_look(done):
    look = json.loads((done / "summary.json").read_text())["arms"][1]["confirm"]
    text = told(measured(done))["improved"]
    assert text.startswith("Yes: arm random gained ") and "by its closing look" in text
    for value in (look["gain"], look["low"], look["high"]):
        assert f"{value:#.3g}" in text
    assert "Beside it, arm local: " in text


def test_a_gain_whose_interval_holds_0_cannot_be_told(done):
    def change(summary):
        summary["arms"][1]["confirm"] |= {"low": -0.1}

    text = told(with_summary(measured(done), change))["improved"]
    assert text.startswith("Cannot tell: arm random ended with ") and "(-0.100 to " in text


@pytest.mark.parametrize(
    ("gain", "low", "campaigns", "word", "begin"),
    [
        (1.5, 1.2, 12, "", "Yes: arm self gained +1.50 log-odds (1.20 to 1.80)"),
        (-1.5, -1.8, 12, "", "No: arm self lost"),
        (1.5, -1.2, 12, "cannot tell", "Cannot tell: arm self ended"),
        (1.5, 1.2, 3, "cannot tell", "Cannot tell: arm self ended"),
        (None, None, 1, "cannot tell", "Cannot tell: arm self accepted"),
    ],
)
def test_the_first_word_follows_from_the_interval(
    monkeypatch, done, gain, low, campaigns, word, begin
):
    high = None if gain is None else gain + 0.3
    outcome = Outcome(
        arm="self",
        gain=gain,
        low=low,
        high=high,
        campaigns=campaigns,
        accepted=1,
        unit="log-odds",
        ground="closing looks",
        word=word,
    )
    monkeypatch.setattr("loop.report.answers.list_outcomes", lambda _: [outcome])
    monkeypatch.setattr("loop.report.answers.lead", lambda _: "self")
    one = measured(done)
    one.figures["arms"]["self"] = one.figures["arms"]["random"]
    text = told(one)["improved"]
    assert text.startswith(begin) and ("it takes 10 to tell" in text) == (campaigns == 3)


def test_several_campaigns_are_told_by_their_mean(tmp_path, go):
    folder = play_two_arms(tmp_path, go, "t", "study.repeats=2")
    make.again(folder)
    one, found = measured(folder), read_report(folder)
    ends = next(t for s in found.sections for t in s.tables if t.name == "ends")
    means = {row[0]: row[2:5] for row in ends.rows}
    assert {o.arm: (o.gain, o.low, o.high) for o in list_outcomes(one)} == means
    text = told(one)
    assert "mean of 2 campaigns; it takes 10 to tell" in text["improved"]
    assert "That arms differ: with 2 campaigns an arm" in text["not"]


def test_before_the_end_nothing_of_confirm_is_told(done):
    cut_from(done, "end")
    make.again(done)
    text, first = told(measured(done)), first_screen(done)
    assert text["improved"].startswith("Not known yet") and "On feedback" in text["improved"]
    assert text["kept"] == "Not known before the study has ended."
    assert "only feedback scores are known" in text["not"]
    assert "gained" not in text["improved"] and list_outcomes(measured(done)) == []
    assert 'class="scores"' in first and first.count("<svg ") == 1


def test_where_nothing_began_every_question_has_an_answer_and_no_figure_stands(done):
    cut_from(done, "plan")
    make.again(done)
    text = told(measured(done))
    assert text["improved"] == "Nothing is known yet: no campaign has begun." and all(text.values())
    assert sum_up(read_report(done)).figure == ()


def test_a_study_without_an_accept_says_no_and_draws_its_trials(tmp_path, go):
    folder = play_two_arms(tmp_path, go, quality=lambda order: 0.5)
    make.again(folder)
    text, first = told(measured(folder)), first_screen(folder)
    assert text["improved"] == (
        "No: no change was accepted in any of 2 campaigns, so every gain is 0."
    )
    assert "no gain that could be kept" in text["kept"] and "That nothing helps" in text["not"]
    assert 'class="scores"' in first and 'class="outcome"' not in first


def test_an_arm_without_an_accept_beside_one_with_is_at_0(done):
    one = measured(done)
    assert (read_outcome(one, "local").gain, read_outcome(one, "local").low) == (0.0, None)
    assert "Beside it, arm local: no change accepted." in told(one)["improved"]


def test_what_was_kept_follows_from_retention_or_else_from_the_rungs(done):
    one = measured(done)
    assert told(one)["kept"].startswith("Cannot tell: no share of the gain has an interval.")
    figure = {"value": 0.31, "low": 0.29, "high": 0.36, "word": "", "unit": "", "n": 12}
    one.figures["arms"]["random"]["retention"]["feedback to gate"] = figure
    assert told(one)["kept"].startswith(
        "Of what arm random gained on feedback, 31 % (29 to 36 %) is there on confirm."
    )
    assert "lossy" not in told(one)["kept"] and "was not measured" not in told(one)["kept"]
    one.figures["words"] = {"lossy": True, "amplifying": True, "self-closed": False}
    assert "The loop may be called lossy: it loses more than" in told(one)["kept"]
    assert "may be called amplifying" in told(one)["improved"]
    assert "That the loop is self-closed: not shown" in told(one)["not"]


def test_what_lies_beyond_confirm_is_told_as_not_measured(done):
    one = measured(done)
    inside = [held for held in one.records.held["random"] if held.rung in RUNGS]
    one = replace(one, records=replace(one.records, held={**one.records.held, "random": inside}))
    assert "Whether it holds on sealed, on other slices" in told(one)["kept"]


def test_who_decided_follows_from_the_decisions(done):
    assert (
        "allowed under an unattended mandate; no person decided on a plan"
        in told(measured(done))["decided"]
    )

    def change(summary):
        summary["oversight"]["human"] = 3
        rows = summary["oversight"]["by_class"]
        rows["recipe"] = dict.fromkeys(rows["recipe"], 0) | {
            "approval": 3,
            "refused": 1,
            "simulated": 2,
        }
        del rows["promote"]

    text = told(with_summary(measured(done), change))["decided"]
    assert text.startswith(
        "4 requests: 3 allowed by a decision on that very plan, 1 denied; people signed 3"
        " decisions; a simulated reviewer stood in for people."
    )


def test_a_person_s_mandate_is_told_apart_from_an_unattended_mandate(done):
    def change(summary):
        for row in summary["oversight"]["by_class"].values():
            row["unattended"] = 0

    lines = answer(with_summary(measured(done), change), Index(measured(done).runs), None)[
        "decided"
    ]
    assert "under a person's mandate" in lines[0].text and not lines[0].warn
    unattended = answer(measured(done), Index(measured(done).runs), None)["decided"]
    assert unattended[0].warn


def test_a_passed_limit_and_an_incident_are_told_and_warn(done):
    clean = answer(measured(done), Index(measured(done).runs), None)["held"]
    assert clean[0].text.startswith("Budgets held in every account (") and not clean[0].warn
    assert "no incident; each job had a grant" in clean[1].text

    def change(summary):
        summary["accounts"]["root"]["jobs"]["limit"] = 1

    spent = with_summary(measured(done), change)
    passed = answer(spent, Index(spent.runs), None)["held"][0]
    assert passed.text.startswith("Budgets passed in root, jobs (") and passed.warn
    book = Ledger.at(done)
    with book.transaction() as txn:
        incident.report(txn, "a fault")
    hit = answer(measured(done), Index(measured(done).runs), None)["held"][1]
    assert "1 incident, the worst of severity " in hit.text and hit.warn


def test_a_limit_that_interrupts_a_study_is_told(done):
    cut_from(done, "end")
    Ledger.at(done).append(PauseEntry(reason="account root has 0 jobs left; more", exit_code=4))
    line = answer(measured(done), Index(measured(done).runs), None)["held"][0]
    assert line.warn and line.text == (
        "The study is interrupted: a limit of the budget ended it (account root has 0 jobs left)."
    )


def test_campaigns_that_ended_early_are_counted(tmp_path, go):
    folder = play_two_arms(tmp_path, go, "early", "study.generations=9", "study.plan_trainings=40")
    text = told(measured(folder))["held"]
    assert "2 of 2 campaigns ended before their last generation; one because its plan of" in text


def test_the_truth_of_a_table_stands_beside_the_measured_gain(done):
    rows = [("local", "gain", 1, 9.0, 0, 0, 3, "bits"), ("random", "gain", 1, 0.5, 0, 0, 3, "bits")]
    truth = table("truth", rows, "study")
    assert told(measured(done), truth)["improved"].endswith(
        "By the table's truth its gain is +0.500 bits."
    )


def test_of_several_studies_each_has_a_sentence_and_a_panel(done, tmp_path, go):
    other = config(tmp_path, "study.name=other", FIRST, "study.proposals=3")
    mandate(other)
    go(other, FakeBox(better))
    found = report(study.read_runs([done, tmp_path / "runs" / "other"]))
    improved = found.answers[0].lines
    assert [line.text.partition(":")[0] for line in improved] == ["t", "other"]
    shown = sum_up(found).figure[0]
    assert {row[0] for row in shown.rows} == {"t", "other"} and shown.name == "outcome"


def test_the_terminal_tells_the_answers_of_the_report_on_a_screen(done):
    found = read_report(done)
    shown = CliRunner().invoke(cli, ["show", str(done)])
    assert shown.exit_code == 0 and len(shown.output.splitlines()) <= LINES
    words = " ".join(shown.output.split())
    for one in found.answers:
        text = " ".join(line.text for line in one.lines)
        assert f"{QUESTIONS[one.question].title} {text}" in words
    as_json = json.loads(CliRunner().invoke(cli, ["show", str(done), "--json"]).output)
    assert list(as_json) == [question.title for question in QUESTIONS.values()]


def test_a_saturated_comparison_forbids_to_conclude_that_arms_are_alike(done):
    one = measured(done)
    one.figures["words"] = {"amplifying": False}
    assert "saturated" not in told(one)["not"]
    one.figures["between"]["self effect"]["word"] = "saturated"
    assert "That arms do not differ: champions reach the best known score" in told(one)["not"]


def test_a_warning_of_one_of_several_studies_is_not_left_out(done, tmp_path, go):
    other = config(tmp_path, "study.name=other", FIRST, "study.proposals=3")
    mandate(other)
    go(other, FakeBox(better))
    with Ledger.at(done).transaction() as txn:
        incident.report(txn, "a fault")
    found = report(study.read_runs([done, tmp_path / "runs" / "other"]))
    held = next(one for one in found.answers if one.question == "held")
    assert any(line.text.startswith("t: Gates and box: 1 incident") for line in held.lines)


def test_studies_of_one_unit_are_drawn_on_one_scale_and_others_on_their_own():
    rows = [
        (name, "random", gain, gain - 0.1, gain + 0.1, 12, 1, unit, "")
        for name, gain, unit in (("a", 2.0, "bits"), ("b", 0.1, "bits"), ("c", 0.2, "log-odds"))
    ]
    first, second, third = (axis.get_xlim() for axis in draw_outcome("", ["random"], rows).axes)
    assert first == second and first[1] > 2 > third[1] and first[0] < 0 and third[0] < 0


def test_an_order_that_stopped_a_study_is_told(done):
    cut_from(done, "end")
    control.order(Ledger.at(done), "stop", "ada", "enough")
    line = answer(measured(done), Index(measured(done).runs), None)["held"][0]
    assert line.warn and line.text == "The study has not ended: order stop."


@pytest.fixture
def short_path():
    """A folder with a short name, as runs/ is: the screen names it, and long names wrap."""
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


def test_a_run_ends_with_the_answers_on_a_screen(short_path, go, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    cfg = config(short_path, "study.generations=1", FIRST)
    mandate(cfg)
    go(cfg, FakeBox(better), run_and_show)
    shown = capsys.readouterr().out.splitlines()
    begin = next(number for number, line in enumerate(shown) if line.strip() == "study t")
    end = " ".join(" ".join(shown[begin:]).split())
    assert len(shown) - begin <= LINES, shown
    assert "report: " in shown[-1]
    for one in read_report(short_path / "runs" / "t").answers:
        text = " ".join(line.text for line in one.lines)
        assert f"{QUESTIONS[one.question].title} {text}" in end
