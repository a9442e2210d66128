"""Before and while a study runs: its forecast, the lines of a loop that waits, and its state."""

import json
import subprocess
import sys
import time
from contextlib import nullcontext
from pathlib import Path

import fabricated
import pytest
from click.testing import CliRunner
from conftest import ROOT
from fakes import FakeBox
from studies import HUMAN, better, config, entries, mandate, waiting

from configs.errors import BadInput, NeedsHuman
from loop import session
from loop.calibrate.forecast import TABLE_JOBS, follow, forecast, list_payable
from loop.command.dry import need_generations
from loop.command.live import View
from loop.command.main import cli
from loop.settings import compose_settings
from sandbox import control, keys
from sandbox.ledger import Ledger


def read_status(folder):
    run = CliRunner().invoke(cli, ["status", str(folder), "--json"], catch_exceptions=False)
    return json.loads(run.output)


def state_of(folder):
    return {row["what"]: row["value"] for row in read_status(folder)}


def test_the_worst_case_of_a_forecast_is_above_what_a_study_runs(tmp_path, go):
    cfg = config(tmp_path)
    mandate(cfg)
    go(cfg, FakeBox(better))
    jobs = sum(entry.kind == "start" for entry in entries(cfg))
    assert forecast(cfg, False).jobs <= forecast(cfg, True).jobs
    assert jobs <= forecast(cfg, True).jobs


def test_a_study_on_a_table_waits_only_for_weights_that_propose(tmp_path):
    path = fabricated.write(tmp_path, fabricated.fabricate(seeds=2, notebook=True))
    table = ["study=tabulated", f"task.table={path}"]
    programs = forecast(compose_settings([*table, "study.arms=[random]"]), False)
    assert programs.minutes == programs.jobs / TABLE_JOBS
    asking = compose_settings(
        [*table, "study.arms=[self]", "proposer=notebook", "study.start_trials=16"]
    )
    asked = asking.study.repeats * asking.study.generations
    trained = 2 * asked * asking.task.planned_cpu_us / 1e6 / asking.box.parallel / 60
    assert forecast(asking, False).minutes > trained


def test_a_forecast_counts_each_reading_and_the_compute_of_an_arm_with_more(tmp_path, go):
    many = ("task.notebook=true", "study.start_trials=8", "study.proposals=4", "study.proposers=4")

    def jobs_of(arm):
        return forecast(config(tmp_path, *many, f"study.arms=[{arm}]"), True).jobs

    assert jobs_of("parallel_shared") - jobs_of("self") == 3 * 2  # three more, two generations

    def course(arm, *more):
        return follow(config(tmp_path, *many, "study.arms=[self]", *more), arm, True)

    four = "study.raised={compute: 4}"
    plain, wide = course("self", four), course("more_compute", four)
    assert (wide.trainings, wide.weighted) == (plain.trainings, 4 * plain.trainings)
    larger = ("study.larger_replicates=4", "budget.train.cpu_us=20000000")
    assert course("self", *larger).weighted == plain.weighted + 4 * 2 * 4
    assert course("more_compute", four, *larger).weighted == wide.weighted  # takes no such look


@pytest.mark.parametrize("worst", [False, True])
def test_a_plan_pays_for_as_many_generations_as_a_campaign_may_begin(worst):
    cfg = compose_settings(["study=closure-v1"])
    study = cfg.study
    course = follow(cfg, "self", worst)
    assert 1 + (course.generations - 1) * study.worst("self") <= study.allowance("self")
    assert course.generations == {True: 2, False: 3}[worst]


def test_a_study_that_pays_for_less_than_half_of_its_generations_is_refused_unless_told_so(
    tmp_path,
):
    short = ["study=closure-v1", "study.plan_trainings=22", f"runs={tmp_path}"]
    with pytest.raises(BadInput, match=r"study\.accept_short=true"):
        need_generations(compose_settings(short))
    need_generations(compose_settings([*short, "study.accept_short=true"]))
    with pytest.raises(BadInput, match=r"budget\.jobs"):
        need_generations(
            compose_settings(["study=quickstart", "budget.jobs=100", f"runs={tmp_path}"])
        )


@pytest.mark.parametrize("path", sorted((ROOT / "configs" / "study").glob("*.yaml")))
def test_every_study_of_ours_pays_for_half_of_its_generations(path, tmp_path):
    config = compose_settings([f"study={path.stem}", f"runs={tmp_path}"])
    assert all(2 * paid >= rounds for _, paid, rounds in list_payable(config))
    need_generations(config)


def test_a_dry_run_prints_the_forecast_and_runs_nothing(tmp_path):
    run = CliRunner().invoke(cli, ["run", "--dry", "study=quickstart", f"runs={tmp_path}"])
    words = ("jobs", "CPU-seconds", "minutes", "money", "at worst", "4 of 4", "a true gain of 0.")
    assert run.exit_code == 0 and all(word in run.output for word in words), run.output
    assert not list(tmp_path.iterdir())


def test_the_first_sign_of_life_comes_before_any_library_loads():
    code = (
        "import sys\n"
        "sys.argv = ['heirloop', 'run', 'study.generation=2']\n"
        "import loop.command.main as main\n"
        "real = main.click.echo\n"
        "def echo(text, **named):\n"
        "    assert not {'hydra', 'sqlalchemy', 'numpy'} & set(sys.modules), 'too late'\n"
        "    real(text, **named)\n"
        "    sys.exit(77)\n"
        "main.click.echo = echo\n"
        "main.main()\n"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert (run.returncode, run.stderr) == (77, "heirloop run: begins\n")


@pytest.mark.parametrize("pinned", [True, False])
def test_an_attended_run_that_waits_says_for_whom_and_how(tmp_path, go, pinned):
    if pinned:
        keys.new_key("ada", "person", "correct horse")
    cfg, lines = config(tmp_path, *HUMAN, "gates.patience_seconds=2"), []

    def run(cfg):
        with pytest.raises(NeedsHuman):
            session.execute(cfg, view=lambda running: _Lines(lines))

    go(cfg, FakeBox(better), run)
    (plan,) = waiting(cfg)
    (line,) = [line for line in lines if "waits up to" in line]
    assert plan[:12] in line and "http://127.0.0.1:8321" in line
    assert f"`heirloop inbox {cfg.runs}`" in line
    command = f"`heirloop approve {plan[:12]} --run {cfg.runs}/t --key ada --reason WHY`"
    assert (command in line) is pinned and ("no key is pinned here" in line) is not pinned


class _Lines:
    """A view that keeps its lines."""

    def __init__(self, lines):
        self.lines = lines

    def __enter__(self):
        return self.lines.append

    def __exit__(self, *_):
        pass


def test_the_status_names_each_state_and_who_must_act(tmp_path, go):
    keys.new_key("ada", "person", "correct horse")
    cfg = config(tmp_path, *HUMAN, "study.generations=1")
    folder = Path(cfg.runs) / "t"
    with pytest.raises(NeedsHuman):
        go(cfg, FakeBox(better))
    (plan,) = waiting(cfg)
    state = state_of(folder)
    assert state["state"] == (
        f"not running, waiting for ada: 1 requests, first plan {plan[:12]} (recipe)"
    )
    assert (state["generation"], state["jobs left"]) == ("0 of 1", "480 of 480")
    for how, word in (("pause", "paused"), ("stop", "stopped")):
        control.order(Ledger.at(folder), how, "user ada", "")
        assert state_of(folder)["state"] == word


def test_the_status_of_a_run_that_runs_and_of_one_that_ended(tmp_path, go):
    cfg, seen = config(tmp_path), []
    mandate(cfg)
    folder, box = Path(cfg.runs) / "t", FakeBox(better)

    def look(_):
        if len(box.ran) == 20:
            seen.append(state_of(folder))

    box.script = look
    go(cfg, box)
    assert [state["state"] for state in seen] == ["running"]
    assert state_of(folder)["state"] == "ended"


def test_the_status_of_a_folder_lists_its_studies_a_damaged_one_included(tmp_path, go):
    cfg = config(tmp_path)
    mandate(cfg)
    go(cfg, FakeBox(better))
    broken = Path(cfg.runs) / "broken"
    broken.mkdir()
    (broken / "ledger.sqlite").write_text("nothing")
    rows = {row["run"]: row for row in read_status(cfg.runs)}
    assert rows["t"]["state"] == "ended" and rows["t"]["generation"] == "2 of 2"
    assert "ledger" in rows["broken"]["state"]


def test_a_run_without_a_terminal_prints_its_progress(tmp_path, go, monkeypatch, capsys):
    monkeypatch.setattr("loop.command.live.EVERY_SECONDS", 0)
    cfg, box = config(tmp_path), FakeBox(better)
    mandate(cfg)
    box.script = lambda _: time.sleep(1.2) if len(box.ran) in (12, 20) else None

    def run(cfg):
        return session.execute(cfg, view=lambda running: _Say(View(running)))

    go(cfg, box, run)
    out = capsys.readouterr().out
    assert out.startswith("study t: about ") and " of about " in out and "left" in out


class _Say:
    def __init__(self, view):
        self.view = view

    def __enter__(self):
        return self.view.__enter__().say

    def __exit__(self, *reason):
        self.view.__exit__(*reason)


def test_a_study_that_needs_more_than_is_expected_is_told_against_the_worst(tmp_path, go):
    cfg, lines = config(tmp_path), []
    mandate(cfg)

    def run(cfg):
        def view(running):
            shown = View(running)
            for done in (3, shown._forecast.jobs + 1):
                shown._root = lambda done=done: {"jobs": {"spent": done}}
                lines.append((done, shown.left(), shown._worst.jobs))
            return nullcontext(lambda text: None)

        return session.execute(cfg, view=view)

    go(cfg, FakeBox(better), run)
    (_, first, _), (done, second, worst) = lines
    assert " of about " in first and second.startswith(f"{done} of at most {worst} jobs, ")


def test_a_forecast_counts_the_weights_and_both_sides_of_every_measure_of_skill():
    more = ["study.skill_proposals=2", "study.skill_parents=3", "budget.looks.confirm=5000"]
    without, measured = (
        follow(compose_settings(["study=quickstart", *own]), "self", True) for own in ([], more)
    )
    assert measured.trainings - without.trainings == 4 * 3 * (1 + 2 * 2)
    assert measured.proposals - without.proposals == 4 * 3
