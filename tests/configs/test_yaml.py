from pathlib import Path

import fabricated
import pytest
from fakes import FakeBox
from programs import data_job, write_folder

from configs.errors import BadInput
from loop.gatebench.settings import compose_bench
from loop.settings import compose_settings
from loop.study import program_data
from sandbox.decision import decided

ROOT = Path(__file__).resolve().parents[2] / "configs"
CHOICES = [f"{path.parent.name}={path.stem}" for path in sorted(ROOT.glob("*/*.yaml"))]
GATES = [choice for choice in CHOICES if choice.startswith("gate=")]
CHOICES = [choice for choice in CHOICES if not choice.startswith(("tab=", "gate="))]
PLANTED = ("study=planted", "task=planted", "box=planted")
ON_TABLES = ("task=table", "study=tabulated", "box=table")


@pytest.mark.parametrize("choice", CHOICES)
def test_every_yaml_composes(choice, tmp_path, monkeypatch):
    table = f"task.table={fabricated.write(tmp_path)}" if choice in ON_TABLES else ""
    extra = {
        "task=table": table,
        "study=tabulated": table,
        "task=custom": f"task.file={ROOT.parent}/docs/examples/sort_task.py",
        "task=planted": "box=planted",
        "box=planted": "task=planted",
        "faults=production": "study=planted",
        "factory=service": "study=factory-v1-short",
        "launcher=ray": "launcher.address=head:6379",
        "objective=bits": "task=text-small",
        "objective=nll": "objective.deviation=0.1",
        "objective=exact_match": "task=addition-v1",
    }
    alone = ["study.arms=[random]"] if choice.startswith("proposer=") else []
    if choice == "box=table":
        alone = ["task=table", table]
    if choice == "task=program":
        box = FakeBox(lambda order: 0.0, data_job)
        monkeypatch.setattr(program_data, "make_real_box", lambda settings: box)
        alone = [f"task.folder={write_folder(tmp_path / 'folder')}", "proposer=evolve"]
    assert compose_settings([choice, *([extra[choice]] if choice in extra else alone)]).study.name


@pytest.mark.parametrize("choice", GATES)
def test_every_gate_composes_under_the_name_of_its_file(choice):
    assert compose_bench([choice]).gate.name == choice.removeprefix("gate=")


def test_an_objective_with_everything_composes():
    found = compose_settings(
        [
            "task=addition-v1",
            "objective.metric=nll",
            "objective.direction=down",
            "objective.deviation=0.2",
            "task.digits=3",
            "task.train_digits=2",
            "objective.secondary=[{metric: exact_match, at_least: 0.5}]",
            "objective.confirmations=5",
            (
                "objective.constraints=[{slice: longer, no_loss: 0.1}, {metric: parameters,"
                " at_most: 90000}]"
            ),
        ]
    )
    assert (
        found.deviation() == 0.2
        and found.confirmations() == 5
        and found.objective.constraints[1].metric == "parameters"
    )


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("study.bogus=1", "bogus"),
        ("+study.bogus=1", "study.bogus"),
        ("budget.jobs=-3", "budget.jobs is -3"),
        ("budget.cpu_seconds=1.5", "budget.cpu_seconds is 1.5"),
        ("objective.alpha=.nan", "objective.alpha"),
        ("objective.alpha=.inf", "objective.alpha"),
        ("study.arms=[local,magic]", "magic"),
        ("task=nothing", "nothing"),
        ("study.name=../up", "study.name"),
        ("task.baseline.depth=two", "task.baseline.depth"),
        (
            "budget.looks.feedback=12",
            "budget.looks.feedback is 12; it should be at least the 13 looks that the study plans",
        ),
        ("budget.looks.confirm=3", "budget.looks.confirm is 3; it should be at least the 4 looks"),
        ("budget.looks.sealed=-1", "budget.looks.sealed is -1"),
        (
            "study.confirm_replicates=900",
            "it should be at least 3602, for one confirmation with 900 replicates",
        ),
        (
            "study.final_replicates=21",
            "study.final_replicates is 21; it should be at most 20 with group_sequential",
        ),
        ("budget.jobs=17", "budget.jobs is 17; it should be at least"),
        (
            "objective.confirmations=2",
            "objective.confirmations is 2; it should be at least study.generations 3",
        ),
        (
            "objective.scale=log_odds",
            (
                "objective.deviation is None; it should be the standard deviation over seeds of"
                " exact_match, log_odds"
            ),
        ),
        (
            "objective.constraints=[{slice: longer, no_loss: 0.1}]",
            "objective slice is 'longer'; it should be one of task addition: carries",
        ),
        ("objective.constraints=[{slice: shifted, no_loss: 0.1}]", "one of task addition: carries"),
        ("objective.metric=beauty", "objective.metric is 'beauty'"),
        ("task.train_digits=3", "train_digits is 3; it should be between 0 and digits (2)"),
    ],
)
def test_bad_configuration_is_one_sentence_that_names_the_field(override, words):
    with pytest.raises(BadInput) as error:
        compose_settings(["task=addition-v1", override])
    assert words in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("given", "name"),
    [
        (["study=lossy-v1"], "lossy-v1"),
        (["study=lossy-v1-short"], "lossy-v1-short"),
        (["study=closure-v1", "autonomy=assisted"], "closure-v1-assisted"),
        (["study=closure-v1-short", "autonomy=bounded"], "closure-v1-short-bounded"),
        (["study=nulls-v1"], "nulls-v1-group_sequential"),
        (["study=nulls-v1", "objective.acceptance=greedy"], "nulls-v1-greedy"),
    ],
)
def test_the_named_studies_compose_and_can_pay_for_what_they_plan(given, name):
    assert compose_settings(given).study.name == name


def test_a_task_in_bits_brings_its_objective():
    found = compose_settings(["task=text-small"])
    assert (found.objective.metric, found.objective.direction) == ("bits", "down")
    assert found.deviation() == found.task.seed_deviation and found.objective.first_look == 6


def test_bits_on_a_slice_can_be_bounded():
    bound = "objective.constraints=[{metric: bits, slice: code, no_loss: 0.1}]"
    assert compose_settings(["task=text-small", bound]).objective.constraints[0].slice == "code"


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (
            ["task=addition-v1", "objective=bits"],
            "objective.metric is 'bits'; it should be a metric of task addition",
        ),
        (["task=text-small", "objective=exact_match"], "objective.deviation is None"),
        (["task=text-small", "task.window=7"], "window is 7; it should be between 8 and 128"),
        (["task=text-small", "task.grid.speed=[1]"], "speed"),
        (["task=text-small", "task.grid.depth=[1,9]"], "grid.depth is 9"),
    ],
)
def test_settings_that_do_not_fit_task_text_are_refused(overrides, words):
    with pytest.raises(BadInput, match=words):
        compose_settings(overrides)


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["launcher=ray"], "launcher.address is ''; it should be HOST:PORT"),
        (["launcher=ray", "launcher.address=ray://h:1"], "should be HOST:PORT"),
        (["launcher=ray", "launcher.address='h:1;x'"], "should be HOST:PORT"),
        (["launcher=ray", f"launcher.address={'x' * 5000}:1"], "should be HOST:PORT"),
        (["launcher.address=h:1"], "it should be empty with launcher=local"),
        (["launcher=nothing"], "launcher/nothing"),
        (
            [
                "launcher=ray",
                "launcher.address=h:1",
                "study=planted",
                "task=planted",
                "box=planted",
            ],
            "no job is executed",
        ),
        (
            ["launcher=ray", "launcher.address=h:1", "proposer=agent", "proposer.trials=2"],
            "an agent with doors",
        ),
    ],
)
def test_a_launcher_takes_what_its_nodes_have(overrides, words):
    with pytest.raises(BadInput) as error:
        compose_settings(overrides)
    assert words in str(error.value) and "\n" not in str(error.value)


def test_where_jobs_run_is_no_decision_of_people():
    here, there = (
        compose_settings(["task=addition-v1", *more])
        for more in ([], ["launcher=ray", "launcher.address=h:1"])
    )
    assert here != there and decided(here) == decided(there)
