"""Studies on a fabricated table: the loop, its charges, its refusals; and a real tiny build."""

import html
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import fabricated
import numpy as np
import pytest
from click.testing import CliRunner
from conftest import need_box
from exports import read_rows
from studies import mandate, page_of

from configs.build import parse, plain
from configs.errors import BadInput
from configs.settings.task import TaskSetup
from evals.table import World
from loop import session
from loop.calibrate import tab
from loop.command.main import cli
from loop.export.verify import verify_export
from loop.export.write import export
from loop.facts.reader import FactsReader
from loop.settings import compose_settings
from loop.study import open as study_open
from loop.study.tab_file import fill_in, read_table, write_table
from loop.verify.run import verify
from sandbox.box.namespace import NamespaceBox
from sandbox.ledger import Ledger

SMALL = ["study=tabulated", "study.name=t", "study.generations=2", "study.repeats=2"]


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """Let every run of a test lie under its own relative folder, beside a fabricated table."""
    monkeypatch.chdir(tmp_path)
    fabricated.write(tmp_path)


def config(*overrides):
    return compose_settings([*SMALL, "task.table=fabricated-v1.parquet", *overrides])


def run(cfg):
    mandate(cfg)
    try:
        return session.execute(cfg)
    finally:
        study_open.release_locks()


def facts():
    return FactsReader(Ledger.at(Path("runs/t"))).facts()


def test_a_study_on_a_table_runs_verifies_and_says_its_tier(tmp_path):
    result = run(config("study.arms=[random,local,tpe]"))
    assert result["finished"] and (result["tier"], result["box"]) == ("T: tabulated", "table")
    assert verify(tmp_path / "runs/t")["scores"] > 30
    page = page_of(tmp_path / "runs/t")
    assert "T: tabulated" in page and "looked up in the table" in page
    status = CliRunner().invoke(cli, ["status", "runs/t"], catch_exceptions=False).output
    assert "T: tabulated, it executes nothing itself" in status
    first_screen = page.split("<nav>")[0]
    assert "doctor" not in page and "proved" not in first_screen
    assert not re.search(r"\b1e6\b", page)  # the budget's axis has whole numbers
    # The first screen tells the truth; among what can be believed it comes first, its table open.
    assert "the table's truth" in html.unescape(first_screen)
    assert page.index("On table fabricated-v1") < page.index("Arm local")
    after = page.split("Measured beside true")[1]
    assert (
        0 < after.index("<table") < after.index("</table>")
        and "<details" not in after.split("<table")[0]
    )
    assert any(arm["accepted"] for arm in result["arms"])


def test_what_means_nothing_on_a_table_is_in_no_summary_report_or_export(tmp_path):
    result = run(config("study.repeats=1", "study.arms=[local]"))
    looks = [result[side]["scores"]["confirm"] for side in ("baseline", "champion")]
    nothing = {"exact_match", "token_accuracy", "log_odds", "calibration_error", "robustness"}
    assert all(not nothing & set(look) and not look["slices"] for look in looks)
    assert all(look["bits"] and look["slice_bits"] for look in looks)
    text = page_of(tmp_path / "runs/t")
    assert not any(name in text for name in (*nothing, "exact match"))
    export([tmp_path / "runs/t"], tmp_path / "out")
    rows = read_rows(tmp_path / "out", "replicates")
    empty = {name for name in rows[0] if all(not row[name] for row in rows)}
    assert empty == {
        "failed_text", "exact_match_share", "token_accuracy_share", "exact_match_log_odds",
        "calibration_error_share", "slices_json",
    }  # fmt: skip
    assert all(row["character_bits"] and row["slice_bits_json"] for row in rows)
    (told,) = [r for r in read_rows(tmp_path / "out", "redactions") if r["where"] == "replicates"]
    assert int(told["left_out_count"]) == len(rows) and "is a fold" in told["why"]
    assert verify_export(tmp_path / "out")["studies"] == 1


def test_trainings_are_charged_as_recorded():
    run(config("study.repeats=1", "study.arms=[random]"))
    results = {slot: result for slot, (result, _) in facts().results.items()}
    assert {result.charged_by for result in results.values()} == {"table"}
    charges = {r.charged.cpu_us for (_, role, _), r in results.items() if role.endswith("train")}
    recorded = {row.cpu_us + row.startup_cpu_us for row in fabricated.fabricate().rows}
    assert charges and charges <= recorded


def test_the_truth_of_a_run_is_that_of_the_table_s_means():
    run(config("study.arms=[random]", "study.generations=3"))
    out = CliRunner().invoke(cli, ["truth", "runs/t", "--json"], catch_exceptions=False)
    truth = json.loads(out.output)
    world, found = World(fabricated.fabricate()), facts()
    recipes = [
        [found.plans[names[at]].recipe for at in (0, -1)]
        for (arm, _), names in found.champions.items()
        if arm == "random"
    ]
    gains = [world.score(first) - world.score(last) for first, last in recipes]
    figures = truth["arms"]["random"]
    assert figures["gain"]["true"]["value"] == pytest.approx(np.mean(gains))
    assert abs(figures["gain"]["measured"]["value"] - np.mean(gains)) < 0.1
    regret = np.mean([world.score(last) for _, last in recipes]) - world.best()[1]
    assert figures["regret"]["true"]["value"] == pytest.approx(regret)
    own = figures["gain on its own folds"]
    assert abs(own["measured"]["value"] - own["true"]["value"]) < 0.05
    assert truth["tier"] == "T: tabulated"
    plain_text = CliRunner().invoke(cli, ["truth", "runs/t"], catch_exceptions=False).output
    assert "winner's curse" in plain_text and "Measured beside true" in page_of(Path("runs/t"))


def test_runs_that_differ_in_name_and_seed_are_repeats_of_one_truth():
    for seed in (1, 2):
        run(config("study.arms=[local]", f"study.seed={seed}", f"study.name=r{seed}"))
    out = CliRunner().invoke(cli, ["truth", "runs/r1", "runs/r2", "--json"], catch_exceptions=False)
    assert json.loads(out.output)["arms"]["local"]["gain"]["true"]["n"] == 4
    run(config("study.arms=[local]", "study.generations=1", "study.name=other"))
    with pytest.raises(BadInput, match="more than name and seed"):
        CliRunner().invoke(cli, ["truth", "runs/r1", "runs/other"], catch_exceptions=False)


def test_a_run_on_no_table_has_no_truth():
    small = ["study=planted", "study.name=p", "study.repeats=1", "study.generations=1"]
    run(compose_settings(small))
    with pytest.raises(BadInput, match="did not run on a table"):
        CliRunner().invoke(cli, ["truth", "runs/p"], catch_exceptions=False)


def test_the_same_study_gives_the_same_plans_and_scores():
    seen = []
    for _ in range(2):
        run(config("study.repeats=1", "study.arms=[random]"))
        seen.append((facts().plans, facts().scores, facts().verdicts))
        shutil.rmtree("runs/t")
    assert seen[0] == seen[1]


def test_a_proposal_off_the_grid_is_unlisted_and_its_campaign_goes_on():
    script = "[{width: 48},{learning_rate: 0.005}]"
    cfg = config(
        "study.repeats=1", "proposer=scripted", "study.arms=[scripted]", "study.proposals=1",
        f"proposer.script={script}",
    )  # fmt: skip
    run(cfg)
    failures = [r.detail for r, _ in facts().results.values() if r.status != "ok"]
    assert failures == [
        "unlisted: the table has no training of this recipe: width=48 is off its grid"
    ]
    assert len(facts().champions["scripted", 0]) == 2


PART = "task.fixed={learning_rate: 0.005}"


def test_a_study_on_a_part_of_the_grid_draws_and_is_held_to_that_part():
    before = Path("fabricated-v1.parquet").read_bytes()
    cfg = config(PART, "study.arms=[random,local,tpe]", "study.generations=3", "study.repeats=1")
    run(cfg)
    plans = facts().plans.values()
    assert {plan.recipe.learning_rate for plan in plans} == {0.005}
    assert len({plan.recipe for plan in plans}) > 4
    truth = CliRunner().invoke(cli, ["truth", "runs/t", "--json"], catch_exceptions=False)
    told, part = json.loads(truth.output), World(fabricated.fabricate()).within(cfg.task.fixed)
    assert told["best"] == part.best()[1] and "learning_rate" not in told["best recipe"]
    assert told["baseline"] == part.score(cfg.task.baseline)
    regret = told["arms"]["random"]["regret"]["true"]["value"]
    last = facts().plans[facts().champions["random", 0][-1]].recipe
    assert regret == pytest.approx(part.score(last) - part.best()[1]) and regret >= 0
    assert verify(Path("runs/t"))["findings"] == []
    assert Path("fabricated-v1.parquet").read_bytes() == before


def test_a_proposal_off_the_part_of_the_grid_is_unlisted():
    cfg = config(
        PART, "study.repeats=1", "proposer=scripted", "study.arms=[scripted]", "study.proposals=1",
        "proposer.script=[{learning_rate: 0.002}]",
    )  # fmt: skip
    run(cfg)
    failures = [r.detail for r, _ in facts().results.values() if r.status != "ok"]
    why = "the table has no training of this recipe: learning_rate=0.002 is off its grid"
    assert failures == [f"unlisted: {why}"]


def test_a_study_may_begin_from_another_recipe_of_the_grid():
    cfg = config("task.baseline={depth: 3}", "study.arms=[random]", "study.repeats=1")
    own = fabricated.fabricated_task().baseline
    assert cfg.task.baseline == replace(own, depth=3)
    run(cfg)
    first = facts().plans[facts().champions["random", 0][0]]
    assert first.recipe.depth == 3
    truth = CliRunner().invoke(cli, ["truth", "runs/t", "--json"], catch_exceptions=False)
    score = World(fabricated.fabricate()).score(cfg.task.baseline)
    assert json.loads(truth.output)["baseline"] == score != World(fabricated.fabricate()).score(own)


def test_a_pinned_baseline_is_filled_in_as_it_was(tmp_path):
    """Also where a knob has its default, which the bytes leave out and the table's baseline not."""
    fabricated.write(tmp_path, fabricated.fabricate(seeds=2, notebook=True))
    task = config("task.baseline={position: learned}").task
    pinned = plain(task)
    assert "position" not in pinned["baseline"]
    assert parse(TaskSetup, fill_in(pinned)) == task


def test_the_best_known_score_is_that_of_the_table_or_of_its_part(tmp_path):
    """By the planted levels: `learning_rate` 0.005, `cosine` and `depth` 2 are best."""
    cells = World(fabricated.fabricate())
    rows = [row for row in cells.table.rows if row.level == 1]
    means = {
        recipe: np.mean([np.mean(r.bits[:64]) for r in rows if r.recipe == recipe])
        for recipe in {row.recipe for row in rows}
    }
    best = min(means, key=means.get)
    assert (best.learning_rate, best.schedule, best.depth) == (0.005, "cosine", 2)
    assert config().task.best_known == pytest.approx(means[best])
    part = [bits for recipe, bits in means.items() if recipe.schedule == "constant"]
    held = config("task.fixed={schedule: constant}").task
    assert held.best_known == pytest.approx(min(part)) and min(part) > means[best] + 0.1
    # A study that began without it goes on without it.
    older = plain(replace(held, best_known=None))
    assert "best_known" not in older and parse(TaskSetup, fill_in(older)).best_known is None
    assert parse(TaskSetup, fill_in(plain(held))) == held


@pytest.mark.parametrize(
    ("overrides", "why"),
    [
        (["task.fixed={width: 32}"], r"fixed is 'width'; it should be one of the table's knobs"),
        (["task.fixed={depth: 4}"], r"task\.baseline\.depth is 4; .* has trainings with 1, 2, 3"),
        (
            ["task.fixed={depth: 2}", "task.baseline={depth: 3}"],
            r"baseline\.depth is 3; it should be 2, as task\.fixed holds it",
        ),
        (
            ["task.fixed={depth: 2, learning_rate: 0.005, schedule: cosine}"],
            "fewer knobs: one with two values is left",
        ),
        (["task.baseline={depth: 4}"], r"task\.baseline\.depth is 4; .* trainings with 1, 2, 3"),
        (["task.baseline={width: 64}"], r"task\.baseline\.width is 64; .* trainings with 32 alone"),
        (["task.baseline={charm: 1}"], "charm"),
        (
            [
                "objective.metric=exact_match",
                "objective.direction=up",
                "objective.deviation=0.1",
                "objective.floor=null",
            ],
            "metrics of a table",
        ),
        (["box=namespace"], r"box\.kind"),
        (["task.table=nowhere.parquet"], "cannot be read"),
    ],
)
def test_settings_that_a_table_cannot_answer_are_refused_with_a_sentence(overrides, why):
    with pytest.raises(BadInput, match=why):
        config(*overrides)


def test_a_task_without_a_table_fixes_nothing():
    with pytest.raises(BadInput, match=r"fixed is .*given with task\.table alone"):
        compose_settings(["task=text-small", "+task.fixed={depth: 1}"])


def test_a_box_of_a_table_and_a_task_without_one_are_refused_together():
    with pytest.raises(BadInput, match=r"box\.kind"):
        compose_settings(["task=text-small", "box=table"])


def test_nothing_runs_on_a_table_of_other_code_or_that_changed(tmp_path):
    cfg = config()
    write_table(fabricated.fabricate(seeds=3), tmp_path / "fabricated-v1.parquet")
    with pytest.raises(BadInput, match="changed since the study began"):
        run(cfg)
    write_table(fabricated.fabricate(code="0" * 64), tmp_path / "fabricated-v1.parquet")
    with pytest.raises(BadInput, match="was trained by other code"):
        run(config())
    assert not (tmp_path / "runs/t/ledger.sqlite").exists()


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (lambda path: path.write_bytes(path.read_bytes()[:-200]), "no whole table"),
        (lambda path: (path.unlink(), path.mkdir()), "cannot be read .Is a directory"),
        (lambda path: write_table(nan_table(), path), "no finite number of bits"),
        (
            lambda path: write_table(replace(fabricated.fabricate(), levels=(1.0, 2.0)), path),
            "lacks",
        ),
    ],
)
def test_nothing_runs_on_a_file_that_is_no_sound_table(tmp_path, spoil, why):
    spoil(tmp_path / "fabricated-v1.parquet")
    with pytest.raises(BadInput, match=why) as error:
        run(config())
    assert error.value.exit_code == 2 and not (tmp_path / "runs/t/ledger.sqlite").exists()


def nan_table():
    table = fabricated.fabricate()
    first = replace(table.rows[0], bits=(float("nan"), *table.rows[0].bits[1:]))
    return replace(table, rows=(first, *table.rows[1:]))


def test_a_real_table_is_built_in_pieces_and_a_study_runs_on_it(tmp_path, box_env):
    need_box(lambda: NamespaceBox(box_env)).close()
    folder = tmp_path / "tab"
    first = tab.build("tiny", folder=folder, minutes=0.01)
    assert 0 < first["trainings"] < first["of"] == 8 and not first["complete"]
    with pytest.raises(BadInput, match="incomplete"):
        run(compose_settings([*SMALL, f"task.table={folder}/tiny-v1.parquet"]))
    kept = dict(tab.Build("tiny", folder).rows)
    (folder / "tiny-v1.jsonl").unlink()
    rest = tab.build("tiny", folder=folder)
    assert rest["complete"] and rest["trainings"] == 8
    table = read_table(str(folder / "tiny-v1.parquet"))
    assert len({row.weights for row in table.rows}) == 8
    assert all(3 < np.mean(row.bits) < 8 for row in table.rows)
    again = tab.Build("tiny", folder)
    assert not again.left() and kept.items() <= again.rows.items()
    result = run(
        compose_settings([*SMALL, f"task.table={folder}/tiny-v1.parquet", "study.repeats=1"])
    )
    assert result["tier"] == "T: tabulated" and result["finished"]


def test_a_build_under_other_code_does_not_go_on(tmp_path, monkeypatch):
    log = tmp_path / "tab" / "tiny-v1.jsonl"
    log.parent.mkdir()
    log.write_text(json.dumps({"name": "tiny-v1", "design": "x", "code": "y"}) + "\n")
    with pytest.raises(BadInput, match="another design or other code"):
        tab.Build("tiny", tmp_path / "tab")
    log.unlink()
    write_table(replace(fabricated.fabricate(), name="tiny-v1"), tmp_path / "tab/tiny-v1.parquet")
    with pytest.raises(BadInput, match="another design or other code"):
        tab.Build("tiny", tmp_path / "tab")
