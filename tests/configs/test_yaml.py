from pathlib import Path

import pytest

from configs.errors import BadInput
from loop.main import composed

ROOT = Path(__file__).resolve().parents[2] / "configs"
CHOICES = [f"{path.parent.name}={path.stem}" for path in sorted(ROOT.glob("*/*.yaml"))]


@pytest.mark.parametrize("choice", CHOICES)
def test_every_yaml_composes(choice):
    assert composed([choice]).study.name


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
    ],
)
def test_bad_configuration_is_one_sentence_that_names_the_field(override, words):
    with pytest.raises(BadInput) as error:
        composed([override])
    assert words in str(error.value) and "\n" not in str(error.value)
