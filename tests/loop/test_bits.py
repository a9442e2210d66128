"""An objective that should fall: an improvement in bits is a positive gain wherever it is shown."""

import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner
from exports import read_rows
from fakes import FakeBox, outcome
from reports import read_report, rows_of
from safetensors.numpy import load
from studies import config, entries, mandate, page_of, read_facts

from configs.errors import BadInput
from configs.history import Trial, buckets
from configs.objective import objective_text
from configs.recipe import Recipe
from configs.records import CONFIRM
from evals.ladder import release_feedback
from evals.metrics import primary, read_metric, round_primary
from loop.command.live import View
from loop.command.main import cli
from loop.command.run import run_and_show
from loop.export.verify import verify_export
from loop.export.write import export
from loop.instruments.gather import read_records
from loop.propose.history import CHANCE_ROWS
from loop.settings import compose_settings

SCRIPT = "+proposer.script=[{depth: 2}, {width: 48}, {width: 64}, {batch_size: 32}]"
SETTINGS = [
    "task=text-small",
    "study.confirm_replicates=12",
    "study.final_replicates=4",
    "study.arms=[scripted]",
    SCRIPT,
]


def quality(order):
    """The probability of the right character: a deeper net is better, a wider net is worse."""
    return 0.2 * 1.5 ** (order.recipe.depth - 1) * 0.7 ** (order.recipe.width > 32)


@pytest.fixture
def study(tmp_path, go):
    cfg = config(tmp_path, *SETTINGS)
    mandate(cfg)
    return cfg, go(cfg, FakeBox(quality))


def test_fewer_bits_are_a_positive_gain_in_verdict_ladder_funnel_and_report(study, tmp_path):
    cfg, summary = study
    facts, folder = read_facts(tmp_path / "runs" / "t"), tmp_path / "runs" / "t"
    better = next(d for d, p in facts.plans.items() if p.changed == {"depth": 2})
    verdict = facts.verdicts[better]
    sides = [
        [
            scores.bits
            for (plan, role, _), scores in facts.scores.items()
            if plan == better and role == side and scores.split == CONFIRM
        ]
        for side in ("champion-predict", "predict")
    ]
    champion, candidate = (sum(side) / len(side) for side in sides)
    # The candidate takes log2(1.5) bits less.
    assert verdict.answer == "accept" and 0.5 < champion - candidate < 0.7
    assert verdict.gain == pytest.approx(champion - candidate)
    assert 0 < verdict.low < verdict.gain

    measured = [facts.scores[plan, "predict", 0] for plan in facts.champions["scripted", 0]]
    told = release_feedback(measured, cfg.objective, looks=5, deviation=cfg.deviation())
    assert [f.outcome for f in told] == ["first", "better"] and told[0].score < told[1].score < 0
    trials = [Trial(recipe=Recipe(), outcome=f.outcome, score=f.score) for f in told]
    assert buckets(trials)[0] < buckets(trials)[1]

    records = read_records([folder])
    assert records.gains[-1].value > 0.5
    fates = {plan.plan: plan for plan in records.plans["scripted"]}
    assert fates[better].fate == "accepted" and fates[better].corrected > 0.4
    assert {held.rung: held.value > 0.4 for held in records.held["scripted"]} == {
        "feedback": True,
        "gate": True,
        "closing": True,
        "code": True,
        "licence": True,
    }
    arm = summary["arms"][0]
    assert arm["gate"]["gain"] > 0.5
    assert arm["feedback"]["champion"] < arm["feedback"]["baseline"]

    text = re.sub(r"<[^>]*>", " ", page_of(folder))
    assert "bits, lower is better" in text and "bits go down" in text


def test_scores_in_bits_are_shown_as_they_are_and_compared_turned(study):
    cfg, _ = study
    scores = next(e.body["scores"] for e in entries(cfg) if e.kind == "score")
    assert scores["bits"] > 2 and set(scores["slice_bits"]) == {"code", "licence"}
    facts = read_facts(Path(cfg.runs) / "t")
    record = next(iter(facts.scores.values()))
    assert primary(cfg.objective, record) == -record.bits
    assert round_primary(cfg.objective, record) == round(record.bits, 2)
    assert read_metric(record, "bits", "code") == record.slice_bits["code"]
    assert "Better means: bits go down, by more than 0.01." in objective_text(cfg.objective)


def test_an_export_holds_the_bits_of_every_split_and_slice_with_unit_and_direction(study, tmp_path):
    out = tmp_path / "out"
    export([tmp_path / "runs" / "t"], out)
    facts, rows = read_facts(tmp_path / "runs" / "t"), read_rows(out, "replicates")
    assert {row["split"] for row in rows} == {"feedback", CONFIRM}
    for row in rows:
        scores = facts.scores[row["plan"], row["role"], int(row["index"])]
        assert float(row["character_bits"]) == scores.bits
        assert json.loads(row["slice_bits_json"]) == pytest.approx(scores.slice_bits)
    told = {row["column"]: row for row in read_rows(out, "dictionary")}
    assert told["character_bits"]["unit"] == "bits"
    assert all("lower is better" in told[name]["meaning"] for name in told if "_bits" in name)
    (row,) = read_rows(out, "studies")
    assert (row["metric"], row["direction"]) == ("bits", "down")
    assert verify_export(out)["studies"] == 1


def test_a_closing_look_in_bits_names_the_worst_slice_and_no_robustness(study, tmp_path):
    _, summary = study
    assert "robustness" not in summary["champion"]["scores"]["confirm"]
    page_of(tmp_path / "runs" / "t")
    closing = rows_of(read_report(tmp_path / "runs" / "t"), "closing")
    values = {tuple(row[1:3]): tuple(row[3:]) for row in closing}
    sides = [
        [values[f"slice {name}", "bits, lower is better"][at] for name in ("code", "licence")]
        for at in (0, 1)
    ]
    text = "highest bits over the task's slices, lower is better"
    assert values["worst slice", text] == tuple(map(max, sides))


def test_whoever_shows_bits_says_once_that_lower_is_better(study, tmp_path):
    folder = tmp_path / "runs" / "t"
    listed = CliRunner().invoke(cli, ["plans", str(folder)], catch_exceptions=False).output
    assert "feedback, bits, lower is better" in " ".join(listed.replace("┃", " ").split())
    as_json = CliRunner().invoke(cli, ["plans", str(folder), "--json"], catch_exceptions=False)
    assert "feedback" in json.loads(as_json.output)[0]
    page = page_of(folder)
    assert page.count("Scores on feedback: bits, lower is better.") == 2  # tables Arms and Plans
    assert "on feedback, lower is better" in page  # the axis of the scores
    assert re.search(r"better than the baseline on confirm by 0\.\d{3} bits \(", page)
    for text in ("nats per right", "standard deviation of"):
        assert re.search(f"{text}[^<]*, lower is better<", page)


def test_a_run_in_bits_says_so_as_it_goes(tmp_path, go, capsys, monkeypatch):
    cfg, titles, end = config(tmp_path, *SETTINGS), [], View.print_table
    mandate(cfg)

    def watch(view, summary):
        titles.append(view.picture().renderables[0].title)
        end(view, summary)

    monkeypatch.setattr(View, "print_table", watch)
    go(cfg, FakeBox(quality), run_and_show)
    first, *lines = capsys.readouterr().out.splitlines()
    assert "scores in bits, lower is better" in first
    assert any(re.search(r"has \d\.\d+ bits on feedback; accept", line) for line in lines)
    assert any("study t, bits, lower is better" in line for line in lines)  # the closing table
    assert titles == ["study t, bits, lower is better"]


def test_robustness_bounds_nothing_where_the_metric_is_bits():
    bound = "objective.constraints=[{metric: robustness, no_loss: 0.1}]"
    with pytest.raises(BadInput, match="should be bits on a slice"):
        compose_settings(["task=text-small", bound])


def test_a_shallow_task_is_called_so_in_the_report_and_on_its_first_screen(tmp_path, go):
    depth = "+task.depth={single: 0.9, pair: 0.95, climb: 2, stalled: false}"
    cfg = config(tmp_path, *SETTINGS, depth)
    mandate(cfg)
    go(cfg, FakeBox(quality))
    page = page_of(tmp_path / "runs" / "t")
    text = "Task text is shallow: one change explains 90% of the distance"
    assert text in page.split("<nav>")[0] and "A gain on it says little about a loop." in page


def test_without_trials_at_the_start_a_training_reads_rows_of_chance(tmp_path, go):
    """A net with a share for the notebook cannot train on an empty one."""
    cfg, box = config(tmp_path, *SETTINGS, "study.start_trials=0"), FakeBox(quality)
    mandate(cfg)
    assert cfg.task.baseline.notebook > 0
    assert go(cfg, box)["finished"]
    rows = [
        load(job.files["notebook.safetensors"])["trials"] for job in box.ran if job.role == "train"
    ]
    assert len(rows) > 8 and min(len(one) for one in rows) > 0
    assert len(rows[0]) == CHANCE_ROWS and len({tuple(row) for row in rows[0].tolist()}) > 8


def test_a_closing_look_that_lost_a_replicate_has_a_gain_and_no_interval(tmp_path, go, capsys):
    """Terminal, summary and report tell it; a gain alone proves nothing."""

    def play(name, lost):
        seen = []

        def script(execution):
            order = json.loads(execution.files["job.json"])
            if order["role"] == "train" and order["recipe"]["depth"] == 2:
                seen.append(order["seed"])
                return outcome("program", "exit 1") if len(seen) == lost else None
            return None

        cfg = config(tmp_path, *SETTINGS, "study.final_replicates=12", f"study.name={name}")
        mandate(cfg)
        go(cfg, FakeBox(quality, script), act=run_and_show)
        return len(seen), tmp_path / "runs" / name

    trained, whole = play("whole", 0)
    shown = capsys.readouterr().out
    _, torn = play("torn", trained)
    proven = "this champion is better than the baseline on confirm"
    assert proven in page_of(whole) and proven not in page_of(torn)
    (arm,) = rows_of(read_report(torn), "arms")
    assert arm[5] > 0.3 and arm[6:8] == (None, None)
    assert re.search(r"\+0\.\d+ \(\+0\.\d+ to \+0\.\d+\)", shown)
    assert re.search(r"\+0\.\d+ \(no interval\)", capsys.readouterr().out)
